"""Several words and pictures as one question: one vector, in which each part counts as much as its weight says.

Cosines between words and pictures, and those between pictures, differ in mean and spread: of SigLIP the former lie
near 0 within ± .03, the latter near .6 within ± .1. Summed as they are, pictures drown words. So a picture x is given
the score Σ w_k (cos(q_k, x) − mean_k) / sd_k, mean and standard deviation being those of the library's own cosines with
part k: a weighted sum of z-scores (combSUM over standardised scores: Fox and Shaw 1994; Montague and Aslam 2001). For
unit vectors that is the cosine with Σ w_k q_k / sd_k, but for a factor and a constant: any way to the nearest vectors
ranks by it. What is pushed away has a negative weight. No numpy: a few vectors are nothing.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from pictocli.errors import ValidationError
from pictocli.queries import Queries

__all__ = ["AWAY", "Blend", "Part", "blend", "weighted"]

SAMPLE = 1000  # pictures, of which a standard deviation is right within 5 %
AWAY = 0.5  # the weight of what is pushed away: with 1, the picture least like it would beat the one most like the rest
_LEAST_SPREAD = 1e-3  # of cosines; a library of copies of one picture has none
_WEIGHT = re.compile(r"(\d+\.?\d*|\.\d+):(.+)", re.DOTALL)
_MOST = 1000.0


@dataclass(frozen=True, slots=True)
class Part:
    """name: as the user gave it. weight: below 0 for what is pushed away. vector: float32 bytes, of unit length."""

    name: str
    weight: float
    vector: bytes


@dataclass(frozen=True, slots=True)
class Blend:
    """One question of several parts. vector: float32 bytes, of unit length; means, spreads: of each part's cosines."""

    parts: Sequence[Part]
    vector: bytes
    means: Sequence[float]
    spreads: Sequence[float]

    def score(self, cosines: Sequence[float]) -> float:
        """How many standard deviations above the library's mean a picture lies, given its cosine with each part."""
        each = zip(self.parts, cosines, self.means, self.spreads, strict=True)
        total = sum(part.weight * (cosine - mean) / spread for part, cosine, mean, spread in each)
        return total / sum(abs(part.weight) for part in self.parts)


def weighted(text: str, plain: float = 1.0) -> tuple[float, str]:
    """The weight and the rest of "2:sunset"; `plain` and all of it without one. ValidationError for a weight of 0."""
    found = _WEIGHT.fullmatch(text)
    if found is None:
        return plain, text
    weight = float(found[1])
    if not 0 < weight <= _MOST:
        raise ValidationError(f"the weight of {text} must lie above 0, up to 1,000", "--not pushes away")
    return weight, found[2].strip()


def blend(queries: Queries, parts: Sequence[Part]) -> Blend:
    """Join parts by what the library's cosines with each are. Raises ValidationError when they cancel each other."""
    import statistics  # 5 ms, with decimal and random, that a question of words alone need not pay

    means, spreads = [], []
    total = [0.0] * (len(parts[0].vector) // 4)
    for part in parts:
        cosines = queries.cosines(part.vector, SAMPLE)
        means.append(statistics.fmean(cosines) if cosines else 0.0)
        spreads.append(max(_LEAST_SPREAD, statistics.pstdev(cosines)) if len(cosines) > 1 else 1.0)
        values = struct.unpack(f"<{len(total)}f", part.vector)
        total = [so_far + part.weight / spreads[-1] * value for so_far, value in zip(total, values, strict=True)]
    length = math.sqrt(math.fsum(value * value for value in total))
    if length < 1e-6 * sum(abs(part.weight) / spread for part, spread in zip(parts, spreads, strict=True)):
        raise ValidationError("what is asked for and what is pushed away are the same", "leave one of them out")
    vector = struct.pack(f"<{len(total)}f", *(value / length for value in total))
    return Blend(parts, vector, means, spreads)
