"""Pictures of which something is known, in three forms: folders of classes, a file of labels, and packed sets.

A folder of classes is DATA/label/picture.jpg, as Places365 and ImageNet come. A file of labels is a CSV or JSONL as
`pictocli.labelled` reads it, for data such as COCO's. Packed sets are those that the bundled model learns from:
`.npz` files beside `classes.json`, with what is true of their classes in `pictocli/mini/truth.toml`.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pictocli.decode import Decoded, Inspected, Recipe, decode, inspect
from pictocli.errors import NotFoundError
from pictocli.labelled import known_labels
from pictocli.labels import forms
from pictocli.mini.captions import DATA_SETS, read_classes
from pictocli.mini.pictures import HELD_OUT
from pictocli.mini.truth import known_of_classes
from pictocli.pipeline import DEFAULT_DPI, ahead
from pictocli.preprocess import resize
from pictocli.records import ModelSpec
from pictocli.scan import Rules, walk
from pictocli.taxonomy import Taxonomy
from pictocli.workers import Workers, default_workers

__all__ = ["SPLITS", "Looked", "Pictures", "Place", "Told", "from_file", "from_folder", "from_packed", "is_packed"]

SPLITS = ("heldout", "val")
_AHEAD = 64  # files that are decoded ahead of the model
_TINY = "tiny-imagenet"

Place = tuple[str, str, int]
"""Where a picture lies: a file, its kind and page; or a packed set, its name and row."""

Looked = tuple[NDArray[np.uint8], Mapping[str, float]] | None
"""Model input uint8 [size, size, 3] and pixel measures of one picture; None when it cannot be decoded."""


@dataclass(frozen=True, slots=True)
class Told:
    """A set whose pictures are told apart by class. rows: which of all the pictures; numbers: their classes."""

    name: str
    rows: NDArray[np.intp]
    numbers: NDArray[np.intp]
    classes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Pictures:
    """n pictures. said: what they are, in words. known: int8 [n, labels], 1 true, 0 false, −1 not known.

    read: places and the model's spec → what the model is shown of each, in order. strange: names of labels that the
    taxonomy does not have.
    """

    said: str
    places: Sequence[Place]
    read: Callable[[Sequence[Place], ModelSpec], Iterator[Looked]]
    sets: tuple[Told, ...]
    known: NDArray[np.int8]
    strange: tuple[str, ...] = ()

    def only(self, rows: NDArray[np.intp]) -> Pictures:
        """Those in `rows`, ascending."""
        now = np.full(len(self.places), -1, np.intp)
        now[rows] = np.arange(len(rows))
        sets = [
            replace(each, rows=now[each.rows][here], numbers=each.numbers[here])
            for each in self.sets
            for here in [now[each.rows] >= 0]
        ]
        places = [self.places[row] for row in rows]
        return replace(self, places=places, sets=tuple(each for each in sets if len(each.rows)), known=self.known[rows])


def from_folder(folder: Path, taxonomy: Taxonomy) -> Pictures:
    """DATA/label/*.jpg: the folder that a picture lies in names its class; pictures beside them are of no class.

    Where the name is a label or an alias, the label is true of the folder's pictures and false of those in the other
    folders so named; of pictures in folders named otherwise nothing is known. Raises NotFoundError.
    """
    places = _places(folder)
    names = [Path(path).parent.name if Path(path).parent != folder.resolve() else "" for path, _, _ in places]
    classes = tuple(sorted({*names} - {""}))
    number = {name: at for at, name in enumerate(classes)}
    rows = np.array([row for row, name in enumerate(names) if name], np.intp)
    numbers = np.array([number[name] for name in names if name], np.intp)
    column = {word: at for at, each in enumerate(taxonomy.labels) for word in (*each.aliases, each.id)}
    label_of = {name: next((column[form] for form in forms(name) if form in column), -1) for name in classes}
    known = np.full((len(places), len(taxonomy.labels)), -1, np.int8)
    asked = sorted({*label_of.values()} - {-1})
    for row, name in enumerate(names):
        if label_of.get(name, -1) >= 0:
            known[row, asked] = 0
            known[row, label_of[name]] = 1
    told = Told(folder.resolve().name, rows, numbers, tuple(name.replace("_", " ") for name in classes))
    strange = tuple(name for name, label in label_of.items() if label < 0)
    return Pictures(f"the files in {folder.resolve().name}", places, _files, (told,) if classes else (), known, strange)


def from_file(folder: Path, labels: Path, taxonomy: Taxonomy) -> Pictures:
    """Pictures below a folder, pages of documents each by itself, and a CSV or JSONL of their labels.

    Pictures without a row are left out. Raises NotFoundError or ValidationError.
    """
    places = _places(folder)
    root = str(folder.resolve())
    known, strange = known_labels(str(labels), taxonomy, [(root, _named(place)) for place in places])
    found = Pictures(f"the files in {folder.resolve().name} with labels from {labels.name}", places, _files, (), known)
    return replace(found, strange=tuple(strange)).only(np.flatnonzero((known >= 0).any(axis=1)))


def is_packed(folder: Path) -> bool:
    """Whether a folder holds packed sets."""
    return (folder / "classes.json").is_file()


def from_packed(folder: Path, split: str, taxonomy: Taxonomy) -> Pictures:
    """The packed sets. split: "val", Tiny ImageNet's validation pictures; "heldout", rows i % 10 == 9 of every set.

    Raises NotFoundError without a set, ValidationError where truth.toml does not fit.
    """
    classes = read_classes(folder)
    names = [each.data_set for each in classes]
    places: list[Place] = []
    numbers: list[int] = []
    sets: dict[str, str] = {}  # of each picture's file, the set that its classes are listed under
    for file in [f"{_TINY}-val"] if split == "val" else DATA_SETS:
        path, sets[file] = str(folder / f"{file}.npz"), file if file in names else _TINY
        labels = _archive(path)[2]
        rows = range(len(labels))[slice(None) if split == "val" else HELD_OUT]
        places += [(path, file, row) for row in rows]
        numbers += [int(labels[row]) + names.index(sets[file]) for row in rows]
    number = np.array(numbers, np.intp)
    told = []
    for name in dict.fromkeys(sets.values()):
        here = np.array([row for row, place in enumerate(places) if sets[place[1]] == name], np.intp)
        known_as = tuple(each.names[0] for each in classes if each.data_set == name)
        shown = f"{_TINY}-val" if split == "val" else name
        told.append(Told(shown, here, number[here] - names.index(name), known_as))
    said = f"{_TINY}-val, on which nothing was trained or fitted"
    if split != "val":
        said = f"the rows i % 10 = 9 of {len(told)} training sets, which never trained themselves"
    return Pictures(said, places, _packed, tuple(told), known_of_classes(folder, taxonomy)[number])


def _places(folder: Path) -> list[Place]:
    """Every picture below a folder, and every page of its documents. Raises NotFoundError."""
    root = os.path.realpath(folder)
    if not os.path.isdir(root):
        raise NotFoundError(f"no such folder: {folder}")
    found: list[Place] = []
    for below, files in walk(root, Rules(), lambda _: None):
        for file in files:
            path = os.path.join(root, below, file.name)
            what = inspect(path)
            if isinstance(what, Inspected):
                found += [(path, what.kind, page) for page in what.pages or (0,)]
    return found


def _named(place: Place) -> str:
    path, _, page = place
    return f"{path}#page={page}" if page else path


def _files(places: Sequence[Place], spec: ModelSpec) -> Iterator[Looked]:
    recipe = Recipe(spec.image_size, spec.resample, DEFAULT_DPI, thumbnail=False)
    pool = Workers(default_workers() if len(places) > 4 * _AHEAD else 0)  # starting processes takes a second
    try:
        for _, found in ahead(pool, ((place, 0, decode, (*place, recipe)) for place in places), _AHEAD):
            yield (found.pixels, found.measures) if isinstance(found, Decoded) else None
    finally:
        pool.close()


def _packed(places: Sequence[Place], spec: ModelSpec) -> Iterator[Looked]:
    for path, _, row in places:
        blob, offset, _ = _archive(path)
        with Image.open(io.BytesIO(blob[offset[row] : offset[row + 1]])) as image:
            yield resize(image.convert("RGB"), spec.image_size, spec.resample), {}


@lru_cache(maxsize=2)
def _archive(path: str) -> tuple[bytes, NDArray[np.int64], NDArray[np.int64]]:
    """All pictures' bytes one after another, where each begins, and their class numbers. Raises NotFoundError."""
    try:
        with np.load(path) as file:
            return file["webp"].tobytes(), file["offset"].astype(np.int64), file["label"].astype(np.int64)
    except OSError as exc:
        raise NotFoundError(f"the packed set {path} cannot be read: {exc}") from exc
