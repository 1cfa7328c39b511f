"""The options that the commands which index share, each defined once."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

import typer

__all__ = [
    "BatchSize", "Exclude", "Hidden", "Include", "IntoDataset", "MetadataFile", "ModelName", "On", "OnRay", "PdfDpi",
    "PdfPages", "RunBy", "ThumbnailWidth", "Thumbnails", "Workers",
]  # fmt: skip


class On(Enum):
    """What indexing runs on."""

    local = "local"
    ray = "ray"


IntoDataset = Annotated[
    str | None, typer.Option("--dataset", metavar="NAME", help="The dataset they go to [default: the folder's name].")
]
ModelName = Annotated[
    str, typer.Option("--model", metavar="NAME", help="auto, siglip2-base, siglip2-so400m, mini, a hub id or a folder.")
]
BatchSize = Annotated[
    int | None, typer.Option("--batch-size", metavar="N", help="Images a model run [default: 16, more on a GPU].")
]
Workers = Annotated[
    int | None, typer.Option("--workers", metavar="N", help="Decoding processes [default: one a core; 0: none].")
]
Include = Annotated[
    list[str] | None, typer.Option("--include", metavar="GLOB", help="Only files like this; repeatable.")
]
Exclude = Annotated[
    list[str] | None, typer.Option("--exclude", metavar="GLOB", help="No files or folders like this; repeatable.")
]
Hidden = Annotated[bool, typer.Option("--hidden", help="Hidden files and folders too.")]
PdfDpi = Annotated[
    int | None, typer.Option("--pdf-dpi", metavar="DPI", help="Render PDF pages at this resolution [default: 72].")
]
PdfPages = Annotated[str | None, typer.Option("--pdf-pages", metavar="1-5,9,20-", help="Only these pages of each PDF.")]
Thumbnails = Annotated[bool, typer.Option("--thumbnails", help="Keep a thumbnail, 640 px wide, of each.")]
ThumbnailWidth = Annotated[
    int | None, typer.Option("--thumbnail-width", metavar="PX", help="Another width, for this library from now on.")
]
RunBy = Annotated[
    On, typer.Option("--runner", help="This machine, or the nodes of a Ray cluster; --workers are then a node's.")
]
OnRay = Annotated[
    str | None,
    typer.Option(
        "--ray-address", metavar="HOST:PORT", help="The cluster [default: RAY_ADDRESS, else Ray on this machine alone]."
    ),
]
MetadataFile = Annotated[
    str | None,
    typer.Option(
        "--metadata",
        metavar="FILE",
        help="A CSV, JSONL or Parquet whose columns go with the images, by path, filename or url.",
    ),
]
