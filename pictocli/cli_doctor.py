"""The command that looks whether all is well: doctor."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import click
import typer

from pictocli import defaults
from pictocli.display import counted, shown_path
from pictocli.findings import Finding
from pictocli.library import default_path
from pictocli.locations import config_path
from pictocli.options import RowForm
from pictocli.terminal import Terminal

__all__ = ["doctor"]


def doctor(
    ctx: typer.Context,
    deep: Annotated[
        bool, typer.Option("--deep", help="Load torch and the model too, and run them; read all of the database.")
    ] = False,
    form: RowForm = None,
) -> int:
    """Whether all is well here, and what would be chosen.

    Python, SQLite, sqlite-vec, torch and its device, OpenVINO, extras, the model and its cache, the database, free
    disk, the terminal and the configuration. Each is ok, a note, or a problem with its remedy; with a problem it exits
    3. Nothing is fetched or changed.

    \b
    Examples:
      picto doctor
      picto doctor --deep
      picto doctor --format json | jq '.[] | select(.state == "problem")'
    """
    from pictocli.holdings import examine_database, examine_models, try_model
    from pictocli.installation import examine_programs, safely

    terminal: Terminal = ctx.obj
    place = str(Path(__file__).parent)
    found = [Finding(subject="picto", state="ok", text=f"{ctx.meta['picto.version']} in {shown_path(place)}")]
    found += examine_programs()
    database, held = examine_database(terminal.settings.db or default_path(), _why(ctx), deep=deep)
    found += examine_models(held) + database
    if deep:
        terminal.talk("Loading torch and the model")
        found += try_model(held)
    found += safely("config", lambda: _config(ctx)) + safely("terminal", lambda: _terminal(terminal))
    terminal.rows(found, Finding, terminal.form(form, False))
    problems = [each for each in found if each.state == "problem"]
    if sys.stdout.isatty() or terminal.settings.verbose or problems:
        notes = sum(each.state == "note" for each in found)
        terminal.talk(f"{counted(len(problems), 'problem')}, {counted(notes, 'note')}")
    return 3 if problems else 0


def _why(ctx: typer.Context) -> str:
    """What names the database."""
    source = ctx.find_root().get_parameter_source("db")
    if source is click.core.ParameterSource.COMMANDLINE:
        return "--db"
    if os.environ.get("PICTO_DB"):
        return "PICTO_DB"
    return "the configuration" if source is click.core.ParameterSource.DEFAULT_MAP else "the default"


def _config(ctx: typer.Context) -> Iterator[Finding]:
    path = config_path()
    held = defaults.read(path)
    if held is None:
        yield Finding(subject="config", state="ok", text=f"{shown_path(path)} is not there: nothing is set")
        return
    group = ctx.find_root().command
    assert isinstance(group, click.Group)
    defaults.check(group, group.commands, held)
    keys = sum(len(value) if isinstance(value, dict) else 1 for value in held.document.values())
    yield Finding(subject="config", state="ok", text=f"{shown_path(path)} sets {counted(keys, 'default')}")


def _terminal(terminal: Terminal) -> Iterator[Finding]:
    encoding = sys.stdout.encoding or "ascii"
    unicode = encoding.lower().startswith("utf")
    if not sys.stdout.isatty():
        text = f"standard output is none; it takes {encoding}"
    else:
        size = shutil.get_terminal_size()
        colours = "colours" if terminal.coloured else "no colours"
        text = f"{os.environ.get('TERM', 'of no name')}, {size.columns}×{size.lines}, {encoding}, {colours}"
    remedy = None if unicode else "set LANG to a UTF-8 locale, such as C.UTF-8: bars and names then look right"
    yield Finding(subject="terminal", state="ok" if unicode else "note", text=text, remedy=remedy)
