"""Measures a calibration: logits over a background, and, where their labels are known, what they are worth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pictocli.calibration import LEAST_SIGMA, Calibration, Constants, identity, standardised
from pictocli.records import CATEGORIES, ModelSpec
from pictocli.tagging import sigmoid
from pictocli.taxonomy import Taxonomy

__all__ = ["ENOUGH", "LEAST", "RELIABLE", "average_precision", "fit", "platt", "threshold", "wilson"]

ENOUGH = 20  # pictures that must be given a label before its precision is believed
RELIABLE = 0.8  # what that precision must exceed with 95 % confidence
LEAST = 0.7  # probability: a label right in eight of ten all told may still be a coin toss at its own threshold
SHRINK = 4.0  # precision of the prior that pulls a label's (α, β) to its category's: outweighed by some 20 positives
_Array = NDArray[np.float64]


def wilson(right: _Array, given: _Array, z: float = 1.645) -> _Array:
    """What a share `right` / `given` exceeds with 95 % confidence (Wilson 1927); given is 1 at least.

    z: 1.645 bounds it from below alone; 1.96 is for an interval with two ends.
    """
    share = right / given
    spread = z * np.sqrt(share * (1 - share) / given + z * z / (4 * given * given))
    return np.asarray((share + z * z / (2 * given) - spread) / (1 + z * z / given))


def threshold(p: _Array, true: NDArray[np.bool_], *, reliable: float = RELIABLE, enough: int = ENOUGH) -> float | None:
    """The lowest τ, LEAST at least, at which a label is still reliable; None when there is none. p, true: [n].

    Reliable: there are `enough` pictures with p ≥ τ, and Wilson's bound of the share that is true is `reliable`.
    """
    order = np.argsort(-p, kind="stable")
    given = np.arange(1.0, len(p) + 1)
    good = (
        (given >= enough) & (wilson(np.cumsum(true[order], dtype=np.float64), given) >= reliable) & (p[order] >= LEAST)
    )
    good[:-1] &= p[order][:-1] > p[order][1:]  # equal values are given together
    if not good.any():
        return None
    return float(p[order][np.flatnonzero(good)[-1]])


def platt(
    x: _Array, true: NDArray[np.bool_], prior: tuple[float, float] | None = None, steps: int = 50
) -> tuple[float, float]:
    """(α, β) of p = sigmoid(α x + β) by Newton's method on the log-likelihood of Platt's smoothed targets.

    x, true: [n]. prior: (α, β) to be drawn to, as by a Gaussian of precision SHRINK; None: hardly any.
    """
    right, n = int(true.sum()), len(true)
    target = np.where(true, (right + 1) / (right + 2), 1 / (n - right + 2))
    centre = np.array(prior or (1.0, 0.0))
    pull = SHRINK if prior else 1e-3
    values = centre.copy()
    for _ in range(steps):
        p = sigmoid(values[0] * x + values[1])
        slope = np.array([((p - target) * x).sum(), (p - target).sum()]) + pull * (values - centre)
        w = p * (1 - p)
        bend = np.array([[(w * x * x).sum(), (w * x).sum()], [(w * x).sum(), w.sum()]]) + pull * np.eye(2)
        step = np.linalg.solve(bend, slope)
        step *= min(1.0, 4 / max(np.abs(step).max(), 1e-12))  # far from the optimum a full step may overshoot
        values -= step
        if np.abs(step).max() < 1e-8:
            break
    return float(values[0]), float(values[1])


def average_precision(x: _Array, true: NDArray[np.bool_]) -> float:
    """Mean precision at the rank of each true picture; x, true: [n], one true at least."""
    hits = true[np.argsort(-x, kind="stable")]
    return float((np.cumsum(hits) / np.arange(1, len(hits) + 1))[hits].mean())


def fit(
    spec: ModelSpec, taxonomy: Taxonomy, logits: _Array, known: NDArray[np.int8] | None = None, *,
    reliable: float = RELIABLE,
) -> Calibration:  # fmt: skip
    """Calibrate a model.

    logits: [n, labels] in taxonomy order, of a broad set of pictures. known: int8 of the same shape, 1 true, 0 false,
    −1 not known; None when nothing is. reliable: as `threshold` has it. Whether p is a function of z or of z
    standardised within the picture is chosen by the mean average precision over the labels with ENOUGH known pictures.
    """
    mu, sigma = (np.round(each, 5) for each in (logits.mean(axis=0), logits.std(axis=0)))  # as they are written
    z = (logits - mu) / np.maximum(sigma, LEAST_SIGMA)
    judged = {category: taxonomy.judged(category) for category in CATEGORIES}
    every = [column for columns in judged.values() for column in columns]
    constants: dict[str, Constants] = {}
    score = "image"
    if known is not None:
        spaces = {"label": z, "image": z.copy()}
        for columns in judged.values():
            if columns:
                spaces["image"][:, columns] = standardised(z[:, columns])
        score = max(spaces, key=lambda name: _mean_precision(spaces[name], known, every))
        for columns in judged.values():
            constants |= _category(taxonomy, columns, mu, sigma, spaces[score], known, reliable)
    else:
        for column in every:
            constants[taxonomy.labels[column].id] = Constants(float(mu[column]), float(sigma[column]))
    return Calibration(identity(spec, taxonomy), score, len(logits), known is not None, constants)


def _mean_precision(x: _Array, known: NDArray[np.int8], columns: Sequence[int]) -> float:
    told = [c for c in columns if (known[:, c] == 1).sum() >= ENOUGH]
    scores = [average_precision(x[rows, c], known[rows, c] == 1) for c in told for rows in [known[:, c] >= 0]]
    return float(np.mean(scores)) if scores else 0.0


def _category(
    taxonomy: Taxonomy, columns: Sequence[int], mu: _Array, sigma: _Array, x: _Array, known: NDArray[np.int8],
    reliable: float,
) -> dict[str, Constants]:  # fmt: skip
    """The constants of one category's labels; those of the category as a whole come from all its known pairs."""
    told = [c for c in columns if (known[:, c] == 1).any()]
    rows = {c: known[:, c] >= 0 for c in columns}
    prior = (1.0, 0.0)
    if told:
        pooled = [(x[rows[c], c], known[rows[c], c] == 1) for c in told]
        prior = platt(np.concatenate([each[0] for each in pooled]), np.concatenate([each[1] for each in pooled]))
    found = {}
    for c in columns:
        true = known[rows[c], c] == 1
        n = int(true.sum())
        alpha, beta = (round(value, 5) for value in (platt(x[rows[c], c], true, prior) if n else prior))
        p = sigmoid(alpha * x[rows[c], c] + beta)
        tau = threshold(p, true, reliable=reliable) if n and alpha > 0 else None
        # Rounded down: a picture at the very threshold must still reach it.
        kept = None if tau is None else max(0.0, np.floor(tau * 1e6 - 1) / 1e6)
        source = "label" if n >= ENOUGH else "category"
        found[taxonomy.labels[c].id] = Constants(float(mu[c]), float(sigma[c]), alpha, beta, kept, n, source)
    return found
