"""A library as a map: its images laid out, clustered and labelled, before anything is drawn."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pictocli import layout, mosaic
from pictocli.clusters import LEAST, clusters, distinguishing
from pictocli.display import counted
from pictocli.errors import ValidationError
from pictocli.figures import Pinned, Region
from pictocli.points import Points
from pictocli.protocols import Progress
from pictocli.records import CATEGORIES, ModelSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["LABELLED", "Atlas", "drawn_up", "laid_out", "require_enough"]

LABELLED, COLOURED = 10, 6  # clusters with a label, and with a colour of their own
_BATCH = 2000  # images whose names and tags are read at a time
_KEPT = 20  # layouts in the user's cache: 0.8 MB each at 100,000 images


@dataclass(frozen=True, slots=True, kw_only=True)
class Atlas:
    """A map to be drawn. width, height: of the longer side, 1 and 0.4 or more. cells: along it, at the first zoom.

    images: those with a cell of their own at an early zoom first.
    """

    images: Sequence[Pinned]
    regions: Sequence[Region]
    width: float
    height: float
    cells: int
    layout: str


def require_enough(count: int) -> None:
    """Raise ValidationError when these are too few images for a map."""
    if count < LEAST:
        there = "is 1" if count == 1 else f"are {count}"
        raise ValidationError(f"a map needs {LEAST} images, and there {there}", "index more, or leave filters out")


def laid_out(
    points: Points, contents: Sequence[int], spec: ModelSpec, how: str, seed: int, progress: Progress
) -> NDArray[np.float32]:
    """The places of contents, whose ids ascend, on a plane of any scale: float32 [n, 2].

    how: "umap" or "pca". What UMAP finds is kept in the user's cache, by a digest of the embeddings and of all that it
    follows from, so that it is found once: the library is read-only here, and its schema has no room for a layout.
    """
    progress.doing(f"reading {counted(len(contents), 'embedding')}")

    def batches() -> Any:
        for blob in points.embeddings(contents, spec.dim):
            yield np.frombuffer(blob, "<f4").reshape(-1, spec.dim)

    parts = layout.principal(batches, len(contents), spec.dim)
    if how == "pca":
        return layout.plane(parts)
    key = hashlib.sha256(f"{layout.recipe()} {seed} {parts.shape}".encode() + parts.tobytes()).hexdigest()[:40]
    kept = _cache() / f"{key}.npy"
    with contextlib.suppress(OSError, ValueError, EOFError):  # none yet, or not whole
        found = np.load(kept, allow_pickle=False)
        if found.shape == (len(contents), 2) and found.dtype == np.float32 and np.isfinite(found).all():
            os.utime(kept)
            return found  # type: ignore[no-any-return]
    progress.doing(f"laying out {counted(len(contents), 'picture')} by UMAP")
    made = layout.unwrapped(parts, seed)
    with contextlib.suppress(OSError):  # a cache that cannot be written costs time only
        _keep(kept, made)
    return made


def _cache() -> Path:
    import platformdirs

    return Path(platformdirs.user_cache_dir("picto", appauthor=False)) / "maps"


def _keep(path: Path, places: NDArray[np.float32]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}.part")
    with open(part, "wb") as file:
        np.save(file, places, allow_pickle=False)
    os.replace(part, path)
    aged = sorted(path.parent.glob("*.npy"), key=lambda each: each.stat().st_mtime)
    for old in aged[:-_KEPT]:
        old.unlink(missing_ok=True)


def drawn_up(points: Points, rows: Sequence[tuple[int, int]], plane: NDArray[np.float32], how: str) -> Atlas:
    """The map of images (id, content id), whose contents, by ascending id, lie at `plane`, float32 [m, 2].

    Raises DamagedError for an image that is not whole.
    """
    position = {content: at for at, content in enumerate(sorted({content for _, content in rows}))}
    own = plane[[position[content] for _, content in rows]] * np.array([1, -1], "f4")  # up is up
    places, width, height = mosaic.fitted(own)
    cells = mosaic.across(len(rows))
    level = mosaic.levels(places, cells)
    members, peaks = clusters(places)
    named = _named(points, [image_id for image_id, _ in rows])
    labels = distinguishing(members, [each.tags for each in named], LABELLED, _attributes(points))
    regions = _regions(members, _signs(places, members, peaks, cells), labels)
    images = [
        replace(each, x=float(x), y=float(y), level=int(level[at]), region=int(members[at]))
        for at, (each, (x, y)) in enumerate(zip(named, places.tolist(), strict=True))
    ]
    images.sort(key=lambda each: (each.level, each.image_id))
    return Atlas(images=images, regions=regions, width=width, height=height, cells=cells, layout=how)


def _attributes(points: Points) -> set[str]:
    """All attributes, as they are spelled."""
    return set(points.spellings(CATEGORIES.index("attributes")).values())


def _signs(
    places: NDArray[np.float32], members: NDArray[np.int64], peaks: NDArray[np.float32], cells: int
) -> NDArray[np.float32]:
    """Where the labels of clusters stand: above their peaks, at their upper edge, but two cells away at most."""
    found = peaks.copy()
    for at, (x, y) in enumerate(peaks[:LABELLED]):
        own = places[members == at]
        column = own[np.abs(own[:, 0] - x) <= 1.5 / cells]
        top = column[:, 1].min() if len(column) else y
        found[at, 1] = max(np.floor(top * cells), np.floor(y * cells) - 2) / cells
    return found


def _regions(members: NDArray[np.int64], peaks: NDArray[np.float32], labels: Sequence[str]) -> list[Region]:
    sizes = np.bincount(members).tolist()
    coloured = [at for at, label in enumerate(labels) if label][:COLOURED]
    return [
        Region(
            label=labels[at] if at < len(labels) else "", images=size, x=float(peaks[at][0]), y=float(peaks[at][1]),
            colour=coloured.index(at) if at in coloured else COLOURED,
        )
        for at, size in enumerate(sizes)
    ]  # fmt: skip


def _named(points: Points, ids: Sequence[int]) -> list[Pinned]:
    """Images with their names and tags, objects and scenes by their scores, then attributes; still without a place."""
    found = []
    for at in range(0, len(ids), _BATCH):
        fields = points.fields(ids[at : at + _BATCH])
        for image_id in ids[at : at + _BATCH]:
            each = fields[image_id]
            scores = {**each["scores"]["objects"], **each["scores"]["scenes"]}
            tags = sorted(scores, key=lambda tag: (-scores[tag], tag))
            page = f"#page={each['page']}" if each["page"] else ""
            found.append(
                Pinned(
                    image_id=image_id,
                    name=each["filename"] + page,
                    place="/".join(filter(None, (each["dataset"], each["folder"]))),
                    tags=[*tags, *each["scores"]["attributes"]],
                    x=0,
                    y=0,
                    level=0,
                    region=0,
                )
            )
    return found
