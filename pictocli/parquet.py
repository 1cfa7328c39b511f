"""Parquet files: what is written for other programs, and vectors that others made. The only importer of pyarrow."""

from __future__ import annotations

import json
import os
import re
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, BinaryIO

from pictocli.errors import NotFoundError, PictoError, ValidationError
from pictocli.records import CATEGORIES, Exported

__all__ = ["Vectors", "write"]

_GROUP = 4096  # rows that are held, and written, at a time: 13 MB of embeddings at 768 numbers
_MARK = b"picto"  # the key of what a file says of itself
_PATHS = ("path", "image_path", "file", "filepath", "filename")  # how others name the columns, in order of preference
_VECTORS = ("embedding", "vector", "image_embedding", "embeddings")


def _pyarrow() -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as exc:
        raise PictoError("Parquet needs the package pyarrow", "pip install 'pictocli[parquet]'") from exc
    return pyarrow


# -- writing -----------------------------------------------------------------------------------------------------------


def write(rows: Iterable[Exported], out: BinaryIO, *, dim: int | None, model: str | None) -> None:
    """Write rows as Parquet, _GROUP of them at a time, to a file or a pipe.

    A column a field of records.Exported: timestamps in ms and UTC; of each category its labels as a list of strings,
    and their scores, in the same order, as a list of float32 (objects, objects_scores, …): Lance has no maps; metadata
    and measures as JSON; path_bytes for a path that is no UTF-8. dim: with embeddings, as fixed-size lists of so many
    float32, null for an image without; None leaves them out. model: what `Vectors.model` of this file will be.
    """
    pa = _pyarrow()
    schema = _schema(pa, dim).with_metadata({_MARK: model or ""})
    writer = pa.parquet.ParquetWriter(out, schema, compression="zstd", use_dictionary=["dataset", "folder", "kind"])
    try:
        for group in _grouped(rows):
            writer.write_batch(_batch(pa, schema, group, dim))
    finally:
        writer.close()


def _schema(pa: Any, dim: int | None) -> Any:
    text, words, numbers, when = pa.string(), pa.list_(pa.string()), pa.list_(pa.float32()), pa.timestamp("ms", "UTC")
    fields = [
        ("image_id", pa.int64()), ("path", text), ("path_bytes", pa.binary()), ("filename", text), ("dataset", text),
        ("folder", text), ("page", pa.int32()), ("width", pa.int32()), ("height", pa.int32()), ("kind", text),
        ("size", pa.int64()), ("modified", when), ("indexed_at", when), ("content_hash", text),
        *((f"{category}{end}", each) for category in CATEGORIES for end, each in (("", words), ("_scores", numbers))),
        ("metadata", text), ("measures", text), ("thumbnail_url", text), ("processing_time_ms", pa.float64()),
    ]  # fmt: skip
    return pa.schema(fields + ([("embedding", pa.list_(pa.float32(), dim))] if dim else []))


def _grouped(rows: Iterable[Exported]) -> Iterator[list[tuple[dict[str, Any], bytes | None]]]:
    """Each row's cells, and its embedding as float32 bytes: as numbers of Python it would take eight times as much."""
    group = []
    for row in rows:
        group.append((_cells(row), None if row.embedding is None else array("f", row.embedding).tobytes()))
        if len(group) == _GROUP:
            yield group
            group = []
    if group:
        yield group


def _cells(row: Exported) -> dict[str, Any]:
    found = {name: getattr(row, name) for name in (
        "image_id", "page", "width", "height", "kind", "size", "content_hash", "processing_time_ms"
    )}  # fmt: skip
    found |= {name: _text(getattr(row, name)) for name in ("path", "filename", "dataset", "folder", "thumbnail_url")}
    found["path_bytes"] = os.fsencode(row.path) if found["path"] != row.path else None
    found |= {name: datetime.fromisoformat(getattr(row, name)) for name in ("modified", "indexed_at")}
    for category in CATEGORIES:
        found[category] = [_text(label) for label in row.scores[category]]
        found[f"{category}_scores"] = list(row.scores[category].values())
    found["metadata"] = None if row.metadata is None else json.dumps(row.metadata)
    found["measures"] = json.dumps(row.measures)
    return found


def _text(value: str | None) -> str | None:
    """Text as UTF-8 has it: bytes of a name that are none are replaced."""
    return None if value is None else re.sub("[\ud800-\udfff]", "\ufffd", value)


def _batch(pa: Any, schema: Any, group: Sequence[tuple[dict[str, Any], bytes | None]], dim: int | None) -> Any:
    columns = [
        pa.array([cells[field.name] for cells, _ in group], field.type) for field in schema if field.name != "embedding"
    ]
    if dim:
        empty = bytes(4 * dim)
        values = pa.py_buffer(b"".join(vector or empty for _, vector in group))
        floats = pa.Array.from_buffers(pa.float32(), len(group) * dim, [None, values])
        missing = pa.array([vector is None for _, vector in group])
        columns.append(pa.FixedSizeListArray.from_arrays(floats, dim, mask=missing))
    return pa.record_batch(columns, schema=schema)


# -- reading vectors ---------------------------------------------------------------------------------------------------


class Vectors:
    """A Parquet file of paths and vectors. model: as `write` was given it, "" where others made the file."""

    def __init__(self, path: str, path_column: str | None = None, vector_column: str | None = None) -> None:
        """Open a file and find its columns: by these names, else by usual ones.

        Raises NotFoundError when it does not exist, ValidationError when it is not such a file.
        """
        self.path, self._pa = path, _pyarrow()
        try:
            self._file = self._pa.parquet.ParquetFile(path)
        except FileNotFoundError as exc:
            raise NotFoundError(f"no such file: {path}") from exc
        except (OSError, self._pa.ArrowException) as exc:
            raise ValidationError(
                f"{path} is not a Parquet file that can be read", "picto import FILE.parquet"
            ) from exc
        names = self._file.schema_arrow.names
        self._path = self._column(path_column, _PATHS, "--path-column", names)
        self._vector = self._column(vector_column, _VECTORS, "--vector-column", names)
        marked = self._file.schema_arrow.metadata or {}
        self.model = marked.get(_MARK, b"").decode("utf-8", "replace")
        ours = (
            ("path_bytes", "dataset", "folder", "filename", "metadata")
            if _MARK in marked and self._path == "path"
            else ()
        )
        self._more = [name for name in ours if name in names and name not in (self._path, self._vector)]
        self.rows: int = self._file.metadata.num_rows

    def _column(self, named: str | None, usual: Sequence[str], option: str, names: Sequence[str]) -> str:
        found = [name for name in ((named,) if named else usual) if name in names]
        if not found:
            what = f"no column {named}" if named else f"none of the columns {', '.join(usual)}"
            there = ", ".join(names[:20]) or "none"
            raise ValidationError(f"{self.path} has {what}; its columns are {there}", f"name one with {option}")
        return found[0]

    def batches(self, dim: int) -> Iterator[tuple[list[Mapping[str, Any]], Any]]:
        """Rows as ({"path": …, and in picto's files path_bytes, dataset, folder, filename, metadata}, their vectors).

        The vectors are float32 [n, dim]; those that are null, or hold a null, are NaN. Raises ValidationError when they
        are not of `dim` numbers.
        """
        wanted = [self._path, self._vector, *self._more]
        try:
            for batch in self._file.iter_batches(batch_size=_GROUP, columns=wanted):
                rows = batch.select([self._path, *self._more]).to_pylist()
                yield (
                    [{**row, "path": row[self._path]} for row in rows],
                    self._numbers(batch.column(self._vector), dim),
                )
        except (OSError, self._pa.ArrowException) as exc:
            raise ValidationError(f"{self.path} is damaged: {' '.join(str(exc).split())[:200]}") from exc

    def _numbers(self, column: Any, dim: int) -> Any:
        import numpy as np

        pa = self._pa
        kind = column.type
        lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
        if not any(is_list(kind) for is_list in lists) or not (
            pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type)
        ):
            raise ValidationError(
                f"column {self._vector} of {self.path} holds {kind}, not vectors", "name another with --vector-column"
            )
        found = np.full((len(column), dim), np.nan, "<f4")
        for at, row in enumerate(column):  # lists that differ in length have no other common form
            if row.is_valid:
                values = row.values.to_numpy(zero_copy_only=False)
                if len(values) != dim:
                    raise ValidationError(
                        f"{self.path} holds vectors of {len(values)} numbers, and the model's have {dim}",
                        "name the model that made them with --model",
                    )
                found[at] = values
        return found
