"""What can be measured in the pixels themselves: light, sharpness, noise, colour, layout. Pure numpy and PIL.

`taxonomy.toml` [metrics] defines every number; rules over them decide the pixel tags. Light, blur and edges are seen at
512 px on the longest side, noise in patches at 2048, colour on a box-reduced copy of at most 128.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise, product

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
_EDGE_RANGE = 48  # of 255: no edge of a solid bar varies so much, and hardly a photo has less on two opposite ones
_PLAIN_TOLERANCE = 12  # of 255: lit cloth is not as even as a bar
_HUE_EDGES = (15, 45, 70, 165, 200, 255, 300, 345)  # ends of COLOURS; red wraps round 0
_IJG_SUM = 3688  # sum of the example luminance table of ITU T.81 K.1, which is libjpeg's quality 50

_LEVELS = np.arange(256) / 255.0
_RANKS = np.array([0.01, 0.10, 0.50, 0.95, 0.99]) - 1e-9
_LINEAR = np.where(_LEVELS <= 0.04045, _LEVELS / 12.92, ((_LEVELS + 0.055) / 1.055) ** 2.4).astype(np.float32)
# Linear sRGB to CIE Y, and to Z over that of D65 white.
_TO_YZ = np.array([[0.2126729, 0.7151522, 0.0721750], [0.0177566, 0.1094680, 0.8727755]], np.float32)
_Floats = NDArray[np.float32]


def measure(
    image: Image.Image, *, stored_size: tuple[int, int], jpeg_quantization: Mapping[int, Sequence[int]] | None = None
) -> dict[str, float]:
    """Measure one picture: every metric of `rules.METRICS`, finite, five significant digits.

    image: upright, decoded, any size; not RGB is converted; never enlarged. stored_size: upright (width, height) of
    the file in px. jpeg_quantization: PIL's `image.quantization` of a JPEG, None for everything else.
    """
    image = image if image.mode == "RGB" else image.convert("RGB")
    times = max(image.size) // _SIDE
    near = image.reduce(times) if times > 1 else image  # at most 1023 px, in a fifth of the time of an exact 512
    grey = near.convert("L", _LUMA)
    luma = _reduced(grey)  # a third of the time of three channels
    y = np.asarray(luma)
    small = near.reduce(math.ceil(max(near.size) / _COLOUR_SIDE))
    width, height = stored_size
    found = {
        **_light(luma.histogram()),
        **_detail(y),
        "noise_sigma": _noise(grey if near is image else image),
        "blockiness": _blockiness(jpeg_quantization),
        **_colour(np.asarray(small).reshape(-1, 3)),
        **_corners(y),
        "flip_corr": _flip_correlation(small.convert("L", _LUMA)),
        "frame_plain": _frame_plain(near),
        "solid_border_px": float(_solid_border(near)),
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
    """At most 512 px on the longest side, antialiased by a triangle filter."""
    scale = min(1.0, _SIDE / max(image.size))
    width, height = (max(1, round(side * scale)) for side in image.size)
    return image.resize((width, height), Image.Resampling.BILINEAR)


def _light(histogram: list[int]) -> dict[str, float]:
    """Brightness and contrast from the 256 counts of y; percentiles are exact to one level of 255."""
    share = np.asarray(histogram, np.float64) / sum(histogram)
    mean = float(share @ _LEVELS)
    p1, *others = _LEVELS[np.searchsorted(np.cumsum(share), _RANKS)].tolist()
    return dict(zip(("luma_p10", "luma_p50", "luma_p95", "luma_p99"), others, strict=True)) | {
        "luma_mean": mean,
        "luma_p99_p1": others[-1] - p1,
        "luma_rms": math.sqrt(float(share @ (_LEVELS - mean) ** 2)),
        "clip_high": float(share[_LEVELS >= 0.98].sum()),
        "clip_low": float(share[_LEVELS <= 0.02].sum()),
    }


def _detail(y: NDArray[np.uint8]) -> dict[str, float]:
    """Blur and edges of y, uint8 [h, w], over inner pixels; all 0 where a side is under 3 px.

    Laplacian variance: Pech-Pacheco 2000. Sobel: kernels divided by 4, so that black to white has magnitude 1.
    """
    height, width = (side - 2 for side in y.shape)
    if min(height, width) < 1:
        return {"tile_vol_p97": 0.0, "edge_density": 0.0}
    rows, columns = ([side * at // min(_TILES, side) for at in range(min(_TILES, side))] for side in (height, width))
    widths = np.diff(columns, append=width)
    variances, steep = list[float](), 0
    # A row of tiles at a time: its 30,000 numbers stay in the processor's cache.
    for top, bottom in pairwise([*rows, height]):
        values = y[top : bottom + 2].astype(np.int16)
        middle = values[1:-1]
        summed = values[:-2] + values[2:]
        around = summed[:, 1:-1] + middle[:, :-2] + middle[:, 2:]
        laplacian = (around - (middle[:, 1:-1] << 2)).astype(np.float32)
        sums = [laplacian.sum(axis=0), np.einsum("ij,ij->j", laplacian, laplacian)]
        mean, square = np.add.reduceat(sums, columns, axis=1, dtype=np.float64) / ((bottom - top) * widths)
        variances += np.maximum(square - mean**2, 0).tolist()
        summed += middle << 1
        down = values[2:] - values[:-2]
        horizontal = (summed[:, 2:] - summed[:, :-2]).astype(np.float32)
        vertical = (down[:, :-2] + (down[:, 1:-1] << 1) + down[:, 2:]).astype(np.float32)
        steep += int(np.count_nonzero(horizontal**2 + vertical**2 > (4 * 255 * _SOBEL_STEP) ** 2))
    second = float(np.interp(0.97 * (len(variances) - 1), range(len(variances)), sorted(variances)))
    return {"tile_vol_p97": second, "edge_density": steep / (height * width)}


def _noise(image: Image.Image) -> float:
    """σ of the noise on 255·y at up to 2048 px, of RGB or y; 0 where a patch is under 3 px.

    Immerkaer 1996, σ = √(π/2)/6 · mean |N∗I|, of the quietest quarter of 6x6 patches, where texture hardly adds to it.
    A patch is the middle of a tile, at most 85 px wide: no more pixels than at 512 px, whatever the picture's size.
    """
    scale = max(1.0, max(image.size) / _NOISE_SIDE)
    width, height = (min(_SIDE, int(side / scale)) // _TILES for side in image.size)
    if min(width, height) < 3:
        return 0.0
    sheet = Image.new(image.mode, (_TILES * width, _TILES * height))
    # From a whole pixel on: at scale 1 this copies, and interpolation would take part of the noise away.
    lefts = [int((column + 0.5) * image.width / _TILES - width * scale / 2) for column in range(_TILES)]
    tops = [int((row + 0.5) * image.height / _TILES - height * scale / 2) for row in range(_TILES)]
    for (row, top), (column, left) in product(enumerate(tops), enumerate(lefts)):
        box = (left, top, min(left + width * scale, image.width), min(top + height * scale, image.height))
        patch = image.resize((width, height), Image.Resampling.BOX, box) if scale > 1 else image.crop(box)
        sheet.paste(patch, (column * width, row * height))
    found: list[float] = []
    ends = [column * width + end for column in range(_TILES) for end in (0, width - 2)][:-1]
    for patches in np.asarray(sheet if sheet.mode == "L" else sheet.convert("L", _LUMA)).reshape(_TILES, height, -1):
        y = patches.astype(np.int16)
        down = y[:-2] + y[2:] - (y[1:-1] << 1)  # [1 −2 1] crossed with itself is N
        across = down[:, :-2] + down[:, 2:] - (down[:, 1:-1] << 1)
        sums = np.abs(across, out=across).astype(np.float32).sum(axis=0)
        found += np.add.reduceat(sums, ends)[::2].tolist()
    quietest = sorted(found)[: _TILES**2 // 4]
    return math.sqrt(math.pi / 2) / 6 * sum(quietest) / (len(quietest) * (height - 2) * (width - 2))


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


def _frame_plain(image: Image.Image) -> float:
    """Share of the outer 12% frame of an RGB picture that has its median colour: one wing may touch the edge."""
    step = math.ceil(max(image.size) / _COLOUR_SIDE)
    width, height = (math.ceil(side / step) for side in image.size)
    bottom, right = max(1, round(0.12 * height)), max(1, round(0.12 * width))
    seen = np.asarray(image.resize((width, height), Image.Resampling.NEAREST))  # averages would even out a lawn
    inner = seen[bottom:-bottom]
    parts = (seen[:bottom], seen[-bottom:], inner[:, :right], inner[:, -right:])
    frame = np.concatenate([part.reshape(-1, 3) for part in parts]).T.astype(np.int16, order="C")
    size = frame.shape[1]
    ordered = np.sort(frame, kind="stable")  # a radix sort: quicker than np.median
    far = np.abs(2 * frame - ordered[:, [(size - 1) // 2]] - ordered[:, [size // 2]]).max(axis=0)
    return float(np.count_nonzero(far <= 2 * _PLAIN_TOLERANCE) / size)


def _solid_border(image: Image.Image) -> int:
    """Width in px, at 512, of the widest pair of equally coloured bands on opposite sides: the narrower of the two.

    0 where the whole picture has one colour: that is no border.
    """
    right, bottom = image.size
    ends = (((0, 0, right, 1), (0, bottom - 1, right, bottom)), ((0, 0, 1, bottom), (right - 1, 0, right, bottom)))
    spans = ((np.ptp(image.crop(line).getextrema(), axis=1).max() for line in pair) for pair in ends)
    if not any(all(span <= _EDGE_RANGE for span in pair) for pair in spans):
        return 0
    rgb = np.asarray(_reduced(image))
    both = (rgb, rgb.swapaxes(0, 1))
    return max(min(_band(side, lines[0, 0].astype(np.int16)) for side in (lines, lines[::-1])) for lines in both)


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
    levels = np.ascontiguousarray(rgb.T)
    red, green, blue = planes = levels.astype(np.float32)
    opponent = np.stack([red - green, (red + green) / 2 - blue])
    highest = levels.max(axis=0)
    spread = highest - levels.min(axis=0)
    brightest, chroma = highest.astype(np.float32), spread.astype(np.float32)
    saturation = np.asarray(chroma / np.maximum(brightest, 1), np.float32)
    hue = _hue(planes, brightest, chroma)
    linear = _TO_YZ @ np.take(_LINEAR, levels)
    y, z = np.where(linear > 216 / 24389, np.cbrt(linear), linear * (841 / 108) + 4 / 29)  # CIELAB's f
    reached = np.cumsum(np.bincount(spread, minlength=256))
    return {
        "colorfulness": math.hypot(*opponent.std(axis=1)) + 0.3 * math.hypot(*opponent.mean(axis=1)),
        "chroma_mean": float(chroma.mean()),
        "chroma_p99": float(np.searchsorted(reached, math.ceil(0.99 * spread.size))),
        **_hue_statistics(hue[saturation > 0.1]),
        "lab_b_mean": 200 * float((y - z).mean()),
        **_colour_shares(hue, saturation, brightest / 255),
    }


def _hue(planes: _Floats, brightest: _Floats, chroma: _Floats) -> _Floats:
    """HSV hue in degrees, 0 ≤ hue < 360, of red, green and blue [3, pixels]; 0 for greys."""
    red, green, blue = planes
    scale = 60 / np.maximum(chroma, 1)
    green_sector = np.where(brightest == green, 120 + (blue - red) * scale, 240 + (red - green) * scale)
    hue = np.where(brightest == red, (green - blue) * scale, green_sector)
    return np.asarray(np.add(hue, 360, out=hue, where=hue < 0), np.float32)


def _hue_statistics(hue: _Floats) -> dict[str, float]:
    """Circular mean and standard deviation √(−2 ln R) in degrees; at most 180, and 0 ± 180 where there is no hue."""
    if not hue.size:
        return {"hue_mean": 0.0, "hue_std": 180.0}
    angles = np.deg2rad(hue)
    x, y = float(np.cos(angles).mean()), float(np.sin(angles).mean())
    length = min(1.0, math.hypot(x, y))
    std = math.degrees(math.sqrt(-2 * math.log(length))) if length > 1e-6 else 180.0
    return {"hue_mean": math.degrees(math.atan2(y, x)) % 360, "hue_std": min(180.0, std)}


def _colour_shares(hue: _Floats, saturation: _Floats, brightness: _Floats) -> dict[str, float]:
    """Shares 0..1 of the pixels that have each colour; hue ranges include their lower end only."""
    coloured = saturation > 0.25
    degrees = np.bincount(hue[coloured & (brightness > 0.2)].astype(np.intp), minlength=360)
    red, *others, wrapped = np.add.reduceat(degrees, [0, *_HUE_EDGES]).tolist()
    black, light = brightness < 0.12, brightness > 0.92
    brown = coloured & (hue >= 10) & (hue < 45) & (brightness > 0.15) & (brightness < 0.6)
    masks = (brown, black, light & (saturation < 0.08), (saturation < 0.10) & ~(black | light))
    names = (*(f"hue_share_{colour}" for colour in COLOURS), "share_brown", "share_black", "share_white", "share_gray")
    counts = (red + wrapped, *others, *(int(np.count_nonzero(mask)) for mask in masks))
    return {name: count / hue.size for name, count in zip(names, counts, strict=True)}


def _blockiness(quantization: Mapping[int, Sequence[int]] | None) -> float:
    """1 for no JPEG, else 1 + 0.37 × the quantiser step at its quality: 1.19 at 75, 1.37 at 50, 1.62 at 30, 2.85 at 10.

    Read from the tables because block borders are gone once a decode is reduced. The slope puts the taxonomy's cut of
    1.6 between qualities 30 and 31. A file saved again at a better quality keeps its blocks unnoticed.
    """
    if not quantization or not any(quantization[min(quantization)]):
        return 1.0
    quality = jpeg_quality(quantization)
    return 1 + 0.37 * (50 / quality if quality < 50 else 2 - quality / 50)
