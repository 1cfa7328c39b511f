"""A library of which an agent may see the dataset `open`, and nothing of `secret`."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pictures import make_pdf, scene
from program import TAKEN, Given

from pictocli import hub
from pictocli.brain import put_labels
from pictocli.candidates import IndexOptions, Target
from pictocli.indexing import Indexer
from pictocli.protocols import NoProgress
from pictocli.schema import connect
from pictocli.sqlite import SqliteStore
from pictocli.taxonomy import load

__all__ = ["OPEN", "SECRET", "make_hidden"]

OPEN = {
    1: "open/beach.jpg",
    2: "open/crete/car.png",
    3: "open/crete/report.pdf#page=1",
    4: "open/crete/report.pdf#page=2",
}
SECRET = {5: "secret/beach-copy.jpg", 6: "secret/payroll.png"}
"""By image id. The copy has the bytes of open/beach.jpg."""

_METADATA: dict[tuple[str, str, str], Mapping[str, Any]] = {
    ("open", "", "beach.jpg"): {"owner": "ana", "price": 5},
    ("open", "crete", "car.png"): {"owner": "bo", "price": 50},
    ("secret", "", "payroll.png"): {"salary": 100, "owner": "eve"},
}
# The cosine to the first, and tags, in the order of ids; the copy has those of what it is a copy of.
_PAGES: list[tuple[float, dict[str, dict[str, float]]]] = [
    (1.0, {"objects": {}, "scenes": {"beach": 0.97, "outdoor": 0.91}, "attributes": {"sunny": 0.8}}),
    (0.8, {"objects": {"car": 0.98}, "scenes": {"outdoor": 0.7}, "attributes": {"red": 0.83}}),
    (0.3, {"objects": {"book": 0.5}, "scenes": {}, "attributes": {}}),
    (0.2, {"objects": {}, "scenes": {}, "attributes": {}}),
    (0.9, {"objects": {"truck": 0.9, "car": 0.6}, "scenes": {"office": 0.9}, "attributes": {}}),
]


def make_hidden(base: Path) -> Path:
    """Pictures below base/open and base/secret, and the database of both, which is returned."""
    for folder in ("open/crete", "secret"):
        (base / folder).mkdir(parents=True)
    scene(60, 64, 48).save(base / OPEN[1])
    scene(61, 800, 600).save(base / OPEN[2])
    make_pdf(base / "open/crete/report.pdf", [62, 63])
    shutil.copy(base / OPEN[1], base / SECRET[5])
    scene(64, 64, 48).save(base / SECRET[6])
    for path in base.rglob("*.*"):
        os.utime(path, (TAKEN, TAKEN))
    path = base / "picto.db"
    db = connect(str(path), create=True)
    store = SqliteStore(db)
    spec = hub.read_spec(hub.resolve("mini"))  # which embeds words without torch
    store.require_model(spec)
    put_labels(store, load())
    pages = iter(_PAGES)
    for name in ("open", "secret"):
        target = Target(store.add_root(str(base / name), name), str(base / name))
        Indexer(store, spec, Given(pages, spec.dim), IndexOptions(), NoProgress()).run([target])
    roots = {Path(root).name: root_id for root_id, root in store.roots()}
    for (name, folder, file), fields in _METADATA.items():
        folder_id = store.folder_id(roots[name], folder, create=False)
        assert folder_id is not None
        assert store.set_metadata(folder_id, file, fields)
    vector = [0.1, 0.1, math.sqrt(0.98), *[0.0] * (spec.dim - 3)]
    store.keep_text("a red car", np.asarray(vector, "<f4").tobytes(), spec)
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    db.close()
    return path
