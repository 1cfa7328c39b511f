"""What a database may hold, read strictly: a file that strangers or a failing disk have written to is not believed.

Everything here takes a stored value and returns it as picto works with it, or raises DamagedError that says what is
wrong with it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from pictocli.errors import DamagedError
from pictocli.records import ModelSpec, Pairs, Recall

__all__ = ["fields_of", "image_row", "is_number", "model", "moment", "names", "pairs", "recall", "require", "scores"]

_LONGEST = 2**24  # characters of one JSON value: a row of somebody's metadata, with room to spare
_LATEST = 2**34  # seconds: the year 2514, which is beyond what nanoseconds can count


def require(holds: bool, what: str) -> None:
    """Raise DamagedError that says `what` unless something holds."""
    if not holds:
        raise DamagedError(f"the database is damaged: {what}")


def is_number(value: Any, low: float = -math.inf, high: float = math.inf, kind: type = float) -> bool:
    """Whether a value is a finite number, or a whole one (kind=int), from `low` to `high`."""
    right = int if kind is int else (int, float)
    if not isinstance(value, right) or isinstance(value, bool):
        return False
    return abs(value) < 2**63 and math.isfinite(value) and low <= value <= high


def _constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def fields_of(text: Any, what: str) -> dict[str, Any]:
    """A stored JSON object."""
    found = None
    if isinstance(text, str) and len(text) <= _LONGEST:
        try:
            found = json.loads(text, parse_constant=_constant)
        except (ValueError, RecursionError):
            found = None
    require(isinstance(found, dict), f"{what} is no JSON object")
    assert isinstance(found, dict)
    return found


def scores(text: Any, what: str) -> dict[str, float]:
    """Stored tags: label → 0..1."""
    found = fields_of(text, what)
    require(all(is_number(score, 0, 1) for score in found.values()), f"{what} holds what is no score")
    return found


def moment(seconds: Any, what: str) -> int:
    """Seconds since 1970 that a calendar can show."""
    require(is_number(seconds, -_LATEST, _LATEST, int), f"{what} is no time")
    return int(seconds)


def image_row(values: Mapping[str, Any]) -> None:
    """Check the fields of records.Image, as they are read, and those of ImageDetail where they are there."""
    what = f"image {values['image_id']}"
    require(isinstance(values["dataset"], str), f"the dataset of {what} has no name")
    require(values["page"] is None or is_number(values["page"], 1, kind=int), f"the page of {what} is no number")
    require(values["thumbnail_url"] is None or isinstance(values["thumbnail_url"], str), f"{what} has no right URL")
    sides = (values["width"], values["height"])
    require(all(is_number(side, 1, kind=int) for side in sides), f"the size of {what} is no size")
    require(is_number(values["processing_time_ms"], 0), f"the processing time of {what} is no time")


def model(text: Any) -> ModelSpec:
    """The model that `meta` keeps."""
    what = "what it says of its model"
    kept = fields_of(text, what)
    require(set(kept) == set(ModelSpec.__slots__), f"{what} is not complete")
    right = all(isinstance(kept[name], str) for name in ("id", "revision", "resample")) and bool(kept["id"])
    right = right and all(is_number(kept[name], 1, 65_536, int) for name in ("dim", "image_size", "text_length"))
    right = right and all(is_number(kept[name]) for name in ("scale", "bias"))
    require(right and "\0" not in kept["id"], f"{what} is wrong")
    return ModelSpec(**kept)


def pairs(text: Any) -> tuple[str, str, Pairs]:
    """(model, revision, what was measured of random pairs)."""
    what = "what it says of random pairs"
    kept = fields_of(text, what)
    owner = kept.pop("model", None), kept.pop("revision", None)
    require(
        all(isinstance(each, str) for each in owner) and set(kept) == set(Pairs.__slots__), f"{what} is not complete"
    )
    ranks, cosines = kept["ranks"], kept["cosines"]
    right = isinstance(ranks, list) and isinstance(cosines, list) and len(ranks) == len(cosines) > 1
    right = right and all(is_number(each, 0, kind=int) for each in (*ranks, kept["n"], kept["contents"]))
    right = right and all(is_number(each, -1.01, 1.01) for each in cosines) and _ascends(ranks) and _ascends(cosines)
    require(right and ranks[0] == 0 and ranks[-1] == kept["n"] - 1, f"{what} is wrong")
    return str(owner[0]), str(owner[1]), Pairs(**kept)


def _ascends(values: Sequence[float]) -> bool:
    return all(low <= high for low, high in pairwise(values))


def names(text: Any) -> list[list[str]]:
    """Which fields of metadata have an index: the names that lead to each, from outside in."""
    found = None
    if isinstance(text, str) and len(text) <= _LONGEST:
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            found = None
    right = isinstance(found, list) and all(isinstance(field, list) and field for field in found)
    right = right and all(isinstance(name, str) for field in found or () for name in field)
    require(right, "what it says of indexed fields is wrong")
    assert isinstance(found, list)
    return found


def recall(text: Any) -> Recall:
    """What the last check of the fast path found."""
    what = "what it says of recall"
    kept = fields_of(text, what)
    require(set(kept) == set(Recall.__slots__), f"{what} is not complete")
    right = all(is_number(kept[name], 0, kind=int) for name in ("images", "compared", "questions"))
    right = right and all(is_number(kept[name], 0, 1) for name in ("nearest", "similar"))
    require(right and isinstance(kept["exact"], bool) and kept["compared"] > 0, f"{what} is wrong")
    return Recall(**kept)
