"""`picto thumbnails export` to a folder: what is written, linked, written again, and taken back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pictures import make_pdf, scene
from PIL import Image
from program import environment, run

import pictocli
from pictocli.errors import NotFoundError, PictoError, StoreError, ValidationError
from pictocli.sizes import jpeg_width, thumbnail_size

Index = Callable[..., pictocli.records.IndexReport]
Rows = Callable[..., list[tuple[Any, ...]]]


def urls(library: pictocli.Library) -> dict[int, str | None]:
    return {each.image_id: each.thumbnail_url for each in library.export()}


def test_each_image_has_its_thumbnail_and_its_link(library: pictocli.Library, tmp_path: Path, rows: Rows) -> None:
    report = library.export_thumbnails(tmp_path / "t")
    assert (report.written, report.unchanged, report.lacking, report.dry_run) == (18, 0, 0, False)
    assert sorted(os.listdir(tmp_path / "t")) == sorted(f"thumb_{number}.jpg" for number in range(1, 19))
    assert urls(library) == {number: f"file://{tmp_path}/t/thumb_{number}.jpg" for number in range(1, 19)}
    stored = rows("SELECT i.id, t.jpeg FROM image i JOIN thumbnail t ON t.content_id = i.content_id")
    for image_id, jpeg in stored:  # as they are: nothing is lost by encoding them again
        assert (tmp_path / f"t/thumb_{image_id}.jpg").read_bytes() == jpeg


def test_what_lies_there_is_not_written_again(library: pictocli.Library, tmp_path: Path) -> None:
    library.export_thumbnails(tmp_path / "t")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "t").iterdir()}
    assert library.export_thumbnails(tmp_path / "t").unchanged == 18
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "t").iterdir()} == before
    assert library.export_thumbnails(tmp_path / "t", force=True).written == 18
    assert all(path.stat().st_mtime_ns > at for path, at in before.items())


@pytest.mark.parametrize(
    ("options", "width", "kind", "suffix"),
    [
        ({}, 640, "JPEG", ".jpg"),
        ({"width": 200}, 200, "JPEG", ".jpg"),
        ({"width": 5000}, 640, "JPEG", ".jpg"),
        ({"format": "webp"}, 640, "WEBP", ".webp"),
        ({"format": "webp", "width": 100}, 100, "WEBP", ".webp"),
    ],
    ids=["as stored", "smaller", "not larger", "webp", "small webp"],
)
def test_formats_and_widths(
    options: dict[str, Any], width: int, kind: str, suffix: str, library: pictocli.Library, tmp_path: Path
) -> None:
    sunny = next(each for each in library.export() if each.filename == "sunny.jpg")  # 900 × 600
    library.export_thumbnails(tmp_path / "t", **options)
    with Image.open(tmp_path / f"t/thumb_{sunny.image_id}{suffix}") as image:
        assert (image.format, image.size) == (kind, (width, round(width * 600 / 900)))


def test_another_width_is_written_again_and_the_same_is_not(library: pictocli.Library, tmp_path: Path) -> None:
    place = tmp_path / "t"
    found = [library.export_thumbnails(place, width=width).written for width in (None, 100, 100, 50, None, None)]
    assert found == [18, 18, 0, 18, 18, 0]


def test_another_width_for_a_part_of_what_lies_there_is_refused(library: pictocli.Library, tmp_path: Path) -> None:
    library.export_thumbnails(tmp_path / "t")
    with pytest.raises(ValidationError, match="images outside this scope too"):
        library.export_thumbnails(tmp_path / "t", width=100, folder="scans", force=True)
    assert all(urls(library).values())
    assert library.export_thumbnails(tmp_path / "small", width=100, folder="scans").written == 8


def test_two_places_behind_one_address_are_not_taken_for_one(library: pictocli.Library, tmp_path: Path) -> None:
    cdn = "https://cdn.example/x"
    assert library.export_thumbnails(tmp_path / "a", cdn=cdn).written == 18
    assert library.export_thumbnails(tmp_path / "b", cdn=cdn).written == 18
    assert len(os.listdir(tmp_path / "b")) == 18
    assert urls(library)[3] == "https://cdn.example/x/thumb_3.jpg"


def test_a_scope_is_exported_alone(library: pictocli.Library, tmp_path: Path) -> None:
    assert library.export_thumbnails(tmp_path / "t", dataset="photos", folder="beach").written == 3
    assert sum(url is not None for url in urls(library).values()) == 3
    assert library.export_thumbnails(tmp_path / "t").unchanged == 3
    with pytest.raises(NotFoundError):
        library.export_thumbnails(tmp_path / "t", dataset="nobody")


def test_a_dry_run_writes_nothing(library: pictocli.Library, tmp_path: Path) -> None:
    report = library.export_thumbnails(tmp_path / "t", dry_run=True)
    assert (report.written, report.dry_run, (tmp_path / "t").exists()) == (18, True, False)
    assert not any(urls(library).values())


def test_a_changed_picture_loses_its_link_and_gets_a_new_one(index: Index, tmp_path: Path, rows: Rows) -> None:
    album = tmp_path / "album"
    album.mkdir()
    for number in (1, 2):
        scene(number, 800, 600).save(album / f"{number}.jpg")
    index(album, thumbnails=True)
    library = pictocli.open(tmp_path / "library.db")
    library.export_thumbnails(tmp_path / "t")
    old = (tmp_path / "t/thumb_1.jpg").read_bytes()
    scene(9, 800, 600).save(album / "1.jpg")
    index(album)  # it had a thumbnail, so it has one of what it shows now
    assert [url is None for url in urls(library).values()] == [True, False]
    assert library.export_thumbnails(tmp_path / "t").written == 1
    assert (tmp_path / "t/thumb_1.jpg").read_bytes() != old
    library.close()


def test_pages_and_images_without_a_thumbnail(index: Index, tmp_path: Path) -> None:
    make_pdf(tmp_path / "album.pdf", [1, 2])
    index(tmp_path / "album.pdf", thumbnails=True, dataset="d")
    scene(3).save(tmp_path / "later.png")
    index(tmp_path / "later.png")
    ran = run("thumbnails", "export", tmp_path / "t", "--db", tmp_path / "library.db")
    assert (ran.code, ran.out) == (0, b"")
    wrote, lacking, hint = ran.err.splitlines()
    assert wrote.startswith(f"Wrote 2 thumbnails to {tmp_path}/t in ")
    assert lacking == "1 image has no thumbnail"
    assert hint == "hint: picto index --thumbnails with the same folders makes them"


def test_every_output_has_the_link(library: pictocli.Library, tmp_path: Path) -> None:
    library.export_thumbnails(tmp_path / "t", cdn="https://cdn.example")
    library.close()
    link = "https://cdn.example/thumb_{}.jpg"
    for asked in (
        ["similar", "id:3", "--threshold", "0", "--folder", "/"], ["tags", "--attributes", "landscape-orientation"],
        ["export"], ["show", "id:3"],
    ):  # fmt: skip
        for form in ("jsonl", "csv"):
            ran = run(*asked, "--format", form, "--db", library.path)
            lines = ran.out.decode().splitlines()
            assert (ran.code, bool(lines)) == (0, True)
            for line in lines[form == "csv" :]:
                if form == "csv":
                    assert "https://cdn.example/thumb_" in line
                else:
                    found = json.loads(line)
                    assert found["thumbnail_url"] == link.format(found["image_id"])
    shown = run("show", "id:3", "--format", "table", "--db", library.path).out.decode()
    assert f"thumbnail   stored  {link.format(3)}" in shown


def test_a_killed_export_goes_on(library: pictocli.Library, tmp_path: Path) -> None:
    """Killed between an object and its rename: nothing is half-written, and the next run leaves no trace of it."""
    library.close()
    code = (
        "import os, signal, sys, pictocli, pictocli.places as p\nreal = os.replace\n"
        "def replace(a, b):\n    if b.endswith('thumb_9.jpg'):\n        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    real(a, b)\np.os.replace = replace\npictocli.open(sys.argv[1]).export_thumbnails(sys.argv[2])\n"
    )
    line = [sys.executable, "-c", code, library.path, tmp_path / "t"]
    assert subprocess.run(line, env=environment(), capture_output=True).returncode == -signal.SIGKILL
    assert not (tmp_path / "t/thumb_9.jpg").exists()
    assert not any(urls(library).values())
    assert library.export_thumbnails(tmp_path / "t").written == 18
    assert sorted(os.listdir(tmp_path / "t")) == sorted(f"thumb_{number}.jpg" for number in range(1, 19))


def test_ctrl_c_stores_the_links_of_what_was_written(
    library: pictocli.Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pictocli.publishing._BATCH", 5)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where a shell began the tests unseen
    real = pictocli.links.Links.link

    def link(self: Any, made: Any) -> None:
        real(self, made)
        signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr("pictocli.links.Links.link", link)
        try:
            report = library.export_thumbnails(tmp_path / "t")
        finally:
            signal.signal(signal.SIGINT, before)
    assert (report.interrupted, report.written) == (True, 5)
    assert sum(url is not None for url in urls(library).values()) == 5
    assert library.export_thumbnails(tmp_path / "t").written == 13


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"format": "png"}, "thumbnails cannot be png"),
        ({"width": 1}, "width must lie between 16 and 65500, not 1"),
        ({"cdn": "cdn.example"}, "cdn.example is no address of a CDN"),
        ({"cdn": "https://"}, "https:// is no address of a CDN"),
        ({"cdn": "https://x/?a=1"}, "is no address of a CDN"),
    ],
    ids=["format", "width", "cdn without a scheme", "cdn without a host", "cdn with a query"],
)
def test_wrong_options_are_told(options: dict[str, Any], told: str, library: pictocli.Library, tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match=told):
        library.export_thumbnails(tmp_path / "t", **options)
    assert not (tmp_path / "t").exists()


def test_a_place_that_cannot_be_written(library: pictocli.Library, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ValidationError, match="is no folder"):
        library.export_thumbnails(tmp_path / "file")
    with pytest.raises(PictoError, match="cannot write /proc/nothing"):
        library.export_thumbnails("/proc/nothing/here")
    assert not any(urls(library).values())
    with pytest.raises(StoreError, match="there is no database"):
        pictocli.open(tmp_path / "none.db").export_thumbnails(tmp_path / "t")


# -- widths in the library --------------------------------------------------------------------------------------------


def widths(rows: Rows) -> set[int]:
    return {jpeg_width(jpeg) for (jpeg,) in rows("SELECT jpeg FROM thumbnail")}


def test_a_width_is_made_once_and_remembered(index: Index, tmp_path: Path, rows: Rows) -> None:
    album = tmp_path / "album"
    album.mkdir()
    for number in (1, 2, 3):
        scene(number, 3000, 2200).save(album / f"{number}.jpg")
    scene(4, 100, 50).save(album / "tiny.png")
    assert index(album, thumbnails=True).indexed == 4
    assert widths(rows) == {640, 100}
    for width, updated in ((1500, 3), (1500, 0), (None, 0), (300, 3), (640, 3)):
        report = index(album, thumbnails=True, thumbnail_width=width)
        assert (width, report.indexed, report.updated) == (width, 0, updated)
    index(album, thumbnail_width=1500)
    assert widths(rows) == {1500, 100}
    scene(5, 2500, 2000).save(album / "5.jpg")
    index(album, thumbnails=True)
    assert widths(rows) == {1500, 100}


def test_new_thumbnails_are_exported_again(index: Index, tmp_path: Path) -> None:
    scene(1, 900, 600).save(tmp_path / "a.jpg")
    index(tmp_path / "a.jpg", thumbnails=True)
    with pictocli.open(tmp_path / "library.db") as library:
        library.export_thumbnails(tmp_path / "t")
        index(tmp_path / "a.jpg", thumbnail_width=800)
        assert urls(library) == {1: None}
        library.export_thumbnails(tmp_path / "t")
    with Image.open(tmp_path / "t/thumb_1.jpg") as image:
        assert image.size == (800, 533)


@pytest.mark.parametrize(
    ("size", "most", "made"),
    [
        ((900, 600), 640, (640, 427)), ((640, 480), 640, (640, 480)), ((10, 10), 640, (10, 10)),
        ((10_000, 1), 640, (640, 1)), ((1, 131_000), 640, (1, 65_500)),
    ],
    ids=["smaller", "same", "not larger", "a line", "as high as a JPEG may be"],
)  # fmt: skip
def test_sizes(size: tuple[int, int], most: int, made: tuple[int, int]) -> None:
    assert thumbnail_size(*size, most) == made


@pytest.mark.parametrize("head", [b"", b"\xff\xd8", b"no JPEG at all", b"\xff\xd8" + b"\xff\xe0\x00\x02" * 300])
def test_what_is_no_jpeg_has_no_width(head: bytes) -> None:
    assert jpeg_width(head) == 0
