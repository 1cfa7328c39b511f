"""Duplicates in a library: groups, what to keep, what cannot be compared, and every format of the answer."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from program import run
from test_matching import photo

import pictocli
from pictocli.errors import DamagedError, NotFoundError, ValidationError
from pictocli.grouped import Duplicates
from pictocli.schema import connect

TIMES = {"a.jpg": 300, "b/a again.jpg": 100, "b/half.jpg": 200, "c.png": 400, "c turned.jpg": 50, "other.jpg": 10}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three pictures of a, two of c, one of its own, and one page of a PDF."""
    made = tmp_path / "pictures"
    (made / "b").mkdir(parents=True)
    photo(1).save(made / "a.jpg", quality=90)
    shutil.copy(made / "a.jpg", made / "b/a again.jpg")
    photo(1).resize((160, 120), Image.Resampling.LANCZOS).save(made / "b/half.jpg", quality=90)
    photo(2).save(made / "c.png")
    photo(2).transpose(Image.Transpose.ROTATE_90).save(made / "c turned.jpg", quality=90)
    photo(3).save(made / "other.jpg", quality=90)
    photo(3).save(made / "other.pdf")
    for name, at in TIMES.items():
        os.utime(made / name, (at, at))
    return made


@pytest.fixture
def asked(folder: Path, index: Callable[..., Any], tmp_path: Path) -> Callable[..., Duplicates]:
    """Asks the library of that folder."""
    index(folder)

    def ask(**options: Any) -> Duplicates:
        with pictocli.open(tmp_path / "library.db") as library:
            return library.duplicates(**options)

    return ask


def told(found: Duplicates, folder: Path) -> list[list[str]]:
    """name and how, of each image of each group."""
    how = {"near": "~", "exact": "=", "same": "≈", "first": ""}
    return [[how[each.kind] + os.path.relpath(each.path, folder) for each in group.images] for group in found.groups]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        pytest.param({}, [["a.jpg", "=b/a again.jpg", "~b/half.jpg"], ["c turned.jpg", "~c.png"]], id="all"),
        pytest.param({"exact": True}, [["a.jpg", "=b/a again.jpg"]], id="exact"),
        pytest.param(
            {"keep": "largest"}, [["a.jpg", "=b/a again.jpg", "~b/half.jpg"], ["c.png", "~c turned.jpg"]], id="largest"
        ),
        pytest.param(
            {"keep": "oldest"}, [["b/a again.jpg", "~b/half.jpg", "=a.jpg"], ["c turned.jpg", "~c.png"]], id="oldest"
        ),
        pytest.param(
            {"keep": "newest"}, [["a.jpg", "~b/half.jpg", "=b/a again.jpg"], ["c.png", "~c turned.jpg"]], id="newest"
        ),
        pytest.param(
            {"keep": "first"}, [["a.jpg", "~b/half.jpg", "=b/a again.jpg"], ["c turned.jpg", "~c.png"]], id="first"
        ),
        pytest.param({"folder": "b"}, [["b/a again.jpg", "~b/half.jpg"]], id="a folder"),
        pytest.param(
            {"pages": True},
            [
                ["a.jpg", "=b/a again.jpg", "~b/half.jpg"],
                ["c turned.jpg", "~c.png"],
                ["other.jpg", "~other.pdf#page=1"],
            ],
            id="pages",
        ),
    ],
)
def test_groups(
    options: dict[str, Any], expected: list[list[str]], asked: Callable[..., Duplicates], folder: Path
) -> None:
    found = asked(**options)
    assert told(found, folder) == expected
    assert [group.group for group in found.groups] == list(range(1, len(expected) + 1))
    kept = [[each.kept for each in group.images] for group in found.groups]
    rule = "keep" in options
    assert kept == [[(at == 0) if rule else None for at in range(len(group))] for group in expected]
    assert (found.lacking, found.plain) == (0, 0)


def test_a_time_of_taking_goes_before_a_files_time(
    asked: Callable[..., Duplicates], folder: Path, tmp_path: Path
) -> None:
    db = connect(str(tmp_path / "library.db"))
    db.execute(
        "INSERT INTO capture(content_id, taken_at) SELECT i.content_id, 1 FROM image i JOIN file f ON f.id = i.file_id"
        " WHERE f.name = 'c.png'"
    )
    db.close()
    assert told(asked(keep="oldest"), folder)[1] == ["c.png", "~c turned.jpg"]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        pytest.param({"keep": "best"}, ValidationError, id="no such rule"),
        pytest.param({"threshold": 0.5}, ValidationError, id="threshold too low"),
        pytest.param({"threshold": 1.1}, ValidationError, id="threshold too high"),
        pytest.param({"folder": "nowhere"}, NotFoundError, id="no such folder"),
        pytest.param({"dataset": "none"}, NotFoundError, id="no such dataset"),
    ],
)
def test_wrong_usage(options: dict[str, Any], error: type[Exception], asked: Callable[..., Duplicates]) -> None:
    with pytest.raises(error):
        asked(**options)


def test_a_library_without_fingerprints(asked: Callable[..., Duplicates], folder: Path, tmp_path: Path) -> None:
    db = connect(str(tmp_path / "library.db"))
    db.execute("DELETE FROM fingerprint")
    db.close()
    found = asked()
    assert told(found, folder) == [["a.jpg", "=b/a again.jpg"]]
    assert found.lacking == 6
    ran = run("duplicates", "--db", tmp_path / "library.db", "--keep", "largest", "-0")
    assert (ran.code, ran.out) == (0, os.fsencode(folder / "b/a again.jpg") + b"\0")
    assert "6 images had no fingerprint" in ran.err
    assert "picto index --force" in ran.err


def test_force_makes_fingerprints(
    asked: Callable[..., Duplicates], folder: Path, tmp_path: Path, index: Callable[..., Any]
) -> None:
    db = connect(str(tmp_path / "library.db"))
    db.execute("DELETE FROM fingerprint")
    db.close()
    index(folder)
    assert asked().lacking == 6  # an unchanged file is not opened again
    index(folder, force=True)
    assert asked().lacking == 0


@pytest.mark.parametrize("value", ["x", "CAST('short' AS BLOB)"])
def test_a_damaged_fingerprint_is_told(value: str, asked: Callable[..., Duplicates], tmp_path: Path) -> None:
    db = connect(str(tmp_path / "library.db"))
    db.execute(f"UPDATE fingerprint SET v = {value if '(' in value else repr(value)} WHERE content_id = 1")
    db.close()
    with pytest.raises(DamagedError, match="fingerprint"):
        asked()
    with pictocli.open(tmp_path / "library.db") as library:
        assert "rows of fingerprint that are not as picto writes them" in [each.what for each in library.check()]
        library.repair()
    assert asked().lacking == 2  # both images of that content


def test_copies_go_with_their_images(asked: Callable[..., Duplicates], tmp_path: Path) -> None:
    db = connect(str(tmp_path / "library.db"))
    db.execute("DELETE FROM file")
    assert db.execute("SELECT count(*) FROM fingerprint").get == 0
    db.close()
    assert asked().groups == []


FORMATS = {
    "tsv": "1\tkept\t{f}/a.jpg\n1\texact\t{f}/b/a again.jpg\n",
    "paths": "{f}/b/a again.jpg\n",
}


@pytest.mark.parametrize("form", FORMATS)
def test_formats(form: str, asked: Callable[..., Duplicates], folder: Path, tmp_path: Path) -> None:
    ran = run("duplicates", "--db", tmp_path / "library.db", "--exact", "--keep", "largest", "--format", form)
    assert (ran.code, ran.out.decode(), ran.err) == (0, FORMATS[form].format(f=folder), "")


def test_json_and_csv(asked: Callable[..., Duplicates], folder: Path, tmp_path: Path) -> None:
    ran = run("duplicates", "--db", tmp_path / "library.db", "--format", "json")
    groups = json.loads(ran.out)
    assert [list(group) for group in groups] == [["group", "images"]] * 2
    first = groups[0]["images"]
    assert [(each["filename"], each["kind"], each["kept"]) for each in first] == [
        ("a.jpg", "first", None), ("a again.jpg", "exact", None), ("half.jpg", "near", None),
    ]  # fmt: skip
    assert all(0.93 <= each["similarity"] <= 1 and each["size"] > 0 for each in first)
    lines = run("duplicates", "--db", tmp_path / "library.db", "--format", "csv").out.decode().splitlines()
    assert lines[0].startswith("group,image_id,path,")
    assert lines[0].endswith(",kind,kept,size")
    assert len(lines) == 6
    every = run("duplicates", "--db", tmp_path / "library.db", "--format", "paths").out.decode().split("\n\n")
    assert [len(group.strip().splitlines()) for group in every] == [3, 2]


def test_only_images_that_are_asked_for(
    asked: Callable[..., Duplicates], folder: Path, index: Callable[..., Any], tmp_path: Path
) -> None:
    everything = asked()
    assert told(asked(after="1960"), folder) == told(everything, folder)
    none = asked(before="1960")
    assert (none.groups, none.considered) == ([], 0)
    (tmp_path / "kept.csv").write_text("filename,kept\na again.jpg,yes\na.jpg,yes\n")
    index(folder, metadata=str(tmp_path / "kept.csv"))
    assert told(asked(where=["kept=yes"]), folder) == [["a.jpg", "=b/a again.jpg"]]
    assert asked(where=["kept=yes"], attributes=["grayscale"]).considered == 0
    ran = run("duplicates", "--db", tmp_path / "library.db", "--where", "kept=no")
    assert (ran.code, ran.err) == (1, "no duplicates among 0 images in the whole database with kept=no\n")


def test_nothing_found(index: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    photo(1).save(tmp_path / "one/a.png")
    index(tmp_path / "one")
    ran = run("duplicates", "--db", tmp_path / "library.db", "--format", "json")
    assert (ran.code, ran.out, ran.err) == (1, b"[]\n", "no duplicates among 1 image in the whole database\n")
