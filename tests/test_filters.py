"""Filters on metadata, dates, cameras and places: each against a plain reading of the same values in Python."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import libraries
import numpy as np
import pytest

import pictocli
from pictocli import queries
from pictocli.conditions import between, compared, near_to
from pictocli.errors import ExpressionError, ValidationError
from pictocli.expressions import parse
from pictocli.fields import Fields
from pictocli.filters import filtering, moment
from pictocli.queries import Queries
from pictocli.schema import connect, transaction
from pictocli.selection import Condition, one_of

VALUES: list[Any] = [
    49.9, "49.9", 50, "50", " 50 ", "50.0", 1000, "1000", -3, "-3", 0, "0", "acme", "Acme", "ACME Ltd", "ácme", "",
    None, True, False, "true", "True", "TRUE", "yes", "0x10", "5 %", "007", "2024-05-01", "2023-12-31", [1, "acme"],
    {"a": "acme"}, "Ünal", "ünal", "1e3", "x'; DROP TABLE image; --", "%", "_", "12345678901234567890",
    1234567890123456789, "1234567890123456789", "1234567890123456788", 2**63 - 1, 2**63 - 1024, -(2**63), 2**63,
]  # fmt: skip


def number(value: Any) -> float | None:
    """The number that a value is, or looks like."""
    if isinstance(value, bool) or value is None or isinstance(value, list | dict):
        return None
    if isinstance(value, int | float):
        return value if -(2**63) <= value < 2**63 else float(value)  # SQLite's integers have 64 bits
    text = value.strip(" \t\n")
    plain = text and not set(text) - set("0123456789.+-eE")
    try:
        return number(int(text)) if plain and text.lstrip("-").isdigit() else float(text) if plain else None
    except ValueError:
        return None


def spelled(value: Any) -> str | None:
    """What a value without a number is compared as."""
    if value is None or value == "" or number(value) is not None:
        return None
    return json.dumps(value, separators=(",", ":")) if isinstance(value, bool | list | dict) else str(value)


def within(value: Any, text: str) -> bool:
    """Whether a value, or something in it, contains a text."""
    if isinstance(value, list | dict):
        return any(within(each, text) for each in (value.values() if isinstance(value, dict) else value))
    return value is not None and not isinstance(value, bool) and text.casefold() in str(value).casefold()


def has(value: Any) -> bool:
    return value not in (None, "")


EXPRESSIONS: dict[str, Callable[[Any], bool]] = {
    "f": has,
    "f=null": lambda v: not has(v),
    "f=''": lambda v: not has(v),
    "f!=null": has,
    "f=50": lambda v: number(v) == 50,
    "f=50.0": lambda v: number(v) == 50,
    "f!=50": lambda v: has(v) and number(v) != 50,
    "f<50": lambda v: (n := number(v)) is not None and n < 50,
    "f<=50": lambda v: (n := number(v)) is not None and n <= 50,
    "f>50": lambda v: (n := number(v)) is not None and n > 50,
    "f>=-3": lambda v: (n := number(v)) is not None and n >= -3,
    "f=7": lambda v: number(v) == 7,
    "f=1234567890123456789": lambda v: number(v) == 1234567890123456789,
    "f='1234567890123456788'": lambda v: v == "1234567890123456788",
    "f!='1234567890123456789'": lambda v: has(v) and str(v) != "1234567890123456789",
    "f<=1234567890123456788": lambda v: (n := number(v)) is not None and n <= 1234567890123456788,
    f"f={2**63 - 1}": lambda v: number(v) == 2**63 - 1,
    f"f>{2**63 - 1}": lambda v: (n := number(v)) is not None and n > 2**63 - 1,
    f"f>={2**63}": lambda v: (n := number(v)) is not None and n >= 2**63,
    f"f in (-{2**63}, {2**63 - 1024})": lambda v: number(v) in (-(2**63), 2**63 - 1024),
    "f='007'": lambda v: v == "007",
    "f='7'": lambda _: False,
    "f='50'": lambda v: v in (50, "50"),
    "f!='50'": lambda v: has(v) and v not in (50, "50"),
    "f>'49'": lambda v: has(v) and (json.dumps(v, separators=(",", ":")) if isinstance(v, list | dict) else
                                    str(int(v)) if isinstance(v, bool) else str(v)) > "49",
    "f=acme": lambda v: spelled(v) == "acme",
    "f!=acme": lambda v: has(v) and spelled(v) != "acme",
    "f~ACME": lambda v: within(v, "acme"),
    "f~ÁCME": lambda v: within(v, "ácme"),
    "f~ünal": lambda v: within(v, "ünal"),
    "f~%": lambda v: within(v, "%"),
    "f~00": lambda v: within(v, "00"),
    "f>=2024": lambda v: (n := number(v)) is not None and n >= 2024,
    "f>=2024-01": lambda v: (s := spelled(v)) is not None and s >= "2024-01",
    "f<b": lambda v: (s := spelled(v)) is not None and s < "b",
    "f=true": lambda v: v is True or (isinstance(v, str) and v in ("true", "True", "TRUE")),
    "f!=true": lambda v: has(v) and not (v is True or v in ("true", "True", "TRUE")),
    "f=false": lambda v: v is False,
    "f in (acme, 50, '007', null, true)": lambda v: (
        not has(v) or spelled(v) == "acme" or number(v) == 50 or v in ("007", "true", "True", "TRUE") or v is True
    ),
    "f=\"x'; DROP TABLE image; --\"": lambda v: v == "x'; DROP TABLE image; --",
}  # fmt: skip


def library(path: Path, metadata: Sequence[Any]) -> Queries:
    """One image a value of the field f; a value that is `...` has no metadata at all."""
    db = libraries.make(path, np.eye(len(metadata), 4, dtype="f4") + np.float32(0.1))
    with transaction(db):
        for at, fields in enumerate(metadata, 1):
            text = None if fields is ... else json.dumps(fields)
            db.execute("UPDATE image SET metadata = ? WHERE id = ?", (text, at))
    return Queries(db)


def both_ways(asked: Queries, condition: Condition) -> list[int]:
    """The images that meet a condition, as it lists them and as it says of each that it does."""
    listed = sorted(set(asked.passing([condition], None)))
    ids = [image_id for (image_id,) in asked.db.execute("SELECT id FROM image")]
    assert sorted(asked.passing([one_of(ids), condition], None)) == listed
    return listed


@pytest.fixture(scope="module")
def values(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[bool], Queries]]:
    made: dict[bool, Queries] = {}
    for indexed in (False, True):
        path = tmp_path_factory.mktemp("values") / "x.db"
        made[indexed] = library(path, [*({"f": value} for value in VALUES), {"other": "acme"}, ...])
        if indexed:
            assert Fields(made[True].db).index([["f"]]) == ["f"]
    yield made.__getitem__
    for asked in made.values():
        asked.db.close()


@pytest.mark.parametrize("indexed", [False, True], ids=["scanned", "indexed"])
@pytest.mark.parametrize("text", EXPRESSIONS)
def test_an_expression_means_what_it_says(text: str, indexed: bool, values: Callable[[bool], Queries]) -> None:
    found = both_ways(values(indexed), compared(values(indexed), parse(text)))
    assert found == [at for at, value in enumerate([*VALUES, None, None], 1) if EXPRESSIONS[text](value)]


@pytest.mark.parametrize(
    "text", ["f=50", "f<50", "f>=50", "f=acme", "f>b", "f<b", "f in (acme, 50)", "f='007'", "f=true"]
)
def test_an_index_is_used(text: str, values: Callable[[bool], Queries]) -> None:
    asked = values(True)
    condition = compared(asked, parse(text))
    plan = asked.db.execute(f"EXPLAIN QUERY PLAN {condition.lists}", condition.values).fetchall()
    assert any("USING" in row[3] and 'INDEX field $."f"' in row[3] for row in plan), plan


@pytest.mark.parametrize(
    ("field", "written"),
    [
        ("a'b", "\"a'b\""), ('a"b', "'a\"b'"), ("$", "$"), ("a.b", "'a.b'"), ("", "''"), ("é", "é"), ("a b", "'a b'"),
        ("a\\b", "a\\b"), ("[0]", "[0]"), ("$.f", "'$.f'"), ("f' OR 1=1 --", "\"f' OR 1=1 --\""), ("a\nb", "'a\nb'"),
        ("\U0001f600", "\U0001f600"), ("#-1", "#-1"),
    ],
)  # fmt: skip
def test_hostile_names_of_fields_are_names(field: str, written: str, tmp_path: Path) -> None:
    nested = {"outer": {field: 7}}
    asked = library(tmp_path / "x.db", [{field: 7}, nested, {"f": 7, "a": 7, "b": 7}, ...])
    assert both_ways(asked, compared(asked, parse(f"{written}=7"))) == [1]
    assert both_ways(asked, compared(asked, parse(f"outer.{written}=7"))) == [2]
    assert both_ways(asked, compared(asked, parse(f"{written}~7"))) == [1]
    with pytest.raises(ValidationError, match="no image has a field"):
        filtering(asked, {"where": f"x{written.strip(chr(39) + chr(34))[:0]}yz=7"})


def test_a_field_that_no_image_has_is_told_with_the_nearest(tmp_path: Path) -> None:
    asked = library(tmp_path / "x.db", [{"price": 1, "brand": {"name": "acme"}}, {"empty": None}])
    for text, hint in (
        ("prise<5", "nearest: price"),
        ("brand.nam=x", "nearest: brand.name, brand"),
        ("prise=null", "nearest: price"),
    ):
        with pytest.raises(ValidationError, match="no image has a field") as told:
            filtering(asked, {"where": [text]})
        assert told.value.hint == hint
    assert filtering(asked, {"where": ["empty"]})[0].most == 0  # it is there, and null
    bare = library(tmp_path / "y.db", [..., ...])
    with pytest.raises(ValidationError, match="no image has metadata, and so no field price"):
        filtering(bare, {"where": ["price<5"]})


# -- dates ------------------------------------------------------------------------------------------------------------

NOW = datetime(2024, 2, 29, 12, 30)


@pytest.mark.parametrize(
    ("given", "begins"),
    [
        ("2024", datetime(2024, 1, 1)), ("2024-05", datetime(2024, 5, 1)), ("2024-05-09", datetime(2024, 5, 9)),
        ("2024-5-9", datetime(2024, 5, 9)), ("2024-05-09T12:00", datetime(2024, 5, 9, 12)),
        (" 2024-05-09 12:00:59 ", datetime(2024, 5, 9, 12, 0, 59)), ("0001", datetime(1, 1, 1)),
        ("30d", datetime(2024, 1, 30, 12, 30)), ("12h", datetime(2024, 2, 29, 0, 30)), ("0d", NOW),
        ("6w", datetime(2024, 1, 18, 12, 30)), ("1y", datetime(2023, 2, 28, 12, 30)),
        ("4y", datetime(2020, 2, 28, 12, 30)),
        (date(2024, 5, 9), datetime(2024, 5, 9)), (datetime(2024, 5, 9, 1), datetime(2024, 5, 9, 1)),
        (datetime(2024, 5, 9, tzinfo=UTC), datetime.fromtimestamp(1715212800)),
    ],
)  # fmt: skip
def test_when_a_date_begins(given: str | date, begins: datetime) -> None:
    assert moment(given, NOW) == begins


@pytest.mark.parametrize(
    "given",
    ["", "x", "24", "2024-13", "2024-02-30", "2024-05-01T25:00", "2024-05-01T12", "0000", "30", "30m", "3000y",
     "999999999w", "-3d", "2024/05/01", "20240501", "\u0662\u0660\u0662\u0664", "2024-05-01Z"],
)  # fmt: skip
def test_what_is_no_date(given: str) -> None:
    with pytest.raises(ValidationError, match=r"is no date|there is no date"):
        moment(given, NOW)


@pytest.fixture
def zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[timezone]:
    """This machine is four hours behind UTC, all the year."""
    monkeypatch.setenv("TZ", "XXX4")
    time.tzset()
    yield timezone(timedelta(hours=-4))
    monkeypatch.undo()
    time.tzset()


def dated(path: Path, taken: Sequence[datetime | None], changed: Sequence[datetime]) -> Queries:
    asked = library(path, [...] * len(taken))
    with transaction(asked.db):
        for at, (one, other) in enumerate(zip(taken, changed, strict=True), 1):
            if one is not None:
                seconds = int(one.replace(tzinfo=UTC).timestamp())
                asked.db.execute("INSERT INTO capture(content_id, taken_at) VALUES(?, ?)", (at, seconds))
            else:
                asked.db.execute("INSERT INTO capture(content_id, camera) VALUES(?, 'x')", (at,))
            asked.db.execute(
                "UPDATE file SET size = 1, mtime_ns = ? WHERE id = ?", (int(other.timestamp() * 10**9), at)
            )
    return asked


def test_dates_are_those_of_cameras_else_of_files(zone: timezone, tmp_path: Path) -> None:
    """--after 2024-05 --before 2024-06 is all of May, by the camera's clock, else by the clock on this wall."""
    old = datetime(2000, 1, 1, tzinfo=zone)
    may, june = datetime(2024, 5, 1), datetime(2024, 6, 1)
    second = timedelta(seconds=1)
    taken: list[datetime | None] = [may, may - second, june, june - second, None, None, None, None]
    changed = [old] * 4 + [(each).replace(tzinfo=zone) for each in (may, may - second, june, june - second)]
    asked = dated(tmp_path / "x.db", taken, changed)

    def found(**filters: Any) -> list[int]:
        (condition,) = filtering(asked, filters)  # type: ignore[arg-type]
        return both_ways(asked, condition)

    assert found(after="2024-05", before="2024-06") == [1, 4, 5, 8]
    assert found(after="2024-05") == [1, 3, 4, 5, 7, 8]
    assert found(before="2024-05") == [2, 6]
    assert found(before=may.replace(tzinfo=zone).astimezone(UTC)) == [2, 6]
    assert found(after=may + timedelta(microseconds=1), before=june) == [4, 8]
    assert found(after="0001", before="9999-12-31") == [1, 2, 3, 4, 5, 6, 7, 8]
    with pytest.raises(ValidationError, match="nothing lies after 2024-06 and before 2024-06"):
        found(after="2024-06", before="2024-06")


def test_a_date_between_uses_the_index(tmp_path: Path) -> None:
    asked = library(tmp_path / "x.db", [...])
    condition = between(asked, 0, 1, 0, 1)
    plan = asked.db.execute(f"EXPLAIN QUERY PLAN {condition.lists}", condition.values).fetchall()
    assert any("capture_taken_at" in row[3] for row in plan), plan


# -- cameras and places -----------------------------------------------------------------------------------------------


def placed(path: Path, places: Sequence[tuple[float, float]], camera: str = "Canon EOS R5") -> Queries:
    asked = library(path, [...] * len(places))
    with transaction(asked.db):
        for at, (latitude, longitude) in enumerate(places, 1):
            asked.db.execute("INSERT INTO capture VALUES(?, NULL, ?, ?, ?)", (at, camera, latitude, longitude))
    return asked


def km(one: tuple[float, float], other: tuple[float, float]) -> float:
    """The great-circle distance by the angle between two vectors: another formula than the one that is tested."""

    def vector(place: tuple[float, float]) -> np.ndarray[Any, Any]:
        latitude, longitude = (math.radians(each) for each in place)
        return np.array([
            math.cos(latitude) * math.cos(longitude), math.cos(latitude) * math.sin(longitude), math.sin(latitude)
        ])  # fmt: skip

    a, b = vector(one), vector(other)
    return 6371.0088 * math.atan2(float(np.linalg.norm(np.cross(a, b))), float(a @ b))


CENTRES = [
    (48.21, 16.37),
    (0, 0),
    (-17.7, 178.0),
    (65.5, -169.0),
    (10, 180),
    (10, -180),
    (89.9, 40),
    (-90, 0),
    (90, 17),
]


@pytest.fixture(scope="module")
def globe(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Queries, list[tuple[float, float]]]]:
    chance = np.random.default_rng(5)
    places = [(math.degrees(math.asin(2 * a - 1)), 360 * b - 180) for a, b in chance.random((1500, 2)).tolist()]
    for latitude, longitude in CENTRES:
        near = chance.normal(0, 3, (60, 2)).tolist()
        places += [(max(-90.0, min(90.0, latitude + a)), (longitude + b + 180) % 360 - 180) for a, b in near]
        places.append((latitude, longitude))
    asked = placed(tmp_path_factory.mktemp("globe") / "x.db", places)
    yield asked, places
    asked.db.close()


@pytest.mark.parametrize("distance", [0.001, 5, 120, 700, 9_000, 10_007, 20_015])
@pytest.mark.parametrize("centre", CENTRES, ids=str)
def test_near_is_the_great_circle(
    centre: tuple[float, float], distance: float, globe: tuple[Queries, list[tuple[float, float]]]
) -> None:
    asked, places = globe
    found = both_ways(asked, near_to(asked, *centre, distance))
    assert found == [at for at, place in enumerate(places, 1) if km(centre, place) <= distance]
    assert found


@pytest.mark.parametrize(
    ("near", "message"),
    [("1,2", "is no place"), ("a,b,c", "is no place"), ("1,2,3,4", "is no place"), ("", "is no place"),
     (7, "is no place"),
     ("91,0,5", "the latitude 91 is not"), ("0,181,5", "the longitude 181 is not"), ("0,0,0", "a distance of 0 km"),
     ("0,0,-5", "a distance of -5 km"), ("nan,0,5", "the latitude nan"), ("0,0,inf", "a distance of inf km"),
     ("0,nan,1", "the longitude nan")],
)  # fmt: skip
def test_what_is_no_place(near: Any, message: str, tmp_path: Path) -> None:
    asked = placed(tmp_path / "x.db", [(0, 0)])
    with pytest.raises(ValidationError, match=message):
        filtering(asked, {"near": near})
    for right in ("0, 0, 5", (0.0, 0.0, 5.0), [0, 0, 5]):
        assert [both_ways(asked, each) for each in filtering(asked, {"near": right})] == [[1]]


@pytest.mark.parametrize(
    ("camera", "found"),
    [("canon", True), ("EOS r5", True), (" Canon ", True), ("nikon", False), ("%", False), ("_", False)],
)
def test_a_camera_is_found_by_a_part_of_its_name(camera: str, found: bool, tmp_path: Path) -> None:
    asked = placed(tmp_path / "x.db", [(0, 0)])
    (condition,) = filtering(asked, {"camera": camera})
    assert both_ways(asked, condition) == [1] * found


@pytest.mark.parametrize("camera", ["", " ", "a\0b", "\udcff"])
def test_what_is_no_camera(camera: str, tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="no camera given"):
        filtering(placed(tmp_path / "x.db", [(0, 0)]), {"camera": camera})


# -- all of it at once ------------------------------------------------------------------------------------------------

COUNT, DIM, COMPARED = 3000, 96, 60


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Any]]:
    """A library with codes, and the values of its images: price, brand, taken, place; every fifth carries a dog."""
    chance = np.random.default_rng(8)
    vectors = libraries.clustered(COUNT, DIM, 20)
    known = {
        "vectors": vectors, "price": chance.integers(0, 1000, COUNT), "brand": chance.integers(0, 3, COUNT),
        "taken": chance.integers(0, 1000, COUNT) * 86_400, "latitude": chance.uniform(-90, 90, COUNT),
        "longitude": chance.uniform(-180, 180, COUNT), "dog": np.arange(COUNT) % 5 == 0,
    }  # fmt: skip
    path = tmp_path_factory.mktemp("large") / "x.db"
    db = libraries.make(path, vectors, [["dog"] if dog else [] for dog in known["dog"]])
    with transaction(db):
        for at in range(COUNT):
            fields = {"price": str(known["price"][at]), "brand": ["acme", "bolt", "cyan"][known["brand"][at]]}
            place = float(known["latitude"][at]), float(known["longitude"][at])
            db.execute("UPDATE image SET metadata = ? WHERE id = ?", (json.dumps(fields), at + 1))
            db.execute("INSERT INTO capture VALUES(?, ?, 'Canon', ?, ?)", (at + 1, int(known["taken"][at]), *place))
    libraries_codes(db)
    Fields(db).index([["price"]])
    db.close()
    return str(path), known


def libraries_codes(db: Any) -> None:
    from pictocli.sqlite import SqliteStore

    store = SqliteStore(db)
    store.build_codes(store._mean(COUNT))


CASES: dict[str, tuple[dict[str, Any], Callable[[dict[str, Any]], Any]]] = {
    "few": ({"where": ["price<20"]}, lambda k: k["price"] < 20),
    "half": ({"where": ["price<500"]}, lambda k: k["price"] < 500),
    "most": ({"where": ["price>=10"]}, lambda k: k["price"] >= 10),
    "not indexed": ({"where": ["brand!=acme"]}, lambda k: k["brand"] != 0),
    "two": ({"where": ["price<500", "brand=acme"]}, lambda k: (k["price"] < 500) & (k["brand"] == 0)),
    "contains": ({"where": ["brand~C"]}, lambda k: k["brand"] != 1),
    "date": ({"after": "1971"}, lambda k: k["taken"] >= 365 * 86_400),
    "camera": ({"camera": "canon"}, lambda k: k["price"] >= 0),
    "tags and metadata": ({"objects": ["dog"], "where": ["price<700"]}, lambda k: k["dog"] & (k["price"] < 700)),
    "all": ({"objects": ["dog"], "where": ["price<900", "brand=bolt"], "before": "1972", "camera": "canon"},
            lambda k: k["dog"] & (k["price"] < 900) & (k["brand"] == 1) & (k["taken"] < 730 * 86_400)),
    "none": ({"where": ["price<0"]}, lambda k: k["price"] < 0),
}  # fmt: skip


@pytest.mark.parametrize(
    ("exact", "folder"), [(False, None), (True, None), (False, "f03")], ids=["codes", "exact", "folder"]
)
@pytest.mark.parametrize("name", CASES)
def test_filters_come_before_the_nearest(
    name: str, exact: bool, folder: str | None, large: tuple[str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queries, "EXACT_BELOW", 100)
    monkeypatch.setattr(queries, "at_least", lambda _: COMPARED)
    path, known = large
    asked, meets = CASES[name]
    there = meets(known) & (True if folder is None else np.arange(COUNT) % 25 == 3)
    vectors = known["vectors"].astype(np.float64)
    scope = {"everywhere": True} if folder is None else {"dataset": "r", "folder": folder}
    with pictocli.open(path) as opened:
        answer = opened.similar(7, threshold=0.0, limit=40, exact=exact, **scope, **asked)
        listed = opened.tagged(**asked, **({} if folder is None else {"folder": folder}), limit=500)
        if folder is None:
            exported = list(opened.export(**{key: value for key, value in asked.items() if key != "objects"}))
    cosines = vectors @ vectors[6]
    candidates = np.flatnonzero(there).tolist()
    if answer.approximate:
        bits = (vectors - vectors.mean(0)) > 0
        apart = (bits != bits[6]).sum(1)
        candidates = sorted(candidates, key=lambda at: (apart[at], at % 25, at))[:COMPARED]
    wanted = sorted((at for at in candidates if at != 6 and cosines[at] >= 0), key=lambda at: -cosines[at])[:40]
    assert [each.image_id - 1 for each in answer.results] == wanted
    assert answer.approximate == (not exact and there.sum() >= 300 and folder is None)
    assert [each.image_id - 1 for each in listed.results] == np.flatnonzero(there)[:500].tolist()
    if folder is None and "objects" not in asked:
        assert [each.image_id - 1 for each in exported] == np.flatnonzero(there).tolist()


def test_nothing_asked_is_still_refused(library: pictocli.Library) -> None:
    with pytest.raises(ValidationError, match="no tag given"):
        library.tagged()
    with pytest.raises(ValidationError, match="no tag given"):
        library.tagged([], after="2020")
    with pytest.raises(TypeError, match="there is no filter whree"):
        library.tagged(whree="a=1")  # type: ignore[call-arg]
    with pytest.raises(ExpressionError):
        library.export(where="a=")
    assert len(library.tagged(after="2020").results) == 18
    assert [each.matched for each in library.tagged(after="2020", limit=2).results] == [{}, {}]


def test_metadata_that_is_no_json_is_told_as_damage(library: pictocli.Library) -> None:
    db = connect(library.path)
    db.execute("UPDATE image SET metadata = '{\"price\": 5' WHERE id = 3")
    db.close()
    with pytest.raises(pictocli.PictoError, match="is damaged"):
        library.tagged(where="price<5")
