"""Everything that a page shows of one image."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Any

from pictocli.browsed import Browsed
from pictocli.display import closer, fraction, printable, size_of, time_of
from pictocli.gallery.cells import alt, missing, name_of, probable, ratio, thumbnail
from pictocli.gallery.listing import PAGE, Neighbours
from pictocli.gallery.state import State
from pictocli.records import CATEGORIES, Answer, Image, ImageDetail, SimilarImage
from pictocli.urls import is_url

__all__ = ["shown"]

_LONGEST = 2000  # characters of one value of the metadata
_COPIES = 50


def shown(
    image: ImageDetail, state: State, place: Neighbours | None, pages: Browsed, answer: Answer | None,
    reference: ImageDetail | None,
) -> dict[str, Any]:  # fmt: skip
    """What the template shows. place: where it is among the results. reference: the indexed image of `state.like`."""
    common = _common(image, state, reference)
    begin = place.cursor if place is not None and place.position >= PAGE else ""
    return {
        **_file(image),
        **_capture(image),
        "dataset_url": "/" + State(dataset=image.dataset).query(),
        "folder_url": "/" + State(dataset=image.dataset, folder=image.folder).query(),
        "tags": [_tags(image, category, common) for category in CATEGORIES],
        "metadata": [(printable(str(name)), _text(value)) for name, value in (image.metadata or {}).items()],
        "measures": [(printable(name), f"{value:.3g}") for name, value in image.measures.items()],
        "copies": [printable(path) for path in image.copies[:_COPIES]],
        "similar": "/" + state.without("q").but(like=str(image.image_id)).query(),
        "back": f"/{state.but(at=begin).query()}#i{image.image_id}",
        "position": None if place is None else place.position + 1,
        "of": None if place is None else place.total,
        "previous": None if place is None else _neighbour(place.previous, state),
        "next": None if place is None else _neighbour(place.next, state),
        "pages": [_page(page, page.image_id == image.image_id, state) for page in pages.results],
        "page_count": pages.total or None,
        "why": _why(image, answer, common),
    }


def _file(image: ImageDetail) -> dict[str, Any]:
    gone, remote = missing(image), is_url(image.path)
    return {
        "id": image.image_id, "name": name_of(image), "path": printable(image.path),
        "dataset": printable(image.dataset), "folder": printable(image.folder), "page": image.page,
        "kind": printable(image.kind.upper()), "width": image.width, "height": image.height,
        "ratio": ratio(image.width, image.height), "size": size_of(image.size), "missing": gone, "alt": alt(image),
        "original": None if gone or remote else f"/original/{image.image_id}",
        "thumbnail": thumbnail(image, 1280), "thumbnail2x": thumbnail(image, 1920),
        "indexed": image.indexed_at[:10], "model": printable(image.model.rpartition("/")[2]),
        "time": time_of(image.processing_time_ms / 1000),
    }  # fmt: skip


def _capture(image: ImageDetail) -> dict[str, Any]:
    place = None if image.latitude is None else f"{image.latitude:.4f}, {image.longitude:.4f}"
    return {
        "date": (image.taken_at or image.modified)[:16].replace("T", " "),
        "dated": "taken" if image.taken_at else "file changed",
        "camera": None if image.camera is None else printable(image.camera), "place": place,
    }  # fmt: skip


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return printable(text if len(text) <= _LONGEST else text[:_LONGEST] + "…")


def _tags(image: Image, category: str, common: Collection[str]) -> dict[str, Any]:
    return {
        "key": category, "title": category.capitalize(),
        "tags": [
            {"label": printable(label), "score": score, "text": fraction(score), "percent": round(100 * score),
             "url": "/" + State().toggled(category, label).query(), "common": label in common}
            for label, score in image.scores.get(category, {}).items()
        ],
    }  # fmt: skip


def _common(image: Image, state: State, reference: Image | None) -> list[str]:
    """The labels that it shares with the picture that was asked for, else those that were asked for."""
    asked = {label for each in CATEGORIES for label in getattr(state, each)}
    if reference is not None and reference.image_id != image.image_id:
        asked |= {label for each in CATEGORIES for label in reference.tags.get(each, ())}
    return [label for each in CATEGORIES for label in image.tags.get(each, ()) if label in asked]


def _neighbour(image: Image | None, state: State) -> dict[str, Any] | None:
    if image is None:
        return None
    query = state.but().query()
    return {
        "id": image.image_id, "href": f"/image/{image.image_id}{query}", "thumbnail": thumbnail(image, 480),
        "panel": f"/image/{image.image_id}/panel{query}", "name": name_of(image),
    }  # fmt: skip


def _page(page: Image, chosen: bool, state: State) -> dict[str, Any]:
    return {
        **(_neighbour(page, state) or {}),
        "page": page.page,
        "ratio": ratio(page.width, page.height),
        "chosen": chosen,
        "alt": alt(page),
    }


def _why(image: ImageDetail, answer: Answer | None, common: Sequence[str]) -> dict[str, Any] | None:
    """Why it is among those that match best; None where it is not, or all were asked for."""
    found = next((each for each in answer.results if each.image_id == image.image_id), None) if answer else None
    lines: list[tuple[str, str]] = []
    if isinstance(found, SimilarImage):
        if found.score is not None:
            lines.append(("score", f"{found.score:.2f} standard deviations above the library's mean"))
        if found.probability is not None:
            lines.append(("probability", probable(found.probability)))
        lines.append(("cosine similarity", f"{found.similarity:.3f}"))
        if found.closer_than is not None:
            lines.append(("how unusual", closer(found.closer_than)))
        parts = sorted((found.parts or {}).items())
        lines += [(f"cosine with {printable(name)}", f"{cosine:.3f}") for name, cosine in parts]
    shared = [printable(label) for label in common]
    return {"lines": lines, "common": shared} if lines or shared else None
