"""The short forms of tests/trials, and the places where no library can be: nothing is lost, and a sentence says why."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from checkpoints import save_siglip2
from program import PICTO, environment, run
from trials import agree, crowd, disk, interrupt, kill, load, models, readers, running

from pictocli.schema import connect

# -- the trials -----


def test_killed_again_and_again(tmp_path: Path, model: str) -> None:
    line = kill.trial(tmp_path, 3, 2, model)
    assert "nothing lost" in line


@pytest.mark.parametrize(
    "signals",
    [
        pytest.param((signal.SIGTERM,), id="kill"),
        pytest.param((signal.SIGHUP,), id="a terminal that closes"),
        pytest.param((signal.SIGINT, signal.SIGINT), id="Ctrl-C twice"),
    ],
)
def test_asked_to_end(signals: tuple[int, ...], tmp_path: Path, model: str) -> None:
    """SIGTERM and SIGHUP once ended the program then and there, with what was decoded lost."""
    album = running.Album(tmp_path / "album", 1)
    for _ in range(4):
        album.grow(20)
    under_way, seconds = interrupt.interrupt(tmp_path / "library.db", album, Path(model), 1, signals)
    assert under_way
    assert seconds < 10


def test_many_references_and_a_ctrl_c(indexed: Path) -> None:
    process = running.start("similar", "--stdin", "--threshold", "0", "--db", indexed, stdin=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"id:1\n")
    process.stdin.flush()
    assert process.stdout.readline()
    process.send_signal(signal.SIGINT)
    assert running.finished(process, 5) == (130, "")


def test_a_full_disk(tmp_path: Path, model: str) -> None:
    other = save_siglip2(tmp_path / "other")
    line = disk.trial(tmp_path, {"index": [0.4], "retag": [0], "search": [0]}, Path(model), other)
    assert "1 of 1 index, 1 of 1 retag, 0 of 1 search said so" in line
    assert "nothing lost" in line


def test_a_crowd(tmp_path: Path) -> None:
    assert "no error" in crowd.trial(tmp_path, 8)


@pytest.mark.parametrize("fault", ["memory for three pictures", "NaN always"])
def test_a_model_that_fails(fault: str, tmp_path: Path, model: str) -> None:
    models.faulty(tmp_path, fault, Path(model))


def test_no_space_for_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It once said [Errno 28], after a warning of Python's, and to run the command again."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    models.no_space(tmp_path, save_siglip2(tmp_path / "model"))


def test_load(tmp_path: Path) -> None:
    line = load.trial(tmp_path, 240, 0.2, 2)
    assert "nothing lost" in line


def test_many_readers(tmp_path: Path) -> None:
    readers.make(tmp_path / "library.db", 20_000)
    _, line = readers.trial(tmp_path / "library.db", 4, 3, 2)
    assert "no error" in line  # how long it takes is for the long form, on a machine of its own


# -- what the check finds -----


@pytest.mark.parametrize(
    ("damage", "word"),
    [
        ("UPDATE tag SET n = n + 1 WHERE id = (SELECT tag_id FROM image_tag)", "tags that count wrong"),
        ("UPDATE folder SET images = 7", "folders that count wrong"),
        ("DELETE FROM image_tag WHERE image_id = 1", "tags in one place only"),
        ("DELETE FROM embedding WHERE content_id = 1", "images without an embedding"),
        ("UPDATE embedding SET v = zeroblob(96) WHERE content_id = 1", "not of unit length"),
        ("UPDATE embedding SET v = x'00' WHERE content_id = 1", "another size"),
        ("UPDATE thumbnail SET jpeg = x'00' WHERE content_id = 1", "no JPEG"),
        ("UPDATE file SET pages = pages + 1 WHERE id = 1", "lack pages"),
        ("UPDATE image SET file_id = 99 WHERE id = 1", "foreign key"),
        ("INSERT INTO code VALUES(1, 1, x'00')", "codes without a mean"),
    ],
)
def test_a_library_that_disagrees(damage: str, word: str, indexed: Path, tmp_path: Path) -> None:
    shutil.copy(indexed, tmp_path / "library.db")
    assert agree.disagreements(tmp_path / "library.db") == []
    db = connect(str(tmp_path / "library.db"))
    db.execute("PRAGMA foreign_keys=OFF")
    db.execute(damage)
    db.close()
    assert word in " ".join(agree.disagreements(tmp_path / "library.db"))


# -- places in which no library can be -----


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        os.chdir(path.parent)  # its name may have 108 bytes
        made.bind(path.name)


PLACES: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "a folder": (Path.mkdir, "", "is a folder"),
    "a device": (lambda path: path.symlink_to("/dev/zero"), "", "is a device, pipe or socket"),
    "a pipe": (os.mkfifo, "", "is a device, pipe or socket"),
    "a socket": (_socket, "", "is a device, pipe or socket"),
    "a name that is too long": (Path.touch, "../" + "x" * 300, "cannot open"),
}


@pytest.fixture
def back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(".")


@pytest.mark.usefixtures("back")
@pytest.mark.parametrize(
    "asked", [["info"], ["index", "PHOTOS", "--model", "mini"], ["retag"]], ids=lambda each: each[0]
)
@pytest.mark.parametrize("place", PLACES)
def test_where_no_database_can_be(place: str, asked: list[str], tmp_path: Path, photos: Path) -> None:
    """A device was once no database yet, which index would make; a name too long was a fault of picto's."""
    make, below, words = PLACES[place]
    make(tmp_path / "here")
    arguments = [str(photos) if each == "PHOTOS" else each for each in asked]
    ran = run(*arguments, env={"PICTO_DB": str(tmp_path / "here" / below)})
    assert ran.code == 3, ran.err
    running.said(ran.err, words)


@pytest.fixture
def mounted(tmp_path: Path, indexed: Path) -> Iterator[Path]:
    """A disk of its own with a library on it."""
    with disk.small_disk(tmp_path / "disk") as made:
        if not made.mounted:
            pytest.skip("no disk can be mounted here")
        shutil.copy(indexed, made.folder / "library.db")
        yield made.folder


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["info"], 0),
        (["similar", "id:3", "--threshold", "0", "--folder", "/"], 0),
        (["search", "new words"], 0),
        (["retag"], 3),
        (["index", "PHOTOS"], 3),
    ],
    ids=lambda each: each[0] if isinstance(each, list) else "",
)
def test_a_disk_that_is_mounted_read_only(arguments: list[str], code: int, mounted: Path, photos: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(mounted)], check=True)
    ran = run(*(str(photos) if each == "PHOTOS" else each for each in arguments), "--db", mounted / "library.db")
    assert ran.code == code, ran.err
    if code:
        running.said(ran.err, "cannot write")
    else:
        assert (bool(ran.out), ran.err) == (True, "")


@pytest.mark.parametrize("way", ["folder removed", "disk taken away"])
def test_a_database_that_vanishes(way: str, tmp_path: Path, model: str, request: pytest.FixtureRequest) -> None:
    """The run once ended as if all were well, and everything was lost."""
    folder = tmp_path / "there"
    if way == "disk taken away":
        folder = request.getfixturevalue("mounted")
    folder.mkdir(exist_ok=True)
    album = running.Album(tmp_path / "album", 1)
    album.grow(30)
    db = folder / "new.db"
    process = running.start("index", album.folder, "--db", db, "--model", model, "--batch-size", "2")
    assert running.waited(lambda: agree.stored(db))
    if way == "disk taken away":
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(folder)], check=True)  # for the fixture to take down
    else:
        shutil.rmtree(folder)
    code, told = running.finished(process)
    assert code == 3, told
    running.said(told, "has vanished")


@pytest.mark.parametrize(
    "asked", [["info"], ["tags", "--attributes", "landscape-orientation", "-0"], ["show", "id:1", "--format", "json"]],
    ids=lambda each: each[0],
)  # fmt: skip
def test_results_for_which_there_is_no_space(asked: list[str], indexed: Path) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run([PICTO, *asked, "--db", indexed], stdout=full, stderr=subprocess.PIPE, env=environment())
    assert done.returncode == 3
    running.said(done.stderr.decode(), "no space left")


def test_a_reader_waits_for_one_that_closes(tmp_path: Path) -> None:
    """The last to close locks all others out for a moment: one of many readers once gave up, with exit code 3."""
    path = tmp_path / "library.db"
    connect(str(path), create=True).close()
    last = sqlite3.connect(path)
    last.execute("PRAGMA locking_mode=EXCLUSIVE")
    last.execute("SELECT * FROM meta")
    process = running.start("info", "--db", path)
    time.sleep(1)
    assert process.poll() is None
    last.close()
    assert running.finished(process)[0] == 0
