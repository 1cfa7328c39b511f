"""What a terminal can draw: by its environment, and by what real pseudo-terminals answer or do not."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import sys
import termios
import threading
from collections.abc import Iterator

import pytest
from terminals import on_terminal, waiting

from pictocli.probing import Canvas, asked, by_environment, colours, probed

QUESTION = b"\x1b_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\\x1b[16t\x1b[c\r\x1b[K"


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        ({"TERM": "xterm-kitty"}, "kitty"),
        ({"TERM": "xterm-ghostty"}, "kitty"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "ghostty"}, "kitty"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "iTerm.app"}, "iterm"),
        ({"TERM": "xterm-256color", "LC_TERMINAL": "iTerm2"}, "iterm"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "WezTerm"}, "iterm"),
        ({"TERM": "screen-256color"}, "blocks"),
        ({"TERM": "tmux-256color", "TERM_PROGRAM": "tmux"}, "blocks"),
        ({"TERM": "xterm-kitty", "TMUX": "/tmp/tmux-1000/default,1,0"}, "blocks"),  # noqa: S108 - a value, no file
        ({"TERM": "xterm-256color", "LC_TERMINAL": "iTerm2", "STY": "1.pts-0"}, "blocks"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "Apple_Terminal"}, "blocks"),
        ({"TERM": "linux"}, "blocks"),
        ({"TERM": "dumb"}, "blocks"),
        ({}, "blocks"),
        ({"TERM": "xterm-256color"}, None),
        ({"TERM": "xterm-256color", "KITTY_WINDOW_ID": "1"}, None),
        ({"TERM": "foot"}, None),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "vscode"}, None),
    ],
    ids=str,
)
def test_the_environment_tells(environ: dict[str, str], wanted: str | None) -> None:
    assert by_environment(environ) == wanted


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        ({"TERM": "xterm-256color", "COLORTERM": "truecolor"}, 2**24),
        ({"TERM": "xterm", "COLORTERM": "24bit"}, 2**24),
        ({"TERM": "xterm-direct"}, 2**24),
        ({"TERM": "screen", "TMUX": "x"}, 2**24),
        ({"TERM": "xterm-256color", "TMUX": "x"}, 256),
        ({"TERM": "xterm-256color"}, 256),
        ({"TERM": "xterm-kitty"}, 256),
        ({"TERM": "screen", "COLORTERM": "truecolor", "STY": "1.pts-0"}, 8),
        ({"TERM": "screen.xterm-256color", "COLORTERM": "truecolor"}, 256),
        ({"TERM": "linux"}, 8),
        ({}, 8),
    ],
    ids=str,
)
def test_how_many_colours(environ: dict[str, str], wanted: int) -> None:
    assert colours(environ) == wanted


# -- asking: a program of three lines on a terminal of its own -------------------------------------------------------

ASK = """
import os, sys, time
from pictocli.probing import probed
started = time.monotonic()
with probed(0, 1, {"TERM": sys.argv[1]}, sys.argv[2] or None, float(sys.argv[3])) as canvas:
    spent = time.monotonic() - started
    told = f"{canvas.protocol} {canvas.cell} {canvas.told}"
sys.stdout.write(f"{told} {spent >= 0.2}")
"""


def ask(term: str = "xterm-256color", protocol: str = "", wait: str = "30", **session: object) -> tuple[bytes, str]:
    """What it asked, what it took the terminal for, and whether it waited; nothing must be left over."""
    done = on_terminal(sys.executable, "-c", ASK, term, protocol, wait, **session)  # type: ignore[arg-type]
    assert done.code == 0, done.out
    assert (done.left, done.restored) == (session.get("typed", b""), True)
    question, told = (done.out[: len(QUESTION)], done.out[len(QUESTION) :]) if QUESTION in done.out else (b"", done.out)
    return question, told.decode()


KITTY, NO_KITTY, CELL = b"\x1b_Gi=31;OK\x1b\\", b"\x1b_Gi=31;ENOTSUPPORTED:no\x1b\\", b"\x1b[6;20;9t"


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        pytest.param(KITTY + CELL + b"\x1b[?62;c", "kitty (9, 20) True", id="kitty"),
        pytest.param(KITTY + b"\x1b[?62;4;22c", "kitty (8, 16) False", id="kitty and sixel"),
        pytest.param(CELL + b"\x1b[?62;4;6;22c", "sixel (9, 20) True", id="sixel"),
        pytest.param(b"\x1b[?64;1;2;4c", "sixel (8, 16) False", id="sixel, no cell size"),
        pytest.param(b"\x1b[6;0;0t\x1b[?62;4c", "sixel (8, 16) False", id="sixel, a cell of nothing"),
        pytest.param(b"\x1b[6;999;999t\x1b[?62;4c", "sixel (8, 16) False", id="sixel, a cell nobody has"),
        pytest.param(b"\x1b[?62;22c", "blocks (8, 16) False", id="neither"),
        pytest.param(NO_KITTY + b"\x1b[?1;2c", "blocks (8, 16) False", id="kitty without pictures"),
        pytest.param(b"\x1b[?4;6c", "blocks (8, 16) False", id="a VT132, whose class is 4"),
        pytest.param(b"\x1b[?62;14;24;44c", "blocks (8, 16) False", id="numbers with a 4 in them"),
    ],
)
def test_the_terminal_tells(answer: bytes, wanted: str) -> None:
    question, told = ask(answers={b"\x1b[c": answer})
    assert (question, told.rpartition(" ")[0]) == (QUESTION, wanted)


def test_a_terminal_that_says_nothing_draws_blocks() -> None:
    assert ask(wait="0.2") == (QUESTION, "blocks (8, 16) False True")


def test_the_drivers_size_of_the_screen_goes_first() -> None:
    assert ask(answers={b"\x1b[c": CELL + b"\x1b[?62;4c"}, pixels=(800, 720))[1].startswith("sixel (10, 18) True ")


def test_for_sixels_that_are_asked_for_the_cell_is_asked() -> None:
    told = ask(protocol="sixel", answers={b"\x1b[c": CELL + b"\x1b[?62c"})[1]
    assert told.startswith("sixel (9, 20) True ")


@pytest.mark.parametrize(
    ("term", "protocol", "session", "wanted"),
    [
        pytest.param("xterm-kitty", "", {}, "kitty (8, 16) False", id="the environment has told"),
        pytest.param("screen", "", {}, "blocks (8, 16) False", id="screen"),
        pytest.param("xterm", "iterm", {}, "iterm (8, 16) False", id="the user has told"),
        pytest.param("xterm", "sixel", {"pixels": (800, 800)}, "sixel (10, 20) True", id="the driver has told"),
        pytest.param("xterm", "", {"behind": True}, "blocks (8, 16) False", id="in the background"),
    ],
)
def test_nothing_is_asked_where(term: str, protocol: str, session: dict[str, object], wanted: str) -> None:
    question, told = ask(term, protocol, **session)  # type: ignore[arg-type]
    assert (question, told.rpartition(" ")[0]) == (b"", wanted)


def test_nothing_is_asked_over_what_has_been_typed_ahead() -> None:
    done = on_terminal(sys.executable, "-c", ASK, "xterm", "", "30", typed=b"ls -l")
    assert (done.code, done.left, done.restored) == (0, b"ls -l", True)
    assert QUESTION not in done.out
    assert b"blocks (8, 16) False" in done.out


# -- the terminal's settings, in this process ------------------------------------------------------------------------


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """The two ends of one: where is typed, where is read."""
    master, slave = pty.openpty()
    yield master, slave
    os.close(master)
    os.close(slave)


def written(master: int, slave: int) -> bytes:
    """All that has been written to the terminal, and echoed."""
    out = b""
    os.write(slave, b"<end>")
    while not out.endswith(b"<end>"):
        out += os.read(master, 4096)
    return out.removesuffix(b"<end>")


def silenced(slave: int) -> None:
    settings = termios.tcgetattr(slave)
    settings[3] = 0
    termios.tcsetattr(slave, termios.TCSANOW, settings)


def test_what_comes_late_is_neither_seen_nor_left(terminal: tuple[int, int]) -> None:
    master, slave = terminal
    before = termios.tcgetattr(slave)
    with asked(slave, slave, 0.05) as answer:
        assert answer == b""
        os.write(master, KITTY + b"\x1b[?62;4c")
        assert select.select([slave], [], [], 60)[0]
    assert termios.tcgetattr(slave) == before
    assert written(master, slave) == QUESTION
    silenced(slave)
    assert waiting(master, slave) == b""


def test_an_answer_in_parts_is_read_to_its_end(terminal: tuple[int, int]) -> None:
    master, slave = terminal

    def answer_slowly() -> None:
        out = b""
        while b"\x1b[c" not in out:
            out += os.read(master, 4096)
        for part in (b"\x1b_Gi=3", b"1;OK\x1b", b"\\\x1b[6;20;9t\x1b[?6", b"2;4c"):
            os.write(master, part)
            select.select([], [], [], 0.05)

    thread = threading.Thread(target=answer_slowly)
    thread.start()
    with asked(slave, slave, 30) as answer:
        assert answer == b"\x1b_Gi=31;OK\x1b\\\x1b[6;20;9t\x1b[?62;4c"
    thread.join()
    silenced(slave)
    assert waiting(master, slave) == b""


def test_an_interrupt_leaves_the_settings(terminal: tuple[int, int]) -> None:
    _, slave = terminal
    before = termios.tcgetattr(slave)

    def interrupted() -> None:
        with asked(slave, slave, 0.01):
            assert termios.tcgetattr(slave) != before
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert termios.tcgetattr(slave) == before


def test_a_file_is_no_terminal(terminal: tuple[int, int]) -> None:
    fcntl.ioctl(terminal[1], termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    with open(os.devnull) as file, probed(file.fileno(), terminal[1], {"TERM": "xterm"}) as canvas:
        assert canvas == Canvas("blocks", 8, (8, 16), False)
    assert written(*terminal) == b""
