"""What is wrong with a database, and what became of it, as plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

__all__ = ["Damage", "RepairReport"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """One kind of damage to a database.

    what: a phrase without a number, "images without an embedding". count: rows, or messages of SQLite's. example: one
    of them. derived: `picto repair` makes it anew from what is there, and nothing is lost. remedy: what to do.
    """

    what: str
    count: int
    example: str | None
    derived: bool
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairReport:
    """What `picto repair` did, or would do in a dry run.

    found: what was wrong. left: what still is. removed: table → rows that referred to nothing or held nothing of use.
    unfinished: files that the next `picto index` takes up again. saved: table → rows that were read out of a file that
    SQLite could no longer read as a whole; kept: where that file lies now, None when it was mended where it is.
    """

    found: Sequence[Damage]
    left: Sequence[Damage] = ()
    removed: Mapping[str, int] = field(default_factory=dict)
    unfinished: int = 0
    saved: Mapping[str, int] = field(default_factory=dict)
    kept: str | None = None
    dry_run: bool = False
    seconds: float = 0.0
