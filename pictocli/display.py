"""How a name, a path, a number or a bar looks to a person. Pure text: no colour, no terminal."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

__all__ = [
    "bar", "closer", "counted", "crop", "fraction", "marked", "pad", "percent", "printable", "shorten", "shown_path",
    "size_of", "time_of",
]  # fmt: skip

_PAGE = re.compile(r"#page=[0-9]+$")
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


def shorten(path: str, width: int, mark: str = "…") -> str:
    """A path cut to `width` terminal cells: its middle folders go first; the suffix and the page stay."""
    from rich.cells import cell_len  # 30 ms, and only for tables

    if cell_len(path) <= width:
        return path
    *folders, name = path.split("/")
    room = width - cell_len(name) - cell_len(f"{mark}/")
    if folders and room >= 0:
        head = ""
        for folder in folders:
            if cell_len(f"{head}{folder}/") > room:
                break
            head += f"{folder}/"
        return f"{head}{mark}/{name}"
    page = _PAGE.search(name)
    end = page[0] if page else ""
    stem, dot, suffix = name.removesuffix(end).rpartition(".")
    if stem and len(suffix) < 6 and suffix.isascii() and suffix.isalnum():
        end = dot + suffix + end
    else:
        stem = name.removesuffix(end)
    return crop(stem, max(2, width - cell_len(end)), mark) + end


def crop(text: str, width: int, mark: str = "…") -> str:
    """A text cut at its end to `width` terminal cells."""
    from rich.cells import cell_len, set_cell_size

    return text if cell_len(text) <= width else set_cell_size(text, width - cell_len(mark)).rstrip() + mark


def marked(text: str, at: int) -> str:
    """Two lines: a text, and a mark below its character `at`."""
    from rich.cells import cell_len

    return f"\n  {printable(text)}\n  {' ' * cell_len(printable(text[:at]))}^\n"


def pad(text: str, width: int, *, right: bool = False) -> str:
    """A text with blanks up to `width` terminal cells: behind it, or before it to align it right."""
    if text.isascii():
        return text.rjust(width) if right else text.ljust(width)
    from rich.cells import cell_len

    blanks = " " * (width - cell_len(text))
    return blanks + text if right else text + blanks


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


def percent(shares: Sequence[float]) -> list[str]:
    """Shares of 0..1 in one decimal, 98.1%; all in two when one needs it, 99.97%. Rounded down: never 100%."""
    decimals = 1 if max(shares, default=0) < 0.999 else 2
    steps = 10**decimals
    return [f"{int(share * 100 * steps + 1e-6) / steps:.{decimals}f}%" for share in shares]


def closer(share: float) -> str:
    """How unusual a similarity is: closer than 99.3% of pairs."""
    return f"closer than {percent([share])[0]} of pairs"


def counted(count: int, noun: str) -> str:
    """1 image, 4,201 images."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def time_of(seconds: float) -> str:
    """A duration: 31 ms, 4.3 s, 5:39."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 59.95 else f"{round(seconds) // 60}:{round(seconds) % 60:02}"


def size_of(count: float) -> str:
    """Bytes in the decimal units of disks: 512 B, 3.1 MB."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
