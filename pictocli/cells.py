"""Parts of records as people read them: cells and lines of tables, and sentences of summaries."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from pictocli.damage import RepairReport
from pictocli.display import counted, fraction, percent, printable, shown_path, size_of, time_of
from pictocli.grouped import Copy
from pictocli.records import Image, IndexReport, PairQuantiles, Recall, Scope

__all__ = [
    "hosts", "how", "inside", "local", "mended", "pairs", "recall", "restored", "scored", "sentence", "short", "top",
]  # fmt: skip


def how(copy: Copy) -> str:
    """kept, exact, or how similar: what an image is in its group."""
    if copy.kind == "near":
        return f"{copy.similarity:.3f}"
    return "kept" if copy.kept else copy.kind


def top(image: Image) -> str:
    """The strongest objects and scenes, three in all."""
    return printable(" ".join([*image.tags["objects"][:2], *image.tags["scenes"][:2]][:3]))


def inside(scope: Scope) -> str:
    """A scope in words: in holiday, folder crete."""
    folder = scope.folder if scope.folder != "/" else None
    if folder and scope.dataset:
        return f"in {scope.dataset}, folder {folder}"
    return f"below {folder}" if folder else f"in {scope.dataset or 'the whole database'}"


def scored(scores: Mapping[str, float]) -> str:
    return "  ".join(f"{printable(name)} {fraction(score)}" for name, score in scores.items())


def pairs(pairs: PairQuantiles) -> list[str]:
    """median 0.12, 90% 0.31, 99% 0.52, and of how many."""
    names = {0.5: "median", 0.9: "90%", 0.99: "99%", 0.999: "99.9%", 0.9999: "99.99%"}
    told = [f"{name} {pairs.quantiles[share]:.2f}" for share, name in names.items() if share in pairs.quantiles]
    return [*told, f"of {pairs.n:,} random pairs"]


def recall(recall: Recall) -> list[str]:
    """99.98% of the nearest 50, and of how many comparisons."""
    if recall.exact:
        return ["exact", "every image is compared"]
    nearest, similar = percent((recall.nearest, recall.similar))
    told = [f"{nearest} of the nearest 50", f"{similar} of the 500 at 0.60 or above"]
    if recall.compared < recall.images:  # all of them: found by an engine's index
        told.append(f"{recall.compared:,} of {recall.images:,} compared")
    return told


def local(moment: str) -> str:
    """An ISO 8601 moment as this machine's clock showed it: 2019-07-14 18:22."""
    return datetime.fromisoformat(moment).astimezone().strftime("%Y-%m-%d %H:%M")


def short(model: str | None) -> str:
    return (model or "").rpartition("/")[2]


def sentence(report: IndexReport) -> str:
    """Indexed 24 images in 2.1 s (11.4/s), 20 of them as before, 3 unchanged, 1 moved."""
    done = report.indexed + report.reused
    rate = done / report.seconds if report.seconds else 0
    verb = "Interrupted: indexed" if report.interrupted else "Indexed"
    parts = [f"{verb} {counted(done, 'image')} in {time_of(report.seconds)}"]
    if done:
        parts[0] += f" ({rate:.1f}/s)"
    if report.reused:
        parts.append(f"{report.reused:,} of them as before")
    counts = {name: getattr(report, name) for name in ("unchanged", "moved", "copied", "updated", "described")}
    parts += [f"{count:,} {name}" for name, count in counts.items() if count]
    if report.downloaded:
        parts.append(f"{counted(report.downloaded, 'download')} of {size_of(report.downloaded_bytes)}")
    return ", ".join(parts)


def hosts(report: IndexReport) -> list[str]:
    """host 10.0.0.2: 5,012 images, 41/s; decoded, where a node embedded none."""
    lines = []
    for each in report.hosts:
        done, what = (each.embedded, "image") if each.embedded else (each.decoded, "page")
        each_second = done / each.seconds if each.seconds else 0
        rate = f", {each_second:,.{int(each_second < 10)}f}/s" if each_second else ""
        only = "" if each.embedded else " decoded"
        lines.append(f"host {each.host}: {counted(done, what)}{only}{rate}")
    if report.redone:
        lines.append(f"{counted(report.redone, 'page')} done once more, as a node went away with them")
    return lines


def mended(report: RepairReport) -> str:
    """Repaired in 31 ms: removed 2 rows of image; the damaged file is kept as …"""
    gone = ", ".join(f"{counted(count, 'row')} of {table}" for table, count in report.removed.items())
    kept = f"; the damaged file is kept as {shown_path(report.kept)}" if report.kept else ""
    return f"Repaired in {time_of(report.seconds)}" + (f": removed {gone}" if gone else ": no row removed") + kept


def restored(*, in_file: bool) -> str:
    """How damage may be undone. in_file: whether the library is a file."""
    mend = "picto repair mends what can be mended; a copy of the file first does no harm"
    return mend if in_file else "a backup of it has what is lost"
