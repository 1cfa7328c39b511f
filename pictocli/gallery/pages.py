"""Templates, styles and scripts: the files of the gallery's face, and how a page is made of them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import jinja2
from starlette.responses import Response

from pictocli.errors import PictoError

__all__ = ["Pages"]

_HERE = Path(__file__).parent
_TYPES = {
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
}
_COMMAND_LINE = re.compile(r"(?<!\S)(picto [a-z]|--[a-z])")  # a command or an option: how to ask elsewhere
_YEAR = "private, max-age=31536000, immutable"


class Pages:
    """Makes pages. Every value is escaped, whatever it holds; a name that a template misses is an error.

    library: names the library to what a browser keeps, which is another library's at another start.
    """

    def __init__(self, library: str) -> None:
        self._library = library
        self._made = jinja2.Environment(
            loader=jinja2.FileSystemLoader(_HERE / "templates"), autoescape=True, undefined=jinja2.StrictUndefined,
            trim_blocks=True, lstrip_blocks=True, auto_reload=False,
        )  # fmt: skip

    @cached_property
    def static(self) -> Mapping[str, bytes]:
        """File name → bytes of all that pages link to: what is served besides is not a file."""
        return {file.name: file.read_bytes() for file in sorted((_HERE / "static").iterdir()) if file.suffix in _TYPES}

    @cached_property
    def version(self) -> str:
        """Another one when a style or a script is."""
        return hashlib.sha256(repr(sorted(self.static.items())).encode()).hexdigest()[:12]

    def file(self, name: str, version: str | None) -> Response | None:
        """One of them, None when there is none of that name."""
        if name not in self.static:
            return None
        kept = _YEAR if version == self.version else "private, no-cache"
        return Response(self.static[name], media_type=_TYPES[Path(name).suffix], headers={"cache-control": kept})

    def text(self, template: str, **context: Any) -> str:
        """A page, or a part of one."""
        return self._made.get_template(template).render(
            version=self.version, home="/", library_key=self._library, **context
        )

    def answer(self, template: str, code: int = 200, **context: Any) -> Response:
        """A page as an answer. Half a surrogate pair, which is no UTF-8, is spelled out."""
        body = self.text(template, **context).encode("utf-8", "backslashreplace")
        return Response(body, code, {"vary": "X-Fragment"}, media_type="text/html; charset=utf-8")

    def refused(self, status: int, message: str, hint: str) -> Response:
        """The page for those who are not let in: it needs no other file."""
        return self.answer("forbidden.html", status, message=message, hint=hint)

    def failed(self, error: PictoError, status: int) -> Response:
        """The page that says what went wrong, and what to do."""
        title = {400: "Cannot be asked like this", 404: "Not found"}.get(status, "Something went wrong")
        links = [{"text": "All images", "url": "/"}]
        asked_wrong = status in (400, 404)
        hint = None if asked_wrong and error.hint and _COMMAND_LINE.search(error.hint) else error.hint
        return self.answer("error.html", status, status=status, title=title, message=str(error), hint=hint, links=links)
