"""The user's own defaults, held against the options that there are: which hold for a command, and which are wrong.

An option on the line goes first, then the environment (PICTO_DB, NO_COLOR), then the configuration, then what is built
in. Click does the rest: it takes a map of defaults, and `--help` shows what is in force.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from pictocli.databases import full, is_file, shown
from pictocli.errors import ValidationError
from pictocli.findings import Setting
from pictocli.locations import default_path
from pictocli.settable import refusal, span
from pictocli.toml_lines import FaultError

if TYPE_CHECKING:
    from pictocli.configuration import Configuration, Value

__all__ = [
    "GLOBAL", "SHARED", "check", "configured_db", "default_map", "give_way", "key_of", "keys", "keys_set",
    "option_of", "read", "settings", "typed",
]  # fmt: skip

GLOBAL = ("db", "color", "quiet", "verbose")
SHARED: Mapping[str, Sequence[str] | None] = {
    "device": None, "batch-size": None, "workers": None,
    # of the others, some take the library's own model unless told otherwise, and one moves a library into another
    "model": ("index", "watch"),
}  # fmt: skip
"""Options of several commands that are set once for all that have them, or for these."""

_OUTDONE = {"db": "PICTO_DB", "color": "NO_COLOR"}
_GIVE_WAY: dict[str, dict[str, tuple[str, ...]]] = {
    "": {"print0": ("form",), "everywhere": ("dataset", "folder")},
    "duplicates": {"threshold": ("exact",), "exact": ("threshold",)},
}
"""By command, "" for all: what cannot go together with an option, by the names of their parameters."""
_KINDS = (
    (click.types.IntParamType, int, "a whole number"),
    (click.types.FloatParamType, int | float, "a number"),
    (click.types.StringParamType, str, "a text in quotes"),
    (click.Choice, str, "a text in quotes"),
)


def read(path: str) -> Configuration | None:
    """The configuration at `path`, None without one: the usual case, which costs no import. Raises PictoError."""
    if not os.path.lexists(path):
        return None
    from pictocli.configuration import read_configuration  # tomllib: 8 ms

    return read_configuration(path)


def default_map(group: click.Group, commands: Collection[str], held: Configuration) -> dict[str, Any]:
    """What click takes for defaults, of the commands that `group` has. commands: the names of all that there are.

    Raises ValidationError naming the file, the line, what is wrong and the nearest that is right.
    """
    check(group, commands, held)
    made: dict[str, Any] = {}
    for name, command in group.commands.items():
        own = held.document.get(name, {})
        shared = {key: held.document[key] for key, only in SHARED.items() if key in held.document and _in(name, only)}
        options = _options(command)
        made[name] = {
            options[key].name: [value] if options[key].multiple and not isinstance(value, list) else value
            for key, value in {**shared, **own}.items()
            if key in options
        }
    options = _options(group)
    for key in GLOBAL:
        if key in held.document and not os.environ.get(_OUTDONE.get(key, "")):
            value = held.document[key]
            made[str(options[key].name)] = _placed(held.path, value) if key == "db" else value
    return made


def give_way(ctx: click.Context) -> None:
    """Forget the defaults of the user's own that cannot go together with an option on the line, which goes first."""
    for name, others in {**_GIVE_WAY[""], **_GIVE_WAY.get(ctx.info_name or "", {})}.items():
        if ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
            for other in others:
                if ctx.get_parameter_source(other) is click.core.ParameterSource.DEFAULT_MAP:
                    ctx.params[other] = False if ctx.params[other] is True else None


def check(group: click.Group, commands: Collection[str], held: Configuration) -> None:
    """Hold a configuration against the commands that `group` has. Raises ValidationError as `default_map` does."""
    try:
        for key, value in held.document.items():
            if not isinstance(value, dict):
                for option in _holders(group, key):
                    _require(option, value, (key,))
            elif key not in commands:
                raise FaultError(f"there is no command {key!r}{_nearest(key, commands)}", (key,))
            elif key in group.commands:
                for name, inner in value.items():
                    _require(option_of(group, f"{key}.{name}"), inner, (key, name))
    except FaultError as exc:
        raise ValidationError(
            f"the configuration {held.path} is wrong{exc.at(held.text)}", "picto config unset KEY, or an editor"
        ) from exc


def configured_db(held: Configuration) -> str | None:
    """The database that a configuration names, if it names one."""
    named = held.document.get("db")
    return _placed(held.path, named) if isinstance(named, str) else None


def keys(group: click.Group) -> list[str]:
    """Every key that may be set, of the commands that `group` has."""
    own = [f"{name}.{key}" for name, command in group.commands.items() for key in _options(command)]
    return [*GLOBAL, *SHARED, *(key for key in own if refusal(key) is None)]


def keys_set(held: Configuration) -> list[tuple[str, ...]]:
    """The keys that a configuration sets: those of all commands first."""
    tables = [(key, value) for key, value in held.document.items() if isinstance(value, dict)]
    alone = [(key,) for key, value in held.document.items() if not isinstance(value, dict)]
    return [*alone, *((name, inner) for name, table in tables for inner in table)]


def key_of(text: str) -> tuple[str, ...]:
    """A key as a person writes it, "similar.threshold" or "device", in its parts."""
    return tuple(part.removeprefix("--") for part in text.split(".", 1))


def option_of(group: click.Group, key: str) -> click.Option:
    """The option that a key sets the default of; of a shared one, that of one of its commands.

    Raises FaultError for what may not be set, and for what is not there, naming the nearest.
    """
    parts = key_of(key)
    if len(parts) == 1:
        return next(iter(_holders(group, parts[0])))
    command, name = parts
    if command not in group.commands:
        raise FaultError(f"there is no command {command!r}{_nearest(command, group.commands)}", (command,))
    options = _options(group.commands[command])
    if name not in options:
        raise FaultError(f"picto {command} has no option {name!r} to set{_nearest(name, options)}", parts)
    if why := refusal(".".join(parts)):
        raise FaultError(f"{'.'.join(parts)} cannot be a default: {why}", parts)
    return options[name]


def typed(option: click.Option, texts: Sequence[str], key: str) -> Value:
    """What a person gave on the command line as a value for TOML. Raises ValidationError for what it cannot be."""
    try:
        if not option.multiple and len(texts) != 1:
            raise FaultError(f"{key} takes one value")
        found = [_typed(option, text) for text in texts]
        value: Value = found if option.multiple else found[0]
        _require(option, value, tuple(key.split(".")))
    except FaultError as exc:
        raise ValidationError(str(exc)) from exc
    return full(os.path.expanduser(str(value))) if key == "db" else value


def settings(held: Configuration | None, db: str | None) -> list[Setting]:
    """All that is set, and the database, whatever decides it. db: what --db names on the line, None without it."""
    found = []
    if db is not None:
        found.append(Setting(key="db", value=shown(db), source="option", where="--db", in_force=True))
    if named := os.environ.get("PICTO_DB"):
        found.append(Setting(key="db", value=shown(named), source="environment", where="PICTO_DB", in_force=db is None))
    if os.environ.get("NO_COLOR"):
        found.append(Setting(key="color", value="never", source="environment", where="NO_COLOR", in_force=True))
    if held is not None:
        found += _configured(held, db is not None)
    if not any(each.key == "db" for each in found):
        found.append(Setting(key="db", value=default_path(), source="default", where="", in_force=True))
    return sorted(found, key=lambda each: ("." in each.key, each.key, not each.in_force))


def _configured(held: Configuration, db_given: bool) -> Iterator[Setting]:
    from pictocli.configuration import spelled_value

    for key in keys_set(held):
        name = ".".join(key)
        outdone = bool(os.environ.get(_OUTDONE.get(name, ""))) or (name == "db" and db_given)
        where = f"{held.path}:{held.line(key)}"
        value = held.value(key)
        told = value if isinstance(value, str) else spelled_value(value)
        told = shown(configured_db(held) or told) if name == "db" else told
        told = "…" if name.endswith(".pdf-password") and not told.startswith("@") else told
        yield Setting(key=name, value=told, source="config", where=where, in_force=not outdone)


def _options(command: click.Command) -> dict[str, click.Option]:
    """The options of a command whose default may be another, by their long names without dashes."""
    return {
        name.removeprefix("--"): option
        for option in command.params
        if isinstance(option, click.Option) and not option.required and not option.is_eager
        for name in option.opts
        if name.startswith("--")
    }


def _in(command: str, only: Sequence[str] | None) -> bool:
    return only is None or command in only


def _holders(group: click.Group, key: str) -> list[click.Option]:
    """The options that a key without a command sets. Raises FaultError where there is none such."""
    if key in GLOBAL:
        return [_options(group)[key]]
    if key in SHARED:
        only = SHARED[key]
        return [
            options[key] for name, command in group.commands.items()
            if _in(name, only) and key in (options := _options(command))
        ]  # fmt: skip
    owner = next((name for name, command in group.commands.items() if key in _options(command)), None)
    more = f": it belongs to a command, as in {owner}.{key}" if owner else _nearest(key, (*GLOBAL, *SHARED))
    raise FaultError(f"there is no option {key!r} for all commands{more}", (key,))


def _require(option: click.Option, value: Any, key: tuple[str, ...]) -> None:
    """Raise FaultError unless an option can have this value."""
    name = ".".join(key)
    if isinstance(value, dict):
        raise FaultError(f"{name} is a table, and should be a value", key)
    if option.multiple and isinstance(value, list):
        for number, each in enumerate(value):
            _require_one(option, each, name, (*key, number))
    else:
        _require_one(option, value, name, key)


def _require_one(option: click.Option, value: Any, name: str, place: tuple[str | int, ...]) -> None:
    if option.is_flag:
        if not isinstance(value, bool):
            raise FaultError(f"{name} must be true or false", place)
        return
    for kind, wanted, words in _KINDS:
        if isinstance(option.type, kind):
            if isinstance(value, bool) or not isinstance(value, wanted) or value != value:  # nan
                raise FaultError(f"{name} must be {words}", place)
            break
    if (limits := span(name)) is not None and not limits[0] <= value <= limits[1]:
        raise FaultError(f"{name} must lie between {limits[0]} and {limits[1]}, not {value}", place)
    if name.endswith(".pdf-password") and not value.startswith("@"):
        raise FaultError(f"{name} must be @FILE: a password is not kept in the configuration", place)
    try:
        option.type.convert(value, option, None)
    except click.BadParameter as exc:
        if isinstance(option.type, click.Choice):
            choices = ", ".join(map(str, option.type.choices))
            raise FaultError(f"{name} is one of {choices}, not {value!r}", place) from exc
        raise FaultError(f"{name}: {exc.message.rstrip('.')}", place) from exc


def _typed(option: click.Option, text: str) -> Any:
    """A text as the TOML type of an option's values; as it is where it is none."""
    if option.is_flag:
        return {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}.get(
            text.lower(), text
        )
    for kind, make in ((click.types.IntParamType, int), (click.types.FloatParamType, float)):
        if isinstance(option.type, kind):
            try:
                return make(text)
            except ValueError:
                return text
    return text


def _placed(path: str, db: str) -> str:
    """The database that a configuration names: ~ is the user's home; else a file lies relative to the configuration."""
    if not is_file(db):
        return db
    return os.path.join(os.path.dirname(os.path.abspath(path)), os.path.expanduser(db))


def _nearest(name: str, known: Collection[str]) -> str:
    import difflib

    near = difflib.get_close_matches(name, known, 3, 0.5)
    return f" (nearest: {', '.join(near)})" if near else ""
