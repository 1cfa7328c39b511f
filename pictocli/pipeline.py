"""What lies between files and the database: many are decoded ahead of their turn, and embedded a batch at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import numpy as np

from pictocli.brain import Model, checked
from pictocli.decode import Decoded, Inspected, Refused, inspect
from pictocli.kinds import Limits
from pictocli.pdfs import OPEN, Opening
from pictocli.protocols import Calls
from pictocli.workers import CrashedError, LateError

__all__ = ["DEFAULT_DPI", "SPOOLED", "ahead", "embedded", "inspected"]

AHEAD = 64  # calls
DECODE_AHEAD = 2**30  # bytes that decoding takes at a time, a machine: 12 pictures of 100 megapixels would take 5 to 10
SPOOLED = 4  # so that 256 MB of files that were fetched wait to be looked at, and as many to be decoded
DEFAULT_DPI = 72  # the second reference system's
T = TypeVar("T")


def _outcome(pool: Calls, job: Any) -> Any:
    """What a decoding job gave; Refused where it crashed its process."""
    try:
        return pool.result(job)
    except CrashedError:
        return Refused("crashed its decoder", "crash")
    except LateError:  # of a share that stalls, or a decoder that does not end: who knows; the next run tries again
        return Refused(f"not done in time, over --max-seconds {pool.limit:g}", "unreadable")


def ahead(
    pool: Calls, calls: Iterable[tuple[T, int, Callable[..., Any], tuple[Any, ...]]], window: int = AHEAD
) -> Iterator[tuple[T, Any]]:
    """Make calls (item, bytes that it takes, function, arguments) and yield (item, outcome), in the same order.

    At most `window` calls and DECODE_AHEAD bytes a machine are under way; one call always may be.
    """
    waiting: deque[tuple[T, int, Any]] = deque()
    taken, room = 0, DECODE_AHEAD * pool.machines
    for item, size, function, arguments in calls:
        while waiting and (len(waiting) >= window or taken + size > room):
            first, its_size, job = waiting.popleft()
            yield first, _outcome(pool, job)
            taken -= its_size
        waiting.append((item, size, pool.submit(function, *arguments)))
        taken += size
    for item, _, job in waiting:
        yield item, _outcome(pool, job)


def inspected(
    pool: Calls, files: Iterable[tuple[T, str]], limits: Limits, opening: Callable[[T], Opening] = lambda _: OPEN,
    fetched: Callable[[T], int] = lambda _: 0,
) -> Iterator[tuple[T, Inspected | Refused]]:  # fmt: skip
    """What files are, given as (item, path), in the same order. Each takes but a hash and a kind.

    fetched: bytes of one that lies here for our sake alone, and counts `SPOOLED` times.
    """
    return ahead(
        pool, ((item, SPOOLED * fetched(item), inspect, (path, limits, opening(item))) for item, path in files),
        max(AHEAD, 4 * pool.count if pool.machines > 1 else 0),
    )  # fmt: skip


def embedded(
    model: Model, pictures: Iterable[tuple[T, Decoded]], batch_size: int | None
) -> Iterator[list[tuple[T, bytes]]]:
    """Embed (item, picture) a batch at a time, and yield (item, embedding) in the same order and batches.

    batch_size: None is as many as the model takes best. On a GPU the next batch is under way while one is dealt with.
    """
    items: list[T] = []
    pixels: list[Any] = []
    under_way = deque[Callable[[], list[tuple[T, bytes]]]]()

    def begin() -> Callable[[], list[tuple[T, bytes]]]:
        vectors, taken = model.embedder.begin_images(np.stack(pixels)), items.copy()
        items.clear()
        pixels.clear()
        return lambda: list(zip(taken, checked(vectors(), model.spec), strict=True))

    for item, picture in pictures:
        items.append(item)
        pixels.append(picture.pixels)
        if len(items) >= (batch_size or model.embedder.batch_size):
            under_way.append(begin())
            while len(under_way) > model.embedder.asynchronous:
                yield under_way.popleft()()
    if items:
        under_way.append(begin())
    for wait in under_way:
        yield wait()
