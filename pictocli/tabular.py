"""Reads the rows of a Parquet file as JSON has them, by pyarrow, which the extra `parquet` brings."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from pictocli.errors import NotFoundError, PictoError, ValidationError

__all__ = ["rows"]

_BATCH = 1024  # rows held at once


def rows(path: str | Path) -> Iterator[dict[str, Any]]:
    """The rows of a Parquet file, as JSON has them.

    Structs and maps become objects; dates and times ISO 8601, to the microsecond; decimals numbers; durations seconds;
    bytes a text, in base64 where they are no UTF-8; NaN null. Raises NotFoundError, ValidationError for a file that
    cannot be read or holds an infinite number, PictoError without pyarrow.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as exc:
        raise PictoError(f"{path} cannot be read without pyarrow", "pip install 'pictocli[parquet]'") from exc
    number = 0
    try:
        with pq.ParquetFile(path) as file:
            if twice := next(
                (name for name in file.schema_arrow.names if file.schema_arrow.names.count(name) > 1), None
            ):
                raise ValidationError(f"{path} has two columns {twice}", "give each column a name of its own")
            schema = pa.schema([(each.name, _coarse(each.type)) for each in file.schema_arrow])
            for batch in file.iter_batches(batch_size=_BATCH):
                for row in pa.Table.from_batches([batch]).cast(schema, safe=False).to_pylist():
                    number += 1
                    yield {key: _plain(value) for key, value in row.items()}
    except FileNotFoundError as exc:
        raise NotFoundError(f"no such file: {path}") from exc
    except (OSError, pa.ArrowException, UnicodeDecodeError) as exc:
        said = " ".join(str(exc).split()).partition(". ")[0].rstrip(".")
        raise ValidationError(f"cannot read {path}: {said}", "it may be no Parquet, or damaged") from exc
    except OverflowError as exc:
        raise ValidationError(f"{path}, row {number}: {exc}") from exc


def _coarse(kind: Any) -> Any:
    """A type without nanoseconds, which Python's own times do not have."""
    import pyarrow as pa

    if pa.types.is_timestamp(kind) and kind.unit == "ns":
        return pa.timestamp("us", kind.tz)
    if pa.types.is_time64(kind):
        return pa.time64("us")
    if pa.types.is_duration(kind) and kind.unit == "ns":
        return pa.duration("us")
    if pa.types.is_dictionary(kind):
        return _coarse(kind.value_type)
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(each.name, _coarse(each.type), each.nullable) for each in kind])
    if pa.types.is_list(kind):
        return pa.list_(kind.value_field.with_type(_coarse(kind.value_type)))
    return kind


def _plain(value: Any) -> Any:
    """A value as JSON has it. OverflowError for an infinite number."""
    if isinstance(value, float | Decimal):
        if not math.isfinite(value):
            if math.isnan(value):  # pandas writes it for what is missing
                return None
            raise OverflowError("an infinite number is none of JSON's; write null")
        return int(value) if isinstance(value, Decimal) and value == value.to_integral_value() else float(value)
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return base64.b64encode(value).decode()
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list):
        if value and all(isinstance(each, tuple) and len(each) == 2 for each in value):  # a map
            return {str(_plain(key)): _plain(each) for key, each in value}
        return [_plain(each) for each in value]
    return value if value is None or isinstance(value, str | int | bool) else str(value)
