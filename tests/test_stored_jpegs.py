"""What stands where a thumbnail should, in a library that a stranger has made, is opened only if it is one."""

from __future__ import annotations

import io
import os
import sqlite3
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from pictures import scene
from PIL import EpsImagePlugin
from rich.console import Console

import pictocli
from pictocli.errors import DamagedError, UnreadableError
from pictocli.mosaic import tile
from pictocli.previews import PreviewPage
from pictocli.stored_jpegs import stored_jpeg

Index = Callable[..., object]
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 48\n%%EndComments\n0 0 64 48 rectfill\nshowpage\n%%EOF\n"


def saved(form: str, width: int = 64, height: int = 48, **options: object) -> bytes:
    out = io.BytesIO()
    scene(3, width, height).save(out, form, **options)
    return out.getvalue()


def claiming(width: int, height: int) -> bytes:
    """A JPEG whose frame says that it is of another size."""
    whole = saved("JPEG")
    at = whole.index(b"\xff\xc0")
    return whole[: at + 5] + struct.pack(">HH", height, width) + whole[at + 9 :]


BLOBS = {
    "EPS": EPS,
    "PNG": saved("PNG"),
    "60000 x 60000": claiming(60_000, 60_000),
    "a wide one": claiming(4097, 10),
    "progressive": saved("JPEG", progressive=True),
    "cut": saved("JPEG")[:100],
    "nothing": b"",
}
anything = pytest.mark.parametrize("blob", BLOBS.values(), ids=BLOBS)


@pytest.fixture(autouse=True)
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that is there once Pillow has started what it thinks is ghostscript."""
    told, program = tmp_path / "started", tmp_path / "bin/gs"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ntouch '{told}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)
    return told


@pytest.fixture
def foreign(tmp_path: Path, index: Index) -> Callable[[bytes], Path]:
    """Makes a library of one image, whose file is gone, with this in place of its thumbnail."""

    def made(blob: bytes) -> Path:
        (tmp_path / "p").mkdir()
        scene(1, 800, 600).save(tmp_path / "p/one.jpg")
        index(tmp_path / "p", thumbnails=True, thumbnail_width=64)
        (tmp_path / "p/one.jpg").unlink()
        with sqlite3.connect(tmp_path / "library.db") as db:
            db.execute("UPDATE thumbnail SET jpeg = ?", (blob,))
        db.close()
        return tmp_path / "library.db"

    return made


@anything
def test_it_is_not_opened(blob: bytes, started: Path) -> None:
    with pytest.raises(DamagedError, match=r"^the database is damaged: a "):
        stored_jpeg(blob)
    with pytest.raises(UnreadableError):
        tile(blob, 48)
    assert not started.exists()


@pytest.mark.parametrize("size", [(1, 1), (640, 480), (4096, 16), (16, 65_500)], ids=str)
def test_what_picto_makes_is_opened(size: tuple[int, int]) -> None:
    with stored_jpeg(saved("JPEG", *size, quality=85)) as image:
        image.load()
        assert (image.size, image.mode) == (size, "RGB")


@anything
@pytest.mark.parametrize("width", [32, 64, 640])
def test_it_is_not_given(width: int, blob: bytes, foreign: Callable[[bytes], Path], started: Path) -> None:
    with pictocli.open(foreign(blob)) as library, pytest.raises(DamagedError, match="thumbnail"):
        library.thumbnail(1, width=width)
    assert not started.exists()


@anything
def test_a_page_has_a_box(blob: bytes, foreign: Callable[[bytes], Path], started: Path) -> None:
    with pictocli.open(foreign(blob)) as library:
        page = library.page(library.tagged(before="2100"))
    assert "<img" not in page
    assert "No picture: the stored thumbnail is damaged" in page
    assert not started.exists()


@anything
def test_a_preview_is_grey(
    blob: bytes, foreign: Callable[[bytes], Path], started: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pictocli.open(foreign(saved("JPEG"))) as library, open(os.devnull, "r+") as nowhere:
        monkeypatch.setattr("sys.stdin", nowhere)
        page = PreviewPage(Console(file=nowhere, width=80, height=30), lambda _, __: blob, "blocks")
        page.detail(library.show(1))
    assert [str(each).startswith("the database is damaged: ") for each in page.failed] == [True]
    assert not started.exists()


def test_the_rest_of_a_map_is_drawn(foreign: Callable[[bytes], Path], tmp_path: Path, index: Index) -> None:
    path = foreign(EPS)
    (tmp_path / "q").mkdir()
    for number in range(4):
        scene(number + 10, 80, 60).save(tmp_path / f"q/{number}.jpg")
    index(tmp_path / "q")
    with pictocli.open(path) as library:
        assert library.map(tmp_path / "map.html", layout="pca").lacking == 1


@anything
def test_it_is_not_exported(blob: bytes, foreign: Callable[[bytes], Path], tmp_path: Path, started: Path) -> None:
    with (
        pictocli.open(foreign(blob)) as library,
        pytest.raises(DamagedError, match=r"the thumbnail of image 1 is no JPEG$"),
    ):
        library.export_thumbnails(tmp_path / "out", width=32)
    assert not started.exists()
