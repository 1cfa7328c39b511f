"""Records → tables for a person at a terminal: no borders, numbers right, the path last and never cut in its name."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote_from_bytes

from rich.cells import cell_len, chop_cells
from rich.console import Console
from rich.text import Text

from pictocli.cells import how, local, pairs, recall, scored, short, top
from pictocli.charts import text
from pictocli.damage import Damage
from pictocli.display import bar, crop, fraction, pad, percent, printable, shorten, shown_path, size_of
from pictocli.grouped import Group
from pictocli.records import (
    CATEGORIES,
    Image,
    ImageDetail,
    Label,
    LibraryInfo,
    SimilarImage,
    TaggedImage,
)
from pictocli.reports import Forgotten
from pictocli.urls import is_url, is_web

if TYPE_CHECKING:
    from pictocli.figures import Histogram

__all__ = ["Page"]

_WITH_BAR, _WITH_CLOSER, _WITH_TAGS, _WITH_SIZE = 60, 80, 120, 200  # columns from which a table has them
_LEAST_PATH = 24  # cells that labels leave to a path
_MEASURE = 80  # columns that `show` keeps to where the terminal is wider
_INDENT = 14  # cells before what `show` and `info` say
_ASCII = str.maketrans({"×": "x", "–": "-", "…": "~", "−": "-"})


@dataclass(frozen=True, slots=True)
class _Column:
    """A column before the path. shrinks: it is cut where the path needs the room."""

    head: str = ""
    style: str = "dim"
    right: bool = False
    shrinks: bool = False


class Page:
    """Tables on one console, in the characters that it can show."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._unicode = console.encoding.startswith("utf")
        self._mark = "…" if self._unicode else "~"

    def heading(self, reference: str) -> None:
        """What the table below it answers."""
        self._line(Text(self._spelled(printable(reference)), "bold"))

    def similar(self, images: Sequence[SimilarImage]) -> None:
        """Score, bar, path; from 80 columns how unusual it is, from 120 id and tags, from 200 size, date, dataset."""
        width = self._console.width
        if any(image.parts is not None for image in images):
            self._combined(images)
            return
        words = any(image.probability is not None for image in images)
        shares = [image.closer_than for image in images if image.closer_than is not None]
        closer = percent(shares) if width >= _WITH_CLOSER and len(shares) == len(images) else []
        columns = [_Column("prob" if words else "cosine" if closer else "", "bold", right=True)]
        columns += [_Column(style="green")] * (width >= _WITH_BAR)
        columns += [_Column("cosine", right=True)] * words
        columns += [_Column("closer than", right=True)] * bool(closer)
        if width >= _WITH_TAGS:
            columns += [_Column("id", right=True), _Column("tags", shrinks=True)]
        if width >= _WITH_SIZE:
            columns += [_Column("size", right=True), _Column("date"), _Column("dataset", shrinks=True)]
        rows = [(self._cells(image, closer[at : at + 1]), image) for at, image in enumerate(images)]
        self._table(columns, rows, headed=words or bool(closer))

    def _combined(self, images: Sequence[SimilarImage]) -> None:
        """Score, from 80 columns the cosine with each part, path."""
        names = list(images[0].parts or {}) if self._console.width >= _WITH_CLOSER else []
        heads = [crop(self._spelled(printable(os.path.basename(name) or name)), 14, self._mark) for name in names]
        columns = [_Column("score", "bold", right=True), *(_Column(head, right=True) for head in heads)]
        rows = [
            ([f"{image.score or 0:+.2f}", *(f"{(image.parts or {})[name]:+.3f}" for name in names)], image)
            for image in images
        ]
        self._table(columns, rows, headed=True)

    def _cells(self, image: SimilarImage, closer: Sequence[str]) -> list[str]:
        width, main = self._console.width, image.similarity if image.probability is None else image.probability
        cells = [f"{main:.3f}"]
        if width >= _WITH_BAR:
            cells.append(bar(main, unicode=self._unicode))
        if image.probability is not None:
            cells.append(f"{image.similarity:+.3f}")
        cells += closer
        if width >= _WITH_TAGS:
            cells += [str(image.image_id), top(image)]
        if width >= _WITH_SIZE:
            cells += [f"{image.width}×{image.height}", local(image.modified)[:10], printable(image.dataset)]
        return cells

    def tagged(self, images: Sequence[TaggedImage]) -> None:
        """Id, the labels that matched with their scores, where labels were asked for, path."""
        labelled = any(image.matched for image in images)
        columns = [_Column("id", right=True)] + [_Column("matched", "bold", shrinks=True)] * labelled
        rows = [([str(image.image_id)] + [scored(image.matched)] * labelled, image) for image in images]
        self._table(columns, rows, headed=True)

    def groups(self, groups: Sequence[Group]) -> None:
        """Group, what each image is in it, its size in pixels from 60 columns, in bytes from 80, path."""
        width = self._console.width
        columns = [_Column("group", right=True), _Column(style="bold")]
        columns += [_Column("size", right=True)] * (width >= _WITH_BAR) + [_Column(right=True)] * (
            width >= _WITH_CLOSER
        )
        rows: list[tuple[list[str], Image]] = []
        for group in groups:
            for at, image in enumerate(group.images):
                cells = ["" if at else str(group.group), how(image)]
                cells += [self._spelled(f"{image.width}×{image.height}")] * (width >= _WITH_BAR)
                rows.append((cells + [size_of(image.size)] * (width >= _WITH_CLOSER), image))
        self._table(columns, rows, headed=True)

    def labels(self, labels: Sequence[Label]) -> None:
        """Category, label and its aliases."""
        widths = [max(len(label.category) for label in labels), max(len(label.id) for label in labels)]
        for label in labels:
            line = Text(pad(label.category, widths[0]), "dim").append("  ").append(pad(label.id, widths[1]), "bold")
            aliases = self._spelled(printable(", ".join(label.aliases)))
            aliases = crop(aliases, max(1, self._console.width - sum(widths) - 4), self._mark)
            self._line(line.append(f"  {aliases}" if aliases else ""))

    def damages(self, damages: Sequence[Damage]) -> None:
        """How many of what are damaged, an example, and the remedy."""
        width = max((len(f"{damage.count:,}") for damage in damages), default=0)
        for damage in damages:
            line = Text(f"{damage.count:>{width},}  ", "bold").append(self._spelled(damage.what), "default")
            line.append(self._spelled(f", such as {damage.example}" if damage.example else ""), "dim")
            self._line(line.append(f": {damage.remedy}", "cyan"))

    def forgotten(self, files: Sequence[Forgotten]) -> None:
        """How many images of each file, and where it lay."""
        width = max((len(f"{file.images:,}") for file in files), default=0)
        for file in files:
            self._line(
                Text(f"{file.images:>{width},}  ", "dim").append(self._spelled(shown_path(file.path)), "default")
            )

    def detail(self, image: ImageDetail) -> None:
        """Everything known of one image, a line a kind of thing."""
        kind = [f"{image.width}×{image.height}", image.kind.upper(), size_of(image.size), local(image.modified)]
        lines = []
        taken = [image.taken_at.replace("T", " ")[:16]] if image.taken_at else []
        taken += [image.camera] if image.camera else []
        if image.latitude is not None:
            taken.append(f"{image.latitude:.5f}, {image.longitude:.5f}")
        if taken:
            lines.append(("taken", taken))
        if image.metadata:
            lines.append(("metadata", [f"{key}={value}" for key, value in image.metadata.items()]))
        lines += [("copy", [shown_path(path)]) for path in image.copies]
        if image.has_thumbnail:
            lines.append(("thumbnail", ["stored"] + ([image.thumbnail_url] if image.thumbnail_url else [])))
        spent = f"{image.processing_time_ms:.0f} ms"
        lines.append(("indexed", [local(image.indexed_at)[:10], short(image.model), spent]))
        tail = f"id:{image.image_id}"
        width = min(self._console.width, _MEASURE)
        title = self._path(image, width - len(tail) - 2)
        self._line(title.append(pad(tail, max(width - title.cell_len, len(tail) + 2), right=True), "dim"))
        self._lines([("image", kind), ("dataset", [image.dataset] + ([f"{image.folder}/"] if image.folder else []))])
        guessed = [name for scores in image.scores.values() for name, score in scores.items() if score < 1]
        widest = max((cell_len(self._spelled(printable(name))) for name in guessed), default=0)
        for category in CATEGORIES:
            self._tags(category, image.scores[category], widest)
        self._lines(lines)

    def _tags(self, category: str, scores: Mapping[str, float], widest: int) -> None:
        """What is certain on one line, as measured attributes are; the others below each other, with bars."""
        scores = {self._spelled(printable(name)): score for name, score in scores.items()}
        certain = [name for name, score in scores.items() if score >= 1]
        if certain or not scores:
            self._lines([(category, certain or ["–"])])
        others = {name: score for name, score in scores.items() if score < 1}
        for at, (name, score) in enumerate(others.items()):
            line = Text(f"  {'' if at or certain else category:<{_INDENT - 2}}", "dim")
            line.append(f"{pad(name, widest)}  {fraction(score)}  ", "default")
            self._line(line.append(bar(score, unicode=self._unicode).rstrip(), "green"))

    def info(self, info: LibraryInfo) -> None:
        """The database at a glance, with the most common labels as bars."""
        images = [f"{info.images:,}", f"files {info.files:,}"]
        for name, count in (("PDF pages", info.pdf_pages), ("skipped", info.skipped), ("thumbnails", info.thumbnails)):
            images += [f"{name} {count:,}"] * (count > 0)
        self._lines([
            ("database", [shown_path(info.path), size_of(info.size_bytes)]),
            ("images", images),
            ("kinds", [f"{kind} {count:,}" for kind, count in info.kinds.items()] or ["–"]),
            ("datasets", [f"{each.dataset} {each.images:,}" for each in info.datasets] or ["–"]),
            ("model", [short(info.model), f"{info.dim}-D"] if info.model else ["none yet"]),
            *([("pairs", pairs(info.pairs))] if info.pairs else []),
            *([("recall", recall(info.recall))] if info.recall else []),
            ("tag rule", [info.tag_rule]),
        ])  # fmt: skip
        top = [(self._spelled(printable(label)), count) for _, label, count in info.tags[:10]]
        longest = max((cell_len(label) for label, _ in top), default=0)
        most = max((len(f"{count:,}") for _, count in top), default=0)
        for at, (label, count) in enumerate(top):
            line = Text(f"  {'' if at else 'tags':<{_INDENT - 2}}", "dim").append(f"{pad(label, longest)}  ", "default")
            if self._console.width >= _WITH_BAR:
                line.append(bar(count / info.images, unicode=self._unicode) + "  ", "green")
            self._line(line.append(f"{count:>{most},}  ", "default").append(f"{count / info.images:>4.0%}", "dim"))

    def histograms(self, histograms: Sequence[Histogram]) -> None:
        """Bars of each, in the width of the terminal."""
        for number, histogram in enumerate(histograms):
            title, *lines = text(histogram, min(self._console.width, _MEASURE), unicode=self._unicode)
            self._line(Text("\n" * (number > 0) + self._spelled(title), "bold"))
            for line in lines:
                self._line(Text(self._spelled(line)))

    # -- lines ------------------------------------------------------------------------------------------------------

    def _table(self, columns: Sequence[_Column], rows: Sequence[tuple[list[str], Image]], *, headed: bool) -> None:
        """Rows with their paths last. Columns that shrink give the paths half of the terminal if they need it."""
        if not rows:
            return
        heads = [[column.head for column in columns]] if headed else []
        cells = [[self._spelled(cell) for cell in row] for row, _ in rows]
        widths = [max(cell_len(line[at]) for line in heads + cells) for at in range(len(columns))]
        longest = max(cell_len(self._spelled(shown_path(image.path))) for _, image in rows)
        lacking = min(longest, max(_LEAST_PATH, self._console.width // 2)) + sum(widths) + 2 * len(widths)
        for at in sorted(range(len(columns)), key=lambda at: -widths[at]):
            if columns[at].shrinks and lacking > self._console.width:
                least = max(8, widths[at] - (lacking - self._console.width))
                lacking -= max(0, widths[at] - least)
                widths[at] = min(widths[at], least)
        room = max(12, self._console.width - sum(widths) - 2 * len(widths))
        if headed:
            line = "".join(pad(c.head, w, right=c.right) + "  " for c, w in zip(columns, widths, strict=True))
            self._line(Text(f"{line}path", "dim"))
        for row, (_, image) in zip(cells, rows, strict=True):
            text = Text()
            for cell, column, width in zip(row, columns, widths, strict=True):
                text.append(pad(crop(cell, width, self._mark), width, right=column.right), column.style).append("  ")
            self._line(text.append_text(self._path(image, room)))

    def _path(self, image: Image, width: int) -> Text:
        """A path, cut in its middle to `width` cells, linked to its file where the terminal has colours."""
        text = Text(shorten(self._spelled(shown_path(image.path)), width, self._mark), "cyan")
        if self._console.color_system is not None:
            file = image.path.removesuffix(f"#page={image.page}") if image.page else image.path
            # no browser knows s3: what is printed is what can be copied
            link = file if is_web(file) else "" if is_url(file) else f"file://{quote_from_bytes(os.fsencode(file))}"
            if link:
                text.stylize(f"link {link}")
        return text

    def _lines(self, lines: Sequence[tuple[str, Sequence[str]]]) -> None:
        """Names, each with what there is to say of it; what is too long goes on below itself."""
        width = max(20, self._console.width - _INDENT)
        for name, parts in lines:
            wrapped = [""]
            for part in parts:
                for piece in chop_cells(self._spelled(printable(part)), width) or [""]:
                    if wrapped[-1] and cell_len(wrapped[-1]) + 2 + cell_len(piece) > width:
                        wrapped.append("")
                    wrapped[-1] += ("  " if wrapped[-1] else "") + piece
            for at, line in enumerate(wrapped):
                self._line(Text(f"  {'' if at else name:<{_INDENT - 2}}", "dim").append(line, "default"))

    def _line(self, text: Text) -> None:
        self._console.print(text, soft_wrap=True)

    def _spelled(self, text: str) -> str:
        """A text in the characters that the terminal's encoding has."""
        if self._unicode:
            return text
        encoding = self._console.encoding
        return text.translate(_ASCII).encode(encoding, "backslashreplace").decode(encoding)
