"""What an agent is told of images: the same fields as everybody, without what is empty, in as few words as will do."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from pictocli.records import Answer, Image, ImageDetail, Label, LibraryInfo, SimilarImage, TaggedImage
from pictocli.render import as_object

__all__ = ["about", "described", "listed", "page_of", "vocabulary"]

_TAGS = 5  # of an image that is told of briefly
_MOST = 20  # tags that are told of the library
_DATASETS = 50
_FIELDS = 100
_SURROGATE = re.compile("[\ud800-\udfff]")  # bytes of a name, or half a pair in metadata: neither is UTF-8
_SCORES = {"similarity": 3, "closer_than": 4, "score": 3}
_PLACES = ("path", "path_bytes", "folder", "thumbnail_url")
_LEFT_OUT = ("image_id", "processing_time_ms", "tags", "has_thumbnail", "filename")


def listed(answer: Answer, offset: int, limit: int, detail: str, *, paths: bool) -> dict[str, Any]:
    """One page of an answer that was asked for `offset` + `limit` + 1 results, as far as one may ask for so many.

    detail: "ids", "brief" or "full". paths: whether the agent may see where files lie.
    """
    page = answer.results[offset : offset + limit]
    told: dict[str, Any] = {"results": [page_of(image, detail, paths=paths) for image in page]}
    if len(answer.results) > offset + limit:
        told["next_offset"] = offset + limit
    if not answer.results:
        told["searched"] = answer.considered
        if answer.nearest is not None:
            told["nearest"] = _short(answer.nearest)
    return told


def page_of(image: Image, detail: str, *, paths: bool) -> dict[str, Any]:
    """One image, or page of a document, of an answer."""
    told: dict[str, Any] = {"id": image.image_id}
    if detail != "ids":
        told |= _place(image, paths)
    if isinstance(image, SimilarImage):
        told |= _scores(image)
    elif isinstance(image, TaggedImage) and image.matched:
        told["matched"] = {label: round(score, 2) for label, score in image.matched.items()}
    if detail == "brief":
        told["tags"] = [label for labels in image.tags.values() for label in labels][:_TAGS]
    elif detail == "full":
        told |= _rest(image, told, paths)
    return _filled(told)


def described(image: ImageDetail, *, paths: bool, measures: bool) -> dict[str, Any]:
    """Everything known of one image, the measures of its pixels if asked for."""
    told = {"id": image.image_id} | _place(image, paths)
    told |= _rest(image, told, paths)
    if not paths:
        told["copies"] = len(image.copies) or None
    if not measures:
        del told["measures"]
    return _filled(told)


def about(info: LibraryInfo, fields: Sequence[str], *, paths: bool) -> dict[str, Any]:
    """The library at a glance."""
    datasets = [
        {"name": each.dataset, "images": each.images} | ({"roots": list(each.roots)} if paths else {})
        for each in info.datasets[:_DATASETS]
    ]
    told: dict[str, Any] = {
        "images": info.images, "files": info.files, "pdf_pages": info.pdf_pages or None, "kinds": dict(info.kinds),
        "datasets": datasets, "more_datasets": len(info.datasets) - len(datasets) or None, "model": _model(info.model),
        "tags": {label: n for _, label, n in info.tags[:_MOST]}, "metadata_fields": list(fields[:_FIELDS]),
    }  # fmt: skip
    return {"images": info.images} | _filled(told)


def vocabulary(
    labels: Sequence[Label], counts: Sequence[tuple[str, str, int]], matching: str, *, used: bool
) -> dict[str, Any]:
    """Labels by category, each with how many images carry it. matching: a part of the label or of an alias."""
    carried = Counter({(category, label): n for category, label, n in counts})
    sought = matching.strip().lower()
    told: dict[str, dict[str, int]] = {}
    for label in labels:
        spelled = any(sought in name.lower() for name in (label.id, *label.aliases))
        n = carried[label.category, label.id]
        if spelled and (n or not used):
            told.setdefault(label.category, {})[label.id] = n
    return _filled(told)


def _place(image: Image, paths: bool) -> dict[str, Any]:
    if paths:
        return {"path": image.path}
    return {"file": image.filename, "page": image.page}


def _scores(image: SimilarImage) -> dict[str, Any]:
    """Pictures have a cosine and how unusual it is, words a probability, several parts a score."""
    found = as_object(image)
    if "probability" in found:
        return {"probability": _short(found["probability"])}
    if "parts" in found:
        return {"score": round(found["score"], _SCORES["score"])}
    names = [name for name in ("similarity", "closer_than") if found.get(name) is not None]
    return {name: round(found[name], _SCORES[name]) for name in names}


def _rest(image: Image, told: Mapping[str, Any], paths: bool) -> dict[str, Any]:
    """All other fields of an image: scores of tags by category for plain tags."""
    found = as_object(image)
    hidden = {*_LEFT_OUT, *told, *(() if paths else (*_PLACES, "copies"))}
    rest = {name: value for name, value in found.items() if name not in hidden}
    rest["scores"] = {
        category: {label: round(score, 2) for label, score in held.items()} for category, held in image.scores.items()
    }
    if "measures" in rest:
        rest["measures"] = {name: _short(value) for name, value in rest["measures"].items()}
    if "model" in rest:
        rest["model"] = _model(rest["model"])
    rest["tags"] = rest.pop("scores")
    rest["taken_at"], rest["modified"] = image.taken_at, image.modified
    return rest


def _model(name: str | None) -> str | None:
    """A model's name without the folder it lies in."""
    return name and re.split(r"[/\\]", name)[-1]


def _short(value: float) -> float:
    return float(f"{value:.3g}")


def _filled(told: Mapping[str, Any]) -> dict[str, Any]:
    """The same without what is empty, at any depth, and of UTF-8 alone."""
    held = {_text(name): _kept(each) for name, each in told.items()}
    return {name: each for name, each in held.items() if not _empty(each)}


def _kept(value: Any) -> Any:
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, Mapping):
        return _filled(value)
    return [_kept(each) for each in value] if isinstance(value, list | tuple) else value


def _text(value: str) -> str:
    return _SURROGATE.sub("\ufffd", value)


def _empty(value: Any) -> bool:
    return value is None or (isinstance(value, str | list | dict) and not value)
