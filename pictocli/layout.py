"""Embeddings → places on a plane, by PCA or by UMAP. The only importer of umap-learn."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from pictocli.errors import PictoError, ValidationError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats: TypeAlias = NDArray[np.float32]

__all__ = ["LANDMARKS", "LAYOUTS", "NEIGHBOURS", "can_umap", "plane", "principal", "recipe", "unwrapped"]

LAYOUTS = ("auto", "umap", "pca")
NEIGHBOURS = 15  # UMAP's own default; below it small libraries fall apart, above it clusters run into each other
PARTS = 50  # principal components that UMAP sees: of SigLIP's 768 they hold what tells photos apart
LANDMARKS = (
    100_000  # points that UMAP lays out itself: on one thread, as it must for a seed, these take 220 s and 0.9 GB
)
_MIN_DIST = 0.05
_BLOCK = 256  # points that are compared with all landmarks at a time: 100 MB
_SPREAD = 10.0  # the span that UMAP's own starts have, in which its step size works


def can_umap() -> bool:
    """Whether umap-learn is installed, told without importing it, which takes seconds."""
    return importlib.util.find_spec("umap") is not None


def recipe() -> str:
    """All that a layout by UMAP follows from, but for the points and the seed."""
    from importlib.metadata import version

    return f"umap-learn {version('umap-learn')} {NEIGHBOURS} {_MIN_DIST} {_SPREAD} {LANDMARKS}"


def principal(batches: Callable[[], Iterable[Floats]], count: int, dim: int) -> Floats:
    """The first principal components of `count` points, at most PARTS: float32 [count, parts], the widest first.

    batches: gives the points, float32 [some, dim], twice in the same order. Exact: the eigenvectors of the covariance
    matrix (Pearson 1901), of which one is held, and a batch. A component's sign is such that its largest weight is
    positive. Raises ValidationError for points that are not made of numbers.
    """
    shift, total, square = np.zeros(dim, "f4"), np.zeros(dim), np.zeros((dim, dim))
    for at, batch in enumerate(batches()):
        if not np.isfinite(batch).all():
            raise ValidationError("an embedding is not made of numbers", "picto info --check names what is damaged")
        shift = batch.mean(0) if at == 0 else shift  # near the mean: float32 loses nothing then
        centred = batch - shift
        total += centred.sum(0, dtype=float)
        square += centred.T @ centred
    mean = total / count
    _, axes = np.linalg.eigh(square / count - np.outer(mean, mean))
    axes = axes[:, ::-1][:, : min(PARTS, dim)]
    axes *= np.sign(axes[np.abs(axes).argmax(0), np.arange(axes.shape[1])])
    found = np.empty((count, axes.shape[1]), "f4")
    at = 0
    for batch in batches():
        found[at : at + len(batch)] = (batch - shift - mean.astype("f4")) @ axes.astype("f4")
        at += len(batch)
    return found


def plane(parts: Floats) -> Floats:
    """The first two of the principal components, float32 [n, 2]; a second of zeros where there is one only."""
    return np.column_stack([parts[:, 0], parts[:, 1] if parts.shape[1] > 1 else np.zeros(len(parts), "f4")])


def unwrapped(parts: Floats, seed: int) -> Floats:
    """A plane on which neighbours stay neighbours, by UMAP (McInnes, Healy and Melville 2018): float32 [n, 2].

    Of more than LANDMARKS points, so many drawn by `seed` are laid out, and the others beside the nearest of these.
    parts, errors: as those of `_unwrapped`.
    """
    if len(parts) <= LANDMARKS:
        return _unwrapped(parts, seed)
    drawn = np.sort(np.random.default_rng(seed).choice(len(parts), LANDMARKS, replace=False))
    rest = np.setdiff1d(np.arange(len(parts)), drawn)
    found = np.empty((len(parts), 2), "f4")
    found[drawn] = _unwrapped(parts[drawn], seed)
    found[rest] = _beside(parts[rest], parts[drawn], found[drawn])
    return found


def _unwrapped(parts: Floats, seed: int) -> Floats:
    """All of them by UMAP.

    parts: principal components of vectors of unit length, whose Euclidean distances rank as their cosines do. It
    starts from the first two, which keeps what lies where from seed to seed (Kobak and Linderman 2021). The same seed
    gives the same places on one machine, as it runs on one thread. Raises PictoError without umap-learn.
    """
    umap = _umap()
    start = plane(parts)
    span = float(np.ptp(start, axis=0).max()) or 1.0
    chance = np.random.default_rng(seed)  # copies must not start at one place: UMAP could not part what is one point
    begun = start / span + chance.normal(scale=1e-4, size=start.shape)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of numba's and scikit-learn's coming changes
        fitted = umap.UMAP(
            n_neighbors=min(NEIGHBOURS, len(parts) - 1), min_dist=_MIN_DIST, spread=_SPREAD, metric="euclidean",
            init=begun.astype("f4"), random_state=seed, n_jobs=1,
        ).fit_transform(parts)  # fmt: skip
    return np.asarray(fitted, "f4")


def _beside(parts: Floats, known: Floats, places: Floats) -> Floats:
    """Places of `parts`: the mean of those of the three nearest of `known`, each by 1 / its squared distance."""
    found = np.empty((len(parts), 2), "f4")
    lengths = (known**2).sum(1)
    for at in range(0, len(parts), _BLOCK):
        some = parts[at : at + _BLOCK]
        near = np.argpartition(lengths - 2 * (some @ known.T), 3, axis=1)[:, :3]
        far = ((some[:, None] - known[near]) ** 2).sum(2) + 1e-9
        weights = (1 / far) / (1 / far).sum(1, keepdims=True)
        found[at : at + _BLOCK] = (places[near] * weights[:, :, None]).sum(1)
    return found


def _umap() -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it says that it has no TensorFlow, which only its other half needs
            import umap
    except ImportError as exc:
        raise PictoError(
            "a map by UMAP needs the package umap-learn", "pip install 'pictocli[map]', or --layout pca"
        ) from exc
    return umap
