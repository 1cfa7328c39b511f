"""An image's row: how it is selected, and the fields that it becomes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pictocli import stored
from pictocli.records import CATEGORIES
from pictocli.schema import from_db
from pictocli.stored import is_number, require
from pictocli.urls import joined

__all__ = ["COLUMNS", "ROWS", "TABLES", "file_fields", "image_fields"]

COLUMNS = """
    SELECT i.id, r.path, o.path, f.name, i.page, d.name, i.objects, i.scenes, i.attributes, i.metadata,
      i.thumbnail_url, c.width, c.height, c.processing_time_ms, f.mtime_ns, p.taken_at, p.camera, p.latitude,
      p.longitude"""
TABLES = """
    FROM image i JOIN file f ON f.id = i.file_id JOIN folder o ON o.id = i.folder_id JOIN root r ON r.id = o.root_id
      JOIN dataset d ON d.id = r.dataset_id JOIN content c ON c.id = i.content_id
      LEFT JOIN capture p ON p.content_id = i.content_id"""
ROWS = COLUMNS + TABLES


def image_fields(row: Sequence[Any]) -> dict[str, Any]:
    """One row of ROWS as the keyword arguments of records.Image."""
    image_id, root, folder, name, page, dataset, *tags, metadata, thumbnail_url, width, height, ms, mtime_ns = row[:15]
    what = f"of image {image_id}"
    scores = {
        category: stored.scores(text, f"{category} {what}") for category, text in zip(CATEGORIES, tags, strict=True)
    }
    require(mtime_ns is None or is_number(mtime_ns, kind=int), f"the file time {what} is no time")
    path = joined(from_db(root), from_db(folder), from_db(name))
    found = {
        "image_id": image_id,
        "path": f"{path}#page={page}" if page else path,
        "filename": from_db(name),
        "dataset": dataset,
        "folder": from_db(folder),
        "page": page or None,
        "tags": {category: list(labels) for category, labels in scores.items()},
        "scores": scores,
        "metadata": None if metadata is None else stored.fields_of(metadata, f"metadata {what}"),
        "thumbnail_url": thumbnail_url,
        "width": width,
        "height": height,
        "processing_time_ms": ms,
        "modified": _iso((mtime_ns or 0) // 1_000_000_000),
        **_capture(what, *row[15:]),
    }
    stored.image_row(found)
    return found


def file_fields(image_id: int, kind: Any, size: Any, indexed_at: Any, digest: Any, measures: Any) -> dict[str, Any]:
    """What of an image is its file's and its content's, as the keyword arguments of records.ImageDetail."""
    numbers = stored.fields_of(measures, f"measures of image {image_id}")
    right = isinstance(kind, str) and isinstance(digest, bytes) and all(map(is_number, numbers.values()))
    right = right and (size is None or is_number(size, 0, kind=int))
    require(right, f"the file or the measures of image {image_id} are not as they are written")
    return {
        "kind": kind,
        "size": size or 0,
        "indexed_at": _iso(stored.moment(indexed_at, f"the indexing time of image {image_id}")),
        "content_hash": digest.hex(),
        "measures": numbers,
    }


def _capture(what: str, taken_at: Any, camera: Any, latitude: Any, longitude: Any) -> dict[str, Any]:
    """What its camera wrote into a picture."""
    right = isinstance(camera, str | None) and (latitude is None) == (longitude is None)
    right = right and (latitude is None or (is_number(latitude, -90, 90) and is_number(longitude, -180, 180)))
    require(right, f"the camera or place {what} is not as it is written")
    taken = None if taken_at is None else _iso(stored.moment(taken_at, f"the time {what}")).removesuffix("Z")
    return {"taken_at": taken, "camera": camera, "latitude": latitude, "longitude": longitude}


def _iso(seconds: int) -> str:
    """Seconds since 1970 as 2026-08-20T18:22:05Z."""
    import time

    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
