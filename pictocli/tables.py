"""Records → tables for a person at a terminal: no borders, numbers right, the path last and never cut in its name."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote_from_bytes

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pictocli.display import bar, fraction, printable, shorten, shown_path, size_of
from pictocli.records import (
    CATEGORIES,
    Image,
    ImageDetail,
    Label,
    LibraryInfo,
    SimilarImage,
    TaggedImage,
)

__all__ = ["print_detail", "print_info", "print_labels", "print_similar", "print_tagged"]

_WITH_BAR, _WITH_TAGS, _WITH_SIZE = 60, 120, 200  # columns from which a table has them


def _grid(*justify: str) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    for side in justify:
        table.add_column(justify=side, no_wrap=True, overflow="ignore")  # type: ignore[arg-type]
    return table


def _path(image: Image, console: Console, width: int) -> Text:
    """A path, cut in its middle to `width` cells, linked to its file where the terminal has colours."""
    import os

    text = Text(shorten(shown_path(image.path), max(12, width)), style="cyan", no_wrap=True)
    if console.color_system is not None:
        file = image.path.removesuffix(f"#page={image.page}") if image.page else image.path
        text.stylize(f"link file://{quote_from_bytes(os.fsencode(file))}")
    return text


def _top(image: Image) -> str:
    """The strongest objects and scenes, three in all."""
    return " ".join([*image.tags["objects"][:2], *image.tags["scenes"][:2]][:3])


def print_similar(images: Sequence[SimilarImage], console: Console) -> None:
    """Score, bar and path; from 120 columns id and tags, from 200 size and dataset."""
    width, unicode = console.width, not console.legacy_windows and console.encoding.startswith("utf")
    rows: list[tuple[list[str], Image]] = []
    for image in images:
        score = image.similarity
        cells = [f"{score:.3f}"] if image.probability is None else [f"{image.probability:.3f}", f"{score:+.3f}"]
        if width >= _WITH_BAR:
            cells.insert(1, bar(score if image.probability is None else image.probability, unicode=unicode))
        if width >= _WITH_TAGS:
            cells += [str(image.image_id), _top(image)]
        if width >= _WITH_SIZE:
            cells += [f"{image.width}×{image.height}", printable(image.dataset)]
        rows.append((cells, image))
    _print(rows, console, ["bold", "green"] if width >= _WITH_BAR else ["bold"])


def _print(rows: Sequence[tuple[list[str], Image]], console: Console, styles: Sequence[str]) -> None:
    if not rows:
        return
    from rich.cells import cell_len

    widths = [max(cell_len(cells[at]) for cells, _ in rows) for at in range(len(rows[0][0]))]
    room = console.width - sum(width + 2 for width in widths)
    numeric = ["right" if rows[0][0][at][:1] in "0123456789+-−." else "left" for at in range(len(widths))]
    table = _grid(*numeric, "left")
    for cells, image in rows:
        styled = [Text(cell, style=styles[at] if at < len(styles) else "dim") for at, cell in enumerate(cells)]
        table.add_row(*styled, _path(image, console, room))
    console.print(table, soft_wrap=True)


def print_tagged(images: Sequence[TaggedImage], console: Console) -> None:
    """Id, the labels that matched with their scores, path."""
    rows: list[tuple[list[str], Image]] = []
    for image in images:
        matched = "  ".join(f"{name} {fraction(score)}" for name, score in image.matched.items())
        rows.append(([str(image.image_id), matched], image))
    _print(rows, console, ["dim", "bold"])


def print_detail(image: ImageDetail, console: Console) -> None:
    """Everything known of one image, a line a kind of thing."""
    lines: list[tuple[str, str]] = [
        ("image", f"{image.width}×{image.height}  {image.kind.upper()}  {size_of(image.size)}  {image.modified[:16]}"),
        ("dataset", printable(f"{image.dataset}  {image.folder}/" if image.folder else image.dataset)),
    ]
    for category in CATEGORIES:
        scored = [f"{name} {fraction(score)}" for name, score in image.scores[category].items()]
        lines.append((category, "  ".join(scored) or "–"))
    if image.metadata:
        lines.append(("metadata", "  ".join(printable(f"{key}={value}") for key, value in image.metadata.items())))
    lines += [("copy", shown_path(path)) for path in image.copies]
    if image.has_thumbnail:
        lines.append(("thumbnail", "stored"))
    lines.append(("indexed", f"{image.indexed_at[:10]}  {_short(image.model)}  {image.processing_time_ms:.0f} ms"))
    title = _path(image, console, console.width - 14)
    title.append(f"  id:{image.image_id}", style="dim")
    console.print(title, soft_wrap=True)
    _print_lines(lines, console)


def print_info(info: LibraryInfo, console: Console) -> None:
    """The database at a glance, with the most common labels as bars."""
    unicode = console.encoding.startswith("utf")
    pages = f"  PDF pages {info.pdf_pages:,}" if info.pdf_pages else ""
    skipped = f"  skipped {info.skipped:,}" if info.skipped else ""
    lines = [
        ("database", f"{shown_path(info.path)}  {size_of(info.size_bytes)}"),
        ("images", f"{info.images:,} in {info.files:,} files{pages}{skipped}"),
        ("kinds", "  ".join(f"{kind} {count:,}" for kind, count in info.kinds.items()) or "–"),
        ("datasets", "  ".join(f"{printable(each.dataset)} {each.images:,}" for each in info.datasets) or "–"),
        ("model", f"{_short(info.model)}  {info.dim}-D" if info.model else "none yet"),
        ("tag rule", info.tag_rule),
    ]
    if info.thumbnails:
        lines.insert(3, ("thumbnails", f"{info.thumbnails:,}"))
    longest = max((len(label) for _, label, _ in info.tags[:10]), default=0)
    for at, (_, label, count) in enumerate(info.tags[:10]):
        share = count / info.images if info.images else 0
        text = f"{label:<{longest}}  {bar(share, unicode=unicode)}  {count:>7,}  {share:>4.0%}"
        lines.append(("" if at else "tags", text))
    _print_lines(lines, console)


def print_labels(labels: Sequence[Label], console: Console) -> None:
    """Category, label and its aliases."""
    table = _grid("left", "left", "left")
    for label in labels:
        table.add_row(Text(label.category, "dim"), Text(label.id, "bold"), Text(", ".join(label.aliases), "dim"))
    console.print(table, soft_wrap=True)


def _print_lines(lines: Sequence[tuple[str, str]], console: Console) -> None:
    for name, value in lines:
        console.print(Text(f"  {name:<10}  ", "dim").append(value, "default"), soft_wrap=True)


def _short(model: str | None) -> str:
    return (model or "").rpartition("/")[2]
