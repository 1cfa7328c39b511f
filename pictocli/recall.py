"""Checks the fast path against the exact one, on a library's own pictures, and makes it look as far as it must.

A picture is found when its 1-bit code is among those nearest to the question's, as many as are compared. So one pass
over all embeddings and codes tells what is found, whatever number is compared.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pictocli.catalog import at_least
from pictocli.codes import distances, packed
from pictocli.databases import connect, translated
from pictocli.display import percent
from pictocli.errors import StoreError
from pictocli.protocols import Database, Progress
from pictocli.queries import Queries
from pictocli.records import Recall
from pictocli.sqlite import SqliteStore

__all__ = ["check", "check_library", "check_when_due"]

QUESTIONS = 50
SIMILAR, NEAREST, MOST = 0.6, 50, 500  # what `similar` shows by default, and at most
GOALS = (0.995, 0.999)  # of the NEAREST, of the MOST
DRIFT = 1.0  # standard deviations that the mean may move: by fewer, codes made anew found less than .01 more
_BLOCK = 4096
_SCANNED, _LEAST = 20_000_000, 5  # embeddings that an engine is made to look at, in 10 to 30 s; questions at least


def check_library(path: str, progress: Progress) -> Recall:
    """Check the database at `path`; one that cannot be written is checked all the same."""
    try:
        db = connect(path)
    except StoreError:
        db = connect(path, readonly=True)
    try:
        with translated(path):
            return check(db, progress)
    finally:
        db.close()


def check_when_due(db: Database, progress: Progress) -> None:
    """Check a library that never was, or is half or twice as large as it was then: 0.2 s at 20,000 images."""
    kept, images = Queries(db).recall(), Queries(db).count(None)
    if kept is None or not kept.images / 2 < images < kept.images * 2:
        check(db, progress)


def check(db: Database, progress: Progress) -> Recall:
    """Find the least number of images to compare that reaches GOALS, keep it for later questions, and say if it is new.

    The number doubles until it does; where comparing every image is as fast then, that is done. Where the usual number
    falls short and the mean has moved since codes were made, they are made anew first.
    """
    queries, writable = Queries(db), db.writable
    images, spec = queries.count(None), queries.spec()
    bits = spec.dim if spec else 768
    usual, before = at_least(bits), queries.compared(bits)
    if not queries.uses_codes(None, bits):
        return Recall(images=images, exact=True, compared=before, questions=0, nearest=1.0, similar=1.0)
    if db.neighbours is not None:
        recall = _asked(queries, images, progress)
        if writable:
            queries.keep_recall(recall)
        return recall
    seen = _look(queries, images, progress)
    if writable and not seen.enough(usual) and seen.drift(queries.vector("mean")) > DRIFT:
        SqliteStore(db).build_codes(seen.mean.astype("<f4").tobytes())
        progress.say("The mean of the embeddings has moved: 1-bit codes were made anew")
        seen = _look(queries, images, progress)
    recall = _chosen(seen, usual, images)
    if writable:
        queries.keep_recall(recall)
    if recall.compared != before:
        progress.say(_told(before, seen.found(before), recall, writable))
    return recall


@dataclass(frozen=True, slots=True)
class _Seen:
    """What one pass over a library saw.

    Of every question's true neighbours, nearest first, [questions, MOST]: cosines; how many codes are nearer to the
    question's than theirs, and how many just as near, their own included. mean: of all embeddings.
    """

    cosines: NDArray[np.float32]
    nearer: NDArray[np.int64]
    tied: NDArray[np.int64]
    mean: NDArray[np.float64]

    def found(self, compared: int) -> tuple[float, float]:
        """The shares of the NEAREST and of the MOST similar that are among so many codes; of ties, as many as fit."""
        found, similar = np.clip((compared - self.nearer) / self.tied, 0, 1), self.cosines >= SIMILAR
        sets = (found[:, :many][similar[:, :many]] for many in (NEAREST, MOST))
        nearest, most = (float(each.mean()) if each.size else 1.0 for each in sets)
        return nearest, most

    def enough(self, compared: int) -> bool:
        """Whether comparing so many reaches the goals."""
        return all(share >= goal for share, goal in zip(self.found(compared), GOALS, strict=True))

    def drift(self, mean: bytes | None) -> float:
        """How far the mean is from an earlier one (float32 bytes), in standard deviations of the embeddings."""
        return float(np.linalg.norm(self.mean - np.frombuffer(mean or b"", "<f4")) / np.sqrt(1 - self.mean @ self.mean))


def _chosen(seen: _Seen, compared: int, images: int) -> Recall:
    while not seen.enough(compared):  # at the latest, all of them are
        compared *= 2
    exact = 5 * compared > images
    nearest, similar = (1.0, 1.0) if exact else (round(share, 6) for share in seen.found(compared))
    return Recall(
        images=images, exact=exact, compared=compared, questions=len(seen.cosines), nearest=nearest, similar=similar
    )


def _told(before: int, found: tuple[float, float], recall: Recall, writable: bool) -> str:
    nearest, similar = percent(found)
    held = f"With {before:,} images compared, {nearest} of the nearest {NEAREST} and {similar} of the {MOST}"
    now = "every image" if recall.exact else f"{recall.compared:,} images"
    then = f"from now on {now} will be" if writable else f"{now} should be, but the database cannot be written"
    return f"{held} at {SIMILAR:.2f} or above are found; {then}"


def _asked(queries: Queries, images: int, progress: Progress) -> Recall:
    """What an engine's own index finds of the exact answers, each of which looks at every image: fewer of many.

    compared: all images, which says that no codes are. similar: 1, as what has a threshold does not go by the index.
    """
    many = max(_LEAST, min(QUESTIONS, _SCANNED // images))
    last = int(queries.db.execute("SELECT ifnull(max(id), 0) FROM image").get)
    hits = true = 0
    for number in range(many):
        progress.doing(f"checking recall, {number / many:.0%}")
        image_id = queries.db.execute("SELECT min(id) FROM image WHERE id > ?", (number * last // many,)).get
        vector = queries.embedding(image_id)
        if vector is None:  # of a file that is not finished
            continue
        every, fast = (
            {other for other, _ in queries.nearest(vector, None, NEAREST, without=image_id, exact=exact)}
            for exact in (True, False)
        )
        hits, true = hits + len(every & fast), true + len(every)
    progress.doing("")
    share = round(hits / true, 6) if true else 1.0
    if share < GOALS[0]:
        progress.say(f"The index finds {percent([share])[0]} of the nearest {NEAREST}; a threshold does not go by it")
    return Recall(images=images, exact=False, compared=images, questions=many, nearest=share, similar=1.0)


def _look(queries: Queries, images: int, progress: Progress) -> _Seen:
    """Compare the questions with every image, by cosine and by code."""
    tally, seen, started = _Tally(*_questions(queries, images)), 0, time.monotonic()
    rows = queries.db.execute(
        "SELECT e.v, c.c FROM embedding e CROSS JOIN image i ON i.content_id = e.content_id"
        " CROSS JOIN code c ON c.folder_id = i.folder_id AND c.image_id = i.id"
    )
    while block := list(islice(rows, _BLOCK)):
        tally.add(_vectors([vector for vector, _ in block]), packed([code for _, code in block]))
        seen += len(block)
        if time.monotonic() - started > 1:
            progress.doing(f"checking recall, {seen / images:.0%}")
    progress.doing("")
    return tally.seen()


def _questions(queries: Queries, images: int) -> tuple[NDArray[np.float32], list[NDArray[np.uint64]]]:
    """The embeddings and codes of QUESTIONS pictures, evenly from the first to the last, the same ones every time."""
    step = max(1, images // QUESTIONS)
    contents = queries.db.execute("SELECT content_id FROM image ORDER BY content_id")  # by an index: reads no row
    ids = [content_id for (content_id,) in islice(contents, step // 2, None, step)][:QUESTIONS]
    rows: Any = queries.db.execute(
        "SELECT v, vec_quantize_binary(vec_sub(v, ?)) FROM embedding"
        " WHERE content_id IN (SELECT value FROM json_each(?))",
        (queries.vector("mean"), json.dumps(ids)),
    ).fetchall()
    return _vectors([vector for vector, _ in rows]), [packed([code]) for _, code in rows]


def _vectors(blobs: Sequence[bytes]) -> NDArray[np.float32]:
    return np.frombuffer(b"".join(blobs), "<f4").reshape(len(blobs), -1)


class _Tally:
    """The questions' nearest images so far, and how many codes lie at each distance from theirs."""

    def __init__(self, questions: NDArray[np.float32], codes: list[NDArray[np.uint64]]) -> None:
        self._questions, self._codes = questions, codes
        self._cosines = np.full((len(questions), MOST + 1), -2, np.float32)
        self._apart = np.zeros(self._cosines.shape, np.int64)
        self._counts = np.zeros((len(questions), questions.shape[1] + 1), np.int64)
        self._total, self._images = np.zeros(questions.shape[1]), 0

    def add(self, vectors: NDArray[np.float32], codes: NDArray[np.uint64]) -> None:
        """Compare with so many images more: embeddings [n, dim], and codes as `packed` gives them."""
        far = np.stack([distances(codes, each) for each in self._codes])
        for counts, row in zip(self._counts, far, strict=True):
            counts += np.bincount(row, minlength=len(counts))
        cosines, apart = np.hstack([self._cosines, self._questions @ vectors.T]), np.hstack([self._apart, far])
        nearest = np.argpartition(-cosines, MOST)[:, : MOST + 1]
        self._cosines, self._apart = np.take_along_axis(cosines, nearest, 1), np.take_along_axis(apart, nearest, 1)
        self._total, self._images = self._total + vectors.sum(0, dtype=np.float64), self._images + len(vectors)

    def seen(self) -> _Seen:
        """What there is to say after the last image."""
        order = np.argsort(-self._cosines)[:, 1:]  # the nearest of all is the question itself
        cosines, apart = np.take_along_axis(self._cosines, order, 1), np.take_along_axis(self._apart, order, 1)
        tied = np.take_along_axis(self._counts, apart, 1)
        nearer = np.take_along_axis(self._counts.cumsum(1), apart, 1) - tied
        return _Seen(cosines, nearer, tied, self._total / self._images)
