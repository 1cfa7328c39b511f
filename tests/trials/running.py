"""Starts picto as a shell would, and says which processes it has become."""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
from pictures import make_pdf, scene
from program import PICTO, environment

__all__ = ["Album", "finished", "group", "many", "said", "start", "waited"]

SENTENCE = re.compile(r"error: [^\n]+[^.\n]\n(\nhint: [^\n]+[^.\n]\n)?")
"""What picto writes when it cannot work: one plain sentence, and its remedy."""


def start(*arguments: str | Path, **options: Any) -> subprocess.Popen[bytes]:
    """Start picto in a process group of its own, in which Ctrl-C means what it means at a terminal."""

    def heard() -> None:  # a shell's background jobs ignore it, and so would their children
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        if also is not None:
            also()

    also: Callable[[], None] | None = options.pop("preexec_fn", None)
    streams: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    env = environment(**options.pop("env", {}))
    return subprocess.Popen(
        [PICTO, *arguments], **(streams | options), env=env, start_new_session=True, preexec_fn=heard
    )


def finished(process: subprocess.Popen[bytes], seconds: float = 120) -> tuple[int, str]:
    """Wait for the end of a run: its exit code, and what it said on standard error. A traceback fails the trial."""
    try:
        _, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    told = (err or b"").decode(errors="replace")
    assert "Traceback" not in told, told
    return process.returncode, told


def said(error: str, *words: str) -> None:
    """Fail the trial unless `error` is one plain sentence with its remedy that holds one of `words`."""
    assert SENTENCE.fullmatch(error), error
    assert not words or any(word in error for word in words), error


def group(leader: int) -> list[int]:
    """The processes of a group that still run, its leader first."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, pgid = path.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue  # gone meanwhile
        if int(pgid) == leader and state != "Z":
            found.append(int(path.parent.name))
    return sorted(found, key=lambda pid: (pid != leader, pid))


def waited(condition: Callable[[], Any], seconds: float = 60) -> bool:
    """Whether something became true in time."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if condition():
            return True
        time.sleep(0.005)
    return False


def many(trial: Callable[[Path, int, int], str], described: str | None, times: int) -> None:
    """The command line of a trial that is run so many times, with a seed, in a folder of its own."""
    parser = argparse.ArgumentParser(description=described, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=times)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as base:
        print(trial(Path(base).resolve(), options.times, options.seed))


class Album:
    """A folder of pictures that grows and changes as people's do; the same for a seed."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.chance = folder, random.Random(seed)  # noqa: S311 - no secret
        self.pages: dict[Path, int] = {}
        self._made = 0
        folder.mkdir(parents=True)

    def grow(self, pictures: int = 10) -> None:
        """Add so many pictures, a PDF, a TIFF of three pages and a copy; move, change and delete one each."""
        older = sorted(self.pages)
        for suffix in [*self.chance.choices([".jpg", ".png", ".webp"], k=pictures), ".pdf", ".tif"]:
            self._write(self._place(suffix))
        if not older:
            return
        copied, moved, changed, deleted = self.chance.sample(older, 4)
        target = self._place(copied.suffix)
        shutil.copy(copied, target)
        self.pages[target] = self.pages[copied]
        target = self._place(moved.suffix)
        moved.rename(target)
        self.pages[target] = self.pages.pop(moved)
        self._write(changed)
        deleted.unlink()
        del self.pages[deleted]

    def _place(self, suffix: str) -> Path:
        self._made += 1
        path = self.folder / f"folder {self._made % 5}" / f"{self._made:05}{suffix}"
        path.parent.mkdir(exist_ok=True)
        return path

    def _write(self, path: Path) -> None:
        seeds = [self.chance.randrange(2**32) for _ in range(3)]
        images = [scene(seed, 96, 72) for seed in seeds]
        if path.suffix == ".pdf":
            make_pdf(path, seeds)
        elif path.suffix == ".tif":
            images[0].save(path, save_all=True, append_images=images[1:])
        else:
            images[0].save(path)
        self.pages[path] = len(seeds) if path.suffix in (".pdf", ".tif") else 1
