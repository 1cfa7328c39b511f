"""Codes in memory: many questions of one process get the answers that each would get alone."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from libraries import add, clustered, make

import pictocli
from pictocli import holding, queries
from pictocli.codes import HeldCodes, distances, packed
from pictocli.queries import Queries
from pictocli.schema import connect
from pictocli.sqlite import SqliteStore

COUNT = 1200
SCOPES: dict[str, list[int] | None] = {"everywhere": None, "one folder": [3], "some": [2, 7, 8, 20], "none": []}


def library(path: Path, dim: int = 64) -> Path:
    """1,200 images in 25 folders, with codes: clusters, and the last 300 copies of one vector, so that codes tie."""
    vectors = clustered(COUNT, dim, 6)
    vectors[-300:] = vectors[-300]
    db = make(path, vectors)
    SqliteStore(db).build_codes(vectors.mean(0).tobytes())
    db.close()
    return path


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[pictocli.Library]:
    """That library, found by code though it is small: 60 images are compared."""
    monkeypatch.setattr(queries, "EXACT_BELOW", 100)
    monkeypatch.setattr(queries, "at_least", lambda _: 60)
    with pictocli.open(library(tmp_path / "a.db")) as found:
        yield found


def held(asked: pictocli.Library) -> bool:
    return asked._holding._held is not None


# -- what is found -----


@pytest.mark.parametrize("dim", [8, 24, 64, 192, 768])
def test_codes_are_compared_bit_by_bit(dim: int) -> None:
    bits = np.random.default_rng(dim).integers(0, 2, (300, dim), np.uint8)
    codes = packed([np.packbits(row).tobytes() for row in bits])
    assert codes.shape == (-(-dim // 64), 300)
    assert distances(codes, codes[:, 5:6]).tolist() == (bits != bits[5]).sum(1).tolist()


@pytest.mark.parametrize("count", [1, 60, 400, COUNT + 1])
@pytest.mark.parametrize("folders", SCOPES.values(), ids=SCOPES)
@pytest.mark.parametrize("dim", [24, 192])
def test_the_same_codes_are_chosen_as_by_sql(dim: int, folders: list[int] | None, count: int, tmp_path: Path) -> None:
    db = connect(str(library(tmp_path / "a.db", dim)), readonly=True)
    alone, many = Queries(db), HeldCodes(db)
    for image_id in (1, 500, COUNT):  # the last one ties with 300
        vector = alone.embedding(image_id)
        assert vector is not None
        chosen = alone.by_code(vector, folders, count)
        assert many.by_code(vector, folders, count) == chosen
        assert len(chosen) == min(count, alone.count(folders))
        among = [*range(3, COUNT, 7), COUNT + 5]
        assert many.by_code(vector, folders, count, among) == alone.by_code(vector, folders, count, among)
    db.close()


def test_blocks_are_read_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    db = connect(str(library(tmp_path / "a.db")), readonly=True)
    vector = Queries(db).embedding(7)
    assert vector is not None
    whole = HeldCodes(db).by_code(vector, None, 60)
    monkeypatch.setattr("pictocli.codes._BLOCK", 500)
    assert HeldCodes(db).by_code(vector, None, 60) == whole
    db.close()


@pytest.mark.parametrize(
    "asked",
    [
        {"everywhere": True},
        {"folder": "/"},
        {"everywhere": True, "threshold": 0, "limit": 500},
        {"dataset": "r", "folder": "f03", "threshold": 0.2},
        {},
        {"folder": "/", "exact": True},
    ],
    ids=str,
)
def test_many_answers_are_those_of_single_questions(asked: dict[str, Any], small: pictocli.Library) -> None:
    ids = [1, 2, 7, 30, 400, 800, 901, 1000, 1100, 1199, 1200]
    many = [small.similar(image_id, **asked) for image_id in [1] * holding.FEW + ids][holding.FEW :]
    alone = []
    for image_id in ids:
        with pictocli.open(small.path) as library:
            alone.append(library.similar(image_id, **asked))
    told = [
        [(each.results, each.considered, each.nearest, each.approximate) for each in found] for found in (many, alone)
    ]
    assert told[0] == told[1]
    assert held(small) is many[0].approximate


# -- when they are held -----


def test_codes_are_held_after_a_few_questions_by_code(small: pictocli.Library) -> None:
    for _ in range(20):
        small.similar(1)  # its own folder is small
        small.similar(1, everywhere=True, exact=True)
    assert not held(small)
    assert [small.similar(1, everywhere=True) and held(small) for _ in range(holding.FEW + 2)] == [
        *[False] * holding.FEW, True, True,
    ]  # fmt: skip
    small.close()
    assert not held(small)


def test_a_very_large_library_is_asked_by_sql(small: pictocli.Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holding, "MOST", COUNT - 1)
    for _ in range(holding.FEW + 2):
        small.similar(1, everywhere=True)
    assert not held(small)


def test_what_is_written_in_between_is_found(small: pictocli.Library) -> None:
    for _ in range(holding.FEW + 1):
        before = small.similar(5, everywhere=True, limit=1)
    assert held(small)
    db = connect(small.path)
    add(db, np.frombuffer(Queries(db).embedding(5) or b"", "<f4")[np.newaxis])
    added = small.similar(5, everywhere=True, limit=1)
    assert (added.considered, added.results[0].image_id) == (before.considered + 1, COUNT + 1)
    assert not held(small)
    db.execute("DELETE FROM file WHERE id = ?", (COUNT + 1,))
    db.close()
    for _ in range(holding.FEW + 1):
        assert small.similar(5, everywhere=True, limit=1).results == before.results
    assert held(small)


# -- the command -----

PROGRAM = """
import sys
from pictocli import queries
from pictocli.cli import main
queries.EXACT_BELOW, queries.at_least = 100, lambda bits: 60
try:
    main(sys.argv[1:])
finally:
    sys.stderr.write(f"numpy {'numpy' in sys.modules}")
"""


def test_the_command_prints_what_single_questions_find(tmp_path: Path) -> None:
    """Asked at once, references are found by numpy after a few; asked a few at a time, by SQL and without numpy."""
    path = library(tmp_path / "a.db")
    given = ["--db", str(path), "similar", "--stdin", "--everywhere", "--limit", "30", "--threshold", "0.3"]

    def run(references: list[str]) -> tuple[str, str]:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, *given],
            input="\n".join(references),
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout, done.stderr

    asked = [f"id:{75 * at + 1}" for at in range(2 * holding.FEW)]
    first, second = run(asked[: holding.FEW]), run(asked[holding.FEW :])
    assert run(asked) == (first[0] + second[0], "numpy True")
    assert (first[1], second[1]) == ("numpy False", "numpy False")
    assert first[0].count("\n") == 30 * holding.FEW
