"""How unusual a similarity is: quantiles of the cosines of random pairs, and where one lies among them."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from numpy.typing import NDArray

from pictocli import pairs
from pictocli.pairs import ENOUGH, SAMPLE, chosen, closer_than, measured, quantiles, settled
from pictocli.records import Pairs

FIVE = Pairs(contents=50, n=1000, ranks=(0, 500, 900, 990, 999), cosines=(-0.2, 0.1, 0.3, 0.5, 0.8))
TIED = Pairs(contents=50, n=1000, ranks=(0, 500, 900, 999), cosines=(0.1, 0.1, 0.4, 0.4))


def vectors(count: int, dim: int = 16, seed: int = 3) -> NDArray[np.float32]:
    """Unit vectors in clusters around a mean that all share."""
    chance = np.random.default_rng(seed)
    centres = chance.normal(size=(1 + count // 20, dim)) + 0.5
    found = centres[chance.integers(0, len(centres), count)] + 0.5 * chance.normal(size=(count, dim))
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype("<f4")


def blobs(found: NDArray[np.float32]) -> list[bytes]:
    return [vector.tobytes() for vector in found]


def all_pairs(found: NDArray[np.float32]) -> NDArray[np.float64]:
    """Every pair's cosine, one by one, ascending."""
    exact = found.astype(np.float64)
    rows = [exact[at] @ exact[at + 1 :].T for at in range(len(exact) - 1)]
    return np.sort(np.concatenate(rows))


@pytest.mark.parametrize(
    ("kept", "cosine", "share"),
    [
        pytest.param(FIVE, 0.1, 0.5, id="at a quantile"),
        pytest.param(FIVE, 0.2, 0.7, id="between two"),
        pytest.param(FIVE, 0.35, 0.9225, id="a quarter of the way"),
        pytest.param(FIVE, -0.2, 0.0, id="the least similar pair"),
        pytest.param(FIVE, -0.9, 0.0, id="below them all"),
        pytest.param(FIVE, 0.8, 0.999, id="the most similar pair"),
        pytest.param(FIVE, 0.81, 0.999, id="above them all"),
        pytest.param(FIVE, 1.0, 0.999, id="the same picture"),
        pytest.param(TIED, 0.1, 0.0, id="tied with half of them, closer than none"),
        pytest.param(TIED, 0.25, 0.7, id="above a tie"),
        pytest.param(TIED, 0.4, 0.9, id="tied with the most similar ones"),
        pytest.param(TIED, 0.5, 0.999, id="above that tie"),
    ],
)
def test_closer_than(kept: Pairs, cosine: float, share: float) -> None:
    assert closer_than(kept, cosine) == pytest.approx(share)


def test_without_pairs_nothing_is_said() -> None:
    assert closer_than(None, 0.7) is None


def test_a_share_rises_with_the_cosine_and_is_never_all() -> None:
    found = measured(blobs(vectors(400)), 400)
    assert found is not None
    shares = [closer_than(found, cosine) for cosine in np.linspace(-1, 1, 500)]
    assert shares == sorted(shares)  # type: ignore[type-var]
    assert (shares[0], shares[-1]) == (0, 1 - 1 / found.n)


def test_all_pairs_of_a_small_library_are_compared() -> None:
    found, exact = measured(blobs(vectors(62)), 62), all_pairs(vectors(62))
    assert found is not None
    assert (found.n, found.contents) == (1891, 62)
    assert list(found.cosines) == sorted(found.cosines)
    assert np.allclose(found.cosines, exact[list(found.ranks)], atol=2e-6)
    assert (found.ranks[0], found.ranks[-1]) == (0, 1890)
    for cosine in (exact[3], 0.0, exact[1000], exact[1889], 0.6):
        share = closer_than(found, float(cosine) + 1e-7)
        assert share == pytest.approx(np.searchsorted(exact, cosine) / 1891, abs=0.005)


@pytest.mark.parametrize("many", [3000])
def test_a_sample_agrees_with_all_pairs(many: int) -> None:
    """Within sampling error: a tenth of what lies above, and a quarter in the last thousandth."""
    whole = vectors(many, dim=32)
    ids = chosen(range(many))
    found, exact = measured(blobs(whole[ids]), many), all_pairs(whole)
    assert found is not None
    assert (found.n, found.contents) == (SAMPLE * (SAMPLE - 1) // 2, many)
    for share, error in ((0.1, 0.02), (0.5, 0.02), (0.9, 0.01), (0.99, 0.001), (0.999, 2e-4), (0.9997, 8e-5)):
        cosine = float(exact[int(share * len(exact))])
        assert closer_than(found, cosine) == pytest.approx(share, abs=error)


def test_the_quantiles_that_are_kept_lie_closer_towards_the_top() -> None:
    found = measured(blobs(vectors(SAMPLE)), 5000)
    assert found is not None
    shares = {round(rank / found.n, 5) for rank in found.ranks}
    assert {0.5, 0.99, 0.995, 0.999, 0.9995, 0.9999, 0.99999} <= shares
    assert 201 <= len(found.ranks) == len(found.cosines) < 256
    assert len(json.dumps([found.ranks, found.cosines])) < 8192  # half of a page of the database


@pytest.mark.parametrize(
    ("contents", "kept"), [(0, False), (1, False), (2, False), (45, False), (46, True), (47, True)], ids=str
)
def test_too_few_pairs_say_nothing(contents: int, kept: bool) -> None:
    assert (contents * (contents - 1) // 2 >= ENOUGH) is kept
    assert (measured(blobs(vectors(47)[:contents]), contents) is not None) is kept
    assert settled(None, contents) is not kept


@pytest.mark.parametrize(
    ("then", "now", "wanted"),
    [(100, 100, True), (100, 105, True), (100, 110, True), (100, 111, False), (100, 90, True), (100, 89, False),
     (100, 20, False), (100, 0, False), (1000, 1101, False), (50, 60, False)],
)  # fmt: skip
def test_a_tenth_more_or_fewer_is_measured_again(then: int, now: int, wanted: bool) -> None:
    held = measured(blobs(vectors(60)), then)
    assert settled(held, now) is wanted


def test_the_choice_is_the_same_every_time_and_of_distinct_contents() -> None:
    ids = list(range(7, 7 + 3 * 5000, 3))
    first = chosen(ids)
    assert first == chosen(ids)
    assert len(set(first)) == SAMPLE
    assert set(first) <= set(ids)
    assert abs(np.mean(first) - np.mean(ids)) < 500  # from everywhere: the error of a mean of 1,400 is 120
    assert sorted(chosen(ids[:SAMPLE])) == ids[:SAMPLE]
    assert {type(each) for each in first} == {int}


def test_quantiles_by_their_shares() -> None:
    found = quantiles(FIVE)
    assert found[0.5] == pytest.approx(0.1)
    assert found[0.9] == pytest.approx(0.3)
    assert found[0.95] == pytest.approx(0.3 + 0.2 * 50 / 90)
    assert found[0.999] == pytest.approx(0.8)
    assert max(found) == 0.999  # 1,000 pairs say nothing of the last thousandth
    assert list(found) == sorted(found)
    assert list(found.values()) == sorted(found.values())


def test_quantiles_invert_closer_than() -> None:
    kept = measured(blobs(vectors(300)), 300)
    for share, cosine in quantiles(kept).items() if kept else ():
        assert closer_than(kept, cosine) == pytest.approx(share, abs=1e-3)


def test_reading_imports_no_numpy() -> None:
    code = (
        "import sys; from pictocli.pairs import closer_than, quantiles, settled; from pictocli.records import Pairs\n"
        "kept = Pairs(contents=50, n=1000, ranks=(0, 999), cosines=(0.0, 0.9))\n"
        "closer_than(kept, 0.3), quantiles(kept), settled(kept, 80)\n"
        "print([name for name in ('numpy', 'random') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    assert pairs.__all__ == sorted(pairs.__all__)
