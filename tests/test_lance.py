"""Libraries of Lance tables: what is written is read by others as it was, whole, or not at all."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apsw
import numpy as np
import pytest
from libraries import add, clustered

from pictocli import databases
from pictocli.errors import DamagedError, StoreError, TakenError
from pictocli.protocols import Database
from pictocli.queries import Queries
from pictocli.records import ModelSpec
from pictocli.schema import to_db, transaction
from pictocli.sqlite import SqliteStore
from pictocli.visible import Bounds, hide

os.environ.setdefault("LANCE_LOG", "error")  # read when it is imported
lance = pytest.importorskip("lance")

from pictocli.scale.lance import head as lance_head  # noqa: E402 - they need the package
from pictocli.scale.lance import indexes as lance_indexes  # noqa: E402
from pictocli.scale.lance import store as lance_store  # noqa: E402
from pictocli.scale.lance.claims import claimed_in_bucket  # noqa: E402
from pictocli.scale.lance.head import HEAD, Cell  # noqa: E402
from pictocli.scale.lance.place import Place, place_of  # noqa: E402
from pictocli.scale.lance.statements import statement  # noqa: E402
from pictocli.scale.lance.tables import TABLES  # noqa: E402

EVERY = (*TABLES, "image_tag")


@pytest.fixture
def name(tmp_path: Path) -> str:
    return f"lance://{tmp_path}/library"


@pytest.fixture
def opened(name: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    """Opens the library, each time with the working copy of the machine that is named."""
    found: list[Database] = []

    def connect(machine: str = "a", **options: Any) -> Database:
        monkeypatch.setenv("XDG_CACHE_HOME", str(Path(name.removeprefix("lance://")).parent / machine))
        found.append(databases.connect(name, **options))
        return found[-1]

    yield connect
    for db in found:
        db.close()


def fill(db: Any, count: int = 30) -> None:
    """A small library: vectors, labels, thumbnails and all."""
    store = SqliteStore(db)
    store.require_model(ModelSpec("made-up", "0", 8, 224, "bilinear", 64, 112.7, -16.8))
    root = store.add_root("/r", "r")
    for number in range(3):
        store.folder_id(root, f"f{number}")
    objects = [["car", "dog", "cat"][: at % 4] for at in range(count)]
    add(db, clustered(count, 8, 3), objects)
    with transaction(db):
        for at in range(1, count + 1):
            db.execute("INSERT INTO thumbnail VALUES(?1, ?2)", (at, b"\xff\xd8" + at.to_bytes(2, "big") * at))
            db.execute("INSERT INTO fingerprint VALUES(?1, ?2)", (at, bytes([at % 256]) * 9))
            db.execute("INSERT INTO capture VALUES(?, ?, ?, ?, ?)", (at, at, "Kamera", 1.5, None))


def held(db: Any) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of all tables."""
    return {table: sorted(db.execute(f"SELECT * FROM {table}").fetchall(), key=repr) for table in EVERY}


# -- one library, several machines ------------------------------------------------------------------------------------

CHANGES = {
    "row": "UPDATE image SET metadata = '{\"a\": 1}' WHERE id = 4",
    "labels": "UPDATE image SET objects = '{\"sheep\": 0.5}', scenes = '{\"sea\": 1}' WHERE id % 2",
    "names swapped": "UPDATE file SET name = 'between' WHERE id = 3; UPDATE file SET name = '3.png' WHERE id = 6;"
    " UPDATE file SET name = '6.png' WHERE id = 3",
    "moved": "UPDATE image SET folder_id = 2 WHERE folder_id = 1",
    "key of two": "DELETE FROM tag_alias; INSERT INTO tag_alias VALUES(0, 'auto', 1), (1, 'auto', 1);"
    " DELETE FROM tag_alias WHERE category = 0",
    "put back": "DELETE FROM capture WHERE content_id = 5; INSERT INTO capture VALUES(5, NULL, 'x', NULL, 0.1)",
    "text key": "DELETE FROM meta WHERE key = 'model'",
    "removed": "DELETE FROM image WHERE id BETWEEN 8 AND 9",
    "removed file": "DELETE FROM file WHERE id = 7",
    "emptied": "DELETE FROM thumbnail",
    "all vectors": "DELETE FROM embedding",
    "all removed": "DELETE FROM image",
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_another_machine_follows_every_change(opened: Callable[..., Any], change: str) -> None:
    here = opened("a", create=True)
    fill(here)
    there = opened("b", readonly=True)
    assert held(there) == held(here)
    with transaction(here):
        for each in change.split(";"):
            here.execute(each)
    there.execute("BEGIN")
    assert held(there) == held(here) == held(opened("c", readonly=True))


@pytest.mark.parametrize("indexed", [False, True], ids=["as it comes", "with indexes"])
def test_a_library_holds_what_a_file_does(
    indexed: bool, opened: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = databases.connect(str(tmp_path / "a.db"), create=True)
    tables = opened(create=True)
    if indexed:
        monkeypatch.setattr(lance_indexes, "EXACT_BELOW", 20)
    for db in (file, tables):
        fill(db)
        for change in CHANGES.values():
            if indexed and db is tables:
                db.neighbours.build()
            with transaction(db):
                for each in change.split(";"):
                    db.execute(each)
    assert held(tables) == held(file) == held(opened("b"))
    file.close()


def test_values_come_back_as_they_were(opened: Callable[..., Any]) -> None:
    here = opened(create=True)
    values = [None, 1, -(2**63), 2**63 - 1, 0.1, 1e300, "", "é😀\x01", "1", b"", b"\x00\xff"]
    names = ["plain", "海😀", "a'b\"c", to_db("caf\udce9.png"), to_db("\udcff"), ""]
    odd = json.dumps({"half": "\ud800", "zero": "\x00"})
    with transaction(here):
        for at, value in enumerate(values):
            here.execute("INSERT INTO meta VALUES(?, ?)", (f"m{at}'", value))
        here.execute("INSERT INTO dataset VALUES(1, 'd')")
        here.execute("INSERT INTO root VALUES(1, 1, ?)", (names[3],))
        here.execute("INSERT INTO folder(id, root_id, path) VALUES(1, 1, ?)", (names[4],))
        for at, each in enumerate(names, 1):
            here.execute(
                "INSERT INTO file(id, folder_id, name, kind, hash) VALUES(?, 1, ?, 'png', ?)", (at, each, b"\0")
            )
            here.execute("INSERT INTO content VALUES(?1, ?2, 0, 0, 1, 1, '{}', 1e-9)", (at, bytes([at])))
            here.execute("INSERT INTO image(id, file_id, folder_id, content_id, metadata, indexed_at)"
                         " VALUES(?1, ?1, 1, ?1, ?2, 0)", (at, odd))  # fmt: skip
        for at, vector in enumerate(([np.nan, np.inf], [-0.0, 1e-45], [1, 2]), 1):
            here.execute("INSERT INTO embedding VALUES(?, ?)", (at, np.array(vector, "<f4").tobytes()))
    there = opened("b")
    assert [
        there.execute("SELECT value FROM meta WHERE key = ?", (f"m{at}'",)).get for at in range(len(values))
    ] == values
    assert [name for (name,) in there.execute("SELECT name FROM file ORDER BY id")] == names
    assert held(there) == held(here)
    with transaction(there):
        there.execute("DELETE FROM meta WHERE key LIKE 'm%'")
    assert (
        here.execute("SELECT count(*) FROM meta").get == 0 or opened("a").execute("SELECT count(*) FROM meta").get == 0
    )


def test_other_programs_read_the_tables(opened: Callable[..., Any], name: str) -> None:
    fill(opened(create=True))
    folder = name.removeprefix("lance://")
    vectors = lance.dataset(f"{folder}/embedding.lance").to_table().to_pydict()
    assert np.array(vectors["v"], "f4").tobytes() == clustered(30, 8, 3).tobytes()
    labels = lance.dataset(f"{folder}/image.lance").to_table(filter="array_has(objects_labels, 'cat')")
    assert labels["id"].to_pylist() == [at for at in range(1, 31) if (at - 1) % 4 == 3]


# -- commits ----------------------------------------------------------------------------------------------------------


def test_a_reader_sees_one_state(opened: Callable[..., Any]) -> None:
    here = opened(create=True)
    fill(here)
    there, before = opened("b", readonly=True), here.version()
    there.execute("BEGIN")
    vectors = there.execute("SELECT v FROM embedding").fetchall()
    with transaction(here):
        here.execute("DELETE FROM embedding WHERE content_id < 20")
    assert there.execute("SELECT v FROM embedding").fetchall() == vectors
    assert there.dataset("embedding").count_rows() == 30
    there.execute("ROLLBACK")
    there.execute("BEGIN")
    assert there.execute("SELECT count(*) FROM embedding").get == there.dataset("embedding").count_rows() == 11
    assert there.version() == here.version() == before + 1


def test_what_is_undone_was_never_there(opened: Callable[..., Any]) -> None:
    here = opened(create=True)
    fill(here)
    before, commit = held(here), here.version()
    here.execute("BEGIN IMMEDIATE")
    here.execute("INSERT INTO thumbnail VALUES(?1, ?2) ON CONFLICT(content_id) DO UPDATE SET jpeg = ?2", (1, b"new"))
    assert here.execute("SELECT jpeg FROM thumbnail WHERE content_id = 1").get == b"new"
    here.execute("DELETE FROM image")
    here.execute("ROLLBACK")
    assert held(here) == before == held(opened("b"))
    assert here.version() == commit


def lose_some(db: Any) -> None:
    with transaction(db):
        db.execute("UPDATE file SET kind = 'lost'")
        db.execute("DELETE FROM thumbnail WHERE content_id < 9")
        db.execute("INSERT INTO meta VALUES('lost', 1)")


@pytest.mark.parametrize("moment", ["write", "publish"])
def test_a_commit_that_fails_leaves_nothing(
    opened: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Tables may be written by then: their new versions belong to no commit, and the next writer undoes them."""
    here = opened(create=True)
    fill(here)
    before = held(here)

    def fail(*_: Any) -> None:
        raise OSError("no space left on device")

    real = lance_store.Store.write

    def write(*args: Any) -> Any:
        real(*args)
        fail()

    with monkeypatch.context() as patch:
        patch.setattr(*((lance_store.Store, "write", write) if moment == "write" else (Cell, "swap", fail)))
        with pytest.raises((OSError, StoreError)):  # at the lease, or at the commit
            lose_some(here)
    there = opened("b")
    assert held(there) == before
    with transaction(there):
        there.execute("INSERT INTO meta VALUES('kept', 1)")
        there.execute("UPDATE file SET kind = 'kept' WHERE id = 1")
        there.execute("DELETE FROM thumbnail WHERE content_id = 20")
    for db in (here, opened("c")):
        db.execute("BEGIN")
        assert held(db) == held(there)
        db.execute("ROLLBACK")
    assert here.execute("SELECT count(*) FROM file WHERE kind = 'lost'").get == 0
    assert here.execute("SELECT count(*) FROM thumbnail").get == 29


def test_vectors_of_another_width_replace_all(opened: Callable[..., Any]) -> None:
    here = opened(create=True)
    fill(here)
    wider = clustered(30, 12, 2)
    there = opened("b", readonly=True)
    with transaction(here):
        here.executemany(
            "INSERT OR REPLACE INTO staged VALUES(?, ?)", [(at, v.tobytes()) for at, v in enumerate(wider, 1)]
        )
    with transaction(here):
        here.execute("DELETE FROM embedding")
        here.execute("INSERT INTO embedding SELECT content_id, v FROM staged")
        here.execute("DELETE FROM staged")
    there.execute("BEGIN")
    assert held(there) == held(here)
    assert b"".join(v for (v,) in there.execute("SELECT v FROM embedding ORDER BY content_id")) == wider.tobytes()
    with pytest.raises(DamagedError, match="width"), transaction(here):
        here.execute("INSERT INTO embedding VALUES(?1, ?2) ON CONFLICT(content_id) DO UPDATE SET v = ?2", (1, b"abcd"))


def test_many_small_commits_become_large_fragments(opened: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lance_store, "_FRAGMENTS", 4)
    here = opened(create=True)
    fill(here)
    there = opened("b", readonly=True)
    for at in range(12):
        with transaction(here):
            here.execute("INSERT INTO text_embedding VALUES(?, ?)", (f"words {at}", b"1234"))
        there.execute("BEGIN")
        assert held(there) == held(here)
        there.execute("ROLLBACK")
    assert len(here.dataset("text_embedding").get_fragments()) <= 5
    assert held(opened("c")) == held(here)


def test_pictures_are_read_in_any_order(opened: Callable[..., Any]) -> None:
    here = opened(create=True)
    fill(here, 300)
    there = opened("b", readonly=True)
    wanted = {at: b"\xff\xd8" + at.to_bytes(2, "big") * at for at in range(1, 301)}
    assert dict(there.execute("SELECT content_id, jpeg FROM thumbnail")) == wanted
    backwards = "SELECT content_id, jpeg FROM thumbnail ORDER BY content_id DESC"
    assert dict(opened("c", readonly=True).execute(backwards)) == wanted
    ids = json.dumps([299, 7, 7, 100, 1000])
    some = "SELECT content_id, jpeg FROM thumbnail WHERE content_id IN (SELECT value FROM json_each(?))"
    other = opened("d", readonly=True)
    assert dict(other.execute(some, (ids,))) == {at: wanted[at] for at in (7, 100, 299)}
    assert other.thumbnail_head(200, 3) == wanted[200][:3]
    equal = "SELECT content_id FROM thumbnail WHERE jpeg = ?"
    assert other.execute(equal, (wanted[55],)).fetchall() == [(55,)]


STATEMENTS = {
    "a picture": ("INSERT INTO thumbnail VALUES(?1, ?2) ON CONFLICT(content_id) DO UPDATE SET jpeg = ?2",
                  "INSERT INTO main.thumbnail VALUES(?1, ?2)"
                  " ON CONFLICT(content_id) DO UPDATE SET jpeg = excluded.jpeg"),
    "replaced": ("INSERT OR REPLACE INTO staged VALUES(?, ?)", "INSERT OR REPLACE INTO main.staged VALUES(?, ?)"),
    "columns": ("INSERT INTO embedding(content_id, v) VALUES(?, ?)",
                "INSERT INTO main.embedding(content_id, v) VALUES(?, ?)"),
    "named": ("INSERT INTO embedding VALUES(:i, :v)", "INSERT INTO main.embedding VALUES(:i, :v)"),
    "emptied": ("DELETE FROM staged", "DELETE FROM main.staged"),
    "swapped": ("INSERT INTO embedding SELECT content_id, v FROM staged",
                "INSERT INTO main.embedding SELECT content_id, v FROM main.staged"),
    "other table": ("INSERT INTO text_embedding VALUES(?, ?)",) * 2,
    "read": ("SELECT v FROM embedding WHERE content_id = ?",) * 2,
    "compared": ("SELECT 1 FROM thumbnail WHERE jpeg = ?3",
                 "SELECT 1 FROM main.thumbnail WHERE jpeg = lance_digest(?3)"),
    "row ids": ("SELECT rowid FROM embedding WHERE length(v) <> 4",
                "SELECT content_id FROM embedding WHERE length(v) <> 4"),
    "hidden": ("CREATE TEMP VIEW staged AS SELECT * FROM main.staged WHERE content_id IN temp.seen",
               "CREATE TEMP VIEW staged AS SELECT content_id, lance_bytes('staged', content_id, v) AS v"
               " FROM main.staged WHERE content_id IN temp.seen"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "run"), STATEMENTS.values(), ids=STATEMENTS)
def test_statements_are_run_on_the_working_copy(text: str, run: str) -> None:
    assert statement(text).text == run


def test_a_part_of_a_library_is_hidden(opened: Callable[..., Any], tmp_path: Path) -> None:
    """The views that hide look the bytes up, too."""
    answers = []
    columns = {"embedding": "v", "thumbnail": "jpeg", "embeddings": "embedding", "fingerprint": "*", "tag": "name, n"}
    for connect, machine in ((opened, "a"), (databases.connect, str(tmp_path / "a.db"))):
        db = connect(machine, create=True)
        fill(db)
        hide(Queries(db), Bounds(folders=["f1"]))
        answers.append([sorted(db.execute(f"SELECT {each} FROM {table}")) for table, each in columns.items()])
        db.close()
    assert answers[0] == answers[1]
    assert len(answers[0][0]) == 10


# -- who may write ----------------------------------------------------------------------------------------------------


def test_a_swap_has_one_winner(name: str) -> None:
    place = place_of(name)
    Cell(place, "cell").create({"sum": 0})
    assert not Cell(place, "cell").create({"sum": 7})

    def add_some() -> None:
        cell = Cell(place, "cell")
        for _ in range(8):
            cell.change(lambda value: {"sum": value["sum"] + 1, "text": "it's"})

    threads = [threading.Thread(target=add_some) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Cell(place, "cell").read() == (24, {"sum": 24, "text": "it's"})


def test_writers_take_turns(opened: Callable[..., Any]) -> None:
    here, there = opened("a", create=True), opened("b")

    def write(db: Any, mine: int) -> None:
        for at in range(6):
            with transaction(db):
                assert db.execute("SELECT count(*) FROM meta").get >= at
                db.execute("INSERT INTO meta VALUES(?, ?)", (f"{mine}-{at}", at))

    threads = [threading.Thread(target=write, args=(db, at)) for at, db in enumerate((here, there))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert held(opened("c"))["meta"] == sorted((f"{mine}-{at}", at) for mine in (0, 1) for at in range(6))


def test_who_waits_too_long_is_told_for_whom(opened: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lance_head, "PATIENCE", 0.2)
    here, there = opened("a", create=True), opened("b")
    here.execute("BEGIN IMMEDIATE")
    with pytest.raises(TakenError, match=f"is being changed by process {os.getpid()}$"):
        there.execute("BEGIN IMMEDIATE")
    here.execute("ROLLBACK")
    with transaction(there):
        there.execute("INSERT INTO meta VALUES('a', 1)")


def test_a_dead_writer_holds_nobody_up(opened: Callable[..., Any], name: str) -> None:
    opened(create=True)
    script = (
        "import os, sys; from pictocli import databases; db = databases.connect(sys.argv[1]);"
        " db.execute('BEGIN IMMEDIATE'); os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", script, name], check=False).returncode == 9
    started = time.monotonic()
    here = opened("b")
    with transaction(here):
        here.execute("INSERT INTO meta VALUES('a', 1)")
    assert time.monotonic() - started < 10


def test_a_writer_that_slept_too_long_stores_nothing(
    opened: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lease was taken over meanwhile. What it has written already is undone by the next one."""
    here, there = opened("a", create=True), opened("b")
    fill(here)
    monkeypatch.setattr(lance_head, "LEASE", 0.3)
    here.execute("BEGIN IMMEDIATE")
    here.execute("INSERT INTO meta VALUES('late', 1)")
    with transaction(there):
        there.execute("INSERT INTO meta VALUES('kept', 1)")
    with pytest.raises(TakenError, match="taken over"):
        here.execute("COMMIT")
    assert not here.in_transaction
    with transaction(there):
        there.execute("INSERT INTO meta VALUES('kept, too', 1)")
    here.execute("BEGIN")
    assert held(here) == held(there)
    assert [key for key, _ in held(here)["meta"]] == ["kept", "kept, too", "model"]


def test_a_lease_is_renewed_while_it_is_held(opened: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    for constant, seconds in (("LEASE", 1.0), ("PATIENCE", 0.5), ("_BEAT", 0.1)):
        monkeypatch.setattr(lance_head, constant, seconds)
    here, there = opened("a", create=True), opened("b")
    here.execute("BEGIN IMMEDIATE")
    here.execute("INSERT INTO meta VALUES('a', 1)")
    for _ in range(3):
        with pytest.raises(TakenError):
            there.execute("BEGIN IMMEDIATE")
    here.execute("COMMIT")
    assert held(opened("c"))["meta"] == [("a", 1)]


@pytest.mark.parametrize("claimed", ["folder", "bucket"])
def test_a_root_is_claimed_by_one(name: str, claimed: str, opened: Callable[..., Any]) -> None:
    opened(create=True)
    place = place_of(name)
    bucket = Place(place.name, place.uri, None)  # the very tables that lie in a bucket, in a folder
    script = (
        "import sys; from pictocli import databases; from pictocli.scale.lance.claims import claimed_in_bucket as c\n"
        "from pictocli.scale.lance.place import Place, place_of; p = place_of(sys.argv[1])\n"
        "with c(Place(p.name, p.uri, None), {1: '/r'}) if sys.argv[2] == 'bucket' else"
        " databases.claimed(sys.argv[1], {1: '/r'}):\n print('claimed', flush=True); sys.stdin.read()"
    )

    def claim(roots: dict[int, str] | None) -> Any:
        return claimed_in_bucket(bucket, roots) if claimed == "bucket" else databases.claimed(name, roots)

    with subprocess.Popen(
        [sys.executable, "-c", script, name, claimed], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "claimed\n"
        with claim({2: "/s"}):
            pass
        for roots, what in (({1: "/r"}, "^/r is being indexed"), (None, f"^{name} is being")):
            with pytest.raises(TakenError, match=f"{what} .* process {other.pid}"), claim(roots):
                pass
        other.kill()
        other.communicate()
    with claim({1: "/r"}):
        pass
    with claim(None):
        pass


# -- what is in the way -----------------------------------------------------------------------------------------------


def test_a_library_is_told_by_its_name(name: str, opened: Callable[..., Any], tmp_path: Path) -> None:
    assert not databases.exists(name)
    assert databases.identity(name) is None
    with pytest.raises(StoreError, match="there is no library at lance://"):
        opened()
    here = opened(create=True)
    assert databases.exists(name)
    assert (databases.full(name), databases.shown(name), here.filename) == (name, name, "")
    first = databases.identity(name)
    fill(here)
    folder = name.removeprefix("lance://")
    assert databases.size(name) == sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
    size = databases.size(name)
    shutil.copytree(folder, f"{folder}/inner")  # another library
    assert databases.size(name) == size
    shutil.rmtree(folder)
    again = opened(create=True)
    assert databases.identity(name) not in (None, first)
    assert not any(held(again).values())
    assert databases.full("lance://x").startswith("lance:///")
    os.chdir(tmp_path)
    assert databases.full("lance://x") == f"lance://{tmp_path}/x"


def test_a_spoiled_copy_is_made_anew(name: str, opened: Callable[..., Any], tmp_path: Path) -> None:
    here = opened(create=True)
    fill(here)
    before = held(here)
    here.close()
    (copy,) = (tmp_path / "a").rglob("*.db")
    for spoiled in (b"no database" * 1000, copy.read_bytes()[:20_000], b""):
        copy.write_bytes(spoiled)
        again = opened()
        assert held(again) == before
        again.close()
    db = apsw.Connection(str(copy))
    db.execute("DROP TRIGGER image_moved")
    db.close()
    assert held(opened()) == before


def test_a_library_that_was_put_back_from_a_backup_is_read_as_it_is(
    name: str, opened: Callable[..., Any], tmp_path: Path
) -> None:
    here, folder = opened(create=True), name.removeprefix("lance://")
    fill(here, 5)
    before = held(here)
    shutil.copytree(folder, tmp_path / "backup")
    with transaction(here):
        here.execute("DELETE FROM image")
    here.close()
    shutil.rmtree(folder)
    shutil.copytree(tmp_path / "backup", folder)
    assert held(opened(readonly=True)) == before


def head_of(folder: Path, **values: Any) -> None:
    Cell(place_of(f"lance://{folder}"), HEAD).change(lambda state: {**state, **values})


def test_a_damaged_library_is_told_in_one_sentence(opened: Callable[..., Any], name: str, tmp_path: Path) -> None:
    fill(opened(create=True), 5)
    folder = Path(name.removeprefix("lance://"))
    shutil.rmtree(folder / "image.lance")
    with pytest.raises(DamagedError, match="a part of it has vanished") as caught:
        opened("b")
    assert "repair" not in str(caught.value.hint), "that is for files"
    head_of(folder, format=2)
    with pytest.raises(StoreError, match="was made by a newer picto"):
        opened()
    head_of(folder, format=1, schema=99)
    with pytest.raises(StoreError, match="was made by a newer picto"):
        opened()


WRONG = {
    "lance://": "lance:// names no folder",
    "lance+s3://bucket": "names no place in a bucket",
    "lance://{}/file": "is a file, not a folder",
    "lance://{}/full": "holds other files, and no library",
    "lance://{}/file/below": "a file lies in its way",
    "lance://{}/tables": "is no library of picto's|is damaged",
}


@pytest.mark.parametrize(("wrong", "told"), WRONG.items(), ids=WRONG)
def test_a_wrong_name_is_told_in_one_sentence(tmp_path: Path, wrong: str, told: str) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/x").write_text("x")
    lance.write_dataset(lance_head.pa.table({"turn": [1], "text": ["[1]"]}), tmp_path / "tables/head.lance")
    with pytest.raises(StoreError, match=told):
        databases.connect(wrong.format(tmp_path), create=True)


def test_a_missing_package_is_told_with_what_installs_it() -> None:
    script = (
        "import sys; sys.modules['lance'] = None; from pictocli import databases\n"
        "try: databases.connect('lance:///x')\nexcept Exception as exc: print(type(exc).__name__, exc, exc.hint)"
    )
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert told == "StoreError libraries of Lance tables need the package lance pip install 'pictocli[lance]'\n"
