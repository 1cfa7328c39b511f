"""The command that draws the whole library: map."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from pictocli.display import counted, printable, shown_path, size_of, time_of
from pictocli.options import (
    After,
    Attributes,
    Before,
    Camera,
    Folder,
    Match,
    Matching,
    Near,
    Objects,
    PdfPassword,
    Scenes,
    ThisDataset,
    Where,
    asked,
    condition,
    given,
    inside,
    secret,
)
from pictocli.presenting import show_file
from pictocli.records import Scope
from pictocli.terminal import Terminal

if TYPE_CHECKING:
    from pictocli.figures import MapReport

__all__ = ["Layout", "map"]


class Layout(StrEnum):
    """How images are laid out."""

    auto = "auto"
    umap = "umap"
    pca = "pca"


def map(  # noqa: A001 - the command's name
    ctx: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE.html|.svg|.png", help="What to draw it in.")],
    layout: Annotated[
        Layout, typer.Option("--layout", metavar="NAME", help="umap, pca or auto: umap, where it is installed.")
    ] = Layout.auto,
    objects: Objects = None,
    scenes: Scenes = None,
    attributes: Attributes = None,
    match: Matching = Match.any,
    dataset: ThisDataset = None,
    folder: Folder = None,
    where: Where = None,
    after: After = None,
    before: Before = None,
    camera: Camera = None,
    near: Near = None,
    size: Annotated[
        int | None, typer.Option("--size", metavar="PX", help="The longer side of an .svg or .png [default: 2000].")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Another one gives another map.")] = 0,
    show: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
    pdf_password: PdfPassword = None,
) -> int:
    """A picture of the whole library: what is alike lies together.

    Thumbnails stand where their images lie, one a cell, with a badge where there are more; clusters are named by the
    tag that tells them from the rest. The .html zooms, by wheel, fingers or keys, and is one file that fetches nothing.
    It holds thumbnails, names and tags: share it as you would share them.

    UMAP comes with pip install 'pictocli[map]'; PCA needs nothing, and shows the two widest directions only.

    \b
    Examples:
      picto map library.html --open
      picto map holiday.svg --dataset holiday --after 2024
      picto map cars.png --objects car,truck --layout pca --size 4000
    """
    terminal: Terminal = ctx.obj
    labels, filters = asked(objects, scenes, attributes), given(where, after, before, camera, near)
    report = terminal.library().map(
        file, layout=layout.value, seed=seed, size=size, match=match.value, dataset=dataset, folder=folder,
        pdf_password=secret(pdf_password), **labels, **filters,
    )  # fmt: skip
    if not report.path:
        among = f"{counted(report.considered, 'image')} {inside(Scope(dataset, folder))}"
        wanted = condition(labels, match, filters)
        terminal.talk(
            printable(f"nothing matches {wanted} among {among}" if wanted else f"nothing to map among {among}")
        )
        terminal.talk("no map is drawn")
        return 1
    _tell(terminal, report)
    if show:
        show_file(terminal, report.path)
    return 0


def _tell(terminal: Terminal, report: MapReport) -> None:
    """What was drawn, and what is not in it."""
    drawn = f"Mapped {counted(report.images, 'image')} by {report.layout.upper()} in {time_of(report.seconds)}"
    terminal.talk(printable(f"{drawn}: {shown_path(report.path)}, {size_of(report.size_bytes)}"))
    if report.clusters:
        names = ", ".join(f"{label} {count:,}" for label, count in report.clusters.items())
        terminal.talk(printable(f"clusters: {names}"))
    if report.left_out:
        terminal.talk(f"{counted(report.left_out, 'image')} without an embedding")
        terminal.hint("picto index with the same folders gives them one")
    if report.lacking:
        terminal.talk(f"{counted(report.lacking, 'image')} without a thumbnail: dots")
        terminal.hint("picto index --thumbnails with the same folders keeps thumbnails")
