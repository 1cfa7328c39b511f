"""Lists of files and URLs, plain and as columns of tables."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from pictocli.errors import NotFoundError, PictoError, ValidationError
from pictocli.lists import Listing, entries


def read(listing: Listing) -> list[tuple[str, Any]]:
    return list(entries(listing))


@pytest.mark.parametrize(
    ("content", "nul", "expected"),
    [
        (b"a.jpg\nhttps://h/b.jpg\n\n  \ns3://b/c d.jpg", False, ["a.jpg", "https://h/b.jpg", "s3://b/c d.jpg"]),
        (b"\xef\xbb\xbfa.jpg\r\nb.jpg\r\n", False, ["a.jpg", "b.jpg"]),
        (b" a.jpg \n", False, [" a.jpg "]),
        (b"new\nline.jpg\0b.jpg\0", True, ["new\nline.jpg", "b.jpg"]),
        (b"caf\xe9.jpg\n", False, ["caf\udce9.jpg"]),
        (b"", False, []),
        (b"a", False, ["a"]),
        (b"x" * 60_000 + b"\n" + b"y\n" * 50_000, False, ["x" * 60_000] + ["y"] * 50_000),
    ],
    ids=["lines", "windows", "blanks", "nul", "no utf-8", "empty", "short", "blocks"],
)  # fmt: skip
def test_plain_lists(
    content: bytes, nul: bool, expected: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "list").write_bytes(content)
    assert read(Listing(str(tmp_path / "list"), nul)) == [(entry, None) for entry in expected]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    assert read(Listing("-", nul)) == [(entry, None) for entry in expected]


ROWS = [
    {"product_id": 7, "image_url": "https://h/a.jpg", "metadata": {"brand": "Acme", "size": {"cm": 3}}},
    {"product_id": 8, "image_url": "", "metadata": {"brand": "Acme"}},
    {"product_id": 9, "metadata": None},
    {"product_id": 10, "image_url": "b.jpg", "metadata": {"brand": None}, "metadata.size.cm": 5},
    {"product_id": 11, "image_url": ["c.jpg"]},
]
PASSED = ("product_id", "metadata.brand", "metadata.size.cm")


def test_a_column_of_jsonl_with_nested_fields(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "".join(json.dumps(row) + "\n" for row in ROWS)
    (tmp_path / "products.jsonl").write_text(text)
    listing = Listing(str(tmp_path / "products.jsonl"), image_column="image_url", passed=PASSED)
    expected = [
        ("https://h/a.jpg", {"product_id": 7, "brand": "Acme", "cm": 3}), ("b.jpg", {"product_id": 10, "cm": 5})
    ]  # fmt: skip
    assert (read(listing), listing.empty) == (expected, 3)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    assert read(Listing("-", image_column="image_url", passed=PASSED)) == expected


def test_the_references_own_input_mapping(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(
        '{"payload": {"image_url": "s3://b/a.jpg"}, "metadata": {"product_id": "x"}}\n'
    )
    listing = Listing(str(tmp_path / "rows.jsonl"), image_column="payload.image_url", passed=("metadata.product_id",))
    assert read(listing) == [("s3://b/a.jpg", {"product_id": "x"})]


def test_a_column_of_csv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "id,image.url,brand\n1,a.jpg,\n2,,Acme\n3, b.jpg ,Ümlaut\n"
    (tmp_path / "products.csv").write_text(text)
    listing = Listing(str(tmp_path / "products.csv"), image_column="image.url", passed=("id", "brand"))
    expected = [("a.jpg", {"id": "1", "brand": ""}), ("b.jpg", {"id": "3", "brand": "Ümlaut"})]
    assert (read(listing), listing.empty) == (expected, 1)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    assert read(Listing("-", image_column="image.url", passed=("id", "brand"))) == expected


@pytest.mark.parametrize(
    ("content", "options", "error", "message"),
    [
        (None, {}, NotFoundError, "no such file"),
        (b"a\0b\n", {}, ValidationError, "is no list of lines"),
        (b"x" * 200_000, {}, ValidationError, "an entry longer than 65,536 bytes"),
        (b"a.jpg\n", {"passed": ("id",)}, ValidationError, "--pass takes fields from a table"),
        (b"id,url\n1,a.jpg\n", {"image_column": "image"}, ValidationError, "has no column image"),
        (b"id,url\n1,\n", {"image_column": "url"}, ValidationError, "no row of .*list.csv has text in url"),
        (b"id,url\n1,a\n", {"image_column": "url", "passed": ("a.id", "b.id")}, ValidationError, "may be called 'id'"),
        (b"id,url\n1,a\n", {"image_column": "url", "passed": ("a.",)}, ValidationError, "without a name"),
        (b"id,url\n1\n", {"image_column": "url"}, ValidationError, "line 2: not as many fields"),
        (b"id,url\n1,a\n", {"image_column": "url", "nul": True}, ValidationError, "leave -0 out|no entries"),
        (b"id,url\n1,a\n", {}, ValidationError, "list.csv is a table"),
    ],
)  # fmt: skip
def test_what_is_no_list(
    content: bytes | None, options: dict[str, Any], error: type[PictoError], message: str, tmp_path: Path
) -> None:
    path = tmp_path / ("list.csv" if content and b"," in content else "list.txt")
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(error, match=message):
        read(Listing(str(path), **options))
