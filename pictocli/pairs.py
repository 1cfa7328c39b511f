"""How unusual a similarity is: the cosines of random pairs of a library's pictures, and where one lies among them.

A cosine alone says little: where random pictures lie differs from model to model and from library to library. Asking
needs no numpy; measuring does.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from pictocli.records import Pairs

__all__ = ["ENOUGH", "SAMPLE", "chosen", "closer_than", "measured", "quantiles", "settled"]

ENOUGH = 1_000
"""Pairs, those of 46 pictures: with fewer the last hundredth, which matches lie in, rests on less than ten pairs."""

SAMPLE = 1_400
"""Contents of which all 979,300 pairs are compared. On clustered vectors the share above the 99th, 99.9th and 99.99th
percentile came out within 10, 17 and 30 % of itself, that of 20,000 pairs drawn one by one within 8, 23 and 60 %, for
29 times as many embeddings to read. Below a million pairs, no share is 1 in six decimals."""

_CHANGE = 0.1  # of the contents, more or fewer, until pairs are measured again
_TOLD = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 0.9995, 0.9999)


def settled(held: Pairs | None, contents: int) -> bool:
    """Whether `held` still holds for a library of so many contents, or there are too few of them to measure."""
    if held is None:
        return contents * (contents - 1) // 2 < ENOUGH
    return abs(contents - held.contents) <= held.contents * _CHANGE


def chosen(ids: Sequence[int]) -> list[int]:
    """The contents to compare: all of up to SAMPLE, else so many at random, the same ones for the same ids."""
    if len(ids) <= SAMPLE:
        return list(ids)
    import numpy as np

    places = np.random.default_rng(0).choice(len(ids), SAMPLE, replace=False)
    return [ids[at] for at in places.tolist()]


def measured(embeddings: Sequence[bytes], contents: int) -> Pairs | None:
    """Compare all pairs of `embeddings` (float32 bytes), one a content. None when they make fewer than ENOUGH.

    contents: how many the library has.
    """
    n = len(embeddings) * (len(embeddings) - 1) // 2
    if n < ENOUGH:
        return None
    import numpy as np

    vectors = np.frombuffer(b"".join(embeddings), "<f4").reshape(len(embeddings), -1)
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = np.sort((vectors @ vectors.T)[np.triu_indices(len(vectors), 1)])
    ranks = _ranks(n)
    found = np.clip(cosines[ranks].astype(float), -1, 1).round(6)
    return Pairs(contents=contents, n=n, ranks=ranks, cosines=found.tolist())


def _ranks(n: int) -> list[int]:
    """The places of the quantiles to keep: every half a hundredth, finer and finer towards 1, and both ends."""
    shares = [at / 200 for at in range(200)]
    shares += [1 - at / 10**nines for nines in (2, 3, 4, 5) for at in range(1, 10)]
    return sorted({min(int(round(share * n, 3)), n - 1) for share in shares} | {n - 1})


def closer_than(pairs: Pairs | None, cosine: float) -> float | None:
    """The share of random pairs that are less similar than `cosine`, at most all but one; None without pairs."""
    if pairs is None:
        return None
    at = bisect_left(pairs.cosines, cosine)
    if at in (0, len(pairs.cosines)):
        return pairs.ranks[min(at, len(pairs.ranks) - 1)] / pairs.n
    return _between(cosine, pairs.cosines, pairs.ranks, at) / pairs.n


def quantiles(pairs: Pairs) -> dict[float, float]:
    """Shares of random pairs, as far as their number bears → the cosine that so many lie below."""
    found: dict[float, float] = {}
    for share in _TOLD:
        rank = share * pairs.n
        if rank <= pairs.ranks[-1]:
            at = min(bisect_right(pairs.ranks, rank), len(pairs.ranks) - 1)
            found[share] = round(_between(rank, pairs.ranks, pairs.cosines, at), 6)
    return found


def _between(value: float, known: Sequence[float], wanted: Sequence[float], at: int) -> float:
    """Linear interpolation between the places at - 1 and `at`."""
    part = (value - known[at - 1]) / (known[at] - known[at - 1])
    return wanted[at - 1] + part * (wanted[at] - wanted[at - 1])
