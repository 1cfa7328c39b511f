"""How well copies are found: recall and precision of made variants, beside imagededup's PHash in the same run.

    python tests/evaluation/duplicates.py [FOLDER | FILE.npz] [--step N] [--most N]

Of every other picture 21 copies are made (VARIANTS); of the others two shots of a moving camera, and two halves,
which are no copies. All go through picto's own decoding. Recall: of the pairs of a picture and a copy of it, those in
one group; precision: of all pairs in one group, those of one picture. PHash is written anew here (imagededup 0.3.3,
Idealo 2019: 32 × 32 px, DCT, the lowest 8 × 8 against their median), as imagededup wants torchvision; held against its
own hashing module, all 55 samples that both can open had the same 64 bits. Its pairs are those at most 10 bits apart,
its default, and 0.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from pathlib import Path

import numpy as np
import pillow_heif
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, ImageOps

from pictocli.decode import Decoded, Recipe, decode_bytes
from pictocli.matching import SIDE, groups, matches

__all__ = ["VARIANTS", "Found", "frames", "measured", "phash", "pictures", "saved"]

SAMPLES = Path(__file__).parents[2] / "sample_images"
COPIES = ("quality", "mountain-trail-edited")  # samples that were made of other samples
RECIPE = Recipe(224, "bilinear", 72, thumbnail=False)


def saved(image: Image.Image, form: str = "JPEG", quality: int = 90) -> bytes:
    """The bytes of a file."""
    out = io.BytesIO()
    image.save(out, form, **({} if form == "PNG" else {"quality": quality}))
    return out.getvalue()


def _resized(image: Image.Image, scale: float) -> Image.Image:
    width, height = (max(1, round(side * scale)) for side in image.size)
    return image.resize((width, height), Image.Resampling.LANCZOS)


def _cropped(image: Image.Image, left: float, top: float, right: float, bottom: float) -> Image.Image:
    """What is left when these shares of its sides are cut off."""
    width, height = image.size
    return image.crop(
        (round(width * left), round(height * top), round(width * (1 - right)), round(height * (1 - bottom)))
    )


def _text(image: Image.Image) -> Image.Image:
    """A line of half-transparent white text across the middle, a ninth of the width high."""
    layer = Image.new("RGBA", image.size)
    font = ImageFont.load_default(max(8, image.width // 9))
    middle = (image.width / 2, image.height / 2)
    ImageDraw.Draw(layer).text(middle, "© SAMPLE", font=font, fill=(255, 255, 255, 128), anchor="mm")
    return Image.alpha_composite(image.convert("RGBA"), layer).convert("RGB")


def _logo(image: Image.Image) -> Image.Image:
    """A disc and a square in the lower right corner, a fifth of the shorter side high, two thirds opaque."""
    layer, side = Image.new("RGBA", image.size), min(image.size) // 5
    left, top = image.width - side - side // 4, image.height - side - side // 4
    draw = ImageDraw.Draw(layer)
    draw.ellipse((left, top, left + side, top + side), fill=(250, 250, 250, 170))
    draw.rectangle(
        (left + side // 4, top + side // 4, left + side * 3 // 4, top + side * 3 // 4), fill=(20, 20, 120, 170)
    )
    return Image.alpha_composite(image.convert("RGBA"), layer).convert("RGB")


_SIDES = {
    "left": (0.1, 0, 0, 0), "top": (0, 0.1, 0, 0), "right": (0, 0, 0.1, 0), "bottom": (0, 0, 0, 0.1),
    "top left": (0.1, 0.1, 0, 0), "top right": (0, 0.1, 0.1, 0), "bottom left": (0.1, 0, 0, 0.1),
    "bottom right": (0, 0, 0.1, 0.1), "a tenth of the area": (0.0257,) * 4, "every side": (0.1,) * 4,
}  # fmt: skip

Make = Callable[[Image.Image], bytes]

VARIANTS: dict[str, dict[str, Make]] = {
    "resized": {
        "half": lambda image: saved(_resized(image, 0.5)),
        "double": lambda image: saved(_resized(image, 2)),
    },
    "recompressed": {
        "JPEG 30": partial(saved, quality=30),
        "JPEG 50": partial(saved, quality=50),
        "PNG": partial(saved, form="PNG"),
        "WebP 80": partial(saved, form="WEBP", quality=80),
    },
    "cropped by 10 %": {
        name: lambda image, cut=cut: saved(_cropped(image, *cut))
        for name, cut in _SIDES.items()  # type: ignore[misc]
    },
    "turned": {
        str(angle): lambda image, angle=angle: saved(image.rotate(angle, expand=True))  # type: ignore[misc]
        for angle in (90, 180, 270)
    },
    "marked": {"text": lambda image: saved(_text(image)), "logo": lambda image: saved(_logo(image))},
}
"""Kind → name → what makes it of an upright RGB picture."""


def frames(image: Image.Image) -> list[bytes]:
    """Four that are no copies of each other: two shots of a moving hand camera, and the two halves of a picture."""
    shots = [(0, 0, 0.09, 0.09), (0.09, 0.09, 0, 0), (0, 0, 0.55, 0), (0.55, 0, 0, 0)]
    return [saved(_cropped(image, *shot)) for shot in shots]


KINDS = {name: kind for kind, made in VARIANTS.items() for name in made}


def pictures(place: Path, step: int, most: int) -> Iterator[Image.Image]:
    """Upright RGB pictures: every `step`-th of a folder, or of a file of WebP pictures, at most so many."""
    if place.suffix == ".npz":
        held = np.load(place)
        data, ends = held["webp"].tobytes(), held["offset"].tolist()
        for at in range(0, min(len(ends) - 1, step * most), step):
            yield Image.open(io.BytesIO(data[ends[at] : ends[at + 1]])).convert("RGB")
        return
    pillow_heif.register_heif_opener()
    found = [path for path in sorted(place.rglob("*.*")) if not any(name in str(path) for name in COPIES)]
    found = [path for path in found if path.suffix not in (".md", ".pdf")]
    for path in found[::step][:most]:
        with Image.open(path) as image:
            yield ImageOps.exif_transpose(image).convert("RGB")


def phash(data: bytes) -> int:
    """imagededup's PHash of a picture's bytes."""
    grey = Image.open(io.BytesIO(data)).convert("RGB").resize((32, 32), Image.Resampling.LANCZOS).convert("L")
    waves = 2 * np.cos(np.pi * np.arange(8)[:, None] * (2 * np.arange(32) + 1) / 64)
    low = waves @ np.asarray(grey, float) @ waves.T
    bits = low >= np.median(low.ravel()[1:])
    return int("".join("1" if bit else "0" for bit in bits.ravel()), 2)


@dataclass(frozen=True, slots=True)
class Found:
    """Recall by kind of copy and over all; precision over all pairs that were told."""

    recall: dict[str, float]
    precision: float
    pairs: int


def _measure(told: set[tuple[int, int]], source: list[int], kind: list[str]) -> Found:
    """told: pairs of places, the lower first. kind: "" for an original."""
    right: dict[str, list[bool]] = {name: [] for name in (*VARIANTS, "all")}
    for original in (at for at, name in enumerate(kind) if name == ""):
        for copy in range(original + 1, len(source)):
            if source[copy] != source[original]:
                break
            for name in (KINDS[kind[copy]], "all"):
                right[name].append((original, copy) in told)
    true = sum(source[one] == source[other] for one, other in told)
    recall = {name: sum(each) / len(each) for name, each in right.items()}
    return Found(recall, true / len(told) if told else 1.0, len(told))


def measured(images: Iterator[Image.Image]) -> dict[str, Found]:
    """What each way finds among copies of every other of these pictures, and what is no copy of the rest."""
    prints: list[bytes] = []
    hashes: list[int] = []
    source: list[int] = []
    kind: list[str] = []
    for number, image in enumerate(images):
        if number % 2:
            made = [(f"frame {at}", data) for at, data in enumerate(frames(image))]
        else:
            original = io.BytesIO()
            image.save(original, "PNG")
            made = [("", original.getvalue())]
            made += [(name, make(image)) for group in VARIANTS.values() for name, make in group.items()]
        for at, (name, data) in enumerate(made):
            decoded = decode_bytes(data, RECIPE)
            assert isinstance(decoded, Decoded)
            prints.append(decoded.fingerprint)
            hashes.append(phash(data))
            source.append(1000 * number + (at if number % 2 else 0))
            kind.append(name)
    several = np.frombuffer(b"".join(prints), np.uint8).reshape(-1, SIDE, SIDE)
    together = groups(len(prints), matches(several))
    ours = {tuple(sorted(pair)) for group in together for pair in combinations([at for at, _ in group], 2)}
    found = {"picto duplicates": _measure(ours, source, kind)}  # type: ignore[arg-type]
    for bits in (10, 0):
        found[f"PHash, {bits} bits"] = _measure(_near(np.array(hashes, np.uint64), bits), source, kind)
    return found


def _near(hashes: NDArray[np.uint64], bits: int) -> set[tuple[int, int]]:
    """Pairs of places whose hashes are at most so many bits apart."""
    told = set()
    for at, one in enumerate(hashes):
        near = np.flatnonzero(np.bitwise_count(hashes[at + 1 :] ^ one) <= bits)
        told |= {(at, at + 1 + other) for other in near.tolist()}
    return told


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("place", nargs="?", type=Path, default=SAMPLES)
    parser.add_argument("--step", type=int, default=1)
    parser.add_argument("--most", type=int, default=2000)
    options = parser.parse_args()
    found = measured(pictures(options.place, options.step, options.most))
    names = [*VARIANTS, "all"]
    print(f"| {'':<18} | {' | '.join(names)} | precision |\n| {'-' * 18} |{' ---: |' * (len(names) + 1)}")
    for way, each in found.items():
        cells = [f"{each.recall[name]:.3f}".rjust(len(name)) for name in names]
        print(f"| {way:<18} | {' | '.join(cells)} | {each.precision:>9.3f} |")


if __name__ == "__main__":
    main()
