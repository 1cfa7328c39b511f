"""The texts of statements, as a connection to Lance tables runs them on the working copy.

A vector or picture is a digest there. Who reads one goes through a view of the same name, which looks its bytes up; who
writes one has to write the digest, into the table itself.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from pictocli.scale.lance.tables import TABLES

__all__ = ["VIEWS", "Statement", "giving", "statement"]

Bindings = Sequence[Any] | Mapping[str, Any] | None

_LARGE = {name: table.large for name, table in TABLES.items() if table.large}
_NAMES = "|".join(_LARGE)
_VECTORS = (
    "SELECT i.id AS image_id, e.v AS embedding FROM main.image i JOIN temp.embedding e ON e.content_id = i.content_id"
)
_KIND = re.compile(r"\s*(\w+)(?: (IMMEDIATE|EXCLUSIVE|TO)\b)?", re.ASCII)
_OWN = re.compile(r"\s*\w+(?: OR \w+)?(?: INTO| FROM| TABLE| VIEW| INDEX)?(?: IF EXISTS)? ?(?:TEMP\b|temp\.)", re.ASCII)
_INTO, _KEY, _VALUE = r"\s*(?:INSERT|REPLACE)(?: OR \w+)? INTO ", r"\?1?|:\w+", r"\?2?|:\w+"
_CONFLICT = r" ON CONFLICT ?\(content_id\) DO UPDATE SET \w+ = "
_PUT = re.compile(
    rf"({_INTO})({_NAMES})( ?\(\w+, ?\w+\))?( VALUES ?\()({_KEY})(, ?)({_VALUE})\)({_CONFLICT})?(?:\?2|:\w+)?",
    re.ASCII,
)
_TARGET = re.compile(rf"\b(INTO|DELETE FROM|UPDATE) ({_NAMES})\b", re.ASCII)
_FROM = re.compile(rf"\bFROM ({_NAMES})\b", re.ASCII)
_EVERY = re.compile(rf"\bSELECT \* FROM main\.({_NAMES})\b", re.ASCII)
_EQUAL = re.compile(rf"\bFROM ({_NAMES}) WHERE (v|jpeg) = (\?\d*|:\w+)", re.ASCII)
_LIST = r" IN \(SELECT value FROM json_each\((\?\d*|:\w+)"
_ASKED = re.compile(rf"\b({_NAMES})\b.*\b(content_id|i\.id){_LIST}", re.DOTALL | re.ASCII)
_BYTES = re.compile(r"\b(?:v|jpeg)\b", re.ASCII)
_WRITES = ("INSERT", "UPDATE", "DELETE", "REPLACE", "CREATE", "DROP", "ALTER")


def _shown(name: str) -> str:
    return f"SELECT content_id, lance_bytes('{name}', content_id, {_LARGE[name]}) AS {_LARGE[name]} FROM main.{name}"  # noqa: S608 - our names


VIEWS = {**{name: _shown(name) for name in _LARGE}, "embeddings": _VECTORS}
"""The temporary views that stand before tables: name → query."""


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement. text: as it is run. kind: its first word, or WRITE, or OWN of what is temporary.

    puts: where large bytes are bound, None for none. asked: the table of which bytes are going to be read, the column
    of the ids in a list, and where that is bound; None for none.
    """

    text: str
    kind: str
    puts: str | int | None = None
    asked: tuple[str, str, int | str] | None = None

    def ids(self, bindings: Bindings) -> list[int]:
        """The ids in the list that is bound."""
        if self.asked is None or bindings is None:
            return []
        at: Any = self.asked[2]
        try:
            found = json.loads(bindings[at])
        except (IndexError, KeyError, TypeError, ValueError):
            return []
        return [each for each in found if isinstance(each, int)] if isinstance(found, list) else []

    def put(self, bindings: Bindings, write: Callable[[Any], Any]) -> Bindings:
        """Values as the working copy takes them. write: what stands for large bytes."""
        if self.puts is None:
            return bindings
        values: Any = dict(bindings) if isinstance(bindings, Mapping) else list(bindings or ())
        values[self.puts] = write(values[self.puts])
        return cast(Bindings, values)


@functools.lru_cache(1000)
def statement(text: str) -> Statement:
    """Take a statement of SQLite's SQL over the tables of a library."""
    found = _KIND.match(text)
    kind = " ".join(filter(None, found.groups())).upper() if found else ""
    if _OWN.match(text):
        return Statement(_hidden(text), "OWN")
    if kind.split(" ")[0] not in _WRITES:
        return Statement(_read(text), kind, asked=_asked(text))
    put = _PUT.match(text)
    if put is not None:
        into, name, columns, values, key, comma, value, conflict = put.groups()
        rest = text[put.end() :]
        sets = f"{conflict}excluded.{_LARGE[name]}" if conflict else ""
        text = f"{into}main.{name}{columns or ''}{values}{key}{comma}{value}){sets}{rest}"
        return Statement(text, "WRITE", puts=value[1:] if value.startswith(":") else 1)
    target = _TARGET.search(text)
    if target is not None:
        if target[1] == "UPDATE" or (target[1] == "INTO" and "VALUES" in text):
            raise AssertionError(f"large bytes are not written like this: {text}")
        return Statement(_FROM.sub(r"FROM main.\1", _TARGET.sub(r"\1 main.\2", text)), "WRITE")
    return Statement(_read(text), "WRITE")


def giving(rows: Sequence[Sequence[Any]]) -> tuple[str, list[Any]]:
    """A statement that gives these rows, and its bindings."""
    marks = ", ".join(f"({', '.join('?' * len(row))})" for row in rows)
    return f"VALUES {marks}" if rows else "SELECT 1 WHERE FALSE", [value for row in rows for value in row]


def _read(text: str) -> str:
    text = _EQUAL.sub(r"FROM main.\1 WHERE \2 = lance_digest(\3)", text)
    if _FROM.search(text):
        text = re.sub(r"\browid\b", "content_id", text)  # a view has none
    return text.replace("pragma_table_info(?)", "pragma_table_info(?, 'main')")


def _hidden(text: str) -> str:
    """What hides a part of a library makes views of the tables themselves."""
    text = _EVERY.sub(lambda found: _shown(found[1]), text)
    return text.replace(" FROM main.embeddings ", f" FROM ({_VECTORS}) ")


def _asked(text: str) -> tuple[str, str, int | str] | None:
    found = _ASKED.search(text)
    if found is None or not _BYTES.search(text):
        return None
    name, column, mark = found.groups()
    if mark.startswith(":"):
        return name, column, mark[1:]
    return name, column, int(mark[1:]) - 1 if len(mark) > 1 else text[: found.start(3)].count("?")
