"""The file of the user's own defaults, in TOML: where it lies, what it says, and changing one line of it.

    device = "cpu"             # for every command that has such an option
    [similar]
    threshold = 0.7            # for one command

Nothing here knows which options there are: `defaults.py` does. A change keeps every other line, comments too; it is
made in the text, read back, and written only when it says just what was wanted.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pictocli.errors import PictoError, ValidationError
from pictocli.toml_lines import find_lines

__all__ = ["Configuration", "Value", "read_configuration", "spelled_value"]

Value = bool | int | float | str | list[Any]

_MOST_BYTES = 1_000_000  # what is larger is another file, named by mistake
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_BY_HAND = "change it with an editor: picto config path names it"


@dataclass(frozen=True, slots=True)
class Configuration:
    """One file. path: where it lies, or would. text: all of it, "" where there is none. document: what it says."""

    path: str
    text: str
    document: Mapping[str, Any]

    def value(self, key: tuple[str, ...]) -> Any:
        """The value of a key, ("similar", "threshold"); None where it is not set."""
        found: Any = self.document
        for part in key:
            found = found.get(part) if isinstance(found, dict) else None
        return found

    def line(self, key: tuple[str, ...]) -> int | None:
        """The line, from 1, on which a key is set."""
        return find_lines(self.text, key)[0]

    def changed(self, key: tuple[str, ...], value: Value | None) -> Configuration:
        """The same with a key set to another value, or with None without it; nothing is written.

        Raises ValidationError where the file says it in a way that cannot be changed line by line.
        """
        wanted = _with(self.document, key, value)
        for text in _edits(self.text, key, value, self.line(key) if self.value(key) is not None else None):
            try:
                found = tomllib.loads(text)
            except ValueError:
                continue
            if _without_empty(found) == _without_empty(wanted):
                return Configuration(self.path, text, found)
        raise ValidationError(f"{'.'.join(key)} cannot be changed in {self.path} as it is written there", _BY_HAND)

    def write(self) -> None:
        """Put the file in its place as a whole, readable by its owner only if it is new. Raises PictoError."""
        path = os.path.realpath(self.path)  # a link into a folder of dotfiles stays one
        part = f"{path}.{os.getpid()}.part"
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            mode = os.stat(path).st_mode & 0o777 if os.path.exists(path) else 0o600
            with open(os.open(part, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "wb") as file:
                file.write(self.text.encode())
            os.chmod(part, mode)
            os.replace(part, path)
        except OSError as exc:
            with contextlib.suppress(OSError):
                os.unlink(part)
            reason = (exc.strerror or str(exc)).lower()
            raise PictoError(f"cannot write {self.path}: {reason}", "PICTO_CONFIG names another file") from exc


def read_configuration(path: str) -> Configuration:
    """Read the file at `path`; one that is not there says nothing.

    Raises PictoError for what cannot be read or is no TOML, naming the line.
    """
    try:
        with open(path, "rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return Configuration(path, "", {})
    except OSError as exc:
        reason = (exc.strerror or str(exc)).lower()
        raise PictoError(f"cannot read the configuration {path}: {reason}", "PICTO_CONFIG names another file") from exc
    if len(content) > _MOST_BYTES:
        raise PictoError(f"the configuration {path} is larger than 1 MB", "PICTO_CONFIG names another file")
    try:
        text = content.decode("utf-8-sig")
        return Configuration(path, text, tomllib.loads(text))
    except UnicodeDecodeError as exc:
        line = content.count(b"\n", 0, exc.start) + 1
        raise PictoError(f"the configuration {path} is not UTF-8 text (at line {line})", _BY_HAND) from exc
    except (ValueError, RecursionError) as exc:
        raise PictoError(f"the configuration {path} is not valid TOML: {exc}", _BY_HAND) from exc


def spelled_value(value: Any) -> str:
    """A value as TOML writes it. Raises ValidationError for a text that is no UTF-8."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return f"[{', '.join(map(spelled_value, value))}]"
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as exc:
            raise ValidationError("a text in the configuration must be UTF-8") from exc
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")  # the one control that JSON leaves
    return str(value)


def _with(document: Mapping[str, Any], key: tuple[str, ...], value: Value | None) -> dict[str, Any]:
    """A copy of a document with another value for a key, or without it."""
    made = dict(document)
    first, *rest = key
    if rest:
        held = made.get(first)
        made[first] = _with(held if isinstance(held, dict) else {}, tuple(rest), value)
    elif value is None:
        made.pop(first, None)
    else:
        made[first] = value
    return made


def _without_empty(document: Mapping[str, Any]) -> dict[str, Any]:
    """A document without empty tables: a header that has lost its last key is left in the file."""
    return {key: value for key, value in document.items() if value != {}}


def _edits(text: str, key: tuple[str, ...], value: Value | None, line: int | None) -> Iterator[str]:
    """Texts that may say what is wanted, the most natural first."""
    lines = list(io.StringIO(text, newline="\n"))  # splitlines() ends a line at U+0085 and others, TOML does not
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    end = "\r\n" if any(each.endswith("\r\n") for each in lines) else "\n"
    name = key[-1] if _BARE.fullmatch(key[-1]) else json.dumps(key[-1])
    if line is not None:
        for last in range(line, len(lines) + 1):  # a list may go over several lines
            chunk = "".join(lines[line - 1 : last])
            if (comment := _comment(chunk)) is not None:
                indent = chunk[: len(chunk) - len(chunk.lstrip())]
                new = [] if value is None else [f"{indent}{name} = {spelled_value(value)}{comment.rstrip()}{end}"]
                yield "".join([*lines[: line - 1], *new, *lines[last:]])
    elif value is not None:
        new = [f"{name} = {spelled_value(value)}{end}"]
        headers = [at for at, each in enumerate(lines) if each.lstrip().startswith("[")]
        if len(key) == 1:
            starts = [0]
        else:
            starts = [at + 1 for at in headers if lines[at].partition("#")[0].strip() == f"[{key[0]}]"]
        for start in starts:
            stop = next((at for at in headers if at >= start), len(lines))
            while stop > start and not lines[stop - 1].partition("#")[0].strip():
                stop -= 1  # above the blanks and comments that belong to what follows
            yield "".join([*lines[:stop], *new, *lines[stop:]])
            yield "".join([*lines[:start], *new, *lines[start:]])
        if len(key) == 2:
            gap = [end] if lines and lines[-1].strip() else []
            yield "".join([*lines, *gap, f"[{key[0]}]{end}", *new])


def _comment(chunk: str) -> str | None:
    """What stands behind the value of the one key in these lines; None where they are not whole."""
    for at in [*(found.start() for found in re.finditer(r"[ \t]*#", chunk)), len(chunk)]:
        try:
            if tomllib.loads(chunk[:at]):
                return chunk[at:] if "\n" not in chunk[at:].rstrip() else None
        except ValueError:
            continue
    return None
