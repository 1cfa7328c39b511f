"""The default store's tags, made anew for every image from what is stored."""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from pictocli.protocols import Database
from pictocli.records import CATEGORIES

__all__ = ["Tag", "retag"]

BATCH = 2048  # contents tagged at once: 600 logits each, float64, 10 MB

Tags = Mapping[str, Mapping[str, float]]
Tag = Callable[[Sequence[tuple[bytes, str]]], Sequence[Tags]]
"""(embedding, measures) rows → category → label → score of each."""

_FOLLOWING = ("image_untagging", "image_retagged", "tag_more", "tag_less")


def retag(db: Database, tag: Tag, done: Callable[[int], None]) -> int:
    """Tag every image anew, within the caller's transaction; the number of images whose tags changed.

    done: told how many contents have been tagged since the last call. The triggers that keep the inverted table in
    step cost 200 µs an image: they are put aside, and the table is written once at the end, in the order of its key.
    """
    with db.without_triggers(_FOLLOWING):
        inverted = _Inverted(db)
        before = db.total_changes()
        for contents, images in _batches(db):
            tagged = tag([(vector, measures) for _, vector, measures in contents])
            rows = {content: tags for (content, _, _), tags in zip(contents, tagged, strict=True)}
            db.executemany(
                "UPDATE image SET objects = ?1, scenes = ?2, attributes = ?3"
                " WHERE content_id = ?4 AND (objects, scenes, attributes) IS NOT (?1, ?2, ?3)",
                [(*(json.dumps(tags[name]) for name in CATEGORIES), content) for content, tags in rows.items()],
            )
            for content, image in images:
                inverted.add(image, rows[content])
            done(len(contents))
        changed = db.total_changes() - before
        inverted.write()
    return changed


def _batches(db: Database) -> Iterator[tuple[list[tuple[int, bytes, str]], list[tuple[int, int]]]]:
    """(content id, embedding, measures) of all that has an embedding, and the (content id, image id) that share it."""
    last = -1
    while True:
        contents: Any = db.execute(
            "SELECT c.id, e.v, c.measures FROM content c JOIN embedding e ON e.content_id = c.id"
            " WHERE c.id > ? ORDER BY c.id LIMIT ?",
            (last, BATCH),
        ).fetchall()
        if not contents:
            return
        images: Any = db.execute(
            "SELECT i.content_id, i.id FROM image i JOIN embedding e ON e.content_id = i.content_id"
            " WHERE i.content_id BETWEEN ? AND ?",
            (contents[0][0], contents[-1][0]),
        ).fetchall()
        last = contents[-1][0]
        yield contents, images


class _Inverted:
    """The table image_tag as it will be, 24 bytes a row."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._ids: dict[tuple[int, str], int] = {
            (category, name): tag_id for tag_id, category, name in db.execute("SELECT id, category, name FROM tag")
        }
        self._tags, self._images, self._scores = array("q"), array("q"), array("d")

    def add(self, image: int, tags: Tags) -> None:
        """The tags of one image."""
        for category, name in enumerate(CATEGORIES):
            for label, score in tags[name].items():
                self._tags.append(self._id(category, label))
                self._images.append(image)
                self._scores.append(score)

    def _id(self, category: int, label: str) -> int:
        found = self._ids.get((category, label))
        if found is None:
            self._db.execute("INSERT INTO tag(category, name) VALUES(?, ?)", (category, label))
            found = self._ids[category, label] = self._db.last_insert_rowid()
        return found

    def write(self) -> None:
        """Replace the stored table, and the counts."""
        order = np.lexsort((np.frombuffer(self._images, "q"), np.frombuffer(self._tags, "q")))
        self._db.execute("DELETE FROM image_tag")
        columns = [np.frombuffer(each, each.typecode)[order] for each in (self._tags, self._images, self._scores)]
        for start in range(0, len(order), 100_000):
            part = [each[start : start + 100_000].tolist() for each in columns]
            self._db.executemany("INSERT INTO image_tag VALUES(?, ?, ?)", zip(*part, strict=True))
        self._db.execute("UPDATE tag SET n = (SELECT count(*) FROM image_tag WHERE tag_id = tag.id)")
