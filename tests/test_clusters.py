"""Clusters on a plane, and their labels."""

from __future__ import annotations

import numpy as np
import pytest

from pictocli.clusters import clusters, distinguishing


def hills(*hills: tuple[float, float, int], wide: float = 0.03) -> np.ndarray:
    chance = np.random.default_rng(2)
    points = [np.array([x, y]) + wide * chance.standard_normal((count, 2)) for x, y, count in hills]
    return np.concatenate(points).clip(0, 1).astype("f4")


def test_hills_are_clusters_the_largest_first() -> None:
    places = hills((0.2, 0.2, 50), (0.8, 0.3, 200), (0.4, 0.9, 100))
    members, peaks = clusters(places)
    truth = np.repeat([2, 0, 1], [50, 200, 100])
    assert (members == truth).mean() > 0.97
    np.testing.assert_allclose(peaks[:3], [[0.8, 0.3], [0.4, 0.9], [0.2, 0.2]], atol=0.05)
    assert np.all(np.diff(np.bincount(members)) <= 0)


@pytest.mark.parametrize("count", [1, 3, 1000])
def test_one_place_is_one_cluster(count: int) -> None:
    members, peaks = clusters(np.full((count, 2), 1.0, "f4"))
    assert (set(members.tolist()), len(peaks)) == ({0}, 1)


CARS, PETS = ["car", "outdoor"], ["dog", "outdoor"]


@pytest.mark.parametrize(
    ("tags", "lesser", "expected"),
    [
        ([CARS] * 6 + [PETS] * 4, (), ["car", "dog"]),
        ([["outdoor"]] * 10, (), ["", ""]),
        ([[]] * 10, (), ["", ""]),
        ([["a", "white"]] * 4 + [["white"]] * 2 + [["b"]] * 4, ("white",), ["a", "b"]),
        ([["white"]] * 6 + [["b"]] * 4, ("white",), ["", "b"]),
        ([["car"]] * 1 + [[]] * 5 + [["dog"]] * 4, (), ["", "dog"]),
        ([["car", "car"]] * 1 + [[]] * 5 + [["dog"]] * 4, (), ["", "dog"]),
    ],
    ids=["apart", "all the same", "none", "objects before attributes", "a weak attribute", "one image", "named twice"],
)
def test_the_label_tells_a_cluster_from_the_rest(
    tags: list[list[str]], lesser: tuple[str, ...], expected: list[str]
) -> None:
    assert distinguishing(np.repeat([0, 1], [6, 4]), tags, 10, lesser) == expected


def test_no_two_get_the_same() -> None:
    members = np.repeat([0, 1, 2], [5, 4, 9])
    found = distinguishing(members, [["car"]] * 5 + [["car", "red"]] * 4 + [["sea"]] * 9, 2)
    assert found == ["car", "red"]
