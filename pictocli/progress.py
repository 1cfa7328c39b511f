"""Progress for a person: a tqdm bar on standard error when that is a terminal, one line of talk otherwise."""

from __future__ import annotations

import sys
from typing import Any, TextIO

__all__ = ["Bar"]

_FORMAT = "{desc} {bar:24} {n_fmt}/{total_fmt}  {rate_noinv_fmt}  {remaining} left{postfix}"


class Bar:
    """Draws while files are worked on. quiet: not even talk; the bar only on a terminal."""

    def __init__(self, quiet: bool = False, stream: TextIO | None = None) -> None:
        self._quiet, self._stream = quiet, stream or sys.stderr
        self._bar: Any = None

    def found(self, files: int) -> None:
        """So many files need work, so far."""
        if self._bar is None:
            if self._quiet or not self._stream.isatty():
                return
            from tqdm import tqdm

            self._bar = tqdm(
                total=0, desc="indexing", unit=" files", file=self._stream, bar_format=_FORMAT, ascii=" ╸━",
                leave=False, dynamic_ncols=True,
            )  # fmt: skip
        if files % 100 == 1 or files < 100:
            self._bar.set_description_str(f"scanning, {files:,} found")
        self._bar.total = files

    def done(self, files: int, skipped: int) -> None:
        """So many files have been finished since the last call, and so many skipped in all."""
        if self._bar is not None:
            self._bar.set_description_str("indexing", refresh=False)
            if skipped:
                self._bar.set_postfix_str(f"  {skipped:,} skipped", refresh=False)
            self._bar.update(files)

    def doing(self, what: str) -> None:
        """Something that takes seconds and has no bar of its own; "" when it is over."""
        if self._bar is not None:
            self._bar.set_description_str(what or "indexing")
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
