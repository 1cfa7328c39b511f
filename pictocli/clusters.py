"""Finds the clusters of a map, and the tag that tells each of them from the rest."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["LEAST", "clusters", "distinguishing"]

LEAST = 3  # images that make a cluster
_CELLS = 96  # a side of the grid on which density is measured
_LESSER = 1 / 3  # what an attribute is worth beside an object or scene: "white" says less than "document"
_WORTHY = 0.2  # nats, 1.2 times as common where all of a cluster carry it: less says nothing
_NARROW = 0.35  # times Scott's bandwidth, which is for one hill: a map has many


def clusters(places: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Which cluster each of n places (float32 [n, 2], 0..1) is in, int64 [n], and the peak of each, float32 [k, 2].

    A cluster is what goes up to the same peak of the density: mean shift (Comaniciu and Meer 2002), on a grid. The
    largest is the first.
    """
    at = np.minimum((places * _CELLS).astype(int), _CELLS - 1)
    counts = np.zeros((_CELLS, _CELLS))
    np.add.at(counts, (at[:, 0], at[:, 1]), 1)
    wide = max(1.0, _NARROW * len(places) ** (-1 / 6) * float(places.std()) * _CELLS)
    density = _smooth(counts, wide)
    peaks = _climbed(density)[at[:, 0], at[:, 1]]
    names, members = np.unique(peaks, return_inverse=True)
    sizes = np.bincount(members)
    order = np.argsort(-sizes, kind="stable")
    rank = np.empty(len(order), int)
    rank[order] = np.arange(len(order))
    found = np.column_stack(np.divmod(names[order], _CELLS)).astype("f4")
    return rank[members], ((found + 0.5) / _CELLS).astype("f4")


def _smooth(counts: NDArray[np.float64], wide: float) -> NDArray[np.float64]:
    """Counts blurred by a Gaussian of so many cells, one axis after the other."""
    reach = np.arange(-math.ceil(4 * wide), math.ceil(4 * wide) + 1)
    kernel = np.exp(-0.5 * (reach / wide) ** 2)
    size = len(reach) // 2
    for _ in range(2):
        padded = np.pad(counts, ((size, size), (0, 0)))
        counts = sum(w * padded[i : i + _CELLS] for i, w in enumerate(kernel)).T
    return counts


def _climbed(density: NDArray[np.float64]) -> NDArray[np.int64]:
    """For each cell, the one that is reached by always going to the highest of the nine around."""
    own = np.arange(density.size).reshape(density.shape)
    padded = np.pad(density, 1, constant_values=-1.0)
    ids = np.pad(own, 1, constant_values=-1)
    best, to = density.copy(), own.copy()
    for dx in range(3):
        for dy in range(3):
            beside = padded[dx : dx + _CELLS, dy : dy + _CELLS]
            higher = beside > best
            best[higher] = beside[higher]
            to[higher] = ids[dx : dx + _CELLS, dy : dy + _CELLS][higher]
    flat = to.ravel()
    while True:
        further = flat[flat]
        if np.array_equal(further, flat):
            return flat.reshape(density.shape)
        flat = further


def distinguishing(
    members: NDArray[np.int64], tags: Sequence[Sequence[str]], most: int, lesser: Collection[str] = ()
) -> list[str]:
    """For each of the `most` largest clusters the tag that tells it from the rest, "" where none does.

    members: the cluster of each image, 0 the largest. tags: each image's. A tag's worth for a cluster is its part of
    the Kullback-Leibler divergence, p log(p / q), where p is the share of the cluster that carries it and q that of
    the library, and a third of that for those of `lesser`. It counts above 0.2, where a fifth of the cluster and two
    images have it. No two clusters get the same: it goes to the one for which it is worth more.
    """
    total, sizes = Counter(tag for each in tags for tag in set(each)), np.bincount(members)
    within = [Counter[str]() for _ in range(min(most, len(sizes)))]
    for member, each in zip(members.tolist(), tags, strict=True):
        if member < len(within):
            within[member].update(set(each))
    offers = []
    for at, counts in enumerate(within):
        for tag, count in counts.items():
            share, lift = count / sizes[at], count / sizes[at] * len(tags) / total[tag]
            if share >= 0.2 and lift > 1 and count >= 2 and sizes[at] >= LEAST:
                worth = share * math.log(lift) * (_LESSER if tag in lesser else 1)
                if worth > _WORTHY:
                    offers.append((-worth, at, tag))
    found = [""] * len(within)
    for _, at, tag in sorted(offers):
        if not found[at] and tag not in found:
            found[at] = tag
    return found
