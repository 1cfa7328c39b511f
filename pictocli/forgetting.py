"""The default store's removing side: what lies where, taking rows out, and giving a root its new place."""

from __future__ import annotations

import json
import os
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import apsw

from pictocli.errors import TakenError
from pictocli.interrupts import held
from pictocli.schema import from_db, to_db, transaction
from pictocli.sqlite import SqliteStore

__all__ = ["Forgetting", "Known", "Place", "rebuild"]

_GIVEN = "(SELECT value FROM json_each(?))"
_MANY = 1000  # files a transaction: 0.1 s, which is how long a reader that wants to write waits at most


class Place(NamedTuple):
    """A folder of the library. root: the path of its root; folder: relative to that."""

    root_id: int
    root: str
    dataset: str
    folder_id: int
    folder: str


class Known(NamedTuple):
    """A file that the library knows. images: how many it has of it, none of one that was skipped."""

    file_id: int
    folder_id: int
    name: str
    images: int


class Forgetting(SqliteStore):
    """A store from which rows are taken. No file is touched here, or looked at."""

    def places(self, folders: Sequence[int] | None) -> list[Place]:
        """These folders, or all of them, in the order of their roots and paths."""
        where = "" if folders is None else f" WHERE o.id IN {_GIVEN}"
        rows = self.db.execute(
            "SELECT r.id, r.path, d.name, o.id, o.path FROM folder o JOIN root r ON r.id = o.root_id"  # noqa: S608 - our texts
            f" JOIN dataset d ON d.id = r.dataset_id{where} ORDER BY r.id, o.path",
            () if folders is None else (json.dumps(folders),),
        )
        return [Place(row[0], from_db(row[1]), row[2], row[3], from_db(row[4])) for row in rows]

    def files(self, folder_id: int) -> list[Known]:
        """Every file known in one folder, skipped ones too."""
        rows = self.db.execute(
            "SELECT id, folder_id, name, (SELECT count(*) FROM image i WHERE i.file_id = f.id) FROM file f"
            " WHERE folder_id = ? ORDER BY id",
            (folder_id,),
        )
        return [Known(row[0], row[1], from_db(row[2]), row[3]) for row in rows]

    def file_at(self, folder_id: int, name: str) -> Known | None:
        """The file of this name in a folder."""
        row: Any = self.db.execute(
            "SELECT id, folder_id, name, (SELECT count(*) FROM image i WHERE i.file_id = f.id) FROM file f"
            " WHERE folder_id = ? AND name = ?",
            (folder_id, to_db(name)),
        ).fetchone()
        return None if row is None else Known(row[0], row[1], from_db(row[2]), row[3])

    def file_of(self, image_id: int) -> tuple[Known, int]:
        """The file of an image, and its page."""
        row: Any = self.db.execute(
            "SELECT f.id, f.folder_id, f.name, (SELECT count(*) FROM image o WHERE o.file_id = f.id), i.page"
            " FROM image i JOIN file f ON f.id = i.file_id WHERE i.id = ?",
            (image_id,),
        ).fetchone()
        return Known(row[0], row[1], from_db(row[2]), row[3]), row[4]

    def lookup(self, path: str) -> Known | None:
        """The file that the library knows at a full path, in either Unicode form."""
        for form in dict.fromkeys((path, unicodedata.normalize("NFC", path), unicodedata.normalize("NFD", path))):
            for root_id, root in self.roots():
                base = root.rstrip("/") + "/"
                if form.startswith(base):
                    folder, _, name = form[len(base) :].rpartition("/")
                    folder_id = self.folder_id(root_id, folder, create=False)
                    found = None if folder_id is None else self.file_at(folder_id, name)
                    if found is not None:
                        return found
        return None

    def below(self, path: str) -> list[Place]:
        """The folders at and below a full path."""
        found: list[int] = []
        for root_id, root in self.roots():
            base, inside = root.rstrip("/"), b""
            if path.startswith(base + "/"):
                inside = os.fsencode(path[len(base) + 1 :])
            elif root != path and not base.startswith(path.rstrip("/") + "/"):
                continue
            rows = self.db.execute(  # as bytes: a name that is no UTF-8 makes a path below it so, too
                "SELECT id FROM folder WHERE root_id = ?1 AND (?2 = x'' OR CAST(path AS BLOB) = ?2"
                " OR substr(CAST(path AS BLOB), 1, length(?2) + 1) = ?3)",
                (root_id, inside, inside + b"/"),
            )
            found += [row[0] for row in rows]
        return self.places(found)

    def roots_in(self, dataset: str) -> set[int]:
        """Ids of a dataset's roots."""
        rows = self.db.execute(
            "SELECT r.id FROM root r JOIN dataset d ON d.id = r.dataset_id WHERE d.name = ?", (dataset,)
        )
        return {row[0] for row in rows}

    def count_known(self, root_ids: Sequence[int]) -> int:
        """Files with images in these roots."""
        return int(
            self.db.execute(
                "SELECT count(*) FROM file f JOIN folder o ON o.id = f.folder_id WHERE f.pages > 0 AND o.root_id IN"
                " (SELECT value FROM json_each(?))",
                (json.dumps(root_ids),),
            ).get
        )

    def some(self, root_id: int, count: int) -> Iterator[str]:
        """Paths, relative to their root, of so many of its files with images, from its first to its last."""
        total = self.count_known([root_id])
        rows = self.db.execute(
            "SELECT o.path, f.name FROM folder o JOIN file f ON f.folder_id = o.id"
            " WHERE o.root_id = ? AND f.pages > 0 ORDER BY f.id",
            (root_id,),
        )
        step = max(1, total // count)
        for at, (folder, name) in enumerate(rows):
            if at % step == 0 and at // step < count:
                yield f"{from_db(folder)}/{from_db(name)}" if folder else from_db(name)

    def images_of(self, file_ids: Sequence[int]) -> dict[int, list[tuple[int, int, int]]]:
        """File id → (image id, page, content id) of its images."""
        rows = self.db.execute(
            "SELECT file_id, id, page, content_id FROM image WHERE file_id IN (SELECT value FROM json_each(?))"
            " ORDER BY file_id, page",
            (json.dumps(file_ids),),
        )
        found: dict[int, list[tuple[int, int, int]]] = {}
        for file_id, *image in rows:
            found.setdefault(file_id, []).append(tuple(image))
        return found

    def last_file(self) -> int:
        """The greatest id of a file so far: those of files to come are greater, those of files that move are not."""
        return int(self.db.execute("SELECT ifnull(max(id), 0) FROM file").get)

    # -- changes ----------------------------------------------------------------------------------------------------

    def forget(self, file_ids: Sequence[int]) -> Iterator[int]:
        """Remove files with their images, a thousand a transaction; yields how many after each."""
        for start in range(0, len(file_ids), _MANY):
            part = file_ids[start : start + _MANY]
            with held(), transaction(self.db):
                self.db.execute("DELETE FROM file WHERE id IN (SELECT value FROM json_each(?))", (json.dumps(part),))
            yield len(part)

    def forget_pages(self, image_ids: Sequence[int]) -> None:
        """Remove images, and files that then have none."""
        with transaction(self.db):
            bound = json.dumps(image_ids)
            files = self.db.execute(
                "SELECT DISTINCT file_id FROM image WHERE id IN (SELECT value FROM json_each(?))", (bound,)
            ).fetchall()
            self.db.execute("DELETE FROM image WHERE id IN (SELECT value FROM json_each(?))", (bound,))
            self.db.execute(
                "DELETE FROM file WHERE id IN (SELECT value FROM json_each(?)) AND NOT EXISTS"
                " (SELECT 1 FROM image i WHERE i.file_id = file.id)",
                (json.dumps([file_id for (file_id,) in files]),),
            )

    def forget_roots(self, root_ids: Sequence[int]) -> None:
        """Remove roots of which no file is known, and datasets that have no root then."""
        with transaction(self.db):
            self.drop_empty_folders(root_ids)
            self.db.execute(
                "DELETE FROM root WHERE id IN (SELECT value FROM json_each(?)) AND NOT EXISTS"
                " (SELECT 1 FROM folder o WHERE o.root_id = root.id)",
                (json.dumps(root_ids),),
            )
            self.db.execute(
                "DELETE FROM dataset WHERE NOT EXISTS (SELECT 1 FROM root r WHERE r.dataset_id = dataset.id)"
            )

    def drop_empty_folders(self, root_ids: Sequence[int]) -> None:
        """Remove folders of these roots of which no file is known, and labels that nothing carries any more."""
        with transaction(self.db):
            self.db.execute(
                "DELETE FROM folder WHERE root_id IN (SELECT value FROM json_each(?)) AND NOT EXISTS"
                " (SELECT 1 FROM file f WHERE f.folder_id = folder.id)",
                (json.dumps(root_ids),),
            )
            self.drop_labels()

    def move_root(self, root_id: int, path: str) -> None:
        """Give a root its new place; all that is known of it is kept relative to it."""
        with transaction(self.db):
            self.db.execute("UPDATE root SET path = ? WHERE id = ?", (to_db(path), root_id))


def rebuild(path: str) -> None:
    """Rebuild a database in its place without what has been deleted from it, as one transaction.

    Raises TakenError when another program has it open. Ctrl-C undoes it.
    """
    db = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READWRITE)
    before = os.environ.get("SQLITE_TMPDIR")
    try:
        db.execute("PRAGMA locking_mode=EXCLUSIVE; PRAGMA synchronous=NORMAL")
        try:
            db.execute("BEGIN EXCLUSIVE")
        except apsw.BusyError as exc:
            raise TakenError(f"{path} is open in another program", "end it, and run the same command again") from exc
        db.execute("COMMIT")
        os.environ["SQLITE_TMPDIR"] = os.path.dirname(os.path.realpath(path))  # /tmp may be small, and in memory
        db.set_progress_handler(lambda: False, 10_000)  # in which Python hears Ctrl-C
        db.execute("VACUUM")
        db.set_progress_handler(None)
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    finally:
        db.close()
        if before is None:
            os.environ.pop("SQLITE_TMPDIR", None)
        else:
            os.environ["SQLITE_TMPDIR"] = before
