"""A copy of a library that is not whole yet: it says so itself, and nothing but the copying uses it until it is."""

from __future__ import annotations

import json
from typing import NamedTuple

from pictocli.errors import StoreError
from pictocli.protocols import Database

__all__ = ["MARKER", "Begun", "begun", "require_finished"]

MARKER = "moving"
"""The key in `meta`. No row says how far each table is: its last key does, as rows are copied in the order of keys."""


class Begun(NamedTuple):
    """What an unfinished copy is of. source: the library's name, without a password; state: of it when it began."""

    source: str
    state: str

    def encoded(self) -> str:
        """As `meta` keeps it."""
        return json.dumps(self)


def begun(db: Database) -> Begun | None:
    """What this library is an unfinished copy of, None when it is none."""
    text = db.execute("SELECT value FROM meta WHERE key = ?", (MARKER,)).get
    if text is None:
        return None
    try:
        source, state = json.loads(text)
    except (TypeError, ValueError):
        return Begun("another library", "")
    return Begun(str(source), str(state))


def require_finished(db: Database, shown: str) -> None:
    """Raise StoreError when the library, which is told as `shown`, is a copy that is not finished."""
    found = begun(db)
    if found is not None:
        raise StoreError(
            f"the copy from {found.source} in {shown} is not finished",
            f"picto move-db {found.source} {shown} goes on with it",
        )
