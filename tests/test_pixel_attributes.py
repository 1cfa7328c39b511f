"""Every attribute that pixels decide: pictures on which it must hold, and near misses on which it must not."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from pictocli.decode import Decoded, Recipe, decode_bytes
from pictocli.records import ModelSpec
from pictocli.tagging import Tagger
from pictocli.taxonomy import load

SAMPLES = Path(__file__).parent.parent / "sample_images"
CASTLE, MEADOW, TRAIL = "city/castle-neuschwanstein.jpg", "animals/sheep.jpg", "nature/mountain-trail.jpg"
SEPIA = (0.393, 0.769, 0.189, 0, 0.349, 0.686, 0.168, 0, 0.272, 0.534, 0.131, 0)  # the usual filter matrix
COLOURS = {
    "red": (200, 30, 30),
    "orange-color": (240, 130, 20),
    "yellow": (230, 220, 40),
    "green": (40, 160, 60),
    "teal": (30, 170, 170),
    "blue": (40, 80, 200),
    "purple": (120, 50, 200),
    "pink": (230, 60, 180),
    "brown": (120, 75, 40),
    "black": (12, 12, 14),
    "white": (250, 250, 248),
    "gray": (120, 122, 121),
}
SHARES = {"orange-color": 0.4, "yellow": 0.25, "teal": 0.25, "red": 0.2, "purple": 0.2, "pink": 0.2, "blue": 0.45}
SHARES |= {"green": 0.3, "brown": 0.3, "black": 0.5, "white": 0.5, "gray": 0.5}

Picture = Callable[[], Image.Image]
Change = Callable[[Image.Image], Image.Image]


@cache
def sample(name: str) -> Image.Image:
    with Image.open(SAMPLES / name) as image:
        return ImageOps.exif_transpose(image).convert("RGB")


def photo(name: str = CASTLE, *changes: Change) -> Picture:
    def made() -> Image.Image:
        image = sample(name)
        for change in changes:
            image = change(image)
        return image

    return made


def plain(colour: str | tuple[int, int, int], width: int = 160, height: int = 120) -> Picture:
    return lambda: Image.new("RGB", (width, height), colour)


def part(colour: tuple[int, int, int], share: float) -> Picture:
    """A picture of which that share has the colour; the rest is a dull olive, which is the colour of no label."""
    return lambda: ImageOps.pad(
        Image.new("RGB", (round(200 * share), 100), colour), (200, 100), color=(110, 105, 85), centering=(0, 0)
    )


# ---- Changes of known size ----


def values(change: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> Change:
    """Of the values 0..1, [h, w, 3]."""
    return lambda image: Image.fromarray((change(np.asarray(image) / 255).clip(0, 1) * 255).round().astype(np.uint8))


def blurred(sigma: float) -> Change:
    return lambda image: image.filter(ImageFilter.GaussianBlur(sigma))


def at_512(image: Image.Image) -> Image.Image:
    return ImageOps.contain(image, (512, 512), Image.Resampling.BILINEAR)


def gamma(exponent: float) -> Change:
    return values(lambda v: v**exponent)


def exposed(stops: float) -> Change:
    return values(lambda v: (v**2.2 * 2**stops) ** (1 / 2.2))


def contrast(factor: float) -> Change:
    return values(lambda v: 0.5 + factor * (v - 0.5))


def saturated(factor: float) -> Change:
    return lambda image: ImageEnhance.Color(image).enhance(factor)


def balanced(*gains: float) -> Change:
    return values(lambda v: v * gains)


def whitened(share: float) -> Change:
    return values(lambda v: v + share * (1 - v))


def noisy(sigma: float) -> Change:
    """sigma: of 255, in each channel."""
    return values(lambda v: v + np.random.default_rng(1).normal(0, sigma / 255, v.shape))


def vignetted(stops: float) -> Change:
    """Light falls off with the fourth power of the distance, as cos⁴ does; by so many stops in the corners."""

    def change(v: NDArray[np.float64]) -> NDArray[np.float64]:
        y, x = (np.linspace(-1, 1, side) for side in v.shape[:2])
        distance = (x[None] ** 2 + y[:, None] ** 2) / 2
        return np.asarray(v * 2 ** (-stops / 2.2 * distance**2)[..., None])

    return values(change)


def bordered(pixels: int, colour: str = "black") -> Change:
    return lambda image: ImageOps.expand(image, pixels, colour)


def on(colour: str) -> Change:
    """The middle of it in the middle of a plain picture."""
    return lambda image: ImageOps.expand(ImageOps.fit(image, (240, 180)), 120, colour)


def mirrored(shift: int) -> Change:
    """The left half and its mirror, out of true by so many px."""

    def change(image: Image.Image) -> Image.Image:
        left = np.asarray(image)[:, : image.width // 2]
        return Image.fromarray(np.roll(np.concatenate([left, left[:, ::-1]], axis=1), shift, axis=1))

    return change


def sized(width: int, height: int) -> Change:
    return lambda image: image.resize((width, height), Image.Resampling.BICUBIC)


def sepia(image: Image.Image) -> Image.Image:
    return image.convert("RGB", SEPIA)


def compressed(quality: int) -> Change:
    def change(image: Image.Image) -> Image.Image:
        image = image.copy()
        image.info["quality"] = quality
        return image

    return change


def photo_of_noise(sigma: float) -> Picture:
    """What a camera writes in the dark: large, and a JPEG."""
    return lambda: compressed(90)(Image.effect_noise((4000, 3000), sigma))


# ---- Label → what it is → picture ----

HOLDS: dict[str, dict[str, Picture]] = {
    "blurry": {"sigma 2": photo(CASTLE, at_512, blurred(2)), "out of focus": photo("quality/sheep-blurry.jpg")},
    "sharp": {"castle": photo(), "sigma 0.5": photo(CASTLE, at_512, blurred(0.5))},
    "noisy": {
        "sigma 10": photo("nature/sunset-over-hills.jpg", noisy(10)),
        "sigma 24 at 12 megapixels": photo_of_noise(24),
    },
    "low-resolution": {"799 px": plain("gray", 799, 100)},
    "high-resolution": {"12 megapixels": plain("gray", 4000, 3000)},
    "compressed": {"quality 10": photo(CASTLE, compressed(10)), "quality 30": photo(CASTLE, compressed(30))},
    "dark": {"gamma 3": photo(CASTLE, gamma(3)), "three stops under": photo(CASTLE, exposed(-3))},
    "bright": {"gamma 0.4": photo(CASTLE, gamma(0.4))},
    "low-light": {"two stops under": photo(MEADOW, exposed(-2))},
    "overexposed": {"two stops over": photo(CASTLE, exposed(2)), "a stop and a half over": photo(TRAIL, exposed(1.5))},
    "underexposed": {"four stops under": photo(CASTLE, exposed(-4))},
    "high-key": {"mixed with 70% white": photo(CASTLE, whitened(0.7)), "on white": photo("things/scissors.bmp")},
    "low-key": {"on black": photo(CASTLE, on("black"))},
    "high-contrast": {"twice the contrast": photo(CASTLE, contrast(2))},
    "low-contrast": {"a third of the contrast": photo(CASTLE, contrast(0.33))},
    "grayscale": {"no saturation": photo(CASTLE, saturated(0)), "black and white": photo("city/old-fort-aerial.jpg")},
    "muted": {"30% of the saturation": photo(CASTLE, saturated(0.3))},
    "colorful": {"twice the saturation": photo(CASTLE, saturated(2))},
    "sepia": {"filter": photo(CASTLE, sepia), "filter and quality 75": photo(MEADOW, sepia, compressed(75))},
    "warm-toned": {"red up, blue down by 20%": photo(TRAIL, balanced(1.2, 1, 0.8)), "sepia": photo(CASTLE, sepia)},
    "cool-toned": {"red down, blue up by 20%": photo(CASTLE, balanced(0.8, 1, 1.2))},
    "pastel": {"mixed with 60% white": photo("vehicles/rocket-on-launch-pad.jpg", gamma(0.5), whitened(0.5))},
    **{name: {"over the share": part(COLOURS[name], SHARES[name] + 0.05)} for name in SHARES},
    "portrait-orientation": {"2 to 3": plain("gray", 200, 300)},
    "landscape-orientation": {"4 to 3": plain("gray", 400, 300)},
    "square-format": {"1 to 1": plain("gray", 300, 300), "26 to 25": plain("gray", 260, 250)},
    "panoramic": {"2 to 1": photo(CASTLE, sized(800, 400))},
    "symmetrical": {"mirrored": photo(CASTLE, mirrored(0)), "8 px out of true": photo(CASTLE, mirrored(4))},
    "vignetted": {"three stops": photo(MEADOW, vignetted(3))},
    "plain-background": {
        "on grey": photo(CASTLE, on("gray")),
        "on noisy cloth": photo("animals/cat-playing-with-yarn.jpg"),
    },
    "bordered": {"24 px": photo(CASTLE, bordered(24)), "white": photo(CASTLE, bordered(24, "white"))},
    "detailed": {"rocks and leaves": photo("nature/forest-stream.jpg")},
    "minimalist": {"a pyramid": photo("nature/pyramid-in-desert.jpg")},
}
FAILS: dict[str, dict[str, Picture]] = {
    "blurry": {"sigma 0.7": photo(CASTLE, at_512, blurred(0.7)), "bokeh": photo("nature/ladybird.jpg")},
    "sharp": {"sigma 1": photo(CASTLE, at_512, blurred(1)), "bokeh and sigma 1": photo(MEADOW, at_512, blurred(1))},
    "noisy": {
        "sigma 4": photo("nature/sunset-over-hills.jpg", noisy(4)),
        "sigma 8 at 12 megapixels": photo_of_noise(8),
        "leaves": photo("nature/forest-stream.jpg"),
    },
    "low-resolution": {"800 px": plain("gray", 800, 100)},
    "high-resolution": {"just under 12 megapixels": plain("gray", 4000, 2999)},
    "compressed": {"quality 31": photo(CASTLE, compressed(31)), "no JPEG": photo()},
    "dark": {"as it is": photo(), "one stop under": photo(CASTLE, exposed(-1))},
    "bright": {"as it is": photo(), "gamma 0.8": photo(CASTLE, gamma(0.8))},
    "low-light": {"half a stop under": photo(MEADOW, exposed(-0.5))},
    "overexposed": {"as it is": photo(), "on white": photo(CASTLE, on("white"))},
    "underexposed": {"one stop under": photo(CASTLE, exposed(-1)), "night": photo("city/bridge-at-night.jpg")},
    "high-key": {"mixed with 20% white": photo(CASTLE, whitened(0.2))},
    "low-key": {"as it is": photo(), "four stops under": photo(CASTLE, exposed(-4))},
    "high-contrast": {"white sky": photo("city/church-street-traffic.jpg"), "on white": photo(TRAIL, on("white"))},
    "low-contrast": {"as it is": photo(), "two thirds of the contrast": photo(CASTLE, contrast(0.67))},
    "grayscale": {"30% of the saturation": photo(CASTLE, saturated(0.3)), "sepia": photo(CASTLE, sepia)},
    "muted": {"as it is": photo(), "grey": photo(CASTLE, saturated(0)), "dark": photo(CASTLE, exposed(-4))},
    "colorful": {"as it is": photo(), "70% of the saturation": photo(CASTLE, saturated(0.7))},
    "sepia": {"as it is": photo(), "grey": photo(CASTLE, saturated(0)), "brown on white": photo("things/scissors.bmp")},
    "warm-toned": {"as it is": photo(TRAIL), "a green meadow": photo(MEADOW)},
    "cool-toned": {"as it is": photo(TRAIL), "grey": photo(CASTLE, saturated(0))},
    "pastel": {"as it is": photo(), "light grey": photo("things/wall-clock.jpg")},
    **{name: {"under the share": part(COLOURS[name], SHARES[name] - 0.05)} for name in SHARES},
    "orange-color": {"under the share": part(COLOURS["orange-color"], 0.35), "sand": plain((190, 150, 120))},
    "yellow": {"under the share": part(COLOURS["yellow"], 0.2), "dry grass": photo("animals/dog-german-shepherd.jpg")},
    "portrait-orientation": {"24 to 25": plain("gray", 240, 250)},
    "landscape-orientation": {"25 to 24": plain("gray", 250, 240)},
    "square-format": {"4 to 5": plain("gray", 200, 250), "10 to 9": plain("gray", 200, 180)},
    "panoramic": {"16 to 9": photo(CASTLE, sized(640, 360)), "cut out": photo(CASTLE, on("white"), sized(600, 300))},
    "symmetrical": {"as it is": photo(), "sky over land": photo("nature/sunset-over-hills.jpg")},
    "vignetted": {"one stop": photo(MEADOW, vignetted(1)), "dark land": photo("city/skyline-at-dusk.jpg")},
    "plain-background": {"as it is": photo(), "sky and land": photo("nature/pyramid-in-desert.jpg")},
    "bordered": {"as it is": photo(), "6 px": photo(CASTLE, bordered(6)), "on white": photo("things/scissors.bmp")},
    "detailed": {"bokeh": photo("animals/butterfly-on-flower.jpg"), "sigma 2": photo(CASTLE, blurred(2))},
    "minimalist": {"as it is": photo(), "blurred": photo("quality/sheep-blurry.jpg")},
}


@pytest.fixture(scope="module")
def tagger() -> Tagger:
    """Knows nothing of what is seen, so that the pixels alone speak."""
    taxonomy = load()
    spec = ModelSpec("none", "", 2, 224, "bilinear", 64, 1.0, 0.0)
    return Tagger(taxonomy, spec, np.zeros((len(taxonomy.labels), 2), np.float32), np.zeros((1, 2), np.float32))


def attributes(image: Image.Image, tagger: Tagger) -> set[str]:
    """The tags of the picture as a file: a JPEG where it was asked to be of some quality, else lossless."""
    out = io.BytesIO()
    if "quality" in image.info:
        image.save(out, "JPEG", quality=image.info["quality"])
    else:
        image.save(out, "PNG", compress_level=1)
    decoded = decode_bytes(out.getvalue(), Recipe(224, "bilinear", 150, thumbnail=False))
    assert isinstance(decoded, Decoded)
    return set(tagger.tag(np.zeros((1, 2), np.float32), [decoded.measures])[0]["attributes"])


def cases(table: dict[str, dict[str, Picture]]) -> list[object]:
    return [
        pytest.param(label, made, id=f"{label}: {what}")
        for label, found in table.items()
        for what, made in found.items()
    ]


@pytest.mark.parametrize(("label", "made"), cases(HOLDS))
def test_it_holds(label: str, made: Picture, tagger: Tagger) -> None:
    assert label in attributes(made(), tagger)


@pytest.mark.parametrize(("label", "made"), cases(FAILS))
def test_a_near_miss_does_not(label: str, made: Picture, tagger: Tagger) -> None:
    assert label not in attributes(made(), tagger)


def test_every_pixel_attribute_has_both() -> None:
    assert set(HOLDS) == set(FAILS) == set(load().rules)
