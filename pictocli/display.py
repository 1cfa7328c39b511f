"""How a name, a path, a number or a bar looks to a person. Pure text: no colour, no terminal."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

__all__ = ["bar", "fraction", "printable", "shorten", "shown_path", "size_of"]

_EIGHTHS = " ▏▎▍▌▋▊▉█"


def printable(text: str) -> str:
    r"""The text with control characters, and bytes that are no UTF-8, spelled out: `\x1b`, `\xff`."""
    if text.isprintable():
        return text
    return "".join(_spelled(each) for each in text)


def _spelled(char: str) -> str:
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # surrogateescape: a raw byte
        return f"\\x{code - 0xDC00:02x}"
    if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp"):
        return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
    return char


def shown_path(path: str) -> str:
    """A full path as a person would type it: relative below the working folder, else from ~."""
    try:
        here = os.path.realpath(".")
    except OSError:  # the working folder is gone
        return printable(path)
    if path.startswith(here.rstrip("/") + "/"):
        return printable(path[len(here.rstrip("/")) + 1 :])
    home = str(Path.home())
    return printable("~" + path[len(home) :] if home != "/" and path.startswith(home + "/") else path)


def shorten(path: str, width: int) -> str:
    """A path cut to `width` terminal cells in its middle folders, so that its file name and page stay."""
    from rich.cells import cell_len, set_cell_size  # 30 ms, and only for tables

    if cell_len(path) <= width:
        return path
    head, _, name = path.rpartition("/")
    room = width - cell_len(name) - 3
    if head and room > 0:
        first = set_cell_size(head, room).rstrip()
        return f"{first}…/{name}" if cell_len(first) + cell_len(name) + 2 <= width else f"…/{name}"
    stem, dot, end = name.rpartition(".")
    end = dot + end if dot and len(end) < 24 else ""
    room = width - cell_len(end) - 1
    return set_cell_size(stem or name, max(1, room)).rstrip() + "…" + end


def bar(value: float, *, unicode: bool = True, cells: int = 8) -> str:
    """A bar of `cells` characters for a value of 0..1."""
    value = max(0.0, min(1.0, value))
    if not unicode:
        full = round(value * cells)
        return "#" * full + "." * (cells - full)
    eighths = round(value * cells * 8)
    text = _EIGHTHS[8] * (eighths // 8) + (_EIGHTHS[eighths % 8] if eighths % 8 else "")
    return text.ljust(cells)


def fraction(value: float) -> str:
    """A score of 0..1 in two decimals without the zero: .98, 1.0."""
    text = f"{value:.2f}"
    return "1.0" if text == "1.00" else text.removeprefix("0")


def size_of(count: float) -> str:
    """Bytes in the decimal units of disks: 512 B, 3.1 MB."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
