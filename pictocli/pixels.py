"""What can be measured in the pixels themselves: light, sharpness, noise, colour, layout. Pure numpy and PIL.

`taxonomy.toml` [metrics] defines every number; rules over them decide the pixel tags. Detail (blur, edges) is measured
at 512 px on the longest side, noise in patches at 2048, colour on a box-reduced copy of at most 128: 16 times fewer
pixels than 512, and shares of the picture stay the same within a percent.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pictocli.rules import COLOURS

__all__ = ["jpeg_quality", "measure"]

_SIDE = 512  # px: blur cannot be judged at the model's 224
_NOISE_SIDE = 2048  # about a full screen: averaging 12 megapixels down to 512 px leaves an eighth of their noise
_MIRROR_SIDE = 64  # no façade mirrors to the pixel
_COLOUR_SIDE = 128
_TILES = 6
_LUMA = (0.2126, 0.7152, 0.0722, 0.0)  # Rec. 709, on gamma-encoded values
_SOBEL_STEP = 0.12
_BAND_TOLERANCE = 8  # of 255: what JPEG ringing leaves in a solid bar
_PLAIN_TOLERANCE = 12  # of 255: lit cloth is not as even as a bar
_HUE_EDGES = (15.0, 45.0, 70.0, 165.0, 200.0, 255.0, 300.0, 345.0)  # ends of COLOURS; red wraps round 0
_IJG_SUM = 3688  # sum of the example luminance table of ITU T.81 K.1, which is libjpeg's quality 50

_LEVELS = np.arange(256) / 255.0
_LINEAR = np.where(_LEVELS <= 0.04045, _LEVELS / 12.92, ((_LEVELS + 0.055) / 1.055) ** 2.4).astype(np.float32)
_TO_Y = np.array([0.2126729, 0.7151522, 0.0721750], np.float32)  # sRGB D65 to CIE Y
_TO_Z = np.array([0.0193339, 0.1191920, 0.9503041], np.float32) / np.float32(1.08883)  # to Z over D65 white


def measure(
    image: Image.Image,
    *,
    stored_size: tuple[int, int],
    jpeg_quantization: Mapping[int, Sequence[int]] | None = None,
) -> dict[str, float]:
    """Measure one picture: every metric of `rules.METRICS`, finite, five significant digits.

    image: upright, decoded, any size; not RGB is converted; never enlarged. stored_size: upright (width, height) of
    the file in px. jpeg_quantization: PIL's `image.quantization` of a JPEG, None for everything else.
    """
    image = image if image.mode == "RGB" else image.convert("RGB")
    rgb = _reduced(image)
    luma = rgb.convert("L", _LUMA)
    y = np.asarray(luma)
    step = math.ceil(max(rgb.size) / _COLOUR_SIDE)
    width, height = stored_size
    found = {
        **_light(luma.histogram()),
        **_detail(y),
        "noise_sigma": _noise(image),
        "blockiness": _blockiness(jpeg_quantization),
        **_colour(np.asarray(rgb.reduce(step)).reshape(-1, 3)),
        **_corners(y),
        "flip_corr": _flip_correlation(luma),
        "frame_plain": _frame_plain(np.asarray(rgb)[::step, ::step]),  # not reduced: that would even out a lawn
        "solid_border_px": float(_solid_border(np.asarray(rgb))),
        "aspect": width / height,
        "megapixels": width * height / 1e6,
    }
    return {name: float(f"{value:.5g}") for name, value in found.items()} | {"max_side": float(max(stored_size))}


def jpeg_quality(quantization: Mapping[int, Sequence[int]]) -> float:
    """The libjpeg quality, 1..100, whose luminance table has the same mean step as this file's.

    libjpeg's jpeg_quality_scaling: step = 50 / quality below 50, 2 − quality / 50 from there, times the example table.
    Tables of other makers get the quality of equal coarseness. The order of the 64 values (zigzag or not) is no matter.
    """
    table = quantization[min(quantization)]
    step = 64 * sum(table) / (len(table) * _IJG_SUM)
    return min(100.0, max(1.0, 50 / step if step > 1 else 100 - 50 * step))


def _reduced(image: Image.Image) -> Image.Image:
    """At most 512 px on the longest side, antialiased (triangle filter after an integer box reduction)."""
    longest = max(image.size)
    if longest <= _SIDE:
        return image
    width, height = (max(1, round(side * _SIDE / longest)) for side in image.size)
    return image.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=2.0)


def _light(histogram: list[int]) -> dict[str, float]:
    """Brightness and contrast from the 256 counts of y; percentiles are exact to one level of 255."""
    counts = np.asarray(histogram, np.float64)
    share = counts / counts.sum()
    reached = np.cumsum(share)

    def percentile(part: float) -> float:
        return float(_LEVELS[np.searchsorted(reached, part - 1e-9)])

    mean = float(share @ _LEVELS)
    return {
        "luma_mean": mean,
        "luma_p10": percentile(0.10),
        "luma_p50": percentile(0.50),
        "luma_p95": percentile(0.95),
        "luma_p99": percentile(0.99),
        "luma_p99_p1": percentile(0.99) - percentile(0.01),
        "luma_rms": math.sqrt(float(share @ (_LEVELS - mean) ** 2)),
        "clip_high": float(share[_LEVELS >= 0.98].sum()),
        "clip_low": float(share[_LEVELS <= 0.02].sum()),
    }


def _detail(y: NDArray[np.uint8]) -> dict[str, float]:
    """Blur and edges of y, uint8 [h, w], over inner pixels; all 0 where a side is under 3 px.

    Laplacian variance: Pech-Pacheco 2000. Sobel: kernels divided by 4, so that black to white has magnitude 1.
    """
    if min(y.shape) < 3:
        return {"tile_vol_p97": 0.0, "edge_density": 0.0}
    values = y.astype(np.int16)
    around = values[:-2, 1:-1] + values[2:, 1:-1] + values[1:-1, :-2] + values[1:-1, 2:]
    laplacian = (around - 4 * values[1:-1, 1:-1]).astype(np.float32)
    variance = np.maximum(_tile_means(laplacian**2) - _tile_means(laplacian) ** 2, 0.0)
    columns = values[:-2] + 2 * values[1:-1] + values[2:]
    rows = values[:, :-2] + 2 * values[:, 1:-1] + values[:, 2:]
    horizontal = (columns[:, 2:] - columns[:, :-2]).astype(np.float32)
    vertical = (rows[2:] - rows[:-2]).astype(np.float32)
    steep = horizontal**2 + vertical**2 > (4 * 255 * _SOBEL_STEP) ** 2
    return {
        "tile_vol_p97": float(np.percentile(variance, 97)),
        "edge_density": np.count_nonzero(steep) / steep.size,
    }


def _noise(image: Image.Image) -> float:
    """σ of the noise on 255·y at up to 2048 px; 0 where a patch is under 3 px.

    Immerkaer 1996, σ = √(π/2)/6 · mean |N∗I|, of the quietest quarter of 6x6 patches, where texture hardly adds to it.
    A patch is the middle of a tile, at most 85 px wide: no more pixels than at 512 px, whatever the picture's size.
    """
    scale = max(1.0, max(image.size) / _NOISE_SIDE)
    width, height = (min(_SIDE, int(side / scale)) // _TILES for side in image.size)
    if min(width, height) < 3:
        return 0.0
    found = []
    for row, column in np.ndindex(_TILES, _TILES):
        # From a whole pixel on: at scale 1 this copies, and interpolation would take part of the noise away.
        left = int((column + 0.5) * image.width / _TILES - width * scale / 2)
        top = int((row + 0.5) * image.height / _TILES - height * scale / 2)
        box = (left, top, min(left + width * scale, image.width), min(top + height * scale, image.height))
        y = np.asarray(image.resize((width, height), Image.Resampling.BOX, box).convert("L", _LUMA), np.int16)
        down = y[:-2] - 2 * y[1:-1] + y[2:]  # [1 −2 1] crossed with itself is N
        found.append(float(np.abs(down[:, :-2] - 2 * down[:, 1:-1] + down[:, 2:]).mean()))
    return math.sqrt(math.pi / 2) / 6 * float(np.mean(sorted(found)[: _TILES**2 // 4]))


def _tile_means(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """Mean of each tile of a 6x6 grid (fewer where there are fewer pixels), row by row: float64 [tiles]."""
    rows, columns = (np.arange(min(_TILES, side)) * side // min(_TILES, side) for side in values.shape)
    # Columns first: reduceat is quick along the contiguous axis, and hardly anything is left for the other.
    sums = np.add.reduceat(np.add.reduceat(values, columns, axis=1), rows, axis=0, dtype=np.float64)
    areas = np.outer(np.diff(rows, append=values.shape[0]), np.diff(columns, append=values.shape[1]))
    return np.asarray(sums / areas, np.float64).ravel()


def _corners(y: NDArray[np.uint8]) -> dict[str, float]:
    """How the light falls off towards the corners; 1 where it could not be seen to, under one level of 255."""
    height, width = y.shape
    bottom, right = max(1, round(0.12 * height)), max(1, round(0.12 * width))
    top, left = min(height - 1, round(0.35 * height)), min(width - 1, round(0.35 * width))
    rows = (slice(None, bottom), slice(top, max(top + 1, height - top)), slice(-bottom, None))
    columns = (slice(None, right), slice(left, max(left + 1, width - left)), slice(-right, None))
    mean = np.array([[y[row, column].mean() for column in columns] for row in rows])
    beside = (mean[::2, 1:2] + mean[1:2, ::2]) / 2  # the middles of the two edges that meet in each corner
    return {
        "corner_center_ratio": float(mean[::2, ::2].mean() / mean[1, 1]) if mean[1, 1] > 1 else 1.0,
        "corner_falloff": float((mean[::2, ::2] / beside).max()) if beside.min() > 1 else 1.0,
    }


def _flip_correlation(luma: Image.Image) -> float:
    """Pearson correlation of y at 64 px, less the mean of each row, with its mirror; 0 where nothing is left."""
    y = np.asarray(luma.reduce(math.ceil(max(luma.size) / _MIRROR_SIDE)), np.float64) / 255
    y -= y.mean(axis=1, keepdims=True)
    spread = float(np.vdot(y, y))
    return float(np.vdot(y, y[:, ::-1])) / spread if spread > 1e-6 * y.size else 0.0


def _frame_plain(rgb: NDArray[np.uint8]) -> float:
    """Share of the outer 12% frame of uint8 [h, w, 3] that has its median colour: one wing may touch the edge."""
    height, width = rgb.shape[:2]
    bottom, right = max(1, round(0.12 * height)), max(1, round(0.12 * width))
    rim = np.ones((height, width), np.bool_)
    rim[bottom : height - bottom, right : width - right] = False
    frame = rgb[rim]
    return float((np.abs(frame - np.median(frame, axis=0)).max(axis=1) <= _PLAIN_TOLERANCE).mean())


def _solid_border(rgb: NDArray[np.uint8]) -> int:
    """Width in px of the widest pair of equally coloured bands on opposite sides: the narrower of the two.

    rgb: uint8 [h, w, 3]. 0 where the whole picture has one colour: that is no border.
    """
    return max(
        min(_band(side, lines[0, 0].astype(np.int16)) for side in (lines, lines[::-1]))
        for lines in (rgb, rgb.swapaxes(0, 1))
    )


def _band(lines: NDArray[np.uint8], colour: NDArray[np.int16]) -> int:
    """How many leading lines have that colour throughout; a photo's first line ends it, so this is cheap.

    0 unless the picture then begins along half of the line at least: the margin of a text page and the white around a
    cut-out object are no border. Looked at one line further in, past the line that resizing has mixed.
    """
    for width, line in enumerate(lines):
        if np.abs(line - colour).max() > _BAND_TOLERANCE:
            beyond = np.abs(lines[min(width + 1, len(lines) - 1)] - colour).max(axis=1) > _BAND_TOLERANCE
            return width if 2 * np.count_nonzero(beyond) >= beyond.size else 0
    return 0


def _colour(rgb: NDArray[np.uint8]) -> dict[str, float]:
    """Colourfulness, chroma, hues and colour shares of uint8 [pixels, 3].

    Colorfulness: Hasler and Suesstrunk 2003, M = √(σ_rg² + σ_yb²) + 0.3 √(μ_rg² + μ_yb²). b*: CIE 1976 under D65.
    """
    red, green, blue = (rgb[:, channel].astype(np.float32) for channel in range(3))
    opponent = np.stack([red - green, (red + green) / 2 - blue])
    brightest: NDArray[np.float32] = np.maximum(np.maximum(red, green), blue)
    chroma: NDArray[np.float32] = brightest - np.minimum(np.minimum(red, green), blue)
    saturation = np.asarray(chroma / np.maximum(brightest, 1), np.float32)
    hue = _hue(red, green, blue, chroma)
    linear = _LINEAR[rgb]
    rank = math.ceil(0.99 * chroma.size) - 1
    return {
        "colorfulness": math.hypot(*opponent.std(axis=1)) + 0.3 * math.hypot(*opponent.mean(axis=1)),
        "chroma_mean": float(chroma.mean()),
        "chroma_p99": float(np.partition(chroma, rank)[rank]),
        **_hue_statistics(hue[saturation > 0.1]),
        "lab_b_mean": 200 * float((_lab_f(linear @ _TO_Y) - _lab_f(linear @ _TO_Z)).mean()),
        **_colour_shares(hue, saturation, np.asarray(brightest / 255, np.float32)),
    }


def _hue(
    red: NDArray[np.float32], green: NDArray[np.float32], blue: NDArray[np.float32], chroma: NDArray[np.float32]
) -> NDArray[np.float32]:
    """HSV hue in degrees, 0 ≤ hue < 360; 0 for greys."""
    spread = np.maximum(chroma, 1)
    brightest = np.maximum(np.maximum(red, green), blue)
    green_sector = np.where(brightest == green, 2 + (blue - red) / spread, 4 + (red - green) / spread)
    sector = np.where(brightest == red, (green - blue) / spread, green_sector)
    return np.asarray(sector * 60 % 360, np.float32)


def _hue_statistics(hue: NDArray[np.float32]) -> dict[str, float]:
    """Circular mean and standard deviation √(−2 ln R) in degrees; at most 180, and 0 ± 180 where there is no hue."""
    if not hue.size:
        return {"hue_mean": 0.0, "hue_std": 180.0}
    angles = np.deg2rad(hue)
    x, y = float(np.cos(angles).mean()), float(np.sin(angles).mean())
    length = min(1.0, math.hypot(x, y))
    std = math.degrees(math.sqrt(-2 * math.log(length))) if length > 1e-6 else 180.0
    return {"hue_mean": math.degrees(math.atan2(y, x)) % 360, "hue_std": min(180.0, std)}


def _lab_f(ratio: NDArray[np.float32]) -> NDArray[np.float32]:
    """The cube root of CIELAB with its straight piece below (6/29)³."""
    return np.asarray(np.where(ratio > 216 / 24389, np.cbrt(ratio), ratio * (841 / 108) + 4 / 29), np.float32)


def _colour_shares(
    hue: NDArray[np.float32], saturation: NDArray[np.float32], brightness: NDArray[np.float32]
) -> dict[str, float]:
    """Shares 0..1 of the pixels that have each colour; hue ranges include their lower end only."""
    coloured = (saturation > 0.25) & (brightness > 0.2)
    sectors = np.searchsorted(_HUE_EDGES, hue[coloured], side="right") % len(COLOURS)
    hues = np.bincount(sectors, minlength=len(COLOURS)) / hue.size
    brown = (hue >= 10) & (hue < 45) & (saturation > 0.25) & (brightness > 0.15) & (brightness < 0.6)
    return {f"hue_share_{colour}": float(share) for colour, share in zip(COLOURS, hues, strict=True)} | {
        "share_brown": float(brown.mean()),
        "share_black": float((brightness < 0.12).mean()),
        "share_white": float(((brightness > 0.92) & (saturation < 0.08)).mean()),
        "share_gray": float(((saturation < 0.10) & (brightness >= 0.12) & (brightness <= 0.92)).mean()),
    }


def _blockiness(quantization: Mapping[int, Sequence[int]] | None) -> float:
    """1 for no JPEG, else 1 + 0.37 × the quantiser step at its quality: 1.19 at 75, 1.37 at 50, 1.62 at 30, 2.85 at 10.

    Read from the tables because block borders are gone once a decode is reduced. The slope puts the taxonomy's cut of
    1.6 between qualities 30 and 31. A file saved again at a better quality keeps its blocks unnoticed.
    """
    if not quantization or not any(quantization[min(quantization)]):
        return 1.0
    quality = jpeg_quality(quantization)
    return 1 + 0.37 * (50 / quality if quality < 50 else 2 - quality / 50)
