"""The default store's memory of what the model saw: a page that looks as one before takes over its embedding and tags.

And of which pages of a PDF were asked for, where not all were.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from pictocli.protocols import Database
from pictocli.records import CATEGORIES
from pictocli.schema import to_db

__all__ = ["Seen", "ask_for", "pages_asked_for", "pages_held", "seen", "seen_in"]

_MOST = 10_000  # pages of a file that are remembered while it is indexed anew, in 4 kB each

_SEEN = (
    "SELECT n.digest, e.v, i.objects, i.scenes, i.attributes FROM input n"
    " JOIN embedding e ON e.content_id = n.content_id JOIN image i ON i.content_id = n.content_id"
)


class Seen(NamedTuple):
    """What the model made of a picture: float32 bytes, and category → label → score."""

    vector: bytes
    tags: Mapping[str, Mapping[str, float]]


def seen(db: Database, digests: Iterable[bytes]) -> dict[bytes, Seen]:
    """digest → what was made of a picture that looked just the same, of those that there are in the library."""
    asked = [(digest,) for digest in digests]
    known = db.executemany("SELECT digest FROM input WHERE digest = ? LIMIT 1", asked).fetchall()  # seldom any
    rows = db.executemany(f"{_SEEN} WHERE n.digest = ? LIMIT 1", known)
    return {row[0]: _seen(row) for row in rows}


def seen_in(db: Database, folder_id: int, name: str) -> dict[bytes, Seen]:
    """digest → what was made of it, of every page that a file has in the library now."""
    rows = db.execute(
        f"{_SEEN} JOIN file f ON f.id = i.file_id WHERE f.folder_id = ? AND f.name = ? LIMIT ?",
        (folder_id, to_db(name), _MOST),
    )
    return {row[0]: _seen(row) for row in rows}


def _seen(row: tuple[bytes, bytes, str, str, str]) -> Seen:
    return Seen(row[1], {category: json.loads(text) for category, text in zip(CATEGORIES, row[2:], strict=True)})


def ask_for(db: Database, pages: Mapping[int, str | None]) -> None:
    """Remember which pages of files are wanted, by the files' ids, as `Pages` has it; None is all of them."""
    db.execute("DELETE FROM page_range WHERE file_id IN (SELECT value FROM json_each(?))", (json.dumps(list(pages)),))
    wanted = [(file_id, some) for file_id, some in pages.items() if some is not None]
    db.executemany("INSERT INTO page_range VALUES(?, ?)", wanted)


def pages_asked_for(db: Database, folder_id: int, name: str) -> str | None:
    """Which pages of a file are wanted; None is all of them."""
    found: str | None = db.execute(
        "SELECT p.pages FROM page_range p JOIN file f ON f.id = p.file_id WHERE f.folder_id = ? AND f.name = ?",
        (folder_id, to_db(name)),
    ).get
    return found


def pages_held(db: Database, folder_id: int, name: str) -> list[int]:
    """The pages that a file has in the library."""
    rows = db.execute(
        "SELECT i.page FROM image i JOIN file f ON f.id = i.file_id WHERE f.folder_id = ? AND f.name = ?",
        (folder_id, to_db(name)),
    )
    return [page for (page,) in rows]
