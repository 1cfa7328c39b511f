"""Hostile and damaged safetensors files: refused before a number is believed."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path
from typing import Any

import pytest
from checkpoints import write_json

from pictocli.errors import ModelError
from pictocli.weights import Tensors, read_header, weight_files


def write(folder: Path, header: object, data: bytes = b"", name: str = "model.safetensors") -> Path:
    encoded = header if isinstance(header, bytes) else json.dumps(header).encode()
    (folder / name).write_bytes(struct.pack("<Q", len(encoded)) + encoded + data)
    return folder / name


def entry(dtype: Any, shape: Any, start: Any, end: Any) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


@pytest.mark.parametrize(
    ("dtype", "stored", "start"),
    [("F32", struct.pack("<6f", *range(6)), 4), ("F16", b"\0" * 12, 2), ("BF16", b"\0" * 12, 2)],
)
def test_where_a_tensor_lies(dtype: str, stored: bytes, start: int, tmp_path: Path) -> None:
    first = b"\0" * start
    header = {"a": entry(dtype, [1], 0, start), "b": entry(dtype, [2, 3], start, start + len(stored))}
    path = write(tmp_path, {"__metadata__": {"format": "pt"}} | header, first + stored)
    tensors = Tensors(tmp_path)
    found = tensors.find("b", (9,), (2, 3))
    assert (found.path, found.dtype, found.shape) == (path, dtype, (2, 3))
    assert path.read_bytes()[found.start :] == stored
    assert "b" in tensors
    assert "c" not in tensors


@pytest.mark.parametrize(
    ("dtype", "stored", "value"), [("F32", "<f", 1.5), ("F16", "<e", -2.25), ("BF16", None, 112.5)]
)
@pytest.mark.parametrize("shape", [[], [1]])
def test_single_numbers(shape: list[int], dtype: str, stored: str | None, value: float, tmp_path: Path) -> None:
    data = struct.pack(stored, value) if stored else struct.pack("<f", value)[2:]
    write(tmp_path, {"logit_scale": entry(dtype, shape, 0, len(data))}, data)
    assert Tensors(tmp_path).scalar("logit_scale") == value


@pytest.mark.parametrize(
    ("header", "data", "message"),
    [
        pytest.param({"a": entry("F32", [1], 0, 8)}, 4, "instead of", id="ends beyond the file"),
        pytest.param({"a": entry("F32", [1], 2**60, 2**60 + 4)}, 4, "gaps", id="begins beyond the file"),
        pytest.param({"a": entry("F32", [1], -4, 0)}, 4, "out of order", id="begins in the header"),
        pytest.param({"a": entry("F32", [1], 4, 0)}, 4, "out of order", id="backwards"),
        pytest.param({"a": entry("F32", [1], 0.0, 4.0)}, 4, "out of order", id="fractions"),
        pytest.param({"a": entry("F32", [1], "0", "4")}, 4, "out of order", id="words"),
        pytest.param({"a": entry("F32", [2], 0, 8), "b": entry("F32", [2], 4, 12)}, 12, "overlap", id="overlap"),
        pytest.param({"a": entry("F32", [1], 0, 4), "b": entry("F32", [1], 0, 4)}, 4, "overlap", id="the same place"),
        pytest.param({"a": entry("F32", [1], 0, 4), "b": entry("F32", [1], 8, 12)}, 12, "gaps", id="a gap"),
        pytest.param({"a": entry("F32", [1], 0, 4)}, 9, "instead of", id="more than is told"),
        pytest.param(b"[" * 100_000, 0, "header", id="depth without end"),
        pytest.param(b'{"a": ' + b"9" * 5000 + b"}", 0, "header", id="a number without end"),
        pytest.param(b"\xff\xfe\xfd", 0, "header", id="in no encoding"),
        pytest.param({"a": {"data_offsets": [0, 4, 8]}}, 8, "header", id="three offsets"),
        pytest.param({"a": {"data_offsets": [True, 4]}}, 4, "gaps", id="a truth value"),
    ],
)
def test_hostile_headers_are_refused(header: object, data: int, message: str, tmp_path: Path) -> None:
    path = write(tmp_path, header, b"\0" * data)
    with pytest.raises(ModelError, match=message) as caught:
        read_header(path)
    assert caught.value.hint
    with pytest.raises(ModelError):
        Tensors(tmp_path)


@pytest.mark.parametrize(
    "found",
    [
        pytest.param(entry("F32", [4], 0, 16), id="another rank"),
        pytest.param(entry("F32", [4, 1], 0, 16), id="another order"),
        pytest.param(entry("F32", [2, 2, 1], 0, 16), id="one more axis"),
        pytest.param(entry("F32", [-2, -2], 0, 16), id="negative"),
        pytest.param(entry("F32", [2.5, 2], 0, 16), id="a fraction"),
        pytest.param(entry("F32", "22", 0, 16), id="a word"),
        pytest.param(entry("F32", None, 0, 16), id="none"),
        pytest.param(entry("F32", [10**30, 10**30], 0, 16), id="absurd"),
        pytest.param(entry("F32", [2, 2], 0, 12), id="too few numbers"),
        pytest.param(entry("F32", [2, 2], 0, 20), id="too many numbers"),
        pytest.param(entry("F16", [2, 2], 0, 16), id="a wider type"),
        pytest.param(entry("F64", [2, 2], 0, 32), id="float64"),
        pytest.param(entry("I32", [2, 2], 0, 16), id="whole numbers"),
        pytest.param(entry(None, [2, 2], 0, 16), id="no type"),
        pytest.param(entry([], [2, 2], 0, 16), id="a list for a type"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(found: dict[str, Any], tmp_path: Path) -> None:
    write(tmp_path, {"a": found}, b"\0" * found["data_offsets"][1])
    tensors = Tensors(tmp_path)
    with pytest.raises(ModelError, match=r"a in .* is not 2 × 2 numbers"):
        tensors.find("a", (2, 2))
    with pytest.raises(ModelError, match="hold no b"):
        tensors.find("b", (2, 2))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_number_that_is_not_finite_is_refused(value: float, tmp_path: Path) -> None:
    write(tmp_path, {"logit_scale": entry("F32", [], 0, 4)}, struct.pack("<f", value))
    with pytest.raises(ModelError, match="finite"):
        Tensors(tmp_path).scalar("logit_scale")


def test_the_whole_file_is_preferred_to_shards(tmp_path: Path) -> None:
    write_json(tmp_path / "model.safetensors.index.json", {"weight_map": {"a": "gone.safetensors"}})
    whole = write(tmp_path, {"a": entry("F32", [1], 0, 4)}, b"\0" * 4)
    assert weight_files(tmp_path) == [whole]


@pytest.mark.parametrize("index", [{}, {"weight_map": {}}, {"weight_map": []}, {"weight_map": "a"}])
def test_an_index_of_nothing_is_refused(index: object, tmp_path: Path) -> None:
    write_json(tmp_path / "model.safetensors.index.json", index)
    with pytest.raises(ModelError, match="names no files"):
        weight_files(tmp_path)


def test_shards_are_one_checkpoint(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write(tmp_path, {name: entry("F32", [1], 0, 4)}, struct.pack("<f", len(name)), f"{name}.safetensors")
    index = {"weight_map": {"one": "one.safetensors", "two": "two.safetensors"}}
    write_json(tmp_path / "model.safetensors.index.json", index)
    assert Tensors(tmp_path).scalar("two") == 3
    assert Tensors(tmp_path).find("one", (1,)).path == tmp_path / "one.safetensors"
