"""The training pictures of the bundled model: decoding, drawing, augmentation, and the colours that hold for them."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as nnf
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from pictocli.mini.captions import COLOURS, DATA_SETS, PictureClass

__all__ = ["HELD_OUT", "SIZE", "augment", "batches", "colour_truth", "held_out_rows", "load_pictures", "to_unit"]

SIZE = 64
HELD_OUT = slice(9, None, 10)  # of every set, what never trains
# How much of each set one pass takes: Tiny ImageNet's 200 classes teach the most, the others must not crowd them out.
SHARE = {"cifar10-train": 0.5, "natural-images-train": 0.7, "gtsrb-train": 0.3, "intel-scenes-train": 0.7}
HUES = {  # degrees, the taxonomy's own borders
    "red": (345, 15),
    "orange-color": (15, 45),
    "yellow": (45, 70),
    "green": (70, 165),
    "teal": (165, 200),
    "blue": (200, 255),
    "purple": (255, 300),
    "pink": (300, 345),
}


def decode(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """All pictures of one file as uint8 (n, 3, 64, 64), and their labels."""
    file = np.load(path)
    blob, offset, label = file["webp"].tobytes(), file["offset"], file["label"]

    def one(i: int) -> NDArray[np.uint8]:
        image = Image.open(io.BytesIO(blob[offset[i] : offset[i + 1]])).convert("RGB")
        if image.size != (SIZE, SIZE):
            image = image.resize((SIZE, SIZE), Image.Resampling.BICUBIC)
        return np.asarray(image).transpose(2, 0, 1)

    with ThreadPoolExecutor() as pool:
        return np.stack(list(pool.map(one, range(len(label)), chunksize=256))), label.astype(np.int64)


def load_pictures(data: Path, cache: Path, classes: list[PictureClass]) -> tuple[Tensor, Tensor]:
    """All training pictures (uint8) and their class numbers, Tiny ImageNet first; decoded once, then cached."""
    if not cache.exists():
        first = {c.data_set: i for i, c in reversed(list(enumerate(classes)))}
        parts = [(decode(data / f"{name}.npz"), first.get(name, 0)) for name in DATA_SETS]
        pictures = torch.from_numpy(np.concatenate([p for (p, _), _ in parts]))
        labels = torch.from_numpy(np.concatenate([y + start for (_, y), start in parts]))
        torch.save({"pictures": pictures, "labels": labels}, cache)
    saved = torch.load(cache)
    return saved["pictures"], saved["labels"]


def held_out_rows(labels: Tensor, classes: list[PictureClass], data_set: str, step: int = 1) -> Tensor:
    """The HELD_OUT rows of a data set; every `step`-th of them."""
    rows = torch.tensor([c.data_set == data_set for c in classes])[labels].nonzero()[:, 0]
    return rows[HELD_OUT][::step]


def batches(labels: Tensor, classes: list[PictureClass], size: int, seed: int) -> Iterator[Tensor]:
    """Endless batches of picture numbers, pass after pass, each set in its share and none of the held-out rows.

    Pictures of a class come in fours, so that each meets others of its kind in its batch.
    """
    share = torch.tensor([SHARE.get(c.data_set, 1.0) for c in classes])[labels]
    for name in {c.data_set for c in classes}:
        share[held_out_rows(labels, classes, name)] = 0
    torch.manual_seed(seed)
    while True:
        taken = (torch.rand(len(labels)) < share).nonzero()[:, 0]
        taken = taken[torch.randperm(len(taken))]
        fours = taken[labels[taken].argsort(stable=True)][: len(taken) // 4 * 4].view(-1, 4)
        mixed = fours[torch.randperm(len(fours))].flatten()
        yield from mixed[: len(mixed) // size * size].view(-1, size)


def to_unit(pictures: Tensor) -> Tensor:
    """uint8 -> -1…1, as the exported preprocessing does it."""
    return pictures.float() / 127.5 - 1


def augment(pictures: Tensor) -> Tensor:
    """uint8 pictures -> -1…1: random crop of 45-100 %, flip, a little colour jitter, one in twenty grey."""
    n, device = len(pictures), pictures.device

    def uniform(low: float, high: float) -> Tensor:
        return torch.empty(n, device=device).uniform_(low, high)

    scale, aspect = uniform(0.45, 1.0).sqrt(), uniform(-0.2, 0.2).exp()
    w, h = (scale * aspect).clamp(max=1), (scale / aspect).clamp(max=1)
    theta = torch.zeros(n, 2, 3, device=device)
    theta[:, 0, 0], theta[:, 1, 1] = w * (uniform(-1, 1).sign()), h
    theta[:, 0, 2], theta[:, 1, 2] = (1 - w) * uniform(-1, 1), (1 - h) * uniform(-1, 1)
    grid = nnf.affine_grid(theta, [n, 3, SIZE, SIZE], align_corners=False)
    x = nnf.grid_sample(to_unit(pictures), grid, padding_mode="reflection", align_corners=False)
    grey = x.mean(1, keepdim=True)
    colour = torch.where(uniform(0, 1) < 0.05, torch.zeros(n, device=device), uniform(0.7, 1.3))
    x = grey + (x - grey) * colour.view(-1, 1, 1, 1)
    return (x * uniform(0.8, 1.2).view(-1, 1, 1, 1) + uniform(-0.15, 0.15).view(-1, 1, 1, 1)).clamp(-1, 1)


def colour_truth(x: Tensor) -> Tensor:
    """Which of COLOURS holds for each picture (1 true, 0 false, -2 in between), from its pixels; (n, colours)."""
    r, g, b = ((nnf.avg_pool2d(x, 4) + 1) / 2).unbind(1)
    high, low = torch.maximum(torch.maximum(r, g), b), torch.minimum(torch.minimum(r, g), b)
    chroma = high - low
    hue = torch.atan2(math.sqrt(3) * (g - b), 2 * r - g - b).rad2deg() % 360
    vivid = (chroma > 0.25 * high) & (high > 0.2)
    masks = {"black": high < 0.15, "white": low > 0.85, "grayscale": chroma < 0.03}
    for name, (start, end) in HUES.items():
        masks[name] = vivid & ((hue >= start) | (hue < end) if start > end else (hue >= start) & (hue < end))
    part = torch.stack([masks[name] for name in COLOURS], 1).float().mean((2, 3))
    bar = torch.tensor([0.98 if name == "grayscale" else 0.4 for name in COLOURS], device=x.device)
    return torch.where(part > bar, 1, torch.where(part < bar / 4, 0, -2))
