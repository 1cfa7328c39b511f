"""The commands that a shell and a reader of manuals want: completion, man."""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import click
import typer

from pictocli.display import shown_path
from pictocli.errors import PictoError
from pictocli.terminal import Terminal

__all__ = ["Shell", "completion", "man"]


class Shell(StrEnum):
    """The shells that can be told how a line goes on."""

    bash = "bash"
    zsh = "zsh"
    fish = "fish"


_SCRIPTS = {Shell.bash: "picto.bash", Shell.zsh: "_picto", Shell.fish: "picto.fish"}


def completion(
    ctx: typer.Context,
    shell: Annotated[Shell, typer.Argument(metavar="bash|zsh|fish", help="Your shell.")],
    install: Annotated[
        bool, typer.Option("--install", help="Write it into your own folder of completions, and say where.")
    ] = False,
) -> int:
    """The script by which a shell completes picto's commands.

    Tab then completes commands, options and their values, labels (after a comma, too), datasets, folders, models,
    fields of metadata, and paths: of files, and of indexed images and PDF pages whose disk is not there.

    \b
    Examples:
      picto completion bash --install
      eval "$(picto completion bash)"            # in ~/.bashrc
      eval "$(picto completion zsh)"             # in ~/.zshrc, after compinit
      picto completion fish | source             # in config.fish
    """
    terminal: Terminal = ctx.obj
    script = Path(__file__).with_name("shell").joinpath(_SCRIPTS[shell]).read_text("utf-8")
    if not install:
        sys.stdout.write(script)
        return 0
    place = _place(shell)
    terminal.talk(f"Writing {shown_path(str(place))}")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        part = place.with_name(f".{place.name}.part")
        part.write_text(script, "utf-8")
        os.replace(part, place)
    except OSError as exc:
        reason = (exc.strerror or str(exc)).lower()
        raise PictoError(f"cannot write {place}: {reason}", f'eval "$(picto completion {shell.value})"') from exc
    if shell is Shell.zsh:
        terminal.hint("~/.zshrc needs, once: fpath+=~/.zfunc; autoload -Uz compinit; compinit")
    elif shell is Shell.bash:
        terminal.hint('new shells have it where bash-completion is installed; else: eval "$(picto completion bash)"')
    else:
        terminal.hint("new shells have it")
    return 0


def _place(shell: Shell) -> Path:
    """Where a user's own completions lie, by the shell's own rules."""
    home = Path.home()
    if shell is Shell.bash:
        data = Path(os.environ.get("XDG_DATA_HOME") or home / ".local/share")
        return Path(os.environ.get("BASH_COMPLETION_USER_DIR") or data / "bash-completion") / "completions/picto"
    if shell is Shell.zsh:  # no folder of the user's is searched unless ~/.zshrc says so: this one is the custom
        return home / ".zfunc/_picto"
    return Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config") / "fish/completions/picto.fish"


def man(ctx: typer.Context) -> int:
    """The manual page, in roff: all commands and options.

    \b
    Examples:
      picto man | man -l -
      picto man > ~/.local/share/man/man1/picto.1
    """
    from pictocli.manual import page

    root = ctx.find_root()
    assert isinstance(root.command, click.Group)
    sys.stdout.write(page(root.command, ctx.meta["picto.version"]))
    return 0
