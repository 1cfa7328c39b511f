"""--html and --open, as users give them: what is printed beside the page, where it goes, and who shows it."""

from __future__ import annotations

import os
import shutil
import stat
import time
from pathlib import Path

import pytest
from program import make_world, run, screen
from test_page import checked

ASKED = {
    "similar": ["similar", "holiday/beach.jpg", "--folder", "/", "--threshold", "0"],
    "search": ["search", "a red car", "--dataset", "holiday"],
    "tags": ["tags", "--scenes", "beach"],
    "duplicates": ["duplicates", "--exact"],
}
TITLES = {
    "similar": ("4 images like beach.jpg, at 0.00 or above", 4),
    "search": ("5 images for “a red car”", 5),
    "tags": ("2 images with beach", 2),
    "duplicates": ("1 group of exact duplicates", 2),
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, model: str) -> Path:
    base = make_world(tmp_path_factory.mktemp("world"), model)
    shutil.copy(base / "odd/-dash.png", base / "odd/twin.png")
    done = run("index", base / "odd", "--model", model, env={"PICTO_DB": str(base / "picto.db")})
    assert done.code == 0, done.err
    return base


@pytest.fixture
def env(world: Path, tmp_path: Path) -> dict[str, str]:
    (tmp_path / "temporary").mkdir()
    return {"PICTO_DB": str(world / "picto.db"), "TMPDIR": str(tmp_path / "temporary")}


@pytest.mark.parametrize("command", ASKED)
def test_a_page_of_each(command: str, world: Path, tmp_path: Path, env: dict[str, str]) -> None:
    """A pipe gets no rows beside it, unless a format is named; standard output may take the page itself."""
    page = tmp_path / "page.html"
    ran = run(*ASKED[command], "--html", page, cwd=world, env=env)
    parsed = checked(page.read_text("utf-8"))
    title, images = TITLES[command]
    assert parsed.texts["title"] == [title]
    assert len(parsed.images) == images + (command == "similar")
    assert (ran.code, ran.out) == (0, b"")
    assert ran.err.startswith(f"Wrote {page}, {images} images, ")
    assert len(ran.err.splitlines()) == 1
    piped = run(*ASKED[command], "--html", "-", cwd=world, env=env)
    assert (piped.code, piped.err) == (0, "")
    assert piped.out == page.read_bytes()
    rows = run(*ASKED[command], "--format", "paths", cwd=world, env=env)
    both = run(*ASKED[command], "--html", page, "--format", "paths", "-q", cwd=world, env=env)
    assert (both.code, both.out, both.err) == (0, rows.out, "")


def test_a_terminal_shows_the_table_too(world: Path, tmp_path: Path, env: dict[str, str]) -> None:
    asked = [*ASKED["tags"], "--color", "never"]
    _, table = screen(*asked, cwd=world, env=env)
    ran, shown = screen(*asked, "--html", str(tmp_path / "page.html"), cwd=world, env=env)
    assert "beach.jpg" in table
    assert shown == table
    assert f"Wrote {tmp_path}/page.html, 2 images, " in ran.err


@pytest.mark.parametrize(
    ("more", "title"),
    [
        (["a red car", "--not", "sand"], "5 images for “a red car”, without “sand”"),
        (["2:a red car", "0.5:sand"], "5 images for 2 × “a red car” and 0.5 × “sand”"),
        (["a red car", "--image", "2:holiday/beach.jpg"], "4 images for “a red car” and 2 × beach.jpg"),
        (["--image", "holiday/beach.jpg", "--objects", "car"], "1 image for beach.jpg with car"),
        (["a red car", "--min-probability", "0.001"], "4 images for “a red car” at a probability of 0.001 or above"),
    ],
    ids=["not", "weights", "picture", "tags", "probability"],
)
def test_a_question_in_words(more: list[str], title: str, world: Path, tmp_path: Path, env: dict[str, str]) -> None:
    ran = run("search", "--dataset", "holiday", *more, "--html", tmp_path / "p.html", cwd=world, env=env)
    assert ran.code == 0, ran.err
    assert checked((tmp_path / "p.html").read_text("utf-8")).texts["h1"] == [title]


@pytest.mark.parametrize("image", ["id:1", "-"], ids=["id", "standard input"])
def test_a_reference_without_a_path(image: str, world: Path, tmp_path: Path, env: dict[str, str]) -> None:
    data = (world / "holiday/beach.jpg").read_bytes() if image == "-" else b""
    ran = run("similar", image, "--everywhere", "--html", tmp_path / "p.html", stdin=data, env=env)
    assert ran.code == 0, ran.err
    name = "the picture given" if image == "-" else "beach.jpg"
    assert f" images like {name}, at 0.60 or above" in checked((tmp_path / "p.html").read_text("utf-8")).texts["h1"][0]


# -- --open -----------------------------------------------------------------------------------------------------------


def browser(folder: Path, script: str) -> str:
    """The path of a program that plays the browser."""
    path = folder / "browser"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize("named", [True, False], ids=["with a file", "alone"])
def test_the_browser_gets_the_file(named: bool, world: Path, tmp_path: Path, env: dict[str, str]) -> None:
    env |= {"BROWSER": browser(tmp_path, f'echo noise; echo noise >&2; printf %s "$1" > {tmp_path}/asked') + " %s"}
    more = ["--html", str(tmp_path / "the page.html")] if named else []
    ran = run(*ASKED["duplicates"], "--open", *more, "--format", "tsv", cwd=world, env=env)
    asked = (tmp_path / "asked").read_text()
    (path,) = [tmp_path / "the page.html"] if named else (tmp_path / "temporary").iterdir()
    assert asked == path.as_uri()
    assert len(checked(path.read_text("utf-8")).images) == 2
    assert (stat.S_IMODE(path.stat().st_mode) == 0o600) is not named
    assert ran.code == 0
    assert b"noise" not in ran.out
    assert ran.out.count(b"\n") == 2
    assert ran.err.startswith(f"Wrote {path}, 2 images, ")
    assert len(ran.err.splitlines()) == 1


def test_a_browser_that_stays_holds_no_pipe(world: Path, tmp_path: Path, env: dict[str, str]) -> None:
    wait = f"for each in $(seq 600); do [ -e {tmp_path}/go ] && break; sleep 0.1; done; touch {tmp_path}/ended"
    env |= {"BROWSER": browser(tmp_path, wait) + " %s &"}
    ran = run(*ASKED["tags"], "--open", cwd=world, env=env)  # until both pipes have closed
    early = not (tmp_path / "ended").exists()
    (tmp_path / "go").touch()
    assert (ran.code, early) == (0, True)
    deadline = time.monotonic() + 60
    while not (tmp_path / "ended").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert (tmp_path / "ended").exists()


@pytest.mark.parametrize("command", ["none", "/nowhere/browser", "/bin/false %s"])
def test_without_a_browser_the_file_stays(command: str, world: Path, tmp_path: Path, env: dict[str, str]) -> None:
    (tmp_path / "bin").mkdir()
    env |= {"PATH": str(tmp_path / "bin"), "BROWSER": "" if command == "none" else command, "DISPLAY": ""}
    ran = run(*ASKED["tags"], "--open", cwd=world, env=env | {"WAYLAND_DISPLAY": ""})
    (path,) = (tmp_path / "temporary").iterdir()
    assert (ran.code, ran.out) == (0, b"")
    assert ran.err.splitlines()[1:] == [f"warning: there is no browser to show it: open {path} in one"]
    assert len(checked(path.read_text("utf-8")).images) == 2


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["similar", "id:1", "--html", "-", "--open"], "error: --open shows a file, and --html - makes none"),
        (["tags", "--scenes", "beach", "--html", "-", "-0"], "error: standard output takes the page or the rows"),
        (["similar", "--stdin", "--open"], "error: a page shows what one IMG is like"),
        (["search", "--html", "p.html", "--open"], "error: words or a picture are needed"),
    ],
    ids=["nothing to open", "two outputs", "many", "no words"],
)
def test_wrong_usage(arguments: list[str], error: str, tmp_path: Path, env: dict[str, str]) -> None:
    ran = run(*arguments, cwd=tmp_path, env=env)
    assert (ran.code, ran.out, ran.err.splitlines()[0]) == (2, b"", error)
    assert os.listdir(tmp_path) == ["temporary"]
