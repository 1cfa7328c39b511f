"""What agents are told of images: few words, nothing empty, nothing that is no JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pictocli.agent_answers import listed, page_of, vocabulary
from pictocli.records import Answer, Image, Label, Scope, SimilarImage, TaggedImage

PLAIN: dict[str, Any] = {
    "image_id": 7, "path": "/a/b/c.pdf#page=2", "filename": "c.pdf", "dataset": "a", "folder": "b", "page": 2,
    "tags": {"objects": ["car"], "scenes": [], "attributes": []}, "scores": {"objects": {"car": 0.987}, "scenes": {}},
    "width": 4, "height": 3, "processing_time_ms": 1.5, "modified": "2020-01-01T00:00:00Z",
}  # fmt: skip


def similar(**more: Any) -> SimilarImage:
    return SimilarImage(**PLAIN | {"similarity": 0.71239} | more)


@pytest.mark.parametrize(
    ("image", "detail", "paths", "told"),
    [
        (similar(), "ids", True, {"id": 7, "similarity": 0.712}),
        (similar(closer_than=0.99999), "ids", True, {"id": 7, "similarity": 0.712, "closer_than": 1.0}),
        (similar(probability=0.0123456), "ids", True, {"id": 7, "probability": 0.0123}),
        (similar(score=1.23456, parts={"a": 0.5}), "ids", True, {"id": 7, "score": 1.235}),
        (similar(), "brief", True, {"id": 7, "path": "/a/b/c.pdf#page=2", "similarity": 0.712, "tags": ["car"]}),
        (similar(), "brief", False, {"id": 7, "file": "c.pdf", "page": 2, "similarity": 0.712, "tags": ["car"]}),
        (
            TaggedImage(**PLAIN | {"matched": {"car": 0.987}, "taken_at": "2019-01-01T00:00:00", "camera": "x\ud800"}),
            "full", True,
            {
                "id": 7, "path": "/a/b/c.pdf#page=2", "matched": {"car": 0.99}, "dataset": "a", "folder": "b",
                "page": 2, "width": 4, "height": 3, "tags": {"objects": {"car": 0.99}},
                "taken_at": "2019-01-01T00:00:00", "modified": "2020-01-01T00:00:00Z",
            },
        ),
        (
            TaggedImage(**PLAIN | {
                "metadata": {"price": 0, "none": None, "nan": float("nan"), "half\udcff": ["\udcff", {}]},
                "matched": {}, "thumbnail_url": "s3://a/b",
            }),
            "full", False,
            {
                "id": 7, "file": "c.pdf", "page": 2, "dataset": "a", "width": 4, "height": 3,
                "metadata": {"price": 0, "half\ufffd": ["\ufffd", {}]}, "tags": {"objects": {"car": 0.99}},
                "modified": "2020-01-01T00:00:00Z",
            },
        ),
    ],
    ids=["ids", "closer", "words", "parts", "brief", "without paths", "full", "full without paths"],
)  # fmt: skip
def test_one_image(image: Image, detail: str, paths: bool, told: dict[str, Any]) -> None:
    found = page_of(image, detail, paths=paths)
    assert found == told
    json.dumps(found, allow_nan=False, ensure_ascii=False).encode()


@pytest.mark.parametrize(
    ("count", "offset", "limit", "told"),
    [
        (3, 0, 2, ([1, 2], 2)),
        (3, 2, 2, ([3], None)),
        (2, 0, 2, ([1, 2], None)),
        (2, 4, 2, ([], None)),
        (500, 449, 50, (list(range(450, 500)), 499)),
    ],
)
def test_pages(count: int, offset: int, limit: int, told: tuple[list[int], int | None]) -> None:
    results = [similar(image_id=at + 1) for at in range(count)]
    found = listed(Answer(results=results, scope=Scope(), considered=900), offset, limit, "ids", paths=True)
    assert ([each["id"] for each in found["results"]], found.get("next_offset")) == told
    assert "searched" not in found


def test_nothing_found() -> None:
    answer = Answer(results=[], scope=Scope(), considered=9, nearest=0.58123)
    assert listed(answer, 0, 10, "brief", paths=True) == {"results": [], "searched": 9, "nearest": 0.581}


LABELS = [Label("objects", "dog", "a dog", ("hound",)), Label("objects", "cat", "a cat"), Label("scenes", "sea", "sea")]


@pytest.mark.parametrize(
    ("matching", "used", "told"),
    [
        ("", True, {"objects": {"dog": 3}}),
        ("", False, {"objects": {"dog": 3, "cat": 0}, "scenes": {"sea": 0}}),
        ("HOUN", False, {"objects": {"dog": 3}}),
        ("bird", False, {}),
    ],
)
def test_vocabulary(matching: str, used: bool, told: dict[str, Any]) -> None:
    assert vocabulary(LABELS, [("objects", "dog", 3), ("scenes", "dog", 9)], matching, used=used) == told
