"""`picto calibrate`: looks at a varied set of pictures with a model and keeps what its logits mean."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pictocli.brain import Model, calibration_file, choose, shipped_calibration, taxonomy_of
from pictocli.calibration import write
from pictocli.catalog import Catalog
from pictocli.databases import connect, exists, translated
from pictocli.decode import Decoded, Inspected, Recipe, Refused, decode
from pictocli.errors import NotFoundError, ValidationError, check_range
from pictocli.fitting import fit
from pictocli.labelled import known_labels
from pictocli.pipeline import DEFAULT_DPI, ahead, embedded, inspected
from pictocli.protocols import Progress
from pictocli.records import ModelSpec, Skipped
from pictocli.reports import CalibrationReport
from pictocli.scan import Rules, walk
from pictocli.schema import memory
from pictocli.tagging import label_logits
from pictocli.taxonomy import Taxonomy, load
from pictocli.workers import Workers, default_workers

__all__ = ["LEAST_PICTURES", "calibrate"]

LEAST_PICTURES = 100  # a mean and a spread of 100 values are known to 10 %; a thousand varied ones are better


def calibrate(
    path: str,
    pictures: Sequence[str],
    progress: Progress,
    *,
    model: str = "auto",
    device: str = "auto",
    labels: str | os.PathLike[str] | None = None,
    taxonomy: str | os.PathLike[str] | None = None,
    batch_size: int | None = None,
    workers: int | None = None,
) -> CalibrationReport:
    """Calibrate a model on `pictures`, files and folders; see `Library.calibrate`."""
    started = time.perf_counter()
    count = default_workers() if workers is None else workers
    check_range("batch_size", 16 if batch_size is None else batch_size, 1, 4096)
    check_range("workers", count, 0, 256)
    files = _files(pictures)
    with translated(path):
        catalog = Catalog(connect(path) if exists(path) else memory())
        used = choose(model, catalog.spec() if model == "auto" else None, device, progress)
        words = load(Path(taxonomy)) if taxonomy else taxonomy_of(catalog)
        skipped: list[Skipped] = []
        progress.found(len(files))
        pool = Workers(count)
        try:
            seen, vectors = _embedded(used, pool, files, batch_size, skipped, progress)
        finally:
            pool.close()
            progress.close()
        if len(seen) < LEAST_PICTURES:
            raise ValidationError(
                f"{len(seen)} pictures are too few to calibrate on: {LEAST_PICTURES} are needed",
                "name a folder of a thousand or so, of all sorts",
            )
        known = _known(labels, words, seen, used.spec, progress)
        prompts, _ = used.prompts(catalog, words)
        made = fit(used.spec, words, label_logits(used.spec, vectors, prompts), known)
        file = calibration_file(used.spec, words)
        write(file, made)
        catalog.db.close()
    return CalibrationReport(
        model=used.spec.id, images=len(seen), skipped=skipped, file=str(file),
        told=sum(each.n > 0 for each in made.labels.values()),
        able=sum(each.tau is not None for each in made.labels.values()) if made.fitted else len(made.labels),
        labels=len(made.labels), seconds=time.perf_counter() - started,
    )  # fmt: skip


def _known(
    labels: str | os.PathLike[str] | None,
    taxonomy: Taxonomy,
    seen: Sequence[tuple[str, str]],
    spec: ModelSpec,
    progress: Progress,
) -> NDArray[np.int8] | None:
    """What a file says of the pictures, as `known_labels` gives it; None without a file."""
    if labels is None:
        own = shipped_calibration(spec)
        if own is not None and own.exists():
            progress.say(f"{spec.id} brings a calibration on known labels, which goes first: --labels makes one anew")
        return None
    known, strange = known_labels(labels, taxonomy, seen)
    if strange:
        progress.say(f"not in the taxonomy, and left out: {', '.join(strange[:8])}" + " …" * (len(strange) > 8))
    return known


def _files(pictures: Iterable[str]) -> list[tuple[str, str]]:
    """(root, full path) of every file named, or below a folder that is. Raises NotFoundError."""
    found = []
    for each in pictures:
        full = os.path.realpath(each)
        if not os.path.exists(full):
            raise NotFoundError(f"no such file or folder: {each}")
        if os.path.isdir(full):
            for folder, files in walk(full, Rules(), lambda _: None):
                found += [(full, os.path.join(full, folder, file.name)) for file in files]
        else:
            found.append((os.path.dirname(full), full))
    return list(dict.fromkeys(found))


def _embedded(
    model: Model, pool: Workers, files: Sequence[tuple[str, str]], batch_size: int | None, skipped: list[Skipped],
    progress: Progress,
) -> tuple[list[tuple[str, str]], NDArray[np.float32]]:  # fmt: skip
    """Embeddings float32 [n, dim] of the files that are pictures, of a document its first page, and which these are."""
    pictures = _decoded(model.spec, pool, files, skipped, progress)
    pairs = [pair for batch in embedded(model, pictures, batch_size) for pair in batch]
    vectors = np.frombuffer(b"".join(vector for _, vector in pairs), "<f4").reshape(len(pairs), model.spec.dim)
    return [place for place, _ in pairs], vectors


def _decoded(
    spec: ModelSpec, pool: Workers, files: Sequence[tuple[str, str]], skipped: list[Skipped], progress: Progress
) -> Iterator[tuple[tuple[str, str], Decoded]]:
    """The files that are pictures, decoded, in order; the others are noted in `skipped`."""
    recipe = Recipe(spec.image_size, spec.resample, DEFAULT_DPI, thumbnail=False)

    def missed(path: str, refused: Refused) -> None:
        if refused.reason is not None:
            skipped.append(Skipped(path, refused.reason))
        progress.done(1, len(skipped))

    def calls() -> Iterator[Any]:
        for place, what in inspected(pool, ((each, each[1]) for each in files), recipe.limits):
            if isinstance(what, Inspected):
                page = (what.pages or (0,))[0]
                yield place, what.peak_at(DEFAULT_DPI), decode, (place[1], what.kind, page, recipe, what.stamp)
            else:
                missed(place[1], what)

    for place, result in ahead(pool, calls()):
        if isinstance(result, Decoded):
            progress.done(1, len(skipped))
            yield place, result
        else:
            missed(place[1], result)
