"""The commands that keep a library in order, and take what it holds out of it: export, repair."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated

import typer

from pictocli.errors import ValidationError
from pictocli.records import Exported
from pictocli.terminal import Terminal

__all__ = ["Exchange", "export", "repair"]


class Exchange(StrEnum):
    """The formats in which another program takes a whole library."""

    jsonl = "jsonl"
    csv = "csv"


def export(
    ctx: typer.Context,
    form: Annotated[Exchange, typer.Option("--format", metavar="FORMAT", help="jsonl or csv.")] = Exchange.jsonl,
    embeddings: Annotated[
        bool, typer.Option("--embeddings", help="Embeddings too, as lists of numbers; JSONL only.")
    ] = False,
    dataset: Annotated[
        str | None, typer.Option("--dataset", metavar="NAME", help="The images of this dataset only.")
    ] = None,
    folder: Annotated[
        str | None, typer.Option("--folder", metavar="SUB", help="Those of this folder of the dataset and below.")
    ] = None,
    spreadsheet_safe: Annotated[
        bool, typer.Option("--spreadsheet-safe", help="Put ' before cells that a spreadsheet would run; CSV only.")
    ] = False,
) -> int:
    """Every image with all that is kept of it, in the order of ids.

    Values come back exactly as they are kept, so a name such as =1+1.jpg would be run by a spreadsheet that opens the
    CSV: --spreadsheet-safe puts an apostrophe before such cells, which then are no longer exact.

    \b
    Examples:
      picto export > library.jsonl
      picto export --dataset holiday --embeddings | gzip > holiday.jsonl.gz
      picto export --format csv --spreadsheet-safe > library.csv
    """
    if embeddings and form is Exchange.csv:
        raise ValidationError("a CSV has no room for embeddings", "--embeddings goes with --format jsonl")
    if spreadsheet_safe and form is not Exchange.csv:
        raise ValidationError("only a CSV can be made safe for spreadsheets", "--spreadsheet-safe needs --format csv")
    from pictocli.render import write

    terminal: Terminal = ctx.obj
    rows = terminal.library().export(embeddings=embeddings, dataset=dataset, folder=folder)
    write(rows, form.value, sys.stdout.buffer, kind=Exported, spreadsheet_safe=spreadsheet_safe)
    return 0


def repair(
    ctx: typer.Context,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what is damaged; do nothing.")] = False,
) -> int:
    """Mend a damaged database, as far as it can be.

    What is derived is made anew, what refers to nothing is removed, and files whose images are gone are left for picto
    index to embed again. A file that can no longer be read as a whole is read row by row into a new one, and kept
    beside it as NAME.damaged. picto info --check names what is damaged.

    \b
    Examples:
      picto repair --dry-run
      picto repair
    """
    terminal: Terminal = ctx.obj
    report = terminal.library().repair(dry_run=dry_run)
    terminal.repaired(report)
    return 3 if report.left and not dry_run else 0
