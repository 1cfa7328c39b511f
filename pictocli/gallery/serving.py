"""The server: one process, on this machine's own address, until it is told to stop."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Callable

import uvicorn

from pictocli.errors import PictoError
from pictocli.gallery.site import site

__all__ = ["run"]

_HOST = "127.0.0.1"
_PATIENCE = 2  # seconds that a download that is going on has left, when the server is stopped


class _Server(uvicorn.Server):
    """Calls `ready` once it answers."""

    ready: Callable[[], None]

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready()


def run(path: str | os.PathLike[str] | None, port: int, ready: Callable[[str, str, int], None]) -> None:
    """As `pictocli.gallery.serve`."""
    with contextlib.closing(_bound(port)) as bound:
        port = bound.getsockname()[1]
        end = "" if port == 80 else f":{port}"
        app = site(path, [f"{name}{end}" for name in (_HOST, "localhost")], None)
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # what it tells of broken requests is no news
        config = uvicorn.Config(
            app, log_config=None, access_log=False, server_header=False, loop="asyncio", http="h11", ws="none",
            lifespan="on", timeout_graceful_shutdown=_PATIENCE, timeout_keep_alive=60,
        )  # fmt: skip
        server = _Server(config)
        address = f"http://{_HOST}{end}/?token="
        server.ready = lambda: ready(address + app.token, address + app.once(), app.images)
        with contextlib.suppress(KeyboardInterrupt):
            server.run([bound])


def _bound(port: int) -> socket.socket:
    """A socket of this machine only. Raises PictoError when the port is taken."""
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # else asyncio sets no TCP_NODELAY
    try:
        if os.name == "posix":
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # the last server's connections may linger
        made.bind((_HOST, port))
    except OSError as exc:
        made.close()
        raise PictoError(
            f"port {port} cannot be used: {(exc.strerror or str(exc)).lower()}", "leave --port out"
        ) from exc
    return made
