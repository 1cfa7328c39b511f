"""The nearest in libraries of Lance tables: as SQLite finds them, with an index and without; and their compaction."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from libraries import clustered, require_exact_threshold

import pictocli
from pictocli import cells
from pictocli.catalog import EXACT_BELOW
from pictocli.databases import connect
from pictocli.errors import DamagedError
from pictocli.protocols import NoProgress
from pictocli.queries import Queries
from pictocli.recall import QUESTIONS, check
from pictocli.records import ModelSpec, Scope
from pictocli.scale.lance import indexes as lance_indexes
from pictocli.scale.lance import nearest as lance_nearest
from pictocli.schema import transaction
from pictocli.sqlite import SqliteStore

DIM, FOLDERS = 32, 50
LARGE = EXACT_BELOW + 100


def fill(db: Any, vectors: Any, contents: Sequence[int] = ()) -> None:
    """Images with these vectors, over 50 folders: 15 of the dataset a, then 35 of b.

    contents: the row that each image has the vector of, its own unless given. Of the labels, "common" is carried by
    three of ten, "rare" by one of 500.
    """
    store = SqliteStore(db)
    with transaction(db):
        store.require_model(ModelSpec("made-up", "0", vectors.shape[1], 224, "bilinear", 64, 112.7, -16.8))
        for name, folders in (("a", range(15)), ("b", range(15, FOLDERS))):
            root = store.add_root(f"/{name}", name)
            for number in folders:
                store.folder_id(root, f"f{number:02}")
    add(db, vectors, contents)


def add(db: Any, vectors: Any, contents: Sequence[int] = ()) -> None:
    """More of such images."""
    first = 1 + int(db.execute("SELECT ifnull(max(id), 0) FROM image").get)
    chance = np.random.default_rng(first)
    labels = [
        json.dumps({name: 0.9 for name, is_on in (("common", common), ("rare", rare)) if is_on})
        for common, rare in zip(chance.random(len(vectors)) < 0.3, chance.random(len(vectors)) < 0.002, strict=True)
    ]
    ids = range(first, first + len(vectors))
    with transaction(db):
        db.executemany(
            "INSERT INTO file(id, folder_id, name, kind, pages) VALUES(?, ?, ?, 'png', 1)",
            [(i, i % FOLDERS + 1, f"{i}.png") for i in ids],
        )
        db.executemany(
            "INSERT INTO content VALUES(?, ?, 0, 0, 1, 1, '{}', 1)", [(i, i.to_bytes(8, "big")) for i in ids]
        )
        db.executemany(
            "INSERT INTO embedding VALUES(?, ?)", [(i, v.tobytes()) for i, v in zip(ids, vectors, strict=True)]
        )
        db.executemany(
            "INSERT INTO image(id, file_id, folder_id, content_id, objects, indexed_at) VALUES(?, ?, ?, ?, ?, 0)",
            [
                (i, i, i % FOLDERS + 1, contents[at] + 1 if contents else i, objects)
                for at, (i, objects) in enumerate(zip(ids, labels, strict=True))
            ],
        )


def scoped(queries: Queries, filtered: str) -> tuple[list[int] | None, Any]:
    """The folders, and what passes, of a question that is filtered so."""
    folders = None
    if "dataset" in filtered:
        folders = queries.folders(Scope("a"))
    if "folder" in filtered:
        folders = queries.folders(Scope("b", "f20"))
    conditions = []
    for name in ("common", "rare"):
        if name in filtered:
            found = queries.label_id(0, name)
            assert found is not None
            conditions += queries.carrying([[found[0]]])
    return folders, conditions


def nearest(db: Any, vector: Any, filtered: str = "none", *, exact: bool, limit: int = 50, without: int = 0) -> Any:
    """(image id, cosine) as `Queries.nearest` gives them."""
    queries = Queries(db)
    folders, conditions = scoped(queries, filtered)
    return queries.nearest(vector.tobytes(), folders, limit, conditions=conditions, without=without, exact=exact)


def recall(db: Any, vectors: Any, filtered: str) -> float:
    """Which share of the 50 nearest the index finds, of 20 questions."""
    hits = total = 0
    for at in range(0, len(vectors), len(vectors) // 20):
        true = {image for image, _ in nearest(db, vectors[at], filtered, exact=True, without=at + 1)}
        hits += len(true & {image for image, _ in nearest(db, vectors[at], filtered, exact=False, without=at + 1)})
        total += len(true)
    return hits / total


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder for this module's libraries; the working copies lie there, too."""
    with pytest.MonkeyPatch.context() as patch:
        base = tmp_path_factory.mktemp("lance")
        patch.setenv("XDG_CACHE_HOME", str(base / "cache"))
        yield base


@pytest.fixture(scope="module")
def large(elsewhere: Path) -> Iterator[tuple[Any, Any]]:
    """A library of 20,100 images with its index, and their vectors."""
    vectors = clustered(LARGE, DIM, 200)
    with closing(connect(f"lance://{elsewhere / 'large'}", create=True)) as db:
        fill(db, vectors)
        assert db.neighbours is not None
        assert not db.neighbours.serves(LARGE)
        SqliteStore(db).build_codes()
        yield db, vectors


@pytest.fixture
def small(tmp_path: Path) -> Iterator[tuple[Any, Any, Any]]:
    """Two libraries of the same 200 images, Lance's and SQLite's, and their vectors: copies and equal vectors among."""
    vectors = clustered(200, DIM, 10)
    vectors[150:160] = vectors[10]
    contents = [*range(160), *range(40)]
    with (
        closing(connect(f"lance://{tmp_path / 'small'}", create=True)) as ours,
        closing(connect(str(tmp_path / "small.db"), create=True)) as theirs,
    ):
        for db in (ours, theirs):
            fill(db, vectors, contents)
        yield ours, theirs, vectors


FILTERS = ("none", "common", "dataset", "folder", "common dataset", "folder common")


@pytest.mark.parametrize("filtered", FILTERS)
@pytest.mark.parametrize("limit", [1, 7, 500])
def test_exact_answers_are_sqlites(small: Any, filtered: str, limit: int) -> None:
    ours, theirs, vectors = small
    for at in (0, 10, 155, 199):
        for without in (0, at + 1):
            asked = {"exact": True, "limit": limit, "without": without}
            found, true = (nearest(db, vectors[at], filtered, **asked) for db in (ours, theirs))
            assert [image for image, _ in found] == [image for image, _ in true]
            assert [cosine for _, cosine in found] == pytest.approx([cosine for _, cosine in true], abs=1e-6)


def test_without_an_index_all_are_compared(small: Any) -> None:
    ours, _, vectors = small
    assert not ours.neighbours.serves(10**6)
    assert nearest(ours, vectors[3], exact=False) == nearest(ours, vectors[3], exact=True)
    ours.neighbours.build()  # does not pay yet
    assert not ours.neighbours.serves(10**6)


def test_an_empty_library_has_no_neighbours(tmp_path: Path) -> None:
    with closing(connect(f"lance://{tmp_path / 'empty'}", create=True)) as db:
        assert db.neighbours is not None
        assert nearest(db, np.ones(DIM, "f4"), exact=True) == []
        db.neighbours.build()


def test_what_is_no_vector_is_told(small: Any) -> None:
    ours, _, vectors = small
    broken = vectors[5].copy()
    broken[3] = np.nan
    put = "INSERT INTO embedding VALUES(?1, ?2) ON CONFLICT(content_id) DO UPDATE SET v = ?2"
    ours.execute(put, (6, broken.tobytes()))
    with pytest.raises(DamagedError, match="not made of numbers"):
        nearest(ours, vectors[0], exact=True)


@pytest.mark.parametrize("filtered", ["none", "common", "rare", "dataset", "folder"])
def test_the_index_finds_the_nearest(large: Any, filtered: str) -> None:
    db, vectors = large
    assert db.neighbours.serves(EXACT_BELOW)
    assert not db.neighbours.serves(EXACT_BELOW - 1)
    assert recall(db, vectors, filtered) >= 0.99


def test_recall_is_that_of_the_index(large: Any) -> None:
    db, _ = large
    found = check(db, NoProgress())
    assert (found.images, found.exact, found.questions) == (LARGE, False, QUESTIONS)
    assert min(found.nearest, found.similar) >= 0.99
    assert Queries(db).recall() == found
    assert len(cells.recall(found)) == 2, "no codes are compared"


def test_a_threshold_is_exact_however_little_the_index_finds(
    large: Any, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, vectors = large
    monkeypatch.setattr(lance_nearest, "partitions", lambda _: 1)  # one is looked at, of many
    require_exact_threshold(f"lance://{elsewhere / 'large'}", vectors, 100, 150)


def test_recall_asks_by_images_that_have_an_embedding(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of an unfinished file have none yet."""
    for module in (lance_indexes, lance_nearest):
        monkeypatch.setattr(module, "EXACT_BELOW", 500)
    with closing(connect(f"lance://{elsewhere / 'lacking'}", create=True)) as db:
        fill(db, clustered(600, DIM, 20))
        SqliteStore(db).build_codes()
        db.execute("DELETE FROM embedding WHERE content_id = 1")
        assert check(db, NoProgress()).nearest >= 0.99


@pytest.mark.parametrize(("widest", "listed"), [(8000, 0), (100, 10**6), (100, 0)], ids=["widened", "listed", "all"])
@pytest.mark.parametrize("filtered", ["common", "folder", "common dataset"])
def test_every_way_to_those_that_pass(
    large: Any, filtered: str, widest: int, listed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However few pass, and whichever way is taken: cosines are those of the exact answer, and so are ids."""
    db, vectors = large
    for name, value in (("_FEW", 10), ("_WIDEST", widest), ("_LISTED", listed)):
        monkeypatch.setattr(lance_nearest, name, value)
    assert recall(db, vectors, filtered) >= 0.99
    found, true = (nearest(db, vectors[7], filtered, exact=exact, limit=5) for exact in (False, True))
    assert found == true


def segments(db: Any) -> int:
    """How many segments the index of a library has."""
    return sum(len(each.segments) for each in db.dataset("embedding").describe_indices() if each.name == "v_idx")


def test_the_index_follows_what_is_written(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """New images are found at once; more than a tenth of them get a segment, and many segments become one."""
    for module in (lance_indexes, lance_nearest):
        monkeypatch.setattr(module, "EXACT_BELOW", 2000)
    vectors, more = clustered(2000, DIM, 20), clustered(1200, DIM, 20, seed=1)
    name = f"lance://{elsewhere / 'grows'}"
    with closing(connect(name, create=True)) as db, closing(connect(name)) as other:
        fill(db, vectors)
        db.neighbours.build()  # type: ignore[union-attr]
        add(db, more[:100])
        assert nearest(db, more[7], exact=False, limit=1)[0][0] == 2008
        db.neighbours.build()  # type: ignore[union-attr]
        assert (segments(db), lance_indexes.indexed_rows(db.dataset("embedding"), "v")) == (1, 2000)  # type: ignore[attr-defined]
        add(db, more[100:400])
        db.execute("DELETE FROM image WHERE id = 2008")
        db.neighbours.build()  # type: ignore[union-attr]
        assert (segments(db), lance_indexes.indexed_rows(db.dataset("embedding"), "v")) == (2, 2399)  # type: ignore[attr-defined]
        for connection in (db, other):
            assert nearest(connection, more[7], exact=False, limit=1)[0][0] != 2008
            assert nearest(connection, more[300], exact=False, limit=1)[0][0] == 2301
        assert recall(db, vectors, "common") >= 0.99
        monkeypatch.setattr(lance_indexes, "_SEGMENTS", 2)
        add(db, more[400:])
        db.neighbours.build()  # type: ignore[union-attr]
        assert segments(db) == 1


Interference = Callable[[Any], object]


def _write(db: Any) -> None:
    add(db, clustered(100, DIM, 5, seed=9))


def _forget(db: Any) -> None:
    db.execute("DELETE FROM image WHERE id % 10 = 3")


def _compact(db: Any) -> None:
    assert lance_compacted(db) > 0


def lance_compacted(db: Any) -> int:
    """Merge the pieces of the embeddings, as `picto compact` does; how many went."""
    from pictocli.scale.lance import compact as lance_compact

    held, left = lance_compact._merged(db, "embedding", dry_run=False)
    return held - left


@pytest.mark.parametrize("interfering", [_write, _forget, _compact], ids=["writing", "removing", "compacting"])
def test_an_index_is_built_while_others_change_the_library(
    interfering: Interference, elsewhere: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The segment takes minutes and no lease: what happens meanwhile is kept, and found."""
    real, count = lance_indexes.segment, 0
    name = f"lance://{elsewhere / request.node.callspec.id}"
    vectors = clustered(600, DIM, 20)
    for module in (lance_indexes, lance_nearest):
        monkeypatch.setattr(module, "EXACT_BELOW", 500)
    with closing(connect(name, create=True)) as db, closing(connect(name)) as other:
        fill(db, vectors[:300])
        add(db, vectors[300:])

        def segment(rows: Any, column: str, kind: str) -> Any:
            nonlocal count
            made, count = real(rows, column, kind), count + (column == "v")
            if (column, count) == ("v", 1):
                interfering(other)
            return made

        monkeypatch.setattr(lance_indexes, "segment", segment)
        db.neighbours.build()  # type: ignore[union-attr]
        assert db.neighbours.serves(500)  # type: ignore[union-attr]
        assert Queries(db).count(None) == Queries(other).count(None)
        for connection in (db, other):
            for at in (0, 299, 300, 599):
                found, true = (nearest(connection, vectors[at], exact=exact, limit=20) for exact in (False, True))
                assert len({image for image, _ in found} & {image for image, _ in true}) >= 19


# -- compaction ------------------------------------------------------------------------------------------------------


def test_compaction_merges_pieces_and_drops_old_versions(tmp_path: Path) -> None:
    name, vectors = f"lance://{tmp_path / 'pieces'}", clustered(200, DIM, 10)
    with closing(connect(name, create=True)) as db:
        fill(db, vectors[:20])
        for at in range(20, 200, 20):
            add(db, vectors[at : at + 20])
        before = nearest(db, vectors[3], "common", exact=True)
    with pictocli.open(name) as library:
        planned = library.compact(dry_run=True)
        done = library.compact()
        assert (planned.pieces, planned.left, planned.versions) == (done.pieces, done.left, 0)
        assert done.pieces > done.left
        assert done.versions == 0, "what was merged may still be read"
        planned, done = library.compact(dry_run=True, older_than=0), library.compact(older_than=0)
        assert planned.versions == done.versions > 50
        assert done.pieces == done.left
        assert done.after < done.before
        assert abs(planned.after - done.after) < done.before // 10
        assert library.compact(older_than=0).versions == 0
    with closing(connect(name, readonly=True)) as db:
        assert nearest(db, vectors[3], "common", exact=True) == before
        assert db.execute("SELECT count(*) FROM image_tag").get == db.execute("SELECT sum(n) FROM tag").get


def test_compaction_leaves_the_named_version_whatever_lies_beyond_it(tmp_path: Path) -> None:
    """A writer that was killed before its commit has left versions that nobody names: the named one stays."""
    name, vectors = f"lance://{tmp_path / 'beyond'}", clustered(60, DIM, 3)
    with closing(connect(name, create=True)) as db:
        fill(db, vectors)
        table = db.dataset("embedding")  # type: ignore[attr-defined]
        table.delete("content_id < 30")
    with pictocli.open(name) as library:
        library.compact(older_than=0)
    with closing(connect(name)) as db:
        assert len(nearest(db, vectors[0], exact=True, limit=100)) == 60
        add(db, clustered(20, DIM, 3, seed=5))
        assert len(nearest(db, vectors[0], exact=True, limit=100)) == 80


def test_what_is_of_another_width_is_told_in_one_sentence(tmp_path: Path) -> None:
    with closing(connect(f"lance://{tmp_path / 'narrow'}", create=True)) as db:
        fill(db, clustered(20, DIM, 3))
        with pytest.raises(DamagedError, match="of another width"):
            nearest(db, clustered(1, 2 * DIM, 3)[0], exact=True)
