"""What a model's logits mean, label by label: constants measured once, kept in a file, applied as an Acceptance.

A label's logit says little by itself. Standardised over a broad set of pictures, z = (logit − μ) / σ, it does;
with pictures whose labels are known, p = sigmoid(α x + β) is a probability (Platt 1999) and τ the p from which the
label may be given. The file names the model, its revision, its preprocessing and the taxonomy's prompts, and is refused
where any of them differs: constants of another space are worse than none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pictocli.errors import ValidationError
from pictocli.records import CATEGORIES, ModelSpec
from pictocli.tagging import CUTS, LEAST_LIFT, LEAST_LOGIT, STEEPNESS, sigmoid
from pictocli.taxonomy import Taxonomy

__all__ = ["FILE", "LEAST_SIGMA", "Calibrated", "Calibration", "Constants", "identity", "read", "standardised", "write"]

FILE = "calibration.json"
LEAST_SIGMA = 0.25  # logits; a label that never varies would else turn noise into a large z
_SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Constants:
    """One label's. mu, sigma: of its logit over the background. alpha, beta: of p = sigmoid(alpha x + beta).

    tau: the probability from which the label is given, None when it never is. n: pictures known to be of it. source:
    "label" (fitted on its own pictures), "category" (too few of them: the category's constants) or "background"
    (mu and sigma alone are known; the others are None).
    """

    mu: float
    sigma: float
    alpha: float | None = None
    beta: float | None = None
    tau: float | None = None
    n: int = 0
    source: str = "background"


@dataclass(frozen=True, slots=True)
class Calibration:
    """The constants of every label that a model judges.

    identity: what they hold for, as `identity` makes it. score: what p is a function of, "label" for z itself,
    "image" for z standardised again over the category within its picture. images: how many were looked at. fitted:
    whether their labels were known, so that alpha, beta and tau are there.
    """

    identity: Mapping[str, Any]
    score: str
    images: int
    fitted: bool
    labels: Mapping[str, Constants]

    @property
    def rule(self) -> str:
        """What `picto info` calls tags by it."""
        how = "calibrated" if self.fitted else "standardised"
        return f"{how} on {self.images:,} pictures"


def identity(spec: ModelSpec, taxonomy: Taxonomy) -> dict[str, Any]:
    """What a calibration holds for: the model, its revision, the preprocessing, the prompts."""
    from pictocli.preprocess import VERSION  # imports Pillow, which a search for words has no use for

    preprocessing = f"{VERSION} {spec.image_size} px {spec.resample}"
    return {
        "model": spec.id, "revision": spec.revision, "preprocessing": preprocessing, "prompts": taxonomy.prompts_hash,
    }  # fmt: skip


def read(path: Path, spec: ModelSpec, taxonomy: Taxonomy) -> Calibration | None:
    """The calibration in `path`, or None without the file.

    Raises ValidationError when it is of another model, revision, preprocessing or set of prompts, or is damaged.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as exc:
        raise ValidationError(f"the calibration {path} cannot be read: {exc}", _REMEDY) from exc
    wanted = identity(spec, taxonomy)
    try:
        if found["schema"] != _SCHEMA:
            raise ValidationError(f"the calibration {path} has the schema {found['schema']!r}", _REMEDY)
        for key, value in wanted.items():
            if found["identity"][key] != value:
                raise ValidationError(f"the calibration {path} is of another {_SAID[key]}", _REMEDY)
        labels = {name: Constants(*values) for name, values in found["labels"].items()}
        made = Calibration(wanted, found["score"], int(found["images"]), bool(found["fitted"]), labels)
    except (KeyError, TypeError, AttributeError) as exc:
        raise ValidationError(f"the calibration {path} is damaged: {exc!r}", _REMEDY) from exc
    _check(made, path, taxonomy)
    return made


_REMEDY = "picto calibrate makes a new one"
_SAID = {"model": "model", "revision": "revision", "preprocessing": "preprocessing", "prompts": "taxonomy"}


def _check(made: Calibration, path: Path, taxonomy: Taxonomy) -> None:
    """Raise ValidationError unless every label that the model judges has finite constants."""
    judged = {taxonomy.labels[row].id for category in CATEGORIES for row in taxonomy.judged(category)}
    if made.score not in ("label", "image") or set(made.labels) != judged:
        raise ValidationError(f"the calibration {path} does not cover the taxonomy's labels", _REMEDY)
    for name, each in made.labels.items():
        needed = [each.mu, each.sigma, *((each.alpha, each.beta) if made.fitted else ())]
        whole = all(isinstance(value, int | float) and np.isfinite(value) for value in needed)
        if not whole or not (each.tau is None or 0 <= each.tau <= 1):
            raise ValidationError(f"the calibration {path} has no constants for {name}", _REMEDY)


def write(path: Path, made: Calibration) -> None:
    """Write a calibration, a line a label; whole or not at all. Raises ValidationError where it cannot be written."""
    values = {
        name: [each.mu, each.sigma, each.alpha, each.beta, each.tau, each.n, each.source]
        for name, each in made.labels.items()
    }
    head = {"schema": _SCHEMA, "identity": dict(made.identity), "score": made.score}
    head |= {"images": made.images, "fitted": made.fitted, "columns": list(Constants.__slots__)}
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(row)}" for name, row in values.items())
    text = json.dumps(head, indent=1)[:-2] + ',\n "labels": {\n' + lines + "\n }\n}\n"
    part = path.with_suffix(".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    except OSError as exc:
        raise ValidationError(f"cannot write {path}: {exc.strerror}", "check its folder and permissions") from exc


def standardised(z: NDArray[np.float64]) -> NDArray[np.float64]:
    """z [n, k] of one category, standardised again within each picture: (z − mean z) / sd z, sd one half at least."""
    spread = np.maximum(z.std(axis=1, keepdims=True), 0.5)
    return np.asarray((z - z.mean(axis=1, keepdims=True)) / spread)


class Calibrated:
    """A tagging.Acceptance by a calibration."""

    def __init__(self, made: Calibration, taxonomy: Taxonomy) -> None:
        self._fitted, self._score = made.fitted, made.score
        self._arrays = {
            category: _columns([made.labels[taxonomy.labels[row].id] for row in taxonomy.judged(category)])
            for category in CATEGORIES
        }

    def __call__(
        self,
        category: str,
        logits: NDArray[np.float64],
        baseline: NDArray[np.float64],  # noqa: ARG002 - the protocol has it
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Judge n images: logits [n, k] → probabilities [n, k] (scores, where no labels were known), accepted [n, k].

        A label counts when its p reaches τ and its raw p is not absurd. Where z was standardised within the picture,
        z itself must be 1 at least: the largest of 200 such values is about 2.7 on any picture, a blank page too.
        """
        mu, sigma, alpha, beta, tau = self._arrays[category]
        z = (logits - mu) / np.maximum(sigma, LEAST_SIGMA)
        x = z if self._fitted and self._score == "label" else standardised(z)
        sane = logits >= LEAST_LOGIT
        if x is not z:
            sane &= z >= LEAST_LIFT
        if not self._fitted:
            above = x - CUTS[category]
            return sigmoid(STEEPNESS * above), (above >= 0) & sane
        probability = sigmoid(alpha * x + beta)
        return probability, (probability >= tau) & sane


def _columns(rows: list[Constants]) -> NDArray[np.float64]:
    """mu, sigma, alpha, beta, tau as rows of [5, k]; a tau that is never reached is infinite."""
    values = [
        (r.mu, r.sigma, r.alpha or 0.0, r.beta or 0.0, np.inf if r.tau is None else r.tau) for r in rows
    ]  # fmt: skip
    return np.array(values, np.float64).reshape(-1, 5).T
