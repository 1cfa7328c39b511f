"""Watches a folder while programs work in it, and measures how soon the library is as the folder is.

    python tests/trials/watching.py [--files 10000] [--rounds 20]

Each round a picture is written, replaced by a rename, moved and deleted, and the time from the last write to the line
that tells of it is taken: 2 s at most. Then a burst of files, in folders that are made for it, and the same files moved
as a whole; nothing may be lost. Memory is looked at before the rounds and after them.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import select
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
from pictures import scene
from trials.agree import agree, asked
from trials.running import finished, start

__all__ = ["trial"]

BOUND = 2.0  # s


class Lines:
    """The changes that a program prints, with the time at which each was read."""

    def __init__(self, stream: Any) -> None:
        self.stream, self._rest = stream, b""

    def read(self, count: int, seconds: float) -> list[dict[str, Any]]:
        """So many changes, or fewer when they do not come in time."""
        found: list[dict[str, Any]] = []
        until = time.monotonic() + seconds
        while len(found) < count and (left := until - time.monotonic()) > 0:
            if not select.select([self.stream], [], [], left)[0]:
                break
            data = os.read(self.stream.fileno(), 1 << 16)
            if not data:
                break
            *lines, self._rest = (self._rest + data).split(b"\n")
            found += [json.loads(line) for line in lines]
        return found


def _memory(pid: int) -> int:
    """MB that a process holds."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 10**6


def _round(folder: Path, seed: int, lines: Lines) -> list[float]:
    """One picture's life; the seconds that each of its four changes took."""
    path, beside, moved = folder / f"{seed}.png", folder / f".{seed}.tmp", folder / f"moved-{seed}.png"
    spent = []

    def step(expected: str) -> None:
        started = time.monotonic()
        seen = lines.read(1, 30)
        spent.append(time.monotonic() - started)
        assert [each["event"] for each in seen] == [expected], seen

    scene(seed, 640, 480).save(path)
    step("new")
    scene(seed + 1, 640, 480).save(beside, "PNG")
    beside.rename(path)
    step("changed")
    path.rename(moved)
    step("moved")
    moved.unlink()
    step("gone")
    return spent


def _burst(folder: Path, source: Path, files: int, db: Path, lines: Lines) -> float:
    """Many files at once, then moved as a whole; the seconds until the last of them was there."""
    started = time.monotonic()
    shutil.copytree(source, folder / "burst")
    seen = lines.read(files, 3600)
    spent = time.monotonic() - started
    assert {each["event"] for each in seen} == {"new"}
    assert len({each["path"] for each in seen}) == files
    before = _ids(db)
    (folder / "burst").rename(folder / "elsewhere")
    assert {each["event"] for each in lines.read(files, 3600)} == {"moved"}
    assert _ids(db) == before
    return spent


def _ids(db: Path) -> list[Any]:
    with asked(db) as connection:
        return connection.execute("SELECT id, content_id FROM image ORDER BY id").fetchall()


def trial(base: Path, files: int, rounds: int, model: str = "mini") -> str:
    """The closing line. Raises AssertionError at the first loss."""
    folder, source, db = base / "photos", base / "source", base / "library.db"
    folder.mkdir()
    scene(1, 640, 480).save(folder / "first.png")
    chance = random.Random(1)  # noqa: S311 - no secret
    for at in range(files):
        path = source / f"{at % 7}" / f"{at % 100}" / f"{at}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        scene(chance.randrange(2**32), 24, 16).save(path)
    log = open(base / "log", "wb")  # noqa: SIM115 - for as long as the program runs
    process = start("watch", folder, "--db", db, "--model", model, "--format", "jsonl", stderr=log)
    lines = Lines(process.stdout)
    while b"Watching" not in (base / "log").read_bytes():
        assert process.poll() is None, (base / "log").read_text()
        time.sleep(0.1)
    spent = _round(folder, 0, lines)
    memory = _memory(process.pid)
    for seed in range(10, 10 * rounds, 10):
        spent += _round(folder, seed, lines)
    grown = _memory(process.pid) - memory
    burst = _burst(folder, source, files, db, lines) if files else 0.0
    after = _memory(process.pid) - memory
    started = time.monotonic()
    process.send_signal(signal.SIGINT)
    code, _ = finished(process)
    stopped = time.monotonic() - started
    log.close()
    assert code == 0, (base / "log").read_text()
    agree(db)
    spent.sort()
    half, slowest = spent[len(spent) // 2], spent[-1]
    line = (
        f"{len(spent)} changes: half within {half:.2f} s, the slowest {slowest:.2f} s, {grown:+} MB; {files:,} files at"
        f" once: {burst:.0f} s, moved as a whole with their ids, {after:+} MB; stopped in {stopped:.1f} s"
    )
    assert spent[int(len(spent) * 0.95)] < BOUND, line
    return line


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        print(trial(Path(made).resolve(), options.files, options.rounds))
