"""Searches one library by many processes at once.

    python tests/trials/readers.py [LIBRARY.db] [--processes 8] [--seconds 60] [--rows 1000000]

LIBRARY.db is made as tests/benchmarks/answers.py makes its own when it is not there: made-up rows of 768 numbers. Each
process asks one question after the other of the whole library, every one a program of its own: words that were asked
before, and an image. Prints the median and the 99th percentile of the seconds that they took, beside the median of one
process alone. The 99th may be 2 × (processes / cores) × that, else the exit code is 1.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.answers import make
from program import PICTO, environment
from trials.agree import asked

__all__ = ["make", "trial"]

WORDS = "words seen before"  # those of answers.make


def _asked(db: Path, seed: int, until: float, least: int = 1) -> list[float]:
    """Ask until a moment, and at least so often; the seconds of every answer."""
    chance, spent = random.Random(seed), list[float]()  # noqa: S311 - no secret
    with asked(db) as connection:
        images = connection.execute("SELECT max(id) FROM image").fetchone()[0]
    while time.monotonic() < until or len(spent) < least:
        question = [
            ["search", WORDS],
            ["similar", f"id:{chance.randrange(1, images + 1)}", "--threshold", "0", "--everywhere"],
        ][len(spent) % 2]
        started = time.monotonic()
        done = subprocess.run([PICTO, *question, "--db", db], capture_output=True, env=environment(), check=False)
        spent.append(time.monotonic() - started)
        assert (done.returncode, done.stderr) == (0, b""), f"{question}: {done.returncode} {done.stderr.decode()}"
        assert done.stdout
    return spent


def trial(db: Path, processes: int, seconds: float, cores: int) -> tuple[bool, str]:
    """Whether the 99th percentile keeps its bound, and the closing line. Raises AssertionError at any error."""
    _asked(db, 0, 0)  # what the system's cache lacks
    alone = statistics.median(_asked(db, 0, time.monotonic() + seconds / 6, least=9))
    until = time.monotonic() + seconds
    with ThreadPoolExecutor(processes) as pool:
        spent = [each for found in pool.map(lambda seed: _asked(db, seed, until), range(processes)) for each in found]
    p50, p99 = statistics.median(spent), statistics.quantiles(spent, n=100, method="inclusive")[98]
    bound = 2 * processes / cores * alone
    return p99 <= bound, (
        f"{processes} processes on {cores} cores for {seconds:g} s: {len(spent):,} answers, no error; median"
        f" {p50:.2f} s, 99% within {p99:.2f} s, to be at most {bound:.2f} s (alone: median {alone:.2f} s)"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the trial as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("library", type=Path, nargs="?")
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--rows", type=int, default=1_000_000)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        db = (options.library or Path(folder, "library.db")).resolve()
        if not db.exists():
            make(db, options.rows)
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        kept, line = trial(db, options.processes, options.seconds, cores)
    print(line)
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
