"""What `picto duplicates` takes: whole processes, time and memory, over made-up libraries.

    python tests/benchmarks/duplicates.py [--sizes 10000,100000]

Fingerprints are made up, too: noise whose amplitude falls with its frequency as that of photographs (Field 1987), a
horizon through most, and every twentieth a crop of the one before it, with some noise of its own.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from answers import SPEC
from numpy.typing import NDArray

from pictocli.lookalikes import SIDE, stretch
from pictocli.schema import connect, transaction
from pictocli.sqlite import SqliteStore

COPY = 20  # one in so many is


def prints(count: int, seed: int) -> NDArray[np.uint8]:
    """Made-up fingerprints [count, SIDE, SIDE]."""
    chance = np.random.default_rng(seed)
    waves = np.fft.fftfreq(SIDE) * SIDE
    pitch = np.maximum(1, np.hypot(waves[:, None], waves[None]))
    noise = np.fft.ifft2(np.fft.fft2(chance.standard_normal((count, SIDE, SIDE))) / pitch).real
    noise = 45 * noise / noise.std(axis=(1, 2), keepdims=True)
    horizon = np.arange(SIDE)[None, :, None] > chance.uniform(0.2, 1.4, (count, 1, 1)) * SIDE
    found = 140 + noise - 60 * horizon
    for at in range(1, count, COPY):
        down, across = (stretch(*chance.uniform(0, 0.1, 2)) for _ in range(2))
        found[at] = down @ found[at - 1] @ across.T + chance.standard_normal((SIDE, SIDE))
    return np.clip(found, 0, 255).astype(np.uint8)


def make(path: Path, count: int) -> None:
    """A library of `count` images that have fingerprints, and no embeddings."""
    store = SqliteStore(connect(str(path), create=True))
    store.require_model(SPEC)
    folder = store.folder_id(store.add_root("/made-up", "made-up"), "")
    at = 0
    for start in range(0, count, 10_000):
        with transaction(store.db):
            for print_ in prints(min(10_000, count - start), start):
                at += 1
                row = {
                    "i": at,
                    "hash": at.to_bytes(32, "big"),
                    "folder": folder,
                    "name": f"{at}.jpg",
                    "v": print_.tobytes(),
                }
                for sql in (
                    "INSERT INTO content VALUES(:i, :hash, 0, 0, 4000, 3000, '{}', 1)",
                    "INSERT INTO fingerprint VALUES(:i, :v)",
                    "INSERT INTO file(id, folder_id, name, kind, size, mtime_ns, pages)"
                    " VALUES(:i, :folder, :name, 'jpeg', 3000000, 1, 1)",
                    "INSERT INTO image(id, file_id, folder_id, content_id, indexed_at) VALUES(:i, :i, :folder, :i, 0)",
                ):
                    store.db.execute(sql, row)
    store.db.close()


def report(path: Path, count: int) -> None:
    """Run it once, and print what it took."""
    command = [Path(sys.executable).with_name("picto"), "duplicates", "--keep", "largest", "-0", "-q"]
    started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, env={**os.environ, "PICTO_DB": str(path)}, capture_output=True, check=True)
    spent, used = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
    found = done.stdout.count(b"\0")
    print(f"{count:,} images: {spent:.1f} s, CPU {cpu:.1f} s, {used.ru_maxrss / 1024:.0f} MB at most;", end=" ")
    print(f"{found:,} of {len(range(1, count, COPY)):,} copies")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sizes", default="10000,100000")
    with tempfile.TemporaryDirectory() as base:
        for count in map(int, parser.parse_args().sizes.split(",")):
            path = Path(base) / f"{count}.db"
            make(path, count)
            report(path, count)


if __name__ == "__main__":
    main()
