"""How long `picto retag` takes over a library of N images, and how much of that is tagging.

    python tests/benchmarks/retag.py [N]

The library is made up: random unit embeddings of mini's 256 numbers, random measures. Every image's tags change.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import pictocli
from pictocli import hub
from pictocli.brain import Model, put_labels, tag_rows
from pictocli.protocols import NoProgress
from pictocli.records import ModelSpec
from pictocli.rules import METRICS
from pictocli.schema import connect, transaction
from pictocli.sqlite import SqliteStore
from pictocli.taxonomy import load


def made_up(path: Path, n: int) -> None:
    """A library of n images of mini's, without tags."""
    files = hub.resolve("mini")
    spec = hub.read_spec(files)
    store = SqliteStore(connect(str(path), create=True))
    store.require_model(spec)
    put_labels(store, load())
    Model(spec, "cpu", NoProgress(), files).prompts(store, load())
    fill(store, spec, n)
    store.db.close()


def fill(store: SqliteStore, spec: ModelSpec, n: int) -> None:
    """Write n images of random embeddings and measures."""
    root = store.add_root("/made-up", "made-up")
    folder = store.folder_id(root, "")
    rng = np.random.default_rng(0)
    with transaction(store.db):
        for start in range(0, n, 1000):
            vectors = rng.normal(size=(min(1000, n - start), spec.dim)).astype("<f4")
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            measures = rng.random((len(vectors), len(METRICS)))
            for at, (vector, values) in enumerate(zip(vectors, measures, strict=True), start + 1):
                said = json.dumps(dict(zip(METRICS, values.round(4).tolist(), strict=True)))
                key = at.to_bytes(32, "big")
                store.db.execute("INSERT INTO content VALUES(?, ?, 0, 0, 640, 480, ?, 1.0)", (at, key, said))
                store.db.execute("INSERT INTO embedding VALUES(?, ?)", (at, vector.tobytes()))
                store.db.execute(
                    "INSERT INTO file(id, folder_id, name, kind, pages) VALUES(?, ?, ?, 'jpeg', 1)",
                    (at, folder, f"{at}.jpg"),
                )
                store.db.execute(
                    "INSERT INTO image(id, file_id, folder_id, content_id, indexed_at) VALUES(?1, ?1, ?2, ?1, 0)",
                    (at, folder),
                )


def main() -> None:
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "made-up.db"
        made_up(path, n)
        with pictocli.open(path) as library:
            report = library.retag()
            again = library.retag()
        db = connect(str(path))
        store = SqliteStore(db)
        spec = store.spec()
        assert spec is not None
        tag = tag_rows(Model(spec, "cpu", NoProgress()).tagger(store, load())[0])
        rows = db.execute(
            "SELECT e.v, c.measures FROM content c JOIN embedding e ON e.content_id = c.id LIMIT 10000"
        ).fetchall()
        started = time.perf_counter()
        for start in range(0, len(rows), 2048):
            tag(rows[start : start + 2048])
        alone = (time.perf_counter() - started) * n / len(rows)
        db.close()
    print(f"{n:,} images, {report.changed:,} changed: {report.seconds:.1f} s; of that tagging {alone:.1f} s")
    print(f"again, {again.changed:,} changed: {again.seconds:.1f} s")


if __name__ == "__main__":
    main()
