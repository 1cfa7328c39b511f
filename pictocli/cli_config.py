"""The command that keeps the user's own defaults: config."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import click
import typer

from pictocli import defaults
from pictocli.databases import shown
from pictocli.display import printable, shown_path
from pictocli.errors import ValidationError
from pictocli.findings import Setting
from pictocli.locations import config_path
from pictocli.options import RowForm
from pictocli.terminal import Terminal
from pictocli.toml_lines import FaultError

if TYPE_CHECKING:
    from pictocli.configuration import Configuration

__all__ = ["ConfigAction", "config"]


class ConfigAction(StrEnum):
    """What can be done with defaults."""

    list = "list"
    get = "get"
    set = "set"
    unset = "unset"
    path = "path"


def config(
    ctx: typer.Context,
    action: Annotated[
        ConfigAction, typer.Argument(metavar="[list|get|set|unset|path]", help="What to do.")
    ] = ConfigAction.list,
    key: Annotated[
        str | None, typer.Argument(metavar="[KEY]", help="similar.threshold for one command; db, device for all.")
    ] = None,
    values: Annotated[
        list[str] | None, typer.Argument(metavar="[VALUE...]", help="The new default; several for what is repeatable.")
    ] = None,
    form: RowForm = None,
) -> int:
    """Your own defaults for options, in one TOML file.

    A KEY is a command and an option, as similar.threshold. For all commands: db, color, quiet, verbose, device,
    batch-size and workers; and model, for index and watch. An option on the line goes first, then the environment
    (PICTO_DB, NO_COLOR), then the configuration; --help shows the defaults in force. PICTO_CONFIG names another file.

    \b
    Examples:
      picto config set similar.threshold 0.7
      picto config set index.exclude cache '*.tmp'
      picto config set db ~/pictures/picto.db
      picto config
      picto config unset similar.threshold
      $EDITOR "$(picto config path)"
    """
    terminal: Terminal = ctx.obj
    path = config_path()
    _require_fitting(action, key, values)
    if action is ConfigAction.path:
        sys.stdout.write(path + "\n")
        return 0
    from pictocli.configuration import read_configuration  # tomllib

    held = read_configuration(path)
    root = ctx.find_root()
    assert isinstance(root.command, click.Group)
    given = root.get_parameter_source("db") is click.core.ParameterSource.COMMANDLINE
    found = defaults.settings(held, terminal.settings.db if given else None)
    if action is ConfigAction.list:
        terminal.rows(found, Setting, terminal.form(form, False))
        defaults.check(root.command, root.command.commands, held)
        return 0
    assert key is not None
    if action is ConfigAction.get:
        return _get(terminal, root.command, held, key, found)
    if action is ConfigAction.unset:
        return _unset(terminal, held, key)
    return _set(terminal, root.command, held, key, values or [])


def _require_fitting(action: ConfigAction, key: str | None, values: list[str] | None) -> None:
    """Raise ValidationError for arguments that an action does not take, or lacks."""
    if action in (ConfigAction.list, ConfigAction.path) and key is not None:
        raise ValidationError(f"picto config {action.value} takes no key", "picto config get KEY")
    if action in (ConfigAction.get, ConfigAction.unset) and (key is None or values):
        raise ValidationError(
            f"picto config {action.value} takes one key", f"picto config {action.value} similar.limit"
        )
    if action is ConfigAction.set and not values:
        raise ValidationError("picto config set takes a key and a value", "picto config set similar.threshold 0.7")


def _option(group: click.Group, key: str) -> click.Option:
    try:
        return defaults.option_of(group, key)
    except FaultError as exc:
        raise ValidationError(str(exc), "picto COMMAND --help lists a command's options") from exc


def _get(terminal: Terminal, group: click.Group, held: Configuration, key: str, found: list[Setting]) -> int:
    parts = defaults.key_of(key)
    now = next((each for each in found if each.key == ".".join(parts) and each.in_force), None)
    plain = now is not None and (now.source != "config" or now.key == "db")
    value = now.value if now is not None and plain else held.value(parts)
    if value is None:
        _option(group, key)
        terminal.talk(f"{printable(key)} is not set")
        return 1
    from pictocli.configuration import spelled_value

    for each in value if isinstance(value, list) else [value]:
        text = each if isinstance(each, str) else spelled_value(each)
        sys.stdout.write(text + "\n")
    return 0


def _set(terminal: Terminal, group: click.Group, held: Configuration, key: str, values: list[str]) -> int:
    from pictocli.configuration import spelled_value

    key = ".".join(defaults.key_of(key))
    value = defaults.typed(_option(group, key), values, key)
    made = held.changed(defaults.key_of(key), value)
    made.write()
    told = shown(value) if key == "db" and isinstance(value, str) else value
    terminal.talk(f"Set {key} = {printable(spelled_value(told))} in {shown_path(held.path)}")
    try:
        defaults.check(group, group.commands, made)
    except ValidationError as exc:
        terminal.warning(printable(str(exc)))
    return 0


def _unset(terminal: Terminal, held: Configuration, key: str) -> int:
    parts = defaults.key_of(key)
    if held.value(parts) is None:
        terminal.talk(f"{printable(key)} is not set")
        return 1
    held.changed(parts, None).write()
    terminal.talk(f"Unset {printable(key)} in {shown_path(held.path)}")
    return 0
