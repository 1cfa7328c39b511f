"""What --html and --open do in every command that has them: which rows are printed beside the page, and showing it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from pictocli.display import counted, printable, shown_path, size_of
from pictocli.errors import ValidationError
from pictocli.grouped import Duplicates
from pictocli.options import Format
from pictocli.records import Answer
from pictocli.terminal import Terminal

if TYPE_CHECKING:
    from pictocli.library import Library

__all__ = ["Sheet", "show_file"]


class Sheet:
    """The page of one command, if it is to make one. form: of the rows to print, as `Terminal.form`; "" for none.

    html: its file, "-" for standard output. show: in the browser. Raises ValidationError, PictoError when there can be
    none, before anything is asked.
    """

    def __init__(
        self, terminal: Terminal, library: Library, html: str | None, show: bool, form: Format | None, print0: bool
    ) -> None:
        self._terminal, self._library, self._html, self._show = terminal, library, html, show
        self.wanted = show or html is not None
        if html == "-" and show:
            raise ValidationError("--open shows a file, and --html - makes none", "leave --html out, or name a file")
        if html == "-" and (form is not None or print0):
            raise ValidationError("standard output takes the page or the rows", "--html page.html beside --format")
        if html is not None and html != "-":
            from pictocli.paging import for_page

            for_page(library.path, html)
        told = form is not None or print0 or (sys.stdout.isatty() and html != "-")
        self.form = terminal.form(form, print0) if told or not self.wanted else ""

    def put(self, found: Answer | Duplicates, **words: Any) -> None:
        """Make the page of an answer, if one is wanted; words: as those of `Library.page`."""
        if not self.wanted:
            return
        if not (found.results if isinstance(found, Answer) else found.groups):
            self._terminal.talk("no page is written")
            return
        stdout = cast(BinaryIO, sys.stdout.buffer)
        report = self._library.page_to(stdout if self._html == "-" else self._html, found, **words)
        if report.lacking:
            self._terminal.skipped(report.lacking, "no picture of")
            self._terminal.hint("picto index --thumbnails keeps a small one of every image")
        if report.path is not None:
            images, size = counted(report.images, "image"), size_of(report.size)
            self._terminal.talk(f"Wrote {shown_path(report.path)}, {images}, {size}")
            if self._show:
                show_file(self._terminal, report.path)


def show_file(terminal: Terminal, path: str) -> None:
    """Show a file in the browser, or say where it lies."""
    if not _opened(path):
        terminal.warning(f"there is no browser to show it: open {printable(path)} in one")


def _opened(path: str) -> bool:
    """Whether a browser took the file. BROWSER names another one."""
    import webbrowser  # 6 ms

    with _quiet():
        try:
            return webbrowser.open(Path(path).as_uri())
        except (webbrowser.Error, OSError):
            return False


@contextmanager
def _quiet() -> Iterator[None]:
    """Browsers get standard streams of their own, but for terminals: they outlive us, and would hold a pipe open."""
    sys.stdout.flush()
    kept = {}
    for stream in (1, 2):
        if not os.isatty(stream):
            kept[stream] = os.dup(stream)
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, stream)
            os.close(null)
    try:
        yield
    finally:
        for stream, copy in kept.items():
            os.dup2(copy, stream)
            os.close(copy)
