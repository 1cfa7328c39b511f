"""From scores to tags, step by step, so that each step's worth shows.

raw p        sigmoid(logit) ≥ ½: what the model itself says
label-free   what picto gives without a calibration: z′ of the logits within the picture
per-label z  (logit − μ) / σ of the label over a background ≥ 3: once in 740 pictures, were it normal
per-image z  the same z, standardised again within the picture: 2.5 (objects) or 2 at least, and z ≥ 1
calibrated   p of a fitted calibration ≥ the label's own τ; then, as picto tags, groups, votes and caps as well
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pictocli.calibration import LEAST_SIGMA, Calibrated, Calibration
from pictocli.records import CATEGORIES, ModelSpec
from pictocli.tagging import Acceptance, Tagger, label_logits, uncalibrated
from pictocli.taxonomy import Taxonomy

__all__ = ["SIGMAS", "Part", "Seen", "Step", "able", "calibrated", "columns", "label_free", "raw", "standardised"]

SIGMAS = 3.0
_Array = NDArray[np.float64]

Part = tuple[NDArray[np.intp], Calibration]
"""Rows of pictures, and the calibration to use for them: another one than was fitted on them."""


@dataclass(frozen=True, slots=True)
class Seen:
    """n pictures as the model sees them. vectors: float32 [n, dim], unit length; measures: n times pixel measures.

    labels, nulls: the prompts' vectors, as `tagging.embed_prompts` makes them.
    """

    taxonomy: Taxonomy
    spec: ModelSpec
    vectors: NDArray[np.float32]
    measures: Sequence[Mapping[str, float]]
    labels: NDArray[np.float32]
    nulls: NDArray[np.float32]

    @property
    def logits(self) -> _Array:
        """[n, labels]."""
        return label_logits(self.spec, self.vectors, self.labels)

    @property
    def baseline(self) -> _Array:
        """[n], the mean logit of the null prompts."""
        null = self.nulls.astype(np.float64).mean(axis=0)
        return np.asarray(self.spec.scale * (self.vectors.astype(np.float64) @ null) + self.spec.bias)

    def only(self, rows: NDArray[np.intp]) -> Seen:
        """Those in `rows`."""
        return replace(self, vectors=self.vectors[rows], measures=[self.measures[row] for row in rows])


@dataclass(frozen=True, slots=True)
class Step:
    """What one step gives. given: bool [n, labels]. scores: [n, labels], by which it ranks the pictures of a label, or
    None where it does not rank. chances: whether the scores claim to be probabilities."""

    name: str
    given: NDArray[np.bool_]
    scores: _Array | None = None
    chances: bool = False


def columns(taxonomy: Taxonomy, category: str, *, measured: bool = False) -> list[int]:
    """The columns of a category's labels that the model judges, or of those that are measured in pixels."""
    rows = enumerate(taxonomy.labels)
    return [at for at, each in rows if each.category == category and (each.id in taxonomy.rules) == measured]


def raw(seen: Seen) -> Step:
    """The model's own probabilities, from one half on."""
    p = 1 / (1 + np.exp(-seen.logits))
    return Step("raw p ≥ .5", p >= 0.5, p, chances=True)


def label_free(seen: Seen) -> Step:
    """Tags as picto gives them without a calibration."""
    scores, _ = _judged(seen, uncalibrated)
    return Step("label-free tags", _tagged(seen, uncalibrated), scores)


def standardised(seen: Seen, parts: Sequence[Part]) -> list[Step]:
    """z by label, and z by label and picture. parts: of their calibrations only μ and σ are used."""
    z = np.zeros((len(seen.vectors), len(seen.taxonomy.labels)))
    scores, given = np.zeros_like(z), np.zeros(z.shape, np.bool_)
    for rows, made in parts:
        some = seen.only(rows)
        z[rows] = _z(some, made)
        scores[rows], given[rows] = _judged(some, Calibrated(replace(made, fitted=False), seen.taxonomy))
    return [Step("per-label z ≥ 3", z >= SIGMAS, z), Step("per-image z", given, scores)]


def calibrated(seen: Seen, parts: Sequence[Part], name: str = "") -> list[Step]:
    """By p ≥ τ alone, and as picto tags: with groups, votes and caps too. name: added to the steps'."""
    p = np.zeros((len(seen.vectors), len(seen.taxonomy.labels)))
    given, tagged = np.zeros(p.shape, np.bool_), np.zeros(p.shape, np.bool_)
    for rows, made in parts:
        accept, some = Calibrated(made, seen.taxonomy), seen.only(rows)
        p[rows], given[rows] = _judged(some, accept)
        tagged[rows] = _tagged(some, accept)
    if not all(made.fitted for _, made in parts):
        return [Step("standardised tags" + name, tagged, p)]
    return [Step("calibrated p ≥ τ" + name, given, p, chances=True), Step("calibrated tags" + name, tagged)]


def able(taxonomy: Taxonomy, made: Calibration | None) -> NDArray[np.bool_]:
    """Which labels may be given at all, [labels]: those with a τ, and those measured in pixels."""
    free = made is None or not made.fitted
    told = {} if made is None else {name: each.tau is not None for name, each in made.labels.items()}
    return np.array([free or each.id in taxonomy.rules or told[each.id] for each in taxonomy.labels], np.bool_)


def _z(seen: Seen, made: Calibration) -> _Array:
    """[n, labels]; 0 for labels that are measured in pixels."""
    z = np.zeros((len(seen.vectors), len(seen.taxonomy.labels)))
    judged = [at for at, each in enumerate(seen.taxonomy.labels) if each.id in made.labels]
    constants = [made.labels[seen.taxonomy.labels[at].id] for at in judged]
    sigma = np.maximum([each.sigma for each in constants], LEAST_SIGMA)
    z[:, judged] = (seen.logits[:, judged] - np.array([each.mu for each in constants])) / sigma
    return z


def _judged(seen: Seen, accept: Acceptance) -> tuple[_Array, NDArray[np.bool_]]:
    """Scores and verdicts [n, labels] of an Acceptance by itself; 0 for labels that are measured in pixels."""
    logits, baseline = seen.logits, seen.baseline
    scores, given = np.zeros_like(logits), np.zeros(logits.shape, np.bool_)
    for category in CATEGORIES:
        mine = columns(seen.taxonomy, category)
        if mine:
            scores[:, mine], given[:, mine] = accept(category, logits[:, mine], baseline)
    return scores, given


def _tagged(seen: Seen, accept: Acceptance) -> NDArray[np.bool_]:
    """The tags of a Tagger, bool [n, labels], those measured in pixels among them."""
    place = {label.id: at for at, label in enumerate(seen.taxonomy.labels)}
    given = np.zeros((len(seen.vectors), len(place)), np.bool_)
    tags = Tagger(seen.taxonomy, seen.spec, seen.labels, seen.nulls, accept).tag(seen.vectors, seen.measures)
    for row, each in enumerate(tags):
        given[row, [place[name] for found in each.values() for name in found]] = True
    return given
