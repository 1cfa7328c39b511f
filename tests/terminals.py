"""Real terminals for tests: programs in tmux, what is then in each cell of its screen, and a picture of that."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import shlex
import shutil
import struct
import subprocess
import sys
import termios
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont
from program import environment

__all__ = ["Cell", "Session", "cells", "drawn", "in_tmux", "on_terminal", "unsixelled", "waiting"]

_CODE = re.compile(r"\x1b\[([0-9;]*)m|\x1b\]8;[^\x1b]*\x1b\\|\x1b[()].|[\x0e\x0f]")
_EIGHT = [
    (0, 0, 0), (205, 0, 0), (0, 205, 0), (205, 205, 0), (0, 0, 238), (205, 0, 205), (0, 205, 205), (229, 229, 229),
]  # fmt: skip
_EIGHTHS = " ▏▎▍▌▋▊▉█"
_TEXT, _GROUND = (217, 217, 217), (18, 18, 20)

_END = b"<end of all that was written>"

Colour = tuple[int, int, int]


class Cell(NamedTuple):
    """A cell of a screen. fore, back: None is the terminal's own."""

    char: str
    fore: Colour | None = None
    back: Colour | None = None
    bold: bool = False
    dim: bool = False


def in_tmux(
    *command: str | Path, columns: int = 100, rows: int = 40, cwd: Path | None = None, env: Mapping[str, str]
) -> str:
    """The screen of a tmux of its own after a command has run in it, as `capture-pane -e` tells it.

    Below what the command wrote stands "= " and its exit code. Skips where there is no tmux, but not in CI.
    """
    if shutil.which("tmux") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("no tmux to test with")
        pytest.skip("no tmux")
    tmux = ["tmux", "-L", f"picto-{uuid.uuid4().hex[:12]}", "-f", "/dev/null"]
    line = " ".join(shlex.quote(str(each)) for each in command)
    given = [f"{name}={value}" for name, value in env.items()]
    script = f'env {" ".join(map(shlex.quote, given))} {line}; printf "= %s\\n" $?; exec sleep 600'
    start = [*tmux, "new-session", "-d", "-x", str(columns), "-y", str(rows), "sh", "-c", script]
    subprocess.run(start, check=True, cwd=cwd, env=environment())
    try:
        end = time.monotonic() + 120
        while time.monotonic() < end:
            text = subprocess.run([*tmux, "capture-pane", "-e", "-p"], check=True, capture_output=True).stdout.decode()
            if re.search(r"^(\x1b\[[0-9;]*m)*= [0-9]+$", text, re.MULTILINE):
                return text
            time.sleep(0.05)
        raise AssertionError(f"the command has not ended; so far it says\n{text}")
    finally:
        subprocess.run([*tmux, "kill-server"], check=True)


# Makes the terminal its own, and runs the program in its foreground, or behind it.
_LAUNCH = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
if sys.argv[1] == "behind":
    if child := os.fork():
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    os.setpgid(0, 0)
os.execv(sys.argv[2], sys.argv[2:])
"""


class Session(NamedTuple):
    """A program's time on a terminal. out: all that it wrote. left: what it left to be read. restored: the settings."""

    code: int
    out: bytes
    left: bytes
    restored: bool


def on_terminal(
    *command: str | Path,
    answers: Mapping[bytes, bytes] | None = None,
    columns: int = 80,
    pixels: tuple[int, int] = (0, 0),
    typed: bytes = b"",
    behind: bool = False,
    env: Mapping[str, str] | None = None,
) -> Session:
    """Run a program on a terminal of its own, 40 lines high, that answers when it is written to.

    answers: what it types once the program has written a text. pixels: width and height of the whole. typed: what has
    been typed before the program begins. behind: run it in the background.
    """
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, *pixels))
    before = termios.tcgetattr(slave)
    os.write(master, typed)
    process = subprocess.Popen(
        [sys.executable, "-c", _LAUNCH, "behind" if behind else "before", *command], stdin=slave, stdout=slave,
        stderr=slave, env=environment(**(env or {})), start_new_session=True,
    )  # fmt: skip
    out, pending, end = b"", dict(answers or {}), time.monotonic() + 120
    try:
        while process.poll() is None:
            assert time.monotonic() < end, out
            if select.select([master], [], [], 0.05)[0]:
                out += os.read(master, 4096)  # little, so that a program which writes much waits for its answers
            for asked in [each for each in pending if each in out]:
                os.write(master, pending.pop(asked))
        restored = termios.tcgetattr(slave) == before
        raw = [*before[:3], 0, *before[4:]]  # no echo, no lines, no signals
        termios.tcsetattr(slave, termios.TCSANOW, raw)
        os.write(slave, _END)
        while not out.endswith(_END):
            out += os.read(master, 65536)
        left = waiting(master, slave)
    finally:
        process.kill()
        process.wait()
        os.close(master)
        os.close(slave)
    return Session(process.returncode, out.removesuffix(_END), left, restored)


def waiting(master: int, slave: int) -> bytes:
    """What has been typed at `master` and waits for being read at `slave`, which neither echoes nor waits for lines."""
    os.write(master, _END)
    left = b""
    while not left.endswith(_END):
        left += os.read(slave, 4096)
    return left.removesuffix(_END)


def cells(screen: str) -> list[list[Cell]]:
    """What is in each cell of a screen's lines, of characters that are one cell wide."""
    lines: list[list[Cell]] = [[]]
    style = Cell("")
    at = 0
    while at < len(screen):
        if code := _CODE.match(screen, at):
            style = _styled(style, code[1]) if code[1] is not None else style
            at = code.end()
            continue
        if screen[at] == "\n":
            lines.append([])
        else:
            lines[-1].append(style._replace(char=screen[at]))
        at += 1
    return lines


def _styled(style: Cell, code: str) -> Cell:
    """A style after an SGR code."""
    codes = [int(each or 0) for each in code.split(";")]
    while codes:
        first = codes.pop(0)
        if first == 0:
            style = Cell("")
        elif first in (1, 2, 22):
            style = style._replace(bold=first == 1, dim=first == 2)
        elif first in (38, 48):
            taken = 4 if codes[0] == 2 else 2
            colour: Colour = tuple(codes[1:4]) if taken == 4 else _of_256(codes[1])  # type: ignore[assignment]
            style, codes = style._replace(**{"fore" if first == 38 else "back": colour}), codes[taken:]
        elif 30 <= first < 50:
            colour_or_none = _EIGHT[first % 10] if first % 10 < 8 else None
            style = style._replace(**{"fore" if first < 40 else "back": colour_or_none})
    return style


def _of_256(number: int) -> Colour:
    """A colour of xterm's palette."""
    if number < 16:
        return _EIGHT[number % 8]
    if number > 231:
        return (8 + 10 * (number - 232),) * 3
    steps = (0, 95, 135, 175, 215, 255)
    return steps[(number - 16) // 36], steps[(number - 16) // 6 % 6], steps[(number - 16) % 6]


def unsixelled(text: str) -> np.ndarray:
    """uint8 [h, w, 4] of a sixel picture; alpha is 0 where nothing was drawn."""
    head = re.match(r'\x1bP0;1q"1;1;([0-9]+);([0-9]+)', text)
    assert head
    assert text.endswith("\x1b\\")
    wide, high = int(head[1]), int(head[2])
    out = np.zeros((high + 5, wide, 4), np.uint8)
    palette: dict[int, list[int]] = {}
    x = y = colour = 0
    body = text[head.end() : -2]
    tokens = list(re.finditer(r"#([0-9]+)(?:;2;([0-9]+);([0-9]+);([0-9]+))?|(?:!([0-9]+))?([?-~])|([$-])", body))
    assert "".join(each[0] for each in tokens) == body
    for each in tokens:
        if each[2]:
            palette[int(each[1])] = [round(int(part) * 2.55) for part in each.group(2, 3, 4)]
        elif each[1]:
            colour = int(each[1])
        elif each[6]:
            for _ in range(int(each[5] or 1)):
                for bit in range(6):
                    if ord(each[6]) - 63 >> bit & 1:
                        out[y + bit, x] = [*palette[colour], 255]
                x += 1
        else:
            x, y = 0, y + 6 * (each[7] == "-")
    assert not out[high:].any()
    return out[:high]


def drawn(lines: Sequence[Sequence[Cell]], *, wide: int = 9, high: int = 18) -> Image.Image:
    """A picture of a screen, a cell so many px; blocks are drawn to the edges of their cells."""
    fonts = {bold: ImageFont.truetype(f"DejaVuSansMono{'-Bold' * bold}.ttf", 14) for bold in (False, True)}
    image = Image.new("RGB", (wide * max(map(len, lines)) + 2 * wide, high * len(lines) + high), _GROUND)
    pen = ImageDraw.Draw(image)
    for row, line in enumerate(lines):
        for column, cell in enumerate(line):
            left, top = wide * (column + 1), high * row + high // 2
            box = (left, top, left + wide - 1, top + high - 1)
            pen.rectangle(box, fill=cell.back or _GROUND)
            fore = cell.fore or ((140, 140, 145) if cell.dim else _TEXT)
            if cell.char == "▀":
                pen.rectangle((left, top, left + wide - 1, top + high // 2 - 1), fill=fore)
            elif cell.char in _EIGHTHS:
                part = round(wide * _EIGHTHS.index(cell.char) / 8)
                if part:
                    pen.rectangle((left, top + 2, left + part - 1, top + high - 3), fill=fore)
            else:
                pen.text((left, top), cell.char, fill=fore, font=fonts[cell.bold])
    return image
