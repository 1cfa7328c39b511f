"""Fills the disk while picto writes: index, reembed, retag and a search for new words, with ever more room left.

    python tests/trials/disk.py [--times 40] [--seed 1]

The disk is a small tmpfs where this process may mount one; else files may not grow beyond a limit (RLIMIT_FSIZE). Each
command either ends as usual or says in one sentence what to do, with exit code 3; the library agrees, holds whole
batches only, and nothing that was stored is gone. With room again the same command completes.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from checkpoints import save_siglip, save_siglip2
from trials.agree import agree, stored
from trials.running import Album, finished, said, start

__all__ = ["Disk", "fill", "small_disk", "trial"]

SIZE = 2**26
FULL = ("no space left", "cannot be read or written")
COMMANDS = ("index", "reembed", "retag", "search")


@dataclass(frozen=True, slots=True)
class Disk:
    """A folder, and whether it is a disk of its own."""

    folder: Path
    mounted: bool

    @contextmanager
    def crowded(self, room: int) -> Iterator[Callable[[], None] | None]:
        """Leave so many bytes, for what is started with the function that this gives."""
        if not self.mounted:
            largest = max((path.stat().st_size for path in self.folder.iterdir()), default=0)
            yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (largest + room, largest + room))
            return
        filler = self.folder / "filler"
        free = os.statvfs(self.folder)
        filler.write_bytes(bytes(max(0, free.f_bavail * free.f_bsize - room)))
        try:
            yield None
        finally:
            filler.unlink()


@contextmanager
def small_disk(folder: Path) -> Iterator[Disk]:
    """A disk of 64 MB at `folder`."""
    folder.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)]
    mounted = shutil.which("mount") is not None and subprocess.run(mounting, capture_output=True).returncode == 0
    try:
        yield Disk(folder, mounted)
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(disk: Disk, room: int, kept: Path | None, *command: str | Path) -> tuple[bool, int]:
    """Run a command on a full disk and again on one with room. Returns whether the first failed, and what was kept.

    kept: the library that it begins with, if any.
    """
    db = disk.folder / "library.db"
    if kept is not None:
        shutil.copy(kept, db)
    before = stored(db)
    with disk.crowded(room) as limit:
        code, told = finished(start(*command, "--db", db, preexec_fn=limit))
        copy = disk.folder.with_name("copy.db")  # looking needs room too
        for end in ("", "-wal"):
            copy.with_name(copy.name + end).unlink(missing_ok=True)
            if Path(f"{db}{end}").exists():
                shutil.copy(f"{db}{end}", f"{copy}{end}")
    assert code in (0, 3), f"exit {code}: {told}"
    if code == 3:
        said(told, *FULL)
    agree(copy)
    assert before <= stored(copy), "images that were stored are gone"
    kept_images = len(stored(copy))
    again, told_again = finished(start(*command, "--db", db))
    assert again == 0, f"with room again, exit {again}: {told_again}"
    agree(db)
    assert stored(copy) <= stored(db), "images that were stored are gone"
    for path in disk.folder.iterdir():
        path.unlink()
    return code == 3, kept_images


def trial(base: Path, rooms: Mapping[str, Sequence[float]], small: Path, other: Path) -> str:
    """Run each command with each of its rooms left, in sizes of the whole library; the closing line.

    small, other: the folders of two models.
    """
    album, whole = Album(base / "album", 1), base / "whole.db"
    for _ in range(3):
        album.grow()
    index = ("index", album.folder, "--model", small, "--workers", "0", "--batch-size", "4", "--thumbnails")
    assert finished(start(*index, "--db", whole))[0] == 0
    pages = agree(whole)
    commands: dict[str, tuple[Path | None, tuple[str | Path, ...]]] = {
        "index": (None, index),
        "reembed": (whole, ("reembed", "--model", other, "--workers", "0", "--batch-size", "4")),
        "retag": (whole, ("retag", "--taxonomy", "built-in")),
        "search": (whole, ("search", "words never seen")),
    }
    failed, halves = Counter[str](), 0
    with small_disk(base / "disk") as disk:
        for name, sizes in rooms.items():
            kept, command = commands[name]
            for room in sizes:
                full, images = fill(disk, int(room * whole.stat().st_size), kept, *command)
                failed[name] += full
                halves += kept is None and 0 < images < pages
        kind = "tmpfs" if disk.mounted else "file-size limit"
    runs = sum(map(len, rooms.values()))
    how = ", ".join(f"{failed[name]} of {len(sizes)} {name}" for name, sizes in rooms.items())
    return (
        f"{runs} runs on a full {kind}: {how} said so, {halves} with a part stored; nothing lost, all completed later"
    )


def main() -> None:
    """Run the trial as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=40, help="runs of index; of the others a fourth of these each")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    chance = random.Random(options.seed)  # noqa: S311 - no secret
    rooms = {
        name: [0, *(chance.uniform(0, 2.5) for _ in range(options.times // (4 if at else 1) - 1))]
        for at, name in enumerate(COMMANDS)
    }
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder).resolve()
        small, other = save_siglip(base / "small"), save_siglip2(base / "other")
        print(trial(base, rooms, small, other))


if __name__ == "__main__":
    main()
