"""Fingerprints and their comparison: which copies are found, what is none, and groups without chains."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from evaluation import duplicates
from numpy.typing import NDArray
from pictures import scene
from PIL import Image

from pictocli.fingerprints import SIDE, fingerprint
from pictocli.lookalikes import candidates, stretch
from pictocli.matching import LIKE, Matches, groups, matches
from pictocli.protocols import NoProgress


def photo(seed: int, width: int = 320, height: int = 240) -> Image.Image:
    """A picture with detail at every scale, as photographs have it."""
    chance = np.random.default_rng(seed)
    layers = [
        Image.fromarray(chance.integers(0, 256, (3 * 2**at, 4 * 2**at, 3), dtype=np.uint8)).resize(
            (width, height), Image.Resampling.BICUBIC
        )
        for at in range(4)
    ]
    mixed = sum(np.asarray(layer, float) / 2**at for at, layer in enumerate(layers)) / 1.875
    return Image.fromarray(mixed.astype(np.uint8))


def printed(*images: Image.Image) -> NDArray[np.uint8]:
    squares = [np.asarray(image.convert("RGB").resize((224, 224), Image.Resampling.BILINEAR)) for image in images]
    return np.frombuffer(b"".join(map(fingerprint, squares)), np.uint8).reshape(-1, SIDE, SIDE)


def pairs(found: Matches) -> list[tuple[int, int]]:
    return sorted(zip(found.one.tolist(), found.other.tolist(), strict=True))


def test_a_fingerprint_is_the_mean_of_what_it_stands_for() -> None:
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[:2, :2] = [[[255] * 3, [0] * 3], [[0] * 3, [0] * 3]]
    pixels[62:, 62:] = (255, 0, 0)
    found = np.frombuffer(fingerprint(pixels), np.uint8).reshape(SIDE, SIDE)
    assert (found[0, 0], found[-1, -1], found[5:25].max()) == (64, 76, 0)  # 255 / 4; .299 × 255


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        pytest.param(0, 0, np.arange(32), id="nothing cut"),
        pytest.param(0.5, 0, 15.75 + np.arange(32) / 2, id="the first half"),
        pytest.param(0, 0.5, np.maximum(0, -0.25 + np.arange(32) / 2), id="the second half"),
    ],
)
def test_stretch(before: float, after: float, expected: NDArray[np.float64]) -> None:
    assert stretch(before, after) @ np.arange(32.0) == pytest.approx(np.clip(expected, 0, 31))


TURNS = {
    "90": Image.Transpose.ROTATE_90, "180": Image.Transpose.ROTATE_180, "270": Image.Transpose.ROTATE_270,
}  # fmt: skip
COPIES = {
    **{f"turned by {name}": lambda image, turn=turn: image.transpose(turn) for name, turn in TURNS.items()},
    "a third as large": lambda image: image.resize((107, 80), Image.Resampling.LANCZOS),
    "another shape": lambda image: image.resize((320, 320)),
    "darker": lambda image: image.point(lambda value: value // 2 + 10),
    "a tenth cut off the left": lambda image: image.crop((32, 0, 320, 240)),
    "a seventh cut off two sides": lambda image: image.crop((0, 34, 275, 240)),
    "a tenth cut off every side": lambda image: image.crop((32, 24, 288, 216)),
}
OTHERS = {
    "mirrored": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "another picture": lambda image: photo(99),  # noqa: ARG005 - one of many
    "its middle": lambda image: image.crop((80, 60, 240, 180)),
    "negative": lambda image: image.point(lambda value: 255 - value),
}


@pytest.mark.parametrize("first", [False, True], ids=["original first", "copy first"])
@pytest.mark.parametrize("name", COPIES)
def test_copies_are_found(name: str, first: bool) -> None:
    original = photo(1)
    both = [original, COPIES[name](original)]
    found = matches(printed(*(both[::-1] if first else both), photo(2), photo(3)))
    assert pairs(found) == [(0, 1)]
    assert found.likeness[0] >= LIKE
    assert not found.flat.any()


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_no_copy(name: str) -> None:
    original = photo(1)
    assert pairs(matches(printed(original, OTHERS[name](original)))) == []


def test_two_shots_of_a_moving_camera_are_no_copies() -> None:
    whole = photo(4, 400, 300)
    shots = [whole.crop((left, left, left + 360, left + 260)) for left in (0, 36)]
    assert pairs(matches(printed(*shots))) == []
    assert pairs(matches(printed(whole, *shots))) == [(0, 1), (0, 2)]  # each is a part of the whole


def test_what_has_little_in_it_is_not_compared() -> None:
    blank = Image.new("RGB", (100, 100), (250, 250, 250))
    faint = Image.fromarray(np.random.default_rng(0).integers(120, 125, (100, 100), dtype=np.uint8))
    found = matches(printed(blank, blank, faint, faint, photo(1)))
    assert (pairs(found), found.flat.tolist()) == ([], [True, True, True, True, False])


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few(count: int) -> None:
    found = matches(printed(*[photo(1)] * count) if count else np.zeros((0, SIDE, SIDE), np.uint8))
    assert pairs(found) == [(0, 1)] * (count == 2)


def test_many_of_the_same_fingerprint_are_paired_with_the_first() -> None:
    found = matches(printed(*[photo(1)] * 500, photo(2)))
    assert pairs(found) == [(0, at) for at in range(1, 500)]
    assert set(found.likeness.tolist()) == {1.0}


def test_candidates_in_many_cells() -> None:
    """1,500 pictures and a crop of each: what the cells leave out is two in a hundred at most."""
    chance = np.random.default_rng(0)
    waves = np.maximum(1, np.hypot(*np.meshgrid(*[np.fft.fftfreq(SIDE) * SIDE] * 2)))
    noise = np.fft.ifft2(np.fft.fft2(chance.standard_normal((1500, SIDE, SIDE))) / waves).real
    whole = 128 + 45 * noise / noise.std(axis=(1, 2), keepdims=True)
    cut = stretch(0.1, 0) @ whole @ stretch(0.03, 0.06).T
    found = candidates(np.clip(np.concatenate([whole, cut]), 0, 255).astype(np.uint8), NoProgress())
    low, high = np.minimum(found.part, found.whole), np.maximum(found.part, found.whole)
    told = set(zip(low.tolist(), high.tolist(), strict=True))
    assert len(told) == len(found.part)
    assert sum((at, at + 1500) in told for at in range(1500)) >= 1470
    assert len(told) < 1600


def linked(count: int, edges: list[tuple[int, int]], likeness: float = 0.95) -> list[list[int]]:
    one, other = (np.array([edge[at] for edge in edges], np.int64) for at in (0, 1))
    found = Matches(one, other, np.full(len(edges), likeness, np.float32), np.zeros(count, bool))
    return [[place for place, _ in group] for group in groups(count, found)]


@pytest.mark.parametrize(
    ("edges", "expected"),
    [
        pytest.param([], [], id="none"),
        pytest.param([(0, 1)], [[0, 1]], id="a pair"),
        pytest.param([(0, 1), (0, 2), (1, 2)], [[0, 1, 2]], id="all alike"),
        pytest.param([(0, 3), (1, 3), (2, 3)], [[3, 0, 1, 2]], id="crops of one"),
        pytest.param(list(pairwise(range(5))), [[1, 0, 2], [3, 4]], id="a chain is cut"),
    ],
)
def test_groups(edges: list[tuple[int, int]], expected: list[list[int]]) -> None:
    assert linked(5, edges) == expected


def test_smooth_scenes_are_told_apart() -> None:
    assert pairs(matches(printed(*(scene(seed) for seed in range(40))))) == []


def test_copies_of_photographs_are_found_as_the_readme_says() -> None:
    """A third of the sample images: 21 copies of each, and what is none."""
    found = duplicates.measured(duplicates.pictures(duplicates.SAMPLES, 3, 14))
    ours, theirs = found["picto duplicates"], found["PHash, 10 bits"]
    assert ours.recall["all"] >= 0.98
    assert min(ours.recall.values()) >= 0.95
    assert ours.precision >= 0.99
    assert theirs.recall["recompressed"] == 1  # it is the real one's algorithm, or would find nothing
    assert theirs.recall["all"] < ours.recall["all"]
