"""How fast the pages of a large PDF are indexed, and what a changed page costs afterwards.

    PYTHONPATH=tests python tests/benchmarks/pdfs.py [--pages 1000] [--workers 1,2] [--keep FOLDER]

It makes a PDF of letter pages, each with forty lines of text, every third with a photo of 800 × 600, and indexes it
with `mini`, each time into a new library, by as many workers as are asked for. Then one page in the middle changes and
one is put in front, and it is indexed again. Seconds are of wall time, so only those of one run compare; memory is the
sum of the proportional shares (PSS) of all processes, sampled 20 times a second, until the first pages were stored and
at most.
"""

from __future__ import annotations

import argparse
import io
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from contextlib import closing, suppress
from pathlib import Path

import numpy as np
import pymupdf
from pictures import scene
from watching import watched

COLUMNS = "{:>24} {:>7} {:>9} {:>12} {:>12} {:>9} {:>7} {:>7}"


def make(path: Path, seeds: Iterable[int]) -> Path:
    """A PDF of a page a seed."""
    with pymupdf.open() as document:
        for seed in seeds:
            words = np.random.default_rng(seed).integers(0, 9999, (40, 8))
            page = document.new_page(width=595, height=842)
            page.insert_text((50, 50), "\n".join(f"{seed}: {' '.join(map(str, line))}" for line in words), fontsize=9)
            if seed % 3 == 0:
                out = io.BytesIO()
                scene(seed, 800, 600).save(out, "JPEG", quality=90)
                page.insert_image((50, 550, 350, 800), stream=out.getvalue())
        document.save(path)
    return path


def stored(library: Path) -> int:
    """How many pages a library holds by now."""
    with suppress(sqlite3.Error), closing(sqlite3.connect(f"file:{library}?mode=ro", uri=True)) as db:
        return int(db.execute("SELECT count(*) FROM image").fetchone()[0])
    return 0


def indexed(what: str, path: Path, library: Path, workers: int) -> None:
    """Index a PDF, and print how that went."""
    program = "import sys; from pictocli.cli import main; main(sys.argv[1:])"
    command = [sys.executable, "-c", program, "index", str(path), "--db", str(library), "--model", "mini", "--workers",
               str(workers), "--device", "cpu", "--max-pages", "100000"]  # fmt: skip
    before, first, early, started = stored(library), 0.0, 0, time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        with watched(process.pid) as watch:
            while process.poll() is None:
                time.sleep(0.05)
                if not first and stored(library) > before:
                    first, early = time.perf_counter() - started, watch.peak
        assert process.stderr is not None
        said = process.stderr.read().splitlines()
    spent = time.perf_counter() - started
    pages = stored(library)
    print(
        COLUMNS.format(
            what, workers, f"{spent:.1f} s", f"{pages / spent:.1f}/s", f"{first:.1f} s" if first else "–",
            f"{watch.cpu:.1f} s", f"{early / 1e6:.0f}" if first else "–", f"{watch.peak / 1e6:.0f}",
        )
    )  # fmt: skip
    print("    " + next((line for line in said if line.startswith("Indexed")), " ".join(said[-1:])), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--pages", type=int, default=1000)
    parser.add_argument("--workers", default="1,2")
    parser.add_argument("--keep", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = asked.keep or Path(scratch)
        (folder / "pdfs").mkdir(parents=True, exist_ok=True)
        path = folder / "pdfs/large.pdf"
        print(COLUMNS.format("", "workers", "time", "pages", "first batch", "CPU", "MB then", "MB most"))
        for workers in map(int, asked.workers.split(",")):
            library = folder / f"workers-{workers}.db"
            library.unlink(missing_ok=True)
            seeds = [*range(asked.pages)]
            make(path, seeds)
            indexed(f"{path.stat().st_size / 1e6:.0f} MB, new", path, library, workers)
            seeds[asked.pages // 2] = 10**6 - 1
            make(path, seeds)
            indexed("a page changed", path, library, workers)
            make(path, [10**6, *seeds])
            indexed("a page put in front", path, library, workers)


if __name__ == "__main__":
    main()
