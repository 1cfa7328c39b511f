"""Values of a TOML document, checked; and of a wrong one the line it stands on, which tomllib does not say.

    place = ("objects", "labels", 3, "aliases", 0)    keys, and for items of an array their numbers, from 0

Lines are looked for in the text, after the fact, so that a document without a fault costs nothing.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from typing import Any

from pictocli.errors import ValidationError

__all__ = ["FaultError", "Place", "find_lines", "read_table", "read_text", "read_texts"]

Place = tuple[str | int, ...]

_TOKEN = re.compile(
    r"""
      \#[^\n]*
    | \n
    | "{3}[^"\\]*(?:(?:\\[\s\S]|"{1,2}(?!"))[^"\\]*)*"{3,5}    # up to two quotes may stand before the closing three
    | '{3}[^']*(?:'{1,2}(?!')[^']*)*'{3,5}
    | "(?:[^"\\]|\\.)*"
    | '[^']*'
    | \d{4}-\d\d-\d\d\ \d\d:[^\s,\]}\#]*                       # a date and time with a blank between them
    | [^\s\[\]{}=,\#"']+
    | [\[\]{}=,]
    """,
    re.VERBOSE,
)


class FaultError(ValidationError):
    """What is wrong with values that tomllib has read.

    place: of the wrong one. other: of one that it collides with. either: both are equally wrong, so that the later
    one counts as the wrong one.
    """

    def __init__(self, message: str, place: Place = (), other: Place = (), *, either: bool = False) -> None:
        super().__init__(message)
        self.place, self.other, self.either = place, other, either

    def at(self, text: str) -> str:
        """The message from its line on: " at line 7: … (see line 3)", or ": …" where there is no line to name."""
        line, other = find_lines(text, self.place, self.other)
        if line and other and self.either:
            line, other = max(line, other), min(line, other)
        at = f" at line {line}" if line else ""
        return f"{at}: {self}" + (f" (see line {other})" if other and other != line else "")


def read_table(owner: Mapping[str, Any], name: str, place: Place = ()) -> Mapping[str, Any]:
    """The table `name` of the one at `place`. Raises FaultError where there is none."""
    table = owner.get(name)
    if not isinstance(table, dict):
        raise FaultError(f"it has no table {name!r}", (*place, name))
    return table


def read_text(fields: Mapping[str, Any], key: str, owner: str, place: Place = ()) -> str:
    """A text that is not blank. owner: what messages call the table at `place`. Raises FaultError."""
    value = fields.get(key)
    if not isinstance(value, str) or not value.strip():
        raise FaultError(f"{owner} has no {key}", (*place, key))
    return value


def read_texts(fields: Mapping[str, Any], key: str, owner: str, place: Place = ()) -> tuple[str, ...]:
    """A list of one text at least, none empty. owner: what messages call the table at `place`. Raises FaultError."""
    values = fields.get(key)
    place = (*place, key)
    if not isinstance(values, list) or not values:
        raise FaultError(f"{owner} has no list of texts {key!r}", place)
    for number, value in enumerate(values):
        if not isinstance(value, str) or not value:
            raise FaultError(f"{owner} has no list of texts {key!r}", (*place, number))
    return tuple(values)


def find_lines(text: str, *places: Place) -> list[int | None]:
    """The line, from 1, of the value at each place: that of its key, of an array's item its own.

    Of a place that is not there it is the line of the nearest owner that is, None when the whole text is the owner.
    It reads the whole text, about 1 MB in a second, and is meant for messages.
    """
    lines = _Reader(text).lines
    found: list[int | None] = []
    for place in places:
        while place and place not in lines:
            place = place[:-1]
        found.append(lines.get(place))
    return found


def _tokens(text: str) -> Iterator[tuple[str, int]]:
    """Strings, marks and bare words with their lines; no blanks and no comments."""
    line = 1
    for match in _TOKEN.finditer(text):
        token = match[0]
        if token[0] not in "#\n":
            yield token, line
        line += token.count("\n")


class _Reader:
    """Goes once through a text that tomllib has read without complaint: then the marks [ ] { } = tell all.

    lines: place → line of everything in it.
    """

    def __init__(self, text: str) -> None:
        self.lines: dict[Place, int] = {}
        self._last: dict[Place, int] = {}  # of each array of tables, the number of the table that is being filled
        self._tokens = list(_tokens(text))[::-1]  # the next one is at the end
        table: Place = ()
        while self._tokens:
            if self._take("["):
                table = self._header()
            else:
                self._pair(table)

    def _take(self, mark: str) -> bool:
        """Pass the mark if it is next."""
        found = self._tokens[-1][0] == mark
        if found:
            self._tokens.pop()
        return found

    def _key(self, end: str) -> tuple[list[str], int]:
        """The parts and the line of a dotted key, up to and with the mark `end`."""
        parts: list[str] = []
        line = self._tokens[-1][1]
        while (token := self._tokens.pop()[0]) != end:
            if token[0] == '"':
                parts.append(ast.literal_eval(token))  # Python's escapes hold all of TOML's
            elif token[0] == "'":
                parts.append(token[1:-1])
            else:
                parts += [part for part in token.split(".") if part]
        return parts, line

    def _header(self) -> Place:
        """Read [table] or [[array.of.tables]] after its first bracket; the place of the table it opens."""
        again = self._take("[")
        parts, line = self._key("]")
        place: Place = ()
        for part in parts[:-1]:
            place = self._open((*place, part), line)
        place = (*place, parts[-1])
        if again:
            self._take("]")
            self._last[place] = self._last.get(place, -1) + 1
            place = self._open(place, line)
        self.lines[place] = line  # rather than where a table inside it came first
        return place

    def _open(self, place: Place, line: int) -> Place:
        """The place of a table that a header goes through: of an array of tables the last one."""
        self.lines.setdefault(place, line)
        return (*place, self._last[place]) if place in self._last else place

    def _pair(self, table: Place) -> None:
        """Read a key and its value."""
        parts, line = self._key("=")
        place = table
        for part in parts:
            place = (*place, part)
            self.lines.setdefault(place, line)
        self._value(place)

    def _value(self, place: Place) -> None:
        if self._take("["):
            count = 0
            while not self._take("]"):
                item = (*place, count)
                self.lines[item] = self._tokens[-1][1]
                self._value(item)
                self._take(",")
                count += 1
        elif self._take("{"):
            while not self._take("}"):
                self._pair(place)
                self._take(",")
        else:
            self._tokens.pop()
