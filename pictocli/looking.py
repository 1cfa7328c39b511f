"""Embeds pictures that are not in the index: a query's reference, and what `picto embed` prints."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from pictocli.brain import Model, checked
from pictocli.decode import Decoded, Recipe, Refused, decode, decode_bytes, inspect
from pictocli.errors import UnreadableError
from pictocli.pdfs import Opening, passwords
from pictocli.pipeline import DEFAULT_DPI
from pictocli.references import Reference
from pictocli.remote import fetched
from pictocli.urls import is_url

__all__ = ["embed_reference", "small"]


def embed_reference(
    reference: Reference, model: Model, pdf_password: str | Sequence[str] | None = None
) -> tuple[bytes, float]:
    """The embedding of a file, page or bytes as float32 bytes, and the milliseconds it took, the model's loading aside.

    pdf_password: of an encrypted PDF, or several to try; None is what PICTO_PDF_PASSWORD holds.
    Raises UnreadableError when it holds no image.
    """
    started = time.perf_counter()
    recipe = Recipe(model.spec.image_size, model.spec.resample, DEFAULT_DPI, False, passwords=passwords(pdf_password))
    decoded = _whole(reference, recipe)
    spent = time.perf_counter() - started
    embedder = model.warm_embedder  # only now: a file that cannot be read needs no model
    started = time.perf_counter()
    vector = checked(embedder.embed_images(decoded.pixels[np.newaxis]), model.spec)[0]
    return vector, (spent + time.perf_counter() - started) * 1000


def _whole(reference: Reference, recipe: Recipe) -> Decoded:
    """What is decoded of a reference. Raises UnreadableError."""
    decoded = _decode(reference, recipe)
    if isinstance(decoded, Refused):
        name = reference.path or "the image on standard input"
        page = f"#page={reference.page}" if reference.page else ""
        raise UnreadableError(f"cannot read {name}{page}: {decoded.reason or 'not an image'}")
    return decoded


def small(reference: Reference, width: int, pdf_password: str | Sequence[str] | None = None) -> bytes:
    """A JPEG of a file, page or bytes, at most `width` px wide. Raises UnreadableError as `embed_reference` does."""
    known = passwords(pdf_password)
    recipe = Recipe(16, "bilinear", DEFAULT_DPI, True, passwords=known, thumbnail_width=width)
    jpeg = _whole(reference, recipe).thumbnail
    assert jpeg is not None  # the recipe asks for it
    return jpeg


def _decode(reference: Reference, recipe: Recipe) -> Decoded | Refused:
    if reference.data is not None:
        return decode_bytes(reference.data, recipe)
    assert reference.path is not None
    if is_url(reference.path):
        with fetched(reference.path) as path:
            return _decode(replace(reference, path=path), recipe)
    seen = inspect(str(Path(reference.path)), opening=Opening(passwords=recipe.passwords))
    if isinstance(seen, Refused):
        return seen
    if reference.page is not None and reference.page not in seen.pages:
        return Refused(f"it has {len(seen.pages)} pages" if seen.pages else "it has no pages")
    return decode(reference.path, seen.kind, reference.page or (seen.pages or (0,))[0], recipe, seen.stamp)
