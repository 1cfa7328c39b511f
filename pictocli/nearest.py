"""The images that are near enough to a vector, and what there is to say when none is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pictocli.holding import Holding
from pictocli.queries import Queries
from pictocli.selection import Condition
from pictocli.stored import require

__all__ = ["MAX_LIMIT", "Near", "near"]

MAX_LIMIT = 500  # the reference system's cap


@dataclass(frozen=True, slots=True)
class Near:
    """The nearest images, as (image id, cosine), nearest first.

    passing: those near enough. nearest: the cosine of the first of all, None when there is none. elsewhere: when
    nothing in scope is near enough, how many images of the whole database are, MAX_LIMIT at most. approximate: found
    by 1-bit codes, or by an engine's own index.
    """

    passing: list[tuple[int, float]]
    nearest: float | None
    elsewhere: int | None
    approximate: bool


def near(
    queries: Queries,
    holding: Holding,
    vector: bytes,
    folders: list[int] | None,
    conditions: Sequence[Condition],
    limit: int,
    enough: Callable[[float], bool],
    *,
    without: int = 0,
    least: bool,
    exact: bool,
) -> Near:
    """At most `limit` images in these folders (None: all) that meet all conditions, near enough to `vector`.

    enough: whether a cosine is. without: the id of an image to leave out. least: whether all that are near enough are
    wanted, not just the nearest: codes leave out one in a thousand of them, an engine's own index has no such bound, so
    that it is not asked. exact: compare with every image that is asked for, however many there are.
    """
    exact = exact or (least and queries.db.neighbours is not None)

    def found(folders: list[int] | None, limit: int) -> tuple[list[tuple[int, float]], bool]:
        by_code = not exact and queries.uses_codes(folders, len(vector) // 4, conditions)
        asked = holding.answering(queries) if by_code else queries
        hits = asked.nearest(vector, folders, limit, conditions=conditions, without=without, exact=not by_code)
        return hits, by_code

    hits, approximate = found(folders, limit)
    if len(hits) < limit:
        _require_all(queries, folders, conditions, len(hits) + 1, without)
    passing = [hit for hit in hits if enough(hit[1])]
    elsewhere = None
    if not passing and folders is not None:
        wide, _ = found(None, MAX_LIMIT)
        elsewhere = sum(enough(cosine) for _, cosine in wide)
    return Near(passing, hits[0][1] if hits else None, elsewhere, approximate)


def _require_all(
    queries: Queries, folders: list[int] | None, conditions: Sequence[Condition], more: int, without: int
) -> None:
    """DamagedError when fewer images came than there are: an answer that leaves some out would look whole.

    more: one more than came. Where images are asked for by their tags, only an answer without any is suspicious.
    """
    if conditions:
        expected = more == 1 and any(image_id != without for image_id in queries.passing(conditions, folders))
    else:
        expected = queries.count(folders) >= more + (without > 0 and queries.within(without, folders))
    if expected:
        lost = queries.lost(folders)
        require(lost == 0, f"{lost:,} of the images asked for have no embedding")
        require(bool(conditions) or not queries.miscounted(folders), "images are missing from it")
