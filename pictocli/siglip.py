"""Runs SigLIP and SigLIP 2: pictures and words → unit vectors of one space.

The only importer of torch and transformers (3.4 s): import it when a model must run, not before.
"""

from __future__ import annotations

import contextlib
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
import torch
from torch.nn.functional import normalize
from transformers import SiglipTextModel, SiglipVisionModel
from transformers.utils import logging

from pictocli.checkpoint import ModelFiles
from pictocli.errors import ModelError, ValidationError
from pictocli.openvino_vision import OpenVinoVision
from pictocli.records import ModelSpec
from pictocli.text import canonicalize, load_tokenizer

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Siglip"]

_Tower = Literal["vision", "text"]
_CLASSES: dict[_Tower, Any] = {"vision": SiglipVisionModel, "text": SiglipTextModel}
_TEXT_BATCH = 64
_BATCH, _LARGEST_BATCH = 16, 256  # pictures; more than these gave a GPU nothing to gain, and a stop more to lose
_NO_ROOM = re.compile("out of memory|can't allocate memory")  # what MPS and the CPU say in a plain RuntimeError


_T = TypeVar("_T")


class Siglip:
    """An Embedder that loads each half of the model when it is first needed.

    spec: the space it embeds into. device, dtype: where and in what it computes. batch_size: pictures that it takes
    best at a time; on CUDA it doubles while memory allows that. asynchronous: whether a batch that was begun goes on by
    itself, as on GPUs. runtime: what computed the last pictures, "torch" or "openvino".
    """

    def __init__(
        self,
        files: ModelFiles,
        spec: ModelSpec,
        device: str = "auto",
        *,
        towers: Sequence[_Tower] = ("vision", "text"),
    ) -> None:
        """Choose the device; load nothing yet.

        device: "auto" (CUDA, else Apple's GPU, else the CPU), "cuda", "mps" or "cpu". towers: the halves that may be
        used; asking for the other raises ModelError rather than loading it by surprise.
        Raises ValidationError for another device, ModelError for one that this machine does not have.
        """
        self.spec = spec
        self.device = torch.device(_pick(device))
        self.dtype = _dtype(self.device)
        self.asynchronous = self.device.type != "cpu"
        self.batch_size, self._most = _BATCH, _LARGEST_BATCH
        self.runtime = "torch"
        self._openvino: OpenVinoVision | None = None
        self._try_openvino = self.dtype == torch.bfloat16  # in float32 it is no faster
        self._files = files
        self._towers = tuple(towers)
        self._loaded: dict[tuple[_Tower, torch.dtype], Any] = {}
        self._encode: Callable[[str], list[int]] | None = None

    def warm_up(self) -> None:
        """Load the image half, and run it once: the next batch takes no longer than those after it. Raises as below."""
        self.embed_images(np.zeros((1, self.spec.image_size, self.spec.image_size, 3), np.uint8))

    def embed_images(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embed n upright RGB pictures.

        pixels: uint8 [n, image_size, image_size, 3]. Returns float32 [n, dim], L2-normalised, all finite.
        Raises ValidationError for another shape or type; ModelError when the model cannot be loaded, one picture does
        not fit into the device's memory, or the model yields a non-finite value even in float32.
        """
        return self.begin_images(pixels)()

    def begin_images(self, pixels: NDArray[np.uint8]) -> Callable[[], NDArray[np.float32]]:
        """Begin to embed pictures; calling what this returns waits for them. Both raise as `embed_images` does."""
        size = self.spec.image_size
        if pixels.dtype != np.uint8 or pixels.shape[1:] != (size, size, 3):
            raise ValidationError(
                f"pictures must be uint8 [n, {size}, {size}, 3], not {pixels.dtype} {list(pixels.shape)}"
            )
        # torch.tensor copies: from_numpy warns of arrays that may not be written, such as those of np.frombuffer
        return self._begin("vision", torch.tensor(np.ascontiguousarray(pixels)))

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed n texts, canonicalised here. Returns float32 [n, dim], L2-normalised. Raises ModelError as above."""
        if self._encode is None:
            self._encode = load_tokenizer(self._files.folder, self.spec.text_length)
        ids = [self._encode(canonicalize(text)) for text in texts]
        found = [
            self._begin("text", torch.tensor(ids[start : start + _TEXT_BATCH], dtype=torch.long))()
            for start in range(0, len(ids), _TEXT_BATCH)
        ]
        return np.concatenate(found) if found else np.empty((0, self.spec.dim), np.float32)

    def _begin(self, tower: _Tower, batch: torch.Tensor) -> Callable[[], NDArray[np.float32]]:
        if not len(batch):
            return lambda: np.empty((0, self.spec.dim), np.float32)
        return partial(self._end, tower, batch, self._tried(lambda: self._forward(tower, batch, self.dtype)))

    def _end(self, tower: _Tower, batch: torch.Tensor, begun: torch.Tensor | None) -> NDArray[np.float32]:
        """What was begun, float32 [n, dim], once it is whole, finite and of the right width."""
        found = self._tried(lambda: self._finite(tower, batch, begun)) if begun is not None else None
        if found is None:
            return self._halve(tower, batch)
        if not np.isfinite(found).all():
            raise ModelError(
                f"{self.spec.id} yields values that are not finite", "its weights are broken: fetch them again"
            )
        if found.shape[1] != self.spec.dim:
            raise ModelError(f"{self.spec.id} yields {found.shape[1]} values, not {self.spec.dim}", "use another model")
        if tower == "vision" and self.device.type == "cuda" and len(batch) == self.batch_size:
            self._grow()
        return found

    def _finite(self, tower: _Tower, batch: torch.Tensor, begun: torch.Tensor) -> NDArray[np.float32]:
        found: NDArray[np.float32] = begun.cpu().numpy()
        if self.dtype != torch.float32 and not np.isfinite(found).all():
            found = self._forward(tower, batch, torch.float32).cpu().numpy()  # float16 ends at 65,504: some go there
        return found

    def _tried(self, run: Callable[[], _T]) -> _T | None:
        """What `run` gives; None when memory is full, after the exception, which keeps the batch's tensors alive."""
        try:
            return run()
        except (IndexError, RuntimeError) as exc:
            if isinstance(exc, torch.OutOfMemoryError) or _NO_ROOM.search(str(exc)):
                return None
            reason = " ".join(str(exc).split())[:200]
            raise ModelError(f"{self.spec.id} fails on {self.device}: {reason}", "try --device cpu") from exc

    def _halve(self, tower: _Tower, batch: torch.Tensor) -> NDArray[np.float32]:
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        if len(batch) == 1:
            raise ModelError(
                f"{self.spec.id} does not fit into the memory of {self.device}", "use --device cpu or a smaller model"
            )
        half = len(batch) // 2
        if tower == "vision":
            self._most = min(self._most, half)
            self.batch_size = min(self.batch_size, half)
        return np.concatenate([self._begin(tower, part)() for part in (batch[:half], batch[half:])])

    def _grow(self) -> None:
        """Let batches be twice as large from now on, where memory has room for twice what this one took, and a half."""
        held = torch.cuda.memory_allocated(self.device)
        taken = torch.cuda.max_memory_allocated(self.device) - held
        free = torch.cuda.mem_get_info(self.device)[0] + torch.cuda.memory_reserved(self.device) - held
        if 3 * taken <= free and 2 * self.batch_size <= self._most:
            self.batch_size *= 2

    @torch.inference_mode()
    def _forward(self, tower: _Tower, batch: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        """One pass of one tower: uint8 pictures or token ids → float32 [n, dim], L2-normalised, perhaps not finite.

        On a GPU this is only begun when the call returns; `.cpu()` waits for it.
        """
        if tower == "vision" and dtype == torch.bfloat16 and (found := self._by_openvino(batch)) is not None:
            return found
        model = self._load(tower, dtype)
        # pinned, the copy to CUDA needs no detour and no wait: the launches below queue up behind it
        cuda = self.device.type == "cuda"
        inputs = (batch.pin_memory() if cuda else batch).to(self.device, non_blocking=cuda)
        if tower == "vision":
            # in float32, then rounded once: float16 steps are 1/1024 near ±1, as coarse as a quarter of a grey level
            scaled = inputs.permute(0, 3, 1, 2).to(torch.float32) / 127.5 - 1
            output = model(pixel_values=scaled.to(dtype))
        else:
            # input_ids only: SigLIP was trained without a mask but honours one if given (then cosine .6 to the truth)
            output = model(input_ids=inputs)
        return normalize(output.pooler_output.to(torch.float32), dim=-1)

    def _by_openvino(self, batch: torch.Tensor) -> torch.Tensor | None:
        """What `_forward` gives for pictures in bfloat16, 1.4 times as fast or more; None where torch is to do it.

        It is not asked again once it has failed: torch's vectors are of the same space, and torch halves a batch that
        does not fit. A single picture goes this way too, 0.2 s later: what is embedded twice should be equal twice.
        Raises ModelError as `_load` does.
        """
        if not self._try_openvino:
            return None
        try:
            if self._openvino is None:
                self._openvino = OpenVinoVision(lambda: self._load("vision", torch.float32), torch.get_num_threads())
                del self._loaded["vision", torch.float32]
            found = torch.from_numpy(self._openvino(batch.numpy()))
            self.runtime = "openvino"
            return found
        except ModelError:
            raise
        except Exception:  # ImportError without the extra, else whatever a version or a CPU comes up with
            self._try_openvino, self._openvino, self.runtime = False, None, "torch"
            return None

    def _load(self, tower: _Tower, dtype: torch.dtype) -> Any:
        if tower not in self._towers:
            raise ModelError(
                f"the {tower} half of {self.spec.id} was not asked for", f'name "{tower}" among the towers'
            )
        if (tower, dtype) not in self._loaded:
            self._loaded[tower, dtype] = _read(self._files, tower, dtype).to(self.device)
        return self._loaded[tower, dtype]


def _pick(device: str) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a driver older than torch's CUDA is a warning; here it is "no GPU"
        present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if device == "auto":
        return next(name for name, there in present.items() if there)
    if device not in present:
        raise ValidationError(f"there is no device {device}", "choose auto, cuda, mps or cpu")
    if not present[device]:
        raise ModelError(f"torch finds no {device} device on this machine", "use --device auto or --device cpu")
    return device


def _dtype(device: torch.device) -> torch.dtype:
    """The fastest type that keeps the ranking: float16 on GPUs (a T4 has no bfloat16), bfloat16 where a CPU has it.

    7.5–9.7 images/s a core with AMX against 3.4 in float32; emulated, bfloat16 and float16 are slower than float32.
    """
    if device.type != "cpu":
        return torch.float16
    for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"):
        supported = getattr(torch.cpu, name, None)  # private: may go, and then float32 is right everywhere
        if supported is not None and supported():
            return torch.bfloat16
    return torch.float32


def _read(files: ModelFiles, tower: _Tower, dtype: torch.dtype) -> Any:
    """Load one tower onto the CPU. Raises ModelError when a weight is missing: transformers would roll dice instead."""
    try:
        with _quiet():
            model, found = _CLASSES[tower].from_pretrained(
                files.folder,
                dtype=dtype,
                attn_implementation="sdpa",
                local_files_only=True,
                use_safetensors=True,
                output_loading_info=True,
            )
    except Exception as exc:  # OSError, RuntimeError, ValueError, SafetensorError … by the kind of damage
        reason = " ".join(str(exc).split())[:200]
        raise ModelError(
            f"cannot load the {tower} half of {files.id}: {reason}", "fetch the model's files again"
        ) from exc
    missing = sorted(found["missing_keys"]) + sorted(str(key) for key in found["mismatched_keys"])
    if missing:
        raise ModelError(
            f"{files.id} lacks {len(missing)} weights of its {tower} half, {missing[0]} among them",
            "use a whole SigLIP model, both towers",
        )
    return model.eval()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """No advice and no bar from transformers while it loads; its settings are process-wide, so they are put back."""
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
