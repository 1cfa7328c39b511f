"""Makes the files that indexing is measured on: photos, tiny pictures by the thousand, and huge ones."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

from measures import enlarged
from PIL import Image

__all__ = ["make_huge", "make_photos", "make_tiny"]


def make_photos(folder: Path, count: int, size: tuple[int, int]) -> list[Path]:
    """JPEGs as of a camera."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{at:05}.jpg" for at in range(count)]
    for at, path in enumerate(paths):
        if not path.exists():
            enlarged(*size, seed=at).save(path, quality=90)
    return paths


def make_tiny(folder: Path, count: int) -> Path:
    """Different PNGs of 8 x 8 px, a thousand a folder."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0))
    for at in range(count):
        path = folder / f"{at // 1000:04}/{at:07}.png"
        if at % 1000 == 0:
            path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            rows = b"".join(b"\0" + (at * 8 + row).to_bytes(4, "little") * 6 for row in range(8))
            path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
    return folder


def make_huge(folder: Path) -> Path:
    """12 pictures of 100 megapixels: PNG with and without transparency, JPEG and TIFF. Bytes behind the end differ."""
    if not folder.exists():
        folder.mkdir(parents=True)
        image = enlarged(1450, 1087).resize((11_600, 8_700), Image.Resampling.NEAREST)
        image.save(folder / "a0.png", compress_level=1)
        image.save(folder / "a0.jpg", quality=85)
        image.save(folder / "a0.tif", compression="tiff_lzw")
        image.putalpha(Image.linear_gradient("L").resize(image.size))
        image.save(folder / "b0.png", compress_level=1)
        for path in list(folder.iterdir()):
            for at in (1, 2):
                path.with_stem(f"{path.stem[0]}{at}").write_bytes(path.read_bytes() + bytes([at]))
    return folder
