"""The same made-up library in each store: what it takes to load and to search it, and what the fast path finds.

    python tests/benchmarks/stores.py [--images 200000] [--dim 256] [--stores sqlite,postgresql,lance] [--questions 50]

Clustered unit embeddings with a common mean (1,000 clusters, some near, some far), in three datasets, of which the
first has 30 % of the images, and in 50 folders of 2 %. One label is on 30 %, one on .2 % of the images. Every store has
the same images under the same ids.

recall@50: what `similar` finds of the 50 nearest, which `--exact` gives, with the milliseconds of a question's median
beside it. at 0.6: of how many questions the answers at 0.6 or above, --exact, are those of SQLite, id by id, with
similarities to 2e-6: SQLite adds up in float32. Peak memory is that of a process of its own which asks all that; a
server's is not in it.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

import stores
from libraries import clustered

import pictocli
from pictocli.brain import put_labels
from pictocli.databases import connect, full, size
from pictocli.records import ModelSpec
from pictocli.schema import transaction
from pictocli.sqlite import SqliteStore
from pictocli.taxonomy import load as load_taxonomy

FOLDERS = 50
FIRST = 15  # folders of the first dataset: 30 %
BATCH = 5_000
FAR: Any = {"threshold": 0, "limit": 50}
FILTERS: dict[str, dict[str, Any]] = {
    "none": {"everywhere": True},
    "a tag on 30 %": {"everywhere": True, "objects": ["car"]},
    "a tag on .2 %": {"everywhere": True, "objects": ["zebra"]},
    "a dataset of 30 %": {"dataset": "first", "folder": "/"},
    "a folder of 2 %": {"dataset": "first", "folder": "f003"},
}


def load(name: str, images: int, dim: int) -> float:
    """Fill a library, without an index; returns seconds."""
    vectors = clustered(images, dim, 1000, (0.2, 0.5, 0.9))
    chance = np.random.default_rng(1)
    cars, zebras = chance.random(images) < 0.3, chance.random(images) < 0.002
    started, db = time.perf_counter(), connect(name, create=True)
    store = SqliteStore(db)
    store.require_model(ModelSpec("made-up", "0", dim, 224, "bilinear", 64, 112.7, -16.8))
    put_labels(store, load_taxonomy())
    roots = [store.add_root(f"/{each}", each) for each in ("first", "second", "third")]
    folders = [store.folder_id(roots[0] if at < FIRST else roots[1 + at % 2], f"f{at:03}") for at in range(FOLDERS)]
    for start in range(0, images, BATCH):
        ids = range(start + 1, min(start + BATCH, images) + 1)
        with transaction(db):
            for statement, rows in _rows(ids, folders, vectors, cars, zebras):
                db.executemany(statement, rows)
    db.tidy()
    return time.perf_counter() - started


def _rows(ids: range, folders: Any, vectors: Any, cars: Any, zebras: Any) -> list[tuple[str, list[tuple[Any, ...]]]]:
    """Statements, and the rows of a batch that they store."""

    def tags(i: int) -> str:
        return json.dumps({name: 0.9 for name, carried in (("car", cars), ("zebra", zebras)) if carried[i - 1]})

    where = {i: folders[i % FOLDERS] for i in ids}
    return [
        (
            "INSERT INTO file(id, folder_id, name, kind, size, mtime_ns, hash, pages)"
            " VALUES(?, ?, ?, 'png', 1, 1, ?, 1)",
            [(i, where[i], f"{i}.png", i.to_bytes(32, "big")) for i in ids],
        ),
        (
            "INSERT INTO content(id, hash, page, dpi, width, height, measures, processing_time_ms)"
            " VALUES(?, ?, 0, 0, 64, 48, '{}', 1)",
            [(i, i.to_bytes(32, "big")) for i in ids],
        ),
        ("INSERT INTO embedding(content_id, v) VALUES(?, ?)", [(i, vectors[i - 1].tobytes()) for i in ids]),
        (
            "INSERT INTO image(id, file_id, folder_id, content_id, objects, indexed_at) VALUES(?, ?, ?, ?, ?, 0)",
            [(i, i, where[i], i, tags(i)) for i in ids],
        ),
    ]


def build(name: str) -> float:
    """Make the index that finds the nearest; returns seconds."""
    started, db = time.perf_counter(), connect(name)
    SqliteStore(db).build_codes()
    db.tidy()
    return time.perf_counter() - started


def measure(name: str, images: int, questions: int) -> dict[str, Any]:
    """Ask, fast and exactly: recall and milliseconds by filter, the answers at 0.6, and the peak of memory in MB."""
    found: dict[str, Any] = {"recall": {}, "ms": {}, "exact ms": {}, "similar": []}
    with pictocli.open(name) as library:
        asked = [1 + at * images // questions for at in range(questions)]
        for called, given in FILTERS.items():
            hits = there = 0
            spent: dict[bool, list[float]] = {False: [], True: []}
            for image_id in asked:
                ids = {}
                for exact in (False, True):
                    started = time.perf_counter()
                    answer = library.similar(image_id, **FAR, **given, exact=exact)
                    spent[exact].append(time.perf_counter() - started)
                    ids[exact] = {each.image_id for each in answer.results}
                hits, there = hits + len(ids[True] & ids[False]), there + len(ids[True])
            found["recall"][called] = hits / max(1, there)
            found["ms"][called] = 1000 * statistics.median(spent[False])
            found["exact ms"][called] = 1000 * statistics.median(spent[True])
        for image_id in asked[:30]:
            answer = library.similar(image_id, threshold=0.6, limit=500, everywhere=True, exact=True)
            found["similar"].append([(each.image_id, each.similarity) for each in answer.results])
    found["mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return found


def in_its_own_process(what: str, *arguments: str) -> Any:
    """A step, in a process that holds nothing else; what it prints at last, and the peak of its memory in MB."""
    done = subprocess.run([sys.executable, __file__, "--step", what, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def same(mine: Any, theirs: Any) -> int:
    """How many answers are the same; neighbours that are as near may change places."""
    return sum(
        len(one) == len(other)
        and all(abs(a[1] - b[1]) <= 2e-6 for a, b in zip(one, other, strict=True))
        and {i for i, cosine in one if cosine > one[-1][1] + 2e-6} <= {i for i, _ in other}
        for one, other in ((a, b) for a, b in zip(mine, theirs, strict=True))
        if one or not other
    )


def report(kinds: list[str], images: int, dim: int, questions: int) -> None:
    print(f"{images:,} images of {dim} numbers, {questions} questions, {os.cpu_count()} cores\n")
    print("| store | load s | index s | MB on disk | peak MB | at 0.6 | " + " | ".join(FILTERS) + " |")
    print("|---" * (6 + len(FILTERS)) + "|")
    reference = None
    for kind in kinds:
        base = Path(tempfile.mkdtemp())
        name = full(stores.library_name(kind, base))
        try:
            loaded = in_its_own_process("load", name, str(images), str(dim))
            built = in_its_own_process("build", name)
            told = in_its_own_process("measure", name, str(images), str(questions))
            reference = reference or told["similar"]
            cells = [
                f"{told['recall'][each]:.3f}, {told['ms'][each]:.1f} ms (exact {told['exact ms'][each]:.1f})"
                for each in FILTERS
            ]
            peak = max(loaded["mb"], built["mb"], told["mb"])
            equal = f"{same(told['similar'], reference)} of {len(reference)}"
            print(f"| {kind} | {loaded['s']:.1f} | {built['s']:.1f} | {size(name) / 1e6:.0f} | {peak:.0f} | {equal} | "
                  + " | ".join(cells) + " |", flush=True)  # fmt: skip
        finally:
            shutil.rmtree(base)


def step(arguments: list[str]) -> None:
    """One step of the above, as a process of its own."""
    what, name, *numbers = arguments
    if what == "measure":
        print(json.dumps(measure(name, *map(int, numbers))))
        return
    seconds = load(name, *map(int, numbers)) if what == "load" else build(name)
    print(json.dumps({"s": seconds, "mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=200_000)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--stores", default=",".join(stores.STORES))
    parser.add_argument("--questions", type=int, default=50)
    parser.add_argument("--step", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        step(options.step)
    else:
        report(options.stores.split(","), options.images, options.dim, options.questions)


if __name__ == "__main__":
    main()
