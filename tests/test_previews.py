"""Pictures in tables, on real terminals: tmux, and pseudo-terminals that speak for kitty, iTerm2 and sixels.

`python tests/test_previews.py` writes screenshots/preview.png anew.
"""

from __future__ import annotations

import base64
import io
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pictures import CORNERS, corners, quarters, scene
from PIL import Image
from program import PICTO, environment, make_world, screen
from terminals import Cell, cells, drawn, in_tmux, on_terminal, unsixelled

from pictocli.graphics import _EIGHT

STYLE = re.compile(r"\x1b\]8;[^\x1b]*\x1b\\|\x1b\[[0-9;]*m")
NOTHING_TOLD = {"TMUX": "", "STY": "", "TERM_PROGRAM": "", "LC_TERMINAL": "", "COLORTERM": ""}
GREY = (128, 128, 128)
BLOCK = "▀".encode()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, model: str) -> Path:
    base = make_world(tmp_path_factory.mktemp("world"), model)
    quarters(64, 48).save(base / "holiday/new/van.png")  # what is drawn is what lies there now
    (base / 'odd/quote".png').unlink()
    return base


@pytest.fixture(autouse=True)
def here(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PICTO_DB", str(world / "picto.db"))
    monkeypatch.chdir(world)
    for name, value in NOTHING_TOLD.items():
        monkeypatch.setenv(name, value)


def told(line: list[Cell]) -> str:
    return "".join(cell.char for cell in line).rstrip()


def quartered(pixels: np.ndarray) -> None:
    """That pixels show `quarters`, whatever the colours of those beside a seam."""
    high, wide = pixels.shape[:2]
    wanted = np.asarray(quarters(wide, high)).astype(int)
    far = np.abs(pixels.astype(int) - wanted).max(-1)
    y, x = max(1, high // 12), max(1, wide // 12)  # what is enlarged is soft there
    far[high // 2 - y : high // 2 + y + 1] = far[:, wide // 2 - x : wide // 2 + x + 1] = 0
    assert far.max() <= 12, far


# -- in tmux, by blocks ----------------------------------------------------------------------------------------------


def in_blocks(lines: list[list[Cell]], wide: int, high: int) -> np.ndarray:
    """uint8 [high, wide, 3] of the pixels at the left of a screen's first lines."""
    rows = []
    for line in lines[: high // 2]:
        assert {cell.char for cell in line[:wide]} == {"▀"}
        rows += [[cell.fore for cell in line[:wide]], [cell.back for cell in line[:wide]]]
    return np.asarray(rows, np.uint8)


def test_a_picture_stands_beside_its_row() -> None:
    lines = cells(in_tmux(PICTO, "tags", "--objects", "truck", "--preview", env={"TERM": "screen"}))
    quartered(in_blocks(lines, 16, 12))
    assert [told(line)[16:] for line in lines[:6]] == [
        "  truck .61",
        "  holiday/new/van.png",
        "  car .98  outdoor .91  red .83",
        "  id:5  64×48  2019-07-14  holiday",
        "",
        "",
    ]
    rest = [re.sub(r"\d+ ms", "TIME", told(line)) for line in lines[6:] if line]
    assert rest == ["1 matches truck, TIME", "= 0"]
    assert [cell for line in lines[:6] for cell in line[16:] if cell.back] == []


def test_show_draws_it_above() -> None:
    lines = cells(in_tmux(PICTO, "show", "id:5", "--preview", columns=80, env={"TERM": "screen"}))
    quartered(in_blocks(lines, 53, 40))
    assert {len(line) for line in lines[:20]} == {53}
    assert told(lines[20]) == ""
    assert re.fullmatch(r"holiday/new/van\.png +id:5", told(lines[21]))
    assert told(lines[22]).startswith("  image       64×48  PNG")


@pytest.mark.parametrize(
    ("env", "palette"),
    [
        pytest.param({"TERM": "xterm-256color", "TMUX": ""}, None, id="256 colours, of a terminal that is asked"),
        pytest.param({"TERM": "vt220", "TMUX": ""}, _EIGHT, id="eight"),
    ],
)
def test_fewer_colours(env: dict[str, str], palette: list[tuple[int, int, int]] | None) -> None:
    text = in_tmux(PICTO, "tags", "--objects", "truck", "--preview", env=env)
    lines = cells(text)
    pixels = in_blocks(lines, 16, 12)
    found = corners(pixels)
    for name, colour in CORNERS.items():
        nearest = min(palette or [colour], key=lambda each: np.square(np.subtract(each, colour)).sum())
        assert np.abs(np.subtract(found[name], nearest)).max() <= (0 if palette else 40)
    assert ("48;2;" in text, "48;5;" in text) == (False, palette is None)
    assert [told(line) for line in lines if line][-1] == "= 0"  # nothing that tmux has answered stands there
    assert told(lines[0])[16:] == "  truck .61"


def test_without_unicode_blanks_are_coloured() -> None:
    env = {"PYTHONIOENCODING": "ascii", "COLORTERM": "truecolor"}
    ran, text = screen("tags", "--objects", "truck", "--preview", env=env)
    assert text.isascii()
    lines = cells(text)
    pixels = np.asarray([[cell.back for cell in line[:12]] for line in lines[:4]], np.uint8)
    assert {cell.char for line in lines[:4] for cell in line[:12]} == {" "}
    assert np.abs(np.subtract(list(corners(pixels).values()), list(CORNERS.values()))).max() <= 40
    assert told(lines[1])[12:] == "  holiday/new/van.png"
    assert ran.code == 0


def test_a_picture_that_is_gone_is_a_grey_box() -> None:
    env = {"COLORTERM": "truecolor"}
    ran, text = screen("similar", "id:1", "--threshold", "0.5", "--everywhere", "--preview", env=env)
    lines = cells(text)
    at = next(number for number, line in enumerate(lines) if told(line).endswith('odd/quote".png')) - 1
    assert (in_blocks(lines[at:], 12, 8) == GREY).all()
    assert not (in_blocks(lines[at - 6 :], 12, 8) == GREY).all()
    said = STYLE.sub("", ran.err)
    assert said.startswith(f'warning: cannot read {Path.cwd()}/odd/quote".png: no such file or directory\n')


ANSWERS = {
    "similar": (
        ["similar", "id:1", "--everywhere", "--threshold", "0.56"],
        [
            "▀▀▀▀▀▀▀▀▀▀▀▀  0.941  ███████▌",
            "▀▀▀▀▀▀▀▀▀▀▀▀  holiday/crete/DSC_0412.jpg",
            "▀▀▀▀▀▀▀▀▀▀▀▀  person .66  beach .90  outdoor .74",
            "▀▀▀▀▀▀▀▀▀▀▀▀  id:2  64×48  2019-07-14  holiday",
            "▀▀▀▀▀▀▀▀▀▀▀▀",
            "",
            "▀▀▀▀▀▀▀▀▀▀▀▀  0.712  █████▊",
            "▀▀▀▀▀▀▀▀▀▀▀▀  holiday/crete/…/postcards-from-grandmother-and-aunt-ida.pdf#page=1",
            "▀▀▀▀▀▀▀▀▀▀▀▀  book .52",
        ],
    ),
    "search": (
        ["search", "sand", "--limit", "1"],
        [
            "▀▀▀▀▀▀▀▀▀▀▀▀  0.994  ████████  cosine +0.160",
            "▀▀▀▀▀▀▀▀▀▀▀▀  holiday/beach.jpg",
            "▀▀▀▀▀▀▀▀▀▀▀▀  beach .97  outdoor .91  sunny .80",
            "▀▀▀▀▀▀▀▀▀▀▀▀  id:1  64×48  2019-07-14  holiday",
            "▀▀▀▀▀▀▀▀▀▀▀▀",
            "",
        ],
    ),
    "search by two": (
        ["search", "a red car", "--not", "sand", "--limit", "1"],
        [
            "▀▀▀▀▀▀▀▀▀▀▀▀  SCORE  a red car +0.152  not sand +0.008",
        ],
    ),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_what_stands_beside(name: str) -> None:
    asked, wanted = ANSWERS[name]
    _, text = screen(*asked, "--preview")
    lines = [re.sub(r"  [+-]\d\.\d\d  ", "  SCORE  ", line) for line in STYLE.sub("", text).splitlines()]
    assert lines[: len(wanted)] == wanted


@pytest.mark.parametrize("columns", [60, 80, 100, 160])
def test_nothing_is_wider_than_the_terminal(columns: int) -> None:
    ran, text = screen("similar", "id:1", "--everywhere", "--threshold", "0", "--preview", columns=columns)
    assert ran.code == 0
    lines = STYLE.sub("", text).splitlines()
    assert len([line for line in lines if "▀" in line]) > 12 * 4
    assert [line for line in lines if len(line) > columns or line != line.rstrip()] == []
    assert "\x1b[31m." not in text, "a control byte of a file name reached the terminal"


def test_of_several_references(world: Path) -> None:
    line = f"printf 'id:3\\nid:2\\n' | {PICTO} similar --stdin --format table --limit 1 --preview"
    lines = cells(in_tmux("sh", "-c", line, columns=80, env={"TERM": "screen"}))
    texts = [told(each) for each in lines]
    assert [text for text in texts if not text.startswith(("▀", " ")) and text] == ["id:3", "id:2", "= 0"]
    assert len([text for text in texts if "  0." in text]) == 2


def test_groups_of_copies(tmp_path: Path, index: Callable[..., object]) -> None:
    folder = tmp_path / "copies"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        scene(3, 160, 120).save(folder / name)
    index(folder)
    _, text = screen("duplicates", "--preview", "--db", str(tmp_path / "library.db"))
    lines = [re.sub(r"[\d.]+ kB", "SIZE", line) for line in STYLE.sub("", text).splitlines()]
    assert [line.removeprefix("▀" * 12) for line in lines if "  group " in line] == [
        "  group 1  first  SIZE",
        "  group 1  exact  SIZE",
    ]
    assert len([line for line in lines if line.startswith("▀" * 12)]) == 10


# -- in pictures, by protocols ---------------------------------------------------------------------------------------

PLACED = re.compile(rb"((?:\r\n)+)\x1b\[([0-9]+)A\x1b7(.*?)\x1b8((?:\x1b\[[0-9]+C[^\n]*\n)*)((?:\r\n)*)", re.DOTALL)


def placed(out: bytes) -> list[tuple[bytes, list[str]]]:
    """The code of each picture, and the lines beside it; the room made for it is what is then gone through."""
    found = []
    for room, up, code, beside, rest in PLACED.findall(out):
        lines = beside.decode().split("\r\n")[:-1]
        assert room.count(b"\n") == int(up) == len(lines) + rest.count(b"\n")
        assert {re.match(r"\x1b\[([0-9]+)C", line)[1] for line in lines} <= {"14"}  # type: ignore[index]
        found.append((code, [STYLE.sub("", line).partition("C")[2] for line in lines]))
    assert found
    return found


def of_kitty(code: bytes) -> np.ndarray:
    parts = re.findall(rb"\x1b_G[^;]*;([^\x1b]*)\x1b\\", code)
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(b"".join(parts)))))


def of_iterm(code: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(code.partition(b":")[2].removesuffix(b"\x07")))))


def of_sixel(code: bytes) -> np.ndarray:
    return unsixelled(code.decode())[..., :3]


@pytest.mark.parametrize(
    ("term", "options", "size", "decoded"),
    [
        pytest.param({"TERM": "xterm-kitty"}, ["--preview"], (120, 90), of_kitty, id="kitty"),
        pytest.param({"TERM_PROGRAM": "iTerm.app"}, ["--preview"], (120, 90), of_iterm, id="iterm"),
        pytest.param({}, ["--preview-as", "sixel"], (120, 90), of_sixel, id="sixel"),
    ],
)
def test_pictures_themselves(
    term: dict[str, str], options: list[str], size: tuple[int, int], decoded: Callable[[bytes], np.ndarray]
) -> None:
    asked = ["tags", "--objects", "truck", *options]
    done = on_terminal(PICTO, *asked, pixels=(800, 800), env=term)
    assert (done.code, done.left, done.restored) == (0, b"", True)
    ((code, lines),) = placed(done.out)
    assert lines[:2] == ["truck .61", "holiday/new/van.png"]
    pixels = decoded(code)
    assert pixels.shape == (size[1], size[0], 3)
    quartered(pixels)
    assert BLOCK not in done.out


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        pytest.param(b"\x1b_Gi=31;OK\x1b\\\x1b[?62c", b"\x1b_Ga=T,f=100,q=2,C=1,c=12,m=", id="kitty"),
        pytest.param(b"\x1b[6;20;10t\x1b[?62;4c", b'\x1bP0;1q"1;1;120;90', id="sixel"),
    ],
)
def test_a_terminal_that_is_asked_is_left_as_it_was(answer: bytes, wanted: bytes) -> None:
    asked = ["tags", "--objects", "truck", "--preview"]
    far = {"TERM": "xterm-256color", "SSH_CONNECTION": "there"}
    for _ in range(5):  # on a busy machine the answer may come when blocks have been drawn
        done = on_terminal(PICTO, *asked, answers={b"\x1b[c": answer}, env=far)
        assert (done.code, done.restored) == (0, True)
        if BLOCK not in done.out:
            break
    assert wanted in done.out
    assert done.left == b""
    assert b"^[" not in done.out


def test_an_interrupt_leaves_the_terminal_whole() -> None:
    asked = ["similar", "id:1", "--everywhere", "--threshold", "0", "--preview"]
    done = on_terminal(PICTO, *asked, columns=200, answers={b"\x1b_G": b"\x03"}, env={"TERM": "xterm-kitty"})
    assert (done.code, done.left, done.restored) == (130, b"", True)
    assert done.out.endswith(b"\x1b\\\x1b_Gm=0,q=2;\x1b\\\x1b[0m\x1b[999B\r\n")
    assert 1 <= done.out.count(b"a=T") < 12


def _shoot() -> None:
    """Draw a screen of tmux: what a person sees of the sample pictures."""
    samples = Path(__file__).parent.parent / "sample_images"
    with tempfile.TemporaryDirectory() as base:
        os.environ.update(HOME=base, PICTO_DB=f"{base}/picto.db")
        env = {"PICTO_DB": f"{base}/picto.db", "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
        subprocess.run([PICTO, "index", "-q", samples], env=environment(**env), check=True)
        asked = ["similar", "sample_images/nature/mountain-trail.jpg", "--limit", "4", "--preview"]
        text = in_tmux(PICTO, *asked, columns=100, rows=36, cwd=samples.parent, env=env)
    lines = cells(text[: text.index("= 0")].rstrip())
    prompt = [Cell(char, bold=True) for char in "$ picto " + " ".join(asked)]
    path = Path(__file__).with_name("screenshots") / "preview.png"
    path.parent.mkdir(exist_ok=True)
    drawn([prompt, *lines]).quantize(128).save(path, optimize=True)
    sys.stdout.write(f"{path}: {path.stat().st_size:,} bytes\n")


if __name__ == "__main__":
    _shoot()
