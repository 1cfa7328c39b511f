"""The commands that keep house: prune, rm, mv-root, merge, move-db, vacuum. None touches a picture on the disk."""

from __future__ import annotations

import sys
from typing import Annotated

import click
import typer

from pictocli.display import counted, printable, shown_path, size_of, time_of
from pictocli.errors import ValidationError
from pictocli.options import Form, Print0
from pictocli.reports import Forgotten, RemovalReport
from pictocli.terminal import Terminal

__all__ = ["merge", "move_db", "mv_root", "prune", "rm", "vacuum"]

DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done; do nothing.")]


def prune(
    ctx: typer.Context,
    dataset: Annotated[
        str | None, typer.Option("--dataset", metavar="NAME", help="The files of this dataset only.")
    ] = None,
    folder: Annotated[
        str | None, typer.Option("--folder", metavar="SUB", help="Those of this folder of the dataset and below.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what is gone; forget nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Also when more than a fifth of all files are gone.")] = False,
    remote: Annotated[
        bool, typer.Option("--remote", help="Ask the servers of buckets and web pages, too; 32 questions at a time.")
    ] = False,
    form: Form = None,
    print0: Print0 = False,
) -> int:
    """Forget files that are gone from the disk. No file is touched.

    A folder that was indexed and is not there now, or is empty, is passed over: its disk may not be mounted. So is what
    cannot be read. When more than a fifth of all files are gone nothing is done without --yes. What is forgotten is
    listed with --dry-run, --format or --print0.

    \b
    Examples:
      picto prune --dry-run
      picto prune --dataset holiday
      picto prune --dry-run -0 | xargs -0 ls -l
    """
    terminal: Terminal = ctx.obj
    shown = _form(terminal, form, print0, dry_run)
    report = terminal.library().prune(dataset=dataset, folder=folder, dry_run=dry_run, yes=yes, remote=remote)
    if shown:
        terminal.rows(report.files, Forgotten, shown)
    verb = "Would forget" if dry_run else "Forgot"
    terminal.talk(f"{verb} {_counts(report)}, {counted(report.known, 'file')} looked for, {time_of(report.seconds)}")
    terminal.skipped(report.passed, "passed over")
    return 0


def rm(
    ctx: typer.Context,
    images: Annotated[
        list[str] | None, typer.Argument(metavar="PATH|ID...", help="Files, pages, folders, or id:123.")
    ] = None,
    dataset: Annotated[
        str | None, typer.Option("--dataset", metavar="NAME", help="Everything of this dataset.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what would go; remove nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask about folders and datasets.")] = False,
    form: Form = None,
    print0: Print0 = False,
) -> int:
    """Remove images from the library. The files stay where they are.

    A folder goes with all below it. A file that still lies in an indexed folder comes back with the next picto index
    of that folder, unless --exclude leaves it out; a page of a PDF comes back when its file changes. When one argument
    is not in the library, nothing is removed.

    \b
    Examples:
      picto rm id:123 photos/blurred.jpg
      picto rm scans/report.pdf#page=3
      picto rm photos/old --dry-run
      picto rm --dataset holiday --yes
    """
    if not images and dataset is None:
        raise ValidationError("nothing to remove is named", "picto rm PATH, picto rm id:123 or --dataset NAME")
    terminal: Terminal = ctx.obj
    shown = _form(terminal, form, print0, dry_run)
    library = terminal.library()
    if not (yes or dry_run) and sys.stdin.isatty() and sys.stderr.isatty():
        report = library.remove(images or (), dataset=dataset, dry_run=True)
        if report.broad and report.images > 1:
            asked = f"Remove {_counts(report)} from the library? The files stay where they are"
            if not typer.confirm(asked, err=True):
                terminal.talk("Nothing was removed")
                return 1
            yes = True
    report = library.remove(images or (), dataset=dataset, dry_run=dry_run, yes=yes)
    if shown:
        terminal.rows(report.files, Forgotten, shown)
    terminal.talk(f"{'Would remove' if dry_run else 'Removed'} {_counts(report)}, {time_of(report.seconds)}")
    if report.back and not dry_run:
        one = report.back == 1
        still = f"{counted(report.back, 'file')} still {'lies' if one else 'lie'} on the disk"
        back = f"the next picto index of that folder brings {'it' if one else 'them'} back"
        terminal.hint(f"{still}: {back}; --exclude keeps {'it' if one else 'them'} out")
    return 0


def mv_root(
    ctx: typer.Context,
    old: Annotated[str, typer.Argument(metavar="OLD", help="The folder that was indexed; it may be gone.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="Where it lies now.")],
    force: Annotated[
        bool, typer.Option("--force", help="Also when NEW is not there, or holds none of the files.")
    ] = False,
    dry_run: DryRun = False,
) -> int:
    """Follow an indexed folder that was moved. Nothing is embedded again.

    Paths are kept relative to the folder that was indexed, so this changes one row. picto info --format json names
    these folders.

    \b
    Examples:
      picto mv-root /media/old-disk/photos /media/new-disk/photos
      picto mv-root ~/photos ~/pictures --dry-run
    """
    terminal: Terminal = ctx.obj
    report = terminal.library().move_root(old, new, force=force, dry_run=dry_run)
    verb = "Would move" if dry_run else "Moved"
    terminal.talk(
        f"{verb} {shown_path(report.old)} to {shown_path(report.new)}, {counted(report.files, 'file')};"
        f" {report.there:,} of {report.looked:,} looked for are there"
    )
    if report.there < report.looked:
        terminal.hint("picto index with the new folder adds what is new there, picto prune forgets what is not")
    return 0


def merge(
    ctx: typer.Context,
    other: Annotated[str, typer.Argument(metavar="OTHER.db", help="Another library, of the same model.")],
    dry_run: DryRun = False,
) -> int:
    """Take over all that another library holds. It is only read.

    Datasets are joined by name, folders by path. What this library has finished stays as it is; what it lacks comes
    with its embedding, tags, metadata and thumbnail. Nothing is embedded again. A merge that was stopped goes on when
    it is run again.

    \b
    Examples:
      picto merge laptop.db
      picto merge /media/disk/picto.db --db all.db --dry-run
    """
    terminal: Terminal = ctx.obj
    report = terminal.library().merge(other, dry_run=dry_run)
    verb = "Interrupted: merged" if report.interrupted else "Would merge" if dry_run else "Merged"
    parts = [f"{verb} {counted(report.images, 'image')} of {counted(report.files, 'file')}"]
    parts += [f"{report.kept:,} known already"] * bool(report.kept)
    parts += [f"{report.waiting:,} unfinished there"] * bool(report.waiting)
    parts += [f"{counted(report.roots, 'new folder')}"] * bool(report.roots)
    parts += [f"{counted(report.datasets, 'new dataset')}"] * bool(report.datasets)
    terminal.talk(", ".join([*parts, time_of(report.seconds)]))
    if report.rules is not None:
        terminal.warning(printable(f"its tags are {report.rules[1]}, those here {report.rules[0]}"))
    if report.labels:
        terminal.warning("it has another list of labels than this library")
    if report.rules is not None or report.labels:
        terminal.hint("picto retag makes all tags alike")
    return 130 if report.interrupted else 0


def move_db(
    ctx: typer.Context,
    source: Annotated[str, typer.Argument(metavar="FROM", help="The library: a file, postgresql://… or lance://….")],
    target: Annotated[str, typer.Argument(metavar="TO", help="Where it goes: a new one of any kind.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be copied; do nothing.")] = False,
    afresh: Annotated[
        bool, typer.Option("--afresh", help="Drop what TO holds of a copy that was not finished, and copy all.")
    ] = False,
) -> int:
    """Copy a library into another kind of store, or back.

    Every row is copied, with its id; nothing is embedded again. FROM is only read, and stays. At the end both are read
    again and compared: counts of every table, all that is said of images, and 1,000 embeddings and thumbnails. Until
    then no other command uses TO. A copy that was stopped goes on when it is run again, unless FROM has changed.

    \b
    Examples:
      picto move-db picto.db postgresql://ida@server/pictures
      picto move-db picto.db lance:///srv/pictures --dry-run
      picto move-db lance+s3://bucket/pictures back.db
    """
    terminal: Terminal = ctx.obj
    if ctx.find_root().get_parameter_source("db") is click.core.ParameterSource.COMMANDLINE:
        raise ValidationError("move-db names both libraries itself", "leave --db out: picto move-db FROM TO")
    report = terminal.library(source).copy_to(target, dry_run=dry_run, afresh=afresh)
    images, names = counted(report.images, "image"), f"{shown_path(report.source)} to {shown_path(report.target)}"
    if report.interrupted:
        terminal.talk(f"Interrupted: the copy of {names} is not finished; picto move-db goes on with it")
        return 130
    kept = f", {report.kept:,} of them there already" if report.kept else ""
    rows = f"{counted(report.rows, 'row')}{kept}"
    if report.dry_run:
        terminal.talk(f"Would copy {images} from {names}: {rows}")
        return 0
    rate = f"{report.images / max(report.seconds, 1e-3):,.0f} images/s"
    terminal.talk(f"Copied {images} from {names}: {rows}, {time_of(report.seconds)}, {rate}")
    terminal.talk(f"Compared {counted(report.compared, 'row')} with those copied: all are equal")
    terminal.hint(f"--db {shown_path(report.target)} or PICTO_DB names the copy; the old library is still there")
    return 0


def vacuum(ctx: typer.Context) -> int:
    """Make the database file smaller, after much was removed.

    The file is rebuilt in its place as one step: stopped at any moment, it is as it was. Meanwhile it needs its own
    size in free space, twice.

    \b
    Examples:
      picto vacuum
      picto vacuum --db old.db
    """
    terminal: Terminal = ctx.obj
    report = terminal.library().vacuum()
    won = f"{size_of(report.before)} → {size_of(report.after)}, {size_of(max(0, report.before - report.after))} won"
    terminal.talk(f"{won}, {time_of(report.seconds)}")
    return 0


def _form(terminal: Terminal, form: Form, print0: bool, dry_run: bool) -> str | None:
    """The format of the list of files: none unless it is a dry run, or a format is asked for."""
    return terminal.form(form, print0) if dry_run or form is not None or print0 else None


def _counts(report: RemovalReport) -> str:
    """12 images of 10 files."""
    return f"{counted(report.images, 'image')} of {counted(len(report.files), 'file')}"
