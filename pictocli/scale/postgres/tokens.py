"""SQLite's SQL cut into tokens, and the little grammar that a translation of them needs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

__all__ = ["arguments", "closing", "is_name", "is_param", "is_text", "statements", "tokens"]

_TOKEN = re.compile(
    r"""
    (?P<skip>\s+|--[^\n]*|/\*.*?\*/)
    |(?P<blob>[xX]'[0-9a-fA-F]*')
    |(?P<text>'(?:[^']|'')*')
    |(?P<quoted>"(?:[^"]|"")*")
    |(?P<param>\?\d*|:[A-Za-z_]\w*)
    |(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
    |(?P<name>[A-Za-z_]\w*)
    |(?P<operator>\|\||<>|<=|>=|!=|==|<<|>>|.)
    """,
    re.VERBOSE | re.DOTALL,
)


def tokens(sql: str) -> list[str]:
    """The tokens of some SQL, without blanks and comments. A bare ? has the greatest number before it, and one."""
    found, last = [], 0
    for match in _TOKEN.finditer(sql):
        text = match.group()
        if match.lastgroup == "skip":
            continue
        if text == "?":
            text = f"?{last + 1}"
        if text[0] == "?":
            last = max(last, int(text[1:]))
        found.append(text)
    return found


def statements(found: Sequence[str]) -> Iterator[list[str]]:
    """The statements among tokens, without the semicolons between them."""
    statement: list[str] = []
    for word in found:
        if word != ";":
            statement.append(word)
        elif statement:
            yield statement
            statement = []
    if statement:
        yield statement


def is_name(word: str) -> bool:
    """Whether a word is a word or a quoted name."""
    return word[0] in '"_' or (word[0].isalpha() and word[1:2] != "'")


def is_param(word: str) -> bool:
    """Whether a word stands for a value that is bound."""
    return word[0] == "?" or (word[0] == ":" and word[1:2] != ":")


def is_text(word: str) -> bool:
    """Whether a word is a literal text."""
    return word[0] == "'"


def closing(found: Sequence[str], at: int) -> int:
    """The index of the bracket that closes the one at `at`."""
    depth = 0
    for index in range(at, len(found)):
        depth += (found[index] == "(") - (found[index] == ")")
        if depth == 0:
            return index
    raise ValueError(f"a bracket is not closed: {' '.join(found[at:])}")


def arguments(found: Sequence[str], at: int) -> tuple[list[list[str]], int]:
    """What stands between the commas of the brackets that open at `at`, and the index behind them."""
    end = closing(found, at)
    parts: list[list[str]] = [[]]
    depth = 0
    for word in found[at + 1 : end]:
        depth += (word == "(") - (word == ")")
        if word == "," and depth == 0:
            parts.append([])
        else:
            parts[-1].append(word)
    return parts, end + 1
