"""Answers a shell that asks how its line may go on: commands, options, labels, datasets, folders, indexed paths.

The scripts in shell/ ask by the variable _PICTO_COMPLETE: bash with its line up to the cursor, zsh and fish with words.
The answer is a line that says of what kind the candidates are ("paths", "words"; "files" and "folders" are for the
shell to find; with a "+" the word goes on), then one a line. Whatever goes wrong, there is no answer, and no word on
the screen. Names with control characters, those of direction too, are not offered: no shell can be trusted with them.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import click
from click.shell_completion import CompletionItem, ShellComplete

from pictocli import defaults
from pictocli.errors import PictoError
from pictocli.glance import look
from pictocli.locations import config_path, default_path
from pictocli.prefixes import Prefixes
from pictocli.records import CATEGORIES
from pictocli.shell_words import Typed, bash_line, fish_word, quoted
from pictocli.typed_paths import images, limited, roots

__all__ = ["answer"]

Item = CompletionItem[str]
Parser = Callable[[str], click.Group]
Hoisted = Callable[[Sequence[str]], tuple[list[str], list[str]]]

_UNFIT = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_OPERATORS = ("=", "<", ">", "~")
_WEIGHT = re.compile(r"[0-9]*\.?[0-9]+:")
_VALUED = ("--db", "--color")  # the global options that take a value; global ones may stand anywhere


def answer(parser: Parser, hoisted: Hoisted, arguments: Sequence[str]) -> None:
    """Print what a shell asks for. Never raises."""
    with contextlib.suppress(Exception):
        shell = os.environ["_PICTO_COMPLETE"]
        typed = Typed("")
        if shell == "bash":
            words, typed = bash_line(arguments[0], arguments[1])
        elif shell == "fish":
            words, typed = list(arguments), Typed(fish_word(os.environ.get("_PICTO_WORD", "")))
        else:
            words, typed = list(arguments[:-1]), Typed(arguments[-1] if arguments else "")
        items = [each for each in _items(parser, hoisted, words, typed.word) if not _UNFIT.search(each.value)]
        text = "".join(f"{line}\n" for line in _spoken(shell, items, typed))
        sys.stdout.buffer.write(text.encode("utf-8", "surrogateescape"))
        sys.stdout.flush()


def _spoken(shell: str, items: Sequence[Item], typed: Typed) -> Iterable[str]:
    """The lines of an answer."""
    types = {each.type for each in items}
    kind = "files" if "file" in types else "folders" if "dir" in types else "paths" if "path" in types else "words"
    on = any(each.on for each in items) or (kind == "paths" and len(items) == 1 and items[0].value.endswith("/"))
    yield kind + "+" * on
    for each in items:
        if each.type in ("file", "dir"):
            continue
        if shell == "bash":
            yield each.value[typed.cut :] if kind == "paths" else quoted(each.value, typed)
        else:
            told = " ".join(_UNFIT.sub(" ", each.help or "").split())
            yield f"{each.value}\t{told}" if told else each.value


def _items(parser: Parser, hoisted: Hoisted, words: list[str], word: str) -> list[Item]:
    """What the word may become, behind these words."""
    before = ""
    if word.startswith("--") and "=" in word and "--" not in words:
        name, _, word = word.partition("=")
        words, before = [*words, name], f"{name}="
    ahead, rest = hoisted(words)
    if words and words[-1] in _VALUED and "--" not in words:
        ahead, rest = hoisted(words[:-1])
        group, rest = parser("index"), [words[-1]]
    else:
        group = parser(rest[0] if rest else "")
    asked = _Asked(_database(ahead))
    asked.take(group)
    found = _Complete(group, {}, "picto", "_PICTO_COMPLETE").get_completions(rest, word)
    if word.startswith("-") and "--" not in rest and rest and not before:
        known = {each.value for each in found}
        found += [
            CompletionItem(name, help=option.help)
            for option in group.params
            if isinstance(option, click.Option) and not option.is_eager
            for name in option.opts
            if name.startswith(word) and name not in known
        ]
    for each in found:
        each.value = before + each.value
    return found


def _database(ahead: Sequence[str]) -> str:
    """The database that the line means: --db, PICTO_DB, the configuration's, or the default one."""
    named = [each.removeprefix("--db=") for each in ahead if each.startswith("--db=")]
    if named:
        return os.path.expanduser(named[-1])
    if not os.environ.get("PICTO_DB"):
        with contextlib.suppress(PictoError):
            held = defaults.read(config_path())
            if held is not None and (placed := defaults.configured_db(held)) is not None:
                return placed
    return default_path()


class _Complete(ShellComplete):
    """Click's own way from words to the parameter that is being typed."""

    name = "picto"


class _Asked:
    """One question: gives the parameters of a command line their candidates."""

    def __init__(self, path: str) -> None:
        self._path = path

    def take(self, group: click.Group) -> None:
        """Have the options and arguments of a command line offer what there is for them."""
        for command in [group, *group.commands.values()]:
            for parameter in command.params:
                if isinstance(parameter.type, click.Choice) or getattr(parameter, "is_flag", False):
                    continue
                if (offer := self._offer(command, parameter)) is not None:
                    parameter.type = _Offered(offer)

    def _offer(self, command: click.Command, parameter: click.Parameter) -> Callable[[click.Context, str], Any] | None:
        """What gives the candidates of a parameter: told by its name, or by what its help calls its value."""
        for at, category in enumerate(CATEGORIES):
            if f"--{category}" in parameter.opts:
                return partial(self._labels, at)
        named = {
            "--dataset": self._datasets, "--folder": self._folders, "--where": self._fields, "--model": self._models,
            "--index-field": self._fields_alone,
        }  # fmt: skip
        for name in parameter.opts:
            if name in named:
                return named[name]
        told = parameter.metavar or ""
        if command.name == "config":
            return self._keys if parameter.name == "key" else None
        if "IMG" in told or told.startswith("PATH|ID"):
            return self._images
        if told == "OLD":
            return self._roots
        if re.search(r"FILE|PATH|IMAGES|OTHER|FROM|^TO$", told):
            return lambda *_: [CompletionItem("", type="file")]
        return (lambda *_: [CompletionItem("", type="dir")]) if re.search("DIR|FOLDER|NEW", told) else None

    @contextlib.contextmanager
    def _names(self) -> Any:
        db = look(self._path)
        try:
            yield None if db is None else Prefixes(db)
        finally:
            if db is not None:
                db.close()

    def _labels(self, category: int, _: click.Context, typed: str) -> list[Item]:
        before, comma, last = typed.rpartition(",")
        taken = set(before.split(","))
        with self._names() as names:
            found = names.labels(category, last) if names else []
        return [CompletionItem(before + comma + name) for name in limited(found) if name not in taken]

    def _datasets(self, _: click.Context, typed: str) -> list[Item]:
        with self._names() as names:
            return [CompletionItem(name) for name in limited(names.datasets(typed) if names else ())]

    def _folders(self, ctx: click.Context, typed: str) -> list[Item]:
        head, slash, last = typed.rpartition("/")
        with self._names() as names:
            if not names:
                return []
            only = ctx.params.get("dataset")
            found = {part for root in names.roots_of(only) for part in names.below(root, head, last)}
        return [CompletionItem(f"{head}{slash}{part}") for part in limited(found)]

    def _fields(self, _: click.Context, typed: str) -> list[Item]:
        with self._names() as names:
            found = [name for name in names.names() if name.startswith(typed)] if names else []
        if len(found) == 1:  # alone, it would end with a blank
            return [CompletionItem(found[0] + operator, on=True) for operator in _OPERATORS]
        return [CompletionItem(name, on=True) for name in limited(found)]

    def _fields_alone(self, _: click.Context, typed: str) -> list[Item]:
        with self._names() as names:
            return [CompletionItem(name) for name in names.names() if name.startswith(typed)] if names else []

    def _models(self, _: click.Context, typed: str) -> list[Item]:
        from pictocli.hub import NAMES  # ssl and urllib: 30 ms

        found = [name for name in ("auto", *NAMES) if name.startswith(typed)]
        return [CompletionItem(name) for name in found] or [CompletionItem("", type="dir")]

    def _images(self, _: click.Context, typed: str) -> list[Item]:
        weight = found[0] if (found := _WEIGHT.match(typed)) else ""
        with self._names() as names:
            return [CompletionItem(weight + path, type="path") for path in images(names, typed[len(weight) :])]

    def _roots(self, _: click.Context, typed: str) -> list[Item]:
        with self._names() as names:
            found = roots(names, typed) if names else []
        return [CompletionItem(root, type="path") for root in found] or [CompletionItem("", type="dir")]

    def _keys(self, ctx: click.Context, typed: str) -> list[Item]:
        group = ctx.find_root().command
        assert isinstance(group, click.Group)
        keys = defaults.keys(group)
        if ctx.params.get("action") == "unset":
            held = defaults.read(config_path())
            keys = [".".join(key) for key in defaults.keys_set(held)] if held is not None else []
        found = [key for key in keys if key.startswith(typed)]
        return [CompletionItem(key) for key in limited(found)]


class _Offered(click.types.StringParamType):
    """The type of a parameter that knows what may be meant."""

    name = "text"

    def __init__(self, offer: Callable[[click.Context, str], list[Item]]) -> None:
        self._offer = offer

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Item]:  # noqa: ARG002 - click's
        """What may be meant."""
        return self._offer(ctx, incomplete)
