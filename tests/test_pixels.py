from __future__ import annotations

import cmath
import colorsys
import io
import math
import statistics
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from pictocli.pixels import jpeg_quality, measure
from pictocli.rules import METRICS, compile_rule
from pictocli.taxonomy import load

RULES = {name: compile_rule(text) for name, text in load().rules.items()}
SEPIA = np.array([[0.393, 0.349, 0.272], [0.769, 0.686, 0.534], [0.189, 0.168, 0.131]])  # the usual filter matrix


def scene(width: int = 480, height: int = 360, seed: int = 1) -> Image.Image:
    """Blotches of every size, in muted colours: what a photograph's statistics are like."""
    random = np.random.default_rng(seed)
    total = np.full((height, width, 3), 115.0)
    for cells, strength in ((3, 55), (10, 45), (40, 30), (160, 45)):
        grid = random.normal(128, 40, (max(1, cells * height // width), cells, 3)).clip(0, 255).astype(np.uint8)
        layer = (np.asarray(Image.fromarray(grid).resize((width, height)), float) - 128) * strength / 40
        total += 0.3 * layer + 0.7 * layer[..., :1]
    return picture(total)


def picture(values: NDArray[np.float64]) -> Image.Image:
    return Image.fromarray(values.clip(0, 255).round().astype(np.uint8))


def plain(width: int, height: int, colour: tuple[int, int, int]) -> Image.Image:
    return Image.new("RGB", (width, height), colour)


def measures(image: Image.Image) -> dict[str, float]:
    return measure(image, stored_size=image.size)


def tags(found: dict[str, float]) -> set[str]:
    return {name for name, rule in RULES.items() if rule.matches(found)}


# ---- Slow references, written from the definitions ----


def luma_of(image: Image.Image) -> list[list[int]]:
    """0..255 per pixel, row by row."""
    rows = np.asarray(image).tolist()
    return [[int(0.2126 * r + 0.7152 * g + 0.0722 * b + 0.5) for r, g, b in row] for row in rows]


def convolved(y: list[list[int]], kernel: tuple[tuple[int, ...], ...]) -> list[list[int]]:
    return [
        [
            sum(kernel[i][j] * y[row + i - 1][column + j - 1] for i in range(3) for j in range(3))
            for column in range(1, len(y[0]) - 1)
        ]
        for row in range(1, len(y) - 1)
    ]


def tiles(values: list[list[int]]) -> list[list[int]]:
    rows = [len(values) * tile // 6 for tile in range(7)]
    columns = [len(values[0]) * tile // 6 for tile in range(7)]
    return [
        [value for line in values[rows[i] : rows[i + 1]] for value in line[columns[j] : columns[j + 1]]]
        for i in range(6)
        for j in range(6)
    ]


def slow_noise(y: list[list[int]]) -> float:
    """Of a picture under 512 px: a patch has the size of the smallest tile, and its response is taken within it."""
    height, width = len(y) // 6, len(y[0]) // 6
    patches = [
        [line[left : left + width] for line in y[top : top + height]]
        for top in (int((row + 0.5) * len(y) / 6 - height / 2) for row in range(6))
        for left in (int((column + 0.5) * len(y[0]) / 6 - width / 2) for column in range(6))
    ]
    kernel = ((1, -2, 1), (-2, 4, -2), (1, -2, 1))
    responses = [statistics.mean(abs(value) for row in convolved(patch, kernel) for value in row) for patch in patches]
    return math.sqrt(math.pi / 2) / 6 * statistics.mean(sorted(responses)[:9])


def slow_detail(y: list[list[int]]) -> dict[str, float]:
    variances = [statistics.pvariance(tile) for tile in tiles(convolved(y, ((0, 1, 0), (1, -4, 1), (0, 1, 0))))]
    across = convolved(y, ((-1, 0, 1), (-2, 0, 2), (-1, 0, 1)))
    down = convolved(y, ((-1, -2, -1), (0, 0, 0), (1, 2, 1)))
    steep = [
        math.hypot(a, d) / (4 * 255) > 0.12
        for one, two in zip(across, down, strict=True)
        for a, d in zip(one, two, strict=True)
    ]
    return {
        "tile_vol_p97": float(np.percentile(variances, 97)),
        "noise_sigma": slow_noise(y),
        "edge_density": statistics.mean(steep),
    }


def in_frame(width: int, height: int) -> list[tuple[bool, bool]]:
    """Per pixel, row by row: whether it lies in the outer 12% above or below, and left or right."""
    dy, dx = round(0.12 * height), round(0.12 * width)
    return [
        (row < dy or row >= height - dy, column < dx or column >= width - dx)
        for row in range(height)
        for column in range(width)
    ]


def slow_corners(y: list[list[int]]) -> dict[str, float]:
    height, width = len(y), len(y[0])
    rows = (range(round(0.12 * height)), range(height - round(0.12 * height), height))
    columns = (range(round(0.12 * width)), range(width - round(0.12 * width), width))
    middle_row = range(round(0.35 * height), height - round(0.35 * height))
    middle_column = range(round(0.35 * width), width - round(0.35 * width))

    def mean(row: range, column: range) -> float:
        return statistics.mean(y[at][beside] for at in row for beside in column)

    corners = [mean(row, column) for row in rows for column in columns]
    edges = [(mean(row, middle_column) + mean(middle_row, column)) / 2 for row in rows for column in columns]
    return {
        "corner_center_ratio": statistics.mean(corners) / mean(middle_row, middle_column),
        "corner_falloff": max(corner / edge for corner, edge in zip(corners, edges, strict=True)),
    }


def slow_frame_plain(image: Image.Image) -> float:
    pixels = np.asarray(image).reshape(-1, 3).tolist()
    frame = [pixel for pixel, ends in zip(pixels, in_frame(*image.size), strict=True) if any(ends)]
    medians = [statistics.median(pixel[channel] for pixel in frame) for channel in range(3)]
    return statistics.mean(all(abs(v - m) <= 12 for v, m in zip(pixel, medians, strict=True)) for pixel in frame)


def slow_light(y: list[list[int]]) -> dict[str, float]:
    flat = sorted(value / 255 for row in y for value in row)
    rank = {part: flat[math.ceil(part * len(flat)) - 1] for part in (0.01, 0.1, 0.5, 0.95, 0.99)}
    level = [[value - statistics.mean(row) for value in row] for row in y]  # under 64 px nothing is reduced
    residue = [value for row in level for value in row]
    mirrored = [value for row in level for value in row[::-1]]
    return {
        "luma_mean": statistics.mean(flat),
        "luma_p10": rank[0.1],
        "luma_p50": rank[0.5],
        "luma_p95": rank[0.95],
        "luma_p99": rank[0.99],
        "luma_p99_p1": rank[0.99] - rank[0.01],
        "luma_rms": statistics.pstdev(flat),
        "clip_high": statistics.mean(value >= 0.98 for value in flat),
        "clip_low": statistics.mean(value <= 0.02 for value in flat),
        "flip_corr": statistics.correlation(residue, mirrored),
        **slow_corners(y),
    }


def slow_lab_b(red: int, green: int, blue: int) -> float:
    linear = [v / 255 / 12.92 if v / 255 <= 0.04045 else ((v / 255 + 0.055) / 1.055) ** 2.4 for v in (red, green, blue)]
    y = 0.2126729 * linear[0] + 0.7151522 * linear[1] + 0.0721750 * linear[2]
    z = (0.0193339 * linear[0] + 0.1191920 * linear[1] + 0.9503041 * linear[2]) / 1.08883
    f = [t ** (1 / 3) if t > (6 / 29) ** 3 else t / (3 * (6 / 29) ** 2) + 4 / 29 for t in (y, z)]
    return 200 * (f[0] - f[1])


def slow_colour(image: Image.Image) -> dict[str, float]:
    pixels = np.asarray(image).reshape(-1, 3).tolist()
    # On integers: s is then the nearest float to its fraction, and 10/100 is not above 0.1.
    hsv = [(h * 360, s, v / 255) for h, s, v in (colorsys.rgb_to_hsv(*pixel) for pixel in pixels)]
    red_green = [r - g for r, g, b in pixels]
    yellow_blue = [(r + g) / 2 - b for r, g, b in pixels]
    chroma = sorted(max(pixel) - min(pixel) for pixel in pixels)
    mean = statistics.mean(cmath.rect(1, math.radians(h)).real for h, s, v in hsv if s > 0.1) + 1j * statistics.mean(
        cmath.rect(1, math.radians(h)).imag for h, s, v in hsv if s > 0.1
    )
    ends = {"orange": (15, 45), "yellow": (45, 70), "green": (70, 165), "teal": (165, 200)}
    ends |= {"blue": (200, 255), "purple": (255, 300), "pink": (300, 345)}
    coloured = [h if s > 0.25 and v > 0.2 else math.nan for h, s, v in hsv]
    return {
        "colorfulness": math.hypot(statistics.pstdev(red_green), statistics.pstdev(yellow_blue))
        + 0.3 * math.hypot(statistics.mean(red_green), statistics.mean(yellow_blue)),
        "chroma_mean": statistics.mean(chroma),
        "chroma_p99": chroma[math.ceil(0.99 * len(chroma)) - 1],
        "hue_mean": math.degrees(cmath.phase(mean)) % 360,
        "hue_std": math.degrees(math.sqrt(-2 * math.log(abs(mean)))),
        "lab_b_mean": statistics.mean(slow_lab_b(*pixel) for pixel in pixels),
        "hue_share_red": statistics.mean(h >= 345 or h < 15 for h in coloured),
        **{
            f"hue_share_{name}": statistics.mean(low <= h < high for h in coloured)
            for name, (low, high) in ends.items()
        },
        "share_brown": statistics.mean(10 <= h < 45 and s > 0.25 and 0.15 < v < 0.6 for h, s, v in hsv),
        "share_black": statistics.mean(v < 0.12 for h, s, v in hsv),
        "share_white": statistics.mean(v > 0.92 and s < 0.08 for h, s, v in hsv),
        "share_gray": statistics.mean(s < 0.10 and 0.12 <= v <= 0.92 for h, s, v in hsv),
    }


@pytest.mark.parametrize(
    "image",
    [
        pytest.param(scene(61, 47), id="scene"),
        pytest.param(picture(np.random.default_rng(2).uniform(-40, 300, (40, 50, 3))), id="noise-clipped-at-both-ends"),
        pytest.param(picture(np.asarray(scene(48, 64), float) * [0.5, 0.35, 0.2]), id="brown"),
    ],
)
def test_every_measure_equals_its_definition(image: Image.Image) -> None:
    found = measures(image)
    y = luma_of(image)
    expected = slow_light(y) | slow_detail(y) | slow_colour(image) | {"frame_plain": slow_frame_plain(image)}
    shares = {name for name in expected if "share_" in name}
    exact = set(expected) - shares
    assert {name: found[name] for name in exact} == pytest.approx({name: expected[name] for name in exact}, 2e-4, 5e-5)
    # Three pixels either way: a hue of just 45° is one ulp on either side of it in float32 and in colorsys.
    allowed = 3.1 / (image.width * image.height)
    assert {name: found[name] for name in shares} == pytest.approx(
        {name: expected[name] for name in shares}, abs=allowed
    )
    left = {"blockiness", "solid_border_px", "aspect", "max_side", "megapixels"}
    assert set(found) - set(expected) == left


@pytest.mark.parametrize(
    "size", [(1, 1), (1, 5000), (5000, 1), (2, 2), (3, 3), (7, 4), (513, 2)], ids=lambda size: f"{size[0]}x{size[1]}"
)
@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (128, 128, 128), (255, 0, 0)], ids=str)
def test_any_size_gives_finite_numbers(size: tuple[int, int], colour: tuple[int, int, int]) -> None:
    found = measures(plain(*size, colour))
    assert set(found) == set(METRICS)
    assert all(type(value) is float and math.isfinite(value) for value in found.values())
    assert found["tile_vol_p97"] == found["noise_sigma"] == found["edge_density"] == found["solid_border_px"] == 0


def test_a_blank_page_has_no_faults() -> None:
    assert tags(measures(plain(210, 297, (255, 255, 255)))) == {
        *("low-resolution", "bright", "high-key", "low-contrast", "grayscale", "white", "portrait-orientation"),
        "plain-background",
    }


def test_one_red_is_measured_as_computed_by_hand() -> None:
    found = measures(plain(100, 100, (255, 0, 0)))
    assert found["luma_mean"] == pytest.approx(54 / 255, rel=1e-4)  # 0.2126 × 255 = 54.2
    assert found["colorfulness"] == pytest.approx(0.3 * math.hypot(255, 127.5), rel=1e-4)
    assert (found["hue_mean"], found["hue_std"], found["hue_share_red"]) == (0, 0, 1)
    assert found["lab_b_mean"] == pytest.approx(67.2, abs=0.05)  # Lindbloom: sRGB red is L 53.24, a 80.09, b 67.20


def test_numbers_of_the_file_come_from_the_stored_size() -> None:
    found = measure(scene(64, 48), stored_size=(12345, 9258))
    assert (found["max_side"], found["aspect"], found["megapixels"]) == (12345, 1.3334, 114.29)


def test_numbers_are_rounded_to_five_digits() -> None:
    assert all(value == float(f"{value:.5g}") for value in measures(scene()).values())


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1"])
def test_other_modes_are_converted(mode: str) -> None:
    assert set(measures(scene(64, 48).convert(mode))) == set(METRICS)


def test_a_large_picture_is_reduced_and_a_small_one_never_enlarged() -> None:
    small = scene(512, 384)
    large = small.resize((2048, 1536), Image.Resampling.BICUBIC)
    found, again = measures(small), measures(large)
    for name in ("luma_mean", "luma_rms", "luma_p50", "colorfulness", "lab_b_mean", "flip_corr"):
        assert again[name] == pytest.approx(found[name], rel=0.03, abs=0.01), name
    pixel = picture(np.asarray(scene(12, 12), float).repeat(2, 0))
    assert measures(pixel)["tile_vol_p97"] > 500  # enlarging would have smoothed it


# ---- What a change of the picture does to its tags ----

Change = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def unchanged(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return values


def blurred(radius: float) -> Change:
    return lambda values: np.asarray(picture(values).filter(ImageFilter.GaussianBlur(radius)), float)


def noisy(sigma: float) -> Change:
    return lambda values: values + np.random.default_rng(5).normal(0, sigma, values.shape)


def exposed(stops: float) -> Change:
    return lambda values: 255 * ((values / 255) ** 2.2 * 2**stops) ** (1 / 2.2)


def grey(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(values.mean(axis=2, keepdims=True).repeat(3, axis=2))


def vivid(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return grey(values) + 3 * (values - grey(values))


def vignetted(values: NDArray[np.float64]) -> NDArray[np.float64]:
    height, width = values.shape[:2]
    y, x = np.mgrid[:height, :width]
    return np.asarray(values * (1 - 1.7 * ((x / width - 0.5) ** 2 + (y / height - 0.5) ** 2))[..., None])


def letterboxed(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.pad(values, ((40, 40), (0, 0), (0, 0)))


def framed(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.pad(values, ((12, 12), (12, 12), (0, 0)), constant_values=250)


def barred_once(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.pad(values, ((40, 0), (0, 0), (0, 0)))


def cut_out(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """A disc of the picture on white, as in a catalogue."""
    height, width = values.shape[:2]
    y, x = np.mgrid[:height, :width]
    return np.where(((x - width / 2) ** 2 + (y - height / 2) ** 2 < (height / 3) ** 2)[..., None], values, 255)


def mirrored(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.concatenate([values, values[:, ::-1]], axis=1)


@pytest.mark.parametrize(
    ("change", "gained", "without"),
    [
        pytest.param(
            unchanged, {"sharp"}, {"blurry", "noisy", "dark", "bright", "grayscale", "bordered"}, id="as-it-is"
        ),
        pytest.param(blurred(2), {"blurry"}, {"sharp"}, id="blurred"),
        pytest.param(noisy(20), {"noisy", "sharp"}, {"blurry"}, id="noise-20"),
        pytest.param(noisy(2), set(), {"noisy"}, id="noise-2"),
        pytest.param(exposed(-3), {"dark", "underexposed", "low-light"}, {"overexposed"}, id="three-stops-under"),
        pytest.param(exposed(2), {"bright", "overexposed"}, {"dark", "underexposed"}, id="two-stops-over"),
        pytest.param(lambda v: 120 + (v - 120) / 5, {"low-contrast", "muted"}, {"high-contrast"}, id="flat"),
        pytest.param(lambda v: 120 + 3 * (v - 120), {"high-contrast"}, {"low-contrast"}, id="steep"),
        pytest.param(grey, {"grayscale"}, {"muted", "colorful", "sepia", "warm-toned"}, id="grey"),
        pytest.param(lambda v: v @ SEPIA, {"sepia", "warm-toned"}, {"grayscale", "cool-toned"}, id="sepia"),
        pytest.param(lambda v: grey(v) * [1, 0.99, 0.96], set(), {"sepia"}, id="faint-cast"),
        pytest.param(vivid, {"colorful"}, {"muted", "grayscale"}, id="vivid"),
        pytest.param(lambda v: v * [0.75, 0.9, 1.2], {"cool-toned"}, {"warm-toned"}, id="cool"),
        pytest.param(lambda v: v * [1.2, 1, 0.6], {"warm-toned"}, {"cool-toned"}, id="warm"),
        pytest.param(lambda v: grey(v) * [0.3, 1, 0.2], {"green"}, {"warm-toned", "yellow"}, id="foliage-is-not-warm"),
        pytest.param(vignetted, {"vignetted"}, set(), id="vignette"),
        pytest.param(letterboxed, {"bordered"}, set(), id="letterbox"),
        pytest.param(framed, {"bordered"}, set(), id="frame"),
        pytest.param(barred_once, set(), {"bordered"}, id="bar-on-one-side"),
        pytest.param(cut_out, {"plain-background", "white"}, {"bordered", "overexposed"}, id="cut-out-on-white"),
        pytest.param(lambda v: 255 - cut_out(255 - v), {"black"}, {"vignetted"}, id="cut-out-on-black"),
        pytest.param(mirrored, {"symmetrical", "panoramic"}, set(), id="mirrored"),
        pytest.param(lambda v: v[:, :100], {"portrait-orientation"}, {"landscape-orientation"}, id="upright-strip"),
        pytest.param(lambda v: v[:340, :350], {"square-format"}, {"landscape-orientation"}, id="nearly-square"),
    ],
)
def test_a_change_brings_its_tags(change: Change, gained: set[str], without: set[str]) -> None:
    found = tags(measures(picture(change(np.asarray(scene(), float)))))
    assert gained <= found
    assert not without & found


@pytest.mark.parametrize(
    ("colour", "name"),
    [
        pytest.param((200, 30, 30), "red", id="red"),
        pytest.param((240, 130, 20), "orange-color", id="orange"),
        pytest.param((230, 220, 40), "yellow", id="yellow"),
        pytest.param((40, 160, 60), "green", id="green"),
        pytest.param((30, 170, 170), "teal", id="teal"),
        pytest.param((40, 80, 200), "blue", id="blue"),
        pytest.param((120, 50, 200), "purple", id="purple"),
        pytest.param((230, 60, 180), "pink", id="pink"),
        pytest.param((120, 75, 40), "brown", id="brown"),
        pytest.param((12, 12, 14), "black", id="black"),
        pytest.param((250, 250, 248), "white", id="white"),
        pytest.param((120, 122, 121), "gray", id="gray"),
    ],
)
def test_a_colour_is_called_by_its_name(colour: tuple[int, int, int], name: str) -> None:
    colours = {"red", "orange-color", "yellow", "green", "teal", "blue", "purple", "pink", "black", "white", "gray"}
    found = tags(measures(plain(90, 60, colour)))
    assert name in found
    assert found & (colours - {name, "orange-color"}) == set()  # brown is dark orange


@pytest.mark.parametrize(
    ("bands", "width"),
    [
        pytest.param((7, 7, 0, 0), 7, id="top-and-bottom"),
        pytest.param((0, 0, 20, 9), 9, id="the-narrower-of-two"),
        pytest.param((5, 6, 30, 31), 30, id="the-wider-pair"),
        pytest.param((30, 0, 30, 0), 0, id="no-opposite"),
    ],
)
def test_solid_border_px(bands: tuple[int, int, int, int], width: int) -> None:
    top, bottom, left, right = bands
    padded = np.pad(np.asarray(scene(200, 150), float), ((top, bottom), (left, right), (0, 0)), constant_values=3)
    assert measures(picture(padded))["solid_border_px"] == width


def test_bands_of_two_colours_are_no_border() -> None:
    values = np.asarray(scene(200, 150), float).copy()
    values[:20], values[-20:] = 0, 255
    assert measures(picture(values))["solid_border_px"] == 0


# ---- JPEG ----


def tables(quality: int) -> dict[int, list[int]]:
    stream = io.BytesIO()
    plain(16, 16, (9, 9, 9)).save(stream, "JPEG", quality=quality)
    with Image.open(stream) as image:
        return dict(image.quantization)  # type: ignore[attr-defined]


@pytest.mark.parametrize("quality", [20, 30, 45, 50, 55, 75, 85, 90, 95, 100])
def test_jpeg_quality_is_that_of_libjpeg(quality: int) -> None:
    assert jpeg_quality(tables(quality)) == pytest.approx(quality, abs=1)


@pytest.mark.parametrize("quality", [1, 10, 30, 31, 50, 75, 95])
def test_compressed_up_to_quality_30(quality: int) -> None:
    image = scene(64, 48)
    found = measure(image, stored_size=image.size, jpeg_quantization=tables(quality))
    assert ("compressed" in tags(found)) is (quality <= 30)


def test_blockiness_falls_with_quality_and_is_one_without_tables() -> None:
    image = plain(8, 8, (0, 0, 0))

    def blockiness(quantization: dict[int, list[int]] | None) -> float:
        return measure(image, stored_size=image.size, jpeg_quantization=quantization)["blockiness"]

    falling = [blockiness(tables(quality)) for quality in range(1, 101)]
    assert falling == sorted(falling, reverse=True)
    assert 1 < falling[-1] < 1.01
    assert blockiness(None) == blockiness({}) == blockiness({0: []}) == blockiness({0: [0] * 64}) == 1
