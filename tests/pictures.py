"""Makes real pictures: every format, every oddity, a few kilobytes each."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
import pymupdf
from PIL import Image

__all__ = ["CORNERS", "PHOTOS", "corners", "make_pdf", "make_photos", "quarters", "scene", "turned_exif"]

pillow_heif.register_heif_opener()

CORNERS = {
    "top left": (220, 20, 20),
    "top right": (20, 200, 20),
    "bottom left": (20, 20, 220),
    "bottom right": (220, 220, 20),
}

# path below `photos` → pages; what is not here is no picture
PHOTOS = {
    "old.bmp": 1,
    "animals/bird.webp": 1,
    "animals/cat.png": 1,
    "animals/dog.gif": 1,
    "animals/palette.png": 1,
    "beach/cmyk.jpg": 1,
    "beach/sunny.jpg": 1,
    "beach/turned.jpg": 1,
    "phone/shot.avif": 1,
    "phone/shot.heic": 1,
    "scans/deep.png": 1,
    "scans/one.tif": 1,
    "scans/report.pdf": 3,
    "scans/three.tif": 3,
}


def quarters(width: int = 120, height: int = 80) -> Image.Image:
    """A picture with another colour in each quarter, CORNERS."""
    image = Image.new("RGB", (width, height))
    for at, colour in enumerate(CORNERS.values()):
        left, top = at % 2 * (width // 2), at // 2 * (height // 2)
        image.paste(colour, (left, top, width if at % 2 else width // 2, height if at // 2 else height // 2))
    return image


def corners(pixels: Any) -> dict[str, tuple[int, ...]]:
    """The colours an eighth in from each corner of a picture or of uint8 [h, w, 3]."""
    array = np.asarray(pixels)
    y, x = array.shape[0] // 8, array.shape[1] // 8
    places = [(y, x), (y, -1 - x), (-1 - y, x), (-1 - y, -1 - x)]
    return {name: tuple(int(v) for v in array[place]) for name, place in zip(CORNERS, places, strict=True)}


def scene(seed: int, width: int = 160, height: int = 120) -> Image.Image:
    """A smooth picture of its own for every seed: 4 × 3 random colours, blended."""
    colours = np.random.default_rng(seed).integers(0, 256, (3, 4, 3), dtype=np.uint8)
    return Image.fromarray(colours).resize((width, height), Image.Resampling.BICUBIC)


def turned_exif(orientation: int) -> Image.Exif:
    """EXIF data that say how a camera was held."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def make_pdf(path: Path, seeds: Sequence[int], *, size: tuple[float, float] = (200, 100), **saving: Any) -> Path:
    """A PDF of one page a seed, `size` in points."""
    with pymupdf.open() as document:
        for seed in seeds:
            out = io.BytesIO()
            scene(seed).save(out, "PNG")
            page = document.new_page(width=size[0], height=size[1])
            page.insert_image(page.rect, stream=out.getvalue(), keep_proportion=False)
        document.save(path, **saving)
    return path


def make_photos(folder: Path) -> Path:
    """The files of PHOTOS, and one that is none."""
    for name in PHOTOS:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
    scene(1).save(folder / "old.bmp")
    scene(2).save(folder / "animals/bird.webp", quality=90)
    cat = scene(3).convert("RGBA")
    cat.putalpha(Image.linear_gradient("L").resize(cat.size))
    cat.save(folder / "animals/cat.png")
    scene(4).save(folder / "animals/dog.gif", save_all=True, append_images=[scene(5), scene(6)])
    scene(7).quantize(16).save(folder / "animals/palette.png", transparency=3)
    scene(8).convert("CMYK").save(folder / "beach/cmyk.jpg", quality=90)
    scene(9, 900, 600).save(folder / "beach/sunny.jpg", quality=90)
    quarters().transpose(Image.Transpose.ROTATE_90).save(folder / "beach/turned.jpg", exif=turned_exif(6), quality=95)
    scene(10).save(folder / "phone/shot.avif", quality=80)
    scene(11).save(folder / "phone/shot.heic", quality=80)
    deep = np.asarray(scene(12).convert("L"), np.uint16) * 257
    Image.fromarray(deep).save(folder / "scans/deep.png")
    scene(13).save(folder / "scans/one.tif", compression="tiff_lzw")
    make_pdf(folder / "scans/report.pdf", [14, 15, 16])
    pages = [scene(seed) for seed in (17, 18, 19)]
    pages[0].save(folder / "scans/three.tif", save_all=True, append_images=pages[1:], compression="tiff_deflate")
    (folder / "notes.txt").write_text("not a picture\n", encoding="utf-8")
    return folder
