"""How a library is spread: every image, pair and file is counted once, in bins that a person would choose."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from libraries import clustered, make

import pictocli
from pictocli.catalog import Catalog
from pictocli.errors import DamagedError
from pictocli.figures import Histogram
from pictocli.pairs import measured
from pictocli.schema import connect


def named(found: Sequence[Histogram], name: str) -> Histogram:
    return next(each for each in found if each.name == name)


def made(tmp_path: Path, taken: Sequence[str] = (), sizes: Sequence[int] = (), images: int = 60) -> list[Histogram]:
    """The histograms of a library whose first images were taken then, and whose first files are so large."""
    vectors = clustered(images, 16, 4)
    db = make(tmp_path / "made.db", vectors, [["car"] if at % 3 else ["dog", "car"] for at in range(images)])
    for at, moment in enumerate(taken, 1):
        seconds = int(datetime.fromisoformat(moment).replace(tzinfo=UTC).timestamp())
        db.execute("INSERT INTO capture(content_id, taken_at) VALUES(?, ?)", (at, seconds))
    for at, size in enumerate(sizes, 1):
        db.execute("UPDATE file SET size = ? WHERE id = ?", (size, at))
    Catalog(db).keep_pairs(measured([each.tobytes() for each in vectors], images))
    db.close()
    with pictocli.open(tmp_path / "made.db") as library:
        return library.histograms()


@pytest.mark.parametrize(
    ("taken", "unit", "labels", "counts"),
    [
        (["2024-05-01", "2024-05-03T23:59:59"], "day", ["2024-05-01", "2024-05-02", "2024-05-03"], [1, 0, 1]),
        (["2024-05-01"], "day", ["2024-05-01"], [1]),
        (["2023-12-31T23:59:59", "2024-02-29", "2024-02-01"], "month", ["2023-12", "2024-01", "2024-02"], [1, 0, 2]),
        (["2019-01-01", "2022-12-31", "2022-01-01"], "year", ["2019", "2020", "2021", "2022"], [1, 0, 0, 2]),
    ],
    ids=["days", "one", "months", "years"],
)
def test_dates(taken: list[str], unit: str, labels: list[str], counts: list[int], tmp_path: Path) -> None:
    found = named(made(tmp_path, taken), "taken")
    assert (found.unit, [each.label for each in found.bins]) == (unit, labels)
    assert [each.count for each in found.bins] == counts
    assert found.note == f"{60 - len(taken)} images without a date"
    assert len(found.edges) == len(found.bins) + 1


def test_centuries_are_in_fifty_bins_at_most(tmp_path: Path) -> None:
    found = named(made(tmp_path, ["1826-06-01", "1900-01-01", "2026-06-01"]), "taken")
    assert found.unit == "5 years"
    assert len(found.bins) <= 50
    assert sum(each.count for each in found.bins) == 3


@pytest.mark.parametrize(
    "sizes",
    [[0], [1, 1], [999, 1000, 1001], [10, 10**12], [5000, 6300, 9999], [2**40]],
    ids=["empty", "bytes", "around a kB", "wide", "narrow", "huge"],
)
def test_every_file_is_in_one_bin(sizes: list[int], tmp_path: Path) -> None:
    found = named(made(tmp_path, sizes=sizes), "sizes")
    assert sum(each.count for each in found.bins) == len(sizes)
    assert 1 <= len(found.bins) <= 50
    for each in found.bins:
        assert each.low is not None
        assert each.high is not None
        assert each.count == sum(each.low <= size < each.high for size in sizes)
    assert all(one.high == other.low for one, other in pairwise(found.bins))


def test_similarities_are_those_of_all_pairs(tmp_path: Path) -> None:
    found = named(made(tmp_path), "similarity")
    vectors = clustered(60, 16, 4)
    cosines = [float(vectors[a] @ vectors[b]) for a in range(60) for b in range(a)]
    assert sum(each.count for each in found.bins) == len(cosines)
    assert found.note == f"{len(cosines):,} compared"
    for each in found.bins:
        assert each.low is not None
        assert each.high is not None
        true = sum(each.low <= cosine < each.high for cosine in cosines)
        assert abs(each.count - true) <= 0.01 * len(cosines) + 1, each
    assert found.mark is not None
    at = found.mark[0] * len(found.bins)
    assert at == pytest.approx(round(at))
    assert found.edges[round(at)] == "0.60"


def test_tags_are_counted(tmp_path: Path) -> None:
    found = named(made(tmp_path), "tags")
    assert [(each.label, each.count) for each in found.bins] == [("car", 60), ("dog", 20)]


def test_a_library_without_images_has_none(tmp_path: Path) -> None:
    connect(str(tmp_path / "new.db"), create=True).close()
    with pictocli.open(tmp_path / "new.db") as library:
        assert library.histograms() == []


@pytest.mark.parametrize(
    "damage",
    ["UPDATE file SET size = -4 WHERE id = 1", "UPDATE capture SET taken_at = 9e17"],
    ids=["size", "date"],
)
def test_damage_is_told(damage: str, tmp_path: Path) -> None:
    made(tmp_path, ["2024-05-01"], [100])
    db = connect(str(tmp_path / "made.db"))
    db.execute(damage)
    db.close()
    with pictocli.open(tmp_path / "made.db") as library, pytest.raises(DamagedError):
        library.histograms()


def test_reading_them_needs_no_numpy(library: pictocli.Library) -> None:
    code = (
        "import json, sys, pictocli\n"
        "found = pictocli.open(sys.argv[1]).histograms()\n"
        "print(json.dumps([[each.name for each in found], 'numpy' in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code, library.path], capture_output=True, text=True, check=True)
    found: Any = json.loads(done.stdout)
    assert found == [["tags", "sizes"], False]
