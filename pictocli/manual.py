"""The manual page, in roff, made of the command line itself: what --help says of each command, in one page.

Written in the macros of man(7), which mandoc and groff both know.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

import click

__all__ = ["page"]

_EXIT_CODES = (
    ("0", "Something was found, or done."),
    ("1", "Nothing matched."),
    ("2", "Wrong usage: an option, a label or a value that cannot be."),
    ("3", "It cannot work: a database, model or file that cannot be used."),
    ("4", "Not found: no such path, image or dataset."),
    ("130", "Interrupted."),
)
_ENVIRONMENT = (
    ("PICTO_DB", "The database, where --db names none."),
    ("PICTO_CONFIG", "The file of the user's own defaults."),
    ("PICTO_PDF_PASSWORD", "A password for encrypted PDFs."),
    ("NO_COLOR", "Anything: no colours, unless --color asks for them."),
    ("HF_HOME, HF_HUB_CACHE", "Where models are kept that were fetched."),
    ("HF_HUB_OFFLINE", "1: never ask the network for a model."),
    ("AWS_PROFILE, AWS_ENDPOINT_URL, ...", "Credentials and places of S3, as the AWS programs have them."),
)
_FILES = (
    ("$XDG_DATA_HOME/picto/picto.db", "The default database; picto doctor names it."),
    ("$XDG_CONFIG_HOME/picto/config.toml", "The user's own defaults; picto config path names it."),
    ("$XDG_DATA_HOME/picto/calibrations/", "What picto calibrate has measured."),
)
_DESCRIPTION = (
    "picto indexes folders of photos and PDFs, embeds every picture with SigLIP, tags it, and answers in a terminal or "
    "a pipe. Results go to standard output, everything else to standard error. Pictures, queries and file names never "
    "leave the machine; only model files are ever fetched, and the pictures whose URLs are named."
)
_SEE = "xargs(1), find(1), jq(1)"
_OPTION = re.compile(r"(?<![\w-])(--?[a-zA-Z][\w-]*)")


def page(group: click.Group, version: str) -> str:
    """All of the page, in roff. group: the command line with all its commands."""
    root = click.Context(group, info_name="picto")
    text, examples = _split(_body(group))
    parts = [
        '.\\" Made by picto man: not to be edited.',
        f'.TH PICTO 1 "" "picto {version}" "User Commands"',
        *_section("NAME", [f"picto \\- {_escaped(_first(group))}"]),
        *_section("SYNOPSIS", [".B picto", ".RI [ OPTIONS ]", ".I COMMAND", ".RI [ ARGUMENTS ]"]),
        *_section("DESCRIPTION", _prose([_DESCRIPTION, *text])),
        *_section("OPTIONS", [*_options(group, root), ".PP", "These may stand anywhere on the line."]),
        ".SH COMMANDS",
    ]
    for name, command in group.commands.items():
        parts += _command(name, command, click.Context(command, parent=root, info_name=name))
    parts += _section("EXIT STATUS", _terms(_EXIT_CODES))
    parts += _section("ENVIRONMENT", _terms(_ENVIRONMENT))
    parts += _section("FILES", _terms(_FILES))
    parts += _section("EXAMPLES", _verbatim(examples))
    parts += _section("SEE ALSO", [_escaped(_SEE)])
    return "\n".join(parts) + "\n"


def _section(name: str, lines: list[str]) -> list[str]:
    return [f".SH {name}", *lines]


def _terms(terms: tuple[tuple[str, str], ...]) -> list[str]:
    return [line for term, told in terms for line in (".TP", f"\\fB{_escaped(term)}\\fR", _text(told))]


def _command(name: str, command: click.Command, ctx: click.Context) -> list[str]:
    """One command: its usage, what it does, its arguments and options, its examples."""
    usage = " ".join(["[OPTIONS]", *(each.make_metavar(ctx) for each in _arguments(command))])
    lines = [f".SS picto {_escaped(name)} {_escaped(usage)}", *_prose([_first(command, stop=True)])]
    text, examples = _split(_body(command))
    lines += [".PP", *_prose(text)] if text else []
    for argument in _arguments(command):
        lines += [
            ".TP",
            f"\\fI{_escaped(argument.make_metavar(ctx).strip('[]'))}\\fR",
            _text(_helped(command, argument)),
        ]
    lines += _options(command, ctx)
    if examples:
        lines += [".PP", "Examples:", ".PP", *_verbatim(examples)]
    return lines


def _verbatim(lines: list[str]) -> list[str]:
    return [".RS 4", ".nf", *map(_line, lines), ".fi", ".RE"]


def _arguments(command: click.Command) -> list[click.Argument]:
    return [each for each in command.params if isinstance(each, click.Argument)]


def _helped(command: click.Command, argument: click.Argument) -> str:
    """What an argument's help says; click does not keep it."""
    from typing import get_type_hints

    callback: Callable[..., object] | None = command.callback
    hints: Mapping[str, object] = {} if callback is None else get_type_hints(callback, include_extras=True)
    found = getattr(hints.get(argument.name or ""), "__metadata__", (None,))[0]
    return str(getattr(found, "help", None) or "")


def _options(command: click.Command, ctx: click.Context) -> list[str]:
    """Options with their values and help. As they are built in: a configuration changes no manual."""
    lines = []
    for option in command.params if ctx.parent else command.get_params(ctx):
        record = option.get_help_record(ctx) if isinstance(option, click.Option) else None
        if record is not None:
            lines += [".TP", _bold(record[0]), _text(record[1])]
    return lines


def _bold(names: str) -> str:
    """Options in bold, their value in italics: -o, --output FILE."""
    found = re.fullmatch(r"(-\S+(?:, -\S+)*)(?: (.*))?", names)
    assert found is not None, names
    told = ", ".join(f"\\fB{_escaped(each)}\\fR" for each in found[1].split(", "))
    return f"{told} \\fI{_escaped(found[2])}\\fR" if found[2] else told


def _first(command: click.Command, *, stop: bool = False) -> str:
    """The first paragraph of what a command's help says: a sentence."""
    text = " ".join((command.help or "").split("\n\n")[0].split())
    return text if stop else text.rstrip(".")


def _body(command: click.Command) -> list[str]:
    """The other paragraphs."""
    return (command.help or "").split("\n\n")[1:]


def _split(paragraphs: list[str]) -> tuple[list[str], list[str]]:
    """Paragraphs, and the lines of the examples among them."""
    examples = [each for each in paragraphs if re.match(r"\s*\x08?\s*Examples:", each)]
    lines = [line.strip() for each in examples for line in each.split("\n")]
    return [each for each in paragraphs if each not in examples], [
        line for line in lines if line not in ("\b", "", "Examples:")
    ]


def _prose(paragraphs: list[str]) -> list[str]:
    """Paragraphs of help; those that click must not wrap keep their lines."""
    return list(_lines(paragraphs))


def _lines(paragraphs: list[str]) -> Iterator[str]:
    for number, paragraph in enumerate(each for each in paragraphs if each.strip()):
        if number:
            yield ".PP"
        if paragraph.lstrip(" ").startswith("\b"):
            yield from (".nf", *(_line(line.strip()) for line in paragraph.split("\n") if line.strip("\b ")), ".fi")
        else:
            yield _text(paragraph)


def _text(text: str) -> str:
    """A paragraph in one line, options in bold."""
    return _OPTION.sub(lambda found: f"\\fB{found[1]}\\fR", _line(" ".join(text.split()), dashes=False)).replace(
        "-", "\\-"
    )


def _line(text: str, *, dashes: bool = True) -> str:
    """A line that roff takes for text, whatever it begins with."""
    made = _escaped(text, dashes=dashes)
    return f"\\&{made}" if made[:1] in (".", "'") else made


def _escaped(text: str, *, dashes: bool = True) -> str:
    r"""A text as roff writes it: \ is \e, a hyphen that is to be copied is \-, what is not ASCII by its number."""
    text = (
        text.replace("\\", "\\e")
        .replace("'", "\\(aq")
        .replace("`", "\\(ga")
        .replace("^", "\\(ha")
        .replace("~", "\\(ti")
    )
    text = "".join(char if char.isascii() else f"\\[u{ord(char):04X}]" for char in text)
    return text.replace("-", "\\-") if dashes else text
