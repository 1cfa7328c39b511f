"""The command line's entry: global options, commands, and the one place where errors become exit codes."""

from __future__ import annotations

import atexit
import errno
import importlib
import os
import re
import select
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated, Any, cast, get_type_hints

import click
import typer
import typer.core

from pictocli import __version__
from pictocli.errors import PictoError, ValidationError
from pictocli.interrupts import ending, interruptible
from pictocli.locations import config_path
from pictocli.options import Color
from pictocli.terminal import Settings, Terminal

__all__ = ["main"]

_app = typer.Typer(
    name="picto",
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help: rich's takes 50 ms and cuts words in narrow terminals
    pretty_exceptions_enable=False,
    add_completion=False,  # picto completion does that: Typer's scripts evaluate file names
    context_settings={"help_option_names": ["--help", "-h"], "max_content_width": 100},
)


def _version(asked: bool) -> None:
    if asked:
        sys.stdout.write(f"picto {__version__}\n")
        raise typer.Exit


@_app.callback(
    epilog="The global options may stand anywhere on the line. Exit codes: 0 found or done, 1 nothing matched, "
    "2 wrong usage, 3 cannot work, 4 not found, 130 interrupted."
)
def _globals(
    ctx: typer.Context,
    db: Annotated[
        str | None,
        typer.Option(
            "--db",
            metavar="FILE|URL",
            help="The library: a file, postgresql://…, lance://DIR [default: PICTO_DB, else picto.db in the user's"
            " data].",
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
    ctx.meta["picto.version"] = __version__


class _Command(typer.core.TyperCommand):
    """A command whose arguments keep their help: click 8.5 drops what Typer 0.24 has set before it."""

    def invoke(self, ctx: click.Context) -> int:
        """Run it. Click takes any pipe that breaks for standard output, and ends quietly: others are errors."""
        if ctx.default_map:
            from pictocli import defaults

            defaults.give_way(ctx)
        try:
            code: int = super().invoke(ctx)
        except BrokenPipeError as exc:
            if _unread():
                raise
            raise _explained(exc) from exc
        return code

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the arguments and options."""
        hints = get_type_hints(self.callback, include_extras=True)
        for parameter in self.params:
            if isinstance(parameter, click.Argument):
                parameter.help = hints[parameter.name].__metadata__[0].help
        super().format_options(ctx, formatter)


# Which module has it: each costs a millisecond or two to import, and only the one that is asked for is.
_MODULES = {
    "index": "filling", "watch": "watching", "similar": "asking", "search": "searching", "tags": "asking",
    "duplicates": "duplicates", "browse": "browsing", "show": "showing", "info": "showing", "map": "map",
    "taxonomy": "showing", "retag": "filling", "calibrate": "filling", "embed": "filling", "reembed": "filling",
    "export": "keeping", "import": "exchange", "thumbnails": "exchange", "prune": "house", "rm": "house",
    "mv-root": "house", "merge": "house", "move-db": "house", "vacuum": "house", "compact": "keeping",
    "repair": "keeping", "mcp": "agents", "completion": "shell", "man": "shell", "config": "config", "doctor": "doctor",
}  # fmt: skip
_OF_ALL = ("config", "doctor", "man")  # these look at the options of every command
_IN_ANY_CASE = ("config", "doctor", "man", "completion")  # these work whatever the configuration says


def _parser(name: str) -> click.Group:
    """The command line of the command that is asked for alone; of all, when it is none."""
    _app.registered_commands = []
    for each in [name] if name in _MODULES and name not in _OF_ALL else _MODULES:
        module = importlib.import_module(f"pictocli.cli_{_MODULES[each]}")
        function = "import_" if each == "import" else each.replace("-", "_")  # import is a word of Python's
        _app.command(each, cls=_Command)(getattr(module, function))
    return cast(click.Group, typer.main.get_command(_app))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    _fill_streams()
    if "_PICTO_COMPLETE" in os.environ:  # a shell asks how its line may go on
        from pictocli.completing import answer

        answer(_parser, _hoisted, sys.argv[1:] if arguments is None else arguments)
        return
    interruptible()
    code = _run(sys.argv[1:] if arguments is None else arguments)
    try:
        sys.stdout.flush()
    except OSError:  # told already, or nobody is left to be told
        _hush()
    atexit.register(ending)
    sys.exit(code)


def _fill_streams() -> None:
    """Open to nowhere what the caller has closed (>&-): a file opened later would take its place."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 - for as long as the program runs


def _run(arguments: Sequence[str]) -> int:
    """The exit code of one command; every error of picto's ends here."""
    ahead, rest = _hoisted(arguments)
    verbose = "-v" in ahead or "--verbose" in ahead
    terminal = Terminal(Settings(quiet="-q" in ahead or "--quiet" in ahead, color=_color(ahead)))
    try:
        parser = _parser(rest[0] if rest else "")
        given = [*ahead, *rest]
        return parser.main(given, prog_name="picto", standalone_mode=False, default_map=_defaults(parser, rest)) or 0
    except click.exceptions.NoArgsIsHelpError as exc:
        sys.stderr.write(exc.format_message() + "\n")
        return 2
    except click.UsageError as exc:
        terminal.error(_usage(exc))
        return 2
    except SystemExit as exc:
        if not isinstance(exc.__context__, BrokenPipeError):
            raise
        _hush()  # click and rich leave by it when the pipe has closed
        return 0
    except KeyboardInterrupt:
        return 130
    except Exception as exc:
        cause = exc.__cause__ if isinstance(exc, click.Abort) else exc  # click's for any EOFError too
        if not isinstance(cause, Exception):
            return 130
        if verbose:
            traceback.print_exc()
        error = _explained(cause)
        terminal.error(error)
        return error.exit_code


def _defaults(parser: click.Group, rest: Sequence[str]) -> dict[str, Any] | None:
    """The user's own defaults, None without any. Raises PictoError, ValidationError for a wrong configuration."""
    try:
        if not os.path.lexists(path := config_path()):
            return None
        from pictocli import defaults  # 5 ms, which those who have set none need not pay

        held = defaults.read(path)
        return None if held is None else defaults.default_map(parser, _MODULES, held)
    except PictoError:
        if rest[:1] and (rest[0] in (*_IN_ANY_CASE, "--version") or {"--help", "-h"} & set(rest)):
            return None
        raise


def _usage(exc: click.UsageError) -> ValidationError:
    """Click's complaint in our form: one sentence, and the remedy as a hint."""
    message, _, guesses = exc.format_message().partition(" Did you mean ")
    if isinstance(exc, click.MissingParameter):
        message = message.partition(". Choose from")[0]  # a list over several lines: its name says them
    message = message.rstrip(".")
    nearest = re.findall(r"'([^']+)'", guesses.partition("?")[0])
    hint = f"{exc.ctx.command_path if exc.ctx else 'picto'} --help"
    if nearest:
        hint = f"nearest: {', '.join(nearest)}"
    elif isinstance(exc, click.NoSuchOption):
        hint += "; a name that begins with a dash goes after --"
    return ValidationError(message[:1].lower() + message[1:], hint)


def _explained(exc: Exception) -> PictoError:
    """An error as the user is told it."""
    if isinstance(exc, PictoError):
        return exc
    if isinstance(exc, OSError) and exc.errno == errno.ENOSPC:
        return PictoError("no space left to write to", "free some space and run the same command again")
    if isinstance(exc, FileNotFoundError) and exc.filename is None:  # os.getcwd's
        return PictoError("the working folder is gone", "cd to another one")
    hint = "run it again with --verbose and report what it prints: this is a fault of picto's"
    return PictoError(f"unexpected {type(exc).__name__}: {exc}", hint)


def _hoisted(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """The global options, wherever before `--` they stood, and the other arguments."""
    front: list[str] = []
    rest: list[str] = []
    at = 0
    while at < len(arguments):
        each = arguments[at]
        if each == "--":
            return front, rest + list(arguments[at:])
        if re.fullmatch("-[qv]+", each):
            front += [f"-{letter}" for letter in each[1:]]
        elif each in ("--quiet", "--verbose") or each.startswith(("--db=", "--color=")):
            front.append(each)
        elif each in ("--db", "--color"):
            if at + 1 == len(arguments):
                return [*front, each], []  # for click to complain of
            front.append(f"{each}={arguments[at + 1]}")
            at += 1
        else:
            rest.append(each)
        at += 1
    return front, rest


def _color(ahead: Sequence[str]) -> str:
    """--color, before it has been parsed: errors in parsing are coloured too."""
    given = [each.removeprefix("--color=") for each in ahead if each.startswith("--color=")]
    return given[-1] if given and given[-1] in ("always", "never") else "auto"


def _unread() -> bool:
    """Whether the reader of our output has gone; a pipe of another kind that breaks is an error."""
    if not hasattr(select, "poll"):  # Windows
        return True
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return bool(poll.poll(0))


def _hush() -> None:
    """The reader of our output has gone: keep Python from complaining of it at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
