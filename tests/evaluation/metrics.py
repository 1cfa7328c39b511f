"""What is counted, averaged and compared. Pure functions of arrays; what has no value is NaN.

known is int8 [n, labels] everywhere: of picture and label 1 true, 0 false, −1 not known.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = [
    *("Counts", "Macro", "average_precision", "calibration_error", "counts", "evenly", "folds", "macro"),
    *("mean_average_precision", "micro", "neighbours", "top"),
]

_Array = NDArray[np.float64]
_Rows = NDArray[np.intp]


def top(scores: _Array, numbers: _Rows, k: int) -> float:
    """The share of pictures whose own class is among the k best. scores: [n, classes]; numbers: [n], the classes.

    A class that scores the same counts as better: a model that tells nothing apart gets nothing right.
    """
    own = np.take_along_axis(scores, numbers[:, None], axis=1)
    better = (scores >= own).sum(axis=1) - 1
    return float((better < k).mean())


def neighbours(vectors: NDArray[np.float32], numbers: _Rows, queries: _Rows, k: int) -> float:
    """Precision at k among pictures: the mean share of a query's k nearest, never itself, that are of its class.

    vectors: [n, dim], unit length; numbers: [n]; queries: rows that ask. With fewer than k others, all of them count.
    """
    k = min(k, len(vectors) - 1)
    if k < 1:
        return math.nan
    shares = []
    for start in range(0, len(queries), 256):  # 256 × 10,000 cosines: 10 MB
        asking = queries[start : start + 256]
        cosines = vectors[asking] @ vectors.T
        cosines[np.arange(len(asking)), asking] = -np.inf
        near = np.argpartition(-cosines, k - 1, axis=1)[:, :k]
        shares.append((numbers[near] == numbers[asking][:, None]).mean(axis=1))
    return float(np.concatenate(shares).mean())


@dataclass(frozen=True, slots=True)
class Counts:
    """Per label [k], over its known pictures. right: given, true. wrong: given, false. missed: true, not given."""

    right: NDArray[np.intp]
    wrong: NDArray[np.intp]
    missed: NDArray[np.intp]


def counts(given: NDArray[np.bool_], known: NDArray[np.int8]) -> Counts:
    """Count hits and misses. given, known: [n, k]; a label given where nothing is known is neither right nor wrong."""
    true, false = known == 1, known == 0
    return Counts(*((each).sum(axis=0) for each in (given & true, given & false, ~given & true)))


def micro(found: Counts) -> tuple[float, float, float]:
    """Precision, recall and F1 over all known pairs of picture and label."""
    right, wrong, missed = (int(each.sum()) for each in (found.right, found.wrong, found.missed))
    return _share(right, right + wrong), _share(right, right + missed), _share(2 * right, 2 * right + wrong + missed)


@dataclass(frozen=True, slots=True)
class Macro:
    """Means over the labels that are true of some picture: `labels` of them, of which `given` were given at least once.

    A label that is never given has no precision; it counts as 0, so that silence does not look like skill.
    """

    precision: float
    recall: float
    given: int
    labels: int


def macro(found: Counts) -> Macro:
    """Average over labels, each counting the same."""
    there = found.right + found.missed > 0
    right, given = found.right[there], (found.right + found.wrong)[there]
    if not there.any():
        return Macro(math.nan, math.nan, 0, 0)
    precision, recall = right / np.maximum(given, 1), right / (right + found.missed[there])
    return Macro(float(precision.mean()), float(recall.mean()), int((given > 0).sum()), int(there.sum()))


def average_precision(scores: _Array, true: NDArray[np.bool_]) -> float:
    """The mean, over true pictures, of the precision at their rank; scores, true: [n].

    Pictures of equal score share the rank of the last of them, so that their order does not matter (as scikit-learn's
    average_precision_score has it).
    """
    if not true.any():
        return math.nan
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(true[order])
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    gained = np.diff(hits[ends], prepend=0)
    return float((gained * hits[ends] / (ends + 1)).sum() / hits[-1])


def mean_average_precision(scores: _Array, known: NDArray[np.int8], enough: int = 20) -> tuple[float, int]:
    """Average precision, averaged over the labels with `enough` true pictures and one false, and how many these are.

    scores, known: [n, k].
    """
    wanted = np.flatnonzero(((known == 1).sum(axis=0) >= enough) & (known == 0).any(axis=0))
    each = [average_precision(scores[rows, c], known[rows, c] == 1) for c in wanted for rows in [known[:, c] >= 0]]
    return (float(np.mean(each)) if each else math.nan), len(each)


def calibration_error(p: _Array, true: NDArray[np.bool_], bins: int = 15, least: float = 0.01) -> float:
    """Expected calibration error (Naeini, Cooper, Hauskrecht 2015): the mean gap between p and the share that is true.

    p, true: [pairs]. Over `bins` equal parts of 0..1, each weighted by its pairs. Pairs with p below `least` are left
    out: they are nearly all of them, nearly all false, and would make any model look calibrated.
    """
    p, true = p[p >= least], true[p >= least]
    if not len(p):
        return math.nan
    bin_of = np.minimum((p * bins).astype(np.intp), bins - 1)
    gaps = np.bincount(bin_of, weights=p - true, minlength=bins)
    return float(np.abs(gaps).sum() / len(p))


def evenly(n: int, count: int) -> _Rows:
    """`count` of n rows, evenly spaced from the first on; all of them where there are not as many."""
    return np.arange(min(n, count)) * n // max(1, min(n, count))


def folds(n: int, count: int, seed: int = 0) -> _Rows:
    """A fold 0 … count − 1 for each of n pictures, at random, the same for the same seed."""
    return np.random.default_rng(seed).permutation(n) % count


def _share(part: int, whole: int) -> float:
    return part / whole if whole else math.nan
