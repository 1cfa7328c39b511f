"""Which rows of a database hold what picto never writes: values that SQL alone cannot judge."""

from __future__ import annotations

from itertools import islice
from typing import Any

import numpy as np

from pictocli import stored
from pictocli.catalog import Catalog
from pictocli.errors import DamagedError, PictoError
from pictocli.protocols import Database
from pictocli.records import CATEGORIES
from pictocli.taxonomy import parse

__all__ = ["bad_json", "bad_named_vectors", "bad_texts", "bad_vectors", "is_right", "mean_of", "width"]

_BLOCK = 4096
_LONGEST = 2**26  # bytes of a taxonomy's vectors: those of 600 labels take 3 MB


def bad_json(db: Database, table: str, column: str) -> list[int]:
    """Ids of the rows whose JSON is not what picto writes: an object; of scores; of finite numbers (measures)."""
    bad = []
    rows = db.execute(
        f"SELECT id, typeof({column}), length({column}), CAST({column} AS BLOB) FROM {table} WHERE {column} IS NOT NULL"
    )
    for key, kind, length, raw in rows:
        try:
            text = raw.decode() if kind == "text" else None
            found = stored.scores(text, column) if column in CATEGORIES else stored.fields_of(text, column)
            right = column != "measures" or all(map(stored.is_number, found.values()))
        except (DamagedError, UnicodeDecodeError):
            right = False
        if not right or length is None:
            bad.append(key)
    return bad


def bad_texts(db: Database, table: str, column: str) -> list[bytes]:
    """The texts of a column that are no UTF-8, a row each."""
    bad = []
    for (raw,) in db.execute(f"SELECT CAST({column} AS BLOB) FROM {table} WHERE typeof({column}) = 'text'"):
        try:
            raw.decode()
        except UnicodeDecodeError:
            bad.append(raw)
    return bad


def is_right(db: Database, key: str) -> bool:
    """Whether an entry of `meta` is what picto writes. One that is not there is, but for the model's of embeddings."""
    catalog = Catalog(db)
    try:
        value = catalog.meta(key)
        if value is None:
            held = key == "model" and db.execute("SELECT 1 FROM embedding").get
            return not held
        if key in ("model", "staged_model"):
            stored.model(value)
        elif key == "pairs":
            stored.pairs(value)
        elif key == "recall":
            stored.recall(value)
        elif key == "index_fields":
            stored.names(value)
        elif key == "own_taxonomy":
            parse(value.encode(), "kept in the library")
        return isinstance(value, str)
    except (PictoError, AttributeError, UnicodeError):
        return False


def width(db: Database, key: str = "model") -> int | None:
    """The width of the embeddings; None when that is not known."""
    spec = Catalog(db).spec(key) if is_right(db, key) else None
    return spec.dim if spec else None


def bad_vectors(db: Database, table: str, dim: int | None) -> list[int]:
    """Row ids of `embedding`, `staged` or `text_embedding` that hold no finite vector of unit length (1e-3)."""
    if dim is None:
        return []
    size = 4 * dim
    wrong = f"SELECT rowid FROM {table} WHERE typeof(v) <> 'blob' OR length(v) <> ?"
    bad = [row for (row,) in db.execute(wrong, (size,))]
    rows = db.execute(f"SELECT rowid, v FROM {table} WHERE typeof(v) = 'blob' AND length(v) = ?", (size,))
    while block := list(islice(rows, _BLOCK)):
        vectors = np.frombuffer(b"".join(vector for _, vector in block), "<f4").reshape(len(block), dim)
        with np.errstate(all="ignore"):
            far = ~(np.abs(np.linalg.norm(vectors.astype(np.float64), axis=1) - 1) <= 1e-3)  # NaN is not near, either
        bad += [block[at][0] for at in np.flatnonzero(far)]
    return sorted(bad)


def bad_named_vectors(db: Database) -> list[str]:
    """Names in `vector` whose blob is no array of finite numbers; of its model's width, where it is the library's."""
    spec, bad = Catalog(db).spec() if is_right(db, "model") else None, []
    rows: list[Any] = db.execute("SELECT rowid, name, typeof(v), length(v) FROM vector").fetchall()
    for row_id, name, kind, size in rows:
        ours = spec is not None and (name == "mean" or f" {spec.id} {spec.revision} " in str(name))
        row = 4 * spec.dim if spec is not None and ours else 4
        right = kind == "blob" and 0 < size <= _LONGEST and size % row == 0 and (name != "mean" or size == row)
        if right:
            values = np.frombuffer(db.execute("SELECT v FROM vector WHERE rowid = ?", (row_id,)).get, "<f4")
            right = bool(np.isfinite(values).all()) and bool(np.abs(values).max() <= 1.001)
        if not right:
            bad.append(str(name))
    return bad


def mean_of(db: Database) -> bytes | None:
    """What codes are centred on, if it can be."""
    mean, dim = Catalog(db).vector("mean"), width(db)
    return mean if isinstance(mean, bytes) and dim and len(mean) == 4 * dim else None
