"""Tells copies by their fingerprints: resized, recompressed, marked, turned by 90°, or cut by up to a seventh a side.

Each candidate is laid upon that window of the other picture that fits it best, and compared with it pixel by pixel, as
it is and in its detail, but for the worst fifth, where a mark may be. One picture must lie within the other: the frames
of a burst are shifted against each other, and are no copies. Pure numpy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pictocli.lookalikes import SIDE, WINDOWS, Candidates, candidates, stretch
from pictocli.protocols import NoProgress, Progress

__all__ = ["LIKE", "SIDE", "Matches", "groups", "matches"]

LIKE = 0.93
"""Least likeness of copies."""

_DETAILED = 0.8  # least correlation of a copy's detail: bursts on a tripod come to .85, other photographs to .77
_FAINT = 1.5  # levels of 255: detail is measured against what is around it, or this; a horizon alone makes no copy
_FLAT = 5.0  # levels of 255, standard deviation: with less, a picture could be any other such
_SMOOTH = 1.0  # levels of 255, that of what is finer than 5 px: likewise
_STEPS = 16  # windows are cut by 0, 1, … 15 % at either end of a side
_ROUNDS, _BLOCK = 2, 1024
_TILE, _KEPT = 4, 51  # px; tiles of the 64 that are compared, those that agree best
_Floats = NDArray[np.float32]
_Ints = NDArray[np.int64]

_WINDOWS = np.stack([stretch(at / 100, to / 100) for at in range(_STEPS) for to in range(_STEPS)])
_ACROSS = np.ascontiguousarray(_WINDOWS.reshape(len(_WINDOWS), -1).T)
_SQUARES = np.ascontiguousarray((_WINDOWS.transpose(0, 2, 1) @ _WINDOWS).reshape(len(_WINDOWS), -1).T)
_SUMS = np.ascontiguousarray(_WINDOWS.sum(axis=1).T)
_STARTS = np.array([round(at * 100) * _STEPS + round(to * 100) for (at, to), _ in WINDOWS])


@dataclass(frozen=True, slots=True)
class Matches:
    """Pairs of copies: places one[i] < other[i] among the fingerprints; likeness 0..1, the correlation of their pixels.

    flat: whether there is so little in a picture that it was compared with none, bool [n].
    """

    one: _Ints
    other: _Ints
    likeness: _Floats
    flat: NDArray[np.bool_]


def matches(prints: NDArray[np.uint8], least: float = LIKE, progress: Progress | None = None) -> Matches:
    """All pairs of copies among n fingerprints, uint8 [n, SIDE, SIDE], of a likeness of `least` or more.

    Of several that are the same only the first is compared with others, and the rest with that one.
    """
    told = progress or NoProgress()
    flat = np.concatenate([_flat(prints[at : at + _BLOCK]) for at in range(0, max(1, len(prints)), _BLOCK)])
    able = np.flatnonzero(~flat)
    if not len(able):
        return Matches(able, able, np.zeros(0, np.float32), flat)
    rows = np.ascontiguousarray(prints[able].reshape(len(able), -1)).view(f"V{SIDE * SIDE}").ravel()
    first, kind = np.unique(rows, return_index=True, return_inverse=True)[1:]
    repeated = np.flatnonzero(first[kind] != np.arange(len(able)))
    some = able[np.sort(first)]
    found = candidates(prints[some], told)
    alike = _compared(prints[some], found, told)
    copies = np.flatnonzero(alike >= least)
    ends = np.sort(np.stack([some[found.part[copies]], some[found.whole[copies]]]), axis=0)
    one, other = np.concatenate([ends, np.stack([able[first[kind[repeated]]], able[repeated]])], axis=1)
    return Matches(one, other, np.concatenate([alike[copies], np.ones(len(repeated), np.float32)]), flat)


def groups(count: int, found: Matches) -> list[list[tuple[int, float]]]:
    """Groups of copies among `count` pictures: (place, likeness to the first of its group), the first foremost.

    The first is the one with most copies, and all others were compared with it: a chain of pictures, each a
    little unlike the one before it, is no group. Every picture is in one group at most. Ties go by place.
    """
    near: list[list[tuple[int, float]]] = [[] for _ in range(count)]
    for one, other, likeness in zip(found.one.tolist(), found.other.tolist(), found.likeness.tolist(), strict=True):
        near[one].append((other, likeness))
        near[other].append((one, likeness))
    made, taken = [], [False] * count
    for place in sorted((at for at in range(count) if near[at]), key=lambda at: (-len(near[at]), at)):
        left = [(other, likeness) for other, likeness in sorted(near[place]) if not taken[other]]
        if left and not taken[place]:
            made.append([(place, 1.0), *left])
            for member, _ in made[-1]:
                taken[member] = True
    return made


def _flat(prints: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Whether there is too little in each print."""
    pixels = prints.astype(np.float32)
    fine = pixels - _blurred(pixels)
    return np.asarray((pixels.std(axis=(1, 2)) < _FLAT) | (fine.std(axis=(1, 2)) < _SMOOTH))


def _compared(prints: NDArray[np.uint8], found: Candidates, progress: Progress) -> _Floats:
    """How alike the two of each candidate are; 0 where their detail is not."""
    alike = np.zeros(len(found.part), np.float32)
    for start in range(0, len(alike), _BLOCK):
        if start % (16 * _BLOCK) == 0:
            progress.doing(f"comparing {len(alike):,} likely pairs, {start / len(alike):.0%}")
        some = slice(start, start + _BLOCK)
        part, whole = (prints[places[some]].astype(np.float32) for places in (found.part, found.whole))
        for turn in (1, 2, 3):
            these = np.flatnonzero(found.turn[some] == turn)
            part[these] = np.rot90(part[these], turn, axes=(1, 2))
        alike[some] = _alike(part, whole, found.window[some])
        again = np.flatnonzero((alike[some] == 0) & (found.window[some] == 0))  # either may be the part
        if len(again):
            alike[start + again] = _alike(whole[again], part[again], np.zeros(len(again), np.int64))
    progress.doing("")
    return alike


def _alike(part: _Floats, whole: _Floats, window: _Ints) -> _Floats:
    """The likeness of each part [n, SIDE, SIDE] to its place in its whole; 0 where their detail is not alike."""
    laid = _laid(part, whole, window)
    detail = _agreement(_detail(part), _detail(laid))
    return np.where(detail >= _DETAILED, _agreement(_centred(part), _centred(laid)), 0).astype(np.float32)


def _laid(part: _Floats, whole: _Floats, window: _Ints) -> _Floats:
    """The window of each whole [n, SIDE, SIDE] that correlates most with its part, stretched to a print.

    Sides are fitted in turn, beginning with `window`, one of WINDOWS.
    """
    part = _centred(part)
    down = _STARTS[window]
    for _ in range(_ROUNDS):
        across = _fitting(part, _WINDOWS[down] @ whole)
        sideways = (whole @ _WINDOWS[across].transpose(0, 2, 1)).transpose(0, 2, 1)
        down = _fitting(part.transpose(0, 2, 1), sideways)
    return np.asarray(_WINDOWS[down] @ whole @ _WINDOWS[across].transpose(0, 2, 1))


def _fitting(part: _Floats, rows: _Floats) -> _Ints:
    """Which of _WINDOWS of the rows of each picture correlates most with its part, whose mean is 0.

    Of all windows W at once: <part, rows Wᵀ> = <W, partᵀ rows> and |rows Wᵀ|² = <WᵀW, rowsᵀ rows>.
    """
    count, turned = len(rows), rows.transpose(0, 2, 1)
    shared = (part.transpose(0, 2, 1) @ rows).reshape(count, -1) @ _ACROSS
    squares = (turned @ rows).reshape(count, -1) @ _SQUARES
    sums = rows.sum(axis=1) @ _SUMS
    return np.asarray((shared / np.sqrt(np.maximum(squares - sums**2 / SIDE**2, 1e-3))).argmax(axis=1), np.int64)


def _agreement(one: _Floats, other: _Floats) -> _Floats:
    """The correlation of two pictures of mean 0 in their _KEPT tiles that differ least, [n]."""
    scaled = [each / np.sqrt((each**2).mean(axis=(1, 2), keepdims=True) + 1e-6) for each in (one, other)]
    best = np.argsort(_tiles((scaled[0] - scaled[1]) ** 2), axis=1)[:, :_KEPT]
    both, first, second = (
        np.take_along_axis(_tiles(product_), best, axis=1).sum(axis=1)
        for product_ in (one * other, one * one, other * other)
    )
    return np.asarray(both / np.sqrt(first * second + 1e-6))


def _tiles(pictures: _Floats) -> _Floats:
    """The sums of the tiles of each picture, [n, tiles]."""
    count, tiles = len(pictures), SIDE // _TILE
    return np.asarray(pictures.reshape(count, tiles, _TILE, tiles, _TILE).sum(axis=(2, 4)).reshape(count, -1))


def _centred(pictures: _Floats) -> _Floats:
    return np.asarray(pictures - pictures.mean(axis=(1, 2), keepdims=True))


def _detail(pictures: _Floats) -> _Floats:
    """What is finer than 5 px, each pixel over the contrast around it."""
    fine = pictures - _blurred(pictures)
    return np.asarray(fine / np.sqrt(_blurred(_blurred(fine**2)) + _FAINT**2))


def _blurred(pictures: _Floats) -> _Floats:
    """A triangle filter of 5 px, edges repeated."""
    for _ in range(2):
        wide = np.pad(pictures, ((0, 0), (1, 1), (1, 1)), mode="edge")
        rows = wide[:, :-2] + wide[:, 1:-1] + wide[:, 2:]
        pictures = (rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:]) / 9
    return pictures
