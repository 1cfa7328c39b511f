"""rm: what is named goes, whole or not at all, and no file is touched."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pictures import make_pdf
from test_keeping import make

import pictocli
from pictocli.errors import NotFoundError, PictoError, ValidationError

Rows = Callable[..., list[tuple[Any, ...]]]
Index = Callable[..., pictocli.records.IndexReport]


@pytest.fixture
def filled(tmp_path: Path, index: Index, ours: pictocli.Library) -> pictocli.Library:
    """Datasets a, with two folders and a PDF, and b, with one folder."""
    make(tmp_path / "a" / "one", 3)
    make(tmp_path / "a" / "one more", 2, 1)
    make_pdf(tmp_path / "a" / "report.pdf", [1, 2, 3])
    (tmp_path / "a" / "notes.txt").write_text("no picture")
    make(tmp_path / "b" / os.fsdecode(b"caf\xe9") / "deep", 2, 2)
    index(tmp_path / "a", tmp_path / "b")
    return ours


def left(rows: Rows) -> dict[str, int]:
    """Images by folder."""
    return {os.fsdecode(path): count for path, count in rows("SELECT path, images FROM folder ORDER BY id")}


ALL = {"": 3, "one": 3, "one more": 2, "caf\udce9/deep": 2}


@pytest.mark.parametrize(
    ("names", "options", "images", "expected", "emptied"),
    [
        (["a/one/00.png"], {}, 1, ALL | {"one": 2}, ""),
        (["id:1", 2], {}, 2, ALL | {"": 1}, ""),
        (["a/report.pdf#page=2"], {}, 1, ALL | {"": 2}, ""),
        (["a/report.pdf"], {}, 3, ALL | {"": 0}, ""),
        (["a/report.pdf", "a/report.pdf#page=2", "id:1"], {}, 3, ALL | {"": 0}, ""),
        (["a/report.pdf#page=1", "a/report.pdf#page=2", "a/report.pdf#page=3"], {}, 3, ALL | {"": 0}, ""),
        (["a/one"], {"yes": True}, 3, {k: v for k, v in ALL.items() if k != "one"}, ""),
        (["b/caf\udce9"], {"yes": True}, 2, {k: v for k, v in ALL.items() if not k.startswith("caf")}, ""),
        (["a"], {"yes": True}, 8, {"caf\udce9/deep": 2}, "a"),
        ([""], {"yes": True}, 10, {}, "ab"),
        ([], {"dataset": "b", "yes": True}, 2, {k: v for k, v in ALL.items() if not k.startswith("caf")}, "b"),
        (["a/notes.txt"], {}, 0, ALL, ""),
    ],
    ids=str,
)
def test_what_is_named_goes(
    names: list[Any], options: dict[str, Any], images: int, expected: dict[str, int], emptied: str,
    tmp_path: Path, rows: Rows, filled: pictocli.Library,
) -> None:  # fmt: skip
    before = sorted(path for path in tmp_path.rglob("*") if "library.db" not in path.name)
    given = [n if isinstance(n, int) or n.startswith("id:") else tmp_path / n if n else tmp_path for n in names]
    told = filled.remove(given, **options, dry_run=True)
    assert left(rows) == ALL
    report = filled.remove(given, **options)
    assert (report.images, report.files) == (images, told.files)
    assert left(rows) == expected
    assert rows("SELECT count(*) FROM image") == [(sum(expected.values()),)]
    roots = [str(tmp_path / name) for name in "ab" if name not in emptied]
    assert rows("SELECT path FROM root") == [(root,) for root in roots]
    assert rows("SELECT count(*) FROM dataset") == [(len(roots),)]
    assert sorted(path for path in tmp_path.rglob("*") if "library.db" not in path.name) == before


@pytest.mark.parametrize(
    ("names", "options", "error", "sentence"),
    [
        (["a/one"], {}, ValidationError, "3 images would go"),
        ([], {"dataset": "b"}, ValidationError, "2 images would go"),
        (["a/one/00.png", "a/none.png"], {"yes": True}, NotFoundError, "not in the library: {}/a/none.png"),
        (["id:99"], {}, NotFoundError, "no image has the id 99"),
        (["id:x"], {}, ValidationError, "id:x is not an image id"),
        (["a/report.pdf#page=9"], {}, NotFoundError, "not in the library: {}/a/report.pdf#page=9"),
        ([], {"dataset": "c"}, NotFoundError, "there is no dataset c"),
    ],
    ids=str,
)
def test_otherwise_nothing_goes(
    names: list[str], options: dict[str, Any], error: type[PictoError], sentence: str, tmp_path: Path, rows: Rows,
    filled: pictocli.Library,
) -> None:  # fmt: skip
    given = [name if name.startswith("id:") else tmp_path / name for name in names]
    with pytest.raises(error) as told:
        filled.remove(given, **options)
    assert str(told.value) == sentence.replace("{}", str(tmp_path))
    assert left(rows) == ALL


def test_what_still_lies_there_comes_back(tmp_path: Path, index: Index, rows: Rows, filled: pictocli.Library) -> None:
    (tmp_path / "a" / "one" / "02.png").unlink()
    report = filled.remove([tmp_path / "a" / "one" / "00.png", tmp_path / "a" / "one" / "02.png"])
    assert report.back == 1
    assert index(tmp_path / "a").indexed == 1
    assert left(rows) == ALL | {"one": 2}


def test_a_copy_keeps_what_both_showed(tmp_path: Path, index: Index, rows: Rows, filled: pictocli.Library) -> None:
    (tmp_path / "a" / "copy.png").write_bytes((tmp_path / "a" / "one" / "00.png").read_bytes())
    index(tmp_path / "a")
    contents = rows("SELECT count(*) FROM content")
    filled.remove([tmp_path / "a" / "one" / "00.png"])
    assert rows("SELECT count(*) FROM content") == contents
