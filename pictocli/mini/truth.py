"""Which labels of the taxonomy hold for the classes of the training pictures, by hand: reads truth.toml.

Each class was looked at; the table's header explains it.  The model learns from it, and its tags are calibrated on it,
so a label is true or false of a class only where that is known, else -1.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pictocli.errors import NotFoundError, ValidationError
from pictocli.mini.captions import read_classes
from pictocli.taxonomy import Taxonomy

__all__ = ["Row", "Table", "known_of_classes", "model_labels", "read_table", "read_truth"]

FILE = Path(__file__).with_name("truth.toml")
FIELDS = {"yes", "maybe", "no"}
Row = Mapping[str, int]  # label id -> 1 true, -1 not known; every other label is false
Table = Mapping[tuple[str, str], Row]  # (data set, class name) -> row


def read_truth(data: Path, taxonomy: Taxonomy, path: Path = FILE) -> tuple[list[str], NDArray[np.int8]]:
    """The model's label ids in taxonomy order; 1 true, 0 false, -1 unknown as int8 [classes, labels].

    Classes come in the order of `captions.read_classes(data)`. Raises ValidationError naming what does not fit.
    """
    table, ids = read_table(taxonomy, path), model_labels(taxonomy)
    keys = [(c.data_set, c.names[0]) for c in read_classes(data)]
    for data_set, name in keys:
        if (data_set, name) not in table:
            raise ValidationError(f"{path.name} has no row for the class {name!r} of {data_set}")
    for data_set, name in table.keys() - keys:
        raise ValidationError(f"{path.name} names the class {name!r} of {data_set}, which the data lacks")
    return ids, np.array([[table[key].get(label, 0) for label in ids] for key in keys], np.int8)


def known_of_classes(data: Path, taxonomy: Taxonomy) -> NDArray[np.int8]:
    """The same for all labels, [classes, labels] in taxonomy order: -1 for those measured in pixels."""
    ids, table = read_truth(data, taxonomy)
    column = {label.id: at for at, label in enumerate(taxonomy.labels)}
    known = np.full((len(table), len(taxonomy.labels)), -1, np.int8)
    known[:, [column[name] for name in ids]] = table
    return known


def model_labels(taxonomy: Taxonomy) -> list[str]:
    """Ids of the labels that the model judges, in taxonomy order: all but those measured in pixels."""
    return [label.id for label in taxonomy.labels if label.id not in taxonomy.rules]


def read_table(taxonomy: Taxonomy, path: Path = FILE) -> Table:
    """The table, checked against the taxonomy alone. Raises NotFoundError, and ValidationError naming what is wrong."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise NotFoundError(f"{path} cannot be read: {exc.strerror}") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ValidationError(f"{path.name} is not valid TOML: {exc}") from exc
    anywhere, named = _table(document, "anywhere"), _table(document, "sets")
    words = _Words(taxonomy)
    for name in named:
        words.add(name, _texts(named, name, "[sets]"))
    common = words.expand(_texts(anywhere, "maybe", "[anywhere]"), "[anywhere]")
    return {
        (data_set, name): _row(row, f"the class {name!r} of {data_set}", words, common, taxonomy)
        for data_set in document.keys() - {"anywhere", "sets"}
        for name, row in _table(document, data_set).items()
    }


class _Words:
    """Expands lists of labels and "@set"s."""

    def __init__(self, taxonomy: Taxonomy) -> None:
        self.known, self.measured = {label.id for label in taxonomy.labels}, taxonomy.rules
        self.sets: dict[str, set[str]] = {}

    def add(self, name: str, words: Iterable[str]) -> None:
        self.sets[name] = self.expand(words, f"the set {name!r}")

    def expand(self, words: Iterable[str], owner: str) -> set[str]:
        found: set[str] = set()
        for word in words:
            if word.startswith("@"):
                if word[1:] not in self.sets:
                    raise ValidationError(f"{owner} names the set {word!r}, which does not stand before it")
                found |= self.sets[word[1:]]
            elif word not in self.known:
                raise ValidationError(f"{owner} names {word!r}, which is no label")
            elif word in self.measured:
                raise ValidationError(f"{owner} names {word!r}, which is measured in pixels")
            else:
                found.add(word)
        return found


def _row(row: Any, owner: str, words: _Words, common: set[str], taxonomy: Taxonomy) -> Row:
    """One class: `yes` before the rivals of its labels and `no`, these before `maybe` and what holds anywhere."""
    if not isinstance(row, dict) or not row or not row.keys() <= FIELDS:
        raise ValidationError(f"{owner} is not a table of some of yes, maybe and no")
    named = {field: set(_texts(row, field, owner)) for field in row}
    yes, maybe, no = (named.get(field, set()) for field in ("yes", "maybe", "no"))
    for one, other in combinations(named, 2):
        for label in sorted(named[one] & named[other]):
            raise ValidationError(f"{owner} has {label!r} in both {one} and {other}")
    true = words.expand(yes, owner)
    false = words.expand(no, owner) | _rivals(true, maybe, owner, taxonomy)
    unknown = (words.expand(maybe, owner) | common) - false - true
    for label in true:
        for implied in taxonomy.implies.get(label, ()):
            if implied not in true | unknown:
                raise ValidationError(f"{owner} has {label!r} but not {implied!r}, which that implies")
    return dict.fromkeys(unknown, -1) | dict.fromkeys(true, 1)


def _rivals(true: set[str], maybe: set[str], owner: str, taxonomy: Taxonomy) -> set[str]:
    """The labels that exclusive groups rule out, given those that are true."""
    found: set[str] = set()
    for group in taxonomy.groups:
        chosen = [label for label in group.labels if label in true]
        if len(chosen) > 1:
            raise ValidationError(f"{owner} has {chosen[0]!r} and {chosen[1]!r}, which exclude each other")
        rivals = set(group.labels) - true if chosen else set()
        for label in sorted(rivals & maybe):
            raise ValidationError(f"{owner} has {label!r} in maybe, which {chosen[0]!r} excludes")
        found |= rivals
    return found


def _table(document: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    table = document.get(key, {})
    if not isinstance(table, dict):
        raise ValidationError(f"{key!r} is no table")
    return table


def _texts(table: Mapping[str, Any], key: str, owner: str) -> Sequence[str]:
    words = table.get(key, [])
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise ValidationError(f"of {owner}, {key!r} is no list of texts")
    return words
