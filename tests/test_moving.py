"""move-db: a library in another store is the same library, whatever stops the copying on its way."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import libraries
import numpy as np
import pytest
from program import environment, run
from stores import STORES, library_name

import pictocli
from pictocli import databases
from pictocli.errors import NotFoundError, PictoError, StoreError, ValidationError
from pictocli.holdings import examine_database
from pictocli.moving import tables
from pictocli.protocols import NoProgress
from pictocli.schema import connect, memory
from pictocli.sqlite import SqliteStore

Held = dict[str, list[tuple[Any, ...]]]
SERVERS = [store for store in STORES if store != "sqlite"]


def columns() -> dict[str, str]:
    """Table → its columns, of all tables that picto makes."""
    db = memory()
    names = [str(name) for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
    found = {
        name: ", ".join(str(row[0]) for row in db.execute("SELECT name FROM pragma_table_info(?)", (name,)))
        for name in names
    }
    db.close()
    return found


def held(name: str | Path) -> Held:
    """All rows of all tables, of a library in any store."""
    db = databases.connect(str(name), readonly=True)
    found = {}
    for table, names in columns().items():
        if table != "code" or db.neighbours is None:
            found[table] = sorted(map(tuple, db.execute(f"SELECT {names} FROM {table}")), key=repr)
    found["meta"] = [row for row in found["meta"] if not row[0].startswith("engine ")]
    db.close()
    return found


def assert_same(ours: Held, theirs: Held) -> None:
    for table in ours.keys() & theirs.keys():
        assert ours[table] == theirs[table], table


class Stopping(NoProgress):
    """Ends a copy after so many batches, as Ctrl-C does."""

    def __init__(self, batches: int) -> None:
        self.left = batches

    def done(self, files: int, skipped: int) -> None:  # noqa: ARG002
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


class Meddling(NoProgress):
    """Does something once the rows are copied, before they are compared."""

    def __init__(self, target: str, meddle: str) -> None:
        self.target, self.meddle = target, meddle

    def close(self) -> None:
        if self.meddle:
            change(self.target, self.meddle)
            self.meddle = ""


def change(path: str | Path, sql: str) -> None:
    """Change a SQLite file by SQL, as any program may."""
    db = connect(str(path), trusting=True)
    db.execute(sql)
    db.close()


@pytest.fixture
def rich(library: pictocli.Library) -> pictocli.Library:
    """A library with a row in every table, and values that are seldom."""
    library.search("a red car")
    library.close()
    db = connect(library.path)
    db.execute("UPDATE file SET name = x'636166e92e706e67' WHERE id = 1")  # no UTF-8
    db.execute("""UPDATE image SET metadata = '{"brand": "\\ud800 acme", "price": 1e300}' WHERE id % 2""")
    db.execute("UPDATE image SET thumbnail_url = 'https://cdn/' || id || '.jpg', indexed_at = 1 WHERE id = 3")
    db.execute("INSERT OR REPLACE INTO capture SELECT id, 86400 * id, 'Leica Ö', 1.1 / id, -179.9 FROM content")
    db.execute("INSERT INTO page_range SELECT id, '1-' FROM file WHERE kind = 'pdf'")
    db.execute("INSERT INTO validator SELECT id, 'W/\"' || id || '\"' FROM file")
    db.execute("INSERT INTO staged SELECT content_id, v FROM embedding WHERE content_id < 5")
    db.execute("INSERT INTO meta SELECT 'staged_model', value FROM meta WHERE key = 'model'")
    db.close()
    return library


@pytest.fixture
def large(tmp_path: Path) -> str:
    """A library of 6,000 images, with 1-bit codes on a mean that is nearly that of its embeddings."""
    vectors = libraries.clustered(6000, 64, 40)
    db = libraries.make(tmp_path / "large.db", vectors, [["car", "cup"][at % 2 :] for at in range(6000)])
    db.execute("INSERT INTO thumbnail SELECT id, CAST(x'ffd8ff' || randomblob(200) AS BLOB) FROM content")
    SqliteStore(db).build_codes(np.mean(vectors[:3000], axis=0).astype("<f4").tobytes())
    db.close()
    return str(tmp_path / "large.db")


# -- what is copied ----------------------------------------------------------------------------------------------------


def test_every_table_is_copied_or_made_anew() -> None:
    assert {*tables(), "meta", "code"} == set(columns())


@pytest.mark.parametrize(
    "way",
    [pytest.param(("sqlite",), id="file"), pytest.param((*SERVERS, "sqlite"), id="round")],
)
def test_the_copy_is_the_same_library(way: tuple[str, ...], rich: pictocli.Library, tmp_path: Path) -> None:
    name, before, moved = rich.path, held(rich.path), rich.path
    for number, store in enumerate(way):
        (tmp_path / str(number)).mkdir()
        moved = library_name(store, tmp_path / str(number))
        with pictocli.open(name) as library:
            report = library.copy_to(moved)
        assert (report.images, report.rows, report.kept, report.interrupted) == (18, report.compared, 0, False)
        with pictocli.open(moved) as copy:
            assert copy.check() == []
            found, wanted = copy.by_similarity(1, threshold=0), rich.by_similarity(1, threshold=0)
            assert [image.image_id for image in found] == [image.image_id for image in wanted]
            assert [image.similarity for image in found] == pytest.approx([image.similarity for image in wanted])
        name = moved
    assert_same(held(rich.path), before)
    assert_same(held(moved), before)


def test_codes_their_mean_and_what_was_found_of_them_come_along(large: str, tmp_path: Path) -> None:
    kept = {"images": 6000, "exact": False, "compared": 9000, "questions": 50, "nearest": 1.0, "similar": 1.0}
    change(large, f"""INSERT INTO meta VALUES('recall', '{json.dumps(kept)}'), ('index_fields', '[["brand"]]')""")
    target = tmp_path / "copy.db"
    with pictocli.open(large) as library:
        report = library.copy_to(target)
    assert report.rows > report.compared > 6000 * 3  # of embeddings and thumbnails 1,000 each
    assert_same(held(target), held(large))
    db = sqlite3.connect(target)
    names = [name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE name LIKE 'field %'")]
    db.close()
    assert names == ['field $."brand"']


def test_a_dry_run_makes_nothing(library: pictocli.Library, tmp_path: Path) -> None:
    report = library.copy_to(tmp_path / "new" / "copy.db", dry_run=True)
    assert (report.images, report.kept, report.compared, report.dry_run) == (18, 0, 0, True)
    assert not (tmp_path / "new").exists()


# -- what stops it -----------------------------------------------------------------------------------------------------


def stopped(library: pictocli.Library, target: str, batches: int = 6) -> None:
    with pictocli.open(library.path, progress=Stopping(batches)) as stopping:
        assert stopping.copy_to(target).interrupted


@pytest.mark.parametrize("batches", [2, 9, 15])
def test_stopped_it_goes_on(batches: int, rich: pictocli.Library, tmp_path: Path) -> None:
    target = str(tmp_path / "copy.db")
    stopped(rich, target, batches)
    rich.by_text("a question of which the library keeps the vector")
    told = rich.copy_to(target, dry_run=True)
    report = rich.copy_to(target)
    assert 0 < told.kept == report.kept < report.rows == report.compared
    assert_same(held(target), held(rich.path))


def using(target: str) -> dict[str, Callable[[pictocli.Library], Any]]:
    return {
        "info": lambda copy: copy.info(),
        "similar": lambda copy: copy.by_similarity(1),
        "tags": lambda copy: copy.tagged(),
        "check": lambda copy: copy.check(),
        "repair": lambda copy: copy.repair(),
        "vacuum": lambda copy: copy.vacuum(),
        "remove": lambda copy: copy.remove([1]),
        "prune": lambda copy: copy.prune(dry_run=True),
        "export": lambda copy: list(copy.export()),
        "retag": lambda copy: copy.retag(),
        "index": lambda copy: copy.index(["."]),
        "copy": lambda copy: copy.copy_to(f"{target}.copy"),
        "merge": lambda copy: copy.merge(f"{Path(target).parent}/library.db"),
        "be merged": lambda copy: pictocli.open(f"{Path(target).parent}/library.db").merge(copy.path),
    }


@pytest.mark.parametrize("use", using(""))
def test_nothing_else_uses_a_copy_that_is_not_finished(use: str, library: pictocli.Library, tmp_path: Path) -> None:
    target = str(tmp_path / "copy.db")
    stopped(library, target)
    before = Path(target).read_bytes()
    with pictocli.open(target) as copy, pytest.raises(StoreError, match=r"copy from .* is not finished") as caught:
        using(target)[use](copy)
    assert caught.value.hint == f"picto move-db {library.path} {target} goes on with it"
    assert Path(target).read_bytes() == before


CHANGES = {
    "an image gone": "DELETE FROM file WHERE id = 6",
    "other tags": "UPDATE image SET objects = '{\"car\": 0.5}' WHERE id = 5",
    "metadata": "UPDATE image SET metadata = '{\"a\": 1}' WHERE id = 5",
    "a root moved": "UPDATE root SET path = path || '/elsewhere'",
    "a picture changed": "UPDATE content SET processing_time_ms = processing_time_ms + 1 WHERE id = 5",
    "another rule": "UPDATE meta SET value = 'mine' WHERE key = 'tag_rule'",
    "an embedding lacks": "DELETE FROM embedding WHERE content_id = 5",
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_has_changed_meanwhile_is_noticed(what: str, library: pictocli.Library, tmp_path: Path) -> None:
    target = str(tmp_path / "copy.db")
    stopped(library, target)
    change(library.path, CHANGES[what])
    if what == "an embedding lacks":
        change(library.path, "UPDATE file SET size = NULL, mtime_ns = NULL")  # nothing is wrong with it
    with pytest.raises(StoreError, match=r"has changed since its copy in .* was begun") as caught:
        library.copy_to(target)
    assert "--afresh drops" in str(caught.value.hint)
    report = library.copy_to(target, afresh=True)
    assert (report.kept, report.rows) == (0, report.compared)
    assert_same(held(target), held(library.path))


@pytest.mark.parametrize("store", SERVERS)
def test_afresh_drops_what_a_server_holds_of_it(store: str, library: pictocli.Library, tmp_path: Path) -> None:
    target = library_name(store, tmp_path)
    stopped(library, target, 12)
    change(library.path, CHANGES["metadata"])
    report = library.copy_to(target, afresh=True)
    assert (report.kept, report.rows) == (0, report.compared)
    assert_same(held(target), held(library.path))


SPOILED = {
    "embedding": "UPDATE embedding SET v = zeroblob(length(v)) WHERE content_id = 7",
    "thumbnail": "UPDATE thumbnail SET jpeg = x'ffd8ff' WHERE content_id = 7",
    "image": "UPDATE image SET page = page + 7 WHERE id = 2",
    "tag": "UPDATE tag SET n = n + 1 WHERE id = (SELECT max(id) FROM tag)",
    "folder": "UPDATE folder SET images = 0",
    "image_tag": "UPDATE image_tag SET score = score / 2",
    "meta": "UPDATE meta SET value = 'mine' WHERE key = 'tag_rule'",
    "text_embedding": "DELETE FROM text_embedding",
}


@pytest.mark.parametrize("table", SPOILED)
def test_what_is_not_as_it_was_is_found(table: str, rich: pictocli.Library, tmp_path: Path) -> None:
    target = str(tmp_path / "copy.db")
    with (
        pictocli.open(rich.path, progress=Meddling(target, SPOILED[table])) as library,
        pytest.raises(StoreError, match=f"the rows of {table} in .* are not those in"),
    ):
        library.copy_to(target)
    with pictocli.open(target) as copy, pytest.raises(StoreError, match="not finished"):
        copy.info()
    rich.copy_to(target, afresh=True)
    assert_same(held(target), held(rich.path))


STRUCK = """
import os, sys, threading
from pictocli import cli
from pictocli.moving import Moving

at, how, whole = sys.argv[1], int(sys.argv[2]), Moving.copy

def copy(self, origin):
    for table, rows in whole(self, origin):
        if table == at:
            threading.Timer(0.005, os.kill, (os.getpid(), how)).start()
        yield table, rows

Moving.copy = copy
cli.main(["move-db", *sys.argv[3:]])
"""
"""picto, which sends itself a signal a moment after it has copied the first rows of a table: who watches it from
outside may be too late, or so late that the next one is struck before it has begun."""


def struck(source: str, target: str, table: str, how: signal.Signals) -> int:
    """Begin a copy, or go on with it, and stop the process when it has copied rows of a table; its exit code."""
    words = [sys.executable, "-c", STRUCK, table, str(int(how)), source, target]
    return subprocess.run(words, env=environment(), stderr=subprocess.PIPE, timeout=120).returncode


@pytest.mark.parametrize("store", STORES)
def test_killed_in_the_middle_it_goes_on(store: str, large: str, tmp_path: Path) -> None:
    target = library_name(store, tmp_path)
    assert struck(large, target, "content", signal.SIGKILL) == -signal.SIGKILL
    if store == "sqlite":
        assert struck(large, target, "image", signal.SIGINT) == 130
    with pictocli.open(target) as copy, pytest.raises(StoreError, match="is not finished"):
        copy.info()
    with pictocli.open(large) as library:
        report = library.copy_to(target)
    assert report.kept > 6000
    theirs = held(large)
    if store != "sqlite":
        theirs["vector"] = []  # the mean of 1-bit codes
    assert_same(held(target), theirs)
    with pictocli.open(target) as copy:
        assert copy.check() == []


# -- what is refused ---------------------------------------------------------------------------------------------------


def test_what_cannot_be_a_copy_is_refused(library: pictocli.Library, indexed: Path, tmp_path: Path) -> None:
    other, begun = tmp_path / "other.db", str(tmp_path / "begun.db")
    shutil.copy(indexed, other)
    change(other, "UPDATE image SET indexed_at = 1")
    with pictocli.open(other) as another:
        stopped(another, begun)
    (tmp_path / "foreign.db").write_bytes(b"no database, and longer than the five hundred bytes of a page" * 10)
    os.symlink(library.path, tmp_path / "link.db")
    cases: list[tuple[str, type[PictoError], str]] = [
        (str(other), ValidationError, "holds a library already, of 18 images"),
        (library.path, ValidationError, "is this library itself"),
        (str(tmp_path / "link.db"), ValidationError, "is this library itself"),
        (begun, ValidationError, "unfinished copy of .*other.db, another library"),
        (str(tmp_path / "foreign.db"), StoreError, "not a picto database"),
        (str(tmp_path), StoreError, "is a folder"),
    ]
    for target, kind, told in cases:
        for dry_run in (True, False):
            with pytest.raises(kind, match=told):
                library.copy_to(target, dry_run=dry_run)
    with pytest.raises(NotFoundError, match="no database at"):
        pictocli.open(tmp_path / "none.db").copy_to(tmp_path / "copy.db")
    change(library.path, "UPDATE embedding SET v = x'00' WHERE content_id = 3")
    with pytest.raises(StoreError, match="is damaged: 1 rows of embedding") as caught:
        library.copy_to(tmp_path / "copy.db")
    assert str(caught.value.hint).endswith("nothing was copied")
    assert not (tmp_path / "copy.db").exists()


def test_an_empty_library_of_another_model_becomes_the_copy(library: pictocli.Library, tmp_path: Path) -> None:
    target = tmp_path / "copy.db"
    db = libraries.make(target, np.zeros((0, 7), "f4"), folders=0)
    db.execute("DELETE FROM root")
    db.execute("INSERT INTO tag(category, name) VALUES(0, 'unicorn')")
    db.close()
    library.copy_to(target)
    assert_same(held(target), held(library.path))


# -- the command -------------------------------------------------------------------------------------------------------


def test_the_command_says_what_it_did(library: pictocli.Library, tmp_path: Path) -> None:
    target = tmp_path / "copy.db"
    dry = run("move-db", "library.db", "copy.db", "--dry-run", cwd=tmp_path)
    assert (dry.code, dry.out) == (0, b"")
    assert dry.err.startswith("Would copy 18 images from library.db to copy.db: ")
    assert not target.exists()
    done = run("move-db", "library.db", "copy.db", cwd=tmp_path)
    assert (done.code, done.out) == (0, b"")
    assert done.err.startswith("Copied 18 images from library.db to copy.db: ")
    assert "all are equal" in done.err
    assert "the old library is still there" in done.err
    assert run("move-db", "library.db", "copy.db", cwd=tmp_path).code == 2
    wrong = run("move-db", "library.db", "another.db", "--db", "copy.db", cwd=tmp_path)
    assert (wrong.code, "leave --db out" in wrong.err) == (2, True)


def test_a_library_of_an_older_version_is_left_as_it_is(library: pictocli.Library, tmp_path: Path) -> None:
    from pictocli.migrations import APPLICATION_ID, MIGRATIONS

    old = tmp_path / "old.db"
    db = sqlite3.connect(old)
    db.executescript(MIGRATIONS[0])
    db.execute(f"PRAGMA application_id={APPLICATION_ID}")
    db.execute("PRAGMA user_version=1")
    db.execute("INSERT INTO dataset VALUES(1, 'a')")
    db.execute("INSERT INTO root VALUES(1, 1, '/a')")
    db.commit()
    db.close()
    before = old.read_bytes()
    with pictocli.open(old) as library:
        assert library.copy_to(tmp_path / "copy.db").images == 0
    assert old.read_bytes() == before
    assert held(tmp_path / "copy.db")["root"] == [(1, 1, "/a")]


# -- names of servers --------------------------------------------------------------------------------------------------


@pytest.fixture
def served(request: pytest.FixtureRequest, library: pictocli.Library, tmp_path: Path) -> str:
    """A library of 18 images on a server."""
    name = library_name(request.param, tmp_path)
    library.copy_to(name)
    return name


@pytest.mark.parametrize("served", SERVERS, indirect=True)
def test_doctor_looks_at_a_server(served: str) -> None:
    (database,), model = examine_database(served, "--db")
    assert (database.subject, database.state) == ("database", "ok")
    assert model is not None
    for told in (f"{served} (--db), ", "18 images"):
        assert told in database.text
    (database,), _ = examine_database(NAMELESS if "127.0.0.1" in served else f"{served}-gone", "PICTO_DB")
    assert database.state == ("problem" if "127.0.0.1" in served else "note")
    assert database.remedy is not None
    assert "secret" not in f"{database.text} {database.remedy}"


@pytest.mark.parametrize("served", SERVERS, indirect=True)
def test_what_is_for_files_refuses_a_server(served: str) -> None:
    with pictocli.open(served) as library:
        for refused in (library.vacuum, library.repair):
            with pytest.raises(ValidationError, match="is for libraries in a file") as caught:
                refused()
            assert caught.value.exit_code == 2


NAMELESS = "postgresql://ida:secret@127.0.0.1:9/pictures"  # nobody listens on the discard port


def program(capfd: pytest.CaptureFixture[str], *words: str) -> tuple[Any, str]:
    """The exit code of a command, run in this process, and all that it wrote."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an older Typer's, of a newer Click
        from pictocli.cli import main
    with pytest.raises(SystemExit) as ended:
        main(words)
    return ended.value.code, "".join(capfd.readouterr())


@pytest.mark.parametrize(
    "words",
    [
        "info", "info --check", "tags --objects car", "similar id:1", "search sand", "show 1", "export -o x.csv",
        "merge library.db", "vacuum", "repair", "index .", "prune", "rm id:1", "mv-root a b", "map map.html", "browse",
        "retag", "thumbnails there", "duplicates", "taxonomy", "embed x.jpg", "move-db library.db NAME",
        "move-db NAME copy.db", "move-db NAME NAME",
    ],
)  # fmt: skip
def test_a_password_is_never_told(
    words: str, library: pictocli.Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PICTO_DB", NAMELESS)
    code, told = program(capfd, *words.replace("NAME", NAMELESS).split())
    assert code in (2, 3, 4)
    assert "error: " in told
    assert "secret" not in told


def test_a_configuration_names_a_server_as_it_is(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("PICTO_DB")
    for words in (["set", "db", NAMELESS], ["get", "db"], ["list"]):
        code, told = program(capfd, "config", *words)
        assert code == 0
        assert "127.0.0.1:9/pictures" in told or words[0] == "set"
        assert "secret" not in told
    assert "secret" in (Path(os.environ["XDG_CONFIG_HOME"]) / "picto" / "config.toml").read_text()
