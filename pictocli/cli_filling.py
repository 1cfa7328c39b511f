"""The commands that fill a library, or run its model: index, reembed, retag, calibrate, embed."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from pictocli.filling_options import (
    BatchSize,
    Exclude,
    Hidden,
    Include,
    IntoDataset,
    MetadataFile,
    ModelName,
    On,
    OnRay,
    PdfDpi,
    PdfPages,
    RunBy,
    Thumbnails,
    ThumbnailWidth,
    Workers,
)
from pictocli.options import Device, OnDevice, PdfPassword, secret
from pictocli.records import Embedded, IndexReport
from pictocli.terminal import Terminal

__all__ = ["calibrate", "embed", "index", "reembed", "retag"]


def index(
    ctx: typer.Context,
    paths: Annotated[
        list[str] | None,
        typer.Argument(metavar="[PATH...]", help="Files, folders, PDFs, s3://bucket/prefix, https://…"),
    ] = None,
    listing: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="FILE|-", help="A list of paths and URLs, one a line; or a CSV, JSONL or Parquet."
        ),
    ] = None,
    nul: Annotated[bool, typer.Option("-0", help="The list's entries end by NUL.")] = False,
    image_column: Annotated[
        str | None,
        typer.Option("--image-column", metavar="FIELD", help="The column of the CSV, JSONL or Parquet that has them."),
    ] = None,
    passed: Annotated[
        list[str] | None,
        typer.Option("--pass", metavar="FIELD", help="A column that goes with the images; repeatable."),
    ] = None,
    dataset: IntoDataset = None,
    model: ModelName = "auto",
    device: OnDevice = Device.auto,
    batch_size: BatchSize = None,
    workers: Workers = None,
    include: Include = None,
    exclude: Exclude = None,
    hidden: Hidden = False,
    follow: Annotated[bool, typer.Option("--follow", help="Follow symbolic links.")] = False,
    pdf_dpi: PdfDpi = None,
    pdf_pages: PdfPages = None,
    pdf_password: PdfPassword = None,
    thumbnails: Thumbnails = False,
    thumbnail_width: ThumbnailWidth = None,
    metadata: MetadataFile = None,
    index_field: Annotated[
        list[str] | None,
        typer.Option("--index-field", metavar="NAME", help="Make --where on this field fast, for good; repeatable."),
    ] = None,
    max_pixels: Annotated[
        int, typer.Option("--max-pixels", metavar="MEGAPIXELS", help="No larger pictures or rendered pages.")
    ] = 200,
    max_file_size: Annotated[int, typer.Option("--max-file-size", metavar="MB", help="No larger files.")] = 1000,
    max_pages: Annotated[int, typer.Option("--max-pages", metavar="N", help="No PDFs or TIFFs of more pages.")] = 2000,
    max_seconds: Annotated[
        int, typer.Option("--max-seconds", metavar="N", help="No pictures or pages that take longer to decode.")
    ] = 30,
    timeout: Annotated[
        float, typer.Option("--timeout", metavar="SECONDS", help="No servers that are silent for longer.")
    ] = 30,
    anonymous: Annotated[bool, typer.Option("--anonymous", help="Read public buckets without credentials.")] = False,
    allow_local: Annotated[
        bool, typer.Option("--allow-local", help="Fetch from local addresses that URLs lead to, too.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Do everything again, unchanged files too.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit 3 when a file was skipped.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done; do nothing.")] = False,
    runner: RunBy = On.local,
    ray_address: OnRay = None,
    as_json: Annotated[bool, typer.Option("--json", help="The report as JSON, on standard output.")] = False,
) -> int:
    """Index files, folders, PDFs, buckets and URLs. Only new or changed files cost anything.

    \b
    Examples:
      picto index ~/photos
      picto index s3://bucket/prefix https://example.org/beach.jpg
      find . -name '*.jpg' -print0 | picto index --from - -0 --dataset found
      picto index --from products.jsonl --image-column image.url --pass meta.brand
      picto index scans --dataset archive --thumbnails --pdf-dpi 150
      picto index . --include '*.jpg' --exclude cache --dry-run
      picto index reports --pdf-pages 1-20 --pdf-password @passwords.txt
      picto index ~/photos --metadata products.csv --index-field price
      picto index /shared/photos --runner ray --ray-address 10.0.0.1:6379
    """
    terminal: Terminal = ctx.obj
    report = terminal.library().index(
        paths or (), listing=listing, nul=nul, image_column=image_column, passed=passed or (), timeout=timeout,
        anonymous=anonymous, allow_local=allow_local, dataset=dataset, model=model, device=device.value,
        batch_size=batch_size, workers=workers, include=include or (), exclude=exclude or (), hidden=hidden,
        follow=follow, pdf_dpi=pdf_dpi, pdf_pages=pdf_pages, pdf_password=secret(pdf_password), thumbnails=thumbnails,
        thumbnail_width=thumbnail_width, metadata=metadata, index_field=index_field or (), max_pixels=max_pixels,
        max_file_size=max_file_size, max_pages=max_pages, max_seconds=max_seconds, force=force, dry_run=dry_run,
        runner=runner.value, ray_address=ray_address,
    )  # fmt: skip
    if as_json:
        terminal.rows([report], IndexReport, "json")
    terminal.summary(report, nothing_found=listing is None and len(report.missing) == len(paths or ()))
    if report.interrupted:
        return 130
    if report.missing:
        return 4
    return 3 if strict and report.skipped else 0


def reembed(
    ctx: typer.Context,
    model: Annotated[str, typer.Option("--model", metavar="NAME", help="The model to move to.")],
    device: OnDevice = Device.auto,
    batch_size: BatchSize = None,
    workers: Workers = None,
    pdf_password: PdfPassword = None,
) -> int:
    """The whole library in another model's space. Ids, datasets and metadata stay; a stopped run goes on.

    \b
    Examples:
      picto reembed --model siglip2-base
      picto reembed --model siglip2-so400m --device cuda --batch-size 64
    """
    terminal: Terminal = ctx.obj
    report = terminal.library().reembed(
        model, device=device.value, batch_size=batch_size, workers=workers, pdf_password=secret(pdf_password)
    )
    if report.unchanged:
        terminal.talk(f"The library holds embeddings of {model} already: nothing to do")
    else:
        terminal.summary(report)
    return 0


def retag(
    ctx: typer.Context,
    taxonomy: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Your own labels, which the library then keeps; built-in goes back."),
    ] = None,
    device: OnDevice = Device.auto,
) -> int:
    """All tags anew, from stored embeddings and measures. No picture is opened.

    \b
    Examples:
      picto retag                      # after an update, or picto calibrate
      picto retag --taxonomy my-labels.toml
      picto retag --taxonomy built-in
    """
    terminal: Terminal = ctx.obj
    terminal.retagged(terminal.library().retag(taxonomy=taxonomy, device=device.value))
    return 0


def calibrate(
    ctx: typer.Context,
    pictures: Annotated[
        list[str], typer.Argument(metavar="IMAGES...", help="A varied set: files and folders, a thousand or more.")
    ],
    model: Annotated[
        str,
        typer.Option("--model", metavar="NAME", help="The model [default: the database's own].", show_default=False),
    ] = "auto",
    labels: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="A CSV or JSONL of what they show: path, objects, scenes, attributes."),
    ] = None,
    taxonomy: Annotated[
        str | None, typer.Option(metavar="FILE", help="Your own labels [default: the database's].", show_default=False)
    ] = None,
    device: OnDevice = Device.auto,
    batch_size: BatchSize = None,
    workers: Workers = None,
) -> int:
    """Measure what a model's scores mean, to trust its tags.

    Pictures alone tell how high each label's score usually is; with --labels, how often it is right: a label is then
    given only where it is right in eight of ten at least. Labels are separated by |, and dog? leaves a dog open. picto
    retag applies what was measured.

    \b
    Examples:
      picto calibrate ~/photos --model siglip2-base
      picto calibrate coco/val2017 --labels coco.csv --model siglip2-base
    """
    terminal: Terminal = ctx.obj
    report = terminal.library().calibrate(
        pictures, model=model, labels=labels, taxonomy=taxonomy, device=device.value, batch_size=batch_size,
        workers=workers,
    )  # fmt: skip
    terminal.calibrated(report)
    return 0


def embed(
    ctx: typer.Context,
    images: Annotated[
        list[str], typer.Argument(metavar="IMG...|-", help="Paths, URLs, or - for image bytes on stdin.")
    ],
    model: Annotated[
        str,
        typer.Option(
            "--model",
            metavar="NAME",
            help="The model [default: the database's own, if there is one].",
            show_default=False,
        ),
    ] = "auto",
    device: OnDevice = Device.auto,
    pdf_password: PdfPassword = None,
) -> int:
    """Embeddings as JSONL. Nothing is stored.

    \b
    Examples:
      picto embed beach.jpg report.pdf#page=3
      picto embed https://example.org/cat.jpg --model siglip2-base
    """
    terminal: Terminal = ctx.obj
    references = [sys.stdin.buffer.read() if image == "-" else image for image in images]
    opened = secret(pdf_password)
    for embedded in terminal.library().embed(references, model=model, device=device.value, pdf_password=opened):
        terminal.rows([embedded], Embedded, "jsonl")
    return 0
