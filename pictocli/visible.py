"""Hides all but some images from one connection: the tables that it asks are views of these images alone.

SQLite looks a table's name up among temporary ones first. So every question that reads `image`, `folder`, `tag` … by
these names sees what it may see, counts and names too, and what a question forgets to filter is hidden all the same.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from pictocli.errors import NotFoundError, ValidationError
from pictocli.filters import filtering
from pictocli.queries import Queries
from pictocli.records import Scope
from pictocli.schema import savepoint

__all__ = ["HIDDEN", "Bounds", "hide"]


@dataclass(frozen=True, slots=True)
class Bounds:
    """Which images may be seen: those in one of the datasets and in one of the folders that meet all conditions.

    Empty is all of them. folders: relative to a dataset, or full paths. where: conditions on metadata, such as
    "price<50". Raises ValidationError for a dataset or folder without a name: it would be taken for everything.
    """

    datasets: Sequence[str] = ()
    folders: Sequence[str] = ()
    where: Sequence[str] = ()

    def __post_init__(self) -> None:
        for kind, names in (("dataset", self.datasets), ("folder", self.folders)):
            if not all(name.strip() for name in names):
                raise ValidationError(f"a {kind} without a name is given", f"name the {kind}, or leave it out for all")

    def __bool__(self) -> bool:
        return bool(self.datasets or self.folders or self.where)


_SEEN = """
    CREATE TEMP TABLE IF NOT EXISTS seen_image(id INTEGER PRIMARY KEY);
    CREATE TEMP TABLE IF NOT EXISTS seen_file(id INTEGER PRIMARY KEY);
    CREATE TEMP TABLE IF NOT EXISTS seen_content(id INTEGER PRIMARY KEY);
    CREATE TEMP TABLE IF NOT EXISTS seen_folder(id INTEGER PRIMARY KEY, images INT NOT NULL);
    CREATE TEMP TABLE IF NOT EXISTS seen_tag(id INTEGER PRIMARY KEY, n INT NOT NULL);
    DELETE FROM temp.seen_image; DELETE FROM temp.seen_file; DELETE FROM temp.seen_content;
    DELETE FROM temp.seen_folder; DELETE FROM temp.seen_tag;
"""
_FILL = """
    INSERT OR IGNORE INTO temp.seen_file SELECT file_id FROM main.image WHERE id IN temp.seen_image;
    INSERT OR IGNORE INTO temp.seen_content SELECT content_id FROM main.image WHERE id IN temp.seen_image;
    INSERT INTO temp.seen_folder SELECT folder_id, count(*) FROM main.image WHERE id IN temp.seen_image GROUP BY 1;
    INSERT INTO temp.seen_tag SELECT tag_id, count(*) FROM main.image_tag WHERE image_id IN temp.seen_image GROUP BY 1;
"""
# What of each table and view is seen. vector, text_embedding and tag_alias say nothing of single images; of `meta` the
# cosines of random pairs do, which are measured on the whole library. A label of an earlier taxonomy is there only
# while an image carries it.
_VIEWS = {
    "image": "SELECT * FROM main.image WHERE id IN temp.seen_image",
    "file": "SELECT * FROM main.file WHERE id IN temp.seen_file",
    "content": "SELECT * FROM main.content WHERE id IN temp.seen_content",
    "folder": "SELECT f.id, f.root_id, f.path, s.images FROM main.folder f JOIN temp.seen_folder s ON s.id = f.id",
    "root": "SELECT * FROM main.root WHERE id IN (SELECT root_id FROM temp.folder)",
    "dataset": "SELECT * FROM main.dataset WHERE id IN (SELECT dataset_id FROM temp.root)",
    "tag": "SELECT t.id, t.category, t.name, t.phrase, ifnull(s.n, 0) AS n FROM main.tag t"
    " LEFT JOIN temp.seen_tag s ON s.id = t.id WHERE t.phrase IS NOT NULL OR s.n > 0",
    "meta": "SELECT * FROM main.meta WHERE key <> 'pairs'",
    **{
        name: f"SELECT * FROM main.{name} WHERE content_id IN temp.seen_content"  # noqa: S608 - our names
        for name in ("embedding", "staged", "thumbnail", "capture", "input", "fingerprint")
    },
    **{
        name: f"SELECT * FROM main.{name} WHERE image_id IN temp.seen_image"  # noqa: S608 - our names
        for name in ("code", "image_tag", "image_label", "images", "tags", "embeddings")
    },
    **{
        name: f"SELECT * FROM main.{name} WHERE file_id IN temp.seen_file"  # noqa: S608 - our names
        for name in ("page_range", "validator")
    },
}
HIDDEN = tuple(_VIEWS)
"""The tables and views of which only a part is seen."""


def hide(queries: Queries, bounds: Bounds) -> None:
    """From now on the connection sees the images within these bounds, as the database is now, and no others.

    Nothing is written but what is temporary. Raises NotFoundError and ValidationError when there is no such dataset,
    folder or field; then all is seen that was seen before.
    """
    db = queries.db
    db.execute("PRAGMA query_only=OFF")  # which forbids what is temporary, too
    try:
        with savepoint(db):
            for name in HIDDEN:
                db.execute(f"DROP VIEW IF EXISTS temp.{name}")
            db.execute(_SEEN)
            _choose(queries, bounds)
            db.execute(_FILL)
            for name, seen in _VIEWS.items():
                db.execute(f"CREATE TEMP VIEW {name} AS {seen}")
    finally:
        db.execute("PRAGMA query_only=ON")


def _choose(queries: Queries, bounds: Bounds) -> None:
    """Put the ids of the images within bounds into temp.seen_image."""
    folders = _folders(queries, bounds)
    if bounds.where:
        ids = queries.passing(filtering(queries, {"where": bounds.where}), folders)
        queries.db.execute(
            "INSERT OR IGNORE INTO temp.seen_image SELECT value FROM json_each(?)", (json.dumps(list(ids)),)
        )
    elif folders is not None:
        queries.db.execute(
            "INSERT INTO temp.seen_image SELECT id FROM main.image WHERE folder_id IN (SELECT value FROM json_each(?))",
            (json.dumps(folders),),
        )
    else:
        queries.db.execute("INSERT INTO temp.seen_image SELECT id FROM main.image")


def _folders(queries: Queries, bounds: Bounds) -> list[int] | None:
    """Ids of the folders within bounds, None for all. A folder need be in one of the datasets only.

    It is never taken relative to the working directory, which the agent's program chooses.
    """
    datasets: Sequence[str | None] = bounds.datasets or [None]
    every = [queries.folders(Scope(dataset)) for dataset in datasets]  # each of them must be there
    if not bounds.folders:
        return None if None in every else sorted({each for found in every for each in found or ()})
    chosen = set[int]()
    for folder in bounds.folders:
        missing: NotFoundError | None = None
        found = set[int]()
        for dataset in datasets:
            try:
                found.update(queries.folders(Scope(dataset, folder), here=False) or ())
            except NotFoundError as exc:
                missing = exc
        if missing is not None and not found:
            raise missing
        chosen |= found
    return sorted(chosen)
