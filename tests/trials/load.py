"""Indexes a hundred thousand real files, is killed on the way, and goes on.

    python tests/trials/load.py FOLDER [--files 100000] [--kill-at 0.4] [--workers N]

The files are crops of the sample photos, encoded anew, 200 px or so, the same on every machine; those that are there
already are not made again, so FOLDER can be kept. `picto index --model mini` runs over them until so large a part of
them is stored, is killed (SIGKILL, the whole process group), and is started again. Prints times, rates and peak
memory, and what was lost; FOLDER/library.db is the library.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path

from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))
from trials.agree import agree, asked, stored
from trials.running import finished, group, start

__all__ = ["made", "trial"]

SAMPLES = Path(__file__).parents[2] / "sample_images"
FORMATS = (".jpg", ".jpg", ".jpg", ".png", ".webp")


@cache
def _photos() -> list[Image.Image]:
    paths = sorted(path for path in SAMPLES.rglob("*") if path.suffix in (".jpg", ".png", ".webp"))
    return [Image.open(path).convert("RGB") for path in paths]


def _make(folder: Path, numbers: range) -> int:
    """Make files; the number of those that were not there yet. A file has its name only once it is whole."""
    new = 0
    for number in numbers:
        chance = random.Random(number)  # noqa: S311 - no secret
        path = folder / f"{number // 1000:04}" / f"{number:07}{FORMATS[number % len(FORMATS)]}"
        if path.exists():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        photo = _photos()[number % len(_photos())]
        side = int(min(photo.size) * chance.uniform(0.3, 1))
        left, top = (chance.randrange(length - side + 1) for length in photo.size)
        crop = photo.crop((left, top, left + side, top + side)).resize((chance.randrange(180, 221),) * 2)
        part = path.with_name(f".{path.name}")
        crop.save(part, quality=chance.randrange(70, 95))
        part.rename(path)
        new += 1
    return new


def made(folder: Path, count: int, processes: int) -> int:
    """Make `count` files in `folder`, a thousand a folder; the number of those that were not there yet."""
    parts = [range(at, min(at + 1000, count)) for at in range(0, count, 1000)]
    with ProcessPoolExecutor(processes) as pool:
        return sum(pool.map(_make, [folder] * len(parts), parts))


def _peaks(leader: int) -> Iterator[int]:
    """The peak resident memory of each process of a run, in kB, its leader's first."""
    for pid in group(leader):
        try:
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            continue
        yield from (int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))


def _images(db: Path) -> int:
    if not db.exists() or not _has_images(db):
        return 0
    with asked(db) as connection:
        return int(connection.execute("SELECT count(*) FROM image").fetchone()[0])


def _has_images(db: Path) -> bool:
    """Whether the library has its tables yet."""
    with asked(db) as connection:
        return connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'image'").fetchone() is not None


def _run(folder: Path, db: Path, until: float, options: tuple[str, ...], pause: float = 0.5) -> tuple[float, list[int]]:
    """Index until so many images are stored, looking every `pause` seconds, then kill; inf lets it end.

    Gives its seconds, and peaks of memory in MB: of the main process, and of the largest other.
    """
    started, peaks = time.monotonic(), [0, 0]
    process = start("index", folder, "--db", db, "--model", "mini", *options)
    while process.poll() is None and _images(db) < until:
        main, *others = [*_peaks(process.pid), 0]
        peaks = [max(peaks[0], main // 1024), max([peaks[1], *(other // 1024 for other in others)])]
        time.sleep(pause)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    else:
        code, told = finished(process)
        assert (code, "skipped" in told) == (0, False), told
    return time.monotonic() - started, peaks


def trial(folder: Path, files: int, kill_at: float, workers: int) -> str:
    """Make the files, index, kill, go on; the closing line. Raises AssertionError when anything is lost."""
    began = time.monotonic()
    new = made(folder / "files", files, workers or 1)
    print(f"{new:,} of {files:,} files made in {time.monotonic() - began:.0f} s", flush=True)
    db, options = folder / "library.db", ("--workers", str(workers))
    for end in ("", "-wal", "-shm"):
        Path(f"{db}{end}").unlink(missing_ok=True)
    pause = min(0.5, files / 10_000)  # what is indexed between two looks must be far from all
    first, peaks = _run(folder / "files", db, kill_at * files, options, pause)
    agree(db)
    committed = stored(db)
    print(f"{len(committed):,} stored in {first:.0f} s ({len(committed) / first:.1f}/s), then killed", flush=True)
    assert len(committed) < files, "it had ended before it was killed"
    second, more = _run(folder / "files", db, float("inf"), options)
    assert agree(db) == files
    lost = len(committed - stored(db))
    assert not lost, f"{lost} images that were stored are gone"
    rest, peak = files - len(committed), [max(pair) for pair in zip(peaks, more, strict=True)]
    again, _ = _run(folder / "files", db, float("inf"), options)
    return (
        f"{files:,} files, killed at {len(committed):,} after {first:.0f} s: nothing lost; the other {rest:,} in"
        f" {second:.0f} s ({rest / second:.1f}/s), once more with nothing to do in {again:.1f} s;"
        f" peak {peak[0]} MB, a worker {peak[1]} MB; {db.stat().st_size / 1e6:.0f} MB"
    )


def main() -> None:
    """Run the trial as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--kill-at", type=float, default=0.4, help="part of the files that is stored by then")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    print(trial(options.folder.resolve(), options.files, options.kill_at, options.workers))


if __name__ == "__main__":
    main()
