"""Answers a question of several words and pictures."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import TypeAlias, TypeVar

from pictocli.combining import AWAY, Part, blend
from pictocli.errors import ValidationError, check_range
from pictocli.holding import Holding
from pictocli.nearest import near
from pictocli.queries import Queries
from pictocli.records import Answer, Scope, SimilarImage
from pictocli.references import ImageLike, Reference, find
from pictocli.selection import Condition

__all__ = ["Several", "Weighed", "combined", "valued"]

V = TypeVar("V")
Weighed: TypeAlias = V | tuple[float, V]
"""A value, or its weight and it."""


class Several:
    """The parts of one question, and the ids of the pictures among them.

    embed_text, embed_picture: give embeddings as float32 bytes. Raises as `find` and these do, and ValidationError.
    """

    def __init__(self, queries: Queries, texts: Sequence[Weighed[str]], images: Sequence[Weighed[ImageLike]],
                 without: Sequence[Weighed[str]], embed_text: Callable[[str], bytes],
                 embed_picture: Callable[[Reference], bytes]) -> None:  # fmt: skip
        given: list[tuple[float, ImageLike]] = [valued(image) for image in images]
        found = [(weight, _named(image), find(queries, image)) for weight, image in given]
        self.pictures = {reference.image_id or reference.twin for _, _, reference in found} - {None}
        aside = [valued(words, AWAY) for words in without]
        self.parts = [Part(words, weight, embed_text(words)) for weight, words in map(valued, texts)]
        self.parts += [Part(name, weight, embed_picture(reference)) for weight, name, reference in found]
        self.parts += [Part(f"not {words}", -weight, embed_text(words)) for weight, words in aside]
        names = [part.name for part in self.parts]
        for name in names:
            if names.count(name) > 1:
                raise ValidationError(f"{name} is asked for twice", f"name it once, with a weight: 2:{name}")
            if f"not {name}" in names:
                raise ValidationError(f"{name} is asked for and pushed away", "leave one of them out")


def combined(
    queries: Queries, holding: Holding, several: Several, scope: Scope, conditions: Sequence[Condition], limit: int,
    *, exact: bool,
) -> Answer:  # fmt: skip
    """The images in scope that meet all conditions, by their score for all parts; without the pictures among these."""
    started = time.perf_counter()
    whole, folders = blend(queries, several.parts), queries.folders(scope)
    found = near(
        queries, holding, whole.vector, folders, conditions, limit + len(several.pictures), lambda _: True,
        least=False, exact=exact,
    )  # fmt: skip
    passing = [(i, cosine) for i, cosine in found.passing if i not in several.pictures][:limit]
    ids = [i for i, _ in passing]
    fields, apart = queries.fields(ids), [queries.cosines_of(part.vector, ids) for part in several.parts]
    results = []
    for i, cosine in passing:
        cosines = [each[i] for each in apart]
        parts = {part.name: each for part, each in zip(several.parts, cosines, strict=True)}
        results.append(SimilarImage(**fields[i], similarity=cosine, score=whole.score(cosines), parts=parts))
    return Answer(
        results=results, scope=scope, considered=queries.count(folders), elsewhere=found.elsewhere,
        approximate=found.approximate, seconds=time.perf_counter() - started,
    )  # fmt: skip


def valued(value: Weighed[V], plain: float = 1.0) -> tuple[float, V]:
    """A value with its weight, `plain` unless it has one. Raises ValidationError for a weight that is none."""
    weight, rest = value if isinstance(value, tuple) else (plain, value)
    check_range("weight", weight, 1e-3, 1000)
    return weight, rest


def _named(image: ImageLike) -> str:
    """What a picture is called among the parts of a question."""
    if isinstance(image, bytes):
        return "standard input"
    return f"id:{image}" if isinstance(image, int) else os.fspath(image)
