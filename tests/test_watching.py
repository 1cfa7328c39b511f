"""watch: the library follows real folders, whatever programs do to them."""

from __future__ import annotations

import os
import queue
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pictures import make_pdf, scene
from program import PICTO, environment, run
from test_claims import Holder
from test_keeping import make

import pictocli
from pictocli.errors import NotFoundError, ValidationError
from pictocli.protocols import NoProgress
from pictocli.reports import Change

Rows = Callable[..., list[tuple[Any, ...]]]
Index = Callable[..., pictocli.records.IndexReport]
PATIENCE = 90  # s, on a busy machine; tests/trials/watching.py measures


class Said(NoProgress):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, message: str) -> None:
        self.lines.append(message)


class Watching:
    """A thread that watches a folder, and what it has seen."""

    def __init__(self, db: Path, root: Path, **options: Any) -> None:
        self.root, self.said, self.stop = root, Said(), threading.Event()
        self.batches: queue.Queue[list[Change]] = queue.Queue()
        self.caught: queue.Queue[Any] = queue.Queue()
        self.failed: list[BaseException] = []
        self.library = pictocli.open(db, progress=self.said)
        settings = {"device": "cpu", "workers": 0, "stop": self.stop} | options
        self.thread = threading.Thread(target=self._run, args=(settings,))
        self.thread.start()
        self.report = self.caught.get(timeout=PATIENCE)

    def _run(self, settings: dict[str, Any]) -> None:
        try:
            for changes in self.library.watch([self.root], caught_up=self.caught.put, **settings):
                self.batches.put(changes)
        except BaseException as exc:
            self.failed.append(exc)
            self.caught.put(None)

    def expect(self, *events: str) -> list[Change]:
        """Wait until just these have been seen: "new a.png", of a page "new r.pdf#page=1"."""
        seen: list[Change] = []
        until = time.monotonic() + PATIENCE
        while len(seen) < len(events):
            try:
                seen += self.batches.get(timeout=max(0.1, until - time.monotonic()))
            except queue.Empty:
                break
        told = sorted(f"{change.event} {os.path.relpath(change.path, self.root)}" for change in seen)
        assert told == sorted(events)
        return seen

    def heard(self, words: str) -> None:
        """Wait until this is said."""
        until = time.monotonic() + PATIENCE
        while not any(words in line for line in self.said.lines):
            assert time.monotonic() < until, self.said.lines
            time.sleep(0.02)

    def end(self) -> None:
        self.stop.set()
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive()
        assert self.failed == []
        assert list(self.batches.queue) == []


@pytest.fixture
def watch(tmp_path: Path, index: Index, ours: pictocli.Library) -> Iterator[Callable[..., Watching]]:
    started: list[Watching] = []

    def begin(count: int = 4, **options: Any) -> Watching:
        """Watch tmp_path/w, in which so many pictures are indexed."""
        make(tmp_path / "w", count)
        index(tmp_path / "w")
        started.append(Watching(tmp_path / "library.db", tmp_path / "w", **options))
        assert (started[0].report.unchanged, started[0].report.indexed) == (count, 0)
        return started[0]

    yield begin
    for each in started:
        each.end()


def picture(path: Path, seed: int) -> None:
    scene(seed, 32, 24).save(path, "PNG")


def test_a_life(tmp_path: Path, rows: Rows, watch: Callable[..., Watching]) -> None:
    """New, changed, moved, deleted; files and folders; one after the other."""
    w = tmp_path / "w"
    seen = watch()
    picture(w / "new.png", 50)
    (first,) = seen.expect("new new.png")
    picture(w / "new.png", 51)
    (changed,) = seen.expect("changed new.png")
    (w / "new.png").rename(w / "moved.png")
    (moved,) = seen.expect("moved moved.png")
    (w / "deep" / "er").mkdir(parents=True)
    (w / "moved.png").rename(w / "deep" / "er" / "m.png")
    (deeper,) = seen.expect("moved deep/er/m.png")
    (w / "deep").rename(w / "low")
    (lower,) = seen.expect("moved low/er/m.png")
    assert {each.image_id for each in (first, changed, moved, deeper, lower)} == {first.image_id}
    shutil.rmtree(w / "low")
    (gone,) = seen.expect("gone low/er/m.png")
    assert gone.image_id == first.image_id
    make_pdf(w / "r.pdf", [1, 2])
    seen.expect("new r.pdf#page=1", "new r.pdf#page=2")
    (w / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0" + bytes(100))
    (broken,) = seen.expect("skipped broken.jpg")
    assert (broken.image_id, bool(broken.reason)) == (None, True)
    picture(w / os.fsdecode(b"caf\xe9.png"), 52)  # of which the watcher is told no name
    (odd,) = seen.expect("new caf\udce9.png")
    assert odd.image_id
    assert rows("SELECT count(*) FROM image") == [(7,)]
    assert rows("SELECT path FROM folder") == [("",)]


def test_what_editors_and_browsers_do(tmp_path: Path, rows: Rows, watch: Callable[..., Watching]) -> None:
    w = tmp_path / "w"
    seen = watch()
    picture(w / ".00.png.tmp-123", 60)  # write beside, rename over
    (w / ".00.png.tmp-123").rename(w / "00.png")
    seen.expect("changed 00.png")
    (w / "4913").touch()  # vim: may I write here?
    (w / "4913").unlink()
    (w / "01.png").rename(w / "01.png~")
    picture(w / "01.png", 61)
    (w / "01.png~").unlink()
    seen.expect("changed 01.png")
    picture(w / "02.png~", 62)
    picture(w / "load.png.part", 63)
    (w / "load.png.part").rename(w / "load.png")
    seen.expect("new load.png")
    (w / "notes.txt").write_text("no picture")
    os.utime(w / "03.png")  # touched, and the same
    (w / "there-and-gone.png").touch()
    (w / "there-and-gone.png").unlink()
    (w / "link.png").symlink_to(w / "03.png")
    (w / "folder").mkdir()
    picture(w / "folder" / "last.png", 64)
    seen.expect("new folder/last.png")
    names = {name for (name,) in rows("SELECT name FROM file WHERE pages > 0")}
    assert names == {"00.png", "01.png", "02.png", "03.png", "load.png", "last.png"}


def test_a_file_that_grows_is_taken_when_it_is_whole(tmp_path: Path, watch: Callable[..., Watching]) -> None:
    seen = watch()
    scene(70, 400, 300).save(tmp_path / "whole.png")
    whole = (tmp_path / "whole.png").read_bytes()
    with open(tmp_path / "w" / "slow.png", "wb") as file:
        for start in range(0, len(whole), len(whole) // 15 + 1):
            file.write(whole[start : start + len(whole) // 15 + 1])
            file.flush()
            time.sleep(0.1)
    seen.expect("new slow.png")


def test_a_burst_and_a_mass_deletion(tmp_path: Path, rows: Rows, watch: Callable[..., Watching]) -> None:
    w = tmp_path / "w"
    seen = watch(2)
    source = tmp_path / "source"
    for at in range(6):
        make(source / f"{at}", 100, 10 + at)
    shutil.copytree(source, w / "many")
    found: list[Change] = []
    until = time.monotonic() + 2 * PATIENCE
    while len(found) < 600 and time.monotonic() < until:
        found += seen.batches.get(timeout=2 * PATIENCE)
    assert {change.event for change in found} == {"new"}
    assert len({change.path for change in found}) == 600
    shutil.rmtree(w / "many")
    seen.heard("600 of 602 files went at once, and stay in the library: picto prune --yes")
    assert rows("SELECT count(*) FROM image") == [(602,)]
    picture(w / "after.png", 71)
    seen.expect("new after.png")


def test_a_root_that_goes_is_waited_for(tmp_path: Path, rows: Rows, watch: Callable[..., Watching]) -> None:
    w = tmp_path / "w"
    seen = watch()
    w.rename(tmp_path / "elsewhere")
    seen.heard(f"{w} is not there: waiting for it to come back")
    w.mkdir()  # as an unmounted disk leaves it
    time.sleep(1.5)
    assert rows("SELECT count(*) FROM image") == [(4,)]
    w.rmdir()
    (tmp_path / "elsewhere" / "03.png").unlink()
    picture(tmp_path / "elsewhere" / "meanwhile.png", 80)
    (tmp_path / "elsewhere").rename(w)
    seen.heard(f"{w} is back")
    seen.expect("new meanwhile.png", "gone 03.png")
    picture(w / "after.png", 81)
    seen.expect("new after.png")


def test_what_went_while_nobody_watched_is_found(tmp_path: Path, index: Index, watch: Callable[..., Watching]) -> None:
    make(tmp_path / "w", 6)
    index(tmp_path / "w")
    (tmp_path / "w" / "05.png").unlink()
    watch(5).expect("gone 05.png")


def test_others_get_their_turn(tmp_path: Path, watch: Callable[..., Watching]) -> None:
    seen = watch()
    holder = Holder(tmp_path / "library.db", {1: "/w"})
    picture(tmp_path / "w" / "new.png", 90)
    (tmp_path / "w" / "03.png").unlink()
    seen.heard(f"is being indexed by process {holder.process.pid}: waiting for it")
    assert seen.batches.empty()
    holder.stop()
    seen.expect("new new.png", "gone 03.png")
    assert len(seen.said.lines) == 1


def test_polling(tmp_path: Path, watch: Callable[..., Watching]) -> None:
    seen = watch(poll=0.3)
    picture(tmp_path / "w" / "new.png", 95)
    seen.expect("new new.png")
    (tmp_path / "w" / "03.png").unlink()
    seen.expect("gone 03.png")


def test_wrong_paths_are_told_before(tmp_path: Path, model: str) -> None:
    (tmp_path / "a.png").touch()
    with pictocli.open(tmp_path / "library.db") as library:
        with pytest.raises(NotFoundError, match="no such folder"):
            next(library.watch([tmp_path / "none"], model=model))
        with pytest.raises(ValidationError, match="is a file, and folders are watched"):
            next(library.watch([tmp_path / "a.png"], model=model))
    assert not (tmp_path / "library.db").exists()


def test_the_program_says_a_line_a_batch_and_stops_cleanly(
    tmp_path: Path, index: Index, ours: pictocli.Library
) -> None:
    """By SIGTERM, as a service is stopped; tests/trials/watching.py presses Ctrl-C."""
    w = tmp_path / "w"
    make(w, 3)
    index(w)
    err = open(tmp_path / "err", "w+")  # noqa: SIM115 - closed below
    process = subprocess.Popen(
        [PICTO, "watch", "w", "--db", ours.path, "--workers", "1", "--format", "jsonl"],
        cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=err, text=True,
    )  # fmt: skip
    try:
        until = time.monotonic() + PATIENCE
        while "Watching" not in (tmp_path / "err").read_text() and time.monotonic() < until:
            time.sleep(0.05)
        picture(w / "new.png", 99)
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line == f'{{"event": "new", "path": "{w}/new.png", "image_id": 4, "reason": null}}\n'
        assert run("index", w, "--db", ours.path).code == 0  # its claim is free between two batches
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
        process.communicate()
        err.close()
    first, second, third = (tmp_path / "err").read_text().splitlines()
    assert re.fullmatch(r"Indexed 0 images in [\d.]+ m?s, 3 unchanged", first)
    assert second == "Watching w: Ctrl-C ends it"
    assert re.fullmatch(r"\d\d:\d\d:\d\d 1 new", third)
