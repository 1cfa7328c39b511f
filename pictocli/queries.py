"""The default store's reading side: nearest neighbours, tags, one image. Imports nothing heavy."""

from __future__ import annotations

import json
import os
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

from pictocli.catalog import EXACT_BELOW, Catalog, at_least
from pictocli.errors import NotFoundError
from pictocli.records import CATEGORIES, ImageDetail, Scope
from pictocli.schema import from_db, to_db

__all__ = ["Queries"]

_ROWS = """
    SELECT i.id, r.path, o.path, f.name, i.page, d.name, i.objects, i.scenes, i.attributes, i.metadata,
      i.thumbnail_url, c.width, c.height, c.processing_time_ms, f.mtime_ns
    FROM image i JOIN file f ON f.id = i.file_id JOIN folder o ON o.id = i.folder_id JOIN root r ON r.id = o.root_id
      JOIN dataset d ON d.id = r.dataset_id JOIN content c ON c.id = i.content_id"""


def _fields(row: Sequence[Any]) -> dict[str, Any]:
    """One row of _ROWS as the keyword arguments of records.Image."""
    image_id, root, folder, name, page, dataset, *tags, metadata, thumbnail_url, width, height, ms, mtime_ns = row
    scores = {category: json.loads(text) for category, text in zip(CATEGORIES, tags, strict=True)}
    path = os.path.join(from_db(root), from_db(folder), from_db(name))
    return {
        "image_id": image_id,
        "path": f"{path}#page={page}" if page else path,
        "filename": from_db(name),
        "dataset": dataset,
        "folder": from_db(folder),
        "page": page or None,
        "tags": {category: list(labels) for category, labels in scores.items()},
        "scores": scores,
        "metadata": None if metadata is None else json.loads(metadata),
        "thumbnail_url": thumbnail_url,
        "width": width,
        "height": height,
        "processing_time_ms": ms,
        "modified": _iso((mtime_ns or 0) // 1_000_000_000),
    }


class Queries(Catalog):
    """Reads from one open database."""

    def version(self) -> int:
        """A number that is another one once another connection has changed the database."""
        return int(self.db.pragma("data_version"))

    # -- which folders ----------------------------------------------------------------------------------------------

    def folders(self, scope: Scope) -> list[int] | None:
        """Ids of the folders in scope, None for all of them. NotFoundError when the dataset or folder is not there."""
        if scope.dataset is None and scope.folder is None:
            return None
        rows: list[Any] = self.db.execute(
            "SELECT o.id, r.path, o.path FROM folder o JOIN root r ON r.id = o.root_id"
            " JOIN dataset d ON d.id = r.dataset_id WHERE ?1 IS NULL OR d.name = ?1",
            (scope.dataset,),
        ).fetchall()
        if (
            scope.dataset is not None
            and not self.db.execute("SELECT 1 FROM dataset WHERE name = ?", (scope.dataset,)).get
        ):
            names = ", ".join(name for (name,) in self.db.execute("SELECT name FROM dataset ORDER BY name"))
            raise NotFoundError(f"there is no dataset {scope.dataset}", f"datasets: {names}" if names else None)
        if scope.folder is None or scope.folder.strip("/") == "":
            return [row[0] for row in rows]
        found = _below(rows, scope.folder)
        if not found:
            raise NotFoundError(
                f"no indexed folder {scope.folder}", "folders are named relative to the dataset, / is all of it"
            )
        return found

    def count(self, folders: list[int] | None) -> int:
        """Images in these folders, from the counts kept with them."""
        where = "" if folders is None else " WHERE id IN (SELECT value FROM json_each(?))"
        bound = () if folders is None else (json.dumps(folders),)
        return int(self.db.execute(f"SELECT ifnull(sum(images), 0) FROM folder{where}", bound).get)  # noqa: S608 - one of two texts

    # -- one image --------------------------------------------------------------------------------------------------

    def by_id(self, image_id: int) -> bool:
        """Whether there is such an image."""
        return bool(self.db.execute("SELECT 1 FROM image WHERE id = ?", (image_id,)).get)

    def by_path(self, path: str, page: int | None) -> int | None:
        """The id of the image at a full path (its first page when none is named), in either Unicode form."""
        for form in dict.fromkeys((path, unicodedata.normalize("NFC", path), unicodedata.normalize("NFD", path))):
            for root_id, root in self.roots():
                base = root.rstrip("/") + "/"
                if not form.startswith(base):
                    continue
                folder, _, name = form[len(base) :].rpartition("/")
                found: int | None = self.db.execute(
                    "SELECT i.id FROM folder o JOIN file f ON f.folder_id = o.id JOIN image i ON i.file_id = f.id"
                    " WHERE o.root_id = ?1 AND o.path = ?2 AND f.name = ?3 AND (?4 IS NULL OR i.page = ?4)"
                    " ORDER BY i.page LIMIT 1",
                    (root_id, to_db(folder), to_db(name), page),
                ).get
                if found is not None:
                    return found
        return None

    def by_hash(self, digest: bytes, page: int | None) -> int | None:
        """The id of an image whose file has these bytes."""
        found: int | None = self.db.execute(
            "SELECT i.id FROM content c JOIN image i ON i.content_id = c.id WHERE c.hash = ?1"
            " AND (?2 IS NULL OR c.page = ?2) ORDER BY c.page, i.id LIMIT 1",
            (digest, page),
        ).get
        return found

    def embedding(self, image_id: int) -> bytes | None:
        """The embedding of an image: little-endian float32, L2-normalised."""
        found: bytes | None = self.db.execute(
            "SELECT e.v FROM image i JOIN embedding e ON e.content_id = i.content_id WHERE i.id = ?", (image_id,)
        ).get
        return found

    def folder_of(self, image_id: int) -> int:
        """The id of an image's folder."""
        return int(self.db.execute("SELECT folder_id FROM image WHERE id = ?", (image_id,)).get)

    def place(self, image_id: int) -> Scope:
        """The dataset and folder of an image, which a query by that image looks in."""
        dataset, folder = self.db.execute(
            "SELECT d.name, o.path FROM image i JOIN folder o ON o.id = i.folder_id JOIN root r ON r.id = o.root_id"
            " JOIN dataset d ON d.id = r.dataset_id WHERE i.id = ?",
            (image_id,),
        ).get
        return Scope(dataset, from_db(folder))

    def fields(self, ids: Iterable[int]) -> dict[int, dict[str, Any]]:
        """The fields of records.Image for each of these ids."""
        where = "WHERE i.id IN (SELECT value FROM json_each(?))"
        rows = self.db.execute(f"{_ROWS} {where}", (json.dumps(list(ids)),))
        return {row[0]: _fields(row) for row in rows}

    def detail(self, image_id: int) -> ImageDetail:
        """Everything known of one image."""
        row: Any = self.db.execute(
            "SELECT f.kind, f.size, i.indexed_at, c.hash, c.measures, json_extract(m.value, '$.id'),"
            " EXISTS (SELECT 1 FROM thumbnail t WHERE t.content_id = c.id), c.id"
            " FROM image i JOIN file f ON f.id = i.file_id JOIN content c ON c.id = i.content_id"
            " JOIN meta m ON m.key = 'model' WHERE i.id = ?",
            (image_id,),
        ).fetchone()
        kind, size, indexed_at, digest, measures, model, has_thumbnail, content_id = row
        copies = [
            _fields(other)["path"]
            for other in self.db.execute(f"{_ROWS} WHERE i.content_id = ? AND i.id <> ?", (content_id, image_id))
        ]
        return ImageDetail(
            **self.fields([image_id])[image_id],
            kind=kind,
            size=size or 0,
            indexed_at=_iso(indexed_at),
            content_hash=digest.hex(),
            model=model,
            measures=json.loads(measures),
            has_thumbnail=bool(has_thumbnail),
            copies=copies,
        )

    # -- nearest neighbours -----------------------------------------------------------------------------------------

    def nearest(
        self, vector: bytes, folders: list[int] | None, limit: int, *, without: int = 0, exact: bool
    ) -> list[tuple[int, float]]:
        """The `limit` images nearest to `vector` (float32 bytes), as (image id, cosine), nearest first.

        exact: compare with every image in scope; else with the best few thousand by 1-bit code. Ties go by id.
        """
        column, among = "folder_id", folders
        if not exact:
            column, among = "id", self.by_code(vector, folders, self.compared(len(vector) // 4))
        where = "" if among is None else f"AND i.{column} IN (SELECT value FROM json_each(:among))"  # noqa: S608 - our texts
        rows = self.db.execute(
            "SELECT i.id, vec_distance_cosine(e.v, :q) d FROM image i CROSS JOIN embedding e"  # noqa: S608 - our texts
            f" ON e.content_id = i.content_id WHERE i.id <> :without {where} ORDER BY d, i.id LIMIT :limit",
            {"q": vector, "among": json.dumps(among), "limit": limit, "without": without},
        )
        return [(image_id, 1.0 - distance) for image_id, distance in rows]

    def by_code(self, vector: bytes, folders: list[int] | None, count: int) -> list[int]:
        """Ids of the `count` images in scope whose 1-bit codes are nearest to `vector`'s. Ties go by folder and id."""
        where = "" if folders is None else "WHERE folder_id IN (SELECT value FROM json_each(:folders))"
        rows = self.db.execute(
            f"SELECT image_id FROM code {where} ORDER BY vec_distance_hamming(vec_bit(c),"  # noqa: S608 - our texts
            " vec_quantize_binary(vec_sub(:q, :mean))), folder_id, image_id LIMIT :count",
            {"q": vector, "mean": self.vector("mean"), "folders": json.dumps(folders), "count": count},
        )
        return [image_id for (image_id,) in rows]

    def compared(self, bits: int) -> int:
        """How many images codes of so many bits choose to be compared."""
        kept = self.recall()
        return kept.compared if kept else at_least(bits)

    def uses_codes(self, folders: list[int] | None, bits: int) -> bool:
        """Whether 1-bit codes find the nearest in these folders sooner than comparing all does.

        They do not where a fifth of the images would be left to compare, which are read one by one and not in a row.
        """
        images = self.count(folders)
        return images >= max(EXACT_BELOW, 5 * self.compared(bits)) and self.vector("mean") is not None

    # -- tags -------------------------------------------------------------------------------------------------------

    def label_id(self, category: int, name: str) -> tuple[int, str] | None:
        """(tag id, label) of a label or alias of a category as it is spelled in the taxonomy."""
        row: Any = self.db.execute(
            "SELECT id, name FROM tag WHERE category = ?1 AND name = ?2 UNION ALL SELECT t.id, t.name FROM tag_alias a"
            " JOIN tag t ON t.id = a.tag_id WHERE a.category = ?1 AND a.alias = ?2 LIMIT 1",
            (category, name),
        ).fetchone()
        return None if row is None else (row[0], row[1])

    def spellings(self, category: int) -> dict[str, str]:
        """Every label and alias of a category → the label."""
        rows: Any = self.db.execute(
            "SELECT name, name FROM tag WHERE category = ?1 UNION ALL SELECT a.alias, t.name FROM tag_alias a"
            " JOIN tag t ON t.id = a.tag_id WHERE a.category = ?1",
            (category,),
        )
        return dict(rows)

    def tagged(
        self, groups: Sequence[Sequence[int]], folders: list[int] | None, limit: int, *, by_score: bool
    ) -> list[int]:
        """Ids of the images that carry at least one tag of every group.

        In the order of ids, or by the mean score of the tags that matched. The rarest drives, a group or the folders;
        the others are looked up for each of its images. So the cost follows the rarest and not the library.
        """
        ordered = sorted(groups, key=self._images_with)
        rarest, inside = self._images_with(ordered[0]), self.count(folders)
        driver = "tags" if rarest <= inside else "folders"
        if not by_score and min(rarest, inside) * 20 > self.count(None):
            driver = "ids"  # going through them finds enough soon
        wanted = "x.tag_id IN (SELECT value FROM json_each(?))"
        # "+" makes a condition of it. SQLite would make a join, and for that index all tags of all images, every time
        where = [f"+EXISTS (SELECT 1 FROM image_tag x WHERE {wanted} AND x.image_id = i.id)"] * len(ordered)  # noqa: S608 - our texts
        bound = [json.dumps(list(group)) for group in ordered]
        if driver == "tags":
            where[0] = f"i.id IN (SELECT image_id FROM image_tag x WHERE {wanted})"  # noqa: S608 - our texts
        if folders is not None:
            where.append(f"{'+' * (driver != 'folders')}i.folder_id IN (SELECT value FROM json_each(?))")  # noqa: S608 - our texts
            bound.append(json.dumps(folders))
        order = "i.id"
        if by_score:
            order = (
                "(SELECT avg(x.score) FROM image_tag x WHERE x.tag_id IN (SELECT value FROM json_each(?))"
                " AND x.image_id = i.id) DESC, i.id"
            )
            bound.append(json.dumps([tag for group in groups for tag in group]))
        rows = self.db.execute(
            f"SELECT i.id FROM image i WHERE {' AND '.join(where)} ORDER BY {order} LIMIT ?",  # noqa: S608 - our texts
            (*bound, limit),
        )
        return [row[0] for row in rows]

    def _images_with(self, group: Sequence[int]) -> int:
        return int(
            self.db.execute(
                "SELECT ifnull(sum(n), 0) FROM tag WHERE id IN (SELECT value FROM json_each(?))",
                (json.dumps(list(group)),),
            ).get
        )


def _below(rows: Sequence[tuple[int, Any, Any]], folder: str) -> list[int]:
    """Ids of the folders that are `folder` or lie below it.

    `folder` is first taken relative to its root, then as a path of the file system.
    """
    relative = folder.strip("/")
    found = [i for i, _, path in rows if from_db(path) == relative or from_db(path).startswith(relative + "/")]
    if found:
        return found
    full = os.path.abspath(folder)
    joined = [(i, os.path.join(from_db(root), from_db(path)).rstrip("/")) for i, root, path in rows]
    return [i for i, path in joined if path == full or path.startswith(full + "/")]


def _iso(seconds: int) -> str:
    """Seconds since 1970 as 2026-08-20T18:22:05Z."""
    import time

    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
