"""Resizing, held bit for bit equal to transformers' processor."""

from __future__ import annotations

import numpy as np
import PIL.Image
import pytest
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from pictocli.errors import ValidationError
from pictocli.preprocess import resize

PICTURES = [
    ("RGB", (640, 480)),
    ("RGB", (37, 211)),
    ("RGB", (1, 1)),
    ("RGB", (224, 224)),
    ("RGB", (1023, 3)),
    ("L", (320, 200)),
    ("P", (100, 300)),
    ("RGBA", (150, 90)),
    ("CMYK", (64, 65)),
    ("1", (333, 111)),
]


def picture(mode: str, size: tuple[int, int]) -> PIL.Image.Image:
    noise = np.random.default_rng(sum(size)).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return PIL.Image.fromarray(noise).convert(mode).convert("RGB")


@pytest.mark.parametrize(("resample", "number"), [("bilinear", 2), ("bicubic", 3)])
@pytest.mark.parametrize(("mode", "size"), PICTURES, ids=lambda value: str(value))
def test_equals_transformers_bit_for_bit(mode: str, size: tuple[int, int], resample: str, number: int) -> None:
    image = picture(mode, size)
    own = resize(image, 224, resample)
    assert own.dtype == np.uint8
    assert own.shape == (224, 224, 3)
    assert own.flags.writeable
    processor = SiglipImageProcessorPil(size={"height": 224, "width": 224}, resample=number)
    wanted = processor(image, return_tensors="np", input_data_format="channels_last")["pixel_values"][0]
    normalised = own.transpose(2, 0, 1).astype(np.float32) / np.float32(127.5) - np.float32(1)
    assert wanted.dtype == np.float32
    assert np.array_equal(normalised, wanted)


@pytest.mark.parametrize(
    ("mode", "size", "resample"),
    [
        pytest.param("L", 32, "bilinear", id="grey"),
        pytest.param("RGBA", 32, "bilinear", id="alpha"),
        pytest.param("RGB", 32, "nearest", id="another filter"),
        pytest.param("RGB", 0, "bilinear", id="no size"),
    ],
)
def test_refuses(mode: str, size: int, resample: str) -> None:
    with pytest.raises(ValidationError):
        resize(PIL.Image.new(mode, (5, 5)), size, resample)
