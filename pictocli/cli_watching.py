"""The command that follows folders: watch."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated

import typer

from pictocli.display import shown_path
from pictocli.filling_options import (
    BatchSize,
    Exclude,
    Hidden,
    Include,
    IntoDataset,
    MetadataFile,
    ModelName,
    PdfDpi,
    PdfPages,
    Thumbnails,
    ThumbnailWidth,
    Workers,
)
from pictocli.options import Device, OnDevice, PdfPassword, secret
from pictocli.records import IndexReport
from pictocli.reports import Change
from pictocli.terminal import Terminal

__all__ = ["Stream", "watch"]


class Stream(StrEnum):
    """How changes are printed while they come."""

    jsonl = "jsonl"


def watch(
    ctx: typer.Context,
    paths: Annotated[list[str], typer.Argument(metavar="PATH...", help="Folders.")],
    dataset: IntoDataset = None,
    model: ModelName = "auto",
    device: OnDevice = Device.auto,
    batch_size: BatchSize = None,
    workers: Workers = None,
    include: Include = None,
    exclude: Exclude = None,
    hidden: Hidden = False,
    pdf_dpi: PdfDpi = None,
    pdf_pages: PdfPages = None,
    pdf_password: PdfPassword = None,
    thumbnails: Thumbnails = False,
    thumbnail_width: ThumbnailWidth = None,
    metadata: MetadataFile = None,
    poll: Annotated[
        float | None, typer.Option("--poll", metavar="SECONDS", help="Look so often, where no changes are told.")
    ] = None,
    form: Annotated[
        Stream | None, typer.Option("--format", metavar="jsonl", help="Print each change, as it is stored.")
    ] = None,
) -> int:
    """Index folders, then follow them until Ctrl-C.

    A file is taken up when it has not been written to for half a second; what goes is forgotten, and what moves keeps
    its id. A folder that goes as a whole is waited for, and its images are kept; so are they when more than 20 files
    and more than a fifth go at once: picto prune forgets them then. Network shares and some containers tell of no
    changes: --poll looks for them. Hidden files, and those that editors and browsers have not finished (*.part, *~),
    are left out.

    \b
    Examples:
      picto watch ~/photos
      picto watch /mnt/share --poll 30 --thumbnails
      picto watch ~/photos --format jsonl | jq -r 'select(.event == "new").path'
    """
    terminal: Terminal = ctx.obj
    caught: list[IndexReport] = []

    def caught_up(report: IndexReport) -> None:
        caught.append(report)
        terminal.summary(report)
        if not report.interrupted:
            terminal.talk(f"Watching {', '.join(shown_path(path) for path in paths)}: Ctrl-C ends it")

    batches = terminal.library().watch(
        paths, caught_up=caught_up, poll=poll, dataset=dataset, model=model, device=device.value,
        batch_size=batch_size, workers=workers, include=include or (), exclude=exclude or (), hidden=hidden,
        pdf_dpi=pdf_dpi, pdf_pages=pdf_pages, pdf_password=secret(pdf_password), thumbnails=thumbnails,
        thumbnail_width=thumbnail_width, metadata=metadata,
    )  # fmt: skip
    try:
        for changes in batches:
            if form is not None:
                terminal.rows(changes, Change, form.value)
            terminal.talk(_line(changes))
    except KeyboardInterrupt:  # while a line is printed
        pass
    return 130 if not caught or caught[0].interrupted else 0


def _line(changes: Sequence[Change]) -> str:
    """12:03:05 3 new, 1 moved, 1 gone."""
    counts = Counter(change.event for change in changes)
    told = [f"{counts[event]:,} {event}" for event in ("new", "changed", "moved", "gone", "skipped") if counts[event]]
    return f"{time.strftime('%H:%M:%S')} {', '.join(told)}"
