"""Where pictures are drawn and where not: never off a terminal, and nowhere unasked."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from program import PICTO, make_world, run, screen
from terminals import on_terminal
from test_design import HEAVY, PROGRAM

ASKED = {
    "similar": ["similar", "id:1", "--threshold", "0.6"],
    "search": ["search", "sand", "--limit", "2"],
    "tags": ["tags", "--objects", "truck"],
    "show": ["show", "id:5"],
    "duplicates": ["duplicates", "--exact"],
}
BLOCK = "▀"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, model: str) -> Path:
    return make_world(tmp_path_factory.mktemp("world"), model)


@pytest.fixture(autouse=True)
def here(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PICTO_DB", str(world / "picto.db"))
    monkeypatch.chdir(world)
    for name in ("TMUX", "STY", "TERM_PROGRAM", "LC_TERMINAL", "COLORTERM", "SSH_CONNECTION"):
        monkeypatch.setenv(name, "")


def steady(text: str) -> str:
    """A text without times and the numbers of links."""
    return re.sub(r"\b[\d.]+ m?s\b", "TIME", re.sub(r"\]8;id=\d+", "]8;", text))


@pytest.mark.parametrize(
    ("form", "options"),
    [
        pytest.param([], ["--preview"], id="default"),
        pytest.param(["--format", "table", "--color", "always"], ["--preview-as", "kitty"], id="table"),
    ],
)
@pytest.mark.parametrize("name", ASKED)
def test_no_byte_of_them_is_in_a_pipe(name: str, form: list[str], options: list[str]) -> None:
    plain, pictured = run(*ASKED[name], *form), run(*ASKED[name], *form, *options)
    assert (steady(pictured.out.decode()), pictured.code) == (steady(plain.out.decode()), plain.code)
    assert pictured.err == plain.err


@pytest.mark.parametrize(
    ("options", "env", "why"),
    [
        pytest.param(["--preview"], {"NO_COLOR": "1"}, "colours are off", id="no-color"),
        pytest.param(["--preview"], {"TERM": "dumb"}, "colours are off", id="dumb"),
        pytest.param(["--preview", "--color", "never"], {}, "colours are off", id="never"),
        pytest.param(["--preview-as", "kitty", "--color", "never"], {}, "colours are off", id="never, of kitty"),
        pytest.param(["--preview", "--preview-as", "off"], {}, None, id="off"),
        pytest.param(["--preview", "--format", "json"], {}, "they are for tables", id="json"),
        pytest.param(["--preview", "-0"], {}, "they are for tables", id="paths"),
    ],
)
def test_on_a_terminal_without_pictures(options: list[str], env: dict[str, str], why: str | None) -> None:
    asked = ["tags", "--objects", "truck"]
    plain = screen(
        *asked, *[each for each in options if "preview" not in each and each not in ("kitty", "off")], env=env
    )
    pictured, verbose = screen(*asked, *options, env=env), screen(*asked, *options, "-v", env=env)
    assert steady(pictured[1]) == steady(verbose[1]) == steady(plain[1])
    assert steady(pictured[0].err) == steady(plain[0].err)
    assert ("no pictures" in verbose[0].err, f"no pictures: {why}\n" in verbose[0].err) == (bool(why), bool(why))


def test_a_pipe_is_told_why_under_verbose() -> None:
    said = run("tags", "--objects", "truck", "--preview", "-v").err
    assert said.startswith("no pictures: standard output is no terminal\n")


@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"TERM": "dumb"}], ids=str)
def test_what_is_named_beats_the_environment(env: dict[str, str]) -> None:
    _, text = screen("tags", "--objects", "truck", "--preview-as", "blocks", env=env)
    assert BLOCK in text
    assert "\x1bP" in screen("tags", "--objects", "truck", "--preview-as", "sixel", env=env)[1]


@pytest.mark.parametrize("name", [name for name in ASKED if name not in ("show", "duplicates")])
def test_a_narrow_terminal_has_the_table(name: str) -> None:
    plain, pictured = (screen(*ASKED[name], *options, columns=59) for options in ([], ["--preview"]))
    assert steady(pictured[1]) == steady(plain[1])
    assert BLOCK in screen(*ASKED[name], "--preview", columns=60)[1]


def test_show_has_room_in_a_narrow_terminal() -> None:
    lines = screen("show", "id:5", "--preview", columns=30)[1].splitlines()
    assert lines[0].count(BLOCK) == 29
    assert "new/van.png" in lines[12]


@pytest.mark.parametrize("name", [name for name in ASKED if name != "duplicates"])
def test_blocks_on_a_terminal_that_says_nothing(name: str) -> None:
    """The program itself, as it is installed, in the foreground of a terminal that never answers."""
    done = on_terminal(PICTO, *ASKED[name], "--preview", env={"TERM": "xterm-256color"})
    assert (done.code, done.left, done.restored) == (0, b"", True)
    assert done.out.count(b"\x1b[c") == 1
    assert BLOCK.encode() in done.out


def test_several_missing_pictures_are_counted(world: Path, tmp_path: Path) -> None:
    moved = [world / "holiday/beach.jpg", world / "holiday/crete/DSC_0412.jpg"]
    for path in moved:
        path.rename(tmp_path / path.name)
    try:
        asked = ["search", "sand", "--limit", "2", "--preview", "--color", "always"]
        short, long = screen(*asked)[0].err, screen(*asked, "-v")[0].err
    finally:
        for path in moved:
            (tmp_path / path.name).rename(path)
    assert "2 pictures cannot be drawn: --verbose tells why\n" in short
    assert long.count(": cannot read ") == 2


def test_what_is_piped_loads_no_picture_code() -> None:
    given = ["similar", "id:1", "--preview", "--threshold", "0"]
    done = subprocess.run([sys.executable, "-c", PROGRAM, json.dumps(given)], capture_output=True, text=True)
    code, modules = json.loads(done.stderr.splitlines()[-1])
    assert code == 0, done.stderr
    assert not [name for name in modules if name.split(".")[0] in HEAVY]


def test_a_wrong_way_to_draw_names_the_right_ones() -> None:
    ran = run("show", "id:5", "--preview-as", "ascii")
    assert (ran.code, ran.out) == (2, b"")
    assert "'kitty', 'iterm', 'sixel', 'blocks', 'off'" in ran.err
