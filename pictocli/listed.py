"""Files and URLs that were named one by one, each once, with what is to go with it: a hundred thousand take no memory.

They lie in a temporary database of SQLite's own, which goes with its connection, whatever ends the program.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import apsw

from pictocli.schema import from_db, to_db

__all__ = ["Named"]


class Named:
    """Full paths and URLs, as they are stored, in the order of their folders. repeated: how many came once more.

    described: whether anything is to go with one of them.
    """

    def __init__(self) -> None:
        self._db = apsw.Connection("")
        self._db.execute(
            "CREATE TABLE named(folder, name, fields TEXT, PRIMARY KEY(folder, name)) WITHOUT ROWID;"
            " CREATE TABLE place(folder PRIMARY KEY, root) WITHOUT ROWID; BEGIN"
        )
        self.count = self.repeated = 0
        self.described = False

    def add(self, path: str, fields: Mapping[str, Any] | None = None) -> None:
        """Name a file or URL. Named before, it has only these fields now."""
        folder, _, name = path.rpartition("/")
        text = None if fields is None else json.dumps(fields)
        self.described |= fields is not None
        key = (to_db(folder or "/"), to_db(name))
        self._db.execute("INSERT OR IGNORE INTO named(folder, name) VALUES(?, ?)", key)
        new = self._db.changes()
        self.count += new
        self.repeated += not new
        if text is not None:
            self._db.execute("UPDATE named SET fields = ?3 WHERE folder = ?1 AND name = ?2", (*key, text))

    def folders(self) -> Iterator[str]:
        """Every folder that something was named in."""
        for (folder,) in self._db.execute("SELECT DISTINCT folder FROM named ORDER BY folder"):
            yield from_db(folder)

    def put_below(self, folder: str, root: str) -> None:
        """Let a folder lie below a root."""
        self._db.execute("INSERT INTO place VALUES(?, ?)", (to_db(folder), to_db(root)))

    def below(self, root: str) -> Iterator[tuple[str, list[str]]]:
        """(folder, its names) of a root, in order."""
        for (folder,) in self._db.execute("SELECT folder FROM place WHERE root = ? ORDER BY folder", (to_db(root),)):
            rows = self._db.execute("SELECT name FROM named WHERE folder = ? ORDER BY name", (folder,))
            yield from_db(folder), [from_db(name) for (name,) in rows]

    def fields(self, path: str) -> Mapping[str, Any] | None:
        """What goes with a file or URL, None when nothing was said of it."""
        if not self.described:
            return None
        folder, _, name = path.rpartition("/")
        text = self._db.execute(
            "SELECT fields FROM named WHERE folder = ? AND name = ?", (to_db(folder or "/"), to_db(name))
        ).get
        found: Mapping[str, Any] | None = None if text is None else json.loads(text)
        return found
