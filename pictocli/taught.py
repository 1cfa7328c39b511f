"""Tags by a model that was trained on these very labels: its own probability decides.

SigLIP's probabilities of single nouns are tiny even when right, because it was trained on sentences. A model trained
on the labels' own prompts is another matter. It carries `labels.json`, the labels that it was taught: those fire when
their probability is at least one half, and no other label ever fires. The file counts only for the taxonomy and the
weights that it was made with.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pictocli.records import CATEGORIES, ModelSpec
from pictocli.taxonomy import Taxonomy

__all__ = ["FILE", "LEAST", "Taught", "read_taught"]

FILE = "labels.json"
LEAST = 0.5  # probability; on held-out pictures, precision against recall: see the model card


class Taught:
    """A tagging.Acceptance for a model that was taught some labels of a taxonomy."""

    def __init__(self, taxonomy: Taxonomy, labels: Iterable[str]) -> None:
        taught = frozenset(labels)
        self._taught = {
            category: np.array([each.id in taught for each in taxonomy.of(category) if each.id not in taxonomy.rules])
            for category in CATEGORIES
        }

    def __call__(
        self,
        category: str,
        logits: NDArray[np.float64],
        baseline: NDArray[np.float64],  # noqa: ARG002 - the protocol has it
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Judge n images: logits [n, k]; baseline is not needed. Returns probabilities [n, k], accepted [n, k]."""
        probability = 1 / (1 + np.exp(-np.clip(logits, -700, 700)))
        return probability, self._taught[category] & (probability >= LEAST)


def read_taught(folder: Path, spec: ModelSpec, taxonomy: Taxonomy) -> Taught | None:
    """What the model in `folder` was taught, or None when it says nothing about this taxonomy and these weights."""
    try:
        found = json.loads((folder / FILE).read_text(encoding="utf-8"))
        if (found["revision"], found["taxonomy"]) != (spec.revision, taxonomy.hash):
            return None
        return Taught(taxonomy, [str(label) for label in found["labels"]])
    except (OSError, ValueError, KeyError, TypeError):
        return None
