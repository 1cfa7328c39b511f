"""Rows that are put into a table many by one statement: one way to the server, and triggers that run once for all.

PostgreSQL sets no row twice by one statement, so rows of which one replaces another go by several.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from pictocli.scale.postgres.tables import COLUMNS

__all__ = ["together"]

_MOST = 100  # rows of a statement: 1 MB with their thumbnails
_ROW = re.compile(
    r"(INSERT INTO (\w+) (?:\( ([\w ,]+) \) )?VALUES )(\( \$\d+(?: , \$\d+)* \))( ON CONFLICT \( ?([\w ,]+?) ?\) [^$]*)"
)


def together(sql: str, rows: Iterable[Sequence[Any]]) -> Iterator[tuple[str, list[Sequence[Any]]]] | None:
    """The statements that do what one does for each of some rows, with their rows; None where it must be run for each.

    sql: in PostgreSQL's words, with $1, $2 … for the values of a row.
    """
    found = _ROW.fullmatch(sql)
    if found is None:
        return None
    head, table, named, row, tail, keys = found.groups()
    columns = named.split(" , ") if named else COLUMNS[table]
    at = [columns.index(key.strip()) for key in keys.split(",")]
    return ((_statement(head, row, tail, len(part)), part) for part in _parts(rows, at))


def _parts(rows: Iterable[Sequence[Any]], at: Sequence[int]) -> Iterator[list[Sequence[Any]]]:
    """Rows in parts in which no two have the same values at these places."""
    part, keys = list[Sequence[Any]](), set[tuple[Any, ...]]()
    for row in rows:
        key = tuple(row[each] for each in at)
        if key in keys or len(part) == _MOST:
            yield part
            part, keys = [], set()
        part.append(row)
        keys.add(key)
    if part:
        yield part


@functools.lru_cache(maxsize=500)
def _statement(head: str, row: str, tail: str, count: int) -> str:
    width = row.count("$")
    rows = (re.sub(r"\d+", lambda number: str(at * width + int(number[0])), row) for at in range(count))  # noqa: B023
    return head + ", ".join(rows) + tail
