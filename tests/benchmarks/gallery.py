"""What a page of `picto browse` costs: a server that really runs, asked by HTTP over one connection; medians.

    python tests/benchmarks/gallery.py [--sizes 100000] [--runs 9] [--keep FOLDER]

Libraries are made up: clustered unit embeddings as wide as mini's, 2,000 nested folders in 5 datasets, twenty years of
dates, about eight tags an image, which are as common as real ones, sizes of phones and cameras. A hundred of the images
are real files, so that thumbnails are made. "first" is the time to the first byte of the first page of a process that
has just said where it is; "opened" the time until it says so; "warm" the median of later ones.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import quote, urlsplit

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from libraries import clustered
from pictures import scene

from pictocli import hub
from pictocli.brain import put_labels
from pictocli.schema import connect, transaction
from pictocli.sqlite import SqliteStore
from pictocli.taxonomy import load

DATASETS = ("phone", "camera", "scans", "work", "old")
SIZES = ((4032, 3024), (3024, 4032), (6000, 4000), (1080, 1920), (2048, 2048))
FILES = 100


def make(path: Path, n: int) -> None:
    """A library of n images, of which the newest FILES are there as files."""
    chance = np.random.default_rng(5)
    store = SqliteStore(connect(str(path), create=True))
    db, spec, taxonomy = store.db, hub.read_spec(hub.resolve("mini")), load()
    store.require_model(spec)
    put_labels(store, taxonomy)
    home = path.with_suffix(".files")
    roots = [store.add_root(str(home / name), name) for name in DATASETS]
    folders = [
        (at % 5, f"{2005 + at // 5 % 20}/{at:04}", store.folder_id(roots[at % 5], f"{2005 + at // 5 % 20}/{at:04}"))
        for at in range(2000)
    ]
    names = {
        category: [label.id for label in taxonomy.of(category)] for category in ("objects", "scenes", "attributes")
    }
    triggers = db.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'").fetchall()
    for name, _ in triggers:
        db.execute(f"DROP TRIGGER {name}")
    ids = {(category, name): i for i, category, name in db.execute("SELECT id, category, name FROM tag")}
    vectors, at = clustered(n, spec.dim, 2000, 0.6), 0
    with transaction(db):
        for at, vector in enumerate(vectors, 1):
            dataset, folder, folder_id = folders[int(chance.integers(0, 2000))]
            taken = int(chance.integers(1_104_537_600, 1_735_689_600)) if at <= n - FILES else 1_735_700_000 + at
            wide, high = SIZES[at % 5]
            tags = {}
            for number, (category, most) in enumerate((("objects", 4), ("scenes", 3), ("attributes", 4))):
                some = {
                    names[category][min(int(chance.exponential(12)), len(names[category]) - 1)] for _ in range(most)
                }
                tags[category] = {name: round(float(chance.uniform(0.5, 1)), 3) for name in some}
                db.executemany(
                    "INSERT INTO image_tag VALUES(?, ?, ?)",
                    [(ids[number, k], at, v) for k, v in tags[category].items()],
                )
            db.execute(
                "INSERT INTO content VALUES(?, ?, 0, 0, ?, ?, '{}', 1)", (at, at.to_bytes(32, "big"), wide, high)
            )
            db.execute("INSERT INTO embedding VALUES(?, ?)", (at, vector.tobytes()))
            if at % 3 or at > n - FILES:
                db.execute("INSERT INTO capture(content_id, taken_at) VALUES(?, ?)", (at, taken))
            db.execute(
                "INSERT INTO file(id, folder_id, name, kind, size, mtime_ns, pages)"
                " VALUES(?, ?, ?, 'jpeg', 3000000, ?, 1)",
                (at, folder_id, f"IMG_{at:06}.jpg", taken * 1_000_000_000),
            )
            db.execute(
                "INSERT INTO image(id, file_id, folder_id, content_id, objects, scenes, attributes, indexed_at)"
                " VALUES(?1, ?1, ?2, ?1, ?3, ?4, ?5, 0)",
                (at, folder_id, *map(json.dumps, tags.values())),
            )
            if at > n - FILES:
                file = home / DATASETS[dataset] / folder / f"IMG_{at:06}.jpg"
                file.parent.mkdir(parents=True, exist_ok=True)
                scene(at, wide // 2, high // 2).save(file, quality=90)
    with transaction(db):
        db.execute("UPDATE tag SET n = (SELECT count(*) FROM image_tag t WHERE t.tag_id = tag.id)")
        db.execute("UPDATE folder SET images = (SELECT count(*) FROM image i WHERE i.folder_id = folder.id)")
        for _, statement in triggers:
            db.execute(statement)
    store.build_codes()
    store.measure_pairs()
    db.execute("PRAGMA optimize")
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    db.close()


class Server:
    """`picto browse` on one library. opened: seconds until it said where it is."""

    def __init__(self, path: Path) -> None:
        env = {**os.environ, "OMP_NUM_THREADS": "1"}
        command = [
            sys.executable,
            "-c",
            "from pictocli.cli import main; main()",
            "--db",
            str(path),
            "browse",
            "--no-open",
        ]
        started = time.perf_counter()
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env, text=True)
        assert self.process.stdout is not None
        parts = urlsplit(self.process.stdout.readline().strip())
        self.opened = time.perf_counter() - started
        self.line = http.client.HTTPConnection(parts.netloc, timeout=60)
        self.line.request("GET", f"/?{parts.query}")
        answer = self.line.getresponse()
        answer.read()
        self.cookie = answer.headers["set-cookie"].partition(";")[0]

    def ask(self, path: str) -> tuple[float, float, bytes]:
        """Milliseconds to the first byte and to the last, and what came."""
        started = time.perf_counter()
        self.line.request("GET", path, headers={"cookie": self.cookie})
        answer = self.line.getresponse()
        first = time.perf_counter()
        body = answer.read()
        assert answer.status == 200, (path, answer.status, body[:500])
        return (first - started) * 1000, (time.perf_counter() - started) * 1000, body

    def end(self) -> None:
        self.process.terminate()
        self.process.wait()


def report(path: Path, n: int, runs: int) -> None:
    """Measure and print one library."""
    firsts, opened = [], []
    for _ in range(3):
        server = Server(path)
        opened.append(server.opened)
        firsts.append(server.ask("/")[1])
        server.end()
    print(f"{n:,} images; opened {statistics.median(opened):.1f} s; first page {statistics.median(firsts):.0f} ms")
    server = Server(path)
    while b"ready" not in server.ask("/status")[2]:
        time.sleep(0.2)
    server.ask("/facets")
    asked = {
        "/": "/", "the next 100": None, "the 50,000th image": None, "facets": "/facets",
        "tags and a year": "/?objects=car&objects=person&scenes=outdoor&after=2019&before=2020",
        "their facets": "/facets?objects=car&objects=person&scenes=outdoor&after=2019&before=2020",
        "a folder": "/?dataset=phone&folder=2012", "one image": f"/image/{n // 2}", "one page's search": None,
        "more like this": None, "its facets": None, "a thumbnail, 480 px": None,
    }  # fmt: skip
    for name, address in asked.items():
        costs = [server.ask(address or varied(server, name, n, at)) for at in range(runs)]
        first, last = (statistics.median(each[at] for each in costs) for at in (0, 1))
        print(f"  {name:<24} first byte {first:6.0f} ms   all {last:6.0f} ms   {len(costs[-1][2]) / 1000:5.0f} kB")
    server.end()


def varied(server: Server, name: str, n: int, at: int) -> str:
    """Addresses that are another one each time, so that no answer is kept."""
    words = (
        "a red car",
        "two dogs",
        "the sea",
        "a birthday cake",
        "snow",
        "an old letter",
        "a crowd",
        "night",
        "a child",
    )
    return {
        "the next 100": f"/page?at={1_735_600_000 - 1000 * at}.1",
        "the 50,000th image": f"/page?at={1_420_000_000 - 1000 * at}.1",
        "one page's search": f"/?q={quote(words[at % len(words)])}%20{at}",
        "more like this": f"/?like={n // 2 + at}&threshold=0.3",
        "its facets": f"/facets?like={n // 2 + at}&threshold=0.3&objects=person",
        "a thumbnail, 480 px": f"/thumbnail/{n - at}?w=480",
    }[name]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sizes", default="100000")
    parser.add_argument("--runs", type=int, default=9)
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
