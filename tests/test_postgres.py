"""Libraries in PostgreSQL: what is nearest is what comparing with all of them finds; what cannot be used says why."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import program
import psycopg
import pytest
from checkpoints import save_siglip2
from forked import picto
from libraries import clustered, require_exact_threshold
from numpy.typing import NDArray
from pictures import scene
from program import run
from psycopg import errors
from servers import unused_port
from stores import PASSWORD, fresh, postgres, start, stripped

import pictocli
from pictocli.conditions import compared
from pictocli.databases import connect, translated
from pictocli.errors import AwayError, StoreError, TakenError
from pictocli.expressions import parse
from pictocli.fields import Fields
from pictocli.filerows import FileRow, PageRow
from pictocli.protocols import Database
from pictocli.queries import Queries
from pictocli.records import CATEGORIES, ModelSpec
from pictocli.scale.postgres import migrations as postgres_migrations
from pictocli.scale.postgres import nearest as postgres_nearest
from pictocli.scale.postgres import points as postgres_points
from pictocli.scale.postgres.migrations import MIGRATIONS
from pictocli.schema import transaction
from pictocli.selection import Condition
from pictocli.sqlite import SqliteStore
from pictocli.visible import Bounds, hide

COUNT, DIM, FOLDERS, LIMIT = 6000, 32, 30, 50
DATASETS = ("most", "third", "few")
TAGS = {"common": 0.3, "rare": 0.002, "near": 0.1, "far": 0.3}
VECTORS = clustered(COUNT, DIM, 15, (0.4, 0.6, 0.8))
_CHANCE = np.random.default_rng(3)
NUMBERS = itertools.count(1)
HOME = np.sort(_CHANCE.choice(3, COUNT, p=[0.6, 0.3, 0.1]))  # the dataset of each image
FOLDER = HOME * FOLDERS + np.arange(COUNT) % FOLDERS  # and its folder, less 1
_TO_FIRST = VECTORS @ VECTORS[0]
CARRIES = {
    "common": _CHANCE.random(COUNT) < TAGS["common"],
    "rare": _CHANCE.random(COUNT) < TAGS["rare"],
    "near": np.quantile(_TO_FIRST, 1 - TAGS["near"]) <= _TO_FIRST,
    "far": np.quantile(_TO_FIRST, TAGS["far"]) >= _TO_FIRST,
}
ASKED = [0, *_CHANCE.choice(COUNT, 19, replace=False)]
"""The images by whose vectors is asked; of the first, "near" and "far" are named."""


@dataclass(frozen=True)
class Case:
    """What is asked: in these datasets, in so many folders of each, of the images with this tag."""

    datasets: Sequence[int] = (0, 1, 2)
    folders: int = FOLDERS
    tag: str | None = None

    @property
    def scope(self) -> list[int] | None:
        """Ids of folders, None for all."""
        if len(self.datasets) == len(DATASETS) and self.folders == FOLDERS:
            return None
        return [at * FOLDERS + folder + 1 for at in self.datasets for folder in range(self.folders)]

    @property
    def passing(self) -> NDArray[np.bool_]:
        """Which images are asked for."""
        found = np.ones(COUNT, bool) if self.tag is None else CARRIES[self.tag]
        return found if self.scope is None else found & np.isin(FOLDER + 1, self.scope)


CASES = {
    "all": Case(),
    "a common tag": Case(tag="common"),
    "a rare tag": Case(tag="rare"),
    "a tag of what is near": Case(tag="near"),
    "a tag of what is far": Case(tag="far"),
    "one dataset": Case((1,)),
    "two datasets": Case((0, 2)),
    "a dataset without an index": Case((2,)),
    "one folder": Case((0,), 1),
    "a third of the folders": Case(folders=10),
    "a tag in one dataset": Case((0,), tag="common"),
    "a tag in some folders": Case(folders=15, tag="common"),
}


def conditions(queries: Queries, case: Case) -> list[Condition]:
    if case.tag is None:
        return []
    label = queries.label_id(0, case.tag)
    assert label is not None
    return queries.carrying([[label[0]]])


def fill(db: Database) -> None:
    """A library of `VECTORS`, in the rows that indexing would make."""
    store = SqliteStore(db)
    store.require_model(ModelSpec("made-up", "0", DIM, 224, "bilinear", 64, 112.7, -16.8))
    for name in DATASETS:
        root = store.add_root(f"/{name}", name)
        for number in range(FOLDERS):
            store.folder_id(root, f"f{number:02}")
    ids = range(1, COUNT + 1)
    objects = [json.dumps({tag: 0.9 for tag in TAGS if CARRIES[tag][at]}) for at in range(COUNT)]
    vectors = [(i, vector.tobytes()) for i, vector in zip(ids, VECTORS, strict=True)]
    half = COUNT // 2  # what has an embedding when it gets an image, and what gets it later
    folders = [int(folder) + 1 for folder in FOLDER]
    with transaction(db):
        for table, rows in (
            ("file", [(i, folders[i - 1], f"{i}.png", "png", 1, 1, None, 1, 0, None) for i in ids]),
            ("content", [(i, b"%d" % i, 0, 0, 1, 1, "{}", 1.0) for i in ids]),
            ("embedding", vectors[:half]),
            ("image", [(i, i, folders[i - 1], 0, i, objects[i - 1], "{}", "{}", None, None, 0) for i in ids]),
            ("embedding", vectors[half:]),
        ):
            db.executemany(f"INSERT INTO {table} VALUES({', '.join('?' * len(rows[0]))})", rows)


@contextlib.contextmanager
def connect_to(name: str) -> Iterator[Any]:
    """A connection for a block, to a library that is made where there is none."""
    db = connect(name, create=True)
    try:
        yield db
    finally:
        db.close()


@pytest.fixture(scope="module", autouse=True)
def small() -> Iterator[None]:
    """What holds of libraries of 20,000 images and more holds here of 1,000."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(postgres_points, "EXACT_BELOW", 1000)
        patch.setattr(postgres_nearest, "EXACT_BELOW", 1000)
        patch.setattr(postgres_nearest, "_FEW", 100)
        patch.setattr(postgres_nearest, "_PER_IMAGE", 10)
        yield


@pytest.fixture(scope="module")
def template() -> str:
    """The database of a library with its rows and without an index. Not to be changed."""
    name = fresh()
    with connect_to(name) as db:
        fill(db)
    return name.rpartition("/")[2]


def copied(template: str) -> str:
    """The name of a library that is a copy of this database's."""
    name = f"{template}_{next(NUMBERS)}"
    postgres().execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    return postgres().dsn(name)


@pytest.fixture
def filled(template: str) -> Iterator[Any]:
    """A library that a test may change, with its rows and without an index."""
    with connect_to(copied(template)) as db:
        yield db


@pytest.fixture(scope="module")
def dsn(template: str) -> str:
    """A library with its indexes. Not to be changed."""
    name = copied(template)
    with connect_to(name) as db:
        SqliteStore(db).build_codes()
    return name


@pytest.fixture
def server_side(dsn: str) -> Iterator[Queries]:
    """Questions to the library in PostgreSQL."""
    db = connect(dsn, readonly=True)
    yield Queries(db)
    db.close()


@pytest.fixture(scope="module")
def by_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Queries]:
    """Questions to the same library in a file."""
    db = connect(str(tmp_path_factory.mktemp("sqlite") / "a.db"), create=True)
    fill(db)
    yield Queries(db)
    db.close()


# -- what is nearest ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_compared_with_all_it_answers_as_sqlite_does(case: Case, server_side: Queries, by_sqlite: Queries) -> None:
    for at in ASKED[:5]:
        asked = VECTORS[at].tobytes()
        found, wanted = (
            queries.nearest(
                asked, case.scope, LIMIT, conditions=conditions(queries, case), without=int(at) + 1, exact=True
            )
            for queries in (server_side, by_sqlite)
        )
        assert [image_id for image_id, _ in found] == [image_id for image_id, _ in wanted]
        assert [cosine for _, cosine in found] == pytest.approx([cosine for _, cosine in wanted], abs=1e-6)


def recall(queries: Queries, case: Case) -> float:
    """Of the nearest by comparing with all, the share that is found. All that is found is in order, with its cosine."""
    ids = np.flatnonzero(case.passing) + 1
    hit = wanted = 0
    for at in ASKED:
        asked = VECTORS[at]
        found = queries.nearest(asked.tobytes(), case.scope, LIMIT, conditions=conditions(queries, case), exact=False)
        nearest = ids[np.argsort(-(VECTORS[ids - 1] @ asked), kind="stable")][:LIMIT]
        hit, wanted = hit + len({i for i, _ in found} & set(nearest.tolist())), wanted + len(nearest)
        assert [cosine for _, cosine in found] == sorted((cosine for _, cosine in found), reverse=True)
        assert all(cosine == pytest.approx(float(VECTORS[i - 1] @ asked), abs=1e-6) for i, cosine in found)
    return hit / wanted


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_the_index_finds_what_comparing_with_all_finds(case: Case, server_side: Queries) -> None:
    assert recall(server_side, case) >= 0.99


def test_a_threshold_is_exact_however_little_the_index_finds(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_nearest, "_SEARCHED", (80, 80))
    monkeypatch.setitem(postgres_nearest._SETTINGS, "hnsw.iterative_scan", "off")  # 80 of each dataset, then
    require_exact_threshold(dsn, VECTORS, 200, 210)


def test_points_may_be_float32() -> None:
    with connect_to(fresh() + "?vectors=float32") as db:
        fill(db)
        assert db.native("SELECT pg_typeof(v)::text FROM point LIMIT 1") == [("vector",)]
        SqliteStore(db).build_codes()
        for name in ("all", "a common tag", "one dataset", "a third of the folders"):
            assert recall(Queries(db), CASES[name]) >= 0.99


def test_where_many_pass_far_from_what_is_asked_the_index_is_gone_through(
    server_side: Queries, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_nearest, "_MOST", 1)
    case, asked = CASES["a tag of what is far"], VECTORS[0]
    found = server_side.nearest(asked.tobytes(), None, LIMIT, conditions=conditions(server_side, case), exact=False)
    ids = np.flatnonzero(case.passing) + 1
    nearest = ids[np.argsort(-(VECTORS[ids - 1] @ asked), kind="stable")][:LIMIT]
    assert {i for i, _ in found} <= set(ids.tolist())
    assert len({i for i, _ in found} & set(nearest.tolist())) >= 0.9 * LIMIT


def test_equal_images_come_in_the_order_of_their_ids(filled: Any) -> None:
    vector = VECTORS[7].tobytes()
    filled.executemany("UPDATE embedding SET v = ?2 WHERE content_id = ?1", [(i, vector) for i in (900, 20, 5000)])
    SqliteStore(filled).build_codes()
    for exact in (True, False):
        found = Queries(filled).nearest(vector, None, 6, without=20, exact=exact)
        assert [image_id for image_id, _ in found][:3] == [8, 900, 5000]
        assert [cosine for _, cosine in found][:3] == pytest.approx([1, 1, 1], abs=1e-6)


@pytest.mark.parametrize(
    ("case", "exact", "uses"),
    [
        ("all", False, {"point_1_32", "point_2_32"}),
        ("a common tag", False, {"point_1_32", "point_2_32"}),
        ("one dataset", False, {"point_2_32"}),
        ("a dataset without an index", False, set()),
        ("a third of the folders", False, {"point_1_32", "point_2_32"}),
        ("a rare tag", False, set()),
        ("one folder", False, set()),
        *((name, True, set()) for name in CASES),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_indexes_are_used_where_they_pay_and_never_by_exact_questions(
    case: str, exact: bool, uses: set[str], server_side: Queries, monkeypatch: pytest.MonkeyPatch
) -> None:
    db: Any = server_side.db
    native, plans = db.native, list[str]()

    def explained(statement: str, values: Sequence[Any] = ()) -> Any:
        if "<=>" in statement:
            plans.extend(line for (line,) in native(f"EXPLAIN {statement}", values))
        return native(statement, values)

    monkeypatch.setattr(db, "native", explained)
    asked = CASES[case]
    server_side.nearest(
        VECTORS[0].tobytes(), asked.scope, LIMIT, conditions=conditions(server_side, asked), exact=exact
    )
    assert plans
    assert set(re.findall(r"Index Scan using (point_\d+_\d+) ", "\n".join(plans))) == uses


def test_who_sees_some_images_only_finds_no_others(server_side: Queries) -> None:
    hide(server_side, Bounds(folders=["f00", "f01", "f02", "f03", "f04", "f05", "f06", "f07", "f08", "f09"]))
    ids = np.flatnonzero(FOLDER % FOLDERS < 10) + 1
    for at in ASKED[:5]:
        found = server_side.nearest(VECTORS[at].tobytes(), None, LIMIT, exact=False)
        nearest = ids[np.argsort(-(VECTORS[ids - 1] @ VECTORS[at]), kind="stable")][:LIMIT]
        assert len({i for i, _ in found} & set(nearest.tolist())) >= LIMIT - 1
        assert {i for i, _ in found} <= set(ids.tolist())


@pytest.mark.parametrize("within", [False, True], ids=["on its own", "in a transaction"])
def test_nothing_stays_set_behind_a_question(within: bool, server_side: Queries) -> None:
    db: Any = server_side.db
    names = ("enable_seqscan", "enable_sort", "work_mem", "hnsw.iterative_scan", "hnsw.ef_search")
    before = [db.native(f"SHOW {name}") for name in names[:3]]
    if within:
        server_side.begin()
    server_side.nearest(VECTORS[0].tobytes(), None, LIMIT, exact=False)
    assert db.in_transaction == within
    assert [db.native(f"SHOW {name}") for name in names] == [*before, [("off",)], [("40",)]]
    server_side.end()


def test_twenty_questions_are_answered_by_the_index_through_a_library(dsn: str) -> None:
    """After eight, a process holds the 1-bit codes of a file in memory; here there are none."""
    with pictocli.open(dsn) as library:
        for at in ASKED:
            found = library.by_similarity(int(at) + 1, 0, LIMIT, "/")
            assert len(found) == LIMIT


# -- the indexes --------------------------------------------------------------------------------------------------

INDEXES = (
    "SELECT n.relname, n.oid::bigint, x.indisvalid FROM pg_index x JOIN pg_class n ON n.oid = x.indexrelid"
    " JOIN pg_am a ON a.oid = n.relam WHERE a.amname = 'hnsw' ORDER BY 1"
)


def test_indexes_are_made_where_they_pay_and_once(filled: Any) -> None:
    assert not filled.neighbours.serves(COUNT)
    filled.neighbours.build()
    made = filled.native(INDEXES)
    assert [(name, valid) for name, _, valid in made] == [("point_1_32", True), ("point_2_32", True)]
    assert [filled.neighbours.serves(count) for count in (999, 1000)] == [False, True]
    filled.neighbours.build()
    assert filled.native(INDEXES) == made
    # A run that was killed leaves an index that nobody may use; an index of an earlier model is of no use.
    filled.native("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'point_1_32'::regclass")
    filled.native("DROP INDEX point_2_32")
    filled.native("CREATE INDEX point_2_8 ON point_2 USING hnsw ((v::halfvec(8)) halfvec_cosine_ops)"
                  " WHERE vector_dims(v) = 8")  # fmt: skip
    filled.neighbours.build()
    again = filled.native(INDEXES)
    assert [(name, valid) for name, _, valid in again] == [("point_1_32", True), ("point_2_32", True)]
    assert again[0][1] != made[0][1]


def test_settings_of_the_server_are_as_before_when_an_index_is_made(filled: Any) -> None:
    before = filled.native("SHOW maintenance_work_mem")
    filled.neighbours.build()
    assert filled.native("SHOW maintenance_work_mem") == before
    assert filled.native("SHOW max_parallel_maintenance_workers") == [("2",)]


def test_of_two_who_make_an_index_one_does_and_the_other_does_not_wait(filled: Any) -> None:
    (name,) = filled.native("SELECT current_database()")[0]
    with connect_to(postgres().dsn(name)) as other, postgres_points._alone(other, 1) as alone:
        assert alone
        filled.neighbours.build()
        assert [index for index, *_ in filled.native(INDEXES)] == ["point_2_32"]
    filled.neighbours.build()
    assert [index for index, *_ in filled.native(INDEXES)] == ["point_1_32", "point_2_32"]


def test_questions_are_answered_while_an_index_is_made(filled: Any) -> None:
    done = threading.Event()
    asked = 0
    name = filled.native("SELECT current_database()")[0][0]
    thread = threading.Thread(target=lambda: (filled.neighbours.build(), done.set()))
    thread.start()
    db = connect(postgres().dsn(name), readonly=True)
    while not done.is_set():
        assert len(Queries(db).nearest(VECTORS[0].tobytes(), None, LIMIT, exact=False)) == LIMIT
        asked += 1
    thread.join()
    db.close()
    assert asked


# -- in step ---------------------------------------------------------------------------------------------------

WANTED = (
    "SELECT i.id, r.dataset_id, i.folder_id, e.v::halfvec::text FROM image i JOIN folder o ON o.id = i.folder_id"
    " JOIN root r ON r.id = o.root_id JOIN embedding e ON e.content_id = i.content_id ORDER BY 1"
)
HELD = "SELECT image_id, dataset_id, folder_id, v::text FROM point ORDER BY 1"


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model of other weights."""
    return str(save_siglip2(tmp_path_factory.mktemp("other") / "model", seed=5))


def test_points_follow_the_images_through_all_that_changes_them(tmp_path: Path, model: str, other: str) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for number, folder in enumerate((first, first / "sub", second)):
        folder.mkdir()
        for seed in range(3):
            scene(10 * number + seed).save(folder / f"{seed}.png")
    name = fresh()
    options: dict[str, Any] = {"model": model, "workers": 0, "device": "cpu"}

    def index(*folders: Path) -> None:
        with pictocli.open(name) as library:
            library.index(folders, **options)

    def in_step(images: int) -> None:
        with connect_to(name) as db:
            held = db.native(HELD)
            assert held == db.native(WANTED)
            assert len(held) == images

    index(first, second)
    in_step(9)
    (first / "1.png").rename(first / "sub" / "moved.png")
    (first / "2.png").rename(second / "2a.png")
    index(first, second)
    in_step(9)
    shutil.copy(first / "0.png", second / "copy.png")  # another image of the same content
    scene(70).save(first / "sub" / "0.png")  # other content in the same place
    index(first, second)
    in_step(10)
    with pictocli.open(name) as library:
        library.reembed(other, device="cpu", workers=0)
    in_step(10)
    (first / "0.png").unlink()
    with pictocli.open(name) as library:
        library.prune(dataset="first", yes=True)
    in_step(9)
    with pictocli.open(name) as library:
        library.remove([str(second)], yes=True)
    in_step(4)


def test_a_library_beside_one_where_pgvector_lies_has_its_own_points(monkeypatch: pytest.MonkeyPatch) -> None:
    name = fresh()
    monkeypatch.setattr(postgres_points, "EXACT_BELOW", 1)
    with connect_to(f"{name}?schema=public") as first, connect_to(name) as second:
        for db in (first, second):
            one_image(db)
            assert db.native(HELD) == db.native(WANTED)
        first.neighbours.build()
        assert [part.indexed for db in (first, second) for part in db.neighbours._parts(None, DIM)] == [True, False]


def test_libraries_of_a_new_database_may_be_made_at_once() -> None:
    name, made = fresh(), 4
    waiting = threading.Barrier(made)

    def make(at: int) -> None:
        waiting.wait()
        connect(f"{name}?schema=s{at}", create=True).close()

    with ThreadPoolExecutor(made) as pool:
        list(pool.map(make, range(made)))


# -- from an older version ----------------------------------------------------------------------------------------

STEPS = (
    "CREATE TABLE later(a bigint, v {v}.vector, p {type}); INSERT INTO later VALUES (1)",
    'ALTER TABLE {s}.later ADD COLUMN b text COLLATE "C"',
)
LATER = "SELECT a, b FROM picto.later"


def version(name: str) -> int:
    """What the library says of its tables."""
    return int(postgres().execute("SELECT version FROM picto.library", name)[0][0])


def one_image(db: Database) -> None:
    """Put an image into an empty library."""
    store = SqliteStore(db)
    store.require_model(ModelSpec("made-up", "0", DIM, 224, "bilinear", 64, 112.7, -16.8))
    folder = store.folder_id(store.add_root("/r", "r"), "")
    assert folder is not None
    row = FileRow(folder, "a.png", "png", 1, 1, b"a", 1)
    store.write([PageRow(row, 0, 1, 1, {}, 1.0, VECTORS[0].tobytes(), {c: {} for c in CATEGORIES}, None)], [])


@pytest.fixture
def older(monkeypatch: pytest.MonkeyPatch) -> str:
    """A library that holds an image, of a version that is two steps behind this one."""
    name = fresh()
    with connect_to(f"{name}?vectors=float32") as db:
        one_image(db)
    monkeypatch.setattr(postgres_migrations, "MIGRATIONS", MIGRATIONS + STEPS)
    return name


@pytest.mark.parametrize("readonly", [False, True], ids=["to-write", "to-read"])
def test_an_older_library_is_brought_up_to_date_when_it_is_opened(readonly: bool, older: str) -> None:
    assert version(older) == len(MIGRATIONS)
    db: Any = connect(older, readonly=readonly)
    assert db.native(LATER) == [(1, None)]
    assert db.native("SELECT pg_typeof(p)::text FROM later") == [("vector",)]  # as its points are, not as it is named
    assert [i for i, _ in Queries(db).nearest(VECTORS[0].tobytes(), None, LIMIT, exact=True)] == [1]
    assert version(older) == len(MIGRATIONS) + 2
    db.close()
    connect(older).close()  # and once
    assert postgres().execute("SELECT count(*) FROM picto.later", older) == [(1,)]


def test_indexes_on_fields_of_an_older_library_are_made_of_the_functions_of_this_picto() -> None:
    with connect_to(name := fresh()) as db:
        one_image(db)
        db.execute("UPDATE image SET metadata = ?", (f'{{"id": {2**63 - 1}}}',))
        Fields(db).index([["id"]])
        db.native(
            "CREATE OR REPLACE FUNCTION picto.number_key(numeric) RETURNS bytea LANGUAGE sql IMMUTABLE AS"
            " $$ SELECT '\\x01'::bytea $$"
        )
        db.native('REINDEX TABLE "image"')
        db.native("UPDATE library SET version = 2")
    with connect_to(name) as db:
        db.native("SET enable_seqscan = off")
        queries = Queries(db)
        assert list(queries.passing([compared(queries, parse(f"id={2**63 - 1}"))], None)) == [1]


def test_a_new_library_takes_every_step(older: str) -> None:
    with connect_to(f"{older}?schema=new") as db:
        assert db.native("SELECT a, b FROM new.later") == [(1, None)]
    assert version(older) == len(MIGRATIONS)


def test_functions_are_those_of_this_picto(older: str) -> None:
    broken = "CREATE OR REPLACE FUNCTION picto.{} LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'"
    for function in ("meant(text) RETURNS text", "point_dataset() RETURNS trigger"):
        postgres().execute(broken.format(function), older)
    with connect_to(older) as db:
        assert db.native("SELECT meant('a')") == [("a",)]
        SqliteStore(db).add_root("/s", "s")
        assert db.native("SELECT to_regclass('point_2') IS NOT NULL") == [(True,)]


def test_of_a_step_that_fails_nothing_stays(older: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(postgres_migrations, "MIGRATIONS", (*MIGRATIONS, STEPS[0], "INSERT INTO nowhere VALUES (1)"))
        for _ in range(2):
            with pytest.raises(StoreError, match="nowhere"):
                connect(older)
            assert version(older) == len(MIGRATIONS)
            assert postgres().execute("SELECT to_regclass('picto.later')", older) == [(None,)]
    connect(older).close()
    assert version(older) == len(MIGRATIONS) + 2


def test_of_two_who_open_an_older_library_one_brings_it_up_to_date(older: str, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = (*MIGRATIONS, STEPS[0] + "; SELECT pg_sleep(0.5)", STEPS[1])
    monkeypatch.setattr(postgres_migrations, "MIGRATIONS", slow)
    with ThreadPoolExecutor(2) as pool:
        opened = [pool.submit(connect, older) for _ in range(2)]
        for db in [each.result() for each in opened]:
            assert db.native(LATER) == [(1, None)]  # type: ignore[attr-defined]
            db.close()
    assert version(older) == len(slow)


def test_an_older_library_waits_for_who_writes(older: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_migrations, "PATIENCE", "50ms")
    with monkeypatch.context() as patch:
        patch.setattr(postgres_migrations, "MIGRATIONS", MIGRATIONS)
        writer = connect(older)
    with transaction(writer), pytest.raises(TakenError, match="locked by another program"):
        connect(older)
    writer.close()
    connect(older).close()
    assert version(older) == len(MIGRATIONS) + 2


def test_who_may_not_bring_a_library_up_to_date_is_told_who_may(older: str) -> None:
    database = older.rpartition("/")[2]
    postgres().execute(
        "GRANT USAGE ON SCHEMA picto TO guarded; GRANT ALL ON ALL TABLES IN SCHEMA picto TO guarded", database
    )
    with pytest.raises(StoreError, match=r"made by an older picto.*permission denied") as refused:
        connect(postgres().dsn(database, "guarded", PASSWORD))
    assert "as the user who made it" in str(refused.value.hint)
    assert PASSWORD not in str(refused.value)
    assert version(older) == len(MIGRATIONS)


# -- what cannot be used ------------------------------------------------------------------------------------------


def without_extension(_: Path) -> Iterator[str]:
    """A server that has no pgvector."""
    server = start(stripped())
    yield fresh(server)
    server.stop()


def unprivileged(_: Path) -> Iterator[str]:
    """A role that may not make an extension, in a database that has none."""
    yield fresh().replace("picto@", "guarded:" + quote(PASSWORD, safe="") + "@")


def without_public(_: Path) -> Iterator[str]:
    """A database that has not the schema into which extensions go."""
    name = fresh()
    postgres().execute("DROP SCHEMA public", name)
    yield name


def outdated(_: Path) -> Iterator[str]:
    """A database whose pgvector was installed years ago."""
    name = fresh()
    postgres().execute("CREATE EXTENSION vector", name)
    postgres().execute("UPDATE pg_extension SET extversion = '0.5.1' WHERE extname = 'vector'", name)
    yield name


def foreign(_: Path) -> Iterator[str]:
    """A schema of another program's."""
    name = fresh()
    postgres().execute("CREATE SCHEMA picto; CREATE TABLE picto.invoice(id int)", name)
    yield name


def newer(_: Path) -> Iterator[str]:
    """A library of a picto that is still to come."""
    name = fresh()
    connect(name, create=True).close()
    postgres().execute("UPDATE picto.library SET version = 900", name)
    yield name


def of_another_model(_: Path) -> Iterator[str]:
    """A library of a model that this machine has not."""
    name = fresh()
    with connect_to(name) as db:
        SqliteStore(db).require_model(ModelSpec("made-up", "0", DIM, 224, "bilinear", 64, 112.7, -16.8))
    yield name


def nowhere(_: Path) -> Iterator[str]:
    yield f"postgresql://picto:{quote(PASSWORD, safe='')}@127.0.0.1:{unused_port()}/library"


def mistyped(_: Path) -> Iterator[str]:
    yield f"postgresql://picto:{quote(PASSWORD, safe='')}@127.0.0.1:port/library"


def missing(_: Path) -> Iterator[str]:
    yield postgres().dsn("nobodys")


def refused(_: Path) -> Iterator[str]:
    yield postgres().dsn("postgres", "guarded", PASSWORD + "!")


def empty(_: Path) -> Iterator[str]:
    yield fresh()


@pytest.fixture(scope="module")
def forked() -> Iterator[None]:
    """The program, forked from a process that has imported what it needs: a run takes a tenth of the time."""
    with (
        tempfile.TemporaryDirectory(prefix="picto") as folder,
        picto(Path(folder), ["pictocli.scale.postgres.engine"]) as script,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(program, "PICTO", script)
        yield


@pytest.mark.usefixtures("forked")
@pytest.mark.parametrize(
    ("made", "command", "said", "remedy"),
    [
        (mistyped, "info", "is no name of a library in PostgreSQL", "postgresql://USER"),
        (nowhere, "info", "cannot be reached", "check that it runs"),
        (refused, "info", "refuses the password", "PASSWORD"),
        (missing, "info", "there is no database", "createdb"),
        (empty, "info", "there is no", "picto index FOLDER"),
        (without_extension, "index", "vector", "pgvector"),
        (unprivileged, "index", "vector", "CREATE EXTENSION vector"),
        (without_public, "index", "no schema public", "CREATE EXTENSION vector SCHEMA"),
        (outdated, "info", "pgvector 0.5.1", "ALTER EXTENSION vector UPDATE"),
        (foreign, "info", "another program's", "schema"),
        (newer, "info", "newer picto", "pip install --upgrade pictocli"),
        (of_another_model, "index", "embeddings of made-up", "picto reembed"),
    ],
    ids=lambda value: value.__name__ if callable(value) else value if value in ("info", "index") else "",
)
def test_what_cannot_be_used_says_why_and_what_to_do(
    made: Callable[[Path], Iterator[str]], command: str, said: str, remedy: str, tmp_path: Path, photos: Path
) -> None:
    for name in made(tmp_path):
        arguments = [command] if command == "info" else [command, str(photos), "--model", "mini", "--workers", "0"]
        ran = run(*arguments, "--db", name)
        assert (ran.code, ran.out) == (3, b""), ran.err
        error, _, hint = ran.err.strip().partition("\n\n")
        assert re.fullmatch(r"error: [^\n]+", error), ran.err
        assert re.fullmatch(r"hint: [^\n]+", hint), ran.err
        assert said in error
        assert remedy in hint
        assert PASSWORD not in ran.err
        assert quote(PASSWORD, safe="") not in ran.err


@pytest.fixture
def role() -> str:
    """A role that owns nothing and may log in. It stays, as do the libraries that name it."""
    name = f"role{next(NUMBERS)}"
    postgres().execute(f"CREATE ROLE {name} LOGIN")
    return name


def test_who_owns_the_schema_may_make_a_library_in_it(role: str) -> None:
    name = fresh()
    mine = name.replace("picto@", f"{role}@")
    postgres().execute("CREATE EXTENSION vector", name)
    with pytest.raises(StoreError, match=r"may not make .*: permission denied for database") as refused:
        connect(mine, create=True)
    assert "CREATE on the database" in str(refused.value.hint)
    postgres().execute(f"CREATE SCHEMA picto AUTHORIZATION {role}", name)
    with contextlib.closing(connect(mine, create=True)) as db:
        one_image(db)
    assert postgres().execute("SELECT count(*) FROM picto.image", name) == [(1,)]


def test_who_may_not_do_something_is_told_what_it_takes(role: str) -> None:
    name = fresh()
    mine = name.replace("picto@", f"{role}@")
    with connect_to(name) as db:
        one_image(db)
    for granted, wanting in [
        ("SELECT 1", "permission denied for schema picto"),
        (f"GRANT USAGE ON SCHEMA picto TO {role}", "permission denied for table library"),
    ]:
        postgres().execute(granted, name)
        with pytest.raises(StoreError, match=f"the user may not .*: {wanting}") as refused:
            connect(mine, readonly=True)
        assert "USAGE on its schema and SELECT" in str(refused.value.hint)
        assert "primary" not in str(refused.value.hint)
    postgres().execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA picto TO {role}", name)
    with pictocli.open(mine) as library:
        assert library.info().images == 1
        assert [image.image_id for image in library.by_similarity(1, 0, folder_path="/")] == []
        assert library.show(1).filename == "a.png"
    postgres().execute(f"GRANT ALL ON ALL TABLES IN SCHEMA picto TO {role}", name)
    with connect_to(mine) as db, pytest.raises(StoreError, match="the user may not") as refused, translated(mine):
        SqliteStore(db).add_root("/s", "s")  # a new dataset makes a table
    assert "the user who made it" in str(refused.value.hint)


def test_what_a_member_of_the_role_adds_is_the_owner_s_to_keep(role: str) -> None:
    name = fresh()
    with connect_to(name) as db:
        one_image(db)
    postgres().execute(f"GRANT picto TO {role}")
    with connect_to(name.replace("picto@", f"{role}@")) as db:
        SqliteStore(db).add_root("/s", "s")
    owners = "SELECT DISTINCT tableowner::text FROM pg_tables WHERE schemaname = 'picto'"
    assert postgres().execute(owners, name) == [("picto",)]


def test_a_limit_of_idle_time_is_told_as_one(role: str) -> None:
    name = fresh()
    connect(name, create=True).close()
    postgres().execute(f"GRANT picto TO {role}; ALTER ROLE {role} SET idle_session_timeout = '50ms'")
    mine = name.replace("picto@", f"{role}@")
    with connect_to(mine) as db:
        until = time.monotonic() + 20
        asked = f"SELECT count(*) FROM pg_stat_activity WHERE usename = '{role}'"
        while postgres().execute(asked) != [(0,)]:
            assert time.monotonic() < until
            time.sleep(0.02)
        with (
            pytest.raises(StoreError, match=r"has stopped a question.*idle-session timeout") as ended,
            translated(mine),
        ):
            db.execute("SELECT 1").fetchall()
    assert ended.value.hint == "let its limits of time be longer"
    assert not isinstance(ended.value, AwayError)


@pytest.mark.parametrize(
    ("error", "away"),
    [
        (errors.AdminShutdown("breche Verbindung ab aufgrund von Anweisung des Administrators"), True),
        (errors.CannotConnectNow("das Datenbanksystem startet"), True),
        (psycopg.OperationalError("server closed the connection unexpectedly"), True),
        (psycopg.OperationalError("connection failed: Connection refused"), True),
        (psycopg.OperationalError("failed to resolve host 'db'"), True),
        (psycopg.OperationalError("connection failed: FATAL:  sorry, too many clients already"), True),
        (psycopg.OperationalError("connection failed: session is read-only"), True),
        (psycopg.OperationalError('connection failed: FATAL:  database "photos" does not exist'), False),
        (psycopg.OperationalError('connection failed: FATAL:  password authentication failed for user "me"'), False),
        (psycopg.OperationalError("connection failed: server does not support SSL"), False),
        (psycopg.ProgrammingError("the query has 1 placeholder but 2 parameters were passed"), False),
        (errors.ReadOnlySqlTransaction("cannot execute INSERT in a read-only transaction"), False),
    ],
    ids=str,
)
def test_a_server_that_is_away_is_told_from_one_that_refuses(error: psycopg.Error, away: bool) -> None:
    with pytest.raises(StoreError) as told, translated("postgresql://me@db/photos"):
        raise error
    assert isinstance(told.value, AwayError) == away


def test_what_the_driver_says_of_a_lost_connection_is_said_by_nobody_else() -> None:
    code = "import logging, pictocli.scale.postgres.engine\nlogging.getLogger('psycopg').warning('error ignored')"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert ran.stderr == b""


@pytest.mark.parametrize("package", ["psycopg"])
def test_without_its_extra_it_says_what_to_install(package: str) -> None:
    code = (
        "import sys\n"
        f"sys.modules[{package!r}] = None\n"
        "sys.argv = ['picto', 'info', '--db', 'postgresql://localhost/library']\n"
        "from pictocli.cli import main\nmain()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 3, done.stderr
    assert "pip install 'pictocli[postgres]'" in done.stderr
    assert "Traceback" not in done.stderr
