"""URLs as text: one spelling of each, kept by folder and name, and given back as it was."""

from __future__ import annotations

import pytest

from pictocli.errors import ValidationError
from pictocli.urls import is_url, is_web, joined, normal, parts, spelled, stored


@pytest.mark.parametrize(
    ("url", "expected", "place"),
    [
        ("https://example.org/a/b.jpg", "https://example.org/a/b.jpg", ("https://example.org", "a", "b.jpg")),
        ("HTTPS://Example.ORG:443/A.jpg#top", "https://example.org/A.jpg", ("https://example.org", "", "A.jpg")),
        ("http://h:8080/a.jpg", "http://h:8080/a.jpg", ("http://h:8080", "", "a.jpg")),
        ("http://h:080", "http://h/", ("http://h", "", ".")),
        ("https://h/a/", "https://h/a/", ("https://h", "", "a∕")),
        ("https://h//a///b.jpg", "https://h//a///b.jpg", ("https://h", "∕a", "∕∕b.jpg")),
        ("https://h/x?u=http://y/z.jpg", "https://h/x?u=http://y/z.jpg", ("https://h", "", "x?u=http:∕∕y∕z.jpg")),
        ("https://h/ü b.jpg", "https://h/%C3%BC%20b.jpg", ("https://h", "", "%C3%BC%20b.jpg")),
        ("https://h/%2F%C3%BC.jpg", "https://h/%2F%C3%BC.jpg", ("https://h", "", "%2F%C3%BC.jpg")),
        ("https://bücher.example/a", "https://xn--bcher-kva.example/a", ("https://xn--bcher-kva.example", "", "a")),
        ("http://[::1]:80/a", "http://[::1]/a", ("http://[::1]", "", "a")),
        ("https://h/a\x1b[31m.jpg", "https://h/a%1B[31m.jpg", ("https://h", "", "a%1B[31m.jpg")),
        ("s3://bucket", "s3://bucket", ("s3://bucket", "", "")),
        ("S3://bucket/a b/ü?.jpg", "s3://bucket/a b/ü?.jpg", ("s3://bucket", "a b", "ü?.jpg")),
        ("s3://bucket//a//b.jpg", "s3://bucket//a//b.jpg", ("s3://bucket", "∕a", "∕b.jpg")),
    ],
)  # fmt: skip
def test_a_url_is_kept_and_comes_back(url: str, expected: str, place: tuple[str, str, str]) -> None:
    found = normal(url)
    assert (found, parts(found)) == (expected, place)
    assert normal(found) == found
    assert spelled(stored(found)) == found
    if place[2]:
        assert joined(*place) == found
        assert "//" not in f"{place[1]}/{place[2]}".removeprefix("/")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("https://", "not a URL"),
        ("https:///a.jpg", "not a URL"),
        ("http://h:99999/a", "not a URL"),
        ("http://a b/c", "not a URL"),
        ("https://h/a\0b", "not a URL"),
        ("https://h/" + "a" * 9000, "not a URL"),
        ("s3://", "not a bucket's name: ''"),
        ("s3://b/a", "not a bucket's name: 'b'"),
        ("s3://bucket/a∕b", "cannot be kept"),
    ],
)
def test_what_is_no_url(url: str, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        normal(url)


def test_a_password_is_neither_kept_nor_said() -> None:
    with pytest.raises(ValidationError) as caught:
        normal("https://ada:secret@example.org/a.jpg")
    assert (
        str(caught.value) == "a URL must not hold a user or password, which would be stored: https://example.org/a.jpg"
    )
    assert "secret" not in f"{caught.value}{caught.value.hint}"


@pytest.mark.parametrize(
    ("text", "url", "web"),
    [
        ("s3://b/a", True, False), ("http://h", True, True), ("HTTPS://h", True, True), ("ftp://h", False, False),
        ("s3:/b", False, False), ("./https://h", False, False), ("httpx://h", False, False), ("", False, False),
    ],
)  # fmt: skip
def test_what_is_taken_for_a_url(text: str, url: bool, web: bool) -> None:
    assert (is_url(text), is_web(text)) == (url, web)


def test_paths_of_files_stay_as_they_are() -> None:
    assert joined("/a", "", "b∕c.jpg") == "/a/b∕c.jpg"
    assert spelled("/a/b∕c.jpg") == "/a/b∕c.jpg"
