"""Which images a question is about: those in some folders, and those that meet conditions, such as tags."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from pictocli.catalog import Catalog
from pictocli.errors import NotFoundError
from pictocli.protocols import Passing
from pictocli.records import Scope
from pictocli.schema import from_db, to_db
from pictocli.urls import is_url

__all__ = ["Condition", "Selection", "one_of"]

_SAMPLE = 500  # images: 5 ms
_GIVEN = "(SELECT value FROM json_each(?))"


@dataclass(frozen=True, slots=True)
class Condition:
    """What is asked of an image, in SQL: two texts that take the same values, in the same order.

    lists: a query for the `image_id` of all that meet it, which may name one twice. holds: a term that is true when
    `l.image_id` meets it. most, least: how many images meet it, at most and at least, or about; least 0 says nothing.
    """

    lists: str
    holds: str
    values: tuple[str | int | float, ...]
    most: int
    least: int = 0


def one_of(ids: Sequence[int]) -> Condition:
    """The condition of being one of these images."""
    lists, holds = "SELECT value AS image_id FROM json_each(?)", f"l.image_id IN {_GIVEN}"
    return Condition(
        lists, holds, (json.dumps(sorted(ids)),), len(ids), len(ids)
    )  # in turn, so that pages are read once


class Selection(Catalog):
    """Finds images by where they lie and by what is asked of them."""

    # -- which folders ----------------------------------------------------------------------------------------------

    def folders(self, scope: Scope, *, here: bool = True) -> list[int] | None:
        """Ids of the folders in scope, None for all of them. NotFoundError when the dataset or folder is not there.

        here: whether a folder may be named relative to the working directory.
        """
        if scope.dataset is None and scope.folder is None:
            return None
        dataset = None if scope.dataset is None else to_db(scope.dataset)
        rows: list[Any] = self.db.execute(
            "SELECT o.id, r.path, o.path FROM folder o JOIN root r ON r.id = o.root_id"
            " JOIN dataset d ON d.id = r.dataset_id WHERE ?1 IS NULL OR d.name = ?1",
            (dataset,),
        ).fetchall()
        if dataset is not None and not self.db.execute("SELECT 1 FROM dataset WHERE name = ?", (dataset,)).get:
            names = ", ".join(name for (name,) in self.db.execute("SELECT name FROM dataset ORDER BY name"))
            raise NotFoundError(f"there is no dataset {scope.dataset}", f"datasets: {names}" if names else None)
        if scope.folder is None or scope.folder.strip("/") == "":
            return [row[0] for row in rows]
        found = _below(rows, scope.folder, here)
        if not found:
            raise NotFoundError(
                f"no indexed folder {scope.folder}", "folders are named relative to the dataset, / is all of it"
            )
        return found

    def count(self, folders: list[int] | None) -> int:
        """Images in these folders, from the counts kept with them."""
        where = "" if folders is None else f" WHERE id IN {_GIVEN}"
        bound = () if folders is None else (json.dumps(folders),)
        return int(self.db.execute(f"SELECT ifnull(sum(images), 0) FROM folder{where}", bound).get)  # noqa: S608 - one of two texts

    # -- labels -----------------------------------------------------------------------------------------------------

    def label_id(self, category: int, name: str) -> tuple[int, str] | None:
        """(tag id, label) of a label or alias of a category as it is spelled in the taxonomy."""
        row: Any = self.db.execute(
            "SELECT id, name FROM tag WHERE category = ?1 AND name = ?2 UNION ALL SELECT t.id, t.name FROM tag_alias a"
            " JOIN tag t ON t.id = a.tag_id WHERE a.category = ?1 AND a.alias = ?2 LIMIT 1",
            (category, to_db(name)),
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

    # -- conditions -------------------------------------------------------------------------------------------------

    def carrying(self, groups: Sequence[Sequence[int]]) -> list[Condition]:
        """The conditions of carrying at least one tag of every group."""
        lists = f"SELECT image_id FROM image_tag WHERE tag_id IN {_GIVEN}"  # noqa: S608 - our texts
        holds = f"EXISTS (SELECT 1 FROM image_tag x WHERE x.tag_id IN {_GIVEN} AND x.image_id = l.image_id)"  # noqa: S608 - our texts
        return [Condition(lists, holds, (value,), self._most(value)) for value in map(json.dumps, groups)]

    def settled(self, condition: Condition) -> Condition:
        """The same condition by the ids of its images, so that they are looked for once; where they are more than a
        third of all, which is found out from 500 of them, with how many they are about.
        """
        total = self.count(None)
        enough = max(1000, total // 3)
        about = self._estimated(condition) if enough > 1000 else condition
        if about.least <= enough:
            ids = list(islice(self.passing([condition], None), enough + 1))
            if len(ids) <= enough:
                return one_of(list(set(ids)))
        return about

    def joined(self, conditions: Sequence[Condition]) -> list[Condition]:
        """The same conditions, those of `settled`; as one where no more than a third of all images meet all of them."""
        enough = max(1000, self.count(None) // 3)
        if len(conditions) > 1:
            ids = list(islice(self.passing(conditions, None), enough + 1))
            if len(ids) <= enough:
                return [one_of(list(set(ids)))]
        return list(conditions)

    def _estimated(self, condition: Condition) -> Condition:
        """The same condition, with what the share of 500 images that meet it, at even distances, comes to."""
        total, last = self.count(None), int(self.db.execute("SELECT ifnull(max(id), 0) FROM image").get)
        some = one_of(range(1 + last % _SAMPLE, last + 1, 1 + last // _SAMPLE))
        met, of = self.db.execute(
            f"SELECT ifnull(sum({condition.holds}), 0), count(*) FROM"  # noqa: S608 - our texts
            f" (SELECT id AS image_id FROM image WHERE id IN {_GIVEN}) l",
            (*condition.values, *some.values),
        ).get
        about = total * met // of if of > _SAMPLE // 5 else 0
        return replace(condition, least=about, most=about or condition.most)

    def passing(self, conditions: Sequence[Condition], folders: list[int] | None) -> Iterator[int]:
        """Ids of the images in scope that meet all conditions, in no order; some may come twice.

        The condition that the fewest images meet drives: the others are looked up for each of these.
        """
        return (image_id for (image_id,) in self.db.execute(*self.asking(conditions, folders)))

    def asking(self, conditions: Sequence[Condition], folders: list[int] | None) -> Passing:
        """What `passing` asks of the database, and the values that it binds."""
        first, *others = self._fewest_first(conditions, folders)
        query = f"SELECT image_id FROM ({first.lists}) l WHERE {_held(others)}"  # noqa: S608 - our texts
        return query, [value for condition in (first, *others) for value in condition.values]

    def tagged(
        self, groups: Sequence[Sequence[int]], folders: list[int] | None, limit: int, *, by_score: bool,
        conditions: Sequence[Condition] = (),
    ) -> list[int]:  # fmt: skip
        """Ids of the images that carry at least one tag of every group and meet all conditions, of which one is needed.

        In the order of ids, or by the mean score of the tags that matched. The rarest drives, a group or the folders;
        the others are looked up for each of its images. So the cost follows the rarest and not the library.
        """
        first, *others = ordered = self._fewest_first([*self.carrying(groups), *conditions], folders)
        lists = first.lists
        if not by_score and first.most * 20 > self.count(None):  # going through the ids finds enough soon
            lists, others = "SELECT id AS image_id FROM image", ordered
        bound: list[Any] = [value for condition in ordered for value in condition.values]
        order = "image_id"
        if by_score:
            scores = f"FROM image_tag x WHERE x.tag_id IN {_GIVEN} AND x.image_id = l.image_id"
            order = f"(SELECT avg(x.score) {scores}) DESC, image_id"
            bound.append(json.dumps([tag for group in groups for tag in group]))
        rows = self.db.execute(
            f"SELECT DISTINCT image_id FROM ({lists}) l WHERE {_held(others)} ORDER BY {order} LIMIT ?",  # noqa: S608 - our texts
            (*bound, limit),
        )
        return [row[0] for row in rows]

    def _fewest_first(self, conditions: Sequence[Condition], folders: list[int] | None) -> list[Condition]:
        """Conditions, and that of the scope, in the order of how many images meet them."""
        every = [*conditions]
        if folders is not None:
            lists = f"SELECT id AS image_id FROM image WHERE folder_id IN {_GIVEN}"  # noqa: S608 - our texts
            holds = f"EXISTS (SELECT 1 FROM image f WHERE f.id = l.image_id AND f.folder_id IN {_GIVEN})"  # noqa: S608 - our texts
            every.append(Condition(lists, holds, (json.dumps(folders),), self.count(folders)))
        return sorted(every, key=lambda condition: condition.most)

    def _most(self, tags: str) -> int:
        """How many images carry one of these tags (ids, as JSON), at most."""
        return int(self.db.execute(f"SELECT ifnull(sum(n), 0) FROM tag WHERE id IN {_GIVEN}", (tags,)).get)  # noqa: S608 - our texts


def _held(conditions: Sequence[Condition]) -> str:
    """The WHERE for the images `l` that meet all conditions.

    "+" makes a condition of each. SQLite would make a join, and for that index all tags of all images, every time.
    """
    return " AND ".join(["TRUE", *(f"+{condition.holds}" for condition in conditions)])


def _below(rows: Sequence[tuple[int, Any, Any]], folder: str, here: bool) -> list[int]:
    """Ids of the folders that are `folder` or lie below it.

    `folder` is first taken relative to its root, then as a path of the file system: a full one, unless `here`.
    """
    relative = folder.strip("/")
    found = [i for i, _, path in rows if from_db(path) == relative or from_db(path).startswith(relative + "/")]
    if found or not (here or is_url(folder) or os.path.isabs(folder)):
        return found
    full = folder.rstrip("/") if is_url(folder) else os.path.abspath(folder)
    joined = [(i, os.path.join(from_db(root), from_db(path)).rstrip("/")) for i, root, path in rows]
    return [i for i, path in joined if path == full or path.startswith(full + "/")]
