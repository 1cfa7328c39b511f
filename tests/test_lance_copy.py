"""The working copy of a library of Lance tables, where it is lost, spoiled, full, or another process's."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import struct
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest
from test_progress import Screen

from pictocli import connection, databases, progress
from pictocli.errors import StoreError
from pictocli.migrations import MIGRATIONS
from pictocli.schema import savepoint, transaction

os.environ.setdefault("LANCE_LOG", "error")  # read when it is imported
lance = pytest.importorskip("lance")

from pictocli.scale.lance import connection as lance_connection  # noqa: E402 - they need the package
from pictocli.scale.lance import indexes as lance_indexes  # noqa: E402
from pictocli.scale.lance import store as lance_store  # noqa: E402
from pictocli.scale.lance.blobs import Blobs  # noqa: E402
from pictocli.scale.lance.compact import Compaction  # noqa: E402
from pictocli.scale.lance.copy import Copy  # noqa: E402
from pictocli.scale.lance.head import HEAD, Cell  # noqa: E402
from pictocli.scale.lance.place import place_of  # noqa: E402
from pictocli.scale.lance.store import Store  # noqa: E402

CONTENT = "INSERT INTO content VALUES(?, ?, 0, 0, 1, 1, ?, 1)"


@pytest.fixture
def name(tmp_path: Path) -> str:
    return f"lance://{tmp_path}/library"


@pytest.fixture
def opened(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Opens the library, each time with the working copy of the machine that is named."""
    with contextlib.ExitStack() as stack:

        def connect(machine: str = "a", **options: Any) -> Any:
            monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / machine))
            return stack.enter_context(contextlib.closing(databases.connect(name, **options)))

        yield connect


def add(db: Any, *ids: int, measures: str = "{}") -> None:
    with transaction(db):
        db.executemany(CONTENT, [(each, bytes([each % 256, each // 256]), measures) for each in ids])


def ids(db: Any) -> list[int]:
    return [each for (each,) in db.execute("SELECT id FROM content ORDER BY id")]


def copy_of(machine: Path) -> Path:
    """The file of a machine's one copy."""
    (found,) = machine.rglob("*.db")
    return found


# -- full disks, and commits that are cut short -----------------------------------------------------------------------


def pages(db: Any, more: int) -> None:
    """Let the copy grow by so many pages, as a disk does that is nearly full."""
    db.execute(f"PRAGMA max_page_count={db.execute('PRAGMA page_count').get + more}")


@pytest.mark.parametrize("many", [False, True], ids=["one by one", "all at once"])
def test_a_full_disk_in_a_transaction_leaves_nobody_waiting(
    many: bool, opened: Callable[..., Any], name: str, tmp_path: Path
) -> None:
    here = opened(create=True)
    add(here, 1)
    pages(here, 1)
    rows = [(each, bytes([each % 256, each // 256]), "x" * 9000) for each in range(2, 500)]
    told = f"no space left for the working copy {copy_of(tmp_path / 'a')}"
    with pytest.raises(StoreError, match=told), databases.translated(name), transaction(here):
        here.executemany(CONTENT, rows) if many else [here.execute(CONTENT, row) for row in rows]
    pages(here, 10**6)
    here.execute(CONTENT, (2, b"2", "{}"))
    there = opened("b")
    add(there, 3)
    here.execute("BEGIN")
    assert ids(here) == ids(there) == ids(opened("c")) == [1, 2, 3]


class Stopped(BaseException):
    """As Ctrl-C is."""


def fill_up(db: Any) -> None:
    pages(db, 0)
    apsw.Connection.execute(db, "INSERT OR REPLACE INTO main.lance_copy VALUES('state', ?)", ("x" * 500_000,))


def stop(db: Any) -> None:
    raise Stopped


@pytest.mark.parametrize("cut", [fill_up, stop], ids=["full", "stopped"])
def test_a_copy_that_is_cut_short_after_the_commit_follows(
    cut: Callable[[Any], None], opened: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All is stored by then."""
    here = opened(create=True)
    add(here, 1)
    with monkeypatch.context() as patch, contextlib.suppress(Stopped):
        patch.setattr(lance_connection, "keep_state", lambda db, *_: cut(db))
        add(here, 2)
    assert not here.in_transaction
    pages(here, 10**6)
    assert ids(here) == [1, 2]
    add(here, 3)
    assert ids(here) == ids(opened("b")) == [1, 2, 3]


# -- several processes ------------------------------------------------------------------------------------------------


def test_a_copy_that_another_process_makes_anew_meanwhile_is_read(
    opened: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    add(opened(create=True), 1, 2)
    follow = Copy.follow

    def follow_and_lose(self: Copy, head_now: Any) -> Any:
        found = follow(self, head_now)
        monkeypatch.setattr(Copy, "follow", follow)
        for end in ("", "-wal", "-shm"):
            Path(self.path + end).unlink()
        return found

    monkeypatch.setattr(Copy, "follow", follow_and_lose)
    there = opened("b")
    assert ids(there) == [1, 2]
    assert there.dataset("content").count_rows() == 2


def test_a_copy_that_another_process_is_making_is_waited_for(
    opened: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    add(opened(create=True), 1)
    path = tmp_path / "b" / copy_of(tmp_path / "a").relative_to(tmp_path / "a")
    path.parent.mkdir(parents=True)
    path.touch()
    other = apsw.Connection(str(path))
    other.execute("PRAGMA journal_mode=WAL").fetchall()
    other.execute("BEGIN IMMEDIATE")
    monkeypatch.setattr(connection, "PATIENCE", 100)
    before = path.stat().st_ino
    over = threading.Timer(0.6, other.close)
    over.start()
    assert ids(opened("b")) == [1]
    over.join()
    assert path.stat().st_ino == before


def test_each_version_of_the_schema_has_a_copy_of_its_own(opened: Callable[..., Any], tmp_path: Path) -> None:
    here = opened(create=True)
    add(here, 1)
    here.close()
    path = copy_of(tmp_path / "a")
    stem, _, version = path.stem.partition("-")
    assert version == str(len(MIGRATIONS))
    earlier, later = (path.with_name(f"{stem}-{number}.db") for number in (len(MIGRATIONS) - 1, len(MIGRATIONS) + 1))
    shutil.copy(path, later)
    path.rename(earlier)
    assert ids(opened()) == [1]
    assert not earlier.exists()
    assert later.exists()


# -- backups ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("written", [1, 2, 3])
def test_a_branch_that_was_lost_with_a_backup_is_forgotten(
    written: int, opened: Callable[..., Any], name: str, tmp_path: Path
) -> None:
    folder = name.removeprefix("lance://")
    add(opened(create=True), 1, 2)
    shutil.copytree(folder, tmp_path / "backup")
    there = opened("b")
    add(there, 3)
    with transaction(there):
        there.execute("DELETE FROM content WHERE id = 1")
    there.close()
    shutil.rmtree(folder)
    shutil.copytree(tmp_path / "backup", folder)
    here = opened("c")
    for number in range(written):
        add(here, 30 + number)
    assert ids(opened("b", readonly=True)) == ids(here) == [1, 2, *range(30, 30 + written)]


def test_a_head_that_names_no_writers_is_followed(opened: Callable[..., Any], name: str) -> None:
    here, there = opened(create=True), opened("b", readonly=True)
    add(here, 1)
    assert there.version() == 1
    add(here, 2)
    Cell(place_of(name), HEAD).change(lambda head: {key: head[key] for key in head if key != "writers"})
    there.execute("BEGIN")
    assert ids(there) == [1, 2]
    there.execute("ROLLBACK")
    add(here, 3)
    there.execute("BEGIN")
    assert ids(there) == [1, 2, 3]


# -- spoiled ----------------------------------------------------------------------------------------------------------


def test_a_copy_that_is_spoiled_within_is_made_anew_the_next_time(
    opened: Callable[..., Any], name: str, tmp_path: Path
) -> None:
    here = opened(create=True)
    add(here, *range(3000))
    here.close()
    path = copy_of(tmp_path / "a")
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 3 // 16384 * 16384)
        file.write(os.urandom(16384 * 6))
    told = f"^the working copy {path} of {name} is spoiled$"
    with pytest.raises(StoreError, match=told) as caught, databases.translated(name):
        opened().execute("SELECT * FROM content").fetchall()
    assert caught.value.hint == "run the same command again: the copy is made anew"
    assert len(opened().execute("SELECT * FROM content").fetchall()) == 3000
    assert not list((tmp_path / "a").rglob("*.bad"))


def test_a_copy_that_cannot_be_put_away_is_told_by_its_own_name(opened: Callable[..., Any], tmp_path: Path) -> None:
    opened(create=True).close()
    path = copy_of(tmp_path / "a")
    path.unlink()
    path.mkdir()
    with pytest.raises(StoreError, match=f"^cannot write the working copy {path}: "):
        opened()


@pytest.fixture
def anybody() -> Iterator[Path]:
    """A folder that may not be written while the test runs, though started as root."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "picto/lance").mkdir(parents=True)
        root = os.geteuid() == 0
        (Path(folder) / "picto/lance").chmod(0o500)
        if root:
            for path in (folder, f"{folder}/picto", f"{folder}/picto/lance"):
                os.chown(path, 65534, 65534)
            os.seteuid(65534)
        try:
            yield Path(folder)
        finally:
            if root:
                os.seteuid(0)
            (Path(folder) / "picto/lance").chmod(0o700)


def test_a_copy_that_cannot_be_made_is_told_by_its_own_name(anybody: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another --db would not help."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(anybody))
    place = place_of("lance:///tmp/library")
    told = f"^cannot use the working copy {anybody}/picto/lance/.*: Permission denied$"
    with pytest.raises(StoreError, match=told) as caught:
        Copy(place, Store(place)).open()
    assert "--db" not in str(caught.value.hint)
    assert "XDG_CACHE_HOME" in str(caught.value.hint)


def test_a_copy_that_finds_no_room_is_told_by_its_own_name(opened: Callable[..., Any], tmp_path: Path) -> None:
    opened(create=True).close()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))  # less than a page, as on a disk that is full
    try:
        with pytest.raises(StoreError, match=f"^cannot use the working copy {tmp_path}/b/") as caught:
            opened("b")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "--db" not in str(caught.value.hint)
    assert "XDG_CACHE_HOME" in str(caught.value.hint)


def test_who_waits_for_a_copy_is_told(opened: Callable[..., Any], name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    add(opened(create=True), 1)
    screen, update = Screen(), Copy._update

    def slowly(*arguments: Any, **options: Any) -> None:
        while not screen.getvalue():
            pass
        update(*arguments, **options)

    monkeypatch.setattr(progress, "_SLOW", 0.01)
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setattr(Copy, "_update", slowly)
    opened("b")
    assert screen.frames() == [f"bringing the working copy of {name} up to date …"]


# -- what a connection reads and writes -------------------------------------------------------------------------------


def vector(*numbers: int) -> bytes:
    return struct.pack(f"<{len(numbers)}f", *numbers)


def test_bytes_are_looked_up_without_changing_what_is_being_written(
    opened: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a table that a commit has just written the version before is read; to open that to write would undo it."""
    monkeypatch.setattr("pictocli.scale.lance.blobs._HELD", 200)  # so that they are read again
    here = opened(create=True)
    add(here, *range(1, 101))
    for table, first in (("embedding", 1), ("staged", 1000)):
        with transaction(here):
            here.executemany(f"INSERT INTO {table} VALUES(?, ?)", [(at, vector(first, at)) for at in range(1, 101)])
    touched: list[str] = []
    writable = lance_store.Store.writable
    real = Blobs.read

    def read(self: Blobs, table: str, key: Any, digest: Any) -> Any:
        with monkeypatch.context() as patch:
            patch.setattr(lance_store.Store, "writable", lambda *found: touched.append(table) or writable(*found))
            return real(self, table, key, digest)

    monkeypatch.setattr(Blobs, "read", read)
    with transaction(here):
        here.execute("DELETE FROM embedding")
        here.execute("INSERT INTO embedding SELECT content_id, v FROM staged")
        here.execute("DELETE FROM staged")
    assert touched == []
    wanted = [(at, vector(1000, at)) for at in range(1, 101)]
    assert opened("b").execute("SELECT * FROM embedding ORDER BY 1").fetchall() == wanted


def late(folder: Path, table: str) -> None:
    """What a writer does that has lost its lease and does not know yet."""
    rows = lance.dataset(folder / f"{table}.lance")
    row = rows.to_table(limit=1)
    at = row.schema.get_field_index("content_id" if table == "embedding" else "id")
    lance.write_dataset(row.set_column(at, row.schema.field(at), [[9999]]), rows, mode="append")


@pytest.mark.parametrize("what", ["pieces", "index"])
def test_what_comes_late_is_not_published_with_compaction(
    what: str, opened: Callable[..., Any], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(name.removeprefix("lance://"))
    here = opened(create=True)
    for at in range(1, 26):
        with transaction(here):
            here.execute(CONTENT, (at, bytes([at]), "{}"))
            here.execute("INSERT INTO embedding VALUES(?, ?)", (at, vector(at, 25)))
    came: list[str] = []

    def cut_in(real: Any, table: str) -> Any:
        def act(rows: Any, *arguments: Any) -> Any:
            if rows.uri.endswith(f"{table}.lance") and not came:
                came.append(table)
                late(folder, table)
            return real(rows, *arguments)

        return act

    if what == "pieces":
        monkeypatch.setattr(Compaction, "commit", staticmethod(cut_in(Compaction.commit, "content")))
    else:
        monkeypatch.setattr(lance_indexes, "EXACT_BELOW", 20)
        real = lance.LanceDataset.commit_existing_index_segments
        monkeypatch.setattr(lance.LanceDataset, "commit_existing_index_segments", cut_in(real, "embedding"))
    with databases.translated(name):
        databases.compact(name, dry_run=False, older_than=1e6, progress=progress.Bar(quiet=True))
    there = opened("b")
    assert len(came) == 1
    assert ids(there) == list(range(1, 26))
    assert [at for (at,) in there.execute("SELECT content_id FROM embedding ORDER BY 1")] == list(range(1, 26))
    if what == "index":
        assert there.neighbours.serves(10**6)
    else:
        assert len(there.dataset("content").get_fragments()) == 1


def test_tables_are_there_in_a_savepoint(opened: Callable[..., Any]) -> None:
    here = opened(create=True)
    add(here, 1)
    with transaction(here):
        here.execute("INSERT INTO thumbnail VALUES(?, ?)", (1, b"jpeg"))
    there = opened("b")
    with savepoint(there):
        assert there.dataset("thumbnail").count_rows() == 1
        assert there.execute("SELECT jpeg FROM thumbnail").get == b"jpeg"


def test_a_thumbnail_that_is_gone_is_told_as_in_a_file(opened: Callable[..., Any], tmp_path: Path) -> None:
    for db in (opened(create=True), databases.connect(str(tmp_path / "a.db"), create=True)):
        with pytest.raises(apsw.SQLError, match="no such"):
            db.thumbnail_head(7, 3)
        db.close()


def test_a_statement_of_its_own_returns_rows(opened: Callable[..., Any]) -> None:
    here = opened(create=True)
    text = "INSERT INTO meta VALUES('a', ?1), ('b', 2) RETURNING key, value"
    assert here.execute(text, (b"\0",)).fetchall() == [("a", b"\0"), ("b", 2)]
    assert here.execute("DELETE FROM meta WHERE key = 'x' RETURNING key").fetchall() == []
    assert opened("b").execute("SELECT count(*) FROM meta").get == 2


def test_no_bytes_are_bytes(opened: Callable[..., Any]) -> None:
    here = opened(create=True)
    add(here, 1)
    with transaction(here):
        here.execute("INSERT INTO thumbnail VALUES(?, ?)", (1, b""))
        assert here.execute("SELECT jpeg FROM thumbnail").get == b""
    assert opened("b").execute("SELECT jpeg FROM thumbnail").get == b""


def test_what_a_table_cannot_hold_is_told_in_one_sentence(opened: Callable[..., Any], name: str) -> None:
    here = opened(create=True)
    with pytest.raises(StoreError, match="cannot be read or written: Could not convert 'wide'"), transaction(here):
        here.execute("INSERT INTO content VALUES(1, ?, 0, 0, 'wide', 1, '{}', 1)", (b"1",))
    assert ids(here) == []
