"""merge: two libraries become what a fresh index of everything would be; the other one is only read."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import save_siglip
from pictures import make_pdf
from program import PICTO, environment
from test_keeping import make

import pictocli
from pictocli.errors import ModelMismatchError, NotFoundError, PictoError, StoreError, ValidationError
from pictocli.migrations import APPLICATION_ID, MIGRATIONS

Rows = Callable[..., list[tuple[Any, ...]]]
Index = Callable[..., pictocli.records.IndexReport]


def asked(path: Path, sql: str) -> list[Any]:
    db = sqlite3.connect(path)
    try:
        return db.execute(sql).fetchall()
    finally:
        db.close()


def held(path: Path) -> dict[Any, Any]:
    """All that a library says of its images, by path and page, without what differs between two runs."""
    rows = asked(
        path,
        "SELECT r.path, o.path, f.name, i.page, d.name, f.size, f.mtime_ns, f.pages, f.dpi, f.hash, i.objects,"
        " i.scenes, i.attributes, i.metadata, i.thumbnail_url, c.width, c.height, c.measures, e.v, t.jpeg, p.taken_at"
        " FROM image i JOIN file f ON f.id = i.file_id JOIN folder o ON o.id = f.folder_id"
        " JOIN root r ON r.id = o.root_id JOIN dataset d ON d.id = r.dataset_id JOIN content c ON c.id = i.content_id"
        " JOIN embedding e ON e.content_id = c.id LEFT JOIN thumbnail t ON t.content_id = c.id"
        " LEFT JOIN capture p ON p.content_id = c.id",
    )
    return {(os.path.join(*row[:3]), row[3]): row[4:] for row in rows}


def skipped(path: Path) -> list[Any]:
    return sorted(asked(path, "SELECT name, reason FROM file WHERE pages = 0"))


def digest(path: Path) -> bytes:
    return path.read_bytes()


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """Folders a, b and shared; shared/sub is a root of the other library of its own."""
    make(tmp_path / "a", 4)
    make(tmp_path / "b" / "deep", 5, 1)
    make(tmp_path / "shared", 3, 2)
    make(tmp_path / "shared" / "sub" / "x", 3, 3)
    make_pdf(tmp_path / "b" / "report.pdf", [1, 2])
    shutil.copy(tmp_path / "a" / "00.png", tmp_path / "b" / "copy.png")
    (tmp_path / "b" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 nothing more")
    (tmp_path / "b" / "notes.txt").write_text("no picture")
    return tmp_path


def test_two_libraries_become_what_one_index_of_all_is(world: Path, index: Index, ours: pictocli.Library) -> None:
    other = world / "other.db"
    index(world / "a", dataset="mine")
    index(world / "shared", dataset="mine")
    for path in world.glob("shared/sub/x/0[12].png"):
        ours.remove([path])
    index(world / "b", dataset="mine", db=other, thumbnails=True)
    index(world / "shared" / "sub", dataset="theirs", db=other, thumbnails=True)
    before = digest(other)
    told = ours.merge(other, dry_run=True)
    report = ours.merge(other)
    assert digest(other) == before
    assert not [name for name in os.listdir(world) if name.startswith(("other.db-", ".merging"))]
    counts = (report.images, report.files, report.kept, report.roots, report.datasets)
    assert counts == (10, 11, 1, 1, 0)  # 5 + 2 + copy + 2; with a broken file and one that is none
    assert (told.images, told.files, told.kept, told.roots) == counts[:4]
    assert (report.contents, report.waiting, report.rules, report.labels) == (9, 0, None, False)
    fresh = world / "fresh.db"
    for name in ("a", "shared", "b"):
        index(world / name, dataset="mine", db=fresh)
    merged, wanted = held(world / "library.db"), held(fresh)
    assert merged.keys() == wanted.keys()
    for key, row in merged.items():
        assert row[:14] == wanted[key][:14], key
        vectors = [np.frombuffer(each[14], "<f4") for each in (row, wanted[key])]
        assert np.allclose(*vectors, atol=1e-5), key  # other batches: some processors add up in another order
    assert skipped(world / "library.db") == skipped(fresh)
    thumbnails = {Path(path).name for (path, _), row in merged.items() if row[-2]}
    assert thumbnails == {"00.png", "01.png", "02.png", "03.png", "04.png", "copy.png", "report.pdf"}
    again = ours.merge(other)
    assert (again.images, again.files, again.kept) == (0, 0, 12)
    for name in ("a", "shared", "b"):
        report_of = index(world / name)
        assert (report_of.indexed, report_of.updated, report_of.moved) == (0, 0, 0)


def test_metadata_addresses_and_captures_come_along(
    world: Path, index: Index, rows: Rows, ours: pictocli.Library
) -> None:
    other = world / "other.db"
    index(world / "a")
    index(world / "b", db=other)
    db = sqlite3.connect(other)
    db.execute("UPDATE image SET metadata = '{\"k\": 1}', thumbnail_url = 's3://t/' || id, indexed_at = 1000")
    db.execute("INSERT INTO capture SELECT id, 5, 'Leica', 1.5, 2.5 FROM content")
    db.execute("INSERT OR REPLACE INTO input SELECT id, x'0102' FROM content")
    db.execute("INSERT OR REPLACE INTO fingerprint SELECT id, zeroblob(1024) FROM content")
    db.commit()
    db.close()
    with pictocli.open(other) as library:
        assert library.check() == []
    ours.merge(other)
    assert rows("SELECT count(*), min(metadata) FROM image WHERE thumbnail_url LIKE 's3://t/%'") == [(8, '{"k": 1}')]
    assert rows("SELECT count(*) FROM capture") == [(8,)]
    assert rows("SELECT count(*) FROM input WHERE digest = x'0102'") == [(7,)]  # one is in both: ours stays
    assert rows("SELECT DISTINCT indexed_at FROM image WHERE metadata IS NOT NULL") == [(1000,)]


def test_what_is_finished_here_stays_and_what_is_not_is_taken(
    world: Path, index: Index, rows: Rows, ours: pictocli.Library
) -> None:
    other = world / "other.db"
    index(world / "a", db=other)
    make(world / "a", 1, 9)  # 00.png is another picture now
    index(world / "a")
    newer = held(world / "library.db")[str(world / "a" / "00.png"), 0]
    db = sqlite3.connect(world / "library.db")
    db.execute("UPDATE file SET size = NULL, mtime_ns = NULL WHERE name = '03.png'")
    db.commit()
    db.close()
    report = ours.merge(other)
    assert (report.files, report.kept, report.contents) == (1, 3, 0)
    assert held(world / "library.db")[str(world / "a" / "00.png"), 0] == newer
    assert rows("SELECT count(*) FROM file WHERE size IS NULL") == [(0,)]


def test_codes_are_given_to_what_comes(
    world: Path, index: Index, rows: Rows, ours: pictocli.Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pictocli import sqlite

    other = world / "other.db"
    index(world / "b", db=other)
    monkeypatch.setattr(sqlite, "EXACT_BELOW", 3)
    index(world / "a")
    assert rows("SELECT count(*) FROM code") == [(4,)]
    ours.merge(other)
    assert rows("SELECT count(*) FROM code") == rows("SELECT count(*) FROM image") == [(12,)]


def test_another_model_is_refused(world: Path, index: Index, rows: Rows, ours: pictocli.Library, model: str) -> None:
    second = str(save_siglip(world / "second", seed=7))
    index(world / "a")
    index(world / "b", db=world / "other.db", model=second)
    before = rows("SELECT * FROM meta"), rows("SELECT * FROM root")
    for dry_run in (True, False):
        with pytest.raises(ModelMismatchError) as told:
            ours.merge(world / "other.db", dry_run=dry_run)
        assert str(told.value) == f"{world}/other.db holds embeddings of {second}, this library of {model}"
    assert (rows("SELECT * FROM meta"), rows("SELECT * FROM root")) == before


def _damaged(path: Path) -> None:
    db = sqlite3.connect(path)
    db.execute("DELETE FROM embedding WHERE content_id = 1")
    db.commit()
    db.close()


def _strange(path: Path) -> None:
    db = sqlite3.connect(path)
    db.execute("CREATE TRIGGER x AFTER INSERT ON image BEGIN DELETE FROM image; END")
    db.commit()
    db.close()


@pytest.mark.parametrize(
    ("change", "error", "sentence"),
    [
        (_damaged, StoreError, "{}/other.db is damaged: 1 images without an embedding, such as image 1"),
        (
            _strange,
            StoreError,
            "{}/other.db was changed by another program, or is damaged: its trigger x is not picto's",
        ),
        (lambda path: path.write_bytes(b"x" * 5000), StoreError, "{}/other.db is not a picto database"),
        (lambda path: path.write_bytes(path.read_bytes()[:40960]), StoreError, None),
        (lambda path: path.unlink(), NotFoundError, "there is no database at {}/other.db"),
    ],
    ids=["damaged", "strange", "none", "cut short", "missing"],
)
def test_what_is_no_sound_library_is_refused(
    change: Callable[[Path], Any], error: type[PictoError], sentence: str | None, world: Path, index: Index, rows: Rows,
    ours: pictocli.Library,
) -> None:  # fmt: skip
    index(world / "a")
    index(world / "b", db=world / "other.db")
    change(world / "other.db")
    content = (world / "other.db").read_bytes() if (world / "other.db").exists() else b""
    with pytest.raises(error) as told:
        ours.merge(world / "other.db")
    assert sentence is None or str(told.value) == sentence.replace("{}", str(world))
    assert "other.db" in str(told.value)
    assert rows("SELECT count(*) FROM root") == [(1,)]
    assert not content or (world / "other.db").read_bytes() == content


def test_itself_and_a_root_around_ours_are_refused(
    world: Path, index: Index, rows: Rows, ours: pictocli.Library
) -> None:
    index(world / "shared" / "sub")
    index(world / "shared", db=world / "other.db")
    with pytest.raises(ValidationError, match="is this library itself"):
        ours.merge(world / "library.db")
    with pytest.raises(ValidationError, match=r"shared of .*other.db holds .*sub, a root of this library") as told:
        ours.merge(world / "other.db")
    assert told.value.hint == "merge the other way: this library into that one"
    assert rows("SELECT count(*) FROM root") == [(1,)]


def test_an_older_library_is_read_as_a_copy(world: Path, index: Index, rows: Rows, ours: pictocli.Library) -> None:
    index(world / "a")
    index(world / "b", db=world / "full.db")
    other = world / "other.db"
    db = sqlite3.connect(other)
    db.executescript(MIGRATIONS[0])
    db.execute("ATTACH ? AS full", (str(world / "full.db"),))
    names = [name for (name,) in db.execute("SELECT name FROM main.sqlite_schema WHERE type = 'table'")]
    for name in ["dataset", "root", "folder", "file", "content", "image", *sorted(names)]:
        if name not in ("tag", "image_tag", "code", "tag_alias"):  # triggers fill them, or nothing needs them
            db.execute(f"INSERT OR IGNORE INTO main.{name} SELECT * FROM full.{name}")
    db.execute("UPDATE folder SET images = (SELECT count(*) FROM image i WHERE i.folder_id = folder.id)")
    db.execute("DELETE FROM meta WHERE key = 'taxonomy'")
    db.execute(f"PRAGMA application_id={APPLICATION_ID}")
    db.execute("PRAGMA user_version=1")
    db.commit()
    db.close()
    before = digest(other)
    report = ours.merge(other)
    assert (report.images, digest(other)) == (8, before)
    assert rows("SELECT count(*) FROM image") == [(12,)]


def test_other_rules_are_told_and_kept(world: Path, index: Index, rows: Rows, ours: pictocli.Library) -> None:
    index(world / "a")
    index(world / "b", db=world / "other.db")
    db = sqlite3.connect(world / "other.db")
    db.execute("UPDATE meta SET value = 'calibrated on 9 pictures' WHERE key = 'tag_rule'")
    db.commit()
    db.close()
    for _ in range(2):
        report = ours.merge(world / "other.db")
    assert report.rules == ("label-free, then calibrated on 9 pictures", "calibrated on 9 pictures")
    assert rows("SELECT value FROM meta WHERE key = 'tag_rule'") == [("label-free, then calibrated on 9 pictures",)]


def test_killed_in_the_middle_it_goes_on(world: Path, index: Index, ours: pictocli.Library) -> None:
    other = world / "other.db"
    make(world / "many", 12, 5)
    index(world / "many", db=other)
    files = json.dumps([[at, f"copy-{at:05}.png"] for at in range(3000)])
    db = sqlite3.connect(other)
    db.execute(
        "INSERT INTO file(folder_id, name, kind, size, mtime_ns, hash, pages) SELECT f.folder_id, j.value ->> 1, 'png',"
        " f.size, f.mtime_ns, f.hash, 1 FROM json_each(?) j JOIN file f ON f.id = 1 + (j.value ->> 0) % 12",
        (files,),
    )
    db.execute(
        "INSERT INTO image(file_id, folder_id, content_id, objects, scenes, attributes, indexed_at) SELECT f.id,"
        " f.folder_id, i.content_id, i.objects, i.scenes, i.attributes, 1 FROM file f JOIN file g ON g.hash = f.hash"
        " AND g.id <= 12 JOIN image i ON i.file_id = g.id WHERE f.id > 12"
    )
    db.commit()
    db.close()
    index(world / "a")
    struck = 0
    for least in (1, 1200):
        process = subprocess.Popen(
            [PICTO, "merge", other, "--db", ours.path], env=environment(), stderr=subprocess.PIPE
        )
        until = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < until:
            if asked(Path(ours.path), "SELECT count(*) FROM image")[0][0] >= 4 + least:
                break
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        struck += process.returncode == -signal.SIGKILL
        assert ours.check() == []
    assert struck
    report = ours.merge(other)
    assert report.kept > 0
    assert report.kept + report.files == 3012
    assert asked(Path(ours.path), "SELECT count(*) FROM image") == [(3016,)]
