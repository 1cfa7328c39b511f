"""What a command prints where: results on standard output, talk on standard error, errors with their remedy."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, TextIO, cast

from pictocli.display import printable, shown_path
from pictocli.errors import NotFoundError, PictoError, ValidationError
from pictocli.library import Library, open_library
from pictocli.options import Format
from pictocli.progress import Bar
from pictocli.records import (
    Answer,
    ImageDetail,
    IndexReport,
    Label,
    LibraryInfo,
    SimilarImage,
    TaggedImage,
)

if TYPE_CHECKING:
    from rich.console import Console

    from pictocli.render import Row

__all__ = ["Settings", "Terminal"]


@dataclass(frozen=True, slots=True)
class Settings:
    """The global options. color: "auto", "always" or "never"."""

    db: str | None = None
    quiet: bool = False
    verbose: bool = False
    color: str = "auto"


class Terminal:
    """Standard output and error of one command, as the global options want them."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def library(self) -> Library:
        """The library that the options name."""
        return open_library(self.settings.db, progress=Bar(self.settings.quiet))

    def form(self, asked: Format | None, print0: bool, *, many: bool = False) -> str:
        """The format to print in: by default a table on a terminal, TSV elsewhere and for many references."""
        if print0:
            if asked not in (None, Format.paths):
                raise ValidationError("--print0 prints paths, not another format", "leave --format out")
            return "print0"
        if asked is not None:
            return asked.value
        return "table" if sys.stdout.isatty() and not many else "tsv"

    # -- results ----------------------------------------------------------------------------------------------------

    def rows(self, rows: Sequence[Row], kind: type[Row], form: str, references: Sequence[str] = ()) -> None:
        """Print records; `form` as `form()` gave it."""
        if form == "table":
            self._table(rows, kind)
            return
        from pictocli.render import write

        write(rows, form, cast(BinaryIO, sys.stdout.buffer), kind=kind, references=references)

    def _table(self, rows: Sequence[Any], kind: type[Row]) -> None:
        from pictocli import tables

        console = self._console()
        if kind is SimilarImage:
            tables.print_similar(rows, console)
        elif kind is TaggedImage:
            tables.print_tagged(rows, console)
        elif kind is Label:
            tables.print_labels(rows, console)
        elif kind is ImageDetail:
            tables.print_detail(rows[0], console)
        elif kind is LibraryInfo:
            tables.print_info(rows[0], console)

    def _console(self) -> Console:
        from rich.console import Console  # 45 ms, for tables only

        return Console(
            force_terminal=True if self.settings.color == "always" else None,
            no_color=not self._coloured(sys.stdout) or None,
            color_system="auto" if self._coloured(sys.stdout) else None,
            highlight=False,
            markup=False,
            emoji=False,
        )

    def _coloured(self, stream: TextIO) -> bool:
        if self.settings.color != "auto":
            return self.settings.color == "always"
        return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"

    # -- talk -------------------------------------------------------------------------------------------------------

    def talk(self, message: str) -> None:
        """One line on standard error, unless quiet."""
        if not self.settings.quiet:
            sys.stderr.write(message + "\n")
            sys.stderr.flush()

    def hint(self, message: str) -> None:
        """A line that names what to do next."""
        self.talk(f"{self._paint('hint', 36)}: {message}")

    def error(self, error: PictoError) -> None:
        """One sentence, and its remedy; quiet keeps the sentence."""
        sys.stderr.write(f"{self._paint('error', 31)}: {printable(str(error))}\n")
        if error.hint and not self.settings.quiet:
            sys.stderr.write(f"\n{self._paint('hint', 36)}: {printable(error.hint)}\n")
        sys.stderr.flush()

    def _paint(self, word: str, colour: int) -> str:
        return f"\x1b[{colour}m{word}\x1b[0m" if self._coloured(sys.stderr) else word

    def answer(self, answer: Answer, condition: str, nearest: str | None = None) -> None:
        """What a person wants told beside the results: how many of how many, or why there are none."""
        where = answer.scope.dataset or "the whole database"
        if answer.scope.folder:
            where += f", folder {answer.scope.folder}" if answer.scope.dataset else f" below {answer.scope.folder}"
        if not answer.results:
            near = f", {nearest}" if nearest else ""
            self.talk(printable(f"nothing {condition} among {answer.considered:,} images in {where}{near}"))
            if answer.elsewhere:
                wider = "--everywhere shows them" if nearest is not None else "leave --dataset and --folder out"
                self.hint(f"the whole database holds {answer.elsewhere:,} that do: {wider}")
        elif sys.stderr.isatty() or self.settings.verbose:
            spent = f"{answer.seconds * 1000:.0f} ms"
            count = f"{len(answer.results):,} of {answer.considered:,}"
            self.talk(printable(f"{count} in {where} {condition}, {spent}"))
        if self.settings.verbose:
            path = "the fast path: 1-bit codes, then the best few thousand compared exactly"
            self.talk(path if answer.approximate else "exact: every image in scope was compared")

    def summary(self, report: IndexReport, *, nothing_found: bool = False) -> None:
        """What an index run did, each skipped file with its reason, each missing PATH."""
        for path in report.missing:
            self.error(NotFoundError(f"no such file or folder: {path}"))
        if nothing_found:
            return
        if report.dry_run:
            self.talk(f"Would open {report.indexed:,} new or changed files, {report.unchanged:,} unchanged")
        else:
            self.talk(_sentence(report))
        if report.unmatched:
            self.talk(f"{self._paint('warning', 33)}: {report.unmatched:,} rows of the metadata file match no file")
        if report.skipped:
            self.talk(f"{self._paint('warning', 33)}: skipped {len(report.skipped):,}")
            shown = report.skipped if self.settings.verbose else report.skipped[:20]
            names = [shown_path(each.path) for each in shown]
            width = min(60, max(len(name) for name in names))
            for name, each in zip(names, shown, strict=True):
                self.talk(f"  {name:<{width}}  {each.reason}")
            if len(shown) < len(report.skipped):
                self.talk(f"  and {len(report.skipped) - len(shown):,} more: --verbose lists them")


def _sentence(report: IndexReport) -> str:
    """Indexed 24 images in 2.1 s (11.4/s), 3 unchanged, 1 moved."""
    rate = report.indexed / report.seconds if report.seconds else 0
    spent = (
        f"{report.seconds:.1f} s" if report.seconds < 60 else f"{report.seconds // 60:.0f}:{report.seconds % 60:02.0f}"
    )
    parts = [f"{'Interrupted: indexed' if report.interrupted else 'Indexed'} {report.indexed:,} images in {spent}"]
    if report.indexed:
        parts[0] += f" ({rate:.1f}/s)"
    for name in ("unchanged", "moved", "copied", "updated", "described"):
        if getattr(report, name):
            parts.append(f"{getattr(report, name):,} {name}")
    return ", ".join(parts)
