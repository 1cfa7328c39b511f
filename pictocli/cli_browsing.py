"""The command that shows a library in a browser: browse."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from pictocli.databases import shown
from pictocli.display import counted, shown_path
from pictocli.terminal import Terminal

__all__ = ["browse"]


def browse(
    ctx: typer.Context,
    port: Annotated[
        int, typer.Option("--port", metavar="N", min=0, max=65535, help="Answer at this port; 0: a free one.")
    ] = 0,
    no_open: Annotated[bool, typer.Option("--no-open", help="Print the address only; open no browser.")] = False,
) -> int:
    """Look at the library in a browser, until Ctrl-C.

    A page with all images, a search box for words and for pictures that are dropped on it, filters with counts, and
    everything known of each image. It is served to this machine alone, by an address with a secret in it that holds
    until the command ends; nothing is changed, and no other machine is asked for anything. Needs
    pip install 'pictocli[web]'.

    A browser is opened on a terminal only. From another machine, ssh -L 8000:localhost:8000 leads to --port 8000.

    \b
    Examples:
      picto browse
      picto --db holiday.db browse --no-open
      picto browse --port 8000
    """
    terminal: Terminal = ctx.obj
    from pictocli.gallery import serve  # starlette, uvicorn, jinja2

    path = terminal.library().path

    def ready(address: str, once: str, images: int) -> None:
        sys.stdout.write(address + "\n")
        sys.stdout.flush()
        terminal.talk(f"Showing {counted(images, 'image')} of {shown_path(shown(path))}: Ctrl-C ends it")
        if not no_open and sys.stdout.isatty():
            import threading
            import webbrowser

            # in a thread: a browser of the terminal ends when it is closed, and the server must answer until then
            threading.Thread(target=webbrowser.open, args=(once,), daemon=True).start()

    serve(path, port=port, ready=ready)
    return 0
