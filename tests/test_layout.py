"""Layouts on a plane: clusters stay apart, the same seed gives the same, and neither needs all in memory."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from libraries import clustered
from numpy.typing import NDArray

from pictocli import layout
from pictocli.errors import PictoError, ValidationError


def parts(vectors: NDArray[np.float32], batch: int = 100) -> NDArray[np.float32]:
    def batches() -> Iterator[NDArray[np.float32]]:
        for at in range(0, len(vectors), batch):
            yield vectors[at : at + batch]

    return layout.principal(batches, len(vectors), vectors.shape[1])


def kept(vectors: NDArray[np.float32], places: NDArray[np.float32], near: int = 10) -> float:
    """The share of each point's nearest on the plane that are among its nearest among the vectors."""

    def nearest(points: NDArray[np.float32]) -> NDArray[np.int64]:
        far = ((points[:, None] - points[None]) ** 2).sum(2)
        np.fill_diagonal(far, np.inf)
        return np.argsort(far, axis=1, kind="stable")[:, :near]

    both = zip(nearest(vectors), nearest(places), strict=True)
    return float(np.mean([len(set(one) & set(other)) / near for one, other in both]))


@pytest.mark.parametrize(("count", "dim"), [(300, 24), (40, 3), (70, 128), (3, 8), (5, 1)])
def test_principal_components_are_those_of_svd(count: int, dim: int) -> None:
    points = np.random.default_rng(1).standard_normal((count, dim)).astype("f4") * np.linspace(3, 1, dim, dtype="f4")
    found = parts(points + 100, batch=16)
    u, widths, _ = np.linalg.svd(points - points.mean(0), full_matrices=False)
    expected = u * widths
    assert found.shape == (count, min(50, dim))
    some = min(count - 1, found.shape[1])
    np.testing.assert_allclose(np.abs(found[:, :some]), np.abs(expected[:, :some]), atol=2e-2)
    assert np.array_equal(found, parts(points + 100, batch=16))


def test_the_plane_of_one_dimension_has_two() -> None:
    assert layout.plane(np.array([[1], [2]], "f4")).tolist() == [[1, 0], [2, 0]]


def test_what_is_no_number_is_refused() -> None:
    broken = np.zeros((5, 4), "f4")
    broken[3, 1] = np.nan
    with pytest.raises(ValidationError, match="not made of numbers"):
        parts(broken)


def test_points_beside_known_ones_lie_where_these_do() -> None:
    known = np.array([[0, 0], [0.1, 0], [0, 0.1], [9, 9], [9.1, 9], [9, 9.1]], "f4")
    places = known * 7 + 1
    found = layout._beside(known[[3, 0]] + np.float32(0.01), known, places)
    np.testing.assert_allclose(found, places[[3, 0]], atol=0.7)


def test_umap_keeps_neighbours_and_clusters(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one test that runs UMAP: numba takes its time. Neighbours, clusters, seeds, landmarks, copies."""
    vectors = clustered(240, 32, 6, 0.35, seed=3)
    vectors[1] = vectors[0]
    points = parts(vectors)
    found = layout.unwrapped(points, 7)
    chance = np.random.default_rng(0).random((240, 2)).astype("f4")
    assert found.dtype == np.float32
    assert kept(vectors, found) > 0.3 > 0.1 > kept(vectors, chance)
    assert kept(vectors, found) > kept(vectors, layout.plane(points)) + 0.05
    assert np.array_equal(found, layout.unwrapped(points, 7))
    assert not np.array_equal(found, layout.unwrapped(points, 8))
    monkeypatch.setattr(layout, "LANDMARKS", 120)
    some = layout.unwrapped(points, 7)
    assert np.isfinite(some).all()
    assert kept(vectors, some) > 0.2
    assert np.isfinite(layout.unwrapped(points[:3], 0)).all()


def test_without_umap_it_is_said(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(PictoError, match="needs the package umap-learn") as told:
        layout.unwrapped(np.zeros((5, 2), "f4"), 0)
    assert "pictocli[map]" in (told.value.hint or "")
