"""What the pixel measures of one picture cost, in CPU milliseconds and beside decoding the same file.

    OMP_NUM_THREADS=1 nice -n 10 python tests/benchmarks/measures.py [ROUNDS]

Sample photos as they are, and one of them enlarged and made noisy: 2000 px, and 12 megapixels as a JPEG (decoded at
half size, as the index does) and as something that is always decoded whole. Decoding and measuring take turns, so
that a busy machine slows both down; the medians are printed, and how often measuring goes into decoding. A part's
time holds that of the parts it calls, and the clock's own.
"""

from __future__ import annotations

import io
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from inspect import isfunction
from pathlib import Path

import numpy as np
from PIL import Image

from pictocli import pixels
from pictocli.kinds import sniff
from pictocli.upright import opened

SAMPLES = Path(__file__).parent.parent.parent / "sample_images"
PHOTOS = ("city/castle-neuschwanstein.jpg", "nature/forest-stream.jpg", "things/scissors.bmp", "animals/sheep.jpg")


def milliseconds(call: Callable[[], object]) -> float:
    started = time.process_time_ns()
    call()
    return (time.process_time_ns() - started) / 1e6


def as_jpeg(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=90)
    return out.getvalue()


def enlarged(width: int, height: int, seed: int = 0) -> Image.Image:
    """A sample photo at that size, with the noise of a camera: smooth enlargement would flatter the decoder."""
    with Image.open(SAMPLES / PHOTOS[seed % len(PHOTOS)]) as image:
        large = np.asarray(image.convert("RGB").resize((width, height), Image.Resampling.BICUBIC), np.int16)
    noise = np.random.default_rng(seed).normal(0, 4, large.shape).astype(np.int8)
    return Image.fromarray((large + noise).clip(0, 255).astype(np.uint8))


@contextmanager
def parts() -> Iterator[dict[str, list[float]]]:
    """Milliseconds of every call of a function of `pixels`, by its name, while it lasts."""
    taken: dict[str, list[float]] = {}
    functions = {name: found for name, found in vars(pixels).items() if isfunction(found) and name[0] == "_"}

    def timed(name: str, function: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **options: object) -> object:
            started = time.process_time_ns()
            try:
                return function(*arguments, **options)
            finally:
                taken.setdefault(name, []).append((time.process_time_ns() - started) / 1e6)

        return call

    for name, function in functions.items():
        setattr(pixels, name, timed(name, function))
    try:
        yield taken
    finally:
        for name, function in functions.items():
            setattr(pixels, name, function)


def report(name: str, data: bytes, rounds: int, *, whole: bool = False) -> None:
    """One line for the picture, one for each part of a tenth of a millisecond or more."""
    kind = sniff(data[:1024])
    image, size, tables, _ = opened(io.BytesIO(data), io.BytesIO(data), kind, 0)
    if whole:
        image = Image.open(io.BytesIO(data)).convert("RGB")

    def measure() -> object:
        return pixels.measure(image, stored_size=size, jpeg_quantization=tables)

    def open_it() -> object:
        if whole:
            return Image.open(io.BytesIO(data)).convert("RGB")
        return opened(io.BytesIO(data), io.BytesIO(data), kind, 0)

    measure()
    pairs = [(milliseconds(open_it), milliseconds(measure)) for _ in range(rounds)]
    opening, measuring = (statistics.median(times) for times in zip(*pairs, strict=True))
    ratio = statistics.median(one[1] / one[0] for one in pairs)
    how = f"{kind}, {image.width} x {image.height}"
    print(f"{name:32} {how:20} measure {measuring:6.2f} ms, decode {opening:7.2f} ms, ratio {ratio:.2f}")
    with parts() as taken:
        for _ in range(rounds):
            measure()
    for part, times in sorted(taken.items(), key=lambda one: -sum(one[1])):
        if sum(times) / rounds >= 0.1:
            each = len(times) // rounds
            print(f"    {part:24} {each * statistics.median(times):6.2f} ms{f' in {each} calls' * (each > 1)}")


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    for name in PHOTOS:
        report(name, (SAMPLES / name).read_bytes(), rounds)
    report("made, 2000 px", as_jpeg(enlarged(2000, 1500)), rounds)
    large = as_jpeg(enlarged(4000, 3000))
    report("made, 12 megapixels", large, rounds // 2)
    report("made, 12 megapixels, whole", large, rounds // 4, whole=True)


if __name__ == "__main__":
    main()
