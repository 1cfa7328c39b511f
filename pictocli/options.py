"""The options that several commands share, each defined once."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from pictocli.errors import UnreadableError
from pictocli.records import Scope

__all__ = [
    "Attributes", "Category", "Color", "Device", "Everywhere", "Exact", "Folder", "Form", "Format", "Limit", "Match",
    "Matching", "Objects", "OnDevice", "PdfPassword", "Print0", "Scenes", "Sort", "ThisDataset", "asked", "condition",
    "secret", "where",
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
Print0 = Annotated[bool, typer.Option("--print0", "-0", help="Print paths only, each ended by a NUL, for xargs -0.")]
Objects = Annotated[list[str] | None, typer.Option("--objects", metavar="A,B", help="With any of these objects.")]
Scenes = Annotated[list[str] | None, typer.Option("--scenes", metavar="A,B", help="With any of these scenes.")]
Attributes = Annotated[
    list[str] | None, typer.Option("--attributes", metavar="A,B", help="With any of these attributes.")
]
Matching = Annotated[Match, typer.Option("--match", help="Ask for any label of a category, or for all.")]
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
            return [getpass.getpass("Password of the PDFs: ")]
        return [sys.stdin.buffer.readline().decode("utf-8", "replace").rstrip("\r\n")]
    if not given.startswith("@"):
        return [given]
    try:
        return [line for line in Path(given[1:]).read_text("utf-8").splitlines() if line]
    except (OSError, UnicodeDecodeError) as exc:
        reason = (exc.strerror or str(exc)).lower() if isinstance(exc, OSError) else "it is not UTF-8"
        raise UnreadableError(f"cannot read the passwords in {given[1:]}: {reason}") from exc


def asked(
    objects: list[str] | None, scenes: list[str] | None, attributes: list[str] | None
) -> dict[str, list[str] | None]:
    """The labels of repeatable options that also take commas, by category; None for an option that is not given."""
    given = {"objects": objects, "scenes": scenes, "attributes": attributes}
    return {category: None if values is None else _split(values) for category, values in given.items()}


def _split(values: list[str]) -> list[str]:
    return [part.strip() for value in values for part in value.split(",") if part.strip()]


def condition(labels: Mapping[str, Sequence[str] | None], match: Match) -> str:
    """The labels that are asked for, in words: (car or truck) and outdoor."""
    joined = " and " if match is Match.all else " or "
    parts = [joined.join(group) for group in labels.values() if group]
    return " and ".join(f"({part})" if len(parts) > 1 and " or " in part else part for part in parts)


def where(scope: Scope) -> str:
    """A scope in words: in holiday, folder crete."""
    folder = scope.folder if scope.folder != "/" else None
    if folder and scope.dataset:
        return f"in {scope.dataset}, folder {folder}"
    return f"below {folder}" if folder else f"in {scope.dataset or 'the whole database'}"
