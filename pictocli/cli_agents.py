"""The command that answers agents: mcp."""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from typing import Annotated

import typer

from pictocli.databases import is_file, shown
from pictocli.errors import PictoError
from pictocli.options import Device, OnDevice
from pictocli.terminal import Terminal

__all__ = ["mcp"]

_SETTINGS = '{"mcpServers": {"picto": {"command": "picto", "args": ["mcp"]}}}'


def mcp(
    ctx: typer.Context,
    dataset: Annotated[
        list[str] | None, typer.Option("--dataset", metavar="NAME", help="Show this dataset only; repeatable.")
    ] = None,
    folder: Annotated[
        list[str] | None,
        typer.Option("--folder", metavar="SUB", help="Show this folder and what is below only; repeatable."),
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option("--where", metavar="EXPR", help="Show images with such metadata only; repeatable, all must hold."),
    ] = None,
    no_paths: Annotated[
        bool, typer.Option("--no-paths", help="Tell ids and file names, and never where files lie.")
    ] = False,
    allow_files: Annotated[
        bool, typer.Option("--allow-files", help="Let the agent ask with files that are not in the index, by path.")
    ] = False,
    device: OnDevice = Device.auto,
) -> int:
    """Let an agent search and look, by MCP.

    Speaks the Model Context Protocol on standard input and output, with the tools search, similar, tags, show, taxonomy
    and info, which change nothing. An agent's program starts it, by a setting such as this one:

    \b
      {"mcpServers": {"picto": {"command": "picto", "args": ["mcp"]}}}

    --dataset, --folder and --where leave out what an agent should not see: no tool finds, counts or names it.

    \b
    Examples:
      picto mcp --dataset holiday --dataset scans
      picto mcp --folder work/site-7 --where public=true --no-paths
    """
    terminal: Terminal = ctx.obj

    def unexpected(error: Exception) -> None:
        if isinstance(error, PictoError):
            terminal.error(error)
        else:
            terminal.error(PictoError(f"unexpected {type(error).__name__}: {error}", "report this fault of picto's"))
        if terminal.settings.verbose:
            traceback.print_exception(error)

    def ready(there: bool, path: str) -> None:
        if not there:
            empty = is_file(path) and os.path.exists(path)
            what = f"{path} is empty" if empty else f"there is no database at {shown(path)} yet"
            terminal.warning(f"{what}: picto index FOLDER makes one")
        if sys.stdin.isatty():
            terminal.talk("Waiting for an agent on standard input: Ctrl-C ends it")
            terminal.hint(f"an agent's program starts it, by a setting such as {_SETTINGS}")

    with contextlib.suppress(KeyboardInterrupt):  # by which it is ended
        terminal.library().mcp(
            datasets=dataset or (), folders=folder or (), where=where or (), paths=not no_paths, files=allow_files,
            device=device.value, ready=ready, unexpected=unexpected,
        )  # fmt: skip
    return 0
