"""What users say of PDFs: which pages they want, and the passwords that open them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from pictocli.errors import ValidationError

__all__ = ["LOCKED", "OPEN", "Opening", "Pages", "passwords"]

LOCKED = ("password-protected", "wrong password")
"""Reasons of PDFs that a password may open."""

_MOST = 10**9  # pages; "20-" ends here
_PART = re.compile(r"([0-9]{1,9})(-([0-9]{1,9})?)?")


@dataclass(frozen=True, slots=True)
class Pages:
    """Page numbers from 1 on, as ranges that ascend and leave gaps. str() of it is what `parse` takes."""

    ranges: tuple[tuple[int, int], ...]

    @classmethod
    def parse(cls, text: str) -> Pages:
        """ "3", "1-20" or "1-5,9,20-". Raises ValidationError that names the part that is none of these."""
        ranges = []
        for part in text.split(","):
            found = _PART.fullmatch(part.strip())
            first = int(found[1]) if found else 0
            last = first if found and not found[2] else int(found[3]) if found and found[3] else _MOST
            if not 0 < first <= last:
                told = f"{part.strip()!r} in {text!r}" if part != text else repr(text)
                raise ValidationError(f"{told} names no pages", "pages are 3, 1-20, 20- or 1-5,9,20-")
            ranges.append((first, last))
        return cls._joined(ranges)

    @classmethod
    def numbers(cls, pages: Iterable[int]) -> Pages:
        """Just these pages."""
        return cls._joined([(page, page) for page in pages])

    @classmethod
    def _joined(cls, ranges: Iterable[tuple[int, int]]) -> Pages:
        joined: list[tuple[int, int]] = []
        for first, last in sorted(ranges):
            if joined and first <= joined[-1][1] + 1:
                joined[-1] = (joined[-1][0], max(last, joined[-1][1]))
            else:
                joined.append((first, last))
        return cls(tuple(joined))

    def __or__(self, other: Pages) -> Pages:
        return self._joined((*self.ranges, *other.ranges))

    def __str__(self) -> str:
        return ",".join(
            str(first) if first == last else f"{first}-{'' if last == _MOST else last}" for first, last in self.ranges
        )

    def within(self, count: int) -> tuple[int, ...]:
        """Those of them that a document of `count` pages has."""
        return tuple(page for first, last in self.ranges for page in range(first, min(last, count) + 1))


@dataclass(frozen=True, slots=True)
class Opening:
    """How a PDF is to be opened. pages: None is all of them. passwords: tried in turn, and never shown."""

    pages: Pages | None = None
    passwords: tuple[str, ...] = field(default=(), repr=False)


OPEN = Opening()


def passwords(given: str | Sequence[str] | None = None) -> tuple[str, ...]:
    """The passwords to try: those given, or PICTO_PDF_PASSWORD, or none."""
    if given is None:
        given = os.environ.get("PICTO_PDF_PASSWORD") or ()
    return (given,) if isinstance(given, str) else tuple(given)
