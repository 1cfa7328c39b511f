"""The commands that show what is there: show, info, taxonomy."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from pictocli.damage import Damage
from pictocli.databases import is_file
from pictocli.display import shown_path
from pictocli.errors import ValidationError
from pictocli.options import Category, Form, Format, Preview, PreviewAs, Print0, RowForm
from pictocli.previewing import with_pictures
from pictocli.records import ImageDetail, Label, LibraryInfo
from pictocli.terminal import Terminal

if TYPE_CHECKING:
    from pictocli.figures import Histogram

__all__ = ["info", "show", "taxonomy"]


def show(
    ctx: typer.Context,
    image: Annotated[
        str, typer.Argument(metavar="IMG", help="A path, report.pdf#page=3, id:123, or - for bytes on stdin.")
    ],
    form: Form = None,
    print0: Print0 = False,
    preview: Preview = False,
    preview_as: PreviewAs = None,
) -> int:
    """Everything known of one image.

    Tags with their scores, size, dates, metadata, pixel measures, processing time.

    \b
    Examples:
      picto show cars/red-van.jpg
      picto show id:17 --format json | jq .measures
      picto show cars/red-van.jpg --preview
    """
    terminal: Terminal = ctx.obj
    library = terminal.library()
    detail = library.show(sys.stdin.buffer.read() if image == "-" else image)
    terminal = with_pictures(terminal, library, preview, preview_as)
    terminal.rows([detail], ImageDetail, terminal.form(form, print0))
    return 0


def info(
    ctx: typer.Context,
    file: Annotated[
        str | None, typer.Argument(metavar="[FILE.html|.svg|.png]", help="What --plot draws in.", show_default=False)
    ] = None,
    check_recall: Annotated[
        bool,
        typer.Option("--check-recall", help="Check answers, with 50 of its pictures; compare more if any are missed."),
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Look at every row instead, and name what is damaged; exit 3 if any is.")
    ] = False,
    plot: Annotated[
        bool, typer.Option("--plot", help="Histograms of its tags, dates, similarities and file sizes.")
    ] = False,
    form: RowForm = None,
) -> int:
    """The database at a glance.

    Its datasets, kinds of files, model, most common tags, size on disk.

    From 20,000 images on, 1-bit codes choose the few thousand that a question is compared with. --check-recall tells
    what share of the exact answers they find: of the 50 and of the 500 nearest, at 0.6 or above. Below 99.5% or 99.9%
    it has more images compared, from then on.

    --plot prints histograms, on a terminal as bars, and in another --format as their bins; with FILE it draws them.

    \b
    Examples:
      picto info
      picto info --plot
      picto info --plot histograms.html
      picto info --check-recall
      picto info --check
      picto info --format json | jq .images
    """
    terminal: Terminal = ctx.obj
    if plot or file is not None:
        _plot(terminal, file, form, alone=not (check or check_recall), asked=plot)
        return 0
    if check:
        library = terminal.library()
        found = library.check()
        terminal.rows(found, Damage, terminal.form(form, False))
        terminal.checked(found, in_file=is_file(library.path))
        return 3 if found else 0
    info = terminal.library().info(check_recall=check_recall)
    terminal.rows([info], LibraryInfo, terminal.form(form, False))
    return 0


def _plot(terminal: Terminal, file: str | None, form: Format | None, *, alone: bool, asked: bool) -> None:
    if not asked:
        raise ValidationError("a file is for --plot", f"picto info --plot {file}")
    if not alone:
        raise ValidationError("--plot goes with neither --check nor --check-recall", "ask for one of them")
    if file is not None:
        if form is not None:
            raise ValidationError("the file's name says its format", "leave --format out")
        library = terminal.library()
        terminal.talk(f"Wrote histograms to {shown_path(library.plot(file))}")
        if terminal.form(None, False) == "table":  # on a terminal
            _dateless(terminal, library.histograms())
        return
    found = terminal.library().histograms()
    if not found:
        terminal.talk("nothing to plot: the database holds no images yet")
    if terminal.form(form, False) == "table":
        terminal.histograms(found)
        if form is None:  # on a terminal
            _dateless(terminal, found)
    else:
        from pictocli.figures import Bin

        terminal.rows([each for histogram in found for each in histogram.bins], Bin, terminal.form(form, False))


def _dateless(terminal: Terminal, found: Sequence[Histogram]) -> None:
    """Say why there are no dates, where there is anything else."""
    if found and all(each.name != "taken" for each in found):
        terminal.talk("no dates: no image says when it was taken")


def taxonomy(
    ctx: typer.Context,
    category: Annotated[Category | None, typer.Option("--category", help="One category only.")] = None,
    form: RowForm = None,
) -> int:
    """The labels that tags are taken from, with aliases.

    \b
    Examples:
      picto taxonomy --category scenes
      picto taxonomy --format tsv | grep dog
    """
    terminal: Terminal = ctx.obj
    terminal.rows(terminal.library().labels(category.value if category else None), Label, terminal.form(form, False))
    return 0
