"""The views `images`, `tags` and `embeddings`: what other programs read of a library, held against `picto export`."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import duckdb_extension_sqlite_scanner
import pytest
import sqlite_utils
from pictures import scene

import pictocli

COLUMNS = {
    "images": [
        "image_id", "path", "filename", "dataset", "folder", "page", "kind", "size", "modified", "taken_at", "camera",
        "latitude", "longitude", "width", "height", "objects", "scenes", "attributes", "metadata", "thumbnail_url",
        "measures", "processing_time_ms", "content_hash", "indexed_at",
    ],
    "tags": ["image_id", "category", "label", "score"],
    "embeddings": ["image_id", "embedding"],
}  # fmt: skip
DATASETTE = Path(sys.executable).with_name("datasette")


def opened(path: str | Path) -> sqlite3.Connection:
    db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    db.row_factory = sqlite3.Row
    return db


@pytest.mark.parametrize("view", COLUMNS)
def test_the_columns_of_a_view_stay(view: str, library: pictocli.Library) -> None:
    with opened(library.path) as db:
        found = db.execute(f"SELECT * FROM {view}")
        assert [column[0] for column in found.description] == COLUMNS[view]


def test_views_say_what_an_export_says(library: pictocli.Library, tmp_path: Path) -> None:
    library.export_thumbnails(tmp_path / "thumbs")
    with opened(library.path) as db:
        images = [dict(row) for row in db.execute("SELECT * FROM images ORDER BY image_id")]
        tags = [tuple(row) for row in db.execute("SELECT * FROM tags ORDER BY 1, 2, 3")]
        embeddings = {row[0]: row[1] for row in db.execute("SELECT * FROM embeddings")}
    exported = list(library.export(embeddings=True))
    assert len(images) == len(exported) == 18
    carried = []
    for row, image in zip(images, exported, strict=True):
        same = set(COLUMNS["images"]) & set(type(image).__dataclass_fields__) - {"metadata", "measures"}
        assert {name: row[name] for name in same} == {name: getattr(image, name) for name in same}
        assert json.loads(row["measures"]) == image.measures
        assert row["metadata"] is None
        assert {category: json.loads(row[category]) for category in image.scores} == image.scores
        assert row["thumbnail_url"] == f"file://{tmp_path}/thumbs/thumb_{image.image_id}.jpg"
        carried += [
            (image.image_id, category, label, score)
            for category, scores in image.scores.items()
            for label, score in scores.items()
        ]
        assert struct.unpack("<24f", embeddings[image.image_id]) == image.embedding
    assert tags == sorted(carried)


def test_a_name_that_is_no_utf_8_ends_no_query(index: Callable[..., Any], tmp_path: Path) -> None:
    folder = tmp_path / "album"
    folder.mkdir()
    name = os.fsdecode(b"caf\xe9.png")
    scene(1).save(folder / name)
    scene(2).save(folder / "plain.png")
    index(folder)
    with opened(tmp_path / "library.db") as db:
        found = {row["path"] for row in db.execute("SELECT * FROM images")}
    assert found == {os.fsencode(folder / name), str(folder / "plain.png")}


@pytest.mark.parametrize(
    ("nanoseconds", "shown"),
    [(-1, "1969-12-31T23:59:59Z"), (-(10**9), "1969-12-31T23:59:59Z"), (1, "1970-01-01T00:00:00Z")],
    ids=["a moment before 1970", "a second", "after"],
)
def test_times_are_those_of_the_export(nanoseconds: int, shown: str, library: pictocli.Library) -> None:
    library.close()
    db = sqlite3.connect(library.path)
    db.execute("UPDATE file SET mtime_ns = ? WHERE id = (SELECT file_id FROM image WHERE id = 1)", (nanoseconds,))
    db.commit()
    assert db.execute("SELECT modified FROM images WHERE image_id = 1").fetchone()[0] == shown
    db.close()
    assert next(library.export()).modified == shown


def test_sqlite_utils_reads_them(library: pictocli.Library) -> None:
    db = sqlite_utils.Database(opened(library.path))
    assert set(COLUMNS) <= set(db.view_names())
    rows = list(db.query("SELECT dataset, count(*) AS images FROM images GROUP BY 1"))
    assert rows == [{"dataset": "photos", "images": 18}]
    assert [column.name for column in db["tags"].columns] == COLUMNS["tags"]
    db.conn.close()


def test_duckdb_reads_them(library: pictocli.Library) -> None:
    """By its own SQLite extension; it takes all columns of `images` for text, as it cannot work out that of a date."""
    (extension,) = Path(duckdb_extension_sqlite_scanner.__file__).parent.rglob("*.duckdb_extension")
    library.close()
    with duckdb.connect() as db:
        db.execute(f"LOAD '{extension}'; ATTACH '{library.path}' AS p (TYPE sqlite, READ_ONLY)")
        for view, columns in COLUMNS.items():
            assert [each[0] for each in db.execute(f"FROM p.{view}").description or ()] == columns
        counted = db.execute("SELECT category, label, count(*) FROM p.tags GROUP BY ALL").fetchall()
        paths = db.execute("SELECT path FROM p.images ORDER BY image_id::INT").fetchall()
        rows = db.execute("SELECT embedding FROM p.embeddings ORDER BY image_id").fetchall()
    assert sorted(counted) == sorted(library.info().tags)
    exported = list(library.export(embeddings=True))
    assert [path for (path,) in paths] == [each.path for each in exported]
    assert [struct.unpack("<24f", vector) for (vector,) in rows] == [each.embedding for each in exported]


def test_datasette_serves_them(library: pictocli.Library, tmp_path: Path) -> None:
    library.close()
    shutil.copy(library.path, tmp_path / "served.db")
    asked = "/served/images.json?_shape=array&_size=3&kind=pdf"
    done = subprocess.run(
        [DATASETTE, tmp_path / "served.db", "--get", asked], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert [list(row) for row in rows] == [COLUMNS["images"]] * 3
    assert [row["page"] for row in rows] == [1, 2, 3]
