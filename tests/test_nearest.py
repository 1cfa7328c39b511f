"""Nearest among the images with some tags: what is found is what filtering first, and comparing then, finds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from libraries import clustered, make
from numpy.typing import NDArray

import pictocli
from pictocli import holding, queries
from pictocli.brain import put_labels
from pictocli.codes import HeldCodes
from pictocli.errors import ValidationError
from pictocli.queries import Queries
from pictocli.schema import connect
from pictocli.sqlite import SqliteStore
from pictocli.taxonomy import load

COUNT, DIM, CLUSTERS, FOLDERS, COMPARED = 6000, 64, 12, 20, 60
REFERENCE = 1  # the id of an image; its vector is the first
EVERYWHERE: dict[str, Any] = {"everywhere": True, "threshold": 0, "limit": 40}


def labels() -> list[list[str]]:
    """Each image's labels: people on 70 of 100 and cars on the others, dogs on 8, cats on 1.

    Birds on all far from REFERENCE and on no other; bears on all of these, and on a quarter of the others.
    """
    cosines, chance = VECTORS @ VECTORS[REFERENCE - 1], np.random.default_rng(5).permutation(COUNT)
    far = set(np.argsort(cosines)[: COUNT // 2].tolist())
    return [
        ["person" if at % 100 < 70 else "car"]
        + ["dog"] * (at % 100 % 13 == 4)
        + ["cat"] * (at % 100 == 50)
        + ["bird"] * (number in far)
        + ["bear"] * (number in far or at % 4 == 0)
        for number, at in enumerate(chance.tolist())
    ]


VECTORS = clustered(COUNT, DIM, CLUSTERS, 0.9)
LABELS = labels()


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A library of these images, with codes; image i + 1 lies in folder i % 20 + 1."""
    found = tmp_path_factory.mktemp("nearest") / "a.db"
    db = make(found, VECTORS, LABELS, FOLDERS)
    put_labels(SqliteStore(db), load())
    SqliteStore(db).build_codes(VECTORS.mean(0).tobytes())
    spec = SqliteStore(db).spec()
    assert spec is not None
    SqliteStore(db).keep_text("words seen before", VECTORS[2500].tobytes(), spec)
    db.close()
    return str(found)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Codes are used from 300 images on, 60 of which are compared."""
    monkeypatch.setattr(queries, "EXACT_BELOW", 100)
    monkeypatch.setattr(queries, "at_least", lambda _: COMPARED)


@pytest.fixture
def library(path: str) -> Iterator[pictocli.Library]:
    with pictocli.open(path) as found:
        yield found


def passing(groups: Sequence[Sequence[str]], folder: int | None = None) -> NDArray[np.bool_]:
    """Which images carry one label of every group, and lie in this folder."""
    return np.array([
        all(set(group) & set(names) for group in groups) and folder in (None, number % FOLDERS + 1)
        for number, names in enumerate(LABELS)
    ])  # fmt: skip


def wanted(asked: NDArray[np.bool_], limit: int, reference: int = REFERENCE) -> list[int]:
    """The ids of the nearest of these images, of all that were compared."""
    cosines = VECTORS.astype(np.float64) @ VECTORS[reference - 1]
    return [at + 1 for at in np.argsort(-cosines, kind="stable").tolist() if asked[at] and at + 1 != reference][:limit]


def by_code(asked: NDArray[np.bool_], count: int, reference: int = REFERENCE) -> list[int]:
    """The ids of those of these images with the nearest codes, ties by folder and id."""
    bits = (VECTORS - VECTORS.mean(0)) > 0
    apart, ids = (bits != bits[reference - 1]).sum(1), np.arange(COUNT)
    order = np.lexsort((ids, ids % FOLDERS, apart))
    return [at + 1 for at in order.tolist() if asked[at]][:count]


# The labels of every group, and whether codes find the nearest of these images.
FILTERS: dict[str, tuple[list[list[str]], bool]] = {
    "rare": ([["cat"]], False),
    "some": ([["dog"]], True),
    "common": ([["person"]], True),
    "less common": ([["car"]], True),
    "any of two": ([["dog", "cat"]], True),
    "any of all": ([["person", "car"]], True),
    "both": ([["person"], ["dog"]], True),
    "rare and common": ([["cat"], ["person"]], False),
    "never together": ([["person"], ["car"]], False),
    "of none": ([["zebra"]], False),
    "far from the reference": ([["bird"]], True),
    "rather far from the reference": ([["bear"]], True),
    "far from the reference, and common": ([["bird"], ["person"]], True),
}  # fmt: skip


def ids(queries: Queries, groups: list[list[str]]) -> list[list[int]]:
    return [[found[0] for name in group if (found := queries.label_id(0, name))] for group in groups]


@pytest.mark.parametrize("kind", [Queries, HeldCodes])
@pytest.mark.parametrize("folder", [None, 3])
@pytest.mark.parametrize("name", FILTERS)
def test_the_nearest_codes_are_those_of_the_images_that_pass(
    name: str, folder: int | None, kind: type[Queries], path: str
) -> None:
    db = connect(path, readonly=True)
    groups, asked = FILTERS[name][0], kind(db)
    conditions, folders = asked.carrying(ids(asked, groups)), None if folder is None else [folder]
    there = passing(groups, folder)
    assert sorted(set(asked.passing(conditions, folders))) == (np.flatnonzero(there) + 1).tolist()
    for reference in (REFERENCE, 777):
        chosen = asked.chosen(VECTORS[reference - 1].tobytes(), folders, conditions)
        assert chosen == by_code(there, COMPARED, reference)
    db.close()


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("name", FILTERS)
def test_an_answer_is_that_of_filtering_first(name: str, exact: bool, library: pictocli.Library) -> None:
    groups, codes = FILTERS[name]
    asked = {"match": "all", "objects": [each for (each,) in groups]} if len(groups) > 1 else {"objects": groups[0]}
    answer = library.similar(REFERENCE, **EVERYWHERE, **asked, exact=exact)
    there = passing(groups)
    if answer.approximate:
        there = there & np.isin(np.arange(1, COUNT + 1), by_code(there, COMPARED))
    found = [each.image_id for each in answer.results]
    assert found == [i for i in wanted(there, 40) if VECTORS[i - 1] @ VECTORS[REFERENCE - 1] >= 0]
    assert (answer.approximate, answer.considered) == (codes and not exact, COUNT - 1)
    assert found or name in ("never together", "of none") or name.startswith("far")


@pytest.mark.parametrize(("folder", "there"), [("f03", 4), ("/", None)])
def test_the_scope_holds_too(folder: str, there: int | None, library: pictocli.Library) -> None:
    answer = library.similar(REFERENCE, folder=folder, objects=["person"], threshold=0, limit=40)
    asked = passing([["person"]], there)
    if folder == "/":
        asked = asked & np.isin(np.arange(1, COUNT + 1), by_code(asked, COMPARED))
    found = [each.image_id for each in answer.results]
    assert found == [i for i in wanted(asked, 40) if VECTORS[i - 1] @ VECTORS[REFERENCE - 1] >= 0]
    assert found
    assert answer.approximate is (folder == "/")


def test_words_are_compared_with_the_same_images(library: pictocli.Library) -> None:
    for name, (groups, codes) in FILTERS.items():
        if len(groups) == 1:
            answer = library.search("words seen before", objects=groups[0], limit=10, exact=True)
            found = [each.image_id for each in answer.results]
            there = passing(groups)
            assert found == ([2501] * bool(there[2500]) + wanted(there, 10, 2501))[:10], name
            assert library.search("words seen before", objects=groups[0]).approximate is codes


def test_many_questions_are_answered_as_each_alone(library: pictocli.Library) -> None:
    asked = {**EVERYWHERE, "objects": ["person", "dog"]}
    many = [library.similar(number, **asked) for number in range(1, holding.FEW + 12)]
    assert library._holding._held
    for number, answer in list(enumerate(many, 1))[holding.FEW :]:
        with pictocli.open(library.path) as alone:
            assert alone.similar(number, **asked).results == answer.results


def test_what_is_exact_holds_no_codes(library: pictocli.Library) -> None:
    for number in range(1, holding.FEW + 12):
        library.similar(number, **EVERYWHERE, objects=["cat"])
    assert library._holding._held is None


def test_nothing_in_scope_is_counted_elsewhere_with_the_same_tags(library: pictocli.Library) -> None:
    folder = next(f"f{at:02}" for at in range(FOLDERS) if not passing([["cat"], ["car"]], at + 1).any())
    asked: dict[str, Any] = {"folder": folder, "threshold": 0, "objects": ["cat", "car"], "match": "all"}
    cosines = VECTORS @ VECTORS[REFERENCE - 1]
    answer = library.similar(REFERENCE, **asked)
    assert (answer.results, answer.nearest) == ([], None)
    assert answer.elsewhere == np.count_nonzero(passing([["cat"], ["car"]]) & (cosines >= 0)) or None


# -- how many looks it takes -----


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("some", [60]),
        ("common", [128]),
        ("any of all", [90]),
        ("rather far from the reference", [144, 360]),
        ("far from the reference", [180, 60]),
    ],
)
def test_codes_are_read_as_often_as_they_must(
    name: str, counts: list[int], path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once where tags are anywhere, or on so few images that these are listed; again where few of the nearest do."""
    looks: list[int] = []
    look = Queries.by_code

    def counted(self: Queries, vector: bytes, folders: Any, count: int, among: Any = None) -> list[int]:
        looks.append(count)
        return look(self, vector, folders, count, among)

    monkeypatch.setattr(Queries, "by_code", counted)
    db = connect(path, readonly=True)
    asked = Queries(db)
    asked.chosen(VECTORS[0].tobytes(), None, asked.carrying(ids(asked, FILTERS[name][0])))
    db.close()
    assert looks == counts


# -- what is asked -----


@pytest.mark.parametrize("ask", ["similar", "search"])
@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"objects": ["truk"]}, "unknown label truk in objects"),
        ({"scenes": ["person"]}, "unknown label person in scenes"),
        ({"objects": []}, "no tag given"),
        ({"objects": [], "attributes": []}, "no tag given"),
    ],
    ids=str,
)
def test_labels_are_refused_as_for_tags(ask: str, asked: Any, message: str, library: pictocli.Library) -> None:
    image: dict[str, Any] = {"similar": 1, "search": "words never seen"}
    with pytest.raises(ValidationError, match=message):
        getattr(library, ask)(image[ask], **asked)


def test_categories_are_and_and_labels_or(library: pictocli.Library, path: str) -> None:
    both = library.similar(REFERENCE, **EVERYWHERE, objects=["automobiles", "Cat"], exact=True)
    assert [each.image_id for each in both.results] == wanted(passing([["car", "cat"]]), 40)
    assert not library.similar(REFERENCE, **EVERYWHERE, objects=["person"], scenes=["outdoor"]).results
    assert library.by_text("words seen before", objects=["cat"]) == [
        *library.search("words seen before", objects=["cat"]).results
    ]
