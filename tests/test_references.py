"""What a user may call an image: an id, a path, a page, bytes; and what each is refused for."""

from __future__ import annotations

import os
import shutil
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from pictures import scene

import pictocli
from pictocli.errors import NotFoundError, PictoError, UnreadableError, ValidationError
from pictocli.queries import Queries
from pictocli.references import Reference, at_path, find, images_of, paths_of
from pictocli.schema import connect


def ask(library: pictocli.Library, image: Any) -> Reference:
    db = connect(library.path, readonly=True)
    try:
        return find(Queries(db), image)
    finally:
        db.close()


def number(library: pictocli.Library, path: Path | str) -> int:
    return library.show(str(path)).image_id


@pytest.mark.parametrize(
    ("image", "name", "page"),
    [
        ("{photos}/old.bmp", "old.bmp", None),
        ("{photos}/scans/../old.bmp", "old.bmp", None),
        ("{photos}//old.bmp", "old.bmp", None),
        ("{photos}/scans/report.pdf", "report.pdf", 1),
        ("{photos}/scans/report.pdf#page=3", "report.pdf", 3),
        ("{photos}/scans/three.tif#page=2", "three.tif", 2),
    ],
)
def test_indexed_images_by_path(
    image: str, name: str, page: int | None, library: pictocli.Library, photos: Path
) -> None:
    found = ask(library, image.format(photos=photos))
    assert found.image_id is not None
    shown = library.show(found.image_id)
    assert (shown.filename, shown.page) == (name, page)


def test_by_id(library: pictocli.Library, photos: Path) -> None:
    wanted = number(library, photos / "old.bmp")
    assert ask(library, wanted) == ask(library, f"id:{wanted}") == Reference(image_id=wanted)


def test_relative_paths_and_links(
    library: pictocli.Library, photos: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    wanted = Reference(image_id=number(library, photos / "old.bmp"))
    monkeypatch.chdir(photos / "scans")
    assert ask(library, "../old.bmp") == wanted
    (tmp_path / "way").symlink_to(photos)
    assert ask(library, tmp_path / "way/old.bmp") == wanted
    (tmp_path / "link.bmp").symlink_to(photos / "old.bmp")
    assert ask(library, tmp_path / "link.bmp") == wanted


def test_the_file_need_not_be_there(index: Any, tmp_path: Path) -> None:
    (tmp_path / "album").mkdir()
    scene(1).save(tmp_path / "album/a.png")
    index(tmp_path / "album")
    shutil.rmtree(tmp_path / "album")
    with pictocli.open(tmp_path / "library.db") as library:
        assert ask(library, tmp_path / "album/a.png").image_id == 1


def test_the_same_bytes_elsewhere_are_a_twin(library: pictocli.Library, photos: Path, tmp_path: Path) -> None:
    wanted = number(library, photos / "old.bmp")
    shutil.copy(photos / "old.bmp", tmp_path / "copy.bmp")
    assert ask(library, tmp_path / "copy.bmp") == Reference(twin=wanted, path=str(tmp_path / "copy.bmp"))
    data = (photos / "old.bmp").read_bytes()
    assert ask(library, data) == Reference(twin=wanted, data=data)
    shutil.copy(photos / "scans/report.pdf", tmp_path / "copy.pdf")
    third = number(library, f"{photos}/scans/report.pdf#page=3")
    assert ask(library, f"{tmp_path}/copy.pdf#page=3").twin == third


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("asked", ["NFC", "NFD"])
def test_either_unicode_form_names_the_file(form: Any, asked: Any, index: Any, tmp_path: Path) -> None:
    (tmp_path / "album").mkdir()
    scene(1).save(tmp_path / "album" / unicodedata.normalize(form, "é.png"))
    index(tmp_path / "album")
    with pictocli.open(tmp_path / "library.db") as library:
        assert ask(library, tmp_path / "album" / unicodedata.normalize(asked, "é.png")).image_id == 1


def test_a_file_that_is_named_like_a_page(index: Any, tmp_path: Path) -> None:
    (tmp_path / "album").mkdir()
    scene(1).save(tmp_path / "album/a.png#page=2", "PNG")
    scene(2).save(tmp_path / "album/a.png")
    index(tmp_path / "album")
    with pictocli.open(tmp_path / "library.db") as library:
        assert library.show(f"{tmp_path}/album/a.png#page=2").filename == "a.png#page=2"


def test_a_new_file_is_to_be_decoded(library: pictocli.Library, tmp_path: Path) -> None:
    scene(99).save(tmp_path / "new.png")
    assert ask(library, tmp_path / "new.png") == Reference(path=str(tmp_path / "new.png"))
    assert at_path(f"{tmp_path}/new.png#page=2") == Reference(path=str(tmp_path / "new.png"), page=2)


@pytest.mark.parametrize(
    ("image", "error", "message"),
    [
        (0, NotFoundError, "no image has the id 0"),
        (-3, NotFoundError, "no image has the id -3"),
        (10**30, NotFoundError, "no image has the id"),
        ("id:99", NotFoundError, "no image has the id 99"),
        ("id:x", ValidationError, "id:x is not an image id"),
        ("id:", ValidationError, "is not an image id"),
        ("id:-1", ValidationError, "is not an image id"),
        ("id:²", ValidationError, "is not an image id"),
        ("id:" + "9" * 99, ValidationError, "is not an image id"),
        ("{tmp}", ValidationError, "is a folder"),
        ("{tmp}/gone.jpg", NotFoundError, "no such image"),
        ("{tmp}/gone.pdf#page=3", NotFoundError, "no such image"),
        ("https://a:b@example.org/a.jpg", ValidationError, "user or password"),
        ("s3://b/a.jpg", ValidationError, "not a bucket"),
        ("{tmp}/pipe", UnreadableError, "not a regular file"),
        ("{tmp}/dangling", UnreadableError, "not a regular file"),
        ("", NotFoundError, "no such image"),
        ("nul\0byte", NotFoundError, "no such image"),
    ],
    ids=repr,
)
def test_what_is_refused(
    image: Any, error: type[PictoError], message: str, library: pictocli.Library, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "dangling").symlink_to("nowhere")
    with pytest.raises(error, match=message):
        ask(library, image.format(tmp=tmp_path) if isinstance(image, str) else image)


def test_at_path_takes_no_id() -> None:
    with pytest.raises(ValidationError, match="a path is needed"):
        at_path(3)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [("/a/b", ["/a/b"]), (Path("/a/b"), ["/a/b"]), (["/a", Path("b")], ["/a", "b"]), ((), []), (iter("a"), ["a"])],
    ids=["a text", "a path", "both", "none", "an iterator"],
)
def test_one_path_is_not_taken_for_its_letters(given: Any, wanted: list[str]) -> None:
    assert paths_of(given) == wanted


@pytest.mark.parametrize("given", ["a.jpg", Path("a.jpg"), 7, b"\xff\xd8"], ids=str)
def test_one_image_is_not_taken_for_several(given: Any) -> None:
    assert images_of(given) == images_of([given]) == [given]


def test_a_single_path_does_where_several_are_taken(library: pictocli.Library, photos: Path) -> None:
    """`index("/photos")` went through the whole disk: the first letter of it is a folder."""
    assert library.index(str(photos)).unchanged == library.index([photos]).unchanged > 0
    assert [each.path for each in library.embed(str(photos / "old.bmp"), device="cpu")] == [str(photos / "old.bmp")]
    assert len(list(library.embed((photos / "old.bmp").read_bytes(), device="cpu"))) == 1
    assert library.remove(str(photos / "old.bmp")).images == library.remove(7).images == 1
    with pytest.raises(NotFoundError, match="no such folder: nowhere"):
        next(library.watch("nowhere"))
    with pytest.raises(NotFoundError, match="no such file or folder: nowhere"):
        library.calibrate("nowhere")
