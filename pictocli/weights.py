"""Safetensors files, read with the standard library alone: which tensors there are, and where their numbers lie.

The format (https://huggingface.co/docs/safetensors, "Format"): 8 bytes of length, a JSON header of that length with
each tensor's type, shape and span, then the numbers, little-endian, without gaps or overlaps. A header may come from
anywhere, so nothing in it is believed before it is compared with the file's size and the shape that is wanted.

The safetensors package's reader for numpy (0.8) fails on BF16, which numpy does not have; hence this one.
"""

from __future__ import annotations

import json
import math
import os
import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pictocli.errors import ModelError

__all__ = ["HINT", "Stored", "Tensors", "read_header", "read_object", "weight_files"]

HINT = "fetch the model's files again, or use --model mini"
_WHOLE = "model.safetensors"
_SHARDS = "model.safetensors.index.json"
_HEADER_LIMIT = 100_000_000  # the safetensors library's own limit
_WIDTHS = {"F32": 4, "F16": 2, "BF16": 2}  # bytes a number


@dataclass(frozen=True, slots=True)
class Stored:
    """Where a tensor lies. start: bytes from the file's beginning. dtype: "F32", "F16" or "BF16"."""

    path: Path
    start: int
    dtype: str
    shape: tuple[int, ...]


class Tensors:
    """The tensors of a checkpoint, one file or several. Reads no numbers but single ones."""

    def __init__(self, folder: Path) -> None:
        """Raises ModelError when there are no safetensors files, or one of them is not whole."""
        self._folder = folder
        self._at: dict[str, tuple[Path, int, dict[str, Any]]] = {}
        for path in weight_files(folder):
            header, _ = read_header(path)
            self._at.update({name: (path, 8 + len(header), entry) for name, entry in _entries(header, path).items()})

    def __contains__(self, name: str) -> bool:
        return name in self._at

    def find(self, name: str, *shapes: tuple[int, ...]) -> Stored:
        """Where `name` lies. Raises ModelError unless it is there, has one of these shapes and a type of `Stored`."""
        if name not in self._at:
            raise ModelError(f"the weights in {self._folder} hold no {name}", "use a whole SigLIP model, both towers")
        path, start, entry = self._at[name]
        first, end = entry["data_offsets"]
        dtype, shape = str(entry.get("dtype")), entry.get("shape")
        found = next((each for each in shapes if list(each) == shape), None)
        if found is None or end - first != math.prod(found) * _WIDTHS.get(dtype, -1):
            wanted = "one number" if math.prod(shapes[0]) == 1 else f"{' × '.join(map(str, shapes[0]))} numbers"
            raise ModelError(f"{name} in {path} is not {wanted} of type F32, F16 or BF16", HINT)
        return Stored(path, start + first, dtype, found)

    def scalar(self, name: str) -> float:
        """The one number of shape [] or [1] in `name`. Raises ModelError as `find` does, and when it is not finite."""
        at = self.find(name, (), (1,))
        with at.path.open("rb") as stream:
            stream.seek(at.start)
            raw = stream.read(_WIDTHS[at.dtype])
        if at.dtype == "BF16":
            raw = b"\0\0" + raw  # bfloat16 is the upper half of a float32
        value = float(struct.unpack("<e" if at.dtype == "F16" else "<f", raw)[0])
        if not math.isfinite(value):
            raise ModelError(f"{name} in {at.path} is not a finite number", HINT)
        return value


def read_object(path: Path) -> dict[str, Any]:
    """The object in a JSON file. Raises ModelError when there is none."""
    try:
        loaded = json.loads(path.read_bytes())
    except FileNotFoundError as exc:
        raise ModelError(f"there is no {path.name} in {path.parent}", HINT) from exc
    except (OSError, RecursionError, ValueError) as exc:
        raise ModelError(f"cannot read {path}: {exc}", HINT) from exc
    if not isinstance(loaded, dict):
        raise ModelError(f"{path} does not hold a JSON object", HINT)
    return loaded


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files that make up the model, each present. transformers prefers the whole file, so do we."""
    if (folder / _WHOLE).is_file():
        return [folder / _WHOLE]
    if not (folder / _SHARDS).is_file():
        raise ModelError(f"there is no {_WHOLE} in {folder}", "picto reads safetensors only, never pickled weights")
    listed = read_object(folder / _SHARDS).get("weight_map")
    names = sorted({str(name) for name in listed.values()}) if isinstance(listed, dict) else []
    for name in names:
        if not re.fullmatch(r"[\w.-]+\.safetensors", name) or not os.path.isfile(folder / name):
            raise ModelError(f"{_SHARDS} in {folder} names {name}, which is not there", HINT)
    if not names:
        raise ModelError(f"{_SHARDS} in {folder} names no files", HINT)
    return [folder / name for name in names]


def read_header(path: Path) -> tuple[bytes, int]:
    """A safetensors file's header and the file's size in bytes. Raises ModelError when it is cut short or no such."""
    try:
        with path.open("rb") as stream:
            size = stream.seek(0, 2)
            stream.seek(0)
            start = stream.read(8)
            length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
            header = stream.read(length) if 2 <= length <= min(_HEADER_LIMIT, size - 8) else b""
    except OSError as exc:
        raise ModelError(f"cannot read {path}: {exc}", HINT) from exc
    if not header:
        raise ModelError(f"{path} is no whole safetensors file", HINT)
    spans = sorted(tuple(entry["data_offsets"]) for entry in _entries(header, path).values())
    end = 0
    for first, last in spans:
        if first != end:
            raise ModelError(f"the header of {path} cannot be read: tensors overlap or leave gaps", HINT)
        end = last
    if size != 8 + length + end:
        raise ModelError(f"{path} holds {size} bytes instead of {8 + length + end}", HINT)
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
        raise ModelError(f"the header of {path} cannot be read: {exc}", HINT) from exc
    return tensors
