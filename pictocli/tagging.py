"""Embeddings and measures → tags. Pure: no model, no files.

Model labels are scored against their prompts' embeddings, pixel labels are decided by their rules alone. Which scores
are good enough is an `Acceptance`; `uncalibrated` is the one that needs nothing but the model itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pictocli.errors import ValidationError
from pictocli.protocols import Embedder
from pictocli.records import CATEGORIES, ModelSpec
from pictocli.rules import compile_rule
from pictocli.taxonomy import Taxonomy, prompts

__all__ = [
    *("CUTS", "LEAST_LIFT", "LEAST_LOGIT", "STEEPNESS", "Acceptance", "Tagger", "embed_prompts"),
    *("label_logits", "sigmoid", "uncalibrated"),
]

CUTS = {"objects": 2.5, "scenes": 2.0, "attributes": 2.0}  # z′; the largest of 200 is about 2.7 on any image
_CAPS = {"objects": 12, "scenes": 5, "attributes": 10}
_MARGIN = 0.5  # logits by which a group's winner leads its runner-up
_VOTE = 0.5  # logits that an implied label gains
LEAST_LIFT = 1.0  # logits over the null prompts
_LEAST_SPREAD = 0.5  # logits; SigLIP's own spread over a category is 2..4, a blank page's may be nothing
LEAST_LOGIT = -13.8155  # p = 1e-6: SigLIP's right answers go down to 4e-4, "a dog" for two cats is 2e-7
STEEPNESS = 1.5
_ALONE = 2**18  # multiplications; of more OpenBLAS gives a part to other threads, which then spin for 20 ms on cores
# that decode: products of one batch, a fraction of a millisecond each, cost 20 times as much so


class Acceptance(Protocol):
    """Turns the logits of one category into scores and a verdict. A calibrated one brings its own constants."""

    def __call__(
        self, category: str, logits: NDArray[np.float64], baseline: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Judge n images.

        logits: [n, k] of the category's model labels in taxonomy order. baseline: [n], mean logit of the null prompts.
        Returns scores [n, k] in 0..1, which rank labels, and accepted [n, k].
        """


def uncalibrated(
    category: str, logits: NDArray[np.float64], baseline: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Standardise per image, for a model without background statistics.

    z = logit − baseline, with one logit as the unit since σ is unknown; z′ = (z − mean z) / sd z over the category.
    Accepted: z′ ≥ 2.5 for objects, 2.0 for others, z ≥ 1, and p = sigmoid(logit) ≥ 1e-6. Score:
    sigmoid(1.5 (z′ − cut)), which is 0.5 at the cut and no probability until a calibration makes it one.
    A spread under half a logit counts as half a logit, so that an image alike to every label carries none.
    """
    lift = logits - baseline[:, None]
    spread = np.maximum(lift.std(axis=1, keepdims=True), _LEAST_SPREAD)
    above = (lift - lift.mean(axis=1, keepdims=True)) / spread - CUTS[category]
    accepted = (above >= 0) & (lift >= LEAST_LIFT) & (logits >= LEAST_LOGIT)
    return sigmoid(STEEPNESS * above), accepted


def sigmoid(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 / (1 + exp(−x)), of any number without overflow."""
    return np.asarray(1 / (1 + np.exp(-np.clip(x, -700, 700))))


def label_logits(
    spec: ModelSpec, images: NDArray[np.floating[Any]], vectors: NDArray[np.floating[Any]]
) -> NDArray[np.float64]:
    """scale · (image · label vector) + bias in float64, [n, k]. images: [n, dim], unit length; vectors: [k, dim]."""
    exact, labels = (each.astype(np.float64, copy=False) for each in (images, vectors))
    step = _ALONE // max(1, exact.size) or max(1, len(labels))
    cosines = [exact @ labels[start : start + step].T for start in range(0, len(labels), step)]
    return np.asarray(spec.scale * np.concatenate(cosines or [np.empty((len(exact), 0))], axis=1) + spec.bias)


def embed_prompts(
    taxonomy: Taxonomy, embedder: Embedder, batch_size: int = 256
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Embed every prompt once: label vectors float32 [labels, dim], null vectors float32 [null prompts, dim].

    A label's vector is the mean of its prompts' unit embeddings and deliberately not unit length again: the mean of
    logits over templates, mean(scale·cos + bias), equals scale·(image · mean vector) + bias, and only so.
    """
    per_label = [prompts(taxonomy, label) for label in taxonomy.labels]
    texts = list(dict.fromkeys([*taxonomy.null_prompts, *(text for texts in per_label for text in texts)]))
    batches = [embedder.embed_texts(texts[start : start + batch_size]) for start in range(0, len(texts), batch_size)]
    vectors = np.concatenate(batches)
    row = {text: index for index, text in enumerate(texts)}
    means = [vectors[[row[text] for text in texts]].mean(axis=0, dtype=np.float64) for texts in per_label]
    return np.stack(means).astype(np.float32), vectors[[row[text] for text in taxonomy.null_prompts]]


class _Guessed:
    """The model labels of one category: their ids, rows of the label vectors, votes and groups as index arrays."""

    def __init__(self, taxonomy: Taxonomy, category: str) -> None:
        rows = taxonomy.judged(category)
        self.category = category
        self.rows = np.array(rows, np.intp)
        self.ids = [taxonomy.labels[row].id for row in rows]
        place = {name: index for index, name in enumerate(self.ids)}
        self.votes = np.zeros((len(rows), len(rows)), np.bool_)
        for name, implied in taxonomy.implies.items():
            for other in implied:
                if name in place and other in place:
                    self.votes[place[name], place[other]] = True
        self.groups = [
            np.array([place[name] for name in group.labels], np.intp)
            for group in taxonomy.groups
            if group.category == category and len(group.labels) > 1 and group.labels[0] in place
        ]

    def chosen(
        self, logits: NDArray[np.float64], baseline: NDArray[np.float64], accept: Acceptance
    ) -> list[dict[str, float]]:
        """Label → score for n images, strongest first. logits: [n, labels]; baseline: [n]."""
        if not self.ids:
            return [{} for _ in baseline]
        _, accepted = accept(self.category, logits, baseline)
        # One vote however many speak for a label, and one pass: a hundred scenes imply "outdoor".
        logits = logits + _VOTE * np.reshape([self.votes[speaking].any(axis=0) for speaking in accepted], logits.shape)
        scores, accepted = accept(self.category, logits, baseline)
        for members in self.groups:
            accepted[:, members] &= _clear_winner(logits[:, members])
        ranked = np.argsort(-np.where(accepted, scores, -1.0), axis=1, kind="stable")[:, : _CAPS[self.category]]
        return [
            {self.ids[index]: round(float(scores[image, index]), 4) for index in order if accepted[image, index]}
            for image, order in enumerate(ranked)
        ]


class Tagger:
    """Tags images in batches: uncalibrated unless another Acceptance is given."""

    def __init__(
        self,
        taxonomy: Taxonomy,
        spec: ModelSpec,
        label_vectors: NDArray[np.float32],
        null_vectors: NDArray[np.float32],
        accept: Acceptance = uncalibrated,
    ) -> None:
        """Take what `embed_prompts` made. label_vectors: float32 [labels, dim], null_vectors: float32 [m, dim].

        A label vector is a mean of unit vectors and not of unit length itself (see `embed_prompts`).
        Raises ValidationError when a shape does not fit the taxonomy or the model.
        """
        _check("label vectors", label_vectors, (len(taxonomy.labels), spec.dim))
        _check("null vectors", null_vectors, (max(1, len(null_vectors)), spec.dim))
        self._spec = spec
        self._accept = accept
        self._label_vectors = np.asarray(label_vectors, np.float64)
        self._null_vector = np.asarray(null_vectors, np.float64).mean(axis=0)
        self._guessed = [_Guessed(taxonomy, category) for category in CATEGORIES]
        group_of = {name: group.name for group in taxonomy.groups for name in group.labels}
        self._measured = [
            (name, compile_rule(rule), ("group", group_of[name]) if name in group_of else ("label", name))
            for name, rule in taxonomy.rules.items()
        ]

    def tag(
        self, embeddings: NDArray[np.float32], measures: Sequence[Mapping[str, float]]
    ) -> list[dict[str, dict[str, float]]]:
        """Tag n images: for each, category → label → score 0..1, strongest first.

        embeddings: float32 [n, dim], unit length. measures: n times what `pixels.measure` found, empty where nothing
        was measured. Pixel attributes come first with score 1, outside the cap of ten. Raises ValidationError when
        the shapes do not fit.
        """
        _check("embeddings", embeddings, (len(measures), self._spec.dim))
        images = embeddings.astype(np.float64)
        logits = label_logits(self._spec, images, self._label_vectors)
        baseline = self._spec.scale * (images @ self._null_vector) + self._spec.bias
        guessed = [part.chosen(logits[:, part.rows], baseline, self._accept) for part in self._guessed]
        tagged = [dict(zip(CATEGORIES, found, strict=True)) for found in zip(*guessed, strict=True)]
        for tags, measured in zip(tagged, measures, strict=True):
            tags["attributes"] = self._pixel_tags(measured) | tags["attributes"]
        return tagged

    def _pixel_tags(self, measures: Mapping[str, float]) -> dict[str, float]:
        """The labels whose rules hold, in taxonomy order; of an exclusive group the first one."""
        found: dict[tuple[str, str], str] = {}
        for name, rule, group in self._measured:
            if group not in found and rule.matches(measures):
                found[group] = name
        return dict.fromkeys(found.values(), 1.0)


def _clear_winner(logits: NDArray[np.float64]) -> NDArray[np.bool_]:
    """True at the largest of each row of [n, k] where it leads the next by the margin; k is 2 at least."""
    lead = logits >= logits.max(axis=1, keepdims=True)
    runner_up = np.partition(logits, -2, axis=1)[:, -2, None]
    return np.asarray(lead & (logits - runner_up >= _MARGIN), np.bool_)


def _check(name: str, vectors: NDArray[np.float32], shape: tuple[int, int]) -> None:
    if vectors.shape != shape:
        raise ValidationError(f"{name} have the shape {vectors.shape}, and {shape} is needed")
