"""Queries in words: their embedding, kept in the database for the next time, and SigLIP's probability of a match."""

from __future__ import annotations

import contextlib
import math
import struct
from collections.abc import Callable

from pictocli.catalog import Catalog
from pictocli.databases import connect, translated
from pictocli.errors import StoreError, ValidationError
from pictocli.protocols import TextEmbedder
from pictocli.queries import Queries
from pictocli.records import ModelSpec
from pictocli.text import canonicalize

__all__ = ["probability", "text_vector"]


def probability(spec: ModelSpec, cosine: float) -> float:
    """sigmoid(scale * cosine + bias), the probability that SigLIP was trained to give (Zhai et al. 2023)."""
    return 1 / (1 + math.exp(-max(-700.0, min(700.0, spec.scale * cosine + spec.bias))))


def text_vector(path: str | None, queries: Queries, text: str, embedder: Callable[[], TextEmbedder]) -> bytes:
    """The embedding of a text as float32 bytes: the kept one, else a new one, kept if the database can be written.

    path: of the database that keeps it, None for none. Raises ValidationError for a text without a letter or digit.
    """
    words = canonicalize(text)
    if not words:
        raise ValidationError("no words to search for", 'picto search "a red car in the snow"')
    kept = queries.text_embedding(words)
    if kept is not None:
        return kept
    model = embedder()
    values = model.embed_texts([words])[0]
    vector = struct.pack(f"<{len(values)}f", *values)
    if path is None:
        return vector
    with contextlib.suppress(StoreError), translated(path):  # a read-only or busy database answers all the same
        db = connect(path)
        Catalog(db).keep_text(words, vector, model.spec)
        db.close()
    return vector
