"""The tables of a library as Lance keeps them: their Arrow schemas, and rows to and from Arrow.

Every table has the columns that SQLite's has, and `seq`, the number of the commit that wrote the row. Beside them:
a name that is no UTF-8 has its bytes in a column of its own, a vector or picture its digest, an image its labels.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pictocli.errors import DamagedError, StoreError

__all__ = [
    "DIGEST", "GONE", "TABLES", "Row", "Table", "digest_of", "gone_rows", "read_columns", "rows_in", "schema_of",
    "to_arrow", "width_of",
]  # fmt: skip

Row = tuple[Any, ...]

_SEQ = pa.field("seq", pa.int64())
_PLAIN = {"i": pa.int64(), "r": pa.float64(), "t": pa.string(), "b": pa.binary()}
_LABELS = ("objects", "scenes", "attributes")
_KINDS: dict[str, Callable[[str], Any]] = {"integer": int, "real": float, "text": str, "blob": bytes.fromhex}
DIGEST = 16  # bytes; they stand for a vector or picture in the working copy


@dataclass(frozen=True, slots=True)
class Table:
    """A table: its columns as (name, kind), in SQLite's order, the columns of its key, and that of its large bytes.

    Kinds: i whole number, r number, t text, b bytes, n the name of a file, a any value, f vector, p picture.
    """

    name: str
    columns: tuple[tuple[str, str], ...]
    key: tuple[str, ...]
    large: str | None

    def key_of(self, row: Sequence[Any]) -> Row:
        """The key of a row."""
        return tuple(value for (name, _), value in zip(self.columns, row, strict=True) if name in self.key)


def _table(name: str, columns: str, keys: int = 1) -> Table:
    parts = [column.split(":") for column in columns.split()]
    large = next((column for column, kind in parts if kind in "fp"), None)
    return Table(name, tuple((column, kind) for column, kind in parts), tuple(c for c, _ in parts[:keys]), large)


TABLES = {
    table.name: table
    for table in (
        _table("meta", "key:t value:a"),
        _table("vector", "name:t v:b"),
        _table("text_embedding", "text:t v:b"),
        _table("dataset", "id:i name:n"),
        _table("root", "id:i dataset_id:i path:n"),
        _table("folder", "id:i root_id:i path:n images:i"),
        _table("file", "id:i folder_id:i name:n kind:t size:i mtime_ns:i hash:b pages:i dpi:i reason:t"),
        _table("content", "id:i hash:b page:i dpi:i width:i height:i measures:t processing_time_ms:r"),
        _table("embedding", "content_id:i v:f"),
        _table("staged", "content_id:i v:f"),
        _table("thumbnail", "content_id:i jpeg:p"),
        _table("image", "id:i file_id:i folder_id:i page:i content_id:i objects:t scenes:t attributes:t metadata:t"
               " thumbnail_url:t indexed_at:i"),
        _table("tag", "id:i category:i name:t phrase:t n:i"),
        _table("tag_alias", "category:i alias:t tag_id:i", 2),
        _table("capture", "content_id:i taken_at:i camera:t latitude:r longitude:r"),
        _table("page_range", "file_id:i pages:t"),
        _table("validator", "file_id:i etag:t"),
        _table("input", "content_id:i digest:b"),
        _table("fingerprint", "content_id:i v:p"),
    )
}  # fmt: skip
"""Every table but those that follow from others: image_tag, from the labels of images, and code, from embeddings."""

GONE = pa.schema([pa.field("table", pa.string()), pa.field("key", pa.string()), _SEQ])
"""What was removed: a table's name, the key as a list in JSON, null for all that there was, and the commit's number."""


def digest_of(content: bytes) -> bytes:
    """What stands for large bytes in the working copy, 16 bytes."""
    return hashlib.blake2b(content, digest_size=DIGEST).digest()


def schema_of(table: Table, width: int | None = None) -> pa.Schema:
    """The Arrow schema of a table. width: numbers in a vector, None where they are unknown or there is none."""
    fields = []
    for name, kind in table.columns:
        if kind == "n":
            fields += [pa.field(name, pa.string()), pa.field(f"{name}_bytes", pa.binary())]
        elif kind == "a":
            fields += [pa.field(name, pa.string()), pa.field(f"{name}_type", pa.string())]
        elif kind in "fp":
            large = pa.list_(pa.float32(), -1 if width is None else width) if kind == "f" else pa.binary()
            fields += [pa.field(name, large), pa.field("bytes_digest", pa.binary(DIGEST))]
        else:
            fields.append(pa.field(name, _PLAIN[kind]))
    if table.name == "image":
        fields += [pa.field(f"{name}_labels", pa.list_(pa.string())) for name in _LABELS]
    return pa.schema([*fields, _SEQ])


def width_of(schema: pa.Schema) -> int | None:
    """How many numbers the vectors of a stored table have; None where it holds none."""
    kind = schema.field("v").type if "v" in schema.names else None
    return int(kind.list_size) if kind is not None and pa.types.is_fixed_size_list(kind) else None


def to_arrow(table: Table, rows: Sequence[Row], seq: int, large: Callable[[Any, bytes], bytes]) -> pa.RecordBatch:
    """Rows of the working copy as Arrow. large: the bytes that a digest stands for, of the row with a key."""
    columns: dict[str, pa.Array] = {}
    for at, (name, kind) in enumerate(table.columns):
        values = [row[at] for row in rows]
        if kind == "n":
            columns[name] = pa.array([_text(value) for value in values], pa.string())
            columns[f"{name}_bytes"] = pa.array([v if isinstance(v, bytes) else None for v in values], pa.binary())
        elif kind == "a":
            typed = [_typed(value) for value in values]
            columns[name] = pa.array([text for text, _ in typed], pa.string())
            columns[f"{name}_type"] = pa.array([what for _, what in typed], pa.string())
        elif kind in "fp":
            found = [large(row[0], value) for row, value in zip(rows, values, strict=True)]
            columns[name] = _vectors(found) if kind == "f" else pa.array(found, pa.binary())
            columns["bytes_digest"] = pa.array(values, pa.binary(DIGEST))
        else:
            columns[name] = pa.array(values, _PLAIN[kind])
        if table.name == "image" and name in _LABELS:
            columns[f"{name}_labels"] = pa.array([list(json.loads(text)) for text in values], pa.list_(pa.string()))
    columns["seq"] = pa.array([seq] * len(rows), pa.int64())
    return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))


def rows_in(table: Table, batches: Iterable[pa.RecordBatch]) -> Iterator[list[Row]]:
    """Rows as the working copy holds them, batch by batch; digests stand for vectors and pictures."""
    for batch in batches:
        columns: list[list[Any]] = []
        for name, kind in table.columns:
            found = _values(table, batch, "bytes_digest" if kind in "fp" else name)
            if kind == "n":
                beside = _values(table, batch, f"{name}_bytes")
                found = [text if raw is None else raw for text, raw in zip(found, beside, strict=True)]
            elif kind == "a":
                beside = _values(table, batch, f"{name}_type")
                found = [_untyped(text, what) for text, what in zip(found, beside, strict=True)]
            columns.append(found)
        yield list(zip(*columns, strict=True))


def read_columns(table: Table) -> list[str]:
    """The columns that `rows_in` wants of a table."""
    names: list[str] = []
    for name, kind in table.columns:
        beside = {
            "n": [name, f"{name}_bytes"],
            "a": [name, f"{name}_type"],
            "f": ["bytes_digest"],
            "p": ["bytes_digest"],
        }
        names += beside.get(kind, [name])
    return names


def gone_rows(removed: Sequence[tuple[str, Row | None]], seq: int) -> pa.RecordBatch:
    """What a commit removed, (table, key) each; no key stands for every row that the table had."""
    names = [name for name, _ in removed]
    keys = [None if key is None else json.dumps(key) for _, key in removed]
    return pa.RecordBatch.from_arrays(
        [pa.array(names, pa.string()), pa.array(keys, pa.string()), pa.array([seq] * len(removed), pa.int64())],
        schema=GONE,
    )


def _values(table: Table, batch: pa.RecordBatch, name: str) -> list[Any]:
    if name not in batch.schema.names:
        raise DamagedError(f"the library is damaged: its table {table.name} has no column {name}")
    found: list[Any] = batch.column(name).to_pylist()
    return found


def _text(value: Any) -> str | None:
    """A name as other programs may read it."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _typed(value: Any) -> tuple[str | None, str | None]:
    """Any value as a text, and what it is, as SQLite says."""
    if value is None:
        return None, None
    if isinstance(value, bytes):
        return value.hex(), "blob"
    if isinstance(value, str):
        return value, "text"
    return repr(value), "real" if isinstance(value, float) else "integer"


def _untyped(text: str | None, what: str | None) -> Any:
    if text is None:
        return None
    if what not in _KINDS:
        raise DamagedError(f"the library is damaged: it holds a value of the kind {what}")
    return _KINDS[what](text)


def _vectors(found: Sequence[bytes]) -> pa.Array:
    """Little-endian float32 vectors of one width, bit by bit."""
    sizes = {len(vector) for vector in found}
    if len(sizes) != 1 or next(iter(sizes)) % 4:
        raise StoreError("the vectors to store differ in their width", "one library holds one model's vectors")
    numbers = pa.Array.from_buffers(pa.float32(), sum(map(len, found)) // 4, [None, pa.py_buffer(b"".join(found))])
    return pa.FixedSizeListArray.from_arrays(numbers, next(iter(sizes)) // 4)
