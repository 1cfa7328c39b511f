"""What figures are written to: never a file that is not picto's own drawing of that kind."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from pictures import scene
from PIL import Image
from program import run

import pictocli
from pictocli.errors import PictoError, ValidationError

Index = Callable[..., pictocli.records.IndexReport]
FORMS = ("svg", "png", "html")


def drawn(library: pictocli.Library, kind: str, path: Path) -> None:
    if kind == "map":
        library.map(path, layout="pca")
    else:
        library.plot(path)


def occupied(what: str, path: Path) -> None:
    """Make what stands in the way at a path."""
    beside = path.with_name("beside")
    if what == "a photo":
        scene(1).save(path, "JPEG")
    elif what == "a PNG by another program":
        scene(1).save(path, "PNG")
    elif what == "an SVG by another program":
        path.write_text('<?xml version="1.0" encoding="UTF-8"?>\n<svg><!-- picto map --><!-- picto plot --></svg>\n')
    elif what == "a page":
        path.write_text(
            '<!DOCTYPE html>\n<html lang="en">\n<meta name="generator" content="picto">picto map picto plot'
        )
    elif what == "a link to a photo":
        scene(1).save(beside, "JPEG")
        path.symlink_to(beside)
    elif what == "a link to an empty file":
        beside.touch()
        path.symlink_to(beside)
    elif what == "a link to nothing":
        path.symlink_to(beside)
    elif what == "a folder":
        path.mkdir()
    elif what == "a pipe":
        os.mkfifo(path)


def held(folder: Path) -> dict[str, bytes | None]:
    """What lies in a folder beside the library, with the bytes of files."""
    return {
        each.name: each.read_bytes() if each.is_file() else None
        for each in folder.iterdir()
        if not each.name.startswith("library.db")
    }


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", ["map", "plot"])
@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("a photo", "is there already, and is no {kind} of picto's"),
        ("a PNG by another program", "is there already, and is no {kind} of picto's"),
        ("an SVG by another program", "is there already, and is no {kind} of picto's"),
        ("a page", "is there already, and is no {kind} of picto's"),
        ("a link to a photo", "is a symbolic link"),
        ("a link to an empty file", "is a symbolic link"),
        ("a link to nothing", "is a symbolic link"),
        ("a folder", "is a folder"),
        ("a pipe", "is not a regular file"),
    ],
    ids=lambda each: str(each).replace(" ", "-"),
)
def test_nothing_else_is_drawn_over(
    what: str, told: str, kind: str, form: str, library: pictocli.Library, tmp_path: Path
) -> None:
    path = tmp_path / f"target.{form}"
    occupied(what, path)
    before = held(tmp_path)
    with pytest.raises(ValidationError) as caught:
        drawn(library, kind, path)
    assert str(caught.value) == f"{path} {told.format(kind=kind)}"
    assert caught.value.hint
    assert held(tmp_path) == before


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", ["map", "plot"])
def test_its_own_is_drawn_over(kind: str, form: str, library: pictocli.Library, tmp_path: Path) -> None:
    path, other = tmp_path / f"a.{form}", tmp_path / f"b.{form}"
    path.touch()
    drawn(library, kind, path)
    first = path.read_bytes()
    drawn(library, kind, path)
    assert path.read_bytes() == first
    with path.open("ab") as file:
        file.write(b"\n")
    drawn(library, kind, path)
    assert path.read_bytes() == first
    drawn(library, "plot" if kind == "map" else "map", other)
    before = other.read_bytes()
    with pytest.raises(ValidationError, match=f"is no {kind} of picto's"):
        drawn(library, kind, other)
    assert other.read_bytes() == before
    if form == "png":
        with Image.open(path) as image:
            assert image.info["Software"] == f"picto {kind}"


@pytest.mark.parametrize("kind", ["map", "plot"])
def test_what_is_indexed_is_not_drawn_over(kind: str, library: pictocli.Library, tmp_path: Path, index: Index) -> None:
    folder = tmp_path / "p"
    folder.mkdir()
    for number in range(3):
        scene(number).save(folder / f"{number}.png")
    drawn(library, kind, folder / "drawn.png")
    library.close()
    index(folder, db=tmp_path / "own.db")
    before = (folder / "drawn.png").read_bytes()
    with pictocli.open(tmp_path / "own.db") as own:
        with pytest.raises(ValidationError, match="is in the library, as a picture"):
            drawn(own, kind, folder / "drawn.png")
        (tmp_path / "link").symlink_to(folder)
        with pytest.raises(ValidationError, match="is in the library, as a picture"):
            drawn(own, kind, tmp_path / "link/drawn.png")
    assert (folder / "drawn.png").read_bytes() == before


@pytest.mark.parametrize("kind", ["map", "plot"])
def test_the_library_is_not_drawn_over(kind: str, library: pictocli.Library, tmp_path: Path) -> None:
    shutil.copy(library.path, tmp_path / "own.svg")
    os.link(tmp_path / "own.svg", tmp_path / "hard.svg")
    with pictocli.open(tmp_path / "own.svg") as own:
        for name in ("own.svg", "hard.svg"):
            with pytest.raises(ValidationError, match="is the library itself"):
                drawn(own, kind, tmp_path / name)


@pytest.mark.parametrize("kind", ["map", "plot"])
def test_a_folder_that_is_not_there_is_named(kind: str, library: pictocli.Library, tmp_path: Path) -> None:
    with pytest.raises(PictoError, match=r"^cannot write .*/none/x\.svg: no such folder$") as caught:
        drawn(library, kind, tmp_path / "none/x.svg")
    assert (caught.value.exit_code, caught.value.hint) == (3, f"mkdir -p {tmp_path}/none")
    with pytest.raises(ValidationError, match="no file is named"):
        drawn(library, kind, Path("a\0b.svg"))


@pytest.mark.parametrize("command", [("map",), ("info", "--plot")], ids=["map", "plot"])
def test_the_command_says_so(command: tuple[str, ...], library: pictocli.Library, tmp_path: Path) -> None:
    scene(1).save(tmp_path / "photo.png")
    before = (tmp_path / "photo.png").read_bytes()
    ran = run(*command, "photo.png", "--db", library.path, cwd=tmp_path)
    kind = command[-1].removeprefix("--")
    assert (ran.code, ran.out) == (2, b"")
    assert ran.err == (f"error: photo.png is there already, and is no {kind} of picto's\n\nhint: name another file\n")
    assert (tmp_path / "photo.png").read_bytes() == before
