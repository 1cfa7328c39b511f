"""The command line's entry: global options, commands, and the one place where errors become exit codes."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated

import click
import typer

from pictocli import __version__
from pictocli.cli_asking import info, search, show, similar, tags, taxonomy
from pictocli.cli_filling import embed, index, reembed
from pictocli.errors import PictoError, ValidationError
from pictocli.options import Color
from pictocli.terminal import Settings, Terminal

__all__ = ["app", "main"]

app = typer.Typer(
    name="picto",
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help: rich's takes 50 ms and cuts words in narrow terminals
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"], "max_content_width": 100},
)


def _version(asked: bool) -> None:
    if asked:
        sys.stdout.write(f"picto {__version__}\n")
        raise typer.Exit


@app.callback(
    epilog="The global options may stand anywhere on the line. Exit codes: 0 found or done, 1 nothing matched, "
    "2 wrong usage, 3 cannot work, 4 not found, 130 interrupted."
)
def _globals(
    ctx: typer.Context,
    db: Annotated[
        str | None,
        typer.Option(
            "--db", metavar="FILE", help="The database [default: PICTO_DB, else picto.db in the user's data]."
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Results and errors only.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say more; show tracebacks.")] = False,
    color: Annotated[Color, typer.Option("--color", help="When to colour.")] = Color.auto,
    version: Annotated[  # noqa: ARG001 - its callback has answered
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Find your pictures by likeness, by words and by tags: offline, in one SQLite file.

    \b
    Examples:
      picto index ./photos
      picto similar photos/beach.jpg --threshold 0.6
      picto tags --objects car --scenes outdoor
      picto search "a red car in the snow"
    """
    ctx.obj = Terminal(Settings(db, quiet, verbose, color.value))


for command in (index, similar, search, tags, show, info, taxonomy, embed, reembed):
    app.command()(command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    given = _hoisted(sys.argv[1:] if arguments is None else arguments)
    code = _run(given)
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _hush()
    sys.exit(code)


def _run(arguments: list[str]) -> int:
    """The exit code of one command; every error of picto's ends here."""
    verbose = "-v" in arguments or "--verbose" in arguments
    terminal = Terminal(Settings(quiet="-q" in arguments or "--quiet" in arguments, color=_color(arguments)))
    try:
        return typer.main.get_command(app).main(arguments, prog_name="picto", standalone_mode=False) or 0
    except click.exceptions.NoArgsIsHelpError as exc:
        sys.stderr.write(exc.format_message() + "\n")
        return 2
    except click.UsageError as exc:
        path = exc.ctx.command_path if exc.ctx else "picto"
        message = exc.format_message().rstrip(".")
        terminal.error(ValidationError(message[:1].lower() + message[1:], f"{path} --help"))
        return 2
    except PictoError as exc:
        if verbose:
            traceback.print_exc()
        terminal.error(exc)
        return exc.exit_code
    except BrokenPipeError:
        _hush()
        return 0
    except (KeyboardInterrupt, click.Abort):
        return 130
    except Exception as exc:
        if verbose:
            traceback.print_exc()
        hint = "run it again with --verbose and report what it prints: this is a fault of picto's"
        terminal.error(PictoError(f"unexpected {type(exc).__name__}: {exc}", hint))
        return 3


def _hoisted(arguments: Sequence[str]) -> list[str]:
    """The arguments with the global options in front, wherever before `--` they stood."""
    front: list[str] = []
    rest: list[str] = []
    at = 0
    while at < len(arguments):
        each = arguments[at]
        if each == "--":
            return [*front, *rest, *arguments[at:]]
        if each in ("-q", "--quiet", "-v", "--verbose") or each.startswith(("--db=", "--color=")):
            front.append(each)
        elif each in ("--db", "--color") and at + 1 < len(arguments):
            front += arguments[at : at + 2]
            at += 1
        else:
            rest.append(each)
        at += 1
    return front + rest


def _color(arguments: Sequence[str]) -> str:
    """--color, before it has been parsed: errors in parsing are coloured too."""
    for at, each in enumerate(arguments):
        value = arguments[at + 1] if each == "--color" and at + 1 < len(arguments) else each.removeprefix("--color=")
        if value in ("always", "never") and each.startswith("--color"):
            return value
    return "auto"


def _hush() -> None:
    """The reader of our output has gone: keep Python from complaining of it at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
