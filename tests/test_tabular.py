"""Parquet: every type of Arrow's as JSON has it, and files that cannot be read."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import pictocli
from pictocli.errors import NotFoundError, PictoError, ValidationError
from pictocli.metadata import Metadata
from pictocli.tabular import rows


def written(path: Path, columns: dict[str, Any]) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


@pytest.mark.parametrize(
    ("column", "value"),
    [
        (pa.array(["é"]), "é"),
        (pa.array(["é"], pa.large_string()), "é"),
        (pa.array(["é"]).dictionary_encode(), "é"),
        (pa.array([5], pa.int8()), 5),
        (pa.array([2**64 - 1], pa.uint64()), 2**64 - 1),
        (pa.array([1.5], pa.float32()), 1.5),
        (pa.array([float("nan")]), None),
        (pa.array([None], pa.int32()), None),
        (pa.array([True]), True),
        (pa.array([Decimal("49.90")]), 49.9),
        (pa.array([Decimal("50.00")]), 50),
        (pa.array([date(2024, 5, 1)]), "2024-05-01"),
        (pa.array([datetime(2024, 5, 1, 12)]), "2024-05-01T12:00:00"),
        (pa.array([1714564800123456789], pa.timestamp("ns")), "2024-05-01T12:00:00.123456"),
        (pa.array([datetime(2024, 5, 1, 12, tzinfo=UTC)], pa.timestamp("ms", "UTC")), "2024-05-01T12:00:00+00:00"),
        (pa.array([time(12, 30)], pa.time64("ns")), "12:30:00"),
        (pa.array([timedelta(minutes=1)], pa.duration("ns")), 60.0),
        (pa.array([b"abc"]), "abc"),
        (pa.array([b"\xff\x00"]), "/wA="),
        (pa.array([[1, None]]), [1, None]),
        (pa.array([[]], pa.list_(pa.int32())), []),
        (pa.array([{"name": "acme", "at": 1}], pa.struct([("name", pa.string()), ("at", pa.timestamp("ns"))])),
         {"name": "acme", "at": "1970-01-01T00:00:00"}),
        (pa.array([[{"a": {"b": [1.0]}}]]), [{"a": {"b": [1.0]}}]),
        (pa.array([[("k", 1), ("l", 2)]], pa.map_(pa.string(), pa.int64())), {"k": 1, "l": 2}),
        (pa.nulls(1), None),
    ],
    ids=lambda each: str(each.type) if isinstance(each, pa.Array) else "",
)  # fmt: skip
def test_every_type_becomes_json(column: pa.Array, value: Any, tmp_path: Path) -> None:
    (row,) = rows(written(tmp_path / "x.parquet", {"path": ["a.jpg"], "f": column}))
    assert row == {"path": "a.jpg", "f": value}
    assert json.loads(json.dumps(row, allow_nan=False)) == row


def test_rows_come_in_their_order_whatever_their_number(tmp_path: Path) -> None:
    path = written(tmp_path / "x.parquet", {"n": list(range(5000))})
    assert [row["n"] for row in rows(path)] == list(range(5000))


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "cannot read"), (b"PAR1", "cannot read"), (b"path,a\nx.jpg,1\n" * 9, "cannot read"), ("cut", "cannot read"),
     ("infinite", "row 2: an infinite number"), ("twice", "two columns a"), ("long", "row 1: longer than"),
     ("nothing", "a row has no path, filename or url")],
    ids=str,
)  # fmt: skip
def test_bad_files_are_refused_in_a_sentence(content: bytes | str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content == "cut":
        written(path, {"path": ["a.jpg"] * 100})
        path.write_bytes(path.read_bytes()[:-20])
    elif content == "twice":
        pq.write_table(pa.table([[1], [2]], names=["a", "a"]), path)
    else:
        columns = {"infinite": {"path": ["a", "b"], "f": [1.0, float("-inf")]}, "nothing": {"path": [None]},
                   "long": {"path": ["a"], "f": ["x" * 2**21]}}  # fmt: skip
        written(path, columns[content])
    with pytest.raises(ValidationError, match=message) as told:
        Metadata(str(path))
    assert "\n" not in str(told.value)


def test_no_such_file_and_no_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotFoundError, match="no such file"):
        Metadata(str(tmp_path / "x.parquet"))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(PictoError, match="cannot be read without pyarrow") as told:
        list(rows(written(tmp_path / "x.parquet", {"path": ["a"]})))
    assert (told.value.exit_code, told.value.hint) == (3, "pip install 'pictocli[parquet]'")


ASKED = (
    "price<50", "price>=50", "price!=50", "brand=acme", "brand!=acme", "brand~AC", "price", "price=null", "note=null",
    "stock in (1, 7)", "sold=true", "sold!=true", "day>2024-01",
)  # fmt: skip
LINES = (
    ("old.bmp", 49.9, "acme", 1, True, "2024-05-01", None), ("cat.png", 50, "Acme & Co", 2, False, "2023-05-01", "x"),
    ("bird.webp", 1000, "bolt", 7, True, "2024-01-02", None), ("dog.gif", None, "acme", None, None, "2022-01-01", "y"),
)  # fmt: skip
NAMES = ("filename", "price", "brand", "stock", "sold", "day", "note")


def test_csv_jsonl_and_parquet_give_the_same_answers(
    tmp_path: Path, library: pictocli.Library, photos: Path, index: Callable[..., Any]
) -> None:
    def cell(value: Any) -> str:
        return "" if value is None else str(value)

    text = "\n".join([",".join(NAMES), *(",".join(map(cell, line)) for line in LINES)])
    (tmp_path / "m.csv").write_text(text + "\n")
    lines = [dict(zip(NAMES, line, strict=True)) for line in LINES]
    (tmp_path / "m.jsonl").write_text("\n".join(map(json.dumps, lines)))
    columns: dict[str, Any] = {name: [line[name] for line in lines] for name in NAMES}
    columns["price"] = pa.array([None if each is None else Decimal(str(each)) for each in columns["price"]])
    columns["day"] = pa.array([date.fromisoformat(each) for each in columns["day"]])
    written(tmp_path / "m.parquet", columns)
    answers = []
    for name, described in (("m.csv", 4), ("m.jsonl", 4), ("m.parquet", 0)):  # the last has what the one before has
        report = index(photos, metadata=str(tmp_path / name))
        assert (report.described, report.unmatched, report.duplicates) == (described, 0, 0)
        with pictocli.open(library.path) as asked:
            answers.append({
                text: [each.filename for each in asked.tagged(where=text, limit=500).results] for text in ASKED
            })  # fmt: skip
    assert answers[0] == answers[1] == answers[2]
    assert answers[0]["price<50"] == ["old.bmp"]
    assert sorted(answers[0]["price>=50"]) == ["bird.webp", "cat.png"]
    assert sorted(answers[0]["brand=acme"]) == ["dog.gif", "old.bmp"]
    assert all(answers[0].values())
