"""The options that several commands share, each defined once."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypedDict

import typer

from pictocli.cells import inside
from pictocli.display import counted
from pictocli.errors import UnreadableError
from pictocli.records import Answer

if TYPE_CHECKING:
    from pictocli.filters import Filters

__all__ = [
    "UNSCOPED", "After", "Attributes", "Before", "Camera", "Category", "Color", "Device", "Everywhere", "Exact",
    "Folder", "Form", "Format", "Graphics", "Html", "Labels", "Limit", "Match", "Matching", "Near", "Objects",
    "OnDevice", "Open", "PdfPassword", "Preview", "PreviewAs", "Print0", "RowForm", "Scenes", "Sort", "ThisDataset",
    "Where", "asked", "condition", "given", "having", "inside", "looked_at", "secret", "share",
]  # fmt: skip


class Format(StrEnum):
    """How results are printed."""

    table = "table"
    tsv = "tsv"
    csv = "csv"
    json = "json"
    jsonl = "jsonl"
    paths = "paths"


class Color(StrEnum):
    """When to colour."""

    auto = "auto"
    always = "always"
    never = "never"


class Device(StrEnum):
    """Where the model runs."""

    auto = "auto"
    cuda = "cuda"
    mps = "mps"
    cpu = "cpu"


class Match(StrEnum):
    """Whether one label of a category is enough."""

    any = "any"
    all = "all"


class Sort(StrEnum):
    """The order of tagged images."""

    id = "id"
    score = "score"


class Graphics(StrEnum):
    """How pictures are drawn in the terminal."""

    auto = "auto"
    kitty = "kitty"
    iterm = "iterm"
    sixel = "sixel"
    blocks = "blocks"
    off = "off"


class Category(StrEnum):
    """The three kinds of labels."""

    objects = "objects"
    scenes = "scenes"
    attributes = "attributes"


Form = Annotated[
    Format | None,
    typer.Option(
        "--format",
        metavar="FORMAT",
        help="table, tsv, csv, json, jsonl or paths [default: table on a terminal, tsv elsewhere].",
    ),
]
RowForm = Annotated[
    Format | None,
    typer.Option(
        "--format",
        metavar="FORMAT",
        help="table, tsv, csv, json or jsonl [default: table on a terminal, tsv elsewhere].",
    ),
]
"""Of commands whose rows have no paths."""
Print0 = Annotated[bool, typer.Option("--print0", "-0", help="Print paths only, each ended by a NUL, for xargs -0.")]
Preview = Annotated[bool, typer.Option("--preview", help="On a terminal, draw the pictures too.")]
PreviewAs = Annotated[
    Graphics | None,
    typer.Option(
        "--preview-as",
        metavar="HOW",
        help="Draw them so: kitty, iterm, sixel, blocks or off [default: auto, the best the terminal can].",
    ),
]
Html = Annotated[
    str | None,
    typer.Option(
        "--html",
        metavar="FILE",
        help="Write one page that holds it all, pictures too; - is stdout. Rows go to a terminal, or as --format says.",
    ),
]
Open = Annotated[bool, typer.Option("--open", help="Show that page in the browser; without --html a temporary file.")]
Objects = Annotated[list[str] | None, typer.Option("--objects", metavar="A,B", help="With any of these objects.")]
Scenes = Annotated[list[str] | None, typer.Option("--scenes", metavar="A,B", help="With any of these scenes.")]
Attributes = Annotated[
    list[str] | None, typer.Option("--attributes", metavar="A,B", help="With any of these attributes.")
]
Matching = Annotated[Match, typer.Option("--match", help="Ask for any label of a category, or for all.")]
Where = Annotated[
    list[str] | None,
    typer.Option(
        "--where", metavar="EXPR", help="With metadata like this: price<50, brand=acme, name~shirt; repeatable."
    ),
]
After = Annotated[
    str | None,
    typer.Option("--after", metavar="DATE", help="Taken since 2024, 2024-05 or 2024-05-01, or in the last 30d."),
]
Before = Annotated[str | None, typer.Option("--before", metavar="DATE", help="Taken before that.")]
Camera = Annotated[str | None, typer.Option("--camera", metavar="NAME", help="Taken with a camera of such a name.")]
Near = Annotated[
    str | None, typer.Option("--near", metavar="LAT,LON,KM", help="Taken within so many km of a place, in degrees.")
]
Limit = Annotated[int, typer.Option("--limit", metavar="N", help="At most so many results, 1 to 500.")]
ThisDataset = Annotated[str | None, typer.Option("--dataset", metavar="NAME", help="Look in this dataset only.")]
Folder = Annotated[
    str | None,
    typer.Option("--folder", metavar="SUB", help="Look in this folder of the dataset and below; / is all of it."),
]
Everywhere = Annotated[bool, typer.Option("--everywhere", help="Look at the whole database.")]
Exact = Annotated[bool, typer.Option("--exact", help="Compare with every image, however many there are.")]

OnDevice = Annotated[Device, typer.Option("--device", help="Where the model runs, if it must run at all.")]

PdfPassword = Annotated[
    str | None,
    typer.Option(
        "--pdf-password",
        metavar="@FILE|-|TEXT",
        help="For encrypted PDFs: @FILE has passwords, one a line; - asks. Others can see a TEXT in ps."
        " [env: PICTO_PDF_PASSWORD]",
        show_default=False,
    ),
]


def secret(given: str | None) -> list[str] | None:
    """The passwords that `--pdf-password` gives; None without it. Raises UnreadableError."""
    if given is None:
        return None
    if given == "-":
        if sys.stdin.isatty():
            import getpass

            return [getpass.getpass("Password of the PDFs: ")]
        return [sys.stdin.buffer.readline().decode("utf-8", "replace").rstrip("\r\n")]
    if not given.startswith("@"):
        return [given]
    try:
        return [line for line in Path(given[1:]).read_text("utf-8").split("\n") if line]
    except (OSError, UnicodeDecodeError) as exc:
        reason = (exc.strerror or str(exc)).lower() if isinstance(exc, OSError) else "it is not UTF-8"
        raise UnreadableError(f"cannot read the passwords in {given[1:]}: {reason}") from exc


class Labels(TypedDict):
    """The labels that are asked for, by category; None for one that is not asked for."""

    objects: list[str] | None
    scenes: list[str] | None
    attributes: list[str] | None


def asked(objects: list[str] | None, scenes: list[str] | None, attributes: list[str] | None) -> Labels:
    """The labels of repeatable options that also take commas."""
    return {"objects": _split(objects), "scenes": _split(scenes), "attributes": _split(attributes)}


def _split(values: list[str] | None) -> list[str] | None:
    return None if values is None else [part.strip() for value in values for part in value.split(",") if part.strip()]


def given(
    where: list[str] | None, after: str | None, before: str | None, camera: str | None, near: str | None
) -> Filters:
    """The filters of the options of these names, without those that are not given."""
    filters: Filters = {"where": where, "after": after, "before": before, "camera": camera, "near": near}
    return {name: value for name, value in filters.items() if value is not None}  # type: ignore[return-value]


def condition(labels: Labels, match: Match, filters: Filters) -> str:
    """What is asked for, in words: (car or truck) and outdoor and price<50."""
    joined = " and " if match is Match.all else " or "
    parts = [joined.join(group) for group in (labels["objects"], labels["scenes"], labels["attributes"]) if group]
    told = [each.strip() for each in filters.get("where") or ()]
    told += [f"date {name} {filters[name]}" for name in ("after", "before") if name in filters]
    told += [f"camera {filters['camera']}"] if "camera" in filters else []
    told += [f"place near {filters['near']}"] if "near" in filters else []
    many = len(parts) + len(told) > 1
    return " and ".join([*(f"({part})" if many and " or " in part else part for part in parts), *told])


UNSCOPED = "leave --dataset and --folder out to see them"


def share(answer: Answer) -> str:
    """3 of 12,407 in holiday."""
    return f"{len(answer.results):,} of {answer.considered:,} {inside(answer.scope)}"


def looked_at(answer: Answer) -> str:
    """12,407 images in holiday."""
    return f"{counted(answer.considered, 'image')} {inside(answer.scope)}"


def having(labels: Labels, match: Match, filters: Filters) -> str:
    """with car and price<50, after a blank; nothing when all images are asked for."""
    words = condition(labels, match, filters)
    return f" with {words}" if words else ""
