"""Libraries as large as a test wants them, of vectors that are given: the rows that indexing would make, in bulk."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import apsw
import numpy as np
from numpy.typing import NDArray

import pictocli
from pictocli.records import ModelSpec
from pictocli.schema import connect, transaction
from pictocli.sqlite import SqliteStore

__all__ = ["add", "clustered", "make", "require_exact_threshold"]


def clustered(
    count: int, dim: int, clusters: int, spread: float | Sequence[float] = 0.5, seed: int = 0
) -> NDArray[np.float32]:
    """Unit vectors as models give them: a mean that all share, and clusters; each is as far out as one of `spread`."""
    chance = np.random.default_rng((dim, seed))
    centres = chance.standard_normal((clusters, dim), "f4") + 0.7 * chance.standard_normal(dim, "f4")
    far = chance.choice(np.atleast_1d(spread), (count, 1)).astype("f4")
    found = centres[chance.integers(0, clusters, count)] + far * chance.standard_normal((count, dim), "f4")
    return found / np.linalg.norm(found, axis=1, keepdims=True)  # type: ignore[no-any-return]


def make(
    path: Path, vectors: NDArray[np.float32], objects: Sequence[Sequence[str]] = (), folders: int = 25
) -> apsw.Connection:
    """A library in which image i + 1 has vector i and those objects, and lies in folder i % folders + 1; no codes."""
    db = connect(str(path), create=True)
    db.execute("PRAGMA synchronous=OFF")
    store = SqliteStore(db)
    store.require_model(ModelSpec("made-up", "0", vectors.shape[1], 224, "bilinear", 64, 112.7, -16.8))
    root = store.add_root("/r", "r")
    for number in range(folders):
        store.folder_id(root, f"f{number:02}")
    add(db, vectors, objects)
    return db


def add(db: apsw.Connection, vectors: NDArray[np.float32], objects: Sequence[Sequence[str]] = ()) -> None:
    """As many images more, with their codes if the library has any."""
    images, folders = (db.execute(f"SELECT ifnull(max(id), 0) FROM {table}").get for table in ("image", "folder"))
    rows = [
        {"i": images + at + 1, "folder": (images + at) % folders + 1, "v": vector.tobytes(), "objects": "{}"}
        for at, vector in enumerate(vectors)
    ]
    for row, named in zip(rows, objects, strict=False):
        row["objects"] = json.dumps(dict.fromkeys(named, 0.9))
    with transaction(db):
        for sql in (
            "INSERT INTO file(id, folder_id, name, kind, pages) VALUES(:i, :folder, :i || '.png', 'png', 1)",
            "INSERT INTO content VALUES(:i, CAST(:i AS BLOB), 0, 0, 1, 1, '{}', 1)",
            "INSERT INTO embedding VALUES(:i, :v)",
            "INSERT INTO image(id, file_id, folder_id, content_id, objects, indexed_at)"
            " VALUES(:i, :i, :folder, :i, :objects, 0)",
            "INSERT INTO code SELECT :folder, :i, vec_quantize_binary(vec_sub(:v, v)) FROM vector WHERE name = 'mean'",
        ):
            db.executemany(sql, rows)


def require_exact_threshold(name: str, vectors: NDArray[np.float32], count: int, limit: int) -> None:
    """Ask a library, in which image i + 1 has vector i, for the `count` nearest to the first by the cosine of the last.

    All must come, in a library whose index leaves out some of them when it is asked for the `limit` nearest.
    """
    cosines = vectors[1:] @ vectors[0]
    wanted = (np.argsort(-cosines)[:count] + 2).tolist()
    with pictocli.open(name) as library:
        nearest = library.similar(1, threshold=0, limit=limit, everywhere=True)
        found = library.similar(1, threshold=float(np.sort(cosines)[-count]), limit=limit, everywhere=True)
    assert nearest.approximate
    assert not set(wanted) <= {image.image_id for image in nearest.results}, "the index would have done"
    assert not found.approximate
    assert sorted(image.image_id for image in found.results) == sorted(wanted)
