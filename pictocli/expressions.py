"""The grammar of `--where`: a text such as price<50 → the comparison that it stands for.

EXPR   FIELD                      it has a value
       FIELD OP VALUE             OP: =  !=  <  <=  >  >=  ~ (contains, whatever the case)
       FIELD in (VALUE, VALUE…)   it is one of these
FIELD  NAME or NAME.NAME…         a name within nested fields; one with blanks, dots or operators stands in quotes
VALUE  a number, true, false, null, a word without blanks, or a text in quotes
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import NoReturn

from pictocli.errors import ExpressionError

__all__ = ["OPERATORS", "Comparison", "Value", "looks_like_number", "number", "parse", "parse_field"]

Value = str | int | float | bool | None
OPERATORS = ("!=", "<=", ">=", "=", "<", ">", "~")

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_NAME = re.compile(r"""[^\s.=!<>~"'(),]+""")
_WORD = re.compile(r"""[^\s"'(),=!<>~][^\s"'(),]*""")
_SURROGATE = re.compile("[\ud800-\udfff]")  # a byte of the command line that is no UTF-8
_BLANKS = re.compile(r"\s*")
_IN = re.compile(r"in(?=[\s(]|$)", re.IGNORECASE)
_CONSTANTS: dict[str, Value] = {"true": True, "false": False, "null": None}
_LONGEST = 10_000  # characters
_DEEPEST = 100  # names within each other, as deep as metadata may be


@dataclass(frozen=True, slots=True)
class Comparison:
    """What is asked of a field. text: as it was written. field: the names that lead to it, from outside in.

    operator: "has" for a value of any kind, "=" for one of `values`, else one of OPERATORS with a single value.
    A str that looks like a number stood in quotes: it is meant as it is written.
    """

    text: str
    field: tuple[str, ...]
    operator: str
    values: tuple[Value, ...] = ()


def looks_like_number(text: str) -> bool:
    """Whether a text is a number in decimal notation, as SQLite takes one too: 5, -.5, 1e3, blanks around it."""
    return _NUMBER.fullmatch(text.strip(" \t\n\v\f\r")) is not None


def number(text: str) -> int | float:
    """The number that a text looks like, as SQLite holds it: whole ones up to 64 bits, else float64."""
    # No more than 40 digits, zeros in front included: Python makes no int of thousands.
    if re.fullmatch(r"[+-]?\d{1,40}", text.strip(), re.ASCII) and -(2**63) <= (whole := int(text)) < 2**63:
        return whole
    return float(text)


def parse(text: str) -> Comparison:
    """The comparison that `text` stands for. Raises ExpressionError, which marks the place."""
    return _Parser(text).comparison()


def parse_field(text: str) -> tuple[str, ...]:
    """The names that a field alone, such as brand.name, stands for. Raises ExpressionError, which marks the place."""
    parser = _Parser(text)
    field = parser.field()
    parser.end("a field is NAME or NAME.NAME, in quotes where it has blanks or dots")
    return field


class _Parser:
    """Goes through a text once, from left to right. at: the place of the next character."""

    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0
        if len(text) > _LONGEST:
            raise ExpressionError(text[:40] + "…", 40, f"it is longer than {_LONGEST:,} characters")
        if odd := _SURROGATE.search(text):
            raise ExpressionError(text, odd.start(), "this is no UTF-8")
        self.skip()

    def comparison(self) -> Comparison:
        field = self.field()
        if self.at == len(self.text):
            return Comparison(self.text, field, "has")
        if self.match(_IN):
            values = self.listed()
            self.end("another condition is another --where")
            return Comparison(self.text, field, "=", values)
        operator = next((each for each in OPERATORS if self.text.startswith(each, self.at)), None)
        if operator is None:
            self.fail("an operator is missing here", "one of = != < <= > >= ~ in")
        self.at += len(operator)
        self.skip()
        start = self.at
        value = self.value(plain=operator == "~")
        if operator in ("<", "<=", ">", ">=") and (value is None or isinstance(value, bool)):
            self.at = start
            self.fail(f"{operator} compares numbers and texts only", "put it in quotes to mean a text")
        self.end("a text with blanks stands in quotes; another condition is another --where")
        return Comparison(self.text, field, operator, (value,))

    def field(self) -> tuple[str, ...]:
        names = [self.name()]
        while self.text.startswith(".", self.at):
            self.at += 1
            names.append(self.name())
            if len(names) > _DEEPEST:
                self.fail(f"more than {_DEEPEST} names within each other")
        self.skip()
        return tuple(names)

    def name(self) -> str:
        if self.text[self.at : self.at + 1] in ('"', "'") and self.at < len(self.text):
            return self.quoted()
        found = _NAME.match(self.text, self.at)
        if found is None:
            self.fail("the name of a field is missing here", "FIELD OP VALUE, such as price<50 or brand=acme")
        self.at = found.end()
        return found[0]

    def listed(self) -> tuple[Value, ...]:
        if not self.text.startswith("(", self.at):
            self.fail("a list in brackets is missing here", "brand in (acme, 'b and c')")
        values: list[Value] = []
        while True:
            self.at += 1
            self.skip()
            values.append(self.value())
            mark = self.text[self.at : self.at + 1]
            if mark == ")":
                self.at += 1
                self.skip()
                return tuple(values)
            if mark != ",":
                self.fail("a comma or ) is missing here", "brand in (acme, 'b and c')")

    def value(self, *, plain: bool = False) -> Value:
        """The next value, and the blanks behind it. plain: a word is a text, whatever it looks like."""
        start = self.at
        if self.text[start : start + 1] in ('"', "'") and start < len(self.text):
            text = self.quoted()
            self.skip()
            return text
        found = _WORD.match(self.text, start)
        if found is None:
            if start < len(self.text) and self.text[start] not in "(),":
                self.fail(f"a value cannot begin with {self.text[start]}", "put it in quotes to mean a text")
            self.fail("a value is missing here", "a number, true, false, null, a word or a text in quotes")
        self.at = found.end()
        value: Value = found[0]
        if not plain:
            value = _CONSTANTS.get(found[0].lower(), found[0])
            if _NUMBER.fullmatch(found[0]):
                value = number(found[0])
                if not math.isfinite(value):
                    self.at = start
                    self.fail("too large a number", "put it in quotes to mean a text")
        self.skip()
        return value

    def quoted(self) -> str:
        r"""The text in the quotes that begin here; \" and \\ stand for a quote and a backslash."""
        start, mark, found = self.at, self.text[self.at], list[str]()
        at = start + 1
        while at < len(self.text) and self.text[at] != mark:
            at += self.text[at] == "\\" and self.text[at + 1 : at + 2] in (mark, "\\") and at + 1 < len(self.text)
            found.append(self.text[at])
            at += 1
        if at == len(self.text):
            self.fail("this quote is not closed")
        self.at = at + 1
        return "".join(found)

    def match(self, pattern: re.Pattern[str]) -> bool:
        found = pattern.match(self.text, self.at)
        if found is None:
            return False
        self.at = found.end()
        self.skip()
        return True

    def skip(self) -> None:
        found = _BLANKS.match(self.text, self.at)
        assert found is not None
        self.at = found.end()

    def end(self, why: str) -> None:
        if self.at < len(self.text):
            self.fail("this does not belong here", why)

    def fail(self, why: str, hint: str | None = None) -> NoReturn:
        raise ExpressionError(self.text, self.at, why, hint)
