"""`picto export` and Library.export: every row, exact, one at a time; and cells that a spreadsheet would run."""

from __future__ import annotations

import csv
import io
import json
import struct
from pathlib import Path
from typing import Any

import libraries
import numpy as np
import pytest
from program import peak, run

import pictocli
from pictocli.errors import NotFoundError, StoreError
from pictocli.render import as_object
from pictocli.schema import connect, transaction

FORMULAS = ("=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "\nx", "＝1", "＋1", "－1", "＠x")
PLAIN = ("1=1", "a-b", "'=1", "", "x\t=1", "{}")


def test_every_image_is_exported_once_in_the_order_of_ids(library: pictocli.Library) -> None:
    exported = list(library.export())
    assert [each.image_id for each in exported] == list(range(1, 19))
    for each in exported:
        assert each.embedding is None
        detail = as_object(library.show(each.image_id))
        shown = as_object(each)
        assert shown == {name: detail[name] for name in shown}
        assert set(detail) - set(shown) == {"model", "has_thumbnail", "copies"}


def test_embeddings_are_exported_as_they_are_stored(library: pictocli.Library, rows: Any) -> None:
    stored = dict(rows("SELECT i.id, e.v FROM image i JOIN embedding e ON e.content_id = i.content_id"))
    for each in library.export(embeddings=True):
        assert each.embedding is not None
        assert struct.pack(f"<{len(each.embedding)}f", *each.embedding) == stored[each.image_id]
    out = run("export", "--embeddings", "--db", library.path).out.splitlines()
    assert [json.loads(line)["embedding"] for line in out] == [
        list(struct.unpack("<24f", stored[image_id])) for image_id in sorted(stored)
    ]


@pytest.mark.parametrize(
    ("scope", "count"),
    [({}, 18), ({"dataset": "photos"}, 18), ({"folder": "scans"}, 8), ({"dataset": "photos", "folder": "beach"}, 3)],
    ids=["all", "dataset", "folder", "both"],
)
def test_a_scope_is_exported_alone(scope: dict[str, Any], count: int, library: pictocli.Library) -> None:
    assert len(list(library.export(**scope))) == count


def test_a_scope_that_is_not_there_is_told_before_the_first_row(library: pictocli.Library) -> None:
    with pytest.raises(NotFoundError, match="there is no dataset x"):
        library.export(dataset="x")
    with pytest.raises(StoreError, match="there is no database"):
        pictocli.open(library.path + "x").export()


def test_an_embedding_that_is_none_is_told(library: pictocli.Library) -> None:
    db = connect(library.path)
    db.execute("UPDATE embedding SET v = x'0102' WHERE content_id = 1")
    db.close()
    ran = run("export", "--embeddings", "--db", library.path)
    told = "error: the database is damaged: the embedding of image 1 is none"
    assert (ran.code, ran.err.splitlines()[0]) == (3, told)


def test_rows_are_not_held(tmp_path: Path) -> None:
    for count in (100, 100_000):
        libraries.make(tmp_path / f"{count}.db", libraries.clustered(count, 24, 3)).close()
    few, many = (peak("export", "--embeddings", "--db", str(tmp_path / f"{count}.db")) for count in (100, 100_000))
    assert many < few + 20  # held, they are 280 MB


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A library in which every text that a stranger chooses begins like a formula, or does not."""
    words = FORMULAS + PLAIN[1:]  # no folder of the name of another's page
    db = libraries.make(tmp_path / "x.db", np.eye(len(words), dtype="f4"), [[word] for word in words], folders=1)
    with transaction(db):
        for at, word in enumerate(words, 1):
            db.execute("UPDATE file SET name = ? WHERE id = ?", (word or "empty", at))
            db.execute("UPDATE image SET metadata = ? WHERE id = ?", (json.dumps({word: word}), at))
            db.execute("UPDATE image SET thumbnail_url = ? WHERE id = ?", (word, at))
        db.execute("UPDATE dataset SET name = '=cmd'")
        db.execute("UPDATE folder SET path = '@x'")
        db.execute("UPDATE root SET path = '-r'")
    db.close()
    return tmp_path / "x.db"


def _cells(db: Path, *options: str) -> list[dict[str, str]]:
    ran = run("export", "--format", "csv", *options, "--db", db)
    assert (ran.code, ran.err) == (0, "")
    return list(csv.DictReader(io.StringIO(ran.out.decode(), newline=""), strict=True))


def test_what_a_spreadsheet_would_run_is_exact_by_default_and_a_text_when_asked(hostile: Path) -> None:
    exact, safe = _cells(hostile), _cells(hostile, "--spreadsheet-safe")
    names = ("filename", "objects", "thumbnail_url", "folder", "dataset", "path")
    for word, row, made in zip(FORMULAS + PLAIN[1:], exact, safe, strict=True):
        path = f"-r/@x/{word or 'empty'}"
        assert [row[name] for name in names] == [word or "empty", word, word, "@x", "=cmd", path]
        mark = "'" if word in FORMULAS else ""
        assert [made[name] for name in names] == [
            mark + (word or "empty"), mark + word, mark + word, "'@x", "'=cmd", "'" + path
        ]  # fmt: skip
        assert json.loads(row["metadata"]) == {word: word}  # begins with a brace
        others = set(row) - set(names)
        assert {name: row[name] for name in others} == {name: made[name] for name in others}
