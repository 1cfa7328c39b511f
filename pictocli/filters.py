"""What images can be filtered by beside tags, metadata, dates, cameras and places → conditions on them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import TypedDict

from pictocli.conditions import between, compared, near_to, taken_with
from pictocli.errors import ValidationError
from pictocli.expressions import Comparison, parse
from pictocli.fields import Fields, field_shown
from pictocli.queries import Queries
from pictocli.selection import Condition

__all__ = ["Filters", "filtering", "moment"]

_DATE = re.compile(r"(\d{4})(?:-(\d\d?)(?:-(\d\d?)(?:[T ](\d\d?):(\d\d)(?::(\d\d))?)?)?)?", re.ASCII)
_AGO = re.compile(r"(\d{1,9})([hdwy])", re.ASCII)
_HOURS = {"h": 1, "d": 24, "w": 7 * 24}
_EPOCH = datetime(1970, 1, 1)
_EVER = 2**62  # beyond all dates, in seconds and in nanoseconds
_FURTHEST = 20_037.6  # km: half of the way around the Earth, and a little
_HINT = "2024, 2024-05, 2024-05-01, 2024-05-01T12:00, or how long ago: 12h, 30d, 6w, 1y"


class Filters(TypedDict, total=False):
    """What `similar`, `search`, `tagged` and `export` can be asked for beside tags, all of it at once.

    where: conditions on metadata, such as "price<50"; the grammar is that of `expressions.py`. after, before: from
    when on, and before when, the image was taken, by its camera's clock; else its file last changed, by this machine's.
    A text as --after takes it, or a date or datetime (of local time, where it has no zone). camera: a part of its name.
    near: latitude, longitude and kilometres, as numbers or as one text with commas.
    """

    where: str | Sequence[str] | None
    after: str | date | None
    before: str | date | None
    camera: str | None
    near: str | Sequence[float] | None


def filtering(queries: Queries, filters: Filters) -> list[Condition]:
    """The conditions of meeting all filters, for queries to apply before they look for the nearest.

    Raises ValidationError for a date, camera, place or field that is none, ExpressionError for what does not parse.
    """
    if unknown := set(filters) - Filters.__annotations__.keys():
        raise TypeError(f"there is no filter {', '.join(sorted(unknown))}")
    where, camera, near = filters.get("where"), filters.get("camera"), filters.get("near")
    comparisons = [parse(each) for each in ([where] if isinstance(where, str) else where or ())]
    found = _dated(queries, filters.get("after"), filters.get("before"))
    if camera is not None:
        if not camera.strip() or not camera.isprintable():
            raise ValidationError("no camera given", "--camera takes a part of its name, such as canon")
        found.append(taken_with(queries, camera.strip()))
    if near is not None:
        found.append(near_to(queries, *_place(near)))
    settled = [queries.settled(each) for each in found] + [_comparing(queries, each) for each in comparisons]
    return queries.joined(settled)


def _comparing(queries: Queries, comparison: Comparison) -> Condition:
    """The condition of a comparison. Raises ValidationError when no image has such a field."""
    found, fields = queries.settled(compared(queries, comparison)), Fields(queries.db)
    absent = None in comparison.values or "" in comparison.values  # which a misspelled field is in every image
    if (found.most and not absent) or not queries.count(None) or fields.exists(comparison.field):
        return found
    known, name = fields.names(), field_shown(comparison.field)
    if not known:
        raise ValidationError(f"no image has metadata, and so no field {name}", "picto index --metadata FILE gives it")
    import difflib  # 4 ms that only a mistake pays

    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5) or known[:10]
    raise ValidationError(f"no image has a field {name}", f"nearest: {', '.join(close)}")


def _dated(queries: Queries, after: str | date | None, before: str | date | None) -> list[Condition]:
    if after is None and before is None:
        return []
    now = datetime.now()
    first, last = (None if each is None else moment(each, now) for each in (after, before))
    if first is not None and last is not None and first >= last:
        raise ValidationError(f"nothing lies after {after} and before {before}", "--after names the earlier date")
    (taken, changed), (taken_last, changed_last) = _seconds(first, -_EVER), _seconds(last, _EVER)
    return [between(queries, taken, taken_last, changed, changed_last)]


def moment(given: str | date, now: datetime) -> datetime:
    """When a date begins, as a clock on the wall here shows it: of 2024-05, the first of May 2024, 0:00.

    Raises ValidationError for what is no date.
    """
    if isinstance(given, datetime):
        return given.astimezone().replace(tzinfo=None) if given.tzinfo else given
    if isinstance(given, date):
        return datetime(given.year, given.month, given.day)
    text = given.strip()
    try:
        if ago := _AGO.fullmatch(text):
            count, unit = int(ago[1]), ago[2]
            if unit == "y":
                leap_day = (now.month, now.day) == (2, 29)
                return now.replace(year=now.year - count, day=28 if leap_day else now.day)
            return now - timedelta(hours=count * _HOURS[unit])
        if parts := _DATE.fullmatch(text):
            year, month, day, hour, minute, second = map(int, parts.groups("0"))
            return datetime(year, month or 1, day or 1, hour, minute, second)
    except (ValueError, OverflowError) as exc:
        raise ValidationError(f"there is no date {given}", _HINT) from exc
    raise ValidationError(f"{given or 'an empty text'} is no date", _HINT)


def _seconds(moment: datetime | None, ever: int) -> tuple[int, int]:
    """A moment as a camera's clock has it, in seconds since 1970, and as a file's time is, in nanoseconds since 1970.

    Fractions of a second are rounded up for the one: cameras have none.
    """
    if moment is None:
        return ever, ever
    taken = -((_EPOCH - moment) // timedelta(seconds=1))
    try:
        changed = moment.timestamp()
    except (OverflowError, OSError, ValueError):  # the year 1 or 9999, in some zones
        changed = taken
    return taken, max(-_EVER, min(_EVER, int(changed * 1_000_000_000)))


def _place(near: str | Sequence[float]) -> tuple[float, float, float]:
    """Latitude, longitude and kilometres. Raises ValidationError."""
    hint = "LAT,LON,KM, such as 48.21,16.37,5: degrees, south and west of 0 negative, and kilometres"
    try:
        parts = near.split(",") if isinstance(near, str) else near
        latitude, longitude, km = (float(part) for part in parts)
    except (TypeError, ValueError) as exc:
        raise ValidationError(f"{near} is no place and distance", hint) from exc
    if not (abs(latitude) <= 90 and abs(longitude) <= 180 and 0 < km <= _FURTHEST):
        wrong = f"the latitude {latitude:g}" if not abs(latitude) <= 90 else f"the longitude {longitude:g}"
        if abs(latitude) <= 90 and abs(longitude) <= 180:
            wrong = f"a distance of {km:g} km"
        raise ValidationError(f"{wrong} is not on the Earth", hint)
    return latitude, longitude, km
