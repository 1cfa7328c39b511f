"""Questions of several parts: the score against its formula, each part's share of it, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import libraries
import numpy as np
import pytest
from numpy.typing import NDArray

import pictocli
from pictocli.combining import Part, blend, weighted
from pictocli.errors import ValidationError
from pictocli.queries import Queries

DIM, COUNT = 32, 600


def unit(vector: NDArray[np.float64]) -> NDArray[np.float32]:
    return np.asarray(vector / np.linalg.norm(vector), "<f4")


def world() -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Pictures, a picture to ask by, and words: these lie apart from all pictures, as SigLIP's do, at small cosines."""
    pictures = libraries.clustered(COUNT, DIM, 12, 0.2)
    apart = np.linalg.svd(pictures, full_matrices=False)[2][-1]  # a direction in which pictures hardly differ
    return pictures, pictures[7], unit(apart.astype(float))


@pytest.fixture
def queries(tmp_path: Path) -> Queries:
    return Queries(libraries.make(tmp_path / "made.db", world()[0]))


def rank_correlation(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Spearman's."""
    ranks = [each.argsort().argsort() for each in (one, other)]
    return float(np.corrcoef(*ranks)[0, 1])


def test_both_parts_count_where_a_plain_sum_drowns_the_words(queries: Queries) -> None:
    pictures, picture, words = world()
    by_picture, by_words = pictures @ picture, pictures @ words
    assert by_picture.std() > 3 * by_words.std()
    plain = [rank_correlation(by_picture + by_words, each) for each in (by_picture, by_words)]
    made = blend(queries, [Part("words", 1, words.tobytes()), Part("picture", 1, picture.tobytes())])
    both = pictures @ np.frombuffer(made.vector, "<f4")
    fair = [rank_correlation(both, each) for each in (by_picture, by_words)]
    assert plain[0] - plain[1] > 0.4
    assert abs(fair[0] - fair[1]) < 0.15
    assert min(fair) > 0.5


def test_the_vector_ranks_as_the_scores(queries: Queries) -> None:
    pictures, picture, words = world()
    parts = [Part("w", 2, words.tobytes()), Part("p", 0.5, picture.tobytes()), Part("n", -1, pictures[99].tobytes())]
    made = blend(queries, parts)
    apart = np.stack([pictures @ np.frombuffer(part.vector, "<f4") for part in parts], 1).astype(float)
    weights = np.array([2, 0.5, -1])
    wanted = ((apart - apart.mean(0)) / apart.std(0)) @ weights / 3.5
    assert [made.score(row) for row in apart.tolist()] == pytest.approx(wanted.tolist(), abs=1e-4)
    vector = np.frombuffer(made.vector, "<f4")
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-6)
    assert np.corrcoef(pictures @ vector, wanted)[0, 1] == pytest.approx(1, abs=1e-6)


def test_one_part_is_itself(queries: Queries) -> None:
    picture = world()[1]
    assert np.frombuffer(blend(queries, [Part("p", 3, picture.tobytes())]).vector, "<f4") == pytest.approx(picture)


def test_parts_that_cancel(queries: Queries) -> None:
    words = world()[2].tobytes()
    with pytest.raises(ValidationError, match="the same"):
        blend(queries, [Part("w", 1, words), Part("not w", -1, words)])


@pytest.mark.parametrize("count", [1, 2])
def test_a_library_too_small_to_have_a_spread(count: int, tmp_path: Path) -> None:
    pictures = world()[0][:count]
    small = Queries(libraries.make(tmp_path / "small.db", pictures))
    made = blend(small, [Part("w", 1, world()[2].tobytes()), Part("p", 1, pictures[0].tobytes())])
    assert np.isfinite(np.frombuffer(made.vector, "<f4")).all()


def test_a_sample_is_spread_over_the_library(queries: Queries) -> None:
    pictures, picture, _ = world()
    assert queries.cosines(picture.tobytes(), 1000) == pytest.approx((pictures @ picture).tolist(), abs=1e-5)
    assert queries.cosines(picture.tobytes(), 6) == pytest.approx((pictures[99::100] @ picture).tolist(), abs=1e-5)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sunset", (1.0, "sunset")),
        ("2:sunset", (2.0, "sunset")),
        ("0.5:a red car", (0.5, "a red car")),
        (".25: x", (0.25, "x")),
        ("1:3:10 to Yuma", (1.0, "3:10 to Yuma")),
        ("a:b", (1.0, "a:b")),
        ("-1:x", (1.0, "-1:x")),
        ("2:", (1.0, "2:")),
        ("id:17", (1.0, "id:17")),
        ("0.5:id:17", (0.5, "id:17")),
    ],
)
def test_weights(text: str, expected: tuple[float, str]) -> None:
    assert weighted(text) == expected


@pytest.mark.parametrize("text", ["0:x", "0.0:x", "1001:x"])
def test_weights_that_are_none(text: str) -> None:
    with pytest.raises(ValidationError, match="weight"):
        weighted(text)


def test_a_library_is_asked_for_pictures_and_words(library: pictocli.Library) -> None:
    alone = library.search(images=[3], limit=50)
    assert 3 not in [each.image_id for each in alone.results]
    like = [each.image_id for each in library.similar(3, threshold=0, everywhere=True).results]
    assert [each.image_id for each in alone.results][: len(like)] == like
    mixed = library.search("a dog", images=[(2.0, 3), "id:4"], without=[(0.5, "snow")], limit=5)
    assert len(mixed.results) == 5
    assert [list(each.parts or {}) for each in mixed.results] == [["a dog", "id:3", "id:4", "not snow"]] * 5  # type: ignore[attr-defined]
    scores = [each.score for each in mixed.results]  # type: ignore[attr-defined]
    assert scores == sorted(scores, reverse=True)
    with pytest.raises(ValidationError, match="weight"):
        library.search("a dog", images=[(0.0, 3)])
    assert json.dumps(mixed.results[0].similarity)  # type: ignore[attr-defined]
