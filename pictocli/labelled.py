"""Pictures whose labels somebody wrote down: a CSV or JSONL → what is known of each picture and label.

A row names a picture by `path` or `filename` and its labels, separated by "|", in the columns `objects`, `scenes` and
`attributes`, or in one column `labels`. Of a picture with a row, every label that some row of the file gives is known
to hold or not to; a label that no row gives was not asked for, and nothing is known of it. `dog?` leaves open whether
the picture shows a dog: fair people would disagree, or it cannot be seen.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pictocli.errors import ValidationError
from pictocli.labels import forms
from pictocli.metadata import Metadata
from pictocli.records import CATEGORIES
from pictocli.taxonomy import Taxonomy

__all__ = ["known_labels"]

_ANY = "labels"


def known_labels(
    file: str | os.PathLike[str], taxonomy: Taxonomy, pictures: Iterable[tuple[str, str]]
) -> tuple[NDArray[np.int8], list[str]]:
    """What `file` says of pictures: int8 [n, labels] in taxonomy order, 1 true, 0 false, −1 not known.

    pictures: (root, full path) of each. Also returns the names that the taxonomy does not have, sorted.
    Raises NotFoundError, or ValidationError when the file cannot be read or tells nothing of any of these pictures.
    """
    rows = Metadata(file)
    told = [rows.of(root, path) for root, path in pictures]
    column = {
        (each.category, name): row for row, each in enumerate(taxonomy.labels) for name in (*each.aliases, each.id)
    }
    known = np.full((len(told), len(taxonomy.labels)), -1, np.int8)
    strange: set[str] = set()
    for at, fields in enumerate(told):
        if fields is not None:
            known[at] = 0
            for categories, name in _named(fields):
                plain = name.removesuffix("?").rstrip()
                found = _column(column, categories, plain)
                if found is None:
                    strange.add(plain)
                else:
                    known[at, found] = 1 if plain == name else -1
    known[:, ~(known == 1).any(axis=0)] = -1
    if not (known == 1).any():
        raise ValidationError(
            f"{file} gives no label of the taxonomy to any of these pictures",
            "its columns are path or filename, and objects, scenes, attributes or labels",
        )
    return known, sorted(strange)


def _named(fields: Mapping[str, Any]) -> list[tuple[Sequence[str], str]]:
    """(categories to look in, label as written) of one row."""
    places: list[tuple[Sequence[str], Any]] = [((category,), fields.get(category)) for category in CATEGORIES]
    places.append((CATEGORIES, fields.get(_ANY)))
    named = []
    for categories, value in places:
        names = value if isinstance(value, list) else str(value or "").split("|")
        named += [(categories, str(name).strip()) for name in names if str(name).strip()]
    return named


def _column(column: Mapping[tuple[str, str], int], categories: Sequence[str], name: str) -> int | None:
    for category in categories:
        for form in forms(name):
            if (category, form) in column:
                return column[category, form]
    return None
