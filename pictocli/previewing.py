"""A terminal that shows pictures in its tables, where that is asked for and it can."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pictocli.display import printable
from pictocli.errors import PictoError
from pictocli.library import Library
from pictocli.options import Graphics
from pictocli.terminal import Settings, Terminal

if TYPE_CHECKING:
    from pictocli.previews import PreviewPage
    from pictocli.render import Row
    from pictocli.tables import Page

__all__ = ["PreviewTerminal", "with_pictures"]


def with_pictures(terminal: Terminal, library: Library, asked: bool, graphics: Graphics | None) -> Terminal:
    """The terminal, with the library's pictures in its tables where --preview or --preview-as want them."""
    if graphics is Graphics.off or not (asked or graphics):
        return terminal
    return PreviewTerminal(terminal.settings, library, graphics or Graphics.auto)


class PreviewTerminal(Terminal):
    """Draws pictures in tables on a terminal; elsewhere, and where colours are off, it is any other."""

    def __init__(self, settings: Settings, library: Library, graphics: Graphics) -> None:
        super().__init__(settings)
        self._library, self._graphics = library, graphics
        self._previews: PreviewPage | None = None
        self._told = ""

    def rows(self, rows: Sequence[Row], kind: type[Row], form: str, references: Sequence[str] | None = None) -> None:
        """Print records as any terminal does; tell what kept pictures from being drawn."""
        why = self._hindrance(form)
        if rows and self.settings.verbose and why != self._told:  # once for many references
            self.talk(f"no pictures: {why}")
            self._told = why
        super().rows(rows, kind, form, references)
        if self._previews is not None:
            self._missed(self._previews.failed)
            self._previews.failed = []

    def _hindrance(self, form: str = "table") -> str:
        """Why no picture is drawn; "" where it is."""
        if not sys.stdout.isatty():
            return "standard output is no terminal"
        if form != "table":
            return "they are for tables"
        if self.settings.color == "never" or (self._graphics is Graphics.auto and not self._coloured(sys.stdout)):
            return "colours are off"
        return ""

    def _page(self) -> Page:
        if self._hindrance():
            return super()._page()
        if self._previews is None:
            from pictocli.previews import PreviewPage  # Pillow

            protocol = None if self._graphics is Graphics.auto else self._graphics.value
            draw = self._library.thumbnail
            self._previews = PreviewPage(self._console(), lambda image, width: draw(image, width=width), protocol)
        return self._previews

    def _missed(self, failed: Sequence[PictoError]) -> None:
        """Name the pictures that could not be drawn: one, or under --verbose all."""
        for exc in failed if self.settings.verbose or len(failed) == 1 else ():
            self.warning(printable(str(exc)))
        if len(failed) > 1 and not self.settings.verbose:
            self.warning(f"{len(failed):,} pictures cannot be drawn: --verbose tells why")
        if failed and failed[0].hint:
            self.hint(printable(failed[0].hint))
