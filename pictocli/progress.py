"""Progress for a person: a tqdm bar on standard error when that is a terminal, one line of talk otherwise."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any, TextIO

__all__ = ["Bar", "slow"]

_SCANNING = "{desc}"
_WORKING = "{desc}  {bar:24}  {counted}  {speed}  {left} left{noted}"
_EVERY = 0.1  # s between redraws while scanning
_SLOW = 1.0  # s after which who waits is told for what


@contextlib.contextmanager
def slow(what: str, stream: TextIO | None = None) -> Iterator[None]:
    """Say on a terminal what is done in this block, where it takes longer than a second and nobody can be asked."""
    bar = Bar(stream=stream)
    told = threading.Event()

    def tell() -> None:
        told.set()
        bar.doing(what)

    timer = threading.Timer(_SLOW, tell)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        if told.is_set():
            bar.doing("")


def _meter(unit: str) -> Any:
    """tqdm, with the numbers of a bar as we write them."""
    from tqdm import tqdm  # 20 ms, for bars only

    class Meter(tqdm):  # type: ignore[misc]  # tqdm is untyped
        noted = ""

        @property
        def format_dict(self) -> dict[str, Any]:
            known: dict[str, Any] = super().format_dict
            rate = known["rate"] or (known["n"] / known["elapsed"] if known["elapsed"] else 0)
            seconds = (known["total"] - known["n"]) / rate if rate else 0
            return known | {
                "counted": f"{known['n']:,}/{known['total']:,}",
                "speed": f"{rate:,.{0 if rate > 1000 else 1}f} {unit}/s",
                "left": f"{seconds // 60:.0f}:{seconds % 60:02.0f}" if rate else "?",
                "noted": self.noted,
            }

    return Meter


class Bar:
    """Draws while files are worked on. quiet: not even talk; the bar only on a terminal.

    work: what is done with them; unit: what they are, where they are no files.
    """

    def __init__(
        self, quiet: bool = False, stream: TextIO | None = None, work: str = "indexing", unit: str = "files"
    ) -> None:
        self._quiet, self._stream, self._work, self._unit = quiet, stream or sys.stderr, work, unit
        self._bar: Any = None
        self._drawn = 0.0

    def found(self, files: int) -> None:
        """So many files need work, so far."""
        if self._bar is None:
            if self._quiet or not self._stream.isatty():
                return
            self._bar = _meter(self._unit)(
                total=0, desc="scanning", file=self._stream, bar_format=_SCANNING, ascii=" ╸━", leave=False,
                dynamic_ncols=True,
            )  # fmt: skip
        self._bar.total = files
        if time.monotonic() - self._drawn > _EVERY:
            self._drawn = time.monotonic()
            self._bar.set_description_str(f"scanning, {files:,} found")

    def done(self, files: int, skipped: int) -> None:
        """So many files have been finished since the last call, and so many skipped in all."""
        if self._bar is not None:
            self._bar.bar_format = _WORKING
            self._bar.set_description_str(self._work, refresh=False)
            self._bar.noted = f"  {skipped:,} skipped" if skipped else ""
            self._bar.update(files)

    def doing(self, what: str) -> None:
        """Something that takes seconds and has no bar of its own; "" when it is over."""
        if self._bar is not None:
            self._bar.set_description_str(what or self._work)
        elif not self._quiet and self._stream.isatty():
            self._stream.write(f"\r{what} …\x1b[K" if what else "\r\x1b[K")
            self._stream.flush()

    def say(self, message: str) -> None:
        """One line of talk."""
        if self._quiet:
            return
        if self._bar is not None:
            self._bar.clear()
        self._stream.write(message + "\n")
        self._stream.flush()

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
