"""One image on a page: its small picture, its name, its score and where its links lead."""

from __future__ import annotations

import os
import zlib
from typing import Any

from pictocli.display import fraction, percent, printable
from pictocli.gallery.state import State
from pictocli.records import CATEGORIES, Image, SimilarImage, TaggedImage
from pictocli.urls import is_url

__all__ = ["alt", "cell", "file_of", "missing", "name_of", "probable", "ratio", "score", "thumbnail"]


def cell(image: Image, cursor: str, state: State) -> dict[str, Any]:
    """What the template shows of an image in a list."""
    told, title = score(image)
    query = state.but().query()
    return {
        "id": image.image_id, "at": cursor, "href": f"/image/{image.image_id}{query}",
        "panel": f"/image/{image.image_id}/panel{query}", "thumbnail": thumbnail(image, 480),
        "thumbnail2x": thumbnail(image, 960), "width": image.width, "height": image.height,
        "ratio": ratio(image.width, image.height), "name": name_of(image), "alt": alt(image),
        "score": told, "score_title": title,
        "similar": "/" + state.without("q").but(like=str(image.image_id)).query(), "missing": missing(image),
        "page": image.page, "date": (image.taken_at or image.modified)[:10],
    }  # fmt: skip


def thumbnail(image: Image, width: int) -> str:
    """The address of its small picture; another one when the picture is, so that it may be kept for ever."""
    seen = f"{image.path} {image.modified} {image.width} {image.height}".encode("utf-8", "backslashreplace")
    return f"/thumbnail/{image.image_id}?w={width}&v={zlib.crc32(seen):08x}"


def ratio(width: int, height: int) -> str:
    """The class of its shape: width by height, .5 to 3 in steps of .05."""
    steps = round(max(0.5, min(3.0, width / max(1, height))) * 20)
    return f"r{steps * 5:03}"


def name_of(image: Image) -> str:
    """Its file's name, and which page of it."""
    return printable(image.filename) + (f" p. {image.page}" if image.page else "")


def alt(image: Image) -> str:
    """Its name and its three surest tags, for those who do not see it."""
    tags = sorted((-share, label) for each in CATEGORIES for label, share in image.scores.get(each, {}).items())
    told = ", ".join(printable(label) for _, label in tags[:3])
    return f"{name_of(image)}: {told}" if told else name_of(image)


def score(image: Image) -> tuple[str | None, str]:
    """How well it matches, in short and in words."""
    if isinstance(image, TaggedImage):
        mean = sum(image.matched.values()) / len(image.matched) if image.matched else None
        return (None, "") if mean is None else (fraction(mean), f"mean score {fraction(mean)} of the tags asked for")
    if not isinstance(image, SimilarImage):
        return None, ""
    if image.probability is not None:
        told = probable(image.probability)
        return told, f"probability {told}, cosine similarity {image.similarity:.3f}"
    if image.score is not None:
        return f"{image.score:.1f}", f"{image.score:.1f} standard deviations above the library's mean"
    return f"{image.similarity:.3f}", f"cosine similarity {image.similarity:.3f}"


def probable(probability: float) -> str:
    """A probability of words: 4.2%, <0.1%."""
    return "<0.1%" if probability < 0.001 else percent([probability])[0]


def file_of(image: Image) -> str:
    """The path of its file: of a page, that of the document."""
    return image.path.removesuffix(f"#page={image.page}") if image.page else image.path


def missing(image: Image) -> bool:
    """Whether its file is gone; servers are not asked."""
    return not is_url(image.path) and not os.path.lexists(file_of(image))
