"""The database file: made safely, recognised, migrated, opened without writing."""

from __future__ import annotations

import os
import re
import resource
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import apsw
import pytest

import pictocli
from pictocli import schema
from pictocli.catalog import Catalog
from pictocli.errors import StoreError
from pictocli.migrations import APPLICATION_ID, MIGRATIONS
from pictocli.schema import connect, from_db, memory, to_db, transaction, translated


def version(path: Path) -> int:
    with sqlite3.connect(path) as db:
        found = int(db.execute("PRAGMA user_version").fetchone()[0])
    db.close()
    return found


def test_a_new_database(tmp_path: Path) -> None:
    path = tmp_path / "deep/er/new.db"
    db = connect(str(path), create=True)
    assert (db.pragma("user_version"), db.pragma("application_id")) == (len(MIGRATIONS), APPLICATION_ID)
    assert (db.pragma("journal_mode"), db.pragma("page_size"), db.pragma("foreign_keys")) == ("wal", 16384, 1)
    assert (db.pragma("trusted_schema"), db.pragma("integrity_check")) == (0, "ok")
    db.close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("page_size", [16384, 32768])
def test_page_size(page_size: int, tmp_path: Path) -> None:
    connect(str(tmp_path / "a.db"), create=True, page_size=page_size).close()
    db = connect(str(tmp_path / "a.db"), page_size=4096)
    assert db.pragma("page_size") == page_size
    db.close()


def test_the_mode_of_an_existing_file_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "a.db").touch()
    (tmp_path / "a.db").chmod(0o640)
    connect(str(tmp_path / "a.db"), create=True).close()
    assert stat.S_IMODE((tmp_path / "a.db").stat().st_mode) == 0o640


def test_nothing_is_made_unless_asked(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no database"):
        connect(str(tmp_path / "none.db"))
    assert list(tmp_path.iterdir()) == []


# -- what is already there -----


def other_program(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE image(id)")
    db.close()


def newer(path: Path) -> None:
    connect(str(path), create=True).close()
    with sqlite3.connect(path) as db:
        db.execute(f"PRAGMA user_version={len(MIGRATIONS) + 1}")
    db.close()


def damaged(path: Path) -> None:
    connect(str(path), create=True).close()
    data = bytearray(path.read_bytes())
    data[16384:] = b"\xff" * (len(data) - 16384)
    path.write_bytes(data)


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "another program's": (other_program, "another program's database"),
    "a newer picto's": (newer, "made by a newer picto"),
    "text": (lambda path: path.write_text("dear diary\n" * 200), "not a picto database"),
    "short text": (lambda path: path.write_text("hello"), "not a picto database"),
    "a folder": (lambda path: path.mkdir(), "is a folder"),
}


@pytest.mark.parametrize("readonly", [False, True])
@pytest.mark.parametrize("case", REFUSED)
def test_files_that_are_no_database_of_ours_are_refused_and_left_alone(
    case: str, readonly: bool, tmp_path: Path
) -> None:
    make, message = REFUSED[case]
    path = tmp_path / "x.db"
    make(path)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(StoreError, match=message) as caught:
        connect(str(path), create=not readonly, readonly=readonly)
    assert caught.value.hint
    assert (path.read_bytes() if path.is_file() else None) == before
    assert [each.name for each in tmp_path.iterdir()] == ["x.db"]


@pytest.mark.parametrize("create", [False, True], ids=["read", "made"])
@pytest.mark.parametrize("name", ["a" * 300, os.fsdecode(b"\xff.db")], ids=["too long", "not UTF-8"])
def test_names_that_no_database_can_have_are_refused(name: str, create: bool, tmp_path: Path) -> None:
    with pytest.raises(StoreError) as caught:
        connect(str(tmp_path / name), create=create)
    assert caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_database_is_said_to_be_so(tmp_path: Path) -> None:
    damaged(tmp_path / "x.db")
    with pytest.raises(StoreError, match="is damaged"), pictocli.open(tmp_path / "x.db") as library:
        library.info()


@pytest.mark.parametrize("readonly", [False, True])
def test_one_that_was_killed_before_its_first_table_is_taken_up(readonly: bool, tmp_path: Path) -> None:
    db = apsw.Connection(str(tmp_path / "a.db"))
    db.execute("PRAGMA page_size=16384; PRAGMA journal_mode=WAL")
    db.close()
    assert (tmp_path / "a.db").stat().st_size > 0
    db = connect(str(tmp_path / "a.db"), readonly=readonly)
    assert db.pragma("user_version") == len(MIGRATIONS)
    assert Catalog(db).count_files() == 0
    db.close()


def test_migrations_run_in_order_each_in_its_own_transaction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.db"
    connect(str(path), create=True).close()
    Catalog(db := connect(str(path))).set_meta("kept", 7)
    db.close()
    first = len(MIGRATIONS)
    more = ("CREATE TABLE later(a)", "INSERT INTO later VALUES(1); INSERT INTO nowhere VALUES(1)")
    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", (*MIGRATIONS, *more))
        with pytest.raises(StoreError, match="nowhere"):
            connect(str(path))
        assert version(path) == first + 1  # the one that failed left nothing, the one before it stays
        patch.setattr(schema, "MIGRATIONS", (*MIGRATIONS, more[0], "INSERT INTO later VALUES(2)"))
        db = connect(str(path), readonly=True)  # a reader has the file brought up to date
        assert db.execute("SELECT a FROM later").fetchall() == [(2,)]
        assert Catalog(db).meta("kept") == 7
        db.close()
    with pytest.raises(StoreError, match="newer picto"):
        connect(str(path))


def test_two_processes_may_make_one_database_at_once(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    connect(str(path), create=True).close()
    db = connect(str(path))
    schema._migrate(db, 0)  # as one that saw version 0, and was slower
    assert db.pragma("integrity_check") == "ok"
    db.close()


# -- without writing -----


@pytest.fixture
def anybody() -> Iterator[Path]:
    """A folder in which this process has no privileges while the test runs, though started as root."""
    with tempfile.TemporaryDirectory() as name:
        folder, root = Path(name), os.geteuid() == 0
        connect(str(folder / "a.db"), create=True).close()
        if root:
            os.chown(folder, 65534, 65534)
            for path in folder.iterdir():
                os.chown(path, 65534, 65534)
            os.seteuid(65534)
        try:
            yield folder
        finally:
            if root:
                os.seteuid(0)
            folder.chmod(0o700)


@pytest.mark.parametrize("what", ["file", "folder", "both"])
def test_a_database_that_may_not_be_written_is_read(what: str, anybody: Path) -> None:
    if what != "folder":
        (anybody / "a.db").chmod(0o400)
    if what != "file":
        anybody.chmod(0o500)
    db = connect(str(anybody / "a.db"), readonly=True)
    assert Catalog(db).count_files() == 0
    with pytest.raises(apsw.ReadOnlyError):
        Catalog(db).set_meta("a", 1)
    db.close()


def test_a_database_that_may_not_be_written_cannot_be_written(anybody: Path) -> None:
    (anybody / "a.db").chmod(0o400)
    db = connect(str(anybody / "a.db"))
    with pytest.raises(StoreError, match="cannot write"), translated("a.db"):
        Catalog(db).set_meta("a", 1)
    db.close()


def test_a_database_that_may_not_be_read(anybody: Path) -> None:
    (anybody / "a.db").chmod(0)
    with pytest.raises(StoreError, match=re.escape(f"{anybody}/a.db")):
        connect(str(anybody / "a.db"), readonly=True)


@pytest.mark.parametrize("create", [False, True])
def test_a_folder_that_may_not_be_entered(create: bool, anybody: Path) -> None:
    """This was once a PermissionError, and a fault of picto's."""
    anybody.chmod(0)
    with pytest.raises(StoreError, match=r"cannot open .*: Permission denied") as caught:
        connect(str(anybody / "a.db"), create=create, readonly=not create)
    assert caught.value.hint


def test_a_folder_that_may_not_be_written(anybody: Path) -> None:
    anybody.chmod(0o500)
    with pytest.raises(StoreError, match=r"cannot write .*: Permission denied"):
        connect(str(anybody / "new.db"), create=True)


def test_a_reader_leaves_nothing_beside_the_database(tmp_path: Path) -> None:
    connect(str(tmp_path / "a.db"), create=True).close()
    db = connect(str(tmp_path / "a.db"), readonly=True)
    Catalog(db).count_files()
    db.close()
    assert [path.name for path in tmp_path.iterdir()] == ["a.db"]


def test_names_with_special_characters(tmp_path: Path) -> None:
    for name in ("100% #1?.db", "é b.db", "-x.db"):
        connect(str(tmp_path / name), create=True).close()
        db = connect(str(tmp_path / name), readonly=True)
        assert Catalog(db).count_files() == 0
        db.close()


# -- names and transactions -----


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (b"a.jpg", str),
        ("é".encode(), str),
        (b"e\xcc\x81", str),
        (b"caf\xe9", bytes),
        (b"\xff\xfe\n", bytes),
        (b"", str),
    ],
    ids=repr,
)
def test_names_make_the_round_trip(raw: bytes, kind: type) -> None:
    name = os.fsdecode(raw)
    db = memory()
    stored = db.execute("SELECT ?", (to_db(name),)).get
    assert isinstance(stored, kind)
    assert from_db(stored) == name
    assert os.fsencode(from_db(stored)) == raw
    db.close()


def test_a_transaction_is_undone_by_any_exception() -> None:
    db = memory()
    with pytest.raises(KeyboardInterrupt), transaction(db):
        raise KeyboardInterrupt(Catalog(db).set_meta("a", 1))
    assert Catalog(db).meta("a") is None
    assert not db.in_transaction
    with transaction(db):
        Catalog(db).set_meta("a", 2)
    assert Catalog(db).meta("a") == 2
    db.close()


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (apsw.BusyError, "locked by another program"),
        (apsw.FullError, "no space left"),
        (apsw.CorruptError, "is damaged"),
        (apsw.ReadOnlyError, "cannot write"),
        (apsw.SQLError, "is damaged"),
        (apsw.ConstraintError, "is damaged"),
        (apsw.NoMemError, "cannot be used"),
    ],
)
def test_what_sqlite_says_becomes_one_sentence(error: type[apsw.Error], message: str) -> None:
    with pytest.raises(StoreError, match=message) as caught, translated("x.db"):
        raise error("inside")
    assert isinstance(caught.value.__cause__, error)


def test_a_database_that_has_gone_is_not_written_on(tmp_path: Path) -> None:
    db = connect(str(tmp_path / "a.db"), create=True)
    (tmp_path / "a.db").unlink()
    with pytest.raises(StoreError, match="has vanished"), transaction(db):
        Catalog(db).set_meta("a", 1)
    assert not db.in_transaction
    db.close()


def test_a_busy_database_is_said_to_be_so(tmp_path: Path) -> None:
    connect(str(tmp_path / "a.db"), create=True).close()
    first, second = connect(str(tmp_path / "a.db")), connect(str(tmp_path / "a.db"))
    second.set_busy_timeout(10)
    with transaction(first), pytest.raises(StoreError, match="locked"), translated("a.db"), transaction(second):
        pass
    first.close()
    second.close()


# -- from an older version -----

STEPS = ("CREATE TABLE later(a);", "INSERT INTO later VALUES(2)", "ALTER TABLE later ADD COLUMN b")

KILLED = """
import os, signal, sys
from pictocli import schema
real = schema.os.replace if sys.argv[2] == "copied" else schema._drop_copies
def kill(*given):
    if sys.argv[2] == "copied":
        real(*given)
    os.kill(os.getpid(), signal.SIGKILL)
schema.MIGRATIONS = (*schema.MIGRATIONS, *sys.argv[3:])
if sys.argv[2] == "copied":
    schema.os.replace = kill
else:
    schema._drop_copies = kill
schema.connect(sys.argv[1])
"""


@pytest.mark.parametrize("moment", ["copied", "migrated"])
def test_a_migration_that_is_killed_leaves_both_usable(
    moment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, first = tmp_path / "a.db", len(MIGRATIONS)
    Catalog(db := connect(str(path), create=True)).set_meta("kept", 7)
    db.close()
    done = subprocess.run([sys.executable, "-c", KILLED, str(path), moment, *STEPS], check=False)
    assert done.returncode == -signal.SIGKILL
    kept = Path(schema.kept_copy(str(path), first))
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    db = connect(str(kept))
    assert (db.pragma("user_version"), Catalog(db).meta("kept"), db.pragma("integrity_check")) == (first, 7, "ok")
    db.close()
    assert version(path) == (first if moment == "copied" else first + len(STEPS))
    monkeypatch.setattr(schema, "MIGRATIONS", (*MIGRATIONS, *STEPS))
    db = connect(str(path))
    assert db.execute("SELECT a, b FROM later").fetchall() == [(2, None)]
    assert Catalog(db).meta("kept") == 7
    db.close()
    assert [each.name for each in tmp_path.iterdir()] == ["a.db"]


def test_the_original_is_kept_until_the_last_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, first = tmp_path / "a.db", len(MIGRATIONS)
    connect(str(path), create=True).close()
    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", (*MIGRATIONS, STEPS[0], "INSERT INTO nowhere VALUES(1)"))
        for _ in range(2):
            with pytest.raises(StoreError, match="nowhere"):
                connect(str(path))
            assert version(path) == first + 1
            assert version(Path(schema.kept_copy(str(path), first))) == first
    monkeypatch.setattr(schema, "MIGRATIONS", (*MIGRATIONS, *STEPS))
    connect(str(path)).close()
    assert [each.name for each in tmp_path.iterdir()] == ["a.db"]


def test_no_space_for_the_original_is_said_before_anything_is_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.db"
    connect(str(path), create=True).close()
    before = path.read_bytes()
    monkeypatch.setattr(schema, "MIGRATIONS", (*MIGRATIONS, *STEPS))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))
    try:
        with pytest.raises(StoreError, match="no room to keep"):
            connect(str(path))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["a.db"]


def test_what_lies_beside_a_new_database_is_its_owners_alone(tmp_path: Path) -> None:
    db = connect(str(tmp_path / "a.db"), create=True)
    Catalog(db).set_meta("a", 1)
    found = {each.name: stat.S_IMODE(each.stat().st_mode) for each in tmp_path.iterdir()}
    assert found == {"a.db": 0o600, "a.db-wal": 0o600, "a.db-shm": 0o600}
    db.close()
