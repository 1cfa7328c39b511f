"""The command that finds copies: duplicates."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from pictocli.display import counted
from pictocli.errors import ValidationError
from pictocli.grouped import Group
from pictocli.options import (
    After,
    Attributes,
    Before,
    Camera,
    Form,
    Html,
    Match,
    Matching,
    Near,
    Objects,
    Open,
    Preview,
    PreviewAs,
    Print0,
    Scenes,
    ThisDataset,
    Where,
    asked,
    given,
    having,
    inside,
)
from pictocli.presenting import Sheet
from pictocli.previewing import with_pictures
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
    objects: Objects = None,
    scenes: Scenes = None,
    attributes: Attributes = None,
    match: Matching = Match.any,
    where: Where = None,
    after: After = None,
    before: Before = None,
    camera: Camera = None,
    near: Near = None,
    dataset: ThisDataset = None,
    folder: Annotated[
        str | None, typer.Option("--folder", metavar="SUB", help="Look in this folder of the dataset and below.")
    ] = None,
    form: Form = None,
    print0: Print0 = False,
    preview: Preview = False,
    preview_as: PreviewAs = None,
    html: Html = None,
    show: Open = False,
) -> int:
    """Groups of images that show the same picture.

    With the same bytes (exact), or resized, recompressed, marked, turned by 90° or cropped by up to 15% a side; then a
    number says how alike they are. Two photos of one scene are no duplicates, nor are pictures of nearly one colour
    unless they are exact. Nothing is ever deleted. With --keep, --format paths and -0 print only those that are not
    kept, for xargs: look at the groups first. --objects, --where, --after and the like leave only such images to look
    at, as in picto tags.

    \b
    Examples:
      picto duplicates
      picto duplicates --keep largest
      picto duplicates --keep largest -0 | xargs -0 rm --
      picto duplicates --exact --keep oldest --format jsonl
      picto duplicates --after 30d --camera "canon eos"
      picto duplicates --keep largest --open
    """
    if exact and threshold is not None:
        raise ValidationError("--exact leaves no room for a threshold", "leave one of them out")
    terminal: Terminal = ctx.obj
    labels, filters = asked(objects, scenes, attributes), given(where, after, before, camera, near)
    library = terminal.library()
    sheet = Sheet(terminal, library, html, show, form, print0)
    terminal = with_pictures(terminal, library, preview, preview_as)
    found = library.duplicates(
        exact=exact, threshold=0.93 if threshold is None else threshold, keep=keep.value if keep else None, pages=pages,
        **labels, match=match.value, dataset=dataset, folder=folder, **filters,
    )  # fmt: skip
    terminal.rows(found.groups, Group, sheet.form)
    carrying = having(labels, match, filters)
    terminal.copies(found, exact, inside(found.scope) + carrying)
    sheet.put(found, title=f"{counted(len(found.groups), 'group')} of {'exact ' * exact}duplicates{carrying}")
    return 0 if found.groups else 1
