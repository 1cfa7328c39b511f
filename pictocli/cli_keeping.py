"""The commands that keep a library in order, and take what it holds out of it: export, compact, repair."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated, BinaryIO, cast

import typer

from pictocli.display import counted, shown_path, size_of, time_of
from pictocli.errors import ValidationError
from pictocli.options import After, Before, Camera, Near, Where, given
from pictocli.terminal import Terminal

__all__ = ["Exchange", "compact", "export", "repair"]


class Exchange(StrEnum):
    """The formats in which another program takes a whole library."""

    jsonl = "jsonl"
    csv = "csv"
    parquet = "parquet"
    npy = "npy"


def export(
    ctx: typer.Context,
    form: Annotated[
        Exchange | None,
        typer.Option(
            "--format", metavar="FORMAT", help="jsonl, csv, parquet or npy [default: what FILE is named for, or jsonl]."
        ),
    ] = None,
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="FILE", help="Write to this file, once it is whole.")
    ] = None,
    embeddings: Annotated[
        bool, typer.Option("--embeddings", help="Embeddings too; not in a CSV, and always in NumPy's.")
    ] = False,
    dataset: Annotated[
        str | None, typer.Option("--dataset", metavar="NAME", help="The images of this dataset only.")
    ] = None,
    folder: Annotated[
        str | None, typer.Option("--folder", metavar="SUB", help="Those of this folder of the dataset and below.")
    ] = None,
    where: Where = None,
    after: After = None,
    before: Before = None,
    camera: Camera = None,
    near: Near = None,
    spreadsheet_safe: Annotated[
        bool, typer.Option("--spreadsheet-safe", help="Put ' before cells that a spreadsheet would run; CSV only.")
    ] = False,
) -> int:
    """Every image with all that is kept of it, in the order of ids.

    --where, --after, --before, --camera and --near leave only such images, as in picto tags.

    Values come back exactly as they are kept, so a name such as =1+1.jpg would be run by a spreadsheet that opens the
    CSV: --spreadsheet-safe puts an apostrophe before such cells, which then are no longer exact.

    NumPy's NAME.npy holds the embeddings, float32, an image a row; NAME.npy.jsonl beside it says which image each is.

    \b
    Examples:
      picto export > library.jsonl
      picto export --dataset holiday --embeddings | gzip > holiday.jsonl.gz
      picto export --format csv --spreadsheet-safe > library.csv
      picto export --embeddings -o library.parquet
      picto export -o library.npy
    """
    terminal: Terminal = ctx.obj
    if form is Exchange.parquet and output is None and sys.stdout.isatty():
        raise ValidationError("Parquet is not for a terminal", "-o FILE.parquet, or a pipe")
    filters = given(where, after, before, camera, near)
    report = terminal.library().export_to(
        output or cast(BinaryIO, sys.stdout.buffer), form and form.value, embeddings=embeddings, dataset=dataset,
        folder=folder, spreadsheet_safe=spreadsheet_safe, **filters,
    )  # fmt: skip
    if output is not None:
        names = " and ".join(shown_path(path) for path in report.paths)
        terminal.talk(f"Wrote {counted(report.images, 'image')} to {names} in {time_of(report.seconds)}")
    if report.lacking:
        terminal.talk(f"{counted(report.lacking, 'image')} without an embedding")
        terminal.hint("picto index with the same folders gives them one")
    return 0


def compact(
    ctx: typer.Context,
    older_than: Annotated[
        float,
        typer.Option(
            "--older-than", metavar="MINUTES", help="Remove versions that were replaced so long ago, or longer."
        ),
    ] = 60.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done; do nothing.")] = False,
) -> int:
    """Clear up a library of Lance tables or on a server.

    Many small commits leave many small pieces. Of Lance tables these are merged, old versions are removed, and the
    index is brought up to date; PostgreSQL's are vacuumed and analysed. Others read and write meanwhile. A version that
    a program has opened is still read by it: those replaced within the last hour stay, and go the next time.

    \b
    Examples:
      picto compact --db lance:///srv/pictures
      picto compact --db lance+s3://bucket/pictures --older-than 0
      picto compact --db postgresql://ida@server/pictures --dry-run
    """
    terminal: Terminal = ctx.obj
    report = terminal.library().compact(dry_run=dry_run, older_than=older_than)
    verb = "Would compact" if dry_run else "Compacted"
    parts = [f"{verb} {size_of(report.before)} → {'about ' * dry_run}{size_of(report.after)}"]
    parts += [f"{counted(report.pieces, 'piece')} → {report.left:,}"] * bool(report.pieces)
    parts += [f"{counted(report.versions, 'old version')} removed"] * bool(report.versions and not dry_run)
    parts += [f"{counted(report.versions, 'old version')} to remove"] * bool(report.versions and dry_run)
    parts += [f"room of {size_of(report.room)} for new rows"] * bool(report.room)
    terminal.talk(", ".join([*parts, time_of(report.seconds)]))
    if report.left < report.pieces and not dry_run and older_than > 0:
        terminal.hint("what was merged goes once nobody can be reading it: picto compact in an hour removes it")
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
