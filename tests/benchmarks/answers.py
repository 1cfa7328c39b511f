"""What an answer costs: whole processes, median CPU time, beside the floor of any Python program of this shape.

    python tests/benchmarks/answers.py [--sizes 10000,100000] [--runs 15] [--keep FOLDER]

p is `python -I -c pass`, T an empty Typer app of two commands, both run in turn with picto's commands, so that the
ratios hold on a noisy machine. Libraries are made up: clustered unit embeddings of 768 numbers with a common mean
(2,000 clusters; a tenth are near-duplicates), 500 folders, the first hundredth of the images in the first, tags as
common as real ones.

Below the commands: how many references a second one `similar --stdin` answers, its start counted; what the fast path
finds of the exact answers to 50 questions, of the 50 nearest (recall@50) and of the at most 500 at 0.6 or above; and
what `info --check-recall` costs and says of the same. That one may set how many images later questions compare, in a
library that is kept too.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import pictocli
from pictocli.brain import put_labels
from pictocli.protocols import NoProgress
from pictocli.recall import check_when_due
from pictocli.records import ModelSpec
from pictocli.schema import connect, transaction
from pictocli.sqlite import SqliteStore
from pictocli.taxonomy import load

DIM = 768
FOLDERS = 500
MANY = 200
NOTHING = "similar, never together"
EVERYTHING: Any = {"everywhere": True, "threshold": 0, "limit": 500}
SPEC = ModelSpec("made-up", "0", DIM, 224, "bilinear", 64, 112.7, -16.8)
EMPTY_APP = Path(__file__).with_name("empty.py").read_text() + 'app(["one"])\n'
# A process's peak memory counts from its fork on: it must not be forked from this one, which is large.
LAUNCHER = """
import os, resource, subprocess, sys
code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime, used.ru_maxrss)
sys.exit(code)
"""


def environment(path: Path) -> dict[str, str]:
    """That of a user who asks the library at `path`; Python may keep what it compiles, as of installed programs."""
    env = {**os.environ, "PICTO_DB": str(path), "OMP_NUM_THREADS": "1"}
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    subprocess.run([Path(sys.executable).with_name("picto"), "info"], env=env, stdout=subprocess.DEVNULL, check=True)
    return env


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one process: CPU milliseconds and peak resident megabytes."""

    ms: float
    mb: float


def spent(command: list[str], env: dict[str, str], stdin: str = "", code: int = 0) -> Cost:
    """Run a command to its end, output to nowhere; it must end with this exit code: 0, it finds something."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", LAUNCHER, *command], input=stdin.encode(), capture_output=True, env=env
    )
    assert done.returncode == code, done.stderr.decode()
    seconds, kilobytes = done.stdout.split()
    return Cost(float(seconds) * 1000, int(kilobytes) / 1024)


def medians(asked: Mapping[str, list[str]], env: dict[str, str], runs: int, stdin: str = "") -> dict[str, Cost]:
    """The median milliseconds and the most megabytes of each command, all of them run in turn."""
    costs: dict[str, list[Cost]] = {name: [] for name in asked}
    for _ in range(runs):
        for name, command in asked.items():
            costs[name].append(spent(command, env, stdin, code=int(name == NOTHING)))
    return {
        name: Cost(statistics.median(each.ms for each in found), max(each.mb for each in found))
        for name, found in costs.items()
    }


def vectors(n: int, seed: int = 0) -> Iterator[NDArray[np.float32]]:
    """n clustered unit vectors, float32 [part, DIM], a part at a time."""
    rng = np.random.default_rng(seed)
    mean = rng.normal(size=DIM)
    centres = rng.normal(size=(2000, DIM)) + 0.7 * mean
    for start in range(0, n, 10_000):
        part = min(10_000, n - start)
        found = centres[rng.integers(0, 2000, part)] + 0.6 * rng.normal(size=(part, DIM))
        twins = rng.integers(0, part, part // 10)
        found[twins] = found[(twins + 1) % part] + 0.05 * rng.normal(size=(len(twins), DIM))
        found /= np.linalg.norm(found, axis=1, keepdims=True)
        yield found.astype("<f4")


def make(path: Path, n: int) -> None:
    """A library of n images."""
    store = SqliteStore(connect(str(path), create=True))
    store.require_model(SPEC)
    put_labels(store, load())
    root = store.add_root("/made-up", "made-up")
    folders = [store.folder_id(root, f"folder-{at:03}") for at in range(FOLDERS)]
    db, rng, at = store.db, np.random.default_rng(1), 0
    objects = [label.id for label in load().of("objects")]
    triggers = db.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'").fetchall()
    for name, _ in triggers:
        db.execute(f"DROP TRIGGER {name}")
    tag_ids = {(category, name): i for i, category, name in db.execute("SELECT id, category, name FROM tag")}
    for part in vectors(n):
        with transaction(db):
            for vector in part:
                at += 1
                folder = folders[0] if at <= n // 100 else folders[1 + at % (FOLDERS - 1)]
                thing = objects[min(int(rng.exponential(12)), len(objects) - 1)]
                scene = "outdoor" if rng.random() < 0.7 else "indoor"
                tags = (json.dumps({thing: 0.9}), json.dumps({scene: 0.8}), "{}")
                db.execute("INSERT INTO content VALUES(?, ?, 0, 0, 640, 480, '{}', 1)", (at, at.to_bytes(32, "big")))
                db.execute("INSERT INTO embedding VALUES(?, ?)", (at, vector.tobytes()))
                db.execute(
                    "INSERT INTO file(id, folder_id, name, kind, size, mtime_ns, pages)"
                    " VALUES(?, ?, ?, 'jpeg', 1, 1, 1)",
                    (at, folder, f"{at}.jpg"),
                )
                db.execute(
                    "INSERT INTO image(id, file_id, folder_id, content_id, objects, scenes, attributes, indexed_at)"
                    " VALUES(?1, ?1, ?2, ?1, ?3, ?4, ?5, 0)",
                    (at, folder, *tags),
                )
                db.execute("INSERT INTO image_tag VALUES(?, ?, .9)", (tag_ids[0, thing], at))
                db.execute("INSERT INTO image_tag VALUES(?, ?, .8)", (tag_ids[1, scene], at))
    with transaction(db):
        db.execute("UPDATE tag SET n = (SELECT count(*) FROM image_tag t WHERE t.tag_id = tag.id)")
        db.execute("UPDATE folder SET images = (SELECT count(*) FROM image i WHERE i.folder_id = folder.id)")
        for _, statement in triggers:
            db.execute(statement)
    store.build_codes()
    store.measure_pairs()
    check_when_due(db, NoProgress())
    words = np.ones(DIM, "<f4") / np.sqrt(DIM)
    store.keep_text("words seen before", words.astype("<f4").tobytes(), SPEC)
    db.execute("PRAGMA optimize")
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    db.close()


def questions(n: int) -> dict[str, list[str]]:
    """Name → picto's arguments."""
    reference, rare = f"id:{n // 2}", load().of("objects")[60].id
    similar = ["similar", reference, "--everywhere", "--threshold", "0"]
    return {
        "similar": ["similar", reference, "--everywhere"],
        "similar, a folder of 1 %": ["similar", "id:100", "--threshold", "0"],
        "similar, a rare label": [*similar, "--objects", rare],
        "similar, a label on 5 %": [*similar, "--objects", "car"],
        "similar, a common label": [*similar, "--scenes", "outdoor"],
        "similar, several labels": [*similar, "--objects", "car,truck,bus", "--scenes", "outdoor"],
        NOTHING: [*similar, "--scenes", "indoor,outdoor", "--match", "all"],
        "tags, common": ["tags", "--objects", "person", "--scenes", "outdoor"],
        "tags, rare": ["tags", "--objects", rare, "--scenes", "indoor"],
        "tags, a folder": ["tags", "--scenes", "outdoor", "--dataset", "made-up", "--folder", "folder-000"],
        "search, words seen before": ["search", "words seen before"],
        "search with a label": ["search", "words seen before", "--objects", "car"],
    }


def many(n: int) -> str:
    """MANY references, evenly over the library, as `similar --stdin` reads them."""
    return "".join(f"id:{at * n // MANY + 1}\n" for at in range(MANY))


def recall(path: Path, n: int) -> tuple[float, float]:
    """What answers hold of the exact ones: of the 50 nearest, and of the at most 500 at 0.6 or above."""
    near, similar = [0, 0], [0, 0]  # found, there
    with pictocli.open(path) as library:
        for image_id in range(n // 100, n, n // 50):
            fast, exact = (
                {each.image_id: each.similarity for each in library.similar(image_id, **EVERYTHING, exact=way).results}
                for way in (False, True)
            )
            for counts, true in (
                (near, list(exact)[:50]),
                (similar, [i for i, cosine in exact.items() if cosine >= 0.6]),
            ):
                counts[0] += len(fast.keys() & set(true))
                counts[1] += len(true)
    return near[0] / near[1], similar[0] / similar[1]


def report(path: Path, n: int, runs: int) -> None:
    """Measure and print one library."""
    picto = str(Path(sys.executable).with_name("picto"))
    env = environment(path)
    asked = {"p": [sys.executable, "-I", "-c", "pass"], "T": [sys.executable, "-c", EMPTY_APP]}
    asked |= {name: [picto, *arguments] for name, arguments in questions(n).items()}
    costs = medians(asked, env, runs)
    together = medians({"many": [picto, "similar", "--stdin", "--everywhere"]}, env, 3, stdin=many(n))["many"]
    ms = {name: cost.ms for name, cost in costs.items()}
    print(f"{n:,} images of {path.stat().st_size / n:,.0f} bytes; p {ms['p']:.0f} ms, T {ms['T'] / ms['p']:.1f}p")
    for name in questions(n):
        over = (ms[name] - ms["T"]) / ms["p"]
        print(f"  {name:<28} {ms[name]:6.0f} ms   T + {over:4.1f}p   {costs[name].mb:5.0f} MB")
    each, mb = together.ms / MANY, together.mb
    print(f"  {'similar --stdin':<28} {each:6.1f} ms   {each / ms['p']:8.2f}p   {mb:5.0f} MB   {1000 / each:.0f}/s")
    print("  recall@50 {:.4f}, of those at 0.6 or above {:.4f}".format(*recall(path, n)))
    cost = spent([picto, "info", "--check-recall"], env)
    with pictocli.open(path) as library:
        print(f"  {'info --check-recall':<28} {cost.ms:6.0f} ms   {cost.mb:20.0f} MB   {library.info().recall}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sizes", default="10000,100000")
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--keep", type=Path, help="make the libraries here, and use those that are there")
    options = parser.parse_args()
    base = options.keep or Path(tempfile.mkdtemp())
    base.mkdir(parents=True, exist_ok=True)
    try:
        for n in map(int, options.sizes.split(",")):
            path = base / f"{n}.db"
            if not path.exists():
                make(path, n)
            report(path, n, options.runs)
    finally:
        if not options.keep:
            shutil.rmtree(base)


if __name__ == "__main__":
    main()
