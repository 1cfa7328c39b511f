"""Reads a CSV, JSONL or Parquet file whose columns are passed through to results."""

from __future__ import annotations

import csv
import json
import math
import os
import unicodedata
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from pictocli.errors import NotFoundError, ValidationError

__all__ = ["KEYS", "TABLES", "Metadata", "rows"]

KEYS = ("path", "filename", "url")
"""Columns that say which image a row is about; the first of them that has a value does."""

_LONGEST = 2**20  # characters of a row: as JSON in ASCII, twelve times as many at most
_TOO_LONG = f"longer than {_LONGEST:,} characters"
_PARQUET = (".parquet", ".pq")
TABLES = (".csv", ".jsonl", ".ndjson", *_PARQUET)  # suffixes of what has columns
_DEEPEST = 100  # lists and objects in each other; Python reads and writes them by recursion, some 300 deep
_TOO_DEEP = f"lists and objects lie more than {_DEEPEST} deep in each other"


class Metadata:
    """Rows joined to images on `path` (absolute, or relative to the root or to the metadata file), else on `filename`,
    else on `url`, the path of a remote image. Of several rows for one the last holds.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Read the file at `path`. Raises NotFoundError or ValidationError, naming the line."""
        self._folder = Path(path).absolute().parent
        self._rows: dict[str, dict[str, Mapping[str, Any]]] = {key: {} for key in KEYS}
        self._matched: set[int] = set()
        self.rows = 0
        for row in rows(Path(path), KEYS):
            self.rows += 1
            key = next((key for key in KEYS if row.get(key)), None)
            if key is None:
                raise ValidationError(f"{path}: a row has no path, filename or url", "name one of the columns so")
            others = ("path", "filename", key)
            name = str(row[key]) if key == "url" else _key(str(row[key]))
            self._rows[key][name] = {field: value for field, value in row.items() if field not in others}

    def of(self, root: str, path: str) -> Mapping[str, Any] | None:
        """The fields for the file at the full path `path` below `root`, or None."""
        if "://" in path and path in self._rows["url"] and _key(path) not in self._rows["path"]:
            return self._take(self._rows["url"][path])
        full = Path(path)
        keys = [path, *(str(full.relative_to(base)) for base in (root, self._folder) if full.is_relative_to(base))]
        for key in map(_key, keys):
            if key in self._rows["path"]:
                return self._take(self._rows["path"][key])
        found = self._rows["filename"].get(_key(full.name))
        return None if found is None else self._take(found)

    @property
    def unmatched(self) -> int:
        """Rows that no image has taken so far, without the duplicates."""
        return self.rows - self.duplicates - len(self._matched)

    @property
    def duplicates(self) -> int:
        """Rows that a later one of the same name has taken the place of."""
        return self.rows - sum(map(len, self._rows.values()))

    def _take(self, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        self._matched.add(id(fields))
        return fields


def _key(path: str) -> str:
    """One spelling of a path: ./a.jpg is a.jpg, and an accent is written one way (a Mac's files come in the other)."""
    return unicodedata.normalize("NFC", os.path.normpath(path))


def rows(path: Path, keys: Collection[str] = ()) -> Iterator[Mapping[str, Any]]:
    """The rows of a CSV, JSONL or Parquet file, told apart by its suffix; all values of a CSV are texts.

    keys: a CSV has one of these columns at least. Raises NotFoundError or ValidationError, naming the line.
    """
    if path.suffix.lower() in _PARQUET:
        yield from _checked(path)
        return
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            if path.suffix.lower() in (".jsonl", ".ndjson"):
                for number, line in enumerate(_lines(file, path), 1):
                    if line.strip():
                        yield _object(line, f"{path}, line {number}")
                return
            reader = csv.DictReader(_lines(file, path), strict=True)
            names = reader.fieldnames or ()
            if twice := next((name for at, name in enumerate(names) if name in names[:at]), None):
                raise ValidationError(f"{path} has two columns {twice}", "give each column a name of its own")
            if keys and not set(keys) & set(names):
                *others, last = keys
                told = f"{', '.join(others)} or {last}" if others else last
                there = f"its columns are {', '.join(map(str, names))}"
                raise ValidationError(
                    f"{path} has no column {told}", "name the column that holds file names so" if others else there
                )
            for row in reader:
                if None in row or None in row.values():
                    raise ValidationError(f"{path}, line {reader.line_num}: not as many fields as the header has")
                if sum(map(len, row.values())) > _LONGEST:
                    raise ValidationError(f"{path}, line {reader.line_num}: {_TOO_LONG}")
                yield row
    except FileNotFoundError as exc:
        raise NotFoundError(f"no such file: {path}") from exc
    except (OSError, UnicodeDecodeError, csv.Error) as exc:
        raise ValidationError(
            f"cannot read {path}: {exc}", "metadata is a UTF-8 CSV or JSONL file, or Parquet"
        ) from exc


def _checked(path: Path) -> Iterator[Mapping[str, Any]]:
    """The rows of a Parquet file, which keep to the same limits."""
    from pictocli.tabular import rows  # pyarrow

    for number, row in enumerate(rows(path), 1):
        if _too_deep(row):
            raise ValidationError(f"{path}, row {number}: {_TOO_DEEP}")
        if sum(len(json.dumps(value)) for value in row.values()) > _LONGEST:
            raise ValidationError(f"{path}, row {number}: {_TOO_LONG}")
        yield row


def _lines(file: TextIO, path: Path) -> Iterator[str]:
    """The lines of a file, with their ends. Raises ValidationError for one that does not end, as those of /dev/zero."""
    number = 0
    while line := file.readline(_LONGEST + 1):
        number += 1
        if len(line) > _LONGEST:
            raise ValidationError(f"{path}, line {number}: {_TOO_LONG}")
        yield line


def _object(line: str, where: str) -> Mapping[str, Any]:
    try:
        value = json.loads(line, parse_constant=_refuse, parse_float=_finite)
    except RecursionError as exc:
        raise ValidationError(f"{where}: {_TOO_DEEP}") from exc
    except ValueError as exc:  # also a number of more than 4300 digits
        raise ValidationError(f"{where}: not JSON: {exc}") from exc
    if not isinstance(value, dict):
        raise ValidationError(f"{where}: not a JSON object")
    if _too_deep(value):
        raise ValidationError(f"{where}: {_TOO_DEEP}")
    return value


def _refuse(word: str) -> float:
    raise ValueError(f"{word} is no number of JSON's; write null")


def _finite(digits: str) -> float:
    value = float(digits)
    return value if math.isfinite(value) else _refuse(digits)


def _too_deep(value: Any) -> bool:
    """Whether lists and objects lie in each other too deep to be read again from wherever results are."""
    level = [value]
    for _ in range(_DEEPEST):
        level = [
            inner
            for each in level
            if isinstance(each, dict | list)
            for inner in (each.values() if isinstance(each, dict) else each)
        ]
    return bool(level)
