"""Words → vectors in numpy: SigLIP's text tower, computed from the weight file where it lies, without torch.

A cold search spends 3.4 s in the imports of torch and transformers, and 0.2 s in arithmetic. Here the weights are
mapped, not read: only the pages that are touched come into memory, so of 256,000 token embeddings at most `length` a
text. Everything is computed in float32, whatever type the weights have; tests/test_tower.py holds the vectors equal
to those of transformers.

The architecture is transformers' SiglipTextModel (modeling_siglip.py, 5.23) and Siglip2TextModel, which are the same:
a pre-norm transformer without a mask, whose last position, padding or not, is the text's embedding.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pictocli.checkpoint import ModelFiles, TextShape, read_text_shape
from pictocli.errors import ModelError
from pictocli.records import ModelSpec
from pictocli.text import canonicalize, load_tokenizer
from pictocli.weights import HINT, Tensors

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

__all__ = ["TextTower", "tensor_shapes"]

_BATCH = 16  # texts at a time: 16 x 64 x 3072 float32 inside an MLP are 13 MB


class TextTower:
    """Embeds texts, and texts only. spec: the space it embeds into."""

    def __init__(self, files: ModelFiles, spec: ModelSpec) -> None:
        """Find every tensor, and compute nothing yet.

        Raises ModelError when the text tower has another architecture or activation than is computed here, or when
        its tensors are missing, of another shape than config.json says, or neither F32, F16 nor BF16.
        """
        shape = read_text_shape(files.folder)
        if shape.activation not in _ACTIVATIONS:
            raise ModelError(f"{files.id} computes with {shape.activation}, which picto does not have", "use torch")
        if (shape.dim, shape.length) != (spec.dim, spec.text_length):
            raise ModelError(f"the text half of {files.id} does not fit its image half", HINT)
        tensors = Tensors(files.folder)
        prefix = "text_model." if "text_model.head.weight" in tensors else ""  # none where it was saved alone
        self.spec = spec
        self._shape = shape
        self._folder = files.folder
        self._stored = {name: tensors.find(prefix + name, size) for name, size in tensor_shapes(shape)}
        self._maps = {path: _map(path) for path in {stored.path for stored in self._stored.values()}}
        self._encode: Callable[[str], list[int]] | None = None

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed n texts, canonicalised here. Returns float32 [n, dim], L2-normalised, all finite.

        Raises ModelError when the tokenizer cannot be read or knows more tokens than the model, or when the weights
        yield a value that is not finite.
        """
        if self._encode is None:
            self._encode = load_tokenizer(self._folder, self.spec.text_length)
        rows = [self._encode(canonicalize(text)) for text in texts]
        ids = np.array(rows, np.int64).reshape(len(rows), self.spec.text_length)
        if ids.size and not 0 <= ids.min() <= ids.max() < self._shape.vocabulary:
            raise ModelError(f"the tokenizer of {self.spec.id} belongs to another model", HINT)
        found = [self._forward(ids[start : start + _BATCH]) for start in range(0, len(ids), _BATCH)]
        vectors = np.concatenate(found) if found else np.empty((0, self.spec.dim), np.float32)
        if not np.isfinite(vectors).all():
            raise ModelError(
                f"{self.spec.id} yields values that are not finite", "its weights are broken: fetch them again"
            )
        return vectors

    @np.errstate(all="ignore")  # what overflows is not finite in the end, and is told there
    def _forward(self, ids: NDArray[np.int64]) -> Floats:
        """Token ids [n, length] → float32 [n, dim], L2-normalised, perhaps not finite."""
        hidden = _widened(self._raw("embeddings.token_embedding.weight")[ids])
        hidden += self._tensor("embeddings.position_embedding.weight")
        for layer in range(self._shape.layers):
            at = f"encoder.layers.{layer}"
            hidden += self._attention(self._norm(hidden, f"{at}.layer_norm1"), f"{at}.self_attn")
            inner = self._linear(self._norm(hidden, f"{at}.layer_norm2"), f"{at}.mlp.fc1")
            hidden += self._linear(_ACTIVATIONS[self._shape.activation](inner), f"{at}.mlp.fc2")
            self._let_go()
        vectors = self._linear(self._norm(hidden[:, -1], "final_layer_norm"), "head")
        vectors /= np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)  # torch's normalize, its epsilon
        return vectors

    def _attention(self, hidden: Floats, at: str) -> Floats:
        """Every position looks at every one, padding too. [n, length, width] → the same."""
        n, length, width = hidden.shape
        size = width // self._shape.heads
        queries, keys, values = (
            self._linear(hidden, f"{at}.{name}_proj").reshape(n, length, -1, size).swapaxes(1, 2) for name in "qkv"
        )
        weights: Floats = queries @ keys.swapaxes(2, 3)  # [n, heads, length, length]
        weights *= size**-0.5
        weights -= weights.max(axis=-1, keepdims=True)
        np.exp(weights, out=weights)
        weights /= weights.sum(axis=-1, keepdims=True)
        mixed: Floats = weights @ values
        return self._linear(mixed.swapaxes(1, 2).reshape(n, length, width), f"{at}.out_proj")

    def _norm(self, hidden: Floats, name: str) -> Floats:
        """Layer normalisation over the last axis, with the biased variance."""
        centred: Floats = hidden - hidden.mean(axis=-1, keepdims=True)
        variance = np.square(centred).mean(axis=-1, keepdims=True)
        centred /= np.sqrt(variance + np.float32(self._shape.epsilon))
        centred *= self._tensor(f"{name}.weight")
        centred += self._tensor(f"{name}.bias")
        return centred

    def _linear(self, hidden: Floats, name: str) -> Floats:
        """x W^T + b over the last axis, as one matrix product however many axes there are."""
        weight = self._tensor(f"{name}.weight")
        found = hidden.reshape(-1, hidden.shape[-1]) @ weight.T
        found += self._tensor(f"{name}.bias")
        return found.reshape(*hidden.shape[:-1], len(weight))

    def _let_go(self) -> None:
        """Tell the system that the pages seen so far are not needed: 135 MB at the peak instead of 435."""
        if hasattr(mmap, "MADV_DONTNEED"):  # Windows has none
            for mapped in self._maps.values():
                mapped.madvise(mmap.MADV_DONTNEED)

    def _tensor(self, name: str) -> Floats:
        return _widened(self._raw(name))

    def _raw(self, name: str) -> NDArray[Any]:
        """A tensor as it lies in the file, read-only: float32, float16, or bfloat16 as uint16, for numpy has none."""
        stored = self._stored[name]
        count = math.prod(stored.shape)
        try:
            flat: NDArray[Any] = np.frombuffer(self._maps[stored.path], _TYPES[stored.dtype], count, stored.start)
        except ValueError as exc:
            raise ModelError(f"{stored.path} has become shorter", HINT) from exc
        return flat.reshape(stored.shape)


_TYPES = {"F32": "<f4", "F16": "<f2", "BF16": "<u2"}


def _widened(raw: NDArray[Any]) -> Floats:
    """The same numbers in float32; no copy where they are already. uint16 is bfloat16, a float32's upper half."""
    if raw.dtype.kind == "f":
        return raw.astype(np.float32, copy=False)
    halves = raw.astype(np.uint32)
    halves <<= 16
    return halves.view(np.float32)


def _map(path: Path) -> mmap.mmap:
    try:
        with path.open("rb") as stream:
            return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as exc:  # ValueError: an empty file
        raise ModelError(f"cannot read {path}: {exc}", HINT) from exc


def tensor_shapes(shape: TextShape) -> Iterator[tuple[str, tuple[int, ...]]]:
    """The name and shape of every tensor, in the order of computation."""
    square, width = (shape.width, shape.width), (shape.width,)
    yield "embeddings.token_embedding.weight", (shape.vocabulary, shape.width)
    yield "embeddings.position_embedding.weight", (shape.length, shape.width)
    for layer in range(shape.layers):
        at = f"encoder.layers.{layer}."
        for name in ("layer_norm1", "layer_norm2"):
            yield f"{at}{name}.weight", width
            yield f"{at}{name}.bias", width
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            yield f"{at}self_attn.{name}.weight", square
            yield f"{at}self_attn.{name}.bias", width
        yield f"{at}mlp.fc1.weight", (shape.inner, shape.width)
        yield f"{at}mlp.fc1.bias", (shape.inner,)
        yield f"{at}mlp.fc2.weight", (shape.width, shape.inner)
        yield f"{at}mlp.fc2.bias", width
    yield "final_layer_norm.weight", width
    yield "final_layer_norm.bias", width
    yield "head.weight", (shape.dim, shape.width)
    yield "head.bias", (shape.dim,)


def _gelu_tanh(x: Floats) -> Floats:
    """0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))): Hendrycks and Gimpel, arXiv 1606.08415, section 2."""
    inner = x * x
    inner *= 0.044715
    inner += 1
    inner *= x
    inner *= math.sqrt(2 / math.pi)
    return _half_one_plus_tanh(x, inner)


def _quick_gelu(x: Floats) -> Floats:
    """x sigmoid(1.702 x), of the same paper; sigmoid(z) = (1 + tanh(z/2)) / 2 cannot overflow."""
    return _half_one_plus_tanh(x, x * np.float32(1.702 / 2))


def _half_one_plus_tanh(x: Floats, inner: Floats) -> Floats:
    np.tanh(inner, out=inner)
    inner += 1
    inner *= x
    inner *= 0.5
    return inner


def _gelu(x: Floats) -> Floats:
    """x (1 + erf(x / sqrt 2)) / 2.

    numpy has no erf: Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26, which is off by 1.5e-7 at most.
    """
    z = np.abs(x) * np.float32(math.sqrt(0.5))
    t = 1 / (1 + np.float32(0.3275911) * z)
    tail = np.zeros_like(t)
    for factor in (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592):
        tail = (tail + np.float32(factor)) * t
    tail *= np.exp(-z * z)  # 1 - erf(z), for z from 0 on
    return x * np.float32(0.5) * np.where(x < 0, tail, 2 - tail)


_ACTIVATIONS: dict[str, Callable[[Floats], Floats]] = {
    "gelu": _gelu,
    "gelu_fast": _gelu_tanh,
    "gelu_new": _gelu_tanh,
    "gelu_pytorch_tanh": _gelu_tanh,
    "quick_gelu": _quick_gelu,
}
