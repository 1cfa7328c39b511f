"""The default store's reading side: one image, and the nearest to a vector. Imports nothing heavy."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

from pictocli.catalog import EXACT_BELOW, at_least
from pictocli.records import ImageDetail, Scope
from pictocli.rows import ROWS, file_fields, image_fields
from pictocli.schema import from_db, to_db
from pictocli.selection import Condition, Selection, one_of
from pictocli.stored import is_number, require

__all__ = ["Queries"]

# Images that meet conditions are listed when they are a tenth of all at most: of a million images, the codes of 100,000
# are found among their ids as fast as among all, in 120 ms, but those of 700,000 in 1,100. These are found by the 8,600
# nearest of all codes, of which 4,000 pass, in 150 ms.
_FEW = 10
_MORE = 1.5  # times as many codes as the share that passes asks for: it is not the same everywhere


class Queries(Selection):
    """Reads from one open database."""

    def version(self) -> int:
        """A number that is another one once another connection has changed the database."""
        return self.db.version()

    def begin(self) -> None:
        """See the database as it is now, whatever others write, until `end`."""
        if not self.db.in_transaction:
            self.db.execute("BEGIN")

    def end(self) -> None:
        """See what others have written since `begin`."""
        if self.db.in_transaction:
            self.db.execute("ROLLBACK")

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

    def thumbnail(self, image_id: int) -> bytes | None:
        """The stored thumbnail of an image, a JPEG."""
        found: bytes | None = self.db.execute(
            "SELECT t.jpeg FROM image i JOIN thumbnail t ON t.content_id = i.content_id WHERE i.id = ?", (image_id,)
        ).get
        require(isinstance(found, bytes | None), f"the thumbnail of image {image_id} is none")
        return found

    def drawn_from(self, image_id: int) -> tuple[str, int]:
        """The kind of an image's file, as "jpeg", and the DPI at which its page was rendered, 0 for all but PDFs."""
        row: Any = self.db.execute(
            "SELECT f.kind, c.dpi FROM image i JOIN file f ON f.id = i.file_id JOIN content c ON c.id = i.content_id"
            " WHERE i.id = ?",
            (image_id,),
        ).fetchone()
        require(row is not None and isinstance(row[0], str), f"the file of image {image_id} is of no kind")
        require(is_number(row[1], 0, kind=int), f"the resolution of image {image_id} is none")
        return row[0], row[1]

    def within(self, image_id: int, folders: list[int] | None) -> bool:
        """Whether an image lies in one of these folders."""
        held = self.db.execute("SELECT folder_id FROM image WHERE id = ?", (image_id,)).get
        return folders is None or held in folders

    def place(self, image_id: int) -> Scope:
        """The dataset and folder of an image, which a query by that image looks in."""
        row: Any = self.db.execute(
            "SELECT d.name, o.path FROM image i JOIN folder o ON o.id = i.folder_id JOIN root r ON r.id = o.root_id"
            " JOIN dataset d ON d.id = r.dataset_id WHERE i.id = ?",
            (image_id,),
        ).fetchone()
        require(row is not None and isinstance(row[0], str), f"image {image_id} lies in no dataset and folder")
        return Scope(row[0], from_db(row[1]))

    def fields(self, ids: Iterable[int]) -> dict[int, dict[str, Any]]:
        """The fields of records.Image for each of these ids. DamagedError when one of them is not whole."""
        wanted = list(ids)
        where = "WHERE i.id IN (SELECT value FROM json_each(?))"
        rows = self.db.execute(f"{ROWS} {where}", (json.dumps(wanted),))
        found = {row[0]: image_fields(row) for row in rows}
        for image_id in wanted:
            require(image_id in found, f"image {image_id} has lost its row, its file, folder or content")
        return found

    def detail(self, image_id: int) -> ImageDetail:
        """Everything known of one image."""
        row: Any = self.db.execute(
            "SELECT f.kind, f.size, i.indexed_at, c.hash, c.measures, json_extract(m.value, '$.id'),"
            " EXISTS (SELECT 1 FROM thumbnail t WHERE t.content_id = c.id), c.id"
            " FROM image i JOIN file f ON f.id = i.file_id JOIN content c ON c.id = i.content_id"
            " LEFT JOIN meta m ON m.key = 'model' WHERE i.id = ?",
            (image_id,),
        ).fetchone()
        fields = self.fields([image_id])[image_id]
        model, has_thumbnail, content_id = row[5:]
        require(isinstance(model, str | None), "what it says of its model is wrong")
        copies = [
            image_fields(other)["path"]
            for other in self.db.execute(f"{ROWS} WHERE i.content_id = ? AND i.id <> ?", (content_id, image_id))
        ]
        return ImageDetail(
            **fields,
            **file_fields(image_id, *row[:5]),
            model=model or "",
            has_thumbnail=bool(has_thumbnail),
            copies=copies,
        )

    # -- nearest neighbours -----------------------------------------------------------------------------------------

    def nearest(
        self,
        vector: bytes,
        folders: list[int] | None,
        limit: int,
        *,
        conditions: Sequence[Condition] = (),
        without: int = 0,
        exact: bool,
    ) -> list[tuple[int, float]]:
        """The `limit` images nearest to `vector` (float32 bytes), as (image id, cosine), nearest first.

        Of those in scope that meet all conditions. exact: compare with every one of them; else with the best few
        thousand by 1-bit code. Ties go by id.
        """
        if self.db.neighbours is not None:
            passing = self.asking(conditions, folders) if conditions else None
            return self.db.neighbours.nearest(vector, limit, folders, passing, without=without, exact=exact)
        column, among = "folder_id", folders
        if not exact:
            column, among = "id", self.chosen(vector, folders, conditions)
        elif conditions:
            column, among = "id", list(self.passing(conditions, folders))
        where = "" if among is None else f"AND i.{column} IN (SELECT value FROM json_each(:among))"  # noqa: S608 - our texts
        rows = self.db.execute(
            "SELECT i.id, vec_distance_cosine(e.v, :q) d FROM image i CROSS JOIN embedding e"  # noqa: S608 - our texts
            f" ON e.content_id = i.content_id WHERE i.id <> :without {where} ORDER BY d, i.id LIMIT :limit",
            {"q": vector, "among": json.dumps(among), "limit": limit, "without": without},
        )
        found: list[Any] = rows.fetchall()
        for image_id, distance in found:  # NULL is what SQLite makes of NaN, and comes first
            require(distance is not None, f"the embedding of image {image_id} is not made of numbers")
        return [(image_id, 1.0 - distance) for image_id, distance in found]

    def cosines(self, vector: bytes, count: int) -> list[float]:
        """The cosines of `vector` (float32 bytes) with at most `count` contents, evenly spread over the library."""
        last = int(self.db.execute("SELECT ifnull(max(content_id), 0) FROM embedding").get)
        ids = json.dumps([at * last // count for at in range(1, count + 1)] if last > count else list(range(last + 1)))
        rows = self.db.execute(
            "SELECT vec_distance_cosine(v, ?) FROM embedding WHERE content_id IN (SELECT value FROM json_each(?))",
            (vector, ids),
        )
        found = [1.0 - distance for (distance,) in rows if distance is not None]
        require(all(-2 < cosine < 2 for cosine in found), "an embedding is not made of numbers")
        return found

    def cosines_of(self, vector: bytes, ids: Sequence[int]) -> dict[int, float]:
        """Image id → the cosine of its embedding with `vector` (float32 bytes)."""
        rows = self.db.execute(
            "SELECT i.id, vec_distance_cosine(e.v, ?) FROM image i JOIN embedding e ON e.content_id = i.content_id"
            " WHERE i.id IN (SELECT value FROM json_each(?))",
            (vector, json.dumps(list(ids))),
        )
        return {image_id: 1.0 - distance for image_id, distance in rows}

    def lost(self, folders: list[int] | None) -> int:
        """How many images in scope should have an embedding and have none. Those of an unfinished file may wait."""
        where = "" if folders is None else " AND i.folder_id IN (SELECT value FROM json_each(:folders))"
        return int(
            self.db.execute(
                "SELECT count(*) FROM image i JOIN file f ON f.id = i.file_id WHERE f.size IS NOT NULL"  # noqa: S608 - one of two texts
                f" AND NOT EXISTS (SELECT 1 FROM embedding e WHERE e.content_id = i.content_id){where}",
                {"folders": json.dumps(folders)},
            ).get
        )

    def miscounted(self, folders: list[int] | None) -> bool:
        """Whether the folders in scope hold other than the images that are counted with them, or codes are missing."""
        where = "" if folders is None else " WHERE i.folder_id IN (SELECT value FROM json_each(?))"
        bound = () if folders is None else (json.dumps(folders),)
        held, uncoded = self.db.execute(
            "SELECT count(*), count(e.content_id) - count(c.image_id) FROM image i"  # noqa: S608 - one of two texts
            " LEFT JOIN embedding e ON e.content_id = i.content_id"
            f" LEFT JOIN code c ON c.folder_id = i.folder_id AND c.image_id = i.id{where}",
            bound,
        ).get
        return held != self.count(folders) or (self.vector("mean") is not None and uncoded != 0)

    def chosen(self, vector: bytes, folders: list[int] | None, conditions: Sequence[Condition]) -> list[int]:
        """Ids of the images to compare with `vector`: those with the nearest codes, of all that meet the conditions."""
        count = self.compared(len(vector) // 4)
        if not conditions:
            return self.by_code(vector, folders, count)
        few, ids = self.count(folders) // _FEW, list[int]()
        more = folders is None and len(conditions) == 1 and conditions[0].least > few  # which need not be counted
        if not more:
            ids = list(islice(self.passing(conditions, folders), few + 1))
        if more or len(ids) > few:
            asked = int(_MORE * count * self.count(None) / min(condition.most for condition in conditions))
            while asked <= few:
                near = self.by_code(vector, folders, asked)
                met = set(self.passing([*conditions, one_of(near)], None))
                if len(met) >= count:
                    return [image_id for image_id in near if image_id in met][:count]
                asked = int(_MORE * count * asked / max(1, len(met)))
            ids = list(self.passing(conditions, folders))
        return self.by_code(vector, folders, count, ids)

    def by_code(
        self, vector: bytes, folders: list[int] | None, count: int, among: list[int] | None = None
    ) -> list[int]:
        """Ids of the `count` images whose 1-bit codes are nearest to `vector`'s, nearest first. Ties go by folder, id.

        Of those in scope or, where `among` is given, of those of these ids that are.
        """
        where = "TRUE"
        if folders is not None:
            where += " AND folder_id IN (SELECT value FROM json_each(:folders))"
        if among is not None:  # "+" keeps it out of the index, where every id would be sought in every folder
            where += " AND +image_id IN (SELECT value FROM json_each(:among))"
        rows = self.db.execute(
            f"SELECT image_id FROM code WHERE {where} ORDER BY vec_distance_hamming(vec_bit(c),"  # noqa: S608 - our texts
            " vec_quantize_binary(vec_sub(:q, :mean))), folder_id, image_id LIMIT :count",
            {
                "q": vector,
                "mean": self.vector("mean"),
                "folders": json.dumps(folders),
                "among": json.dumps(among),
                "count": count,
            },
        )
        return [image_id for (image_id,) in rows]

    def compared(self, bits: int) -> int:
        """How many images codes of so many bits choose to be compared."""
        kept = self.recall()
        return kept.compared if kept else at_least(bits)

    def uses_codes(self, folders: list[int] | None, bits: int, conditions: Sequence[Condition] = ()) -> bool:
        """Whether 1-bit codes find the nearest, of those in scope that meet the conditions, sooner than comparing all.

        They do not where a fifth of the images would be left to compare, which are read one by one and not in a row.
        """
        if self.db.neighbours is not None:
            return self.db.neighbours.serves(self.count(folders))
        few = max(EXACT_BELOW, 5 * self.compared(bits))
        if self.count(folders) < few or self.vector("mean") is None:
            return False
        if folders is None and len(conditions) == 1 and conditions[0].least >= few:
            return True
        return not conditions or len(list(islice(self.passing(conditions, folders), few))) == few
