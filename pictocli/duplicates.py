"""Groups of images that show the same picture: with the same bytes, or copies that were resized, cropped or turned."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from pictocli.copies import Copies, Picture
from pictocli.errors import ValidationError, check_range
from pictocli.grouped import Copy, Duplicates, Group
from pictocli.protocols import Progress
from pictocli.queries import Queries
from pictocli.records import Scope
from pictocli.selection import Condition

__all__ = ["KEEP", "LEAST", "duplicates"]

LEAST = 0.93
"""Of likeness, where copies begin; `matching.LIKE`, which is not loaded for copies of the same bytes."""

_KEYS: dict[str, Callable[[Picture], Any]] = {
    "largest": lambda each: (-each.width * each.height, -each.size),
    "oldest": lambda each: each.moment,
    "newest": lambda each: -each.moment,
    "first": lambda each: each.image_id,
}
KEEP = tuple(_KEYS)


class _Member(NamedTuple):
    """likeness: to the picture of its group that all others were compared with."""

    picture: Picture
    likeness: float


def duplicates(
    queries: Queries, scope: Scope, conditions: Sequence[Condition], keep: str | None, threshold: float,
    progress: Progress, *, exact: bool, pages: bool,
) -> Duplicates:  # fmt: skip
    """Answer `Library.duplicates`."""
    started = time.perf_counter()
    check_range("threshold", threshold, LEAST, 1)
    if keep is not None and keep not in KEEP:
        raise ValidationError(f"unknown rule of what to keep: {keep}", f"one of {', '.join(KEEP)}")
    copies = Copies(queries.db)
    folders = queries.folders(scope)
    pictures = copies.pictures(folders, pages=pages)
    in_scope = queries.count(folders)
    if conditions:
        asked = set(queries.passing(conditions, folders))
        in_scope = len(asked)
        pictures = [picture for picture in pictures if picture.image_id in asked]
    shown: dict[int, list[Picture]] = {}
    for picture in pictures:
        shown.setdefault(picture.content_id, []).append(picture)
    alike, lacking, plain = ([], 0, 0) if exact else _near(copies, shown, threshold, progress)
    near = {content_id for contents in alike for content_id, _ in contents}
    found = [[(content_id, 1.0)] for content_id in shown if content_id not in near] + alike
    groups = [
        [_Member(each, likeness) for content_id, likeness in some for each in shown[content_id]] for some in found
    ]
    kept = [_ordered(members, keep) for members in groups if len(members) > 1]
    kept.sort(key=lambda members: min(member.picture.image_id for member in members))
    fields = queries.fields(member.picture.image_id for members in kept for member in members)
    return Duplicates(
        groups=[_group(number, members, keep, fields) for number, members in enumerate(kept, 1)],
        scope=scope, considered=len(pictures), left_out=in_scope - len(pictures), lacking=lacking,
        plain=plain, seconds=time.perf_counter() - started,
    )  # fmt: skip


def _near(
    copies: Copies, shown: dict[int, list[Picture]], threshold: float, progress: Progress
) -> tuple[list[list[tuple[int, float]]], int, int]:
    """Groups of (content id, likeness to the first); how many images have no fingerprint, how many too little in it."""
    import numpy as np

    from pictocli.matching import SIDE, groups, matches

    kept = [(content_id, v) for content_id, v in copies.fingerprints(SIDE * SIDE) if content_id in shown]
    ids = [content_id for content_id, _ in kept]
    prints = np.frombuffer(b"".join(v for _, v in kept), np.uint8).reshape(-1, SIDE, SIDE)
    del kept
    found = matches(prints, threshold, progress)
    alike = [[(ids[place], likeness) for place, likeness in group] for group in groups(len(ids), found)]
    plain = sum(len(shown[ids[place]]) for place in np.flatnonzero(found.flat).tolist())
    lacking = sum(map(len, shown.values())) - sum(len(shown[content_id]) for content_id in ids)
    return alike, lacking, plain


def _ordered(members: Sequence[_Member], keep: str | None) -> list[_Member]:
    """Members with the one to keep first, else in the order they came in; ties go by image id."""
    if keep is None:
        return list(members)
    return sorted(members, key=lambda each: (_KEYS[keep](each.picture), each.picture.image_id))


def _group(number: int, members: Sequence[_Member], keep: str | None, fields: dict[int, dict[str, Any]]) -> Group:
    first, *others = members
    told = [
        Copy(**fields[first.picture.image_id], kind="first", similarity=1.0, kept=_kept(keep, True), size=first[0].size)
    ]
    for at, (picture, likeness) in enumerate(others, 1):
        earlier = members[:at]
        if any(other.picture.content_id == picture.content_id for other in earlier):
            kind, likeness = "exact", 1.0
        elif likeness == 1 and any(_same(picture, other) for other in earlier):
            kind = "same"
        else:
            kind, likeness = "near", min(likeness, first.likeness)
        told.append(
            Copy(**fields[picture.image_id], kind=kind, similarity=likeness, kept=_kept(keep, False), size=picture.size)
        )
    return Group(group=number, images=told)


def _same(picture: Picture, other: _Member) -> bool:
    """Whether another picture with the same fingerprint as all of likeness 1 is as large."""
    sizes = (picture.width, picture.height), (other.picture.width, other.picture.height)
    return other.likeness == 1 and sizes[0] == sizes[1]


def _kept(keep: str | None, first: bool) -> bool | None:
    return None if keep is None else first
