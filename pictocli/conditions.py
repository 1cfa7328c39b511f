"""What is asked of an image's metadata, date, camera and place, as the conditions that queries take."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

from pictocli.expressions import Comparison, Value, looks_like_number, number
from pictocli.fields import Fields, literal, path_of, raw, value
from pictocli.selection import Condition, Selection

__all__ = ["between", "compared", "near_to", "taken_with"]

_EARTH = 6371.0088  # km, the mean radius (IUGG)
_BINDS = 6  # times that `value` takes its path
_GIVEN = "(SELECT value FROM json_each(?))"
_Term = tuple[str, tuple[str | int | float, ...]]  # SQL, and what it takes


def compared(queries: Selection, comparison: Comparison) -> Condition:
    """The condition of meeting a comparison of a field of the metadata."""
    path = path_of(comparison.field)
    indexed = Fields(queries.db).is_indexed(comparison.field)
    listed, values = _term(comparison, "i.metadata", path, indexed=indexed)
    held, _ = _term(comparison, "w.metadata", path, indexed=indexed)
    return Condition(
        f"SELECT i.id AS image_id FROM image i WHERE {listed}",  # noqa: S608 - our texts
        f"EXISTS (SELECT 1 FROM image w NOT INDEXED WHERE w.id = l.image_id AND {held})",  # noqa: S608 - our texts
        values,
        queries.count(None),
    )


def _term(comparison: Comparison, column: str, path: str, *, indexed: bool) -> _Term:
    """A comparison of a field of the JSON in `column`. Numbers lie before all texts, '' is the first of these."""
    if comparison.operator == "~":
        term, ways = _contains("t.atom", str(comparison.values[0]))
        return f"EXISTS (SELECT 1 FROM json_tree({column}, ?) t WHERE {term})", (path, *ways)  # noqa: S608 - our texts
    place = literal(path) if indexed else "?"
    one, many = ((), ()) if indexed else ((path,), (path,) * _BINDS)
    found = value(column, place)
    if comparison.operator == "has":
        return f"{found} IS NOT NULL", many
    if comparison.operator in ("=", "!="):
        term, values = _equal(found, raw(column, place), comparison.values, one, many)
        if comparison.operator == "=":
            return term, values
        return f"({found} IS NOT NULL AND NOT {term})", (*many, *values)
    operator, sought = comparison.operator, comparison.values[0]
    assert isinstance(sought, str | int | float)
    if not isinstance(sought, str):  # a number, of which only numbers are greater
        term, values = f"{found} {operator} ?", (*many, sought)
        return (term, values) if "<" in operator else (f"({term} AND {found} < '')", (*values, *many))
    if looks_like_number(sought):
        text = f"CAST({raw(column, place)} AS TEXT)"
        return f"({found} IS NOT NULL AND {text} {operator} ?)", (*many, *one, sought)
    term, values = f"{found} {operator} ?", (*many, sought)
    return (term, values) if ">" in operator else (f"({term} AND {found} >= '')", (*values, *many))


def _equal(found: str, stored: str, given: Sequence[Value], one: tuple[str, ...], many: tuple[str, ...]) -> _Term:
    """Whether a field is one of these values. one, many: what `stored` and `found` take."""
    terms, values = list[str](), list[str | int | float]()
    spelled = [each for each in given if isinstance(each, str) and each and looks_like_number(each)]
    plain = [each for each in given if each not in (None, "") and not isinstance(each, bool) and each not in spelled]
    plain += [way for each in given if isinstance(each, bool) for way in _spelled(each)]
    if plain:
        terms.append(f"{found} IN {_GIVEN}")
        values += [*many, json.dumps(plain)]
    if spelled:
        terms.append(f"({found} IN {_GIVEN} AND CAST({stored} AS TEXT) IN {_GIVEN})")
        values += [*many, json.dumps([number(each) for each in spelled]), *one, json.dumps(spelled)]
    if any(each is None or each == "" for each in given):
        terms.append(f"{found} IS NULL")
        values += many
    return f"({' OR '.join(terms)})", tuple(values)


def _spelled(truth: bool) -> list[str]:
    """true as JSON, Python and Excel write it."""
    word = str(truth)
    return [word.lower(), word, word.upper()]


def _contains(column: str, text: str) -> _Term:
    """Whether a column contains a text, whatever the case: SQLite's lower() knows ASCII only, so that others are tried
    in the ways in which they are spelled.
    """
    ways = dict.fromkeys(map(_lower, (text, text.lower(), text.upper(), text.capitalize(), text.title())))
    return f"({' OR '.join([f'instr(lower({column}), ?)'] * len(ways))})", tuple(ways)


def _lower(text: str) -> str:
    return "".join(each.lower() if each.isascii() else each for each in text)


def between(queries: Selection, first: int, last: int, first_changed: int, last_changed: int) -> Condition:
    """The condition of a date from `first` on and before `last`: when the picture was taken, as its camera's clock had
    it; where that is not known, when its file was last changed.

    first, last: seconds since 1970 of the camera's clock. first_changed, last_changed: nanoseconds since 1970.
    """
    taken, changed = "p.taken_at >= ? AND p.taken_at < ?", "f.mtime_ns >= ? AND f.mtime_ns < ?"
    lists = (
        "SELECT id AS image_id FROM image WHERE content_id IN (SELECT p.content_id FROM capture p"  # noqa: S608 - our texts
        f" WHERE {taken}) UNION ALL SELECT i.id FROM file f CROSS JOIN image i ON i.file_id = f.id WHERE {changed}"
        " AND NOT EXISTS (SELECT 1 FROM capture p WHERE p.content_id = i.content_id AND p.taken_at IS NOT NULL)"
    )
    holds = (
        "EXISTS (SELECT 1 FROM image w JOIN file f ON f.id = w.file_id"  # noqa: S608 - our texts
        " LEFT JOIN capture p ON p.content_id = w.content_id"
        f" WHERE w.id = l.image_id AND iif(p.taken_at IS NOT NULL, {taken}, {changed}))"
    )
    return Condition(lists, holds, (first, last, first_changed, last_changed), queries.count(None))


def taken_with(queries: Selection, camera: str) -> Condition:
    """The condition that the name of the camera contains a text, whatever the case."""
    return _captured(queries, *_contains("p.camera", camera))


def near_to(queries: Selection, latitude: float, longitude: float, km: float) -> Condition:
    """The condition of having been taken within so many km of a place, in degrees, by the great circle.

    By the haversine formula (R. W. Sinnott, Virtues of the Haversine, Sky and Telescope 68(2), 1984), which is exact
    for short distances too. What lies outside of a box around the place is not measured: parallels at so many degrees
    from it, and the meridians that touch the circle, unless a pole lies in it.
    """
    wide = km / _EARTH
    top = math.degrees(wide) * (1 + 1e-9) + 1e-9
    north, south = latitude + top, latitude - top
    reach = 360.0
    if north < 90 and south > -90:
        reach = math.degrees(math.asin(min(1.0, math.sin(wide) / math.cos(math.radians(latitude))))) + 1e-9
    box = "p.latitude BETWEEN ? AND ? AND (abs(p.longitude - ?) <= ? OR abs(p.longitude - ?) >= ?)"
    square = (
        "pow(sin(radians(p.latitude - ?) / 2), 2)"
        " + cos(radians(?)) * cos(radians(p.latitude)) * pow(sin(radians(p.longitude - ?) / 2), 2)"
    )
    values = (south, north, longitude, reach, longitude, 360 - reach, latitude, latitude, longitude)
    least = math.sin(min(wide, math.pi) / 2) ** 2 * (1 + 1e-12) if wide < math.pi else 2.0
    return _captured(queries, f"{box} AND {square} <= ?", (*values, least))


def _captured(queries: Selection, term: str, values: tuple[str | int | float, ...]) -> Condition:
    """The condition that what a camera wrote into a picture, `p`, meets a term."""
    return Condition(
        f"SELECT id AS image_id FROM image WHERE content_id IN (SELECT p.content_id FROM capture p WHERE {term})",  # noqa: S608 - our texts
        "EXISTS (SELECT 1 FROM image w JOIN capture p ON p.content_id = w.content_id"  # noqa: S608 - our texts
        f" WHERE w.id = l.image_id AND {term})",
        values,
        queries.count(None),
    )
