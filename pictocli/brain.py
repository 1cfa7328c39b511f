"""Joins a model to a library: which model it is, which labels there are, and by what rule it gives them."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pictocli import calibration, hub, tagging
from pictocli.catalog import Catalog, mismatch
from pictocli.errors import ModelError, ValidationError
from pictocli.protocols import Embedder, Progress, TextEmbedder
from pictocli.records import CATEGORIES, ModelSpec
from pictocli.taxonomy import Taxonomy, kept

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pictocli.retagging import Tag

__all__ = [
    "Brain",
    "Model",
    "Thought",
    "calibration_file",
    "checked",
    "choose",
    "model_id",
    "put_labels",
    "shipped_calibration",
    "tag_rows",
    "taxonomy_of",
]

_THEN = ", then "  # between the rules of a library whose tags were made by several


def model_id(name: str) -> str:
    """The id under which a database keeps the model that the user calls `name`."""
    if name == "mini":
        return name
    folder = os.path.expanduser(hub.NAMES.get(name, name))
    return os.path.realpath(folder) if os.path.isdir(folder) else hub.NAMES.get(name, name)


def taxonomy_of(catalog: Catalog) -> Taxonomy:
    """The labels of this library: the user's own where `retag` was given some, else the bundled ones."""
    return kept(catalog.meta("own_taxonomy"))


def put_labels(catalog: Catalog, taxonomy: Taxonomy) -> None:
    """Copy the taxonomy's labels and aliases into the database, if another taxonomy's are there."""
    if catalog.meta("taxonomy") != taxonomy.hash:
        rows = [(CATEGORIES.index(each.category), each.id, each.phrase, each.aliases) for each in taxonomy.labels]
        catalog.put_taxonomy(rows, taxonomy.hash)


def calibration_file(spec: ModelSpec, taxonomy: Taxonomy) -> Path:
    """Where `picto calibrate` keeps what it measured: in the user's data folder, by model, revision and prompts."""
    import platformdirs

    slug = "".join(letter if letter.isalnum() else "-" for letter in spec.id.strip("/"))[-60:]
    name = f"{slug}-{spec.revision[:12]}-{taxonomy.prompts_hash[:8]}.json"
    return Path(platformdirs.user_data_dir("picto", appauthor=False)) / "calibrations" / name


def shipped_calibration(spec: ModelSpec) -> Path | None:
    """Where a model's own calibration would lie; None for a hub's, which bring none and need not be fetched for it."""
    if spec.id == "mini" or os.path.isdir(spec.id):
        return Path(hub.NAMES.get(spec.id, spec.id)) / calibration.FILE
    return None


def _acceptance(spec: ModelSpec, taxonomy: Taxonomy, progress: Progress) -> tuple[tagging.Acceptance, str]:
    """What decides the model's tags, and its name: the user's calibration, the model folder's own, or none.

    One that was fitted to known labels goes before one that was not. A calibration that holds for something else is
    refused with a sentence.
    """
    found = []
    for file in (calibration_file(spec, taxonomy), shipped_calibration(spec)):
        try:
            made = calibration.read(file, spec, taxonomy) if file else None
        except ValidationError as exc:
            progress.say(f"{exc}; it is not used")
            continue
        if made is not None:
            found.append(made)
    if not found:
        return tagging.uncalibrated, "label-free"
    best = max(found, key=lambda made: made.fitted)
    return calibration.Calibrated(best, taxonomy), best.rule


@contextlib.contextmanager
def _patient_threads() -> Iterator[None]:
    """Have torch's threads sleep while they wait, if it is first imported here, and leave the environment as it was.

    By default they spin, on cores that decode meanwhile.
    """
    name = "OMP_WAIT_POLICY"
    before = os.environ.get(name)
    os.environ.setdefault(name, "PASSIVE")
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]


class Model:
    """A model that is loaded when it is first needed."""

    def __init__(self, spec: ModelSpec, device: str, progress: Progress, files: hub.ModelFiles | None = None) -> None:
        self.spec, self.device, self.progress, self._files = spec, device, progress, files

    @cached_property
    def files(self) -> hub.ModelFiles:
        """Where the model lies. Raises ModelError when it cannot be had, ModelMismatchError when it has changed."""
        files = self._files or hub.resolve(self.spec.id, revision=self.spec.revision, progress=self.progress)
        if files.revision != self.spec.revision:
            raise mismatch(self.spec, files.id)
        return files

    @cached_property
    def embedder(self) -> Embedder:
        """The model itself. Raises as `files` does, and ModelError when it cannot be loaded."""
        files = self.files
        self.progress.doing(f"loading {self.spec.id}")
        with _patient_threads():
            from pictocli.siglip import Siglip  # imports torch: 3 s

        loaded = Siglip(files, self.spec, self.device)
        self.progress.doing("")
        return loaded

    @cached_property
    def warm_embedder(self) -> Embedder:
        """The model itself, which has embedded a picture: its loading is over. Raises as `embedder`."""
        embedder = self.embedder
        self.progress.doing(f"loading {self.spec.id}")
        embedder.warm_up()
        self.progress.doing("")
        return embedder

    @cached_property
    def text_embedder(self) -> TextEmbedder:
        """What embeds a query: the text tower alone, in numpy, which spares it 3 s of imports.

        The whole model where that tower cannot be read, or where a GPU was asked for by name. Raises as `embedder`.
        """
        if self.device in ("auto", "cpu"):
            files = self.files  # before the suppression: a model that cannot be had, or has changed, is told
            with contextlib.suppress(ModelError):
                from pictocli.tower import TextTower

                return TextTower(files, self.spec)
        return self.embedder

    def prompts(self, catalog: Catalog, taxonomy: Taxonomy) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The label and null vectors of a taxonomy. The database keeps them: they cost minutes on a CPU."""
        key = f"{self.spec.id} {self.spec.revision} {taxonomy.prompts_hash}"
        kept = (catalog.vector(f"labels {key}"), catalog.vector(f"nulls {key}"))
        if kept[0] is None or kept[1] is None:
            embedder = self.embedder
            self.progress.doing(f"embedding the prompts of {len(taxonomy.labels)} labels, once")
            labels, nulls = tagging.embed_prompts(taxonomy, embedder)
            self.progress.doing("")
            catalog.put_vector(f"labels {key}", labels.astype("<f4").tobytes())
            catalog.put_vector(f"nulls {key}", nulls.astype("<f4").tobytes())
            return labels, nulls
        labels, nulls = (np.frombuffer(blob, "<f4").reshape(-1, self.spec.dim) for blob in kept if blob)
        return labels, nulls

    def tagger(self, catalog: Catalog, taxonomy: Taxonomy) -> tuple[tagging.Tagger, str]:
        """What tags by this model, and the name of its rule."""
        labels, nulls = self.prompts(catalog, taxonomy)
        accept, rule = _acceptance(self.spec, taxonomy, self.progress)
        return tagging.Tagger(taxonomy, self.spec, labels, nulls, accept), rule

    def brain(self, catalog: Catalog) -> Brain:
        """Embeds and tags batches for `catalog`."""
        return Brain(self, catalog)


def checked(vectors: NDArray[np.float32], spec: ModelSpec) -> list[bytes]:
    """Embeddings [n, dim] as little-endian float32. Raises ModelError unless all are finite and of unit length."""
    norms = np.linalg.norm(vectors, axis=1)
    if vectors.shape[1] != spec.dim or not np.isfinite(norms).all() or np.abs(norms - 1).max(initial=0) > 1e-3:
        raise ModelError(f"{spec.id} gave an embedding that is not {spec.dim} finite numbers of unit length")
    return [vector.astype("<f4").tobytes() for vector in vectors]


class Thought(NamedTuple):
    """Of n pictures: embeddings as little-endian float32, tags with scores by category, and milliseconds for all."""

    vectors: list[bytes]
    tags: Sequence[Mapping[str, Mapping[str, float]]]
    ms: float


class Brain:
    """Model input and measures in, embeddings and tags out.

    batch_size: how many pictures it takes best at a time. asynchronous: whether it goes on by itself with what it has
    begun. Both are the CPU's until the model is there.
    """

    def __init__(self, model: Model, catalog: Catalog) -> None:
        self._model, self._catalog = model, catalog
        self.batch_size, self.asynchronous = 16, False

    @cached_property
    def _tagger(self) -> tagging.Tagger:
        tagger, rule = self._model.tagger(self._catalog, taxonomy_of(self._catalog))
        held = self._catalog.meta("tag_rule") or rule
        if held.split(_THEN)[-1] != rule:
            self._model.progress.say(f"new tags are {rule}, earlier ones {held}: `picto retag` makes them alike")
            held += _THEN + rule
        self._catalog.set_meta("tag_rule", held)
        return tagger

    def begin(self, pixels: NDArray[np.uint8], measures: Sequence[Mapping[str, float]]) -> Callable[[], Thought]:
        """Begin with n pictures, uint8 [n, size, size, 3], and their measures; calling what this returns waits.

        The first call loads the model and embeds the prompts, which is no picture's time and not counted. Raises
        ModelError, as what it returns does.
        """
        embedder, tagger = self._model.warm_embedder, self._tagger
        started = time.perf_counter()
        vectors = embedder.begin_images(pixels)
        begun = time.perf_counter() - started
        self.asynchronous = embedder.asynchronous

        def end() -> Thought:
            started = time.perf_counter()
            found = vectors()
            self.batch_size = embedder.batch_size
            tags = tagger.tag(found, measures)
            return Thought(checked(found, self._model.spec), tags, (begun + time.perf_counter() - started) * 1000)

        return end


def choose(name: str, held: ModelSpec | None, device: str, progress: Progress) -> Model:
    """The model to use for a database that holds `held`, or for a new one.

    An existing database uses its own model, always: naming another raises ModelMismatchError. For a new one "auto" is
    the default model where it can be had, else the bundled one, and says so. Raises ModelError.
    """
    if held is not None:
        if name not in ("auto", held.id) and model_id(name) != held.id:
            raise mismatch(held, model_id(name))
        return Model(held, device, progress)
    note = None
    if name == "auto":
        files, note = hub.resolve_auto(progress)
    else:
        files = hub.resolve(name, progress=progress)
    if note:
        progress.say(note)
    return Model(hub.read_spec(files), device, progress, files)


def tag_rows(tagger: tagging.Tagger) -> Tag:
    """The tagger for stored rows: (embedding, measures as JSON)."""

    def tag(rows: Sequence[tuple[bytes, str]]) -> list[dict[str, dict[str, float]]]:
        vectors = np.stack([np.frombuffer(vector, "<f4") for vector, _ in rows])
        return tagger.tag(vectors, [json.loads(measures) for _, measures in rows])

    return tag
