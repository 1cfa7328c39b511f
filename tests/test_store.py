"""The default store: triggers keep every table in step, and the fast search finds what the exhaustive one does."""

from __future__ import annotations

import hashlib
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import numpy as np
import pytest
from libraries import clustered, make
from naming import named
from numpy.typing import NDArray

from pictocli import pairs, sqlite
from pictocli.catalog import Catalog
from pictocli.errors import NotFoundError
from pictocli.queries import Queries
from pictocli.records import CATEGORIES, ModelSpec, Scope
from pictocli.schema import connect
from pictocli.sqlite import FileRow, FinishedFile, PageRow, SqliteStore
from pictocli.staging import Staging

DIM = 8
NO_TAGS: dict[str, dict[str, float]] = {category: {} for category in CATEGORIES}
LABELS = {"objects": ("car", "dog", "cat"), "scenes": ("outdoor", "beach"), "attributes": ("dark", "car")}


@pytest.fixture
def db(tmp_path: Path) -> Iterator[apsw.Connection]:
    connection = connect(str(tmp_path / "a.db"), create=True)
    yield connection
    connection.close()


@pytest.fixture
def store(db: apsw.Connection) -> SqliteStore:
    return SqliteStore(db)


def unit(seed: int, dim: int = DIM) -> bytes:
    vector = np.random.default_rng(seed).normal(size=dim)
    return (vector / np.linalg.norm(vector)).astype("<f4").tobytes()


def put(
    store: SqliteStore,
    folder: int,
    name: str,
    content: int,
    pages: int = 1,
    tags: dict[str, dict[str, float]] | None = None,
    vector: bytes | None = None,
) -> None:
    """Store one file of which every page is new."""
    digest = hashlib.sha256(str(content).encode()).digest()
    file = FileRow(folder, name, "png", 10, 20, digest, pages)
    numbers = [0] if pages == 1 else list(range(1, pages + 1))
    full = {category: dict((tags or {}).get(category, {})) for category in CATEGORIES}
    rows = [
        PageRow(file, page, 10, 10, {}, 1.0, vector or unit(content * 100 + page), full, b"jpeg") for page in numbers
    ]
    store.write(rows, [FinishedFile(file, numbers)])


def root(store: SqliteStore, path: str = "/r", dataset: str = "r") -> int:
    return store.add_root(path, dataset)


def folder(store: SqliteStore, root_id: int, path: str) -> int:
    found = store.folder_id(root_id, path)
    assert found is not None
    return found


def in_step(db: apsw.Connection) -> None:
    """Recount, from the JSON columns and the image rows alone, all that triggers keep."""
    images = db.execute("SELECT id, folder_id, content_id, objects, scenes, attributes FROM image").fetchall()
    wanted: set[tuple[Any, ...]] = set()
    for image_id, _, _, *columns in images:
        for category, text in enumerate(columns):
            wanted |= {(category, name, image_id, score) for name, score in json.loads(text).items()}
    inverted = "SELECT t.category, t.name, x.image_id, x.score FROM image_tag x JOIN tag t ON t.id = x.tag_id"
    assert set(db.execute(inverted).fetchall()) == wanted
    assert db.execute("SELECT count(*) FROM image_tag").get == len(wanted)
    used = Counter((category, name) for category, name, *_ in wanted)
    counted = {(category, name): n for category, name, n in db.execute("SELECT category, name, n FROM tag")}
    assert {key: n for key, n in counted.items() if n} == dict(used)
    folders = Counter(row[1] for row in images)
    assert {i: n for i, n in db.execute("SELECT id, images FROM folder") if n} == dict(folders)
    contents = {row[2] for row in images}
    for table, column in (("content", "id"), ("embedding", "content_id"), ("thumbnail", "content_id")):
        assert {i for (i,) in db.execute(f"SELECT {column} FROM {table}")} == contents, table
    if db.execute("SELECT 1 FROM vector WHERE name = 'mean'").get:
        assert set(db.execute("SELECT folder_id, image_id FROM code")) == {(row[1], row[0]) for row in images}
    assert db.execute("PRAGMA foreign_key_check").fetchall() == []


def some_tags(chance: random.Random) -> dict[str, dict[str, float]]:
    return {
        category: {name: round(chance.random(), 4) for name in names if chance.random() < 0.4}
        for category, names in LABELS.items()
    }


@pytest.mark.parametrize("seed", range(4))
def test_whatever_happens_all_tables_stay_in_step(
    seed: int, store: SqliteStore, db: apsw.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """250 random writes, rewrites, copies, moves, skips and deletions; a recount after every tenth."""
    monkeypatch.setattr(sqlite, "EXACT_BELOW", 5)
    chance = random.Random(seed)  # noqa: S311 - no cryptography
    root_id = root(store)
    folders = [folder(store, root_id, name) for name in ("", "a", "a/b", "c")]
    for step in range(250):
        place, name = chance.choice(folders), f"{chance.randrange(8)}.png"
        files = db.execute("SELECT id, kind, hash, pages FROM file WHERE pages > 0").fetchall()
        action = chance.choice(["new", "new", "rewrite", "copy", "move", "skip", "delete", "tag", "codes"])
        if action in ("new", "rewrite") or not files:
            put(store, place, name, chance.randrange(30), chance.choice([1, 1, 3]), some_tags(chance))
        elif action == "copy":
            _, kind, digest, pages = chance.choice(files)
            known = {page: content[0] for (page, _), content in store.contents(digest).items()}
            store.write([], [FinishedFile(FileRow(place, name, kind, 1, 2, digest, pages), (), known)])
        elif action == "move":
            file_id, kind, digest, pages = chance.choice(files)
            at = db.execute("SELECT folder_id, name FROM file WHERE id = ?", (file_id,)).get
            if at != (place, name):
                store.move(file_id, FileRow(place, name, kind, 3, 4, digest, pages))
        elif action == "skip":
            store.skip(FileRow(place, name, "png", 1, 2, reason="truncated"))
        elif action == "delete":
            db.execute("DELETE FROM file WHERE id = ?", (chance.choice(files)[0],))
        elif action == "tag":
            tags = some_tags(chance)
            db.execute(
                "UPDATE image SET objects = ?, scenes = ?, attributes = ? WHERE id = (SELECT max(id) FROM image)",
                [json.dumps(tags[category]) for category in CATEGORIES],
            )
        else:
            store.build_codes()
        if step % 10 == 9:
            in_step(db)
    assert db.execute("SELECT count(*) FROM code").get
    db.execute("DELETE FROM file")
    in_step(db)
    assert db.execute("SELECT count(*) FROM content").get == 0


def test_the_recount_notices_a_missing_row(store: SqliteStore, db: apsw.Connection) -> None:
    put(store, folder(store, root(store), ""), "a.png", 1, tags={"objects": {"car": 0.5}})
    in_step(db)
    db.execute("DELETE FROM image_tag")
    with pytest.raises(AssertionError):
        in_step(db)


def test_copies_share_content_until_the_last_one_goes(store: SqliteStore, db: apsw.Connection) -> None:
    place = folder(store, root(store), "")
    put(store, place, "a.png", 1, tags={"objects": {"car": 0.5}})
    (content_id, embedded, thumbnail) = next(iter(store.contents(hashlib.sha256(b"1").digest()).values()))
    assert (embedded, thumbnail) == (True, True)
    copy = FileRow(place, "b.png", "png", 10, 20, hashlib.sha256(b"1").digest(), 1)
    store.write([], [FinishedFile(copy, (), {0: content_id})])
    rows = db.execute("SELECT content_id, objects FROM image ORDER BY id").fetchall()
    assert rows == [(content_id, '{"car": 0.5}')] * 2
    tables = ("content", "embedding", "thumbnail")
    for name, left in (("a.png", 1), ("b.png", 0)):
        db.execute("DELETE FROM file WHERE name = ?", (name,))
        assert [db.execute(f"SELECT count(*) FROM {table}").get for table in tables] == [left] * 3


def test_a_batch_is_one_transaction(store: SqliteStore, db: apsw.Connection) -> None:
    place = folder(store, root(store), "")
    file = FileRow(place, "a.png", "png", 1, 2, b"x" * 32, 1)
    good = PageRow(file, 0, 10, 10, {}, 1.0, unit(1), NO_TAGS, None)
    bad = PageRow(FileRow(99, "b.png", "png", 1, 2, b"y" * 32, 1), 0, 10, 10, {}, 1.0, unit(2), good.tags, None)
    with pytest.raises(apsw.ConstraintError):
        store.write([good, bad], [])
    assert db.execute("SELECT count(*) FROM content").get == 0


def test_unfinished_files_are_known_as_such(store: SqliteStore) -> None:
    place = folder(store, root(store), "")
    file = FileRow(place, "a.pdf", "pdf", 1, 2, b"x" * 32, 2, 72)
    page = PageRow(file, 1, 10, 10, {}, 1.0, unit(1), NO_TAGS, None)
    store.write([page], [])
    assert store.known(place)["a.pdf"].size is None
    assert store.files_with(b"x" * 32) == []
    store.write([], [FinishedFile(file, (1,))])
    assert store.known(place)["a.pdf"].size == 1


def test_reembedding_swaps_everything_at_once(store: SqliteStore, db: apsw.Connection) -> None:
    place = folder(store, root(store), "")
    for n in range(3):
        put(store, place, f"{n}.png", n, tags={"objects": {"car": 0.5}})
    staging = Staging(db)
    staging.begin_staging(ModelSpec("other", "1", 8, 32, "bicubic", 64, 1.0, 0.0))
    staging.stage([(i, unit(900 + i)) for (i,) in db.execute("SELECT id FROM content").fetchall()])

    def broken(rows: Any) -> Any:
        raise RuntimeError

    before = db.execute("SELECT v FROM embedding ORDER BY content_id").fetchall()
    with pytest.raises(RuntimeError):
        staging.swap_staged(broken, "label-free")
    assert db.execute("SELECT v FROM embedding ORDER BY content_id").fetchall() == before
    staging.swap_staged(lambda rows: [NO_TAGS | {"scenes": {"beach": 0.7}} for _ in rows], "label-free")
    assert db.execute("SELECT v FROM embedding ORDER BY content_id").fetchall() != before
    assert db.execute("SELECT DISTINCT objects, scenes FROM image").fetchall() == [("{}", '{"beach": 0.7}')]
    in_step(db)


# -- random pairs -----


def spec(name: str = "first", revision: str = "1") -> ModelSpec:
    return ModelSpec(name, revision, DIM, 32, "bicubic", 64, 1.0, 0.0)


@pytest.fixture
def fifty(store: SqliteStore) -> SqliteStore:
    """A store of 50 contents, numbered from 0, in its first folder; pairs are measured."""
    store.require_model(spec())
    place = folder(store, root(store), "")
    for n in range(50):
        put(store, place, f"{n}.png", n)
    store.measure_pairs()
    return store


def test_pairs_are_those_of_all_contents(fifty: SqliteStore, db: apsw.Connection) -> None:
    found = fifty.pairs()
    assert found is not None
    assert (found.contents, found.n) == (50, 50 * 49 // 2)
    stored = [np.frombuffer(v, "<f4").astype(float) for (v,) in db.execute("SELECT v FROM embedding")]
    exact = sorted(float(a @ b) for at, a in enumerate(stored) for b in stored[:at])
    assert [round(exact[rank], 5) for rank in found.ranks] == pytest.approx(found.cosines, abs=2e-5)
    kept = json.loads(Catalog(db).meta("pairs"))
    assert (kept["model"], kept["revision"], kept["contents"], kept["n"]) == ("first", "1", 50, 1225)


def test_copies_are_no_pairs(fifty: SqliteStore, db: apsw.Connection) -> None:
    digest = hashlib.sha256(b"7").digest()
    content_id = fifty.contents(digest)[0, 0][0]
    copies = [FinishedFile(FileRow(1, f"copy{n}.png", "png", 1, 2, digest, 1), (), {0: content_id}) for n in range(40)]
    before = fifty.pairs()
    fifty.write([], copies)
    db.execute("UPDATE meta SET value = NULL WHERE key = 'pairs'")
    fifty.measure_pairs()
    assert fifty.pairs() == before


@pytest.mark.parametrize(
    ("more", "fewer", "wanted"),
    [(0, 0, 50), (2, 0, 50), (5, 0, 50), (6, 0, 56), (10, 0, 60), (0, 5, 50), (0, 6, None), (20, 10, 60)],
)
def test_pairs_are_measured_again_when_the_library_is_another(
    more: int, fewer: int, wanted: int | None, fifty: SqliteStore, db: apsw.Connection
) -> None:
    for n in range(more):
        put(fifty, 1, f"more{n}.png", 100 + n)
    db.execute("DELETE FROM file WHERE id <= ?", (fewer,))
    fifty.measure_pairs()
    found = fifty.pairs()
    assert (found and found.contents) == wanted


def test_pairs_that_still_hold_cost_no_look_at_an_embedding(fifty: SqliteStore, db: apsw.Connection) -> None:
    asked: list[str] = []
    db.exec_trace = lambda _, sql, __: asked.append(sql) or True
    fifty.measure_pairs()
    assert asked
    assert not [sql for sql in asked if "embedding" in sql or "INSERT" in sql]


def test_a_sample_is_read_by_its_ids(
    fifty: SqliteStore, db: apsw.Connection, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(pairs, "SAMPLE", 48)
    db.execute("UPDATE meta SET value = NULL WHERE key = 'pairs'")
    fifty.measure_pairs()
    first = fifty.pairs()
    assert first is not None
    assert (first.contents, first.n) == (50, 48 * 47 // 2)
    db.execute("UPDATE meta SET value = NULL WHERE key = 'pairs'")
    fifty.measure_pairs()
    assert fifty.pairs() == first


def test_pairs_of_another_model_are_none_of_ours(fifty: SqliteStore, db: apsw.Connection) -> None:
    for other in (spec("second"), spec(revision="2")):
        db.execute("DELETE FROM meta WHERE key = 'model'")
        fifty.require_model(other)
        assert fifty.pairs() is None
        fifty.measure_pairs()
        assert fifty.pairs() is not None


@pytest.mark.parametrize("contents", [0, 1, 2, 45])
def test_too_few_contents_have_no_pairs(contents: int, store: SqliteStore, db: apsw.Connection) -> None:
    store.require_model(spec())
    place = folder(store, root(store), "")
    for n in range(contents):
        put(store, place, f"{n}.png", n)
    store.measure_pairs()
    assert store.pairs() is None
    assert Catalog(db).meta("pairs") is None


def test_a_swap_drops_the_pairs_of_the_old_space(fifty: SqliteStore, db: apsw.Connection) -> None:
    before, staging = fifty.pairs(), Staging(db)
    staging.begin_staging(spec("other"))
    staging.stage([(i, unit(900 + i)) for (i,) in db.execute("SELECT id FROM content").fetchall()])
    assert staging.pairs() == before
    staging.swap_staged(lambda rows: [NO_TAGS for _ in rows], "label-free")
    assert Catalog(db).meta("pairs") is None
    staging.measure_pairs()
    assert staging.pairs() not in (None, before)


# -- nearest neighbours -----


COUNT, FOLDERS = 25_000, 25


@pytest.fixture(scope="module", params=[192, 768])
def large(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Queries, NDArray[np.float32]]]:
    """25,000 images with codes: image i + 1 has vector i and lies in folder i % 25 + 1."""
    path = tmp_path_factory.mktemp("large") / "a.db"
    vectors = clustered(COUNT, request.param, 400, (0.1, 0.5, 0.9))
    db = make(path, vectors, folders=FOLDERS)
    SqliteStore(db).build_codes()
    yield Queries(db), vectors
    db.close()
    path.unlink()


def test_the_exhaustive_search_is_the_cosine(large: tuple[Queries, NDArray[np.float32]]) -> None:
    queries, vectors = large
    cosines = vectors.astype(np.float64) @ vectors[7].astype(np.float64)
    found = queries.nearest(vectors[7].tobytes(), None, 100, without=8, exact=True)
    wanted = [i for i in np.argsort(-cosines, kind="stable") if i != 7][:100]
    assert len(found) == 100
    assert np.allclose([cosine for _, cosine in found], cosines[wanted], atol=1e-5)
    assert np.allclose([cosine for _, cosine in found], [cosines[i - 1] for i, _ in found], atol=1e-5)


def test_the_fast_path_finds_what_the_exhaustive_one_does(
    large: tuple[Queries, NDArray[np.float32]], record_property: Any
) -> None:
    """The set at threshold 0.6, at most 500 of it, over 16 queries: .999 of it, as the contract says."""
    queries, vectors = large
    assert queries.vector("mean")
    hits = wanted = compared = 0
    for number in range(7, COUNT, COUNT // 16):
        query = vectors[number].tobytes()
        sets = [
            {i for i, cosine in queries.nearest(query, None, 500, without=number + 1, exact=exact) if cosine >= 0.6}
            for exact in (True, False)
        ]
        wanted += len(sets[0])
        hits += len(sets[0] & sets[1])
        compared += 1
    record_property("recall", hits / wanted)
    print(f"recall {vectors.shape[1]}-D: {hits / wanted:.5f} of {wanted} over {compared} queries")  # noqa: T201 - shown by pytest -s
    assert wanted > 500
    assert hits / wanted >= 0.999


@pytest.mark.parametrize("exact", [True, False])
def test_a_scope_is_applied_before_the_nearest_are_taken(
    exact: bool, large: tuple[Queries, NDArray[np.float32]]
) -> None:
    queries, vectors = large
    query = vectors[3].tobytes()
    found = queries.nearest(query, [9], 200, exact=exact)
    assert len(found) == 200
    assert all((i - 1) % FOLDERS + 1 == 9 for i, _ in found)
    cosines = vectors[8::FOLDERS].astype(np.float64) @ vectors[3].astype(np.float64)
    assert np.allclose([cosine for _, cosine in found], np.sort(cosines)[::-1][:200], atol=1e-5)


@pytest.mark.parametrize("exact", [True, False])
def test_the_reference_itself_is_left_out(exact: bool, large: tuple[Queries, NDArray[np.float32]]) -> None:
    queries, vectors = large
    with_it = queries.nearest(vectors[3].tobytes(), None, 5, exact=exact)
    assert with_it[0] == (4, pytest.approx(1, abs=1e-5))
    without = queries.nearest(vectors[3].tobytes(), None, 5, without=4, exact=exact)
    assert len(without) == 5
    assert [i for i, _ in without][:4] == [i for i, _ in with_it][1:]


@pytest.mark.parametrize("codes", [False, True])
def test_ties_go_by_id(codes: bool, store: SqliteStore, db: apsw.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    place = folder(store, root(store), "")
    for n in range(9):
        put(store, place, f"{n}.png", n, vector=unit(1) if n % 2 else unit(2))
    if codes:
        monkeypatch.setattr(sqlite, "EXACT_BELOW", 1)
        store.build_codes()
    found = Queries(db).nearest(unit(1), None, 4, exact=not codes)
    assert [i for i, _ in found] == [2, 4, 6, 8]


def test_an_image_without_embedding_is_no_neighbour(store: SqliteStore, db: apsw.Connection) -> None:
    place = folder(store, root(store), "")
    for n in range(3):
        put(store, place, f"{n}.png", n)
    db.execute("DELETE FROM embedding WHERE content_id = 2")
    assert sorted(i for i, _ in Queries(db).nearest(unit(1), None, 9, exact=True)) == [1, 3]


# -- tags and scopes -----


TAGGED: list[dict[str, dict[str, float]]] = [
    {"objects": {"car": 0.9, "dog": 0.5}, "scenes": {"outdoor": 0.6}},
    {"objects": {"dog": 0.8}, "scenes": {"outdoor": 0.7}},
    {"objects": {"cat": 0.9}},
    {"objects": {"car": 0.6}, "scenes": {"beach": 0.9}},
    {"attributes": {"car": 0.9}},
]


@pytest.mark.parametrize("many", [0, 300])
@pytest.mark.parametrize(
    ("groups", "wanted"),
    [
        ([["car"]], [1, 4]),
        ([["car", "dog"]], [1, 2, 4]),
        ([["car"], ["dog"]], [1]),
        ([["car", "dog"], ["outdoor"]], [1, 2]),
        ([["cat"], ["outdoor"]], []),
    ],
    ids=str,
)
def test_tags_are_or_within_a_group_and_and_across(
    groups: list[list[str]], wanted: list[int], many: int, store: SqliteStore, db: apsw.Connection
) -> None:
    place = folder(store, root(store), "")
    for n, tags in enumerate(TAGGED):
        put(store, place, f"{n}.png", n, tags=tags)
    for n in range(many):  # so that the labels are rare, and the other plan is taken
        put(store, place, f"more{n}.png", 100 + n)
    queries = Queries(db)
    numbers = [
        [found[0] for name in group for category in (0, 1) if (found := queries.label_id(category, name)) is not None]
        for group in groups
    ]
    assert queries.tagged(numbers, None, 50, by_score=False) == wanted
    assert queries.tagged(numbers, None, 1, by_score=False) == wanted[:1]
    assert sorted(queries.tagged(numbers, None, 50, by_score=True)) == wanted
    assert queries.tagged(numbers, [place + 1], 50, by_score=False) == []


def test_the_order_by_score(store: SqliteStore, db: apsw.Connection) -> None:
    place = folder(store, root(store), "")
    for n, tags in enumerate(TAGGED):
        put(store, place, f"{n}.png", n, tags=tags)
    queries = Queries(db)
    dog = queries.label_id(0, "dog")
    assert dog is not None
    assert queries.tagged([[dog[0]]], None, 9, by_score=True) == [2, 1]


@pytest.mark.parametrize(
    ("dataset", "sub", "wanted"),
    [
        (None, None, None),
        ("one", None, {"", "a", "a/b", "ab", "a_b", "aXb"}),
        ("one", "/", {"", "a", "a/b", "ab", "a_b", "aXb"}),
        ("one", "", {"", "a", "a/b", "ab", "a_b", "aXb"}),
        ("one", "a", {"a", "a/b"}),
        ("one", "/a/", {"a", "a/b"}),
        ("one", "a_b", {"a_b"}),
        ("one", "a/b", {"a/b"}),
        (None, "a", {"a", "a/b"}),
        (None, "/one/a", {"a", "a/b"}),
    ],
    ids=named,
)
def test_folders_in_scope(
    dataset: str | None, sub: str | None, wanted: set[str] | None, store: SqliteStore, db: apsw.Connection
) -> None:
    one, two = root(store, "/one", "one"), root(store, "/two", "two")
    names = {folder(store, one, name): name for name in ("", "a", "a/b", "ab", "a_b", "aXb")}
    folder(store, two, "z")
    found = Queries(db).folders(Scope(dataset, sub))
    assert (None if found is None else {names[i] for i in found}) == wanted


@pytest.mark.parametrize(
    ("scope", "message"), [(Scope("none"), "no dataset none"), (Scope("one", "none"), "no indexed folder none")]
)
def test_a_scope_that_is_not_there(scope: Scope, message: str, store: SqliteStore, db: apsw.Connection) -> None:
    folder(store, root(store, "/one", "one"), "a")
    with pytest.raises(NotFoundError, match=message):
        Queries(db).folders(scope)


def test_a_batch_that_waited_for_the_first_codes_has_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One process makes the codes while another waits to store a batch: an image without a code is never found."""
    monkeypatch.setattr(sqlite, "EXACT_BELOW", 3)
    first = SqliteStore(connect(str(tmp_path / "a.db"), create=True))
    place = folder(first, root(first), "")
    for at in range(4):
        put(first, place, f"{at}.png", at)
    second = SqliteStore(connect(str(tmp_path / "a.db")))
    waiting = threading.Event()

    def store_a_batch() -> None:
        waiting.set()
        put(second, place, "late.png", 9)

    thread = threading.Thread(target=store_a_batch)
    first.db.execute("BEGIN IMMEDIATE")
    thread.start()
    waiting.wait()
    time.sleep(0.3)  # by now it has asked for the lock
    first.put_vector("mean", unit(77))
    first.db.execute(sqlite._CODES, (unit(77),))
    first.db.execute("COMMIT")
    thread.join()
    assert first.db.execute("SELECT count(*) FROM image").get == first.db.execute("SELECT count(*) FROM code").get == 5
    for each in (first, second):
        each.db.close()
