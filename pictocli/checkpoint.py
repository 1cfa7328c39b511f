"""What a model's files say of themselves, read with the standard library alone: no torch, transformers or numpy.

So the commands that only need to know which model a database belongs to stay fast, and a broken or foreign checkpoint
is refused in a millisecond rather than after 4 s of imports.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pictocli.errors import ModelError
from pictocli.records import ModelSpec
from pictocli.weights import HINT, Tensors, read_header, read_object, weight_files

__all__ = ["TOKENIZER_FILES", "ModelFiles", "TextShape", "fingerprint", "lacking", "read_spec", "read_text_shape"]

TOKENIZER_FILES = (
    "special_tokens_map.json",
    "spiece.model",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
)
_EDGE = 65_536
_RESAMPLE = {2: "bilinear", 3: "bicubic"}  # PIL's numbers, which preprocessor_config.json holds


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """Where a model's files lie. id: hub id, "mini", or an absolute folder. revision: hub commit, or `fingerprint`."""

    id: str
    revision: str
    folder: Path


@dataclass(frozen=True, slots=True)
class TextShape:
    """What the arithmetic of a text tower depends on, beside its weights.

    width, inner: numbers a token has, and has inside the MLP. length: positions. dim: numbers of an embedding.
    activation: transformers' name for it. epsilon: added to a variance before its root is taken.
    """

    vocabulary: int
    width: int
    inner: int
    layers: int
    heads: int
    length: int
    dim: int
    activation: str
    epsilon: float


def read_spec(files: ModelFiles) -> ModelSpec:
    """Read what fixes the embedding space: sizes, the resize filter, scale and bias.

    Raises ModelError when a file is missing or broken, when the model is not a fixed-resolution SigLIP or SigLIP 2,
    or when its preprocessing is not what picto does (a square, x / 127.5 - 1).
    """
    config = read_object(files.folder / "config.json")
    kind = config.get("model_type")
    if kind != "siglip":  # fixed-resolution SigLIP 2 says "siglip" as well; "siglip2" is NaFlex
        raise ModelError(
            f"{files.id} is a model of type {kind}, not a fixed-resolution SigLIP",
            "use siglip2-base, or another google/siglip-… or google/siglip2-…-patch… model without naflex",
        )
    vision, text = _part(config, "vision_config"), _part(config, "text_config")
    image_size = _number(vision, "image_size", 224)
    processing = _processing(files.folder)
    _check_processing(files.id, processing, image_size)
    tensors = Tensors(files.folder)
    return ModelSpec(
        id=files.id,
        revision=files.revision,
        dim=_number(vision, "hidden_size", 768),
        image_size=image_size,
        resample=_resample(files.id, processing),
        text_length=_number(text, "max_position_embeddings", 64),
        scale=math.exp(min(tensors.scalar("logit_scale"), 50.0)),  # real ones are near 4.7; e^50 still fits a float32
        bias=tensors.scalar("logit_bias"),
    )


def read_text_shape(folder: Path) -> TextShape:
    """Read the text tower's sizes, of a whole model or of a text tower that was saved alone.

    What config.json leaves out has the default of transformers' SiglipTextConfig, which is Siglip2TextConfig's too.
    Raises ModelError when config.json is missing or broken, or describes something else.
    """
    config = read_object(folder / "config.json")
    text = _part(config, "text_config") if config.get("model_type") in ("siglip", "siglip2") else config
    kind = text.get("model_type", "siglip_text_model" if text is not config else None)
    if kind not in ("siglip_text_model", "siglip2_text_model"):
        raise ModelError(f"the text half in {folder} is of type {kind}, not a SigLIP's", "use another model")
    width, heads = _number(text, "hidden_size", 768), _number(text, "num_attention_heads", 12)
    epsilon = text.get("layer_norm_eps", 1e-6)
    if width % heads or not isinstance(epsilon, float) or not 0 <= epsilon < 1:
        raise ModelError(f"config.json gives {heads} heads for {width} numbers, and an epsilon of {epsilon!r}", HINT)
    return TextShape(
        vocabulary=_number(text, "vocab_size", 32_000),
        width=width,
        inner=_number(text, "intermediate_size", 3072),
        layers=_number(text, "num_hidden_layers", 12),
        heads=heads,
        length=_number(text, "max_position_embeddings", 64),
        dim=width if text.get("projection_size") is None else _number(text, "projection_size", width),
        activation=str(text.get("hidden_act", "gelu_pytorch_tanh")),
        epsilon=epsilon,
    )


def fingerprint(folder: Path) -> str:
    """12 hex digits that change with the model: the revision of a folder that is no hub download.

    SHA-256 over the configuration and tokenizer files, and of each weight file its size, header, first and last
    64 KiB: 1.5 GB need not be read at every start. Raises ModelError when there is no such folder or no config.json.
    """
    try:
        digest = hashlib.sha256()
        names = ("config.json", "preprocessor_config.json", "processor_config.json", *TOKENIZER_FILES)
        for name in names:
            path = folder / name
            if name == "config.json" or path.is_file():
                content = path.read_bytes()
                digest.update(f"{name}\0{len(content)}\0".encode() + content)
        for path in sorted(folder.glob("*.safetensors")):
            header, size = read_header(path)
            digest.update(f"{path.name}\0{size}\0".encode() + header)
            with path.open("rb") as stream:
                digest.update(stream.read(_EDGE))
                stream.seek(max(0, size - _EDGE))
                digest.update(stream.read(_EDGE))
    except OSError as exc:
        raise ModelError(f"no model can be read in {folder}: {exc}", HINT) from exc
    return digest.hexdigest()[:12]


def lacking(folder: Path) -> str | None:
    """The first thing missing or cut short among a model's files, in words; None when all are there and whole."""
    if not (folder / "config.json").is_file():
        return "config.json"
    if not any((folder / name).is_file() for name in ("preprocessor_config.json", "processor_config.json")):
        return "preprocessor_config.json"
    if not any((folder / name).is_file() for name in ("spiece.model", "tokenizer.json", "tokenizer.model")):
        return "a tokenizer"
    try:
        for path in weight_files(folder):
            read_header(path)
    except ModelError as exc:
        return str(exc)
    return None


def _part(config: dict[str, Any], name: str) -> dict[str, Any]:
    part = config.get(name)
    return part if isinstance(part, dict) else {}


def _number(config: dict[str, Any], name: str, default: int) -> int:
    """A whole number above 0; transformers leaves out of config.json what equals its class's default."""
    value = config.get(name, default)
    if not isinstance(value, int) or value < 1:
        raise ModelError(f"config.json gives {value!r} for {name}", HINT)
    return value


def _processing(folder: Path) -> dict[str, Any]:
    """The image processor's settings. transformers 5 saves them inside processor_config.json, the hub's are apart."""
    if not (folder / "preprocessor_config.json").is_file() and (folder / "processor_config.json").is_file():
        return _part(read_object(folder / "processor_config.json"), "image_processor")
    return read_object(folder / "preprocessor_config.json")


def _check_processing(model: str, processing: dict[str, Any], image_size: int) -> None:
    size = processing.get("size", image_size)
    sides = (size.get("height"), size.get("width")) if isinstance(size, dict) else (size, size)
    mean, std = (processing.get(name, 0.5) for name in ("image_mean", "image_std"))
    factor = processing.get("rescale_factor", 1 / 255)
    plain = all(value in (0.5, [0.5, 0.5, 0.5]) for value in (mean, std))
    plain = plain and isinstance(factor, float) and abs(factor - 1 / 255) < 1e-9
    plain = plain and all(processing.get(step) is not False for step in ("do_resize", "do_rescale", "do_normalize"))
    if sides != (image_size, image_size) or not plain:
        raise ModelError(
            f"{model} wants images prepared otherwise than SigLIP's: {sides} px, mean {mean}, deviation {std}",
            f"picto prepares squares of {image_size} px with mean and deviation 0.5; use another model",
        )


def _resample(model: str, processing: dict[str, Any]) -> str:
    named = processing.get("resample")
    if named is None:  # the default of the processor's class: all fixed-resolution ones share SigLIP's
        return "bilinear" if str(processing.get("image_processor_type", "")).startswith("Siglip2") else "bicubic"
    if not isinstance(named, int) or named not in _RESAMPLE:
        raise ModelError(f"{model} wants resize filter {named}, which picto does not have", "use another model")
    return _RESAMPLE[named]
