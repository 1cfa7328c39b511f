"""How shells write words: the words of a line of bash, and of fish, up to the cursor; and a name as bash wants it."""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["Typed", "bash_line", "fish_word", "quoted"]

_ASSIGNMENT = re.compile(r"\w+\+?=", re.ASCII)
_SPECIAL = re.compile(r"([\s\\'\"`$&|;<>()*?\[\]{}!#~^])")


@dataclass(frozen=True, slots=True)
class Typed:
    """A word that is being typed. quote: the quotation mark that is open in it, or "". cut: how much of it bash does
    not replace, up to the last of the characters at which it breaks words.
    """

    word: str
    quote: str = ""
    cut: int = 0


def bash_line(line: str, breaks: str) -> tuple[list[str], Typed]:
    """The words behind the command's name in a line of bash that ends at the cursor, and the one that is being typed.

    breaks: the characters of COMP_WORDBREAKS.
    """
    words: list[str] = []
    word, quote, cut, at, begun = "", "", 0, 0, False
    while at < len(line):
        char = line[at]
        at += 1
        if quote:
            if char == quote:
                quote, cut = "", len(word)
            elif char == "\\" and quote == '"' and line[at : at + 1] in tuple('"\\$`'):
                word, at = word + line[at], at + 1
            else:
                word += char
        elif char == "\\":
            word, at, begun = word + line[at : at + 1], at + 1, True
        elif char in "'\"":
            quote, cut, begun = char, len(word), True
        elif char in " \t\n<>|&;()":
            words += [word] if begun else []
            words = [] if char in "|&;()" else words
            word, cut, begun = "", 0, False
        else:
            word, begun = word + char, True
            cut = len(word) if char in breaks else cut
    while words and _ASSIGNMENT.match(words[0]):
        del words[0]
    return words[1:], Typed(word, quote, cut)


def fish_word(text: str) -> str:
    """What fish takes the word `text`, as it was typed so far, to be."""
    found, quote, at = "", "", 0
    while at < len(text):
        char = text[at]
        at += 1
        if quote and char == quote:
            quote = ""
        elif not quote and char in "'\"":
            quote = char
        elif char == "\\" and (not quote or text[at : at + 1] in ("\\", quote)):
            found, at = found + text[at : at + 1], at + 1
        else:
            found += char
    return found


def quoted(name: str, typed: Typed) -> str:
    """The rest of a name as bash is to put it behind what it does not replace."""
    rest = name[typed.cut :]
    if typed.quote == "'":
        return rest.replace("'", "'\\''")
    if typed.quote == '"':
        return re.sub(r'(["\\$`])', r"\\\1", rest)
    return _SPECIAL.sub(r"\\\1", rest)
