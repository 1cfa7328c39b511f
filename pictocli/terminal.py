"""What a command prints where: results on standard output, talk on standard error, errors with their remedy."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, TextIO, cast

from pictocli.cells import hosts, mended, restored, sentence
from pictocli.damage import Damage, RepairReport
from pictocli.display import counted, marked, pad, printable, shown_path, size_of, time_of
from pictocli.errors import ExpressionError, NotFoundError, PictoError, ValidationError
from pictocli.grouped import Duplicates, Group
from pictocli.library import MAX_LIMIT, Library, open_library
from pictocli.options import Format
from pictocli.progress import Bar
from pictocli.records import (
    Answer,
    Image,
    ImageDetail,
    IndexReport,
    Label,
    LibraryInfo,
    SimilarImage,
    Skipped,
    TaggedImage,
)
from pictocli.reports import CalibrationReport, Forgotten, RetagReport

if TYPE_CHECKING:
    from rich.console import Console

    from pictocli.figures import Histogram
    from pictocli.render import Row
    from pictocli.tables import Page

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

    def library(self, copied: str | None = None) -> Library:
        """The library that the options name; or the one of this name, of which all rows are to be copied."""
        work, unit = ("indexing", "files") if copied is None else ("copying", "rows")
        return open_library(copied or self.settings.db, progress=Bar(self.settings.quiet, work=work, unit=unit))

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

    def rows(self, rows: Sequence[Row], kind: type[Row], form: str, references: Sequence[str] | None = None) -> None:
        """Print records; `form` as `form()` gave it; `references` as in `render.write`, in a table one for all rows.

        With a `form` of "" nothing is printed. Raises ValidationError for the paths of what has none.
        """
        if form in ("paths", "print0") and not issubclass(kind, Image | Forgotten | Group):
            raise ValidationError("there are no paths to print here", "--format table, tsv, csv, json or jsonl")
        if form in ("", "table"):
            if form:
                self._table(rows, kind, references)
            return
        from pictocli.render import write

        write(rows, form, cast(BinaryIO, sys.stdout.buffer), kind=kind, references=references)

    def histograms(self, histograms: Sequence[Histogram]) -> None:
        """Print histograms as bars, one below the other."""
        from pictocli.tables import Page

        Page(self._console()).histograms(histograms)

    def _table(self, rows: Sequence[Any], kind: type[Row], references: Sequence[str] | None) -> None:
        page = self._page()
        if references:
            page.heading(references[0])
        if kind is SimilarImage:
            page.similar(rows)
        elif kind is TaggedImage:
            page.tagged(rows)
        elif kind is Label:
            page.labels(rows)
        elif kind is Damage:
            page.damages(rows)
        elif kind is Forgotten:
            page.forgotten(rows)
        elif kind is Group:
            page.groups(rows)
        elif kind is ImageDetail:
            page.detail(rows[0])
        elif kind is LibraryInfo:
            page.info(rows[0])
        else:
            from pictocli.checklist import show_checklist

            show_checklist(self._console(), rows, kind)

    def _page(self) -> Page:
        from pictocli.tables import Page

        return Page(self._console())

    def _console(self) -> Console:
        from rich.console import Console  # 45 ms, for tables only

        coloured = self._coloured(sys.stdout)
        return Console(
            force_terminal=coloured or None,
            no_color=not coloured,
            color_system="standard" if coloured else None,
            highlight=False,
            markup=False,
            emoji=False,
        )

    @property
    def coloured(self) -> bool:
        """Whether results are in colour."""
        return self._coloured(sys.stdout)

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
        if sys.stderr.isatty():
            sys.stderr.write("\r\x1b[K")  # over "loading …"
        sys.stderr.write(f"{self._paint('error', 31)}: {printable(str(error))}\n")
        if isinstance(error, ExpressionError):
            sys.stderr.write(marked(error.text, error.at))
        if error.hint and not self.settings.quiet:
            sys.stderr.write(f"\n{self._paint('hint', 36)}: {printable(error.hint)}\n")
        sys.stderr.flush()

    def _paint(self, word: str, colour: int) -> str:
        return f"\x1b[{colour}m{word}\x1b[0m" if self._coloured(sys.stderr) else word

    def answer(self, answer: Answer, found: str, nothing: str, *, wider: str, limit: int) -> None:
        """What a person wants told beside the results: how many there are, or why there are none.

        found: the sentence for results, without its time. nothing: that for an empty answer. wider: how to see what
        lies outside the scope.
        """
        if not answer.results:
            self.talk(printable(nothing))
            if answer.elsewhere:
                more = " or more" if answer.elsewhere >= MAX_LIMIT else ""
                self.hint(f"the whole database holds {answer.elsewhere:,}{more}: {wider}")
        elif (sys.stdout.isatty() and sys.stderr.isatty()) or self.settings.verbose:  # a pipe wants no footer
            cut = f", cut at --limit {limit}" if len(answer.results) == limit else ""
            self.talk(printable(f"{found}{cut}, {time_of(answer.seconds)}"))

    def comparison(self, answer: Answer, tagged: str) -> None:
        """Under --verbose: whether every image was compared; `tagged` says of which tags, after a blank."""
        if self.settings.verbose:
            path = "fast path: an index chose those that were compared exactly; --exact compares all"
            self.talk(path if answer.approximate else f"exact: every image in scope{tagged} was compared")

    def copies(self, found: Duplicates, exact: bool, where: str) -> None:
        """How many groups there are and what could go, and what was not compared."""
        images = [each for group in found.groups for each in group.images]
        if not images:
            kind = "exact duplicates" if exact else "duplicates"
            self.talk(printable(f"no {kind} among {counted(found.considered, 'image')} {where}"))
        elif (sys.stdout.isatty() and sys.stderr.isatty()) or self.settings.verbose:
            spare = [each for group in found.groups for each in group.images[1:]]
            size = size_of(sum(each.size for each in spare))
            parts = [
                counted(len(found.groups), "group"),
                counted(len(images), "image"),
                f"{len(spare):,} could go: {size}",
            ]
            self.talk(f"{', '.join(parts)}, {time_of(found.seconds)}")
        if found.lacking:
            lack = f"{counted(found.lacking, 'image')} had no fingerprint: only exact copies of them were found"
            self.talk(f"{self._paint('warning', 33)}: {lack}")
            self.hint("picto index --force with the same folders makes fingerprints")
        if found.plain and self.settings.verbose:
            self.talk(f"{counted(found.plain, 'image')} of nearly one colour: only exact copies of them were found")

    def summary(self, report: IndexReport, *, nothing_found: bool = False) -> None:
        """What an index run did, each skipped file with its reason, each missing PATH."""
        for path in report.missing:
            self.error(NotFoundError(f"no such file or folder: {path}"))
        if nothing_found:
            return
        if report.dry_run:
            asked = f", ask for {counted(report.asked, 'known URL')}" if report.asked else ""
            new = counted(report.indexed - report.asked, "new or changed file")
            self.talk(f"Would open {new}{asked}, {report.unchanged:,} unchanged")
        else:
            for line in (sentence(report), *hosts(report)):
                self.talk(line)
        if report.empty:
            self.talk(f"{self._paint('warning', 33)}: {counted(report.empty, 'row')} of the list without an image")
        if report.repeated:
            rows = f"{counted(report.repeated, 'row')} of the list for an image of an earlier one"
            self.talk(f"{self._paint('warning', 33)}: {rows}; the last row's fields were kept")
        if report.unmatched:
            rows = f"{counted(report.unmatched, 'row')} of the metadata file"
            self.talk(f"{self._paint('warning', 33)}: {rows} matched no file")
        if report.large:
            self.talk(f"{self._paint('warning', 33)}: {counted(report.large, 'file')} above 10 MB")
        if report.duplicates:
            rows = f"{counted(report.duplicates, 'row')} of the metadata file"
            self.talk(f"{self._paint('warning', 33)}: {rows} gave way to a later one of the same name")
        self.skipped(report.skipped)

    def retagged(self, report: RetagReport) -> None:
        """What a retag did."""
        images, spent = counted(report.images, "image"), time_of(report.seconds)
        self.talk(f"Retagged {images} in {spent}: {report.changed:,} changed, tags are now {report.rule}")

    def checked(self, found: Sequence[Damage], *, in_file: bool) -> None:
        """What a check came to. in_file: whether the library is a file."""
        if found:
            self.talk(f"{counted(len(found), 'kind')} of damage")
            self.hint(restored(in_file=in_file))
        else:
            self.talk(f"no damage: {'SQLite finds the file sound, and ' * in_file}all tables agree")

    def repaired(self, report: RepairReport) -> None:
        """What a repair found and did, and what is left to do."""
        for damage in report.found:
            example = f", such as {damage.example}" if damage.example else ""
            self.talk(printable(f"{damage.count:,} {damage.what}{example}"))
        if not report.found:
            self.talk("no damage: nothing to repair")
        elif report.dry_run:
            self.hint("picto repair mends what can be mended")
        else:
            self.talk(mended(report))
            if report.unfinished:
                files = counted(report.unfinished, "file")
                self.hint(f"picto index with the same folders embeds what is gone of {files} again")
            for damage in report.left:
                self.error(PictoError(f"not repaired: {damage.count:,} {damage.what}", damage.remedy))

    def calibrated(self, report: CalibrationReport) -> None:
        """What a calibration measured, and what to do with it."""
        name = printable(report.model.rpartition("/")[2])
        self.talk(f"Calibrated {name} on {counted(report.images, 'picture')} in {time_of(report.seconds)}")
        if report.told:
            self.talk(f"Known pictures of {report.told:,} labels; reliable, and given from now on: {report.able:,}")
        self.talk(f"Kept in {shown_path(report.file)}")
        self.skipped(report.skipped)
        self.hint("picto retag makes the tags of a library by it")

    def warning(self, message: str) -> None:
        """A line that a person should know of."""
        self.talk(f"{self._paint('warning', 33)}: {message}")

    def skipped(self, skipped: Sequence[Skipped], what: str = "skipped") -> None:
        """Files that gave no image, or could not be looked at, each with its reason."""
        if skipped:
            self.warning(f"{what} {len(skipped):,}")
            shown = skipped if self.settings.verbose else skipped[:20]
            names = [shown_path(each.path) for each in shown]
            width = min(60, max(len(name) for name in names))
            for name, each in zip(names, shown, strict=True):
                self.talk(f"  {pad(name, width)}  {each.reason}")
            if len(shown) < len(skipped):
                self.talk(f"  and {len(skipped) - len(shown):,} more: --verbose lists them")
