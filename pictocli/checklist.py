"""What `picto doctor` found and `picto config` lists, as a person reads it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.cells import cell_len, chop_cells
from rich.console import Console
from rich.text import Text

from pictocli.display import pad, printable, shown_path
from pictocli.findings import Finding, Setting

__all__ = ["show_checklist"]

_STYLES = {"ok": "green", "note": "yellow", "problem": "red"}
_WIDEST = 40  # cells of a value, so that one long list does not push all else off the screen


def show_checklist(console: Console, rows: Sequence[Any], kind: type) -> None:
    """Findings or settings, as `kind` says; nothing of any other."""
    if kind is Finding:
        _show_findings(console, rows)
    elif kind is Setting:
        _show_settings(console, rows)


def _show_findings(console: Console, findings: Sequence[Finding]) -> None:
    """Whether it is well, what was looked at, what there is; the remedy below it."""
    width = max(len(each.subject) for each in findings)
    room = max(20, console.width - width - 11)
    for each in findings:
        line = Text(f"{each.state:<7}  ", _STYLES[each.state]).append(f"{each.subject:<{width}}  ", "dim")
        for text, style in ((each.text, "default"), (f"hint: {each.remedy}" if each.remedy else "", "cyan")):
            for piece in _wrapped(_spelled(console, text), room):
                console.print(line.append(piece, style), soft_wrap=True)
                line = Text(" " * (width + 11))


def _show_settings(console: Console, settings: Sequence[Setting]) -> None:
    """Key, value, and what sets it."""
    rows = [[_spelled(console, text) for text in _row(each)] for each in settings]
    widths = [min(_WIDEST, max(cell_len(row[at]) for row in rows)) for at in range(2)]
    for key, value, where in rows:
        line = Text(pad(key, widths[0]), "bold").append("  ").append(pad(value, widths[1]), "default")
        console.print(line.append(f"  {where}", "dim"), soft_wrap=True)


def _row(setting: Setting) -> tuple[str, str, str]:
    value = shown_path(setting.value) if setting.key == "db" else setting.value
    where = shown_path(setting.where) if setting.source == "config" else setting.where or setting.source
    return setting.key, value, where + ("" if setting.in_force else ", not in force")


def _spelled(console: Console, text: str) -> str:
    """A text in characters that the console's encoding has, none of them a control."""
    return printable(text).encode(console.encoding, "backslashreplace").decode(console.encoding)


def _wrapped(text: str, width: int) -> list[str]:
    """A text in lines of at most `width` cells, broken at blanks where that is possible."""
    lines: list[str] = []
    for word in text.split(" ") if text else ():
        if lines and cell_len(lines[-1]) + 1 + cell_len(word) <= width:
            lines[-1] += f" {word}"
        else:
            lines += chop_cells(word, width) or [""]
    return lines
