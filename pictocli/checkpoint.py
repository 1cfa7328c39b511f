"""What a model's files say of themselves, read with the standard library alone: no torch, transformers or numpy.

So the commands that only need to know which model a database belongs to stay fast, and a broken or foreign checkpoint
is refused in a millisecond rather than after 4 s of imports.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pictocli.errors import ModelError
from pictocli.records import ModelSpec

__all__ = ["TOKENIZER_FILES", "ModelFiles", "fingerprint", "lacking", "read_spec"]

TOKENIZER_FILES = (
    "special_tokens_map.json",
    "spiece.model",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
)
_WHOLE = "model.safetensors"
_SHARDS = "model.safetensors.index.json"
_HEADER_LIMIT = 100_000_000  # the safetensors library's own limit
_EDGE = 65_536
_RESAMPLE = {2: "bilinear", 3: "bicubic"}  # PIL's numbers, which preprocessor_config.json holds
_HINT = "fetch the model's files again, or use --model mini"


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """Where a model's files lie. id: hub id, "mini", or an absolute folder. revision: hub commit, or `fingerprint`."""

    id: str
    revision: str
    folder: Path


def read_spec(files: ModelFiles) -> ModelSpec:
    """Read what fixes the embedding space: sizes, the resize filter, scale and bias.

    Raises ModelError when a file is missing or broken, when the model is not a fixed-resolution SigLIP or SigLIP 2,
    or when its preprocessing is not what picto does (a square, x / 127.5 - 1).
    """
    config = _object(files.folder / "config.json")
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
    tensors = _Tensors(files.folder)
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
            header, size = _header(path)
            digest.update(f"{path.name}\0{size}\0".encode() + header)
            with path.open("rb") as stream:
                digest.update(stream.read(_EDGE))
                stream.seek(max(0, size - _EDGE))
                digest.update(stream.read(_EDGE))
    except OSError as exc:
        raise ModelError(f"no model can be read in {folder}: {exc}", _HINT) from exc
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
        for path in _weights(folder):
            _header(path)
    except ModelError as exc:
        return str(exc)
    return None


def _object(path: Path) -> dict[str, Any]:
    try:
        loaded = json.loads(path.read_bytes())
    except FileNotFoundError as exc:
        raise ModelError(f"there is no {path.name} in {path.parent}", _HINT) from exc
    except (OSError, ValueError) as exc:
        raise ModelError(f"cannot read {path}: {exc}", _HINT) from exc
    if not isinstance(loaded, dict):
        raise ModelError(f"{path} does not hold a JSON object", _HINT)
    return loaded


def _part(config: dict[str, Any], name: str) -> dict[str, Any]:
    part = config.get(name)
    return part if isinstance(part, dict) else {}


def _number(config: dict[str, Any], name: str, default: int) -> int:
    """A whole number above 0; transformers leaves out of config.json what equals its class's default."""
    value = config.get(name, default)
    if not isinstance(value, int) or value < 1:
        raise ModelError(f"config.json gives {value!r} for {name}", _HINT)
    return value


def _processing(folder: Path) -> dict[str, Any]:
    """The image processor's settings. transformers 5 saves them inside processor_config.json, the hub's are apart."""
    if not (folder / "preprocessor_config.json").is_file() and (folder / "processor_config.json").is_file():
        return _part(_object(folder / "processor_config.json"), "image_processor")
    return _object(folder / "preprocessor_config.json")


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


def _weights(folder: Path) -> list[Path]:
    """The safetensors files that make up the model, each present. transformers prefers the whole file, so do we."""
    if (folder / _WHOLE).is_file():
        return [folder / _WHOLE]
    if not (folder / _SHARDS).is_file():
        raise ModelError(f"there is no {_WHOLE} in {folder}", "picto reads safetensors only, never pickled weights")
    names = sorted({str(name) for name in _part(_object(folder / _SHARDS), "weight_map").values()})
    for name in names:
        if not re.fullmatch(r"[\w.-]+\.safetensors", name) or not (folder / name).is_file():
            raise ModelError(f"{_SHARDS} in {folder} names {name}, which is not there", _HINT)
    if not names:
        raise ModelError(f"{_SHARDS} in {folder} names no files", _HINT)
    return [folder / name for name in names]


def _header(path: Path) -> tuple[bytes, int]:
    """A safetensors file's header and the file's size in bytes. Raises ModelError when it is cut short or no such."""
    try:
        with path.open("rb") as stream:
            size = stream.seek(0, 2)
            stream.seek(0)
            start = stream.read(8)
            length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
            header = stream.read(length) if 2 <= length <= min(_HEADER_LIMIT, size - 8) else b""
    except OSError as exc:
        raise ModelError(f"cannot read {path}: {exc}", _HINT) from exc
    if not header:
        raise ModelError(f"{path} is no whole safetensors file", _HINT)
    end = max((entry["data_offsets"][1] for entry in _entries(header, path).values()), default=0)
    if size != 8 + length + end:
        raise ModelError(f"{path} holds {size} bytes instead of {8 + length + end}", _HINT)
    return header, size


def _entries(header: bytes, path: Path) -> dict[str, dict[str, Any]]:
    """Tensor name → {dtype, shape, data_offsets}, the offsets checked to be two ordered integers."""
    try:
        tensors = {name: dict(entry) for name, entry in json.loads(header).items() if name != "__metadata__"}
        for entry in tensors.values():
            start, end = entry["data_offsets"]
            if not (isinstance(start, int) and isinstance(end, int) and 0 <= start <= end):
                raise ValueError("offsets out of order")
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as exc:
        raise ModelError(f"the header of {path} cannot be read: {exc}", _HINT) from exc
    return tensors


class _Tensors:
    """Reads single numbers out of a checkpoint's weight files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._at: dict[str, tuple[Path, int, dict[str, Any]]] = {}
        for path in _weights(folder):
            header, _ = _header(path)
            self._at.update({name: (path, 8 + len(header), entry) for name, entry in _entries(header, path).items()})

    def scalar(self, name: str) -> float:
        """The one number in a tensor of shape [] or [1], stored as F32, F16 or BF16."""
        if name not in self._at:
            raise ModelError(f"the weights in {self._folder} hold no {name}", "use a whole SigLIP model, both towers")
        path, start, entry = self._at[name]
        formats = {"F32": ("<f", 4), "F16": ("<e", 2), "BF16": ("<f", 2)}
        layout, width = formats.get(str(entry.get("dtype")), ("", 0))
        first, end = entry["data_offsets"]
        if not width or end - first != width:
            raise ModelError(f"{name} in {path} is not one number of type F32, F16 or BF16", _HINT)
        with path.open("rb") as stream:
            stream.seek(start + first)
            raw = stream.read(width)
        if entry["dtype"] == "BF16":
            raw = b"\0\0" + raw  # bfloat16 is the upper half of a float32
        value = float(struct.unpack(layout, raw)[0])
        if not math.isfinite(value):
            raise ModelError(f"{name} in {path} is not a finite number", _HINT)
        return value
