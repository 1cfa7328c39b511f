"""The nearest in a library of Lance tables: by an index of its own (IVF_HNSW_SQ), or by comparing with every one.

The tables hold an embedding a content, which copies share; the catalogue says which images have it. What an index finds
is compared in full before it is told, so that it only chooses. Exact answers never go through it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pictocli.catalog import EXACT_BELOW
from pictocli.protocols import Database, Passing
from pictocli.scale.lance.indexes import Tables, build, indexed_rows, partitions
from pictocli.scale.lance.tables import width_of
from pictocli.stored import require

__all__ = ["Points"]

_PROBES, _SHARE = 20, 16  # partitions searched for what is near: so many, and one more for each so many there are
_NEAR = 200  # rows; what is farther than these lies in any partition, so that more of them are searched:
_WIDE = 256  # all, or so many and a quarter of the others; with 22 of 40, .92 of those of a common label were found
_LEAST = 100  # the ef of a search
_FEW = 5000  # images that pass are compared one by one, in 60 ms, when they are no more
_WIDEST = 8000  # rows an index is asked for in 300 ms; it takes a list of those that may come better
_LISTED = 200_000  # ids in such a list, 1 s
_BLOCK = 8192  # rows of a scan at a time
_ROUNDING = 4e-6  # what a float32 dot product is off by, at most: nobody is left out for it

Pairs = NDArray[np.int64]
"""Images with their contents: int64 [n, 2]."""


class Points:
    """A `protocols.Neighbours` over the table `embedding`: content_id int64, v float32 [dim]."""

    def __init__(self, db: Tables) -> None:
        self.db = db
        self._seen: tuple[object, int] = (None, 0)

    def serves(self, images: int) -> bool:
        """Whether the index is there, and sooner done than comparing so many images."""
        return images >= EXACT_BELOW and self._indexed(self.db.dataset("embedding")) > 0

    def nearest(
        self, vector: bytes, limit: int, folders: Sequence[int] | None, passing: Passing | None, *, without: int,
        exact: bool,
    ) -> list[tuple[int, float]]:  # fmt: skip
        """The `limit` images nearest to `vector` (float32 bytes), as (image id, cosine); see `Neighbours.nearest`."""
        points = self.db.dataset("embedding")
        if points is None or limit < 1:
            return []
        width = width_of(points.schema)
        require(len(vector) == 4 * (width or 0), "its embeddings are of another width than what they are compared with")
        question = np.frombuffer(vector, "<f4").astype(np.float64)
        question /= np.linalg.norm(question)
        asked = _Asked(self.db, folders, passing, without)
        if exact or not self._indexed(points):
            return _compared(points, question, limit, asked)
        return _sought(points, question, limit, asked)

    def build(self) -> None:
        """Make the index where it pays, bring it up to date where it fell behind, and publish it."""
        build(self.db)

    def _indexed(self, points: Any) -> int:
        """Rows that are in the index of this version."""
        if points is None:
            return 0
        if self._seen[0] != points.version:
            self._seen = (points.version, indexed_rows(points, "v"))
        return self._seen[1]


class _Asked:
    """Which images are asked for: all, or those in some folders, or those that pass; none is `without`."""

    def __init__(self, db: Database, folders: Sequence[int] | None, passing: Passing | None, without: int) -> None:
        self.db, self.passing, self.without = db, passing, without
        self.folders = None if folders is None else json.dumps(list(folders))
        self.everything = folders is None and passing is None

    def few(self, most: int) -> Pairs | None:
        """All of them, None when there are more than `most`."""
        found = self._read(most + 1)
        return self._but(found) if len(found) <= most else None

    def listed(self) -> Pairs:
        """All of them."""
        return self._but(self._read(-1))

    def _read(self, limit: int) -> list[Any]:
        if self.passing is not None:
            query, values = self.passing
            source = f"(SELECT image_id FROM ({query}) LIMIT ?) p JOIN image i ON i.id = p.image_id"  # noqa: S608 - our texts
            return self.db.execute(f"SELECT i.id, i.content_id FROM {source}", (*values, limit)).fetchall()  # noqa: S608 - our texts
        return self.db.execute(
            "SELECT id, content_id FROM image WHERE folder_id IN (SELECT value FROM json_each(?)) LIMIT ?",
            (self.folders, limit),
        ).fetchall()

    def with_contents(self, contents: NDArray[np.int64]) -> Pairs:
        """Those that have one of these contents."""
        where, values = "", [json.dumps(contents.tolist())]
        if self.passing is None and self.folders is not None:
            where = " AND folder_id IN (SELECT value FROM json_each(?))"
            values.append(self.folders)
        found = self.db.execute(
            f"SELECT id, content_id FROM image WHERE content_id IN (SELECT value FROM json_each(?)){where}",  # noqa: S608 - our texts
            values,
        ).fetchall()
        if self.passing is not None:  # SQLite takes the second condition into the query, and looks up these ids alone
            query, bound = self.passing
            these = json.dumps([image_id for image_id, _ in found])
            text = f"SELECT image_id FROM ({query}) WHERE image_id IN (SELECT value FROM json_each(?))"  # noqa: S608 - our texts
            met = {image_id for (image_id,) in self.db.execute(text, (*bound, these))}
            found = [pair for pair in found if pair[0] in met]
        return self._but(found)

    def _but(self, found: list[Any]) -> Pairs:
        pairs: Pairs = np.array(found, np.int64).reshape(-1, 2)
        _, first = np.unique(pairs[:, 0], return_index=True)  # a query may name an image twice
        kept: Pairs = pairs[first][pairs[first, 0] != self.without]
        return kept


class _Best:
    """The contents nearest to a question of all that were seen, with those that tie with the last of them."""

    def __init__(self, question: NDArray[np.float64], count: int) -> None:
        self.question, self.count = question, count
        self.ids, self.cosines = np.zeros(0, np.int64), np.zeros(0)
        self._floor = -2.0

    def see(self, ids: NDArray[np.int64], vectors: NDArray[np.float32]) -> None:
        """Take what is near enough of these: ids [n], vectors [n, dim]. DamagedError for what is made of no numbers."""
        if not len(ids):
            return
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            near = vectors @ self.question.astype("f4") / np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
        require(bool(np.isfinite(near).all()), "an embedding is not made of numbers")
        chosen = near >= self._floor
        self.ids = np.concatenate([self.ids, ids[chosen]])
        self.cosines = np.concatenate([self.cosines, _cosines(vectors[chosen], self.question)])
        if len(self.ids) > self.count:
            least = np.partition(self.cosines, -self.count)[-self.count]
            self._floor = least - _ROUNDING
            kept = self.cosines >= least
            self.ids, self.cosines = self.ids[kept], self.cosines[kept]

    def placed(self, pairs: Pairs, limit: int) -> list[tuple[int, float]]:
        """The first `limit` of these images that have one of the contents, nearest first; ties go by id."""
        if not len(self.ids):
            return []
        order = np.argsort(self.ids)
        at = np.minimum(np.searchsorted(self.ids[order], pairs[:, 1]), len(order) - 1)
        held = self.ids[order][at] == pairs[:, 1]
        images, cosines = pairs[held, 0], self.cosines[order][at][held]
        first = np.lexsort((images, -cosines))[:limit]
        return list(zip(images[first].tolist(), cosines[first].tolist(), strict=True))


def _cosines(vectors: NDArray[np.float32], question: NDArray[np.float64]) -> NDArray[np.float64]:
    """Row by row, so that equal vectors have equal cosines wherever they stand: [n, dim], [dim] → [n]."""
    wide = vectors.astype(np.float64)
    found: NDArray[np.float64] = (wide * question).sum(1) / np.sqrt((wide * wide).sum(1))
    return found


def _compared(
    points: Any, question: NDArray[np.float64], limit: int, asked: _Asked, pairs: Pairs | None = None
) -> list[tuple[int, float]]:
    """The nearest of all that are asked for, each compared. pairs: these, where they have been listed already."""
    if pairs is None and not asked.everything:
        pairs = asked.listed()
    contents = None if pairs is None else np.unique(pairs[:, 1])
    count = limit + 1  # the image to be left out may be one
    while True:
        best = _Best(question, count)
        for ids, vectors in _rows(points, contents):
            best.see(ids, vectors)
        found = best.placed(asked.with_contents(best.ids) if pairs is None else pairs, limit)
        if len(found) == limit or len(best.ids) < count:
            return found
        count *= 4  # the table may hold what no image has any more


def _sought(points: Any, question: NDArray[np.float64], limit: int, asked: _Asked) -> list[tuple[int, float]]:
    """The nearest by the index.

    Few images are compared without it. Of more, it is asked for so many rows that enough of them pass; where that would
    be too many, for the nearest of those that pass.
    """
    if not asked.everything:
        few = asked.few(_FEW)
        if few is not None:
            return _compared(points, question, limit, asked, few)
    enough = limit + limit // 2 + 10
    count = 2 * limit + 100
    while count <= _WIDEST:
        best = _from_index(points, question, count, wide=not asked.everything)
        pairs = asked.with_contents(best.ids)
        if len(pairs) >= enough:
            return best.placed(pairs, limit)
        count = int(count * max(2.0, 1.5 * enough / max(1, len(pairs))))
    if not asked.everything:
        pairs = asked.listed()
        contents = np.unique(pairs[:, 1])
        if len(contents) <= _LISTED:
            found = _from_index(points, question, 2 * enough, contents, wide=True).placed(pairs, limit)
            if len(found) == limit:
                return found
    return _compared(points, question, limit, asked)


def _from_index(
    points: Any, question: NDArray[np.float64], count: int, contents: NDArray[np.int64] | None = None, *, wide: bool
) -> _Best:
    """The `count` rows nearest to a question, of these contents (None: all), by the index and compared afterwards.

    wide: not all that it finds is wanted, so that what is wanted may lie far off.
    """
    parts = partitions(points.count_rows())
    probes = min(parts, _PROBES + parts // _SHARE)
    if wide or count > _NEAR:
        probes = min(parts, _WIDE + max(0, parts - _WIDE) // 4)
    nearest = {
        "column": "v", "q": question.astype("f4"), "k": count, "metric": "cosine",
        "ef": max(_LEAST, count * 3 // 2), "minimum_nprobes": probes, "maximum_nprobes": probes,
    }  # fmt: skip
    where = None if contents is None else _listing(contents)
    found = points.scanner(
        columns=["content_id", "v"], nearest=nearest, filter=where, prefilter=True, disable_scoring_autoprojection=True
    ).to_table()
    best = _Best(question, count)
    for batch in found.to_batches():
        best.see(*_arrays(batch))
    return best


def _rows(points: Any, contents: NDArray[np.int64] | None) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """Rows of the table, of these contents (None: all), block by block: ids [n] and vectors [n, dim]."""
    where = None
    if contents is not None and len(contents) <= min(_LISTED, points.count_rows() // 8):
        where = _listing(contents)
    scanner = points.scanner(columns=["content_id", "v"], batch_size=_BLOCK, filter=where)
    for ids, vectors in map(_arrays, scanner.to_batches()):
        if contents is None or where is not None:
            yield ids, vectors
        else:
            among = np.isin(ids, contents, assume_unique=True)
            yield ids[among], vectors[among]


def _listing(contents: NDArray[np.int64]) -> str:
    """The condition of being one of these, in the SQL that Lance takes."""
    return f"content_id IN ({','.join(map(str, contents.tolist()))})" if len(contents) else "false"


def _arrays(batch: pa.RecordBatch) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    column = batch.column("v")
    return batch.column("content_id").to_numpy(), column.flatten().to_numpy().reshape(len(column), -1)
