"""Finds which fingerprints may be copies of which: those whose lowest frequencies, or those of a part, are alike.

Every picture, turned four ways, is compared with all others, and as it is with 24 windows of each, cut by up to a tenth
at every edge. All with all would be a million million comparisons among 100,000 pictures; only those that fall into the
same cells of a coarse quantiser are made (an inverted file: Jégou, Douze and Schmid 2011). Pure numpy.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from pictocli.protocols import Progress

__all__ = ["SIDE", "WINDOWS", "Candidates", "candidates", "stretch"]

SIDE = 32  # px of a fingerprint
_CUTS = ((0.0, 0.0), (0.1, 0.0), (0.0, 0.1), (0.1, 0.1), (0.05, 0.05))  # off the two ends of a side
WINDOWS = tuple(product(_CUTS, _CUTS))
"""What is cut off, down and across: first nothing."""

_LOW = 8  # half-waves along a side
_ALIKE, _PARTLY = 0.8, 0.88  # least cosine with a whole picture, which a mark may have changed, and with a window
_CELLS, _LEAST, _PROBED = 1024, 64, 3  # cells at most, pictures a cell at least, cells that each is sought in
_SAMPLE, _ROUNDS, _BLOCK = 65_536, 4, 8192
_MOST = 64  # candidates of a picture in one cell: of thousands of copies of one, so many on average
_Floats = NDArray[np.float32]
_Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Candidates:
    """Pairs of places: `part`, turned by 90° `turn` times as np.rot90 does, may be the window of `whole`.

    window: which of WINDOWS. Each pair comes once.
    """

    part: _Ints
    whole: _Ints
    turn: _Ints
    window: _Ints


def stretch(before: float, after: float) -> _Floats:
    """The matrix [SIDE, SIDE] that stretches what is left of a row of pixels, cut at both ends, to a whole row."""
    places = before * SIDE + (np.arange(SIDE) + 0.5) * (1 - before - after) - 0.5
    left = np.clip(np.floor(places).astype(int), 0, SIDE - 2)
    part = np.clip(places - left, 0, 1)
    found = np.zeros((SIDE, SIDE))
    found[np.arange(SIDE), left] = 1 - part
    found[np.arange(SIDE), left + 1] += part
    return found.astype(np.float32)


def candidates(prints: NDArray[np.uint8], progress: Progress) -> Candidates:
    """Pairs of n fingerprints, uint8 [n, SIDE, SIDE], that may be copies: all that are, but for two in a thousand."""
    count = len(prints)
    asked = np.concatenate([_described(prints, _turned(turn)) for turn in range(4)])
    centres = _centres(asked[:count])
    nearest = _cells(asked, centres, _PROBED)
    order = np.argsort(nearest.ravel(), kind="stable")
    seekers = [part // nearest.shape[1] for part in np.split(order, _ends(nearest.ravel(), len(centres)))]
    upright = [part[part < count] for part in seekers]
    found = np.zeros((0, 3), np.int64)  # pair, place of the window and turn, cosine in millionths
    for number, (down, across) in enumerate(WINDOWS):
        progress.doing(f"comparing {count:,} pictures, {number + 1} of {len(WINDOWS)}")
        given = _described(prints, _frequencies(down, across))
        here = _cells(given, centres, 1).ravel()
        members = np.split(np.argsort(here, kind="stable"), _ends(here, len(centres)))
        least, seeking = (_PARTLY, upright) if number else (_ALIKE, seekers)
        hits = [
            _hits(asked, given, ask, member, least, number)
            for ask, member in zip(seeking, members, strict=True)
            if len(ask) and len(member)
        ]
        found = _best(np.concatenate([found, *hits]), count)
    progress.doing("")
    pair, how, _ = found.T
    return Candidates(pair // count, pair % count, how % 4, how // 4)


def _frequencies(down: tuple[float, float], across: tuple[float, float]) -> _Floats:
    """The matrix that takes the pixels of a print to the low frequencies (DCT-II) of its window, without the mean.

    They are multiplied by their frequency: in photographs amplitude falls with it (Field 1987); all then count alike.
    """
    waves = np.arange(_LOW)[:, None]
    cosines = np.cos(np.pi * (np.arange(SIDE) + 0.5) * waves / SIDE) * np.where(waves, 1, np.sqrt(0.5))
    rows, columns = cosines @ stretch(*down), cosines @ stretch(*across)
    pitch = np.hypot(waves, waves.T)
    inner = (pitch > 0) & (pitch < _LOW)
    found = np.einsum("ki,lj->ijkl", rows, columns)[:, :, inner] * pitch[inner]
    return found.reshape(SIDE * SIDE, -1).astype(np.float32)  # type: ignore[no-any-return]


def _turned(turn: int) -> _Floats:
    """`_frequencies` of whole prints, turned."""
    found = _frequencies(*WINDOWS[0])
    back = np.empty_like(found)
    back[np.rot90(np.arange(SIDE * SIDE).reshape(SIDE, SIDE), turn).ravel()] = found
    return back


def _described(prints: NDArray[np.uint8], matrix: _Floats) -> _Floats:
    """The unit vectors [n, d] that a matrix takes n prints to."""
    flat = prints.reshape(len(prints), -1)
    return np.concatenate([_unit(part.astype(np.float32) @ matrix) for part in _parts(flat)])


def _unit(vectors: _Floats) -> _Floats:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6), np.float32)


def _parts(rows: NDArray[np.generic]) -> Iterator[NDArray[np.generic]]:
    return (rows[at : at + _BLOCK] for at in range(0, max(1, len(rows)), _BLOCK))


def _centres(vectors: _Floats) -> _Floats:
    """The centres of cells of unit vectors: a few rounds of spherical k-means over a sample, the same on every run."""
    count = max(1, min(_CELLS, len(vectors) // _LEAST))
    chance = np.random.default_rng(0)
    sample = vectors[chance.permutation(len(vectors))[:_SAMPLE]]
    centres = sample[:count]
    for _ in range(_ROUNDS):
        here = _cells(sample, centres, 1).ravel()
        order = np.argsort(here, kind="stable")
        used, starts = np.unique(here[order], return_index=True)
        centres = centres.copy()
        centres[used] = _unit(np.add.reduceat(sample[order], starts, axis=0))
    return centres


def _cells(vectors: _Floats, centres: _Floats, count: int) -> NDArray[np.int32]:
    """The `count` nearest centres of each vector [n, count], or all."""
    found = np.empty((len(vectors), min(count, len(centres))), np.int32)
    for start in range(0, len(vectors), _BLOCK):
        near = vectors[start : start + _BLOCK] @ centres.T
        for at in range(found.shape[1]):
            best = near.argmax(axis=1)
            found[start : start + _BLOCK, at] = best
            near[np.arange(len(near)), best] = -2
    return found


def _ends(cells: NDArray[np.int32], count: int) -> _Ints:
    """Where the vectors of the next cell begin, when they are sorted by cell."""
    return np.cumsum(np.bincount(cells, minlength=count))[:-1]


def _hits(asked: _Floats, given: _Floats, ask: _Ints, member: _Ints, least: float, window: int) -> _Ints:
    """Rows of (pair, how, cosine) within one cell; asked: of four turns one after the other."""
    count, windows = len(given), given[member]
    rows = [np.zeros((0, 3), np.int64)]
    step = max(1, 2**21 // len(member))
    for start in range(0, len(ask), step):
        some = ask[start : start + step]
        cosines = asked[some] @ windows.T
        near = np.flatnonzero(cosines.ravel() >= least)
        if len(near) > _MOST * len(some):
            cut = np.partition(cosines, -_MOST, axis=1)[:, -_MOST, None]
            near = np.flatnonzero((cosines >= np.maximum(cut, least)).ravel())
        if not len(near):
            continue
        one, other = np.divmod(near, len(member))
        turn, part = np.divmod(some[one], count)
        whole = member[other]
        cosine = (cosines.ravel()[near] * 1e6).astype(np.int64)
        pair = part * count + whole
        rows.append(np.stack([pair, window * 4 + turn, cosine], axis=1)[part != whole])
    return np.concatenate(rows)


def _best(rows: _Ints, count: int) -> _Ints:
    """Of each pair, whichever of the two is the whole, the row with the highest cosine."""
    one, other = np.divmod(rows[:, 0], count)
    pair = np.minimum(one, other) * count + np.maximum(one, other)
    order = np.lexsort((-rows[:, 2], pair))
    first = np.diff(pair[order], prepend=-1) != 0
    return np.asarray(rows[order[first]])
