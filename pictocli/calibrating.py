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
from pictocli.decode import Decoded, Inspected, Recipe, Refused, decode, inspect
from pictocli.errors import NotFoundError, ValidationError, check_range
from pictocli.fitting import fit
from pictocli.indexing import DEFAULT_DPI, checked, outcome
from pictocli.labelled import known_labels
from pictocli.protocols import Progress
from pictocli.records import CalibrationReport, ModelSpec, Skipped
from pictocli.scan import Rules, walk
from pictocli.schema import connect, memory, translated
from pictocli.tagging import label_logits
from pictocli.taxonomy import Taxonomy, load
from pictocli.workers import Workers, default_workers

__all__ = ["LEAST_PICTURES", "calibrate"]

LEAST_PICTURES = 100  # a mean and a spread of 100 values are known to 10 %; a thousand varied ones are better
_AHEAD = 4  # batches that are being decoded while the model works


def calibrate(
    path: str,
    pictures: Sequence[str],
    progress: Progress,
    *,
    model: str = "auto",
    device: str = "auto",
    labels: str | None = None,
    taxonomy: str | None = None,
    batch_size: int = 16,
    workers: int | None = None,
) -> CalibrationReport:
    """Calibrate a model on `pictures`, files and folders; see `Library.calibrate`."""
    started = time.perf_counter()
    count = default_workers() if workers is None else workers
    check_range("batch_size", batch_size, 1, 4096)
    check_range("workers", count, 0, 256)
    files = _files(pictures)
    with translated(path):
        catalog = Catalog(connect(path) if os.path.exists(path) and os.path.getsize(path) else memory())
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
    labels: str | None, taxonomy: Taxonomy, seen: Sequence[tuple[str, str]], spec: ModelSpec, progress: Progress
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
    model: Model, pool: Workers, files: Sequence[tuple[str, str]], batch_size: int, skipped: list[Skipped],
    progress: Progress,
) -> tuple[list[tuple[str, str]], NDArray[np.float32]]:  # fmt: skip
    """Embeddings float32 [n, dim] of the files that are pictures, of a document its first page, and which these are."""
    recipe = Recipe(model.spec.image_size, model.spec.resample, DEFAULT_DPI, thumbnail=False)
    seen: list[tuple[str, str]] = []
    parts = [np.zeros((0, model.spec.dim), np.float32)]
    batch: list[tuple[tuple[str, str], Decoded]] = []

    def embed() -> None:
        vectors = model.embedder.embed_images(np.stack([decoded.pixels for _, decoded in batch]))
        checked(vectors, model.spec)
        parts.append(vectors)
        seen.extend(place for place, _ in batch)
        batch.clear()

    for place, result in _decoded(pool, files, recipe, _AHEAD * batch_size):
        if isinstance(result, Decoded):
            batch.append((place, result))
        elif result.reason is not None:
            skipped.append(Skipped(place[1], result.reason))
        progress.done(1, len(skipped))
        if len(batch) == batch_size:
            embed()
    if batch:
        embed()
    return seen, np.concatenate(parts)


def _decoded(
    pool: Workers, files: Sequence[tuple[str, str]], recipe: Recipe, window: int
) -> Iterator[tuple[tuple[str, str], Decoded | Refused]]:
    """Every file decoded, in order, `window` at a time."""
    for start in range(0, len(files), window):
        looks = [(place, pool.submit(inspect, place[1])) for place in files[start : start + window]]
        jobs: list[tuple[tuple[str, str], Any]] = []
        for place, look in looks:
            what = outcome(pool, look)
            if isinstance(what, Inspected):
                what = pool.submit(decode, place[1], what.kind, (what.pages or (0,))[0], recipe)
            jobs.append((place, what))
        for place, job in jobs:
            yield place, job if isinstance(job, Refused) else outcome(pool, job)
