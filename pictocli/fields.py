"""The fields of metadata as SQL compares them, and the indexes on some of them.

A field has one value, which `value` gives: a number, also where it is a text that looks like one, as all of a CSV are;
'true' or 'false'; else its text. It has none where it is missing, null or an empty text. A list or an object is its
JSON. An index holds just this term, so that every comparison of `conditions.py` can use it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from itertools import islice
from typing import Any

from pictocli import stored
from pictocli.catalog import Catalog
from pictocli.errors import ValidationError
from pictocli.expressions import parse_field
from pictocli.schema import transaction

__all__ = ["Fields", "field_shown", "indexable", "literal", "path_of", "raw", "value"]

_META = "index_fields"
_NAME = re.compile(r"[\w][\w .-]{0,63}")  # of a field that an index may be on: its path becomes a part of SQL
_DEEPEST = 8
_MOST = 64  # SQLite checks each of them with every row that is written
_SAMPLE = 2000  # images whose fields are looked at to name the nearest


def path_of(field: Sequence[str]) -> str:
    """A field as a path of SQLite's JSON functions, in ASCII: $."brand"."name"."""
    return "$" + "".join("." + json.dumps(name) for name in field)


def field_shown(field: Sequence[str]) -> str:
    """A field as a person writes it: brand.name, "unit price"."""
    return ".".join(name if re.fullmatch(r"""[^\s.=!<>~"'(),]+""", name) else json.dumps(name) for name in field)


def literal(path: str) -> str:
    """A path as a literal of SQL."""
    return "'" + path.replace("'", "''") + "'"


def raw(column: str, path: str) -> str:
    """A field as it is stored. path: a literal, or ?."""
    return f"json_extract({column}, {path})"


def value(column: str, path: str) -> str:
    """A field as it is compared. path: a literal, or ?, for which the path is then bound six times.

    A comparison with a CAST AS NUMERIC makes a number of a text that looks like one, and of no other
    (https://sqlite.org/datatype3.html, 4.2).
    """
    found = raw(column, path)
    return (
        f"CASE json_type({column}, {path}) WHEN 'true' THEN 'true' WHEN 'false' THEN 'false' WHEN 'text' THEN"
        f" CASE WHEN {found} = CAST({found} AS NUMERIC) THEN CAST({found} AS NUMERIC)"
        f" ELSE nullif({found}, '') END ELSE {found} END"
    )


class Fields(Catalog):
    """The fields that images have, and their indexes."""

    def is_indexed(self, field: Sequence[str]) -> bool:
        """Whether there is an index on a field."""
        return _may_be_indexed(field) and self.db.has_index(_index(field))

    def index(self, fields: Sequence[Sequence[str]]) -> list[str]:
        """Put an index on each of these fields, for good; those that were new, as a person writes them.

        Raises ValidationError when they would be too many.
        """
        kept = self._kept()
        new = [list(field) for field in dict.fromkeys(map(tuple, fields)) if list(field) not in kept]
        if len(kept) + len(new) > _MOST:
            raise ValidationError(f"no more than {_MOST} fields can have an index", "leave some of --index-field out")
        if not new and all(map(self.is_indexed, kept)):
            return []
        with transaction(self.db):
            self.set_meta(_META, json.dumps(kept + new))
            self.restore()
        return [field_shown(field) for field in new]

    def restore(self) -> None:
        """Make the indexes that are kept in mind and are not there."""
        with transaction(self.db):
            for field in self._kept():
                if not self.is_indexed(field):
                    name, term = _quoted(_index(field)), value("metadata", literal(path_of(field)))
                    self.db.execute(f"CREATE INDEX {name} ON image({term})")

    def drop(self) -> None:
        """Remove the indexes, and keep them in mind: over JSON that is none no row can be changed."""
        with transaction(self.db):
            for name in [_quoted(name) for name in self.db.indexes() if name.startswith("field $")]:
                self.db.execute(f"DROP INDEX {name}")

    def exists(self, field: Sequence[str]) -> bool:
        """Whether some image has a field, be it null."""
        found = self.db.execute(
            "SELECT 1 FROM image WHERE json_type(metadata, ?) IS NOT NULL LIMIT 1", (path_of(field),)
        )
        return found.get is not None

    def names(self) -> list[str]:
        """The fields that images have, as a person writes them, sorted; of the first 2,000 images with metadata."""
        rows: Any = self.db.execute("SELECT metadata FROM image WHERE metadata IS NOT NULL ORDER BY id")
        found: set[str] = set()
        for (text,) in islice(rows, _SAMPLE):
            level: list[tuple[tuple[str, ...], Any]] = [((), json.loads(text))]
            while level:
                names, held = level.pop()
                if isinstance(held, dict):
                    found.update(field_shown((*names, name)) for name in held)
                    level += [((*names, name), inner) for name, inner in held.items()]
        return sorted(found)

    def _kept(self) -> list[list[str]]:
        text = self.meta(_META)
        return [] if text is None else [field for field in stored.names(text) if _may_be_indexed(field)]


def indexable(names: Sequence[str]) -> list[tuple[str, ...]]:
    """Fields that a person wants indexed. Raises ValidationError for one that is no name, or may have no index."""
    fields = [parse_field(name) for name in names]
    for field in fields:
        if not _may_be_indexed(field):
            raise ValidationError(
                f"the field {field_shown(field)} cannot have an index",
                "its names are of letters, digits, _, -, . and blanks, 64 at most, and eight at most lie in each other",
            )
    return fields


def _may_be_indexed(field: Sequence[str]) -> bool:
    return len(field) <= _DEEPEST and all(_NAME.fullmatch(name) for name in field)


def _index(field: Sequence[str]) -> str:
    """The name of the index on a field."""
    return f"field {path_of(field)}"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
