"""The check of the fast path: what it says is what questions find, and what it sets makes them find enough."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import apsw
import numpy as np
import pytest
from libraries import add, clustered, make
from numpy.typing import NDArray

import pictocli
from pictocli import queries, recall
from pictocli.catalog import Catalog, at_least
from pictocli.errors import StoreError
from pictocli.protocols import NoProgress
from pictocli.queries import Queries
from pictocli.recall import check, check_when_due
from pictocli.records import ModelSpec, Recall
from pictocli.schema import connect
from pictocli.sqlite import SqliteStore
from pictocli.staging import Staging


class Told(NoProgress):
    """Progress that remembers what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.did: list[str] = []

    def say(self, message: str) -> None:
        self.said.append(message)

    def doing(self, what: str) -> None:
        self.did.append(what)


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Libraries are found by code from 500 images on, and 100 are compared."""
    monkeypatch.setattr(queries, "EXACT_BELOW", 500)
    for module in (queries, recall):
        monkeypatch.setattr(module, "at_least", lambda _: 100)


def coded(path: Path, vectors: NDArray[np.float32]) -> apsw.Connection:
    """A library of these vectors, with codes."""
    db = make(path, vectors)
    SqliteStore(db).build_codes(vectors.mean(0).tobytes())
    return db


def asked(db: apsw.Connection, vectors: NDArray[np.float32], numbers: Sequence[int]) -> list[float]:
    """The shares that questions find of the 50 and of the 500 nearest at 0.6 or above, by asking them."""
    answers = {
        (number, exact): [
            image_id
            for image_id, cosine in Queries(db).nearest(
                vectors[number].tobytes(), None, 500, without=number + 1, exact=exact
            )
            if cosine >= 0.6
        ]
        for number in numbers
        for exact in (False, True)
    }
    shares = []
    for many in (50, 500):
        there = sum(len(answers[number, True][:many]) for number in numbers)
        found = sum(len({*answers[number, True][:many]} & {*answers[number, False]}) for number in numbers)
        shares.append(found / there)
    return shares


# -- what it says -----


@pytest.mark.parametrize("dim", [64, 256, 768])
@pytest.mark.usefixtures("few")
def test_it_says_what_its_questions_find(dim: int, tmp_path: Path, told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = clustered(3000, dim, 6)
    db = coded(tmp_path / "a.db", vectors)
    monkeypatch.setattr(recall, "GOALS", (0, 0))
    found = check(db, told)
    wanted = asked(db, vectors, range(30, 3000, 60))
    assert (found.images, found.exact, found.compared, found.questions) == (3000, False, 100, 50)
    assert 0.2 < wanted[1] < wanted[0] < 0.9
    assert (found.nearest, found.similar) == pytest.approx(wanted, abs=0.005)
    assert told.said == []
    assert Catalog(db).recall() == found
    db.close()


@pytest.mark.usefixtures("few")
def test_copies_are_images_of_their_own(tmp_path: Path, told: Told) -> None:
    """1,000 copies of each of 3: all are at cosine 1, their codes tie, and 100 of them are compared."""
    db = coded(tmp_path / "a.db", np.repeat(clustered(3, 64, 3), 1000, axis=0))
    seen = recall._look(Queries(db), 3000, told)
    assert seen.cosines == pytest.approx(1, abs=1e-5)
    assert (seen.nearer.max(), seen.tied.min(), seen.tied.max()) == (0, 1000, 1000)
    assert seen.found(100) == pytest.approx((0.1, 0.1))
    db.close()


@pytest.mark.usefixtures("few")
def test_a_library_without_likenesses_has_nothing_to_miss(tmp_path: Path, told: Told) -> None:
    db = coded(tmp_path / "a.db", clustered(600, 768, 600))
    found = check(db, told)
    assert (found.exact, found.compared, found.nearest, found.similar, told.said) == (False, 100, 1.0, 1.0, [])
    db.close()


def test_a_small_library_is_exact(library: pictocli.Library, rows: Any) -> None:
    before = Path(library.path).read_bytes()
    found = library.info(check_recall=True)
    assert found.recall == Recall(images=18, exact=True, compared=128_000, questions=0, nearest=1.0, similar=1.0)
    assert library.info().recall is None
    assert Path(library.path).read_bytes() == before


# -- what it sets -----


@pytest.mark.parametrize("dim", [256, 768])
@pytest.mark.usefixtures("few")
def test_it_has_more_compared_until_the_goals_are_reached(dim: int, tmp_path: Path, told: Told) -> None:
    vectors = clustered(6000, dim, 30)
    db = coded(tmp_path / "a.db", vectors)
    others = range(7, 6000, 100)
    assert asked(db, vectors, others)[0] < 0.9
    found = check(db, told)
    assert (found.exact, found.compared) == (False, 400)
    assert (found.nearest, found.similar) >= recall.GOALS
    assert min(asked(db, vectors, others)) > 0.995
    (said,) = told.said
    shown = r"With 100 images compared, [5-9]\d\.\d% of the nearest 50 and [3-8]\d\.\d% of the 500 at 0\.60 or above"
    assert re.fullmatch(shown + " are found; from now on 400 images will be", said)
    assert check(db, told) == found
    assert len(told.said) == 1
    db.close()
    with pictocli.open(tmp_path / "a.db") as again:
        assert again.info().recall == found
        exact, fast = (again.similar(8, everywhere=True, limit=50, exact=way) for way in (True, False))
        assert fast.results == exact.results
        assert (fast.approximate, exact.approximate) == (True, False)


def test_a_few_huge_clusters_are_compared_whole(tmp_path: Path, told: Told) -> None:
    """25,000 images in five clusters of all but the same: 4,000 compared of each 5,000 find 88 % of the nearest."""
    vectors = clustered(25_000, 768, 5, 0.05)
    db = coded(tmp_path / "a.db", vectors)
    others = range(100, 25_000, 2500)
    assert asked(db, vectors, others)[0] < 0.95
    assert check(db, told) == Recall(
        images=25_000, exact=True, compared=8000, questions=50, nearest=1.0, similar=1.0
    )  # five times 8,000 is more than there are
    assert re.fullmatch(r"With 4,000 .* 8\d\.\d% .* 8\d\.\d% .* from now on every image will be", told.said[0])
    assert check(db, told) == Recall(images=25_000, exact=True, compared=8000, questions=0, nearest=1.0, similar=1.0)
    assert len(told.said) == 1
    db.close()
    with pictocli.open(tmp_path / "a.db") as again:
        answer = again.similar(8, everywhere=True)
        assert not answer.approximate
        assert len(answer.results) == 50
    (tmp_path / "a.db").unlink()


@pytest.mark.usefixtures("few")
def test_a_library_too_small_for_codes_knows_how_many_it_will_need_when_it_has_grown(
    tmp_path: Path, told: Told
) -> None:
    """The least that is enough is kept, not the first that is too many for its size."""
    vectors = clustered(990, 256, 3, 0.3)
    db = coded(tmp_path / "a.db", vectors)
    found = check(db, told)
    assert (found.exact, found.nearest, found.similar) == (True, 1.0, 1.0)
    assert found.compared > 200
    add(db, vectors[:20])
    assert not Queries(db).uses_codes(None, 256)
    db.close()


@pytest.mark.usefixtures("few")
def test_no_more_than_needed_are_compared(tmp_path: Path, told: Told) -> None:
    db = coded(tmp_path / "a.db", clustered(4100, 768, 600))
    Catalog(db).keep_recall(Recall(images=1, exact=False, compared=800, questions=50, nearest=1.0, similar=1.0))
    assert check(db, told).compared == 100
    assert told.said[0].endswith("are found; from now on 100 images will be")
    db.close()


@pytest.mark.usefixtures("few")
def test_codes_are_made_anew_when_the_mean_has_moved(
    tmp_path: Path, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recall, "GOALS", (0.9, 0))
    db = coded(tmp_path / "a.db", clustered(1000, 256, 200, seed=1))
    grown = clustered(5000, 256, 100, seed=2) + np.float32(0.3)  # what they share outweighs what sets them apart
    add(db, grown / np.linalg.norm(grown, axis=1, keepdims=True))
    vectors = np.stack([np.frombuffer(v, "<f4") for (v,) in db.execute("SELECT v FROM embedding ORDER BY content_id")])
    others = range(7, 6000, 100)
    assert asked(db, vectors, others)[0] < 0.6
    found = check(db, told)
    assert (told.said, found.compared) == (["The mean of the embeddings has moved: 1-bit codes were made anew"], 100)
    assert asked(db, vectors, others)[0] > 0.9
    mean = np.frombuffer(Catalog(db).vector("mean") or b"", "<f4")
    assert mean == pytest.approx(vectors.mean(0), abs=1e-6)
    codes = db.execute("SELECT folder_id, image_id, c FROM code ORDER BY image_id").fetchall()
    fresh = np.packbits(vectors - mean > 0, axis=1, bitorder="little")
    assert codes == [(at % 25 + 1, at + 1, code.tobytes()) for at, code in enumerate(fresh)]
    assert check(db, told) == found
    assert len(told.said) == 1
    db.close()


@pytest.mark.usefixtures("few")
def test_what_cannot_be_written_is_checked_all_the_same(
    tmp_path: Path, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    coded(tmp_path / "a.db", clustered(6000, 256, 30)).close()
    before = (tmp_path / "a.db").read_bytes()

    def unwritable(path: str, *, readonly: bool = False) -> apsw.Connection:
        if not readonly:
            raise StoreError("cannot write")
        return connect(path, readonly=True)

    monkeypatch.setattr(recall, "connect", unwritable)
    with pictocli.open(tmp_path / "a.db", progress=told) as library:
        found = library.info(check_recall=True).recall
        assert found is not None
        assert (found.compared, found.exact) == (400, False)
        assert told.said[0].endswith("are found; 400 images should be, but the database cannot be written")
        assert library.info().recall is None
    assert (tmp_path / "a.db").read_bytes() == before


@pytest.mark.parametrize(
    ("kept", "checked"),
    [(None, True), (299, True), (300, True), (301, False), (600, False), (1199, False), (1200, True)],
)
@pytest.mark.usefixtures("few")
def test_a_library_is_checked_when_it_has_doubled(kept: int | None, checked: bool, tmp_path: Path, told: Told) -> None:
    db = coded(tmp_path / "a.db", clustered(600, 64, 30))
    if kept is not None:
        Catalog(db).keep_recall(Recall(images=kept, exact=False, compared=100, questions=50, nearest=0.5, similar=0.5))
    check_when_due(db, told)
    found = Catalog(db).recall()
    assert found is not None
    assert (found.images == 600 and found.nearest > 0.5) is checked
    db.close()


@pytest.mark.usefixtures("few")
def test_another_space_is_checked_anew(tmp_path: Path, told: Told) -> None:
    db = coded(tmp_path / "a.db", clustered(600, 64, 30))
    check(db, told)
    staging = Staging(db)
    staging.begin_staging(ModelSpec("other", "1", 64, 32, "bicubic", 64, 1.0, 0.0))
    staging.stage(db.execute("SELECT content_id, v FROM embedding").fetchall())
    staging.swap_staged(lambda rows: [{"objects": {}, "scenes": {}, "attributes": {}} for _ in rows], "label-free")
    assert Catalog(db).recall() is None
    db.close()


# -- how it is told -----


@pytest.mark.parametrize(
    ("seconds", "drawn"), [(0.0, [""]), (0.7, ["checking recall, 67%", "checking recall, 100%", ""])]
)
@pytest.mark.usefixtures("few")
def test_progress_is_told_after_a_second(
    seconds: float, drawn: list[str], tmp_path: Path, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = itertools.count(0, seconds)
    monkeypatch.setattr(recall, "_BLOCK", 200)
    monkeypatch.setattr(recall.time, "monotonic", lambda: next(clock))
    db = coded(tmp_path / "a.db", clustered(600, 64, 30))
    check(db, told)
    assert told.did == drawn
    db.close()


@pytest.mark.parametrize(("bits", "compared"), [(64, 48_000), (192, 16_000), (256, 12_000), (768, 4000), (1152, 4000)])
def test_shorter_codes_leave_more_to_compare(bits: int, compared: int) -> None:
    assert at_least(bits) == compared
