"""What a question costs, counted and not timed: steps of SQLite's machine, and modules that are imported.

Bounds are generous: they are for a plan that went through all images where it went through few.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import pytest
from libraries import clustered, make

import pictocli
from pictocli import queries
from pictocli.brain import put_labels
from pictocli.schema import connect
from pictocli.sqlite import SqliteStore
from pictocli.taxonomy import load

SIZES = (5_000, 25_000)  # the larger one is asked by code


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Libraries of these sizes in 100 folders: people on four of ten, cars on one of them, dogs on 20, cats on two."""
    found = []
    for size in SIZES:
        path = tmp_path_factory.mktemp("work") / "a.db"
        tags: list[list[str]] = [["person"] * (i % 10 < 4) + ["car"] * (i % 10 == 1) for i in range(size)]
        for i in range(20):
            tags[i * size // 20 + 1] += ["dog"] + ["cat"] * (i % 7 == 5)
        db = make(path, clustered(size, 768, size // 50), tags, folders=100)
        put_labels(SqliteStore(db), load())
        SqliteStore(db).build_codes()
        db.execute("PRAGMA optimize")
        db.close()
        found.append(str(path))
    return found


def steps(path: str, ask: Callable[[pictocli.Library], Any]) -> int:
    """Steps of SQLite's machine that a question takes, of all its statements together."""
    with pictocli.open(path) as library:
        taken: list[int] = []
        library._queries().db.trace_v2(
            apsw.SQLITE_TRACE_PROFILE, lambda told: taken.append(told["stmt_status"]["SQLITE_STMTSTATUS_VM_STEP"])
        )
        assert ask(library).results
        return sum(taken)


def similar(**asked: Any) -> Callable[[pictocli.Library], Any]:
    return lambda library: library.similar(2, **{"threshold": 0.0} | asked)


def tagged(*objects: str, **asked: Any) -> Callable[[pictocli.Library], Any]:
    return lambda library: library.tagged(list(objects), match="all", **asked)


def test_the_steps_of_a_scan_are_counted(paths: list[str]) -> None:
    small, large = (steps(path, similar(everywhere=True, exact=True)) for path in paths)
    assert large > small > 5 * SIZES[0]
    assert 4 < large / small < 6


def test_a_question_by_code_takes_few_steps_an_image(paths: list[str]) -> None:
    with pictocli.open(paths[1]) as library:
        assert similar(everywhere=True)(library).approximate
    assert steps(paths[1], similar(everywhere=True)) < 40 * SIZES[1]


@pytest.mark.parametrize(
    "ask",
    [
        similar(),
        similar(dataset="r", folder="f07", exact=True),
        tagged("person", folder="f01"),
        tagged("car", folder="f01", sort="score"),
    ],
    ids=["its own folder", "another folder", "tags", "tags by score"],
)
def test_a_folder_of_a_hundredth_costs_a_twentieth_at_most(ask: Callable[..., Any], paths: list[str]) -> None:
    with connect(paths[1], readonly=True) as db:
        assert db.execute("SELECT min(images), max(images) FROM folder").get == (SIZES[1] // 100, SIZES[1] // 100)
    assert steps(paths[1], ask) < 0.05 * steps(paths[1], similar(everywhere=True, exact=True))


TAGS: dict[str, Callable[[pictocli.Library], Any]] = {
    "common": tagged("person"),
    "two of them": tagged("person", "car"),
    "rare": tagged("cat"),
    "rare and common": tagged("cat", "dog", "person"),
    "common, the whole dataset": tagged("person", dataset="r", folder="/"),
    "two of them, the whole dataset": tagged("person", "car", dataset="r"),
    "rare, the whole dataset": tagged("dog", dataset="r"),
    "rare, by score": tagged("dog", sort="score"),
    "rare, by score, the whole dataset": tagged("dog", sort="score", dataset="r"),
}


@pytest.mark.parametrize("name", TAGS)
def test_tags_cost_the_same_however_large_the_library(name: str, paths: list[str]) -> None:
    small, large = (steps(path, TAGS[name]) for path in paths)
    assert large < 1.5 * small
    assert large < SIZES[1]


FILTERED: dict[str, tuple[Callable[[pictocli.Library], Any], float]] = {
    "rare": (similar(everywhere=True, objects=["dog"]), 0.2),
    "rare and common": (similar(everywhere=True, objects=["dog", "car"], match="all"), 0.2),
    "two, in a folder": (similar(objects=["dog", "person"]), 1),
    "some": (similar(everywhere=True, objects=["car"]), 5),
    "common": (similar(everywhere=True, objects=["person"]), 15),
}


@pytest.mark.parametrize("name", FILTERED)
def test_only_images_with_the_tags_are_compared(name: str, paths: list[str]) -> None:
    """In steps an image of the library: comparing all of them takes 12."""
    ask, most = FILTERED[name]
    assert steps(paths[1], ask) < most * SIZES[1]


@pytest.mark.parametrize("label", ["car", "person"])
def test_tags_and_codes_take_few_steps_an_image(label: str, paths: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """One look at all codes, whether the images that carry the label are listed first or not."""
    monkeypatch.setattr(queries, "EXACT_BELOW", 100)
    monkeypatch.setattr(queries, "at_least", lambda _: 400)
    ask = similar(everywhere=True, objects=[label])
    with pictocli.open(paths[1]) as library:
        assert ask(library).approximate
    assert steps(paths[1], ask) < 2 * steps(paths[1], similar(everywhere=True))


# -- what is imported -----

EMPTY = (Path(__file__).parent / "benchmarks/empty.py").read_text()
MODULES = """
import json, sys
try:
    {call}
except SystemExit as exc:
    assert not exc.code
sys.stderr.write(json.dumps(sorted(sys.modules)))
"""


def modules(call: str, before: str = "") -> set[str]:
    """The modules that a program has imported at its end."""
    done = subprocess.run([sys.executable, "-c", before + MODULES.format(call=call)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stderr))


@pytest.fixture(scope="module")
def floor() -> set[str]:
    return modules('app(["one"])', EMPTY)


@pytest.mark.parametrize(
    "asked",
    ["similar id:3 --threshold 0 --folder /", "tags --attributes landscape-orientation", "show id:3", "info"],
)
def test_questions_import_little_beside_the_command_line(
    asked: str, library: pictocli.Library, floor: set[str]
) -> None:
    """66 modules when this was written, 44 of them picto's own and nine for platformdirs; each costs about .4 ms."""
    call = f"from pictocli.cli import main; main({['--db', library.path, *asked.split()]!r})"
    assert len(modules(call) - floor) <= 68
