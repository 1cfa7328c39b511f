"""A small picture of any indexed image: the stored one, or one made of the original."""

from __future__ import annotations

import io
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pictures import corners, make_pdf, quarters, scene, turned_exif
from PIL import Image

import pictocli
from pictocli.errors import DamagedError, NotFoundError, UnreadableError, ValidationError

Index = Callable[..., pictocli.records.IndexReport]


def size(jpeg: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(jpeg)) as image:
        assert (image.format, image.mode) == ("JPEG", "RGB")
        image.load()
        return image.size


@pytest.mark.parametrize("stored", [True, False], ids=["stored", "none stored"])
@pytest.mark.parametrize("width", [64, 640, 1000])
def test_every_kind_gives_one(stored: bool, width: int, photos: Path, tmp_path: Path, index: Index) -> None:
    index(photos, thumbnails=stored)
    with pictocli.open(tmp_path / "library.db") as library:
        for each in library.export():
            wide, high = size(library.thumbnail(each.image_id, width=width))
            if each.kind != "pdf":  # a page is rendered as large as it is asked for
                assert wide == min(width, each.width)
            assert wide <= width
            assert wide / high == pytest.approx(each.width / each.height, rel=0.05)


def test_it_is_upright_and_its_own_page(tmp_path: Path, index: Index) -> None:
    (tmp_path / "p").mkdir()
    quarters(640, 480).transpose(Image.Transpose.ROTATE_90).save(tmp_path / "p/turned.jpg", exif=turned_exif(6))
    make_pdf(tmp_path / "p/two.pdf", [1, 2])
    index(tmp_path / "p")
    with pictocli.open(tmp_path / "library.db") as library:
        with Image.open(io.BytesIO(library.thumbnail(tmp_path / "p/turned.jpg", width=320))) as image:
            assert image.size == (320, 240)
            seen = corners(image)
        assert library.thumbnail(f"{tmp_path}/p/two.pdf#page=1") != library.thumbnail(f"{tmp_path}/p/two.pdf#page=2")
    expected = corners(quarters(640, 480))
    for name, colour in expected.items():
        assert seen[name] == pytest.approx(colour, abs=12), name


def test_what_is_stored_does_when_the_original_is_gone(tmp_path: Path, index: Index) -> None:
    (tmp_path / "p").mkdir()
    scene(1, 800, 600).save(tmp_path / "p/kept.jpg")
    index(tmp_path / "p", thumbnails=True, thumbnail_width=320)
    scene(2, 800, 600).save(tmp_path / "p/bare.jpg")
    index(tmp_path / "p")
    with sqlite3.connect(tmp_path / "library.db") as db:  # as a library that was indexed without thumbnails
        db.execute("DELETE FROM thumbnail WHERE content_id IN (SELECT content_id FROM image WHERE id = 2)")
    with pictocli.open(tmp_path / "library.db") as library:
        assert size(library.thumbnail(1, width=640)) == (640, 480)  # the original has more than is stored
        for name in ("kept", "bare"):
            (tmp_path / f"p/{name}.jpg").unlink()
        assert size(library.thumbnail(1, width=640)) == (320, 240)
        with pytest.raises(UnreadableError, match=r"^cannot read .*bare\.jpg: no such file or directory$"):
            library.thumbnail(2)
        (tmp_path / "p/bare.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture")
        with pytest.raises(UnreadableError, match=r"^cannot read .*bare\.jpg: "):
            library.thumbnail(2)


def test_what_cannot_be_had(library: pictocli.Library, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no image has the id 99"):
        library.thumbnail(99)
    scene(9).save(tmp_path / "other.png")
    with pytest.raises(NotFoundError, match="not in the index"):
        library.thumbnail(tmp_path / "other.png")
    for width in (15, 4097):
        with pytest.raises(ValidationError):
            library.thumbnail(1, width=width)
    library.close()
    with sqlite3.connect(tmp_path / "library.db") as db:
        db.execute("UPDATE thumbnail SET jpeg = x'FFD8FFC000110800640280030122000211010311013F' || zeroblob(9)")
    with pytest.raises(DamagedError, match=r"is damaged: thumbnails that are no JPEG, such as content 1$"):
        library.thumbnail(1, width=32)


def test_pages_may_be_asked_for_by_many_threads(tmp_path: Path, index: Index) -> None:
    """MuPDF must not be: this process would end."""
    make_pdf(tmp_path / "many.pdf", list(range(12)))
    index(tmp_path / "many.pdf")

    def ask(image_id: int) -> tuple[int, int]:
        with pictocli.open(tmp_path / "library.db") as library:
            return size(library.thumbnail(image_id, width=400))

    with ThreadPoolExecutor(6) as pool:
        assert set(pool.map(ask, [*range(1, 13)] * 2)) == {(400, 200)}
