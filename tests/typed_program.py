"""A program that uses all of the public API, for a type checker: `test_typing.py` has mypy look at it; it is not run.

`assert_type` says what each call gives. The last lines are wrong on purpose: each names the kind of error it must be.
"""

import io
import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, assert_type

import pictocli
from pictocli.browsed import Browsed
from pictocli.damage import Damage, RepairReport
from pictocli.figures import Bin, Histogram, MapReport
from pictocli.filters import Filters
from pictocli.grouped import Copy, Duplicates, Group
from pictocli.protocols import Progress as Tells
from pictocli.records import (
    Answer,
    Embedded,
    Exported,
    Image,
    ImageDetail,
    IndexReport,
    Label,
    LibraryInfo,
    Scope,
    SimilarImage,
    Skipped,
    TaggedImage,
)  # fmt: skip
from pictocli.reports import (
    CalibrationReport,
    Change,
    CompactReport,
    CopyReport,
    ExportReport,
    Forgotten,
    ImportReport,
    MergeReport,
    MoveReport,
    PageReport,
    RemovalReport,
    RetagReport,
    ThumbnailReport,
    VacuumReport,
)  # fmt: skip
from pictocli.settings import IndexSettings, SearchSettings


class Progress:
    """What `pictocli.open` tells what goes on."""

    def found(self, files: int) -> None: ...
    def done(self, files: int, skipped: int) -> None: ...
    def doing(self, what: str) -> None: ...
    def say(self, message: str) -> None: ...
    def close(self) -> None: ...


def fill(library: pictocli.Library, folder: Path) -> None:
    """index, watch, reembed, retag, calibrate."""
    report = assert_type(library.index([folder, "s3://bucket/photos"], model="mini", workers=0), IndexReport)
    assert_type(report.skipped, list[Skipped])
    assert_type(report.skipped[0].reason, str)
    settings: IndexSettings = {"dataset": "holiday", "include": ["*.jpg"], "metadata": folder / "x.csv", "force": True}
    library.index([folder], listing="-", nul=True, anonymous=True, timeout=5, **settings)
    library.index(folder / "beach.jpg", **settings)
    library.index(listing=folder / "x.csv", image_column="image.url", passed=["meta.brand"], allow_local=True)
    stop = threading.Event()
    for changes in library.watch([folder], stop=stop, poll=2, caught_up=print, pdf_password=["a", "b"]):
        assert_type(changes, list[Change])
        assert_type(changes[0].image_id, int | None)
    assert_type(library.reembed("siglip2-base", device="cpu", batch_size=8, workers=2), IndexReport)
    assert_type(library.retag(taxonomy=folder / "labels.toml"), RetagReport)
    assert_type(library.calibrate(folder, labels=folder / "labels.csv", workers=0), CalibrationReport)


def ask(library: pictocli.Library, picture: bytes) -> None:
    """All questions, with what they take and give."""
    similar = assert_type(library.by_similarity("a.pdf#page=3", threshold=0.5, limit=10, folder_path="/"),
                          list[SimilarImage])  # fmt: skip
    assert_type(similar[0].similarity, float)
    assert_type(similar[0].closer_than, float | None)
    assert_type(similar[0].tags, Mapping[str, Sequence[str]])
    assert_type(similar[0].metadata, Mapping[str, Any] | None)
    tagged = assert_type(library.by_tag(["car"], scenes=["outdoor"], dataset_name="holiday"), list[TaggedImage])
    assert_type(tagged[0].matched, Mapping[str, float])
    settings: SearchSettings = {"images": [picture, (0.5, Path("a.jpg"))], "without": ["snow"], "camera": "canon"}
    assert_type(library.by_text("a dog", limit=3, **settings), list[SimilarImage])
    filters: Filters = {"where": ["price<50"], "after": "2024-05", "before": date(2025, 1, 1), "near": (48.2, 16.4, 5)}
    answer = assert_type(library.similar(picture, objects=["car"], everywhere=True, exact=True, **filters), Answer)
    assert_type(answer.results, Sequence[Image])
    assert_type(answer.scope, Scope)
    assert_type(answer.nearest, float | None)
    assert_type(library.search(["a dog", (2, "a cat")], images=[7], min_probability=0.1, **filters), Answer)
    assert_type(library.tagged(attributes=["blurry"], match="all", sort="score", folder="crete", **filters), Answer)
    found = assert_type(library.duplicates(exact=True, keep="largest", pages=True, **filters), Duplicates)
    assert_type(found.groups, Sequence[Group])
    assert_type(found.groups[0].images, Sequence[Copy])


def look(library: pictocli.Library, picture: Path) -> None:
    """show, thumbnail, info, labels, embed."""
    detail = assert_type(library.show(7), ImageDetail)
    assert_type(detail.measures, Mapping[str, float])
    assert_type(library.thumbnail(picture, width=320, pdf_password=None), bytes)
    info = assert_type(library.info(check_recall=True), LibraryInfo)
    assert_type(info.tags, Sequence[tuple[str, str, int]])
    assert_type(library.labels("objects"), list[Label])
    embedded = assert_type(library.embed([picture, b""], model="mini", device="cpu"), Iterator[Embedded])
    assert_type(next(embedded).embedding, Sequence[float])
    library.embed(b"")
    assert_type(library.path, str)
    assert_type(library.progress, Tells)


def exchange(library: pictocli.Library, target: Path) -> None:
    """export, export_to, import_embeddings, export_thumbnails."""
    rows = assert_type(library.export(embeddings=True, dataset="holiday", where="price<50"), Iterator[Exported])
    assert_type(next(rows).embedding, Sequence[float] | None)
    assert_type(library.export_to(io.BytesIO(), "csv", spreadsheet_safe=True, folder="a", after="1y"), ExportReport)
    report = assert_type(library.import_embeddings(target, model="mini", root=target, thumbnails=True), ImportReport)
    assert_type(report.index, IndexReport)
    assert_type(library.export_thumbnails("s3://bucket/x", cdn="https://cdn", format="webp", width=320),
                ThumbnailReport)  # fmt: skip


def draw(library: pictocli.Library, target: Path) -> None:
    """page, page_to, map, histograms, plot, browse, facets, pages, mcp."""
    answer = library.by_tag(["car"])
    assert_type(answer, list[TaggedImage])
    found = library.search("a dog")
    assert_type(library.page(found, title="Dogs", references=["dog.jpg"], limit=50), str)
    assert_type(library.page_to(None, found, about=", all of them"), PageReport)
    assert_type(library.page_to(target, library.duplicates()).lacking, list[Skipped])
    assert_type(library.map(target, layout="pca", seed=1, size=800, camera="canon"), MapReport)
    histograms = assert_type(library.histograms(), list[Histogram])
    assert_type(histograms[0].bins, Sequence[Bin])
    assert_type(library.plot(target), str)
    page = assert_type(library.browse(scenes=["outdoor"], sort="oldest", start="x", after="1y"), Browsed)
    assert_type(page.next, str | None)
    assert_type(library.facets(among=[1, 2], seconds=0.2).total, int)
    assert_type(library.pages(3, beside=1).results, Sequence[Image])
    library.mcp(datasets=["a"], paths=False)


def keep(library: pictocli.Library, other: Path) -> None:
    """check, repair, prune, remove, move_root, merge, copy_to, vacuum, compact, close."""
    assert_type(library.check(), list[Damage])
    assert_type(library.repair(dry_run=True), RepairReport)
    gone = assert_type(library.prune(dataset="a", folder="b", dry_run=True, yes=True, remote=True), RemovalReport)
    assert_type(gone.files, Sequence[Forgotten])
    assert_type(gone.images, int)
    assert_type(library.remove([1, "a.jpg", other], yes=True), RemovalReport)
    library.remove("a.jpg")
    assert_type(library.move_root("old", other, force=True), MoveReport)
    assert_type(library.merge(other), MergeReport)
    assert_type(library.copy_to(other, dry_run=True, afresh=True), CopyReport)
    assert_type(library.vacuum(), VacuumReport)
    assert_type(library.compact(dry_run=True, older_than=30), CompactReport)
    library.close()


def main() -> int:
    """How a program begins, and what it catches."""
    try:
        with pictocli.open(Path("photos.db"), progress=Progress()) as library:
            assert_type(library, pictocli.Library)
            fill(library, Path("photos"))
    except (pictocli.NotFoundError, pictocli.DamagedError, pictocli.ModelMismatchError) as error:
        assert_type(error.hint, str | None)
        return assert_type(error.exit_code, int)
    return 0


def wrong(library: pictocli.Library) -> None:
    """What a type checker finds before the program is run."""
    library.index("photos", batchsize=3)  # error: call-arg
    library.index(["photos"], workers="2")  # error: arg-type
    library.watch(["photos"], listing="x")  # error: call-arg
    library.by_text("a dog", threshold=0.5)  # error: call-arg
    library.search("a dog", camera=3)  # error: arg-type
    library.calibrate(["photos"], model=None)  # error: arg-type
    library.export_to("x.csv", dataset=3)  # error: arg-type
    library.export_thumbnails("thumbs", width="3")  # error: arg-type
    library.import_embeddings("x.parquet", modell="mini")  # error: call-arg
    library.by_similarity(1.5)  # error: arg-type
    library.show(1).width = 3  # error: misc
    pictocli.open(3)  # error: arg-type
