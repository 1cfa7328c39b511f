"""Databases that are really broken: cut, flipped, zeroed, of strangers, hostile. Never a traceback, nothing silent."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from program import make_world, run

import pictocli
from pictocli import salvage
from pictocli.errors import PictoError
from pictocli.schema import connect

sys.path.insert(0, str(Path(__file__).parent / "trials"))
from flips import PAGE, QUESTIONS, Trial, asked, checked, page_owners


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, model: str) -> Path:
    return make_world(tmp_path_factory.mktemp("world"), model)


@pytest.fixture(scope="module")
def sound(world: Path) -> dict[str, object]:
    """The answers of the database as it should be."""
    return {name: asked(world / "picto.db", name) for name in QUESTIONS}


@pytest.fixture
def path(world: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(world / "picto.db", tmp_path / "picto.db"))


def changed(path: Path, sound: dict[str, object] | None = None) -> list[str]:
    """Questions that are answered, and otherwise than they should be."""
    found = {name: asked(path, name) for name in QUESTIONS}
    return [name for name, answer in found.items() if not refused(answer) and answer != (sound or {}).get(name)]


def refused(found: object) -> bool:
    return isinstance(found, PictoError)


def repaired(path: Path) -> object:
    """What repair came to: its report, or the error that says why it cannot be. Questions then end as they should."""
    before = path.read_bytes()
    report: object = None
    with pictocli.open(path) as library:
        try:
            report = library.repair()
        except PictoError as exc:
            report = exc
    if isinstance(report, PictoError):
        assert (path.read_bytes(), report.exit_code) == (before, 3)
        return report
    assert checked(path) == []
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for name in QUESTIONS:
        asked(path, name)
    return report


def test_a_file_that_is_cut(path: Path) -> None:
    """At every page boundary, and at odd places."""
    whole = path.read_bytes()
    odd = [1, 15, 16, 99, 100, 101, 4096, PAGE + 1, len(whole) // 2 + 7, len(whole) - 1]
    for number, place in enumerate([*odd, *range(PAGE, len(whole), PAGE)]):
        for other in path.parent.iterdir():
            other.unlink()
        path.write_bytes(whole[:place])
        assert checked(path), place
        if number % 8 == 0:
            changed(path)
            repaired(path)


def test_of_a_file_that_is_cut_the_rest_is_saved(path: Path) -> None:
    """A copy that broke off: SQLite reads none of a file that is shorter than its header says, and repair gave up."""
    owners, whole = page_owners(path), path.read_bytes()
    kept = max(owners.index(owner) for owner in ("dataset", "root", "folder", "file")) + 1
    path.write_bytes(whole[: kept * PAGE + 77])
    with pictocli.open(path) as library:
        report = library.repair()
        assert report.saved["file"] > 10
        assert library.info().datasets
    assert sorted(each.name for each in path.parent.iterdir()) == ["picto.db", "picto.db.damaged"]
    assert (path.parent / "picto.db.damaged").read_bytes() == whole[: kept * PAGE + 77]
    assert checked(path) == []


@pytest.mark.parametrize("fill", [b"\0", b"\xff"], ids=["zeroed", "filled"])
def test_a_page_that_is_overwritten(fill: bytes, path: Path, sound: dict[str, object]) -> None:
    whole, owners = path.read_bytes(), page_owners(path)
    for number in [owners.index(owner) for owner in dict.fromkeys(owners)]:
        for other in path.parent.iterdir():
            other.unlink()
        path.write_bytes(whole[: number * PAGE] + fill * PAGE + whole[(number + 1) * PAGE :])
        answers, damage = changed(path, sound), checked(path)
        assert damage or (owners[number] == "free" and not answers), owners[number]
        if number % 4 == 0:
            repaired(path)


def test_a_page_in_the_middle_costs_only_itself(path: Path, tmp_path: Path) -> None:
    """What lies on other pages is saved, the damaged file is kept, and an earlier one is not written over."""
    owners = page_owners(path)
    data = bytearray(path.read_bytes())
    at = owners.index("embedding") * PAGE
    data[at : at + PAGE] = b"\xff" * PAGE
    path.write_bytes(data)
    (tmp_path / "picto.db.damaged").write_bytes(b"an earlier one")
    with pictocli.open(path) as library:
        report = library.repair()
    assert report.kept == f"{path}.damaged-2"
    assert Path(report.kept).read_bytes() == bytes(data)
    assert stat.S_IMODE(os.stat(report.kept).st_mode) == 0o600
    assert (tmp_path / "picto.db.damaged").read_bytes() == b"an earlier one"
    assert {name: report.saved[name] for name in ("file", "image", "content")} == {
        "file": 13,
        "image": 14,
        "content": 14,
    }
    assert report.unfinished > 0
    assert (report.left, checked(path)) == ([], [])
    assert sorted(each.name for each in tmp_path.iterdir()) == ["picto.db", "picto.db.damaged", "picto.db.damaged-2"]


def test_random_flips(world: Path) -> None:
    """The short form of trials/flips.py: nothing but an answer or a plain error, and repair ends with a sound file."""
    trial = Trial()
    trial.run(world, 60, seed=7, repair_every=6)
    assert sum(trial.outcomes.values()) == 60 * len(QUESTIONS)
    assert trial.repaired + sum(trial.unrepaired.values()) == 10
    assert trial.repaired >= 8
    assert len(trial.missed) <= 6, trial.missed  # letters of names and digits of sizes, which nothing can tell


WRITER = """
import os, signal, sys
from pictocli.catalog import Catalog
from pictocli.schema import connect
db = connect(sys.argv[1])
db.execute("PRAGMA wal_autocheckpoint=0")
for number in range(40):
    Catalog(db).set_meta("tag_rule", f"rule {number} " + "x" * 3000)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def killed(path: Path) -> Path:
    """A database whose writer was killed: what it last wrote is in the log beside it."""
    done = subprocess.run([sys.executable, "-c", WRITER, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert (path.parent / "picto.db-wal").stat().st_size > PAGE
    return path


def test_a_log_that_a_killed_writer_left(killed: Path) -> None:
    names = ("picto.db", "picto.db-shm", "picto.db-wal")
    assert {stat.S_IMODE((killed.parent / name).stat().st_mode) for name in names} == {0o600}
    assert checked(killed) == []
    with pictocli.open(killed) as library:
        assert library.info().tag_rule.startswith("rule 39 ")


@pytest.mark.parametrize("seed", range(3))
def test_a_log_that_is_damaged(seed: int, killed: Path) -> None:
    """SQLite stops at the first frame that its checksum refuses: an earlier state, and a whole one."""
    log, chance = killed.parent / "picto.db-wal", random.Random(seed)  # noqa: S311 - no secret
    data = bytearray(log.read_bytes())
    for _ in range(3):
        data[chance.randrange(32, len(data))] ^= 1 << chance.randrange(8)
    log.write_bytes(data[: chance.randrange(len(data) // 2, len(data))])
    assert checked(killed) == []
    assert refused(asked(killed, "info")) is False


def test_what_is_in_the_log_is_salvaged_and_kept(killed: Path, world: Path) -> None:
    owners = page_owners(world / "picto.db")
    data = bytearray(killed.read_bytes())
    at = owners.index("image_tag") * PAGE
    data[at : at + PAGE] = b"\xff" * PAGE
    killed.write_bytes(data)
    log = (killed.parent / "picto.db-wal").read_bytes()
    with pictocli.open(killed) as library:
        report = library.repair()
        assert library.info().tag_rule.startswith("rule 39 ")
    assert report.kept
    assert Path(report.kept + "-wal").read_bytes() == log
    assert stat.S_IMODE(os.stat(report.kept + "-wal").st_mode) == 0o600
    assert not (killed.parent / "picto.db-wal").exists()


def test_a_repair_that_is_killed_loses_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At each of its renames and links: the damaged file is there, or the repaired one, and the next run ends it."""
    data = bytearray(path.read_bytes())
    at = page_owners(path).index("image_tag") * PAGE
    data[at : at + PAGE] = b"\xff" * PAGE
    for step in ("_link", "replace", "finish_swap"):
        for other in path.parent.iterdir():
            other.unlink()
        path.write_bytes(data)

        def killed(*_: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(os if step == "replace" else salvage, step, killed)
            with pytest.raises(KeyboardInterrupt), pictocli.open(path) as library:
                library.repair()
        assert path.read_bytes() == bytes(data)
        with pictocli.open(path) as library:
            library.repair()
            assert library.info().images == 14
        assert checked(path) == []


def other_program(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE image(id)")
    db.close()


STRANGERS: dict[str, tuple[Callable[[Path], object], str]] = {
    "another program's": (other_program, "another program's database"),
    "text": (lambda path: path.write_text("dear diary\n" * 200), "not a picto database"),
    "empty": (lambda path: path.write_bytes(b""), "is empty"),
    "a folder": (lambda path: (path.unlink(), path.mkdir()), "is a folder"),
    "no header": (lambda path: path.write_bytes(b"\0" * 100 + path.read_bytes()[100:]), "not a picto database"),
}


@pytest.mark.parametrize("case", STRANGERS)
def test_what_is_no_database_of_ours_is_left_alone(case: str, path: Path) -> None:
    make, message = STRANGERS[case]
    make(path)
    before = path.read_bytes() if path.is_file() else None
    for command in (["info"], ["info", "--check"], ["repair"]):
        done = run("--db", str(path), *command)
        assert (done.code, done.out) == (3, b"")
        assert message in done.err
    assert (path.read_bytes() if path.is_file() else None) == before
    assert [each.name for each in path.parent.iterdir()] == ["picto.db"]


HOSTILE: dict[str, tuple[list[str], str]] = {
    "a trigger on a table of ours": (
        ["CREATE TRIGGER t AFTER INSERT ON image BEGIN DELETE FROM embedding; END"], "trigger t is not picto's"
    ),
    "a trigger of ours that does more": (
        ["DROP TRIGGER tag_more", "CREATE TRIGGER tag_more AFTER INSERT ON image_tag BEGIN DELETE FROM image; END"],
        "trigger tag_more",
    ),
    "a view in the place of a table": (
        ["DROP TABLE thumbnail", "CREATE VIEW thumbnail AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i FROM n)"
         " SELECT i content_id, randomblob(1000000000) jpeg FROM n"], "table thumbnail"
    ),
    "a view of ours that is another": (
        ["DROP VIEW image_label", "CREATE VIEW image_label(image_id, category, name, score) AS SELECT 1, 0, 'a', 1"],
        "view image_label",
    ),
    "a table of another shape": (["ALTER TABLE file ADD COLUMN more"], "table file"),
    "no trigger": (["DROP TRIGGER image_deleted"], "trigger image_deleted"),
    "no index": (["DROP INDEX image_folder"], "index image_folder"),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_tables_that_are_not_as_picto_makes_them_are_refused(case: str, path: Path, world: Path) -> None:
    statements, message = HOSTILE[case]
    with sqlite3.connect(path) as db:
        for statement in statements:
            db.execute(statement)
    db.close()
    for command in (["info"], ["similar", "id:1"], ["index", str(world / "holiday")]):
        done = run("--db", str(path), *command)
        assert (done.code, done.out) == (3, b"")
        assert message in done.err
        assert "picto repair" in done.err
    assert checked(path)[0].what == "tables that are not picto's"
    repaired(path)
    with pictocli.open(path) as library:
        assert (library.info().images, library.check()) == (14, [])


def test_other_tables_views_and_indexes_are_harmless(path: Path, sound: dict[str, object]) -> None:
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE mine(a)")
        db.execute("CREATE VIEW yours AS SELECT * FROM image")
        db.execute("CREATE INDEX ours ON file(kind)")
        db.execute("ANALYZE")
    db.close()
    assert (changed(path, sound), checked(path)) == ([], [])


def test_nothing_in_the_file_is_trusted(path: Path) -> None:
    for readonly in (False, True):
        db = connect(str(path), readonly=readonly)
        assert [int(db.pragma(name)) for name in ("trusted_schema", "cell_size_check", "mmap_size")] == [0, 1, 0]
        with pytest.raises(Exception, match=r"may not be modified|attempt to write"):
            db.execute("PRAGMA writable_schema=ON; DELETE FROM sqlite_schema")
        with pytest.raises(Exception, match="too many attached"):
            db.execute("ATTACH ':memory:' AS other")
        with pytest.raises(Exception, match="too big"):
            db.execute("SELECT zeroblob(1 << 29)").fetchall()
        db.close()


def test_labels_are_made_anew_though_the_model_is_forgotten(path: Path) -> None:
    """A salvaged library without its model was left without aliases."""
    data = bytearray(path.read_bytes())
    at = data.index(b'{"id": ')  # what `meta` says of the model
    data[at] = 0
    path.write_bytes(data)
    at = page_owners(path).index("tag_alias") * PAGE
    data[at : at + PAGE] = b"\xff" * PAGE
    path.write_bytes(data)
    repaired(path)
