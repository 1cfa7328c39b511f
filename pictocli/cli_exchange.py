"""The commands by which other programs and places get what a library holds, and give to it: thumbnails, import."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from pictocli.display import counted, printable, shown_path, time_of
from pictocli.options import Device, OnDevice
from pictocli.terminal import Terminal

if TYPE_CHECKING:
    from pictocli.reports import ImportReport, ThumbnailReport

__all__ = ["ThumbnailAction", "ThumbnailFormat", "import_", "thumbnails"]


class ThumbnailAction(StrEnum):
    """What can be done with thumbnails."""

    export = "export"


class ThumbnailFormat(StrEnum):
    """The formats of exported thumbnails."""

    jpeg = "jpeg"
    webp = "webp"


OfDataset = Annotated[str | None, typer.Option("--dataset", metavar="NAME", help="The images of this dataset only.")]
OfFolder = Annotated[
    str | None, typer.Option("--folder", metavar="SUB", help="Those of this folder of the dataset and below.")
]


def thumbnails(
    ctx: typer.Context,
    action: Annotated[ThumbnailAction, typer.Argument(metavar="export", help="What to do with them.")],  # noqa: ARG001 - one, so far
    destination: Annotated[str, typer.Argument(metavar="DIR|s3://BUCKET/PREFIX", help="Where to write them.")],
    cdn: Annotated[
        str | None, typer.Option("--cdn", metavar="URL", help="Link to this address, which serves the bucket or DIR.")
    ] = None,
    form: Annotated[ThumbnailFormat, typer.Option("--format", metavar="FORMAT", help="jpeg or webp.")] = (
        ThumbnailFormat.jpeg
    ),
    width: Annotated[
        int | None, typer.Option("--width", metavar="PX", help="At most so wide [default: as they are stored].")
    ] = None,
    dataset: OfDataset = None,
    folder: OfFolder = None,
    force: Annotated[bool, typer.Option("--force", help="Write all again, whatever lies there.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be written; do nothing.")] = False,
) -> int:
    """Thumbnails as files or objects, with their addresses.

    Writes thumb_ID.jpg for each image that has a thumbnail (picto index --thumbnails makes them), and stores its
    address, which every output then has as thumbnail_url: file://, s3:// or, with --cdn, the CDN's. What lies there
    already is not written again; a stopped run goes on. S3 credentials are those of the AWS programs.

    \b
    Examples:
      picto thumbnails export ./thumbs
      picto thumbnails export s3://my-bucket/thumbs --cdn https://cdn.example
      picto thumbnails export ./small --format webp --width 320 --dry-run
    """
    terminal: Terminal = ctx.obj
    report = terminal.library().export_thumbnails(
        destination, cdn=cdn, format=form.value, width=width, dataset=dataset, folder=folder, force=force,
        dry_run=dry_run,
    )  # fmt: skip
    _exported(terminal, report)
    return 130 if report.interrupted else 0


def import_(
    ctx: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE.parquet", help="Paths, or path#page=3, each with a vector.")],
    model: Annotated[
        str,
        typer.Option(
            "--model",
            metavar="NAME",
            show_default=False,
            help="What made the vectors [default: the database's, or what picto's own file says].",
        ),
    ] = "auto",
    path_column: Annotated[
        str | None, typer.Option("--path-column", metavar="NAME", help="The column of paths [default: path, …].")
    ] = None,
    vector_column: Annotated[
        str | None,
        typer.Option("--vector-column", metavar="NAME", help="That of vectors [default: embedding, vector, …]."),
    ] = None,
    root: Annotated[
        str | None,
        typer.Option(
            "--root",
            metavar="FOLDER",
            help="Where relative paths begin, and what is indexed [default: what holds all].",
        ),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option("--dataset", metavar="NAME", help="The dataset they go to [default: the folder's name]."),
    ] = None,
    device: OnDevice = Device.auto,
    workers: Annotated[
        int | None, typer.Option("--workers", metavar="N", help="Decoding processes [default: one a core; 0: none].")
    ] = None,
    thumbnails: Annotated[bool, typer.Option("--thumbnails", help="Keep a thumbnail, 640 px wide, of each.")] = False,
    thumbnail_width: Annotated[
        int | None,
        typer.Option("--thumbnail-width", metavar="PX", help="Another width, for this library from now on."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the embeddings of known files, too.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done; do nothing.")] = False,
) -> int:
    """Embeddings made elsewhere, for files that are here.

    As picto index, but for the model: files are read and measured, and their vectors are those of FILE, made by the
    same model, say on a GPU cluster. Later runs of picto index find these files unchanged. Where the model itself is
    not on this machine, images have no tags until picto retag.

    \b
    Examples:
      picto import vectors.parquet --model siglip2-base
      picto import other.parquet --root ~/photos --path-column img --dry-run
      picto export --embeddings -o a.parquet; picto import a.parquet --db b.db
    """
    terminal: Terminal = ctx.obj
    report = terminal.library().import_embeddings(
        file, model=model, path_column=path_column, vector_column=vector_column, root=root, dataset=dataset,
        device=device.value, workers=workers, thumbnails=thumbnails, thumbnail_width=thumbnail_width, force=force,
        dry_run=dry_run,
    )  # fmt: skip
    _imported(terminal, report)
    return 130 if report.index.interrupted else 0


def _imported(terminal: Terminal, report: ImportReport) -> None:
    terminal.summary(report.index)
    for count, what in (
        (report.absent, f"of files that are not here, such as {report.first_absent}"),
        (report.surplus, "of pages that their files have not"),
        (report.repeated, "of paths that were named before: the first one counts"),
        (report.normalised, "not of unit length, and made so"),
    ):
        if count:
            terminal.talk(printable(f"{count:,} of {counted(report.rows, 'vector')} {what}"))
    if report.untagged:
        terminal.hint("picto retag tags the images once the model is on this machine")


def _exported(terminal: Terminal, report: ThumbnailReport) -> None:
    verb = "Would write" if report.dry_run else "Interrupted: wrote" if report.interrupted else "Wrote"
    place = report.place if report.place.startswith("s3://") else shown_path(report.place)
    spent = "" if report.dry_run else f" in {time_of(report.seconds)}"
    there = f", {report.unchanged:,} unchanged" if report.unchanged else ""
    terminal.talk(printable(f"{verb} {counted(report.written, 'thumbnail')} to {place}{spent}{there}"))
    if report.lacking:
        images = "1 image has" if report.lacking == 1 else f"{report.lacking:,} images have"
        terminal.talk(f"{images} no thumbnail")
        terminal.hint("picto index --thumbnails with the same folders makes them")
