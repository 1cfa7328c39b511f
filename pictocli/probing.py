"""What the terminal can draw: by its environment where that tells, else it is asked, once and shortly."""

from __future__ import annotations

import contextlib
import os
import re
import select
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

__all__ = ["Canvas", "asked", "by_environment", "colours", "probed"]

_WAIT, _FAR = 0.2, 1.0  # s that a terminal may be silent, here and at the other end of SSH
_LARGEST = 100  # px of a cell that is believed: the largest letters there are on a screen have 80
_KITTY = "\x1b_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\"  # would this picture be drawn?
_CELL = "\x1b[16t"  # how many px has a cell? XTWINOPS
_IDENTITY = "\x1b[c"  # primary device attributes: what all terminals answer, so what is asked last
_CLEAN = "\r\x1b[K"  # over what a terminal that knows none of it may have written
_IDENTIFIED = re.compile(rb"\x1b\[\?([0-9;]*)c")
_SIZED = re.compile(rb"\x1b\[6;([0-9]{1,4});([0-9]{1,4})t")


@dataclass(frozen=True, slots=True)
class Canvas:
    """How a terminal draws pictures. protocol: "kitty", "iterm", "sixel" or "blocks".

    colours: 2**24, 256 or 8. cell: width and height of one in px; told: whether the terminal said so.
    """

    protocol: str
    colours: int = 8
    cell: tuple[int, int] = (8, 16)
    told: bool = False


def by_environment(environ: Mapping[str, str]) -> str | None:
    """The protocol that these variables speak for; None where the terminal itself must be asked.

    tmux and screen pass no picture on, whatever they run in. Apple's Terminal and Linux' console would print the
    question.
    """
    term, program = environ.get("TERM", ""), environ.get("TERM_PROGRAM", "")
    if term.startswith(("screen", "tmux")) or environ.get("TMUX") or environ.get("STY"):
        return "blocks"
    if term in ("xterm-kitty", "xterm-ghostty"):
        return "kitty"
    if program in ("iTerm.app", "WezTerm") or environ.get("LC_TERMINAL") == "iTerm2":
        return "iterm"
    if program == "ghostty":
        return "kitty"
    return "blocks" if program == "Apple_Terminal" or term in ("", "dumb", "linux") else None


def colours(environ: Mapping[str, str]) -> int:
    """How many colours the terminal has: 2**24, 256 or 8.

    tmux takes any, whatever it runs in. GNU screen does not, and COLORTERM is there that of what it runs in.
    """
    term = environ.get("TERM", "")
    if environ.get("TMUX") and term.startswith(("screen", "tmux")):
        return 2**24
    if term.startswith("screen"):
        return 256 if "256" in term else 8
    if environ.get("COLORTERM", "").lower() in ("truecolor", "24bit") or "direct" in term:
        return 2**24
    return 256 if "256" in term or term in ("xterm-kitty", "xterm-ghostty") else 8


@contextlib.contextmanager
def probed(
    source: int, sink: int, environ: Mapping[str, str], protocol: str | None = None, wait: float | None = None
) -> Iterator[Canvas]:
    """What the terminal `sink` can draw, for as long as it is drawn on; `source` is where its answers come from.

    protocol: beats what it says of itself. wait: as in `asked`; None is 0.2 s, over SSH 1 s. Where it must be asked,
    but that is not ours to do (input is no terminal, or another one, or has been typed ahead, or we are in the
    background), it draws blocks.
    """
    canvas = Canvas(protocol or by_environment(environ) or "", colours(environ))
    cell = _cell(sink)
    if cell:
        canvas = replace(canvas, cell=cell, told=True)
    if canvas.protocol and (canvas.protocol != "sixel" or canvas.told):
        yield canvas
    elif not _ours(source, sink):
        yield replace(canvas, protocol=canvas.protocol or "blocks")
    else:
        usual = _FAR if environ.get("SSH_CONNECTION") else _WAIT
        with asked(source, sink, usual if wait is None else wait) as answer:
            yield _drawn_on(canvas, answer)


def _drawn_on(canvas: Canvas, answer: bytes) -> Canvas:
    identity, sized = _IDENTIFIED.search(answer), _SIZED.search(answer)
    if sized and not canvas.told and 0 < int(sized[1]) <= _LARGEST and 0 < int(sized[2]) <= _LARGEST:
        canvas = replace(canvas, cell=(int(sized[2]), int(sized[1])), told=True)
    if canvas.protocol:
        return canvas
    if b"\x1b_Gi=31;OK" in answer:
        return replace(canvas, protocol="kitty")
    # the first attribute is the class of the terminal, of which 4 is a VT132
    return replace(canvas, protocol="sixel" if identity and b"4" in identity[1].split(b";")[1:] else "blocks")


@contextlib.contextmanager
def asked(source: int, sink: int, wait: float) -> Iterator[bytes]:
    """All that a terminal answers to what we want to know of it; b"" where it says nothing within `wait` s.

    Nothing of it is seen: what comes late, while we draw, is thrown away at the end; so is, then, what has been typed
    meanwhile. What had been typed before is left alone, and nothing is asked.
    """
    import termios

    before = termios.tcgetattr(source)
    silent = [*before[:6], list(before[6])]
    silent[3] &= ~(termios.ICANON | termios.ECHO)  # Ctrl-C still comes as a signal
    silent[6][termios.VMIN], silent[6][termios.VTIME] = 0, 0
    late = False
    try:
        termios.tcsetattr(source, termios.TCSANOW, silent)
        if select.select([source], [], [], 0)[0]:
            answer = b""
        else:
            late = True  # an interrupt before the end leaves an answer on its way
            os.write(sink, f"{_KITTY}{_CELL}{_IDENTITY}{_CLEAN}".encode())
            answer = _answer(source, wait)
            late = _IDENTIFIED.search(answer) is None
        if not late:
            termios.tcsetattr(source, termios.TCSANOW, before)
        yield answer
    finally:
        termios.tcsetattr(source, termios.TCSAFLUSH if late else termios.TCSANOW, before)


def _answer(source: int, wait: float) -> bytes:
    """What a terminal says up to its identity, which is the last; less where it stays silent for `wait` s."""
    answer = b""
    end = time.monotonic() + 5 * wait  # it may be slow, but not for ever
    while not _IDENTIFIED.search(answer) and time.monotonic() < end and select.select([source], [], [], wait)[0]:
        part = os.read(source, 4096)
        if not part:
            break
        answer += part
    return answer


def _ours(source: int, sink: int) -> bool:
    """Whether both are one terminal, and it listens to us."""
    try:
        return os.ttyname(source) == os.ttyname(sink) and os.tcgetpgrp(source) == os.getpgrp()
    except (AttributeError, OSError):  # Windows has neither; no terminal, or another session's
        return False


def _cell(sink: int) -> tuple[int, int] | None:
    """A cell's width and height in px, where the terminal's driver knows."""
    try:
        import fcntl
        import struct
        import termios

        rows, columns, wide, high = struct.unpack("HHHH", fcntl.ioctl(sink, termios.TIOCGWINSZ, bytes(8)))
    except (ImportError, OSError):
        return None
    cell = (wide // max(1, columns), high // max(1, rows))
    return cell if min(cell) > 0 and max(cell) <= _LARGEST else None
