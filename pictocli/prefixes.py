"""Names in a database that begin in some way, a few hundred at most: what a shell offers while one is typed.

Every look goes through an index, so that it takes no longer in a library of a million images. Where there are more
than MOST, the first are given and the last: what all of them begin with is what these begin with.
"""

from __future__ import annotations

from typing import Any

from pictocli.fields import Fields
from pictocli.schema import to_db

__all__ = ["MOST", "Prefixes"]

MOST = 200
_LAST = "\U0010ffff"  # no name goes on with it; names that are no UTF-8 are BLOBs, and sort behind all texts


class Prefixes(Fields):
    """Reads names from one open database. A prefix that is no UTF-8 finds nothing."""

    def datasets(self, prefix: str) -> list[str]:
        """Names of datasets."""
        rows = self.db.execute("SELECT name FROM dataset WHERE name >= ? AND name < ? ORDER BY name", _range(prefix))
        return [str(name) for (name,) in rows]

    def labels(self, category: int, prefix: str) -> list[str]:
        """Labels of a category; aliases where no label begins so."""
        bound = (category, *_range(prefix))
        rows = self.db.execute(
            "SELECT name FROM tag WHERE category = ? AND name >= ? AND name < ? ORDER BY name", bound
        ).fetchall()
        if not rows:
            rows = self.db.execute(
                "SELECT alias FROM tag_alias WHERE category = ? AND alias >= ? AND alias < ? ORDER BY alias", bound
            ).fetchall()
        return [str(name) for (name,) in rows]

    def roots_of(self, dataset: str | None) -> list[int]:
        """The roots of a dataset, or all of them."""
        rows = self.db.execute(
            "SELECT r.id FROM root r JOIN dataset d ON d.id = r.dataset_id"
            " WHERE ?1 IS NULL OR d.name = ?1 ORDER BY r.id",
            (dataset,),
        )
        return [int(root_id) for (root_id,) in rows]

    def below(self, root_id: int, folder: str, prefix: str) -> list[str]:
        """The first parts of the paths of indexed folders below a folder of a root ("" for the root itself)."""
        base = f"{folder}/" if folder else ""
        low, high = _range(base + prefix)
        found: dict[str, None] = {}
        while len(found) < MOST and (path := self._folder(root_id, low, high)) is not None:
            part, slash, _ = path[len(base) :].partition("/")
            if part:  # "" is the root itself
                found[part] = None
            low = f"{base}{part}0" if slash else f"{path}\0"  # "0" is what comes next to "/"
        if len(found) == MOST and (path := self._folder(root_id, low, high, last=True)) is not None:
            found[path[len(base) :].partition("/")[0]] = None
        return list(found)

    def _folder(self, root_id: int, low: str, high: str, *, last: bool = False) -> str | None:
        order = "DESC" if last else "ASC"
        found: str | None = self.db.execute(
            f"SELECT path FROM folder WHERE root_id = ? AND path >= ? AND path < ? ORDER BY path {order} LIMIT 1",  # noqa: S608 - one of two words
            (root_id, low, high),
        ).get
        return found

    def files(self, folder_id: int, prefix: str) -> list[tuple[str, int]]:
        """Names of the files in one folder that hold images, and of how many pages."""
        where = "FROM file WHERE folder_id = ? AND name >= ? AND name < ? AND pages > 0 ORDER BY name"
        bound = (folder_id, *_range(prefix))
        rows: list[Any] = self.db.execute(f"SELECT name, pages {where} LIMIT ?", (*bound, MOST)).fetchall()
        if len(rows) == MOST:
            rows += self.db.execute(f"SELECT name, pages {where} DESC LIMIT 1", bound).fetchall()
        return list(dict.fromkeys((str(name), int(pages)) for name, pages in rows))

    def pages(self, folder_id: int, name: str) -> list[int]:
        """The indexed pages of one document."""
        rows = self.db.execute(
            "SELECT i.page FROM file f JOIN image i ON i.file_id = f.id WHERE f.folder_id = ? AND f.name = ?"
            " AND i.page > 0 ORDER BY i.page LIMIT ?",
            (folder_id, to_db(name), MOST),
        )
        return [int(page) for (page,) in rows]


def _range(prefix: str) -> tuple[str, str]:
    prefix = prefix.encode("utf-8", "replace").decode()
    return prefix, prefix + _LAST
