"""Indexes on columns of Lance tables: they are there, they are used, and answers are the same with and without."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from libraries import clustered
from test_lance_nearest import DIM, add, fill

import pictocli
from pictocli.databases import connect
from pictocli.errors import StoreError
from pictocli.scale.lance import connection as lance_connection
from pictocli.scale.lance import indexes as lance_indexes
from pictocli.schema import transaction

ROWS = 400
FILTERS = {
    "one vector": ("embedding", "content_id = 7"),
    "vectors of a list": ("embedding", "content_id IN (1, 40, 399, 450, 9999)"),
    "vectors in a row": ("embedding", "content_id >= 95 AND content_id < 111"),
    "one picture": ("thumbnail", "content_id = 399"),
    "one image": ("image", "id = 40"),
    "a folder": ("image", "folder_id = 9"),
    "images of contents": ("image", "content_id IN (1, 7, 8, 399)"),
    "any label": ("image", "array_has_any(objects_labels, ['rare', 'nowhere'])"),
    "one label": ("image", "array_has(objects_labels, 'common')"),
    "all labels": ("image", "array_has_all(objects_labels, ['common', 'rare'])"),
    "no such label": ("image", "array_has_any(scenes_labels, ['sea'])"),
}


@pytest.fixture
def db(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A library of 400 images with pictures, of which some have labels; indexes are made from 100 rows on."""
    monkeypatch.setattr(lance_indexes, "EXACT_BELOW", 100)
    with closing(connect(f"lance://{tmp_path / 'library'}", create=True)) as made:
        vectors = clustered(ROWS, DIM, 20)
        fill(made, vectors[:300])
        add(made, vectors[300:])
        put_pictures(made, range(1, ROWS + 1))
        yield made


def put_pictures(db: Any, ids: range) -> None:
    put = "INSERT INTO thumbnail VALUES(?1, ?2) ON CONFLICT(content_id) DO UPDATE SET jpeg = ?2"
    with transaction(db):
        db.executemany(put, [(at, b"\xff\xd8" + at.to_bytes(2, "big")) for at in ids])


def found(db: Any, table: str, where: str, *, indexed: bool) -> list[Any]:
    """The rows of a table that meet a condition, by its indexes or by looking at all."""
    scanner = db.dataset(table).scanner(filter=where, use_scalar_index=indexed)
    assert ("ScalarIndexQuery" in scanner.explain_plan()) == indexed
    return sorted(scanner.to_table().to_pylist(), key=repr)


def same(db: Any) -> None:
    """See that every condition finds by the indexes what it finds without."""
    for table, where in FILTERS.values():
        assert found(db, table, where, indexed=True) == found(db, table, where, indexed=False), where


def segments(db: Any, table: str) -> dict[str, int]:
    """A table's indexes, and how many segments each has."""
    return {each.name: len(each.segments) for each in db.dataset(table).describe_indices()}


@pytest.mark.parametrize(("table", "where"), FILTERS.values(), ids=FILTERS)
def test_rows_are_found_by_an_index(db: Any, table: str, where: str) -> None:
    assert segments(db, table) == {}
    before = found(db, table, where, indexed=False)
    db.neighbours.build()
    assert found(db, table, where, indexed=True) == found(db, table, where, indexed=False) == before


def test_what_pays_has_an_index(db: Any) -> None:
    """Of tables with rows enough: the key, and what other programs ask images for."""
    db.neighbours.build()
    made = {table: sorted(segments(db, table)) for table in db.tables() if segments(db, table)}
    assert made == {
        "content": ["id_idx"],
        "embedding": ["content_id_idx", "v_idx"],
        "file": ["id_idx"],
        "image": ["attributes_labels_idx", "content_id_idx", "folder_id_idx", "id_idx", "objects_labels_idx",
                  "scenes_labels_idx"],
        "thumbnail": ["content_id_idx"],
    }  # fmt: skip
    commit = db.version()
    db.neighbours.build()
    assert db.version() == commit, "nothing has fallen behind"


def test_what_is_written_later_is_found(db: Any) -> None:
    """New rows, changed ones and those that went: in no segment, in one of their own, and in one of all."""
    db.neighbours.build()
    add(db, clustered(30, DIM, 5, seed=1))
    put_pictures(db, range(395, 431))
    db.execute("UPDATE image SET objects = '{\"rare\": 1}', folder_id = 9 WHERE id IN (3, 40, 420)")
    db.execute("DELETE FROM image WHERE id IN (7, 425)")
    db.neighbours.build()
    assert segments(db, "image")["id_idx"] == 1, "a tenth of the rows has to be in none"
    same(db)
    rare = found(db, "image", "array_has(objects_labels, 'rare')", indexed=True)
    assert {3, 40, 420} <= {row["id"] for row in rare}
    assert found(db, "image", "id = 7", indexed=True) == []
    for seed in (2, 3):
        add(db, clustered(60, DIM, 5, seed=seed))
        db.execute("DELETE FROM image WHERE id % 20 = ?", (seed,))
        db.neighbours.build()
        same(db)
    assert segments(db, "image")["id_idx"] == segments(db, "image")["objects_labels_idx"] == 3
    add(db, clustered(700, DIM, 5, seed=4))
    db.neighbours.build()
    assert segments(db, "image")["id_idx"] == 1
    same(db)
    ids = [image for (image,) in db.execute("SELECT id FROM image ORDER BY id")]
    assert sorted(db.dataset("image").to_table(filter="id > 0")["id"].to_pylist()) == ids


def test_an_older_library_gets_them_by_compaction(tmp_path: Path, db: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that has the index of vectors alone is read as it is, before and after."""
    with monkeypatch.context() as patch:
        patch.setattr(lance_indexes, "INDEXES", {"embedding": {"v": "IVF_HNSW_SQ"}})
        db.neighbours.build()
    assert (segments(db, "embedding"), segments(db, "image")) == ({"v_idx": 1}, {})
    pictures = db.execute("SELECT content_id, jpeg FROM thumbnail").fetchall()
    with pictocli.open(f"lance://{tmp_path / 'library'}") as library:
        library.compact(older_than=0)
    with closing(connect(f"lance://{tmp_path / 'library'}", readonly=True)) as now:
        assert segments(now, "embedding") == {"v_idx": 1, "content_id_idx": 1}
        assert now.execute("SELECT content_id, jpeg FROM thumbnail").fetchall() == pictures
        same(now)


def test_compaction_takes_the_indexes_along(tmp_path: Path, db: Any) -> None:
    """Pieces that are in an index become one that is in it, whatever of them has gone meanwhile."""
    db.neighbours.build()
    db.execute("DELETE FROM image WHERE id % 9 = 5")
    add(db, clustered(20, DIM, 5, seed=1))
    before = len(db.dataset("image").get_fragments())
    with pictocli.open(f"lance://{tmp_path / 'library'}") as library:
        library.compact(older_than=0)
    db.execute("BEGIN")
    assert len(db.dataset("image").get_fragments()) < before
    same(db)


def test_an_index_that_is_not_committed_was_never_there(db: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It lies in the table by then: no commit names it, and the next writer undoes it."""

    def fail(*_: Any) -> None:
        raise StoreError("no space left", "")

    with monkeypatch.context() as patch:
        patch.setattr(lance_connection.Lease, "publish", fail)
        with pytest.raises(StoreError, match="no space left"):
            db.neighbours.build()
    assert not any(segments(db, table) for table in db.tables())
    add(db, clustered(30, DIM, 5, seed=1))
    assert not any(segments(db, table) for table in db.tables())
    db.neighbours.build()
    same(db)
