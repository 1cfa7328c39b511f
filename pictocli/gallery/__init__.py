"""The gallery of `picto browse`: a web page over one library, for a browser of this machine.

`app` is an ASGI application for a server of one's own; `serve` runs one. Both need the extra web: starlette, uvicorn
and jinja2.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from pictocli.errors import PictoError

if TYPE_CHECKING:
    from pictocli.gallery.guard import Guard

__all__ = ["app", "serve"]


def app(path: str | os.PathLike[str] | None = None, *, hosts: Collection[str], token: str | None = None) -> Guard:
    """The gallery of the library at `path` (default: as `pictocli.open`) as an ASGI application.

    hosts: what a browser may call the server, with its port: "127.0.0.1:8000"; anything else is refused. token: what
    `/?token=…` must name before anything is shown; None: a new one, `app.token`. Raises StoreError when there is
    no such library, PictoError without the extra.
    """
    _require()
    from pictocli.gallery.site import site

    return site(path, hosts, token)


def serve(
    path: str | os.PathLike[str] | None = None, *, port: int = 0, ready: Callable[[str, str, int], None] | None = None
) -> None:
    """Serve the gallery on 127.0.0.1 until SIGINT or SIGTERM, or KeyboardInterrupt, which is not passed on.

    port: 0 for a free one. ready: called when it answers, with the address, which holds the token, another one that
    works once, and the number of images. Raises as `app`, and PictoError when the port is taken.
    """
    _require()
    from pictocli.gallery.serving import run

    run(path, port, ready or (lambda *_: None))


def _require() -> None:
    try:
        import jinja2  # noqa: F401 - is it there?
        import starlette
        import uvicorn  # noqa: F401
    except ImportError as exc:
        raise PictoError(f"the gallery needs the package {exc.name}", "pip install 'pictocli[web]'") from exc
    if int(starlette.__version__.partition(".")[0]) < 1:
        raise PictoError(f"starlette {starlette.__version__} is too old", "pip install 'pictocli[web]'")
