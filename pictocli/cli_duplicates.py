"""The command that finds copies: duplicates."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from pictocli.errors import ValidationError
from pictocli.grouped import Group
from pictocli.options import Form, Print0, inside
from pictocli.terminal import Terminal

__all__ = ["Keep", "duplicates"]


class Keep(StrEnum):
    """Which image of a group to keep."""

    largest = "largest"
    oldest = "oldest"
    newest = "newest"
    first = "first"


def duplicates(
    ctx: typer.Context,
    keep: Annotated[
        Keep | None,
        typer.Option(
            "--keep", metavar="RULE", help="Mark one of each group as kept: largest, oldest, newest or first (by id)."
        ),
    ] = None,
    exact: Annotated[bool, typer.Option("--exact", help="Only images with the same bytes.")] = False,
    threshold: Annotated[
        float | None, typer.Option("--threshold", metavar="T", help="Least likeness, 0.93 to 1 [default: 0.93].")
    ] = None,
    pages: Annotated[bool, typer.Option("--pages", help="Pages of PDFs, and of TIFFs with several, too.")] = False,
    dataset: Annotated[str | None, typer.Option("--dataset", metavar="NAME", help="Look in this dataset only.")] = None,
    folder: Annotated[
        str | None, typer.Option("--folder", metavar="SUB", help="Look in this folder of the dataset and below.")
    ] = None,
    form: Form = None,
    print0: Print0 = False,
) -> int:
    """Groups of images that show the same picture.

    With the same bytes (exact), or resized, recompressed, marked, turned by 90° or cropped by up to 15% a side; then a
    number says how alike they are. Two photos of one scene are no duplicates, nor are pictures of nearly one colour
    unless they are exact. Nothing is ever deleted. With --keep, --format paths and -0 print only those that are not
    kept, for xargs: look at the groups first.

    \b
    Examples:
      picto duplicates
      picto duplicates --keep largest
      picto duplicates --keep largest -0 | xargs -0 rm --
      picto duplicates --exact --keep oldest --format jsonl
    """
    if exact and threshold is not None:
        raise ValidationError("--exact leaves no room for a threshold", "leave one of them out")
    terminal: Terminal = ctx.obj
    found = terminal.library().duplicates(
        exact=exact, threshold=0.93 if threshold is None else threshold, keep=keep.value if keep else None, pages=pages,
        dataset=dataset, folder=folder,
    )  # fmt: skip
    terminal.rows(found.groups, Group, terminal.form(form, print0))
    terminal.copies(found, exact, inside(found.scope))
    return 0 if found.groups else 1
