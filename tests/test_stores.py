"""One contract for all stores: whatever is asked of a library, or done to it, is the same wherever it is kept.

The same pictures are indexed into each store; each question, and each change with all that is kept after it, is
compared with what SQLite gives. `PICTO_CONTRACT=all` also has what takes long.
"""

# ruff: noqa: ARG005 - every question is given the library and the world

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from contract import STORED, Keeper, World, differences, filled, make_pictures, metas, one_home, plain, tables, written
from pictures import scene
from program import ODD

import pictocli
from pictocli import databases
from pictocli.errors import PictoError
from pictocli.protocols import NoProgress
from pictocli.queries import Queries
from pictocli.restricted import Restricted
from pictocli.visible import Bounds

Library = pictocli.Library
Read = Callable[[Library, World], Any]
Change = Callable[[Library, World, Path], Any]

pytestmark = [pytest.mark.parametrize("store", STORED, scope="module")]
guard = pytest.fixture(scope="module", autouse=True)(one_home)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, model: str) -> World:
    return make_pictures(tmp_path_factory.mktemp("contract"), model)


@pytest.fixture(scope="module")
def sqlite(tmp_path_factory: pytest.TempPathFactory, world: World, guard: Path) -> Keeper:
    """What all stores are compared with."""
    return _filled(Keeper("sqlite", tmp_path_factory.mktemp("reference")), world)


@pytest.fixture(scope="module")
def keeper(store: str, tmp_path_factory: pytest.TempPathFactory, world: World, guard: Path) -> Keeper:
    """The store that is looked at, with its own library of the world."""
    return _filled(Keeper(store, tmp_path_factory.mktemp(store)), world)


def _filled(keeper: Keeper, world: World) -> Keeper:
    keeper.filled = keeper.new()
    filled(keeper.filled, world)
    return keeper


def asked(name: str, ask: Callable[[Library], Any], names: dict[str, str]) -> Any:
    """A plain answer, or the error that came instead of it."""
    names = {name: "LIBRARY", databases.shown(name): "LIBRARY"} | names
    with pictocli.open(name) as library:
        try:
            return plain(ask(library), names)
        except PictoError as exc:
            return plain([type(exc).__name__, str(exc), exc.hint], names)


def same(wanted: Any, found: Any) -> None:
    told = differences(wanted, found)
    assert not told, "\n".join([f"{len(told)} differences", *told[:20]])


# -- questions ------------------------------------------------------------------------------------------------------


def ids(answer: Any) -> list[int]:
    return [image.image_id for image in answer.results]


def every(library: Library) -> list[int]:
    return [row.image_id for row in library.export()]


def pages(library: Library, **asked: Any) -> list[Any]:
    """All pages, forth by their cursors and back again."""
    found = [library.browse(**asked)]
    while found[-1].next is not None:
        found.append(library.browse(**asked, start=found[-1].next))
    back = [found[-1]]
    while back[-1].previous is not None:
        back.append(library.browse(**asked, start=back[-1].previous))
    return found + back


def restricted(library: Library, ask: Callable[[Restricted], Any], *bounds: Any, **options: bool) -> Any:
    with Restricted(library.path, NoProgress(), Bounds(*bounds), **options) as some:
        some.check()
        return ask(some)


def drawn(draw: Callable[[str], Any], target: Path) -> Any:
    """What drawing a file gives, and the file."""
    target.unlink(missing_ok=True)
    report = draw(str(target))
    return [report, target.read_bytes()]


WHERE = [
    "price<50", "price=50", "price>=49.9", "price!=50", "price=cheap", "price=null", "price!=null", "brand.name=acme",
    'brand.name="Acme"', "brand", "n=10", "n>2", f"n={2**53 + 1}", "sold=true", "sold", "deep.er.still=x",
    '"unit price"=3', "title~nothing", 'title="ÄÖÜ äöü ß"', "big>1", "tiny>0", "brand.town=Größenwahn*", "none=1",
    "price<", "prise<3", "half", "nul", 'empty=""', "list",
    "list.0=1", "list.-1", "id>=1234567890123456789", 'id="1234567890123456788"', f"id in ({2**63 - 1}, -{2**63})",
    f"id>={2**63}", f"id<{2**63 - 1}",
]  # fmt: skip
FILTERS: list[dict[str, Any]] = [
    {"after": "2020-10"}, {"before": "2020-10-01"}, {"after": "2019-07-14", "before": "2019-07-15"},
    {"after": "2021-01-01", "before": "2021-01-01T00:00:01"}, {"camera": "canon"}, {"camera": "müller"},
    {"camera": "5 ß"}, {"camera": "%"}, {"near": (48.2, 16.37, 5)}, {"near": "48.2,16.37,0.1"},
    {"near": (-48.2, 16.37, 20000)}, {"camera": "canon", "near": (48.2, 16.37, 50), "after": "2019"},
    {"where": ["price<50", "n"]}, {"after": "2021", "before": "2020"},
]  # fmt: skip
SCOPES: list[dict[str, Any]] = [
    {"dataset": "photos"}, {"dataset": "photos", "folder": "scans"}, {"folder": "b"}, {"dataset": "odd 😀"},
    {"dataset": "odd 😀", "folder": os.fsdecode(b"f\xfcr alle")}, {"dataset": "nothing"}, {"folder": "nothing"},
    {"dataset": "photos", "folder": "/"}, {"dataset": "twins", "folder": "scans"},
]  # fmt: skip
LABELLED: list[dict[str, Any]] = [
    {"objects": ["car"]}, {"objects": ["car", "dog"]}, {"objects": ["car", "dog"], "match": "all"},
    {"objects": ["cars"], "scenes": ["outdoor", "beach"]}, {"attributes": ["dark"]}, {"objects": ["truk"]},
    {"objects": ["giraffe"]}, {"objects": ["truck", "bus"], "scenes": ["city"]}, {"objects": []},
    {"attributes": ["grayscale"], "objects": ["automobile"]}, {"objects": ["car"], "dataset": "many"},
]  # fmt: skip
FAR: Any = {"threshold": 0, "limit": 500, "everywhere": True}

READS: dict[str, Read] = {
    "by_similarity": lambda lib, w: [lib.by_similarity(i, t, 500, "/") for i in (1, 7, 25) for t in (0, 0.3, 0.6, 0.9)],
    "by_similarity-own-folder": lambda lib, w: [lib.by_similarity(i, 0.0) for i in every(lib)[::5]],
    "by_similarity-limit": lambda lib, w: [lib.by_similarity(3, 0.0, limit, "/") for limit in (1, 2, 10)],
    "by_similarity-path": lambda lib, w: [
        lib.by_similarity(w.photos / "scans/one.tif", 0.0), lib.by_similarity(f"{w.photos}/scans/report.pdf#page=2"),
        lib.by_similarity(w.photos / "scans/report.pdf", 0.0, 50, "/"),
    ],
    "by_similarity-bytes": lambda lib, w: lib.by_similarity((w.photos / "old.bmp").read_bytes(), 0.5),
    "by_similarity-values": lambda lib, w: lib.by_similarity(1, threshold=1.2),
    "by_similarity-nobody": lambda lib, w: lib.by_similarity(100_000),
    "by_similarity-no-page": lambda lib, w: lib.by_similarity(f"{w.photos}/scans/report.pdf#page=4"),
    "similar-new-picture": lambda lib, w: lib.similar(w.base / "new.png", threshold=0.1, device="cpu"),
    "similar-everywhere": lambda lib, w: [lib.similar(i, **FAR) for i in every(lib)[::7]],
    "similar-exact": lambda lib, w: [lib.similar(i, **FAR, exact=True) for i in every(lib)[::7]],
    "similar-nothing": lambda lib, w: [lib.similar(i, threshold=1, folder="/") for i in (1, 5, 30)],
    "search": lambda lib, w: [lib.search(words, limit=500) for words in ("a dog on the beach", "A red CAR!")],
    "search-limit": lambda lib, w: [lib.search("a red car", limit=limit, exact=True) for limit in (1, 5)],
    "search-probability": lambda lib, w: [lib.search("a red car", min_probability=p) for p in (1e-9, 1e-6, 0.5)],
    "search-no-words": lambda lib, w: lib.search("?!"),
    "search-pictures": lambda lib, w: lib.search(images=[1, (0.5, 7)], limit=500),
    "search-several": lambda lib, w: [
        lib.search(["a red car", (2, "a dog on the beach")], limit=500),
        lib.search("a red car", without=["a dog on the beach"], objects=["car"]),
        lib.search("a red car", images=[w.photos / "old.bmp"], without=[(0.3, "a dog on the beach")], folder="scans"),
    ],
    "tagged-sort": lambda lib, w: [
        lib.tagged(["car", "dog", "cat"], sort=s, limit=n) for s in ("id", "score") for n in (2, 9)
    ],
    "tagged-measured": lambda lib, w: [
        lib.tagged(attributes=[each], limit=500) for each in ("blurry", "grayscale", "low-resolution", "green")
    ],
    "by_tag": lambda lib, w: [lib.by_tag(["car"], ["outdoor"]), lib.by_tag(scenes=["city"], dataset_name="twins")],
    "by_tag-nothing": lambda lib, w: lib.by_tag(),
    "show": lambda lib, w: [lib.show(i) for i in every(lib)],
    "show-path": lambda lib, w: [lib.show(row.path) for row in lib.export()],
    "show-odd-bytes": lambda lib, w: [lib.show(os.fsencode(w.base) + "/odd 😀/".encode() + n) for n in ODD],
    "show-missing": lambda lib, w: lib.show("missing.jpg"),
    "show-skipped": lambda lib, w: lib.show(w.base / "camera/broken.jpg"),
    "info": lambda lib, w: lib.info(),
    "labels": lambda lib, w: [lib.labels(), lib.labels("scenes")],
    "duplicates": lambda lib, w: [lib.duplicates(keep=k) for k in (None, "largest", "oldest", "newest", "first")],
    "duplicates-exact": lambda lib, w: [
        lib.duplicates(exact=True), lib.duplicates(exact=True, pages=True, keep="first"),
    ],
    "duplicates-scoped": lambda lib, w: [
        lib.duplicates(folder="b"), lib.duplicates(dataset="twins", threshold=0.99), lib.duplicates(objects=["car"]),
        lib.duplicates(where="price<50", pages=True), lib.duplicates(dataset="photos"),
    ],
    "export": lambda lib, w: list(lib.export()),
    "export-embeddings": lambda lib, w: list(lib.export(embeddings=True)),
    "export-jsonl": lambda lib, w: written(lib, "jsonl", embeddings=True),
    "export-csv": lambda lib, w: written(lib, "csv"),
    "export-npy": lambda lib, w: lib.export_to(w.base / "x.npy", dataset="photos").images,
    "histograms": lambda lib, w: lib.histograms(),
    "plot": lambda lib, w: drawn(lib.plot, w.base / "plot.svg"),
    "map": lambda lib, w: drawn(lambda to: lib.map(to, layout="pca"), w.base / "map.svg"),
    "map-page": lambda lib, w: drawn(lambda to: lib.map(to, layout="pca", where="price"), w.base / "map.html"),
    "page": lambda lib, w: lib.page(lib.tagged(["car", "dog"]), title="Some", references=[1]),
    "browse": lambda lib, w: [pages(lib, sort=s, limit=n) for s in ("newest", "oldest", "id") for n in (9, 1000)],
    "browse-around": lambda lib, w: [lib.browse(around=i, limit=5) for i in (1, 30, 100_000)],
    "facets": lambda lib, w: [
        lib.facets(), lib.facets(among=every(lib)[::3]), lib.facets(facets=["months", "objects"]),
    ],
    "pages": lambda lib, w: [lib.pages(f"{w.photos}/scans/{n}") for n in ("report.pdf#page=2", "three.tif", "one.tif")],
    "thumbnails": lambda lib, w: [lib.thumbnail(i, width=width) for i in every(lib) for width in (64, 640)],
    "embed": lambda lib, w: [each.embedding for each in lib.embed([w.photos / "old.bmp"], device="cpu")],
    "check": lambda lib, w: lib.check(),
    "restricted-to-a-dataset": lambda lib, w: restricted(
        lib, lambda some: [some.similar(1, **FAR), some.search("a red car", limit=500), some.tagged(["car"]),
                           some.info(), some.labels("scenes"), some.fields(), list(some.show(1).copies)], ["photos"]),
    "restricted-to-a-folder": lambda lib, w: restricted(
        lib, lambda some: [some.similar(i, **FAR) for i in ids(some.tagged(after="1999", limit=500))], [],
        ["b", "scans"]),
    "restricted-by-a-condition": lambda lib, w: restricted(
        lib, lambda some: [some.tagged(after="1999", limit=500), some.search("a red car"), some.fields(),
                           some.info()], ["photos", "odd 😀"], [], ["price<50"]),
    "restricted-and-hidden": lambda lib, w: restricted(lib, lambda some: some.show(30), ["photos"]),
    "restricted-to-nothing": lambda lib, w: restricted(lib, lambda some: some.info(), ["nothing"]),
    "restricted-names": lambda lib, w: restricted(
        lib, lambda some: [some.found(1), some.found(str(w.photos / "old.bmp")), some.found("id:99999")], ["photos"]),
    "metas": lambda lib, w: metas(lib.path),
    "tables": lambda lib, w: tables(lib.path, {lib.path: "LIBRARY"}),
}  # fmt: skip
"""What is asked of a library that nobody changes, and these do not: a change after them has its copy."""

for _number, _given in enumerate(FILTERS + [{"where": each} for each in WHERE]):
    READS |= {
        f"tagged-by-filter-{_number}": lambda lib, w, given=_given: lib.tagged(**given, limit=500),
        f"browse-by-filter-{_number}": lambda lib, w, given=_given: [lib.browse(**given), lib.facets(**given)],
        f"similar-by-filter-{_number}": lambda lib, w, given=_given: lib.similar(1, **FAR, **given),
    }  # type: ignore[misc]
for _number, _given in enumerate(SCOPES):
    READS |= {
        f"in-scope-{_number}": lambda lib, w, given=_given: [
            lib.search("a red car", **given), lib.browse(**given), lib.facets(**given), list(lib.export(**given)),
            lib.tagged(["car"], **given),
        ],
        f"similar-in-scope-{_number}": lambda lib, w, given=_given: lib.similar(2, threshold=0.1, **given),
    }  # type: ignore[misc] # fmt: skip
for _number, _given in enumerate(LABELLED):
    READS |= {
        f"tagged-{_number}": lambda lib, w, given=_given: lib.tagged(**given),
        f"similar-tagged-{_number}": lambda lib, w, given=_given: lib.similar(5, threshold=0, folder="/", **given),
        f"search-tagged-{_number}": lambda lib, w, given=_given: lib.search("a red car", **given),
        f"browse-tagged-{_number}": lambda lib, w, given=_given: [lib.browse(**given), lib.facets(**given)],
    }  # type: ignore[misc]


@pytest.fixture(scope="module")
def wanted(sqlite: Keeper, world: World) -> Callable[[str], Any]:
    """What SQLite answers."""
    scene(1).save(world.base / "new.png")
    return functools.cache(lambda case: asked(sqlite.filled, lambda library: READS[case](library, world), {}))


@pytest.mark.parametrize("case", READS)
def test_a_question(case: str, keeper: Keeper, wanted: Callable[[str], Any], world: World) -> None:
    same(wanted(case), asked(keeper.filled, lambda library: READS[case](library, world), {}))


# -- changes --------------------------------------------------------------------------------------------------------


def index(library: Library, world: World, *paths: Path, **options: Any) -> Any:
    return library.index(paths, **({"workers": 0, "device": "cpu"} | options))


def album(place: Path, world: World) -> Path:
    """Three pictures in four files, one of two pages, in a folder that a test may change."""
    (place / "album/sub").mkdir(parents=True)
    for seed, name in enumerate(("a.png", "sub/b.png")):
        scene(900 + seed, 40, 30).save(place / "album" / name)
    shutil.copy(place / "album/a.png", place / "album/sub/copy.png")
    shutil.copy(world.base / "papers/two.pdf", place / "album/d.pdf")
    for path in place.rglob("*.*"):
        os.utime(path, (1_650_000_000, 1_650_000_000))
    return place / "album"


def indexed_new(library: Library, world: World, place: Path) -> Any:
    """New files, again, one that is written anew, one that moved, one that is gone, one that has more pages."""
    folder, told = album(place, world), []
    told += [index(library, world, folder, dry_run=True), index(library, world, folder, dataset="new 😀")]
    told += [index(library, world, folder), index(library, world, folder, thumbnails=True)]
    scene(910, 50, 30).save(folder / "a.png")
    (folder / "sub/b.png").rename(folder / "moved.png")
    shutil.copy(world.base / "papers/three.pdf", folder / "d.pdf")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0" + bytes(100))
    os.utime(folder / "broken.jpg", (1_650_000_000, 1_650_000_000))
    told.append(index(library, world, folder))
    (folder / "d.pdf").write_bytes(b"%PDF-1.4 and no more")
    told += [index(library, world, folder, force=True), index(library, world, folder, pdf_pages="2-")]
    for path in place.rglob("*.*"):
        os.utime(path, (1_650_000_000, 1_650_000_000))
    return [*told, index(library, world, folder), library.info()]


def described(library: Library, world: World, place: Path) -> Any:
    """Metadata that changes, half goes, and is asked for."""
    (place / "m.csv").write_text("filename,price,owner\nold.bmp,12,ana\ncat.png,,bo\nnone.png,1,x\nold.bmp,13,eve\n")
    told = [index(library, world, world.photos, metadata=place / "m.csv", index_field=["owner", "brand.name"])]
    told += [library.tagged(where=each) for each in ("price=13", "owner=bo", "owner", "brand.name=acme")]
    (place / "m.jsonl").write_text(
        '{"filename": "old.bmp", "price": null}\n{"filename": "old.bmp", "owner": {"a": 1}}\n'
    )
    told += [index(library, world, world.photos, metadata=place / "m.jsonl")]
    return told + [library.tagged(where=each) for each in ("price<100", "owner", "owner.a=1")] + [library.show(1)]


def pruned(library: Library, world: World, place: Path) -> Any:
    """Folders are moved, files go: one, then most of them."""
    shutil.copytree(world.base / "odd 😀", place / "odd")
    told: list[Any] = [library.move_root(world.base / "odd 😀", place / "odd", dry_run=True)]
    told += [library.move_root(world.base / "odd 😀", place / "odd"), library.prune(dry_run=True)]
    (place / "odd" / os.fsdecode(ODD[3])).unlink()
    told += [library.prune(dataset="odd 😀", dry_run=True), library.prune(dataset="odd 😀"), library.prune()]
    for path in list((place / "odd").glob("*.png")):
        path.unlink()
    told += [failed(lambda: library.prune(dataset="odd 😀")), library.prune(dataset="odd 😀", yes=True)]
    shutil.rmtree(place / "odd")
    return [*told, library.prune()]


def removed(library: Library, world: World, place: Path) -> Any:
    report = f"{world.photos}/scans/report.pdf"
    told: list[Any] = [library.remove([1, f"{report}#page=2", world.base / "odd 😀" / os.fsdecode(ODD[3])])]
    told += [
        library.remove(world.photos / "beach", dry_run=True),
        failed(lambda: library.remove(world.photos / "beach")),
    ]
    told += [library.remove(world.photos / "beach", yes=True), library.remove(dataset="many", dry_run=True)]
    told += [failed(lambda: library.remove([2, 100_000])), library.remove(dataset="many", yes=True)]
    return [*told, library.remove([report]), library.info(), index(library, world, world.base / "many")]


def failed(change: Callable[[], Any]) -> Any:
    with pytest.raises(PictoError) as raised:
        change()
    return [type(raised.value).__name__, str(raised.value), raised.value.hint]


def merged(kind: str) -> Change:
    """Another library, of a file or of the same store, is taken over: it has more, less, and the same."""

    def change(library: Library, world: World, place: Path) -> Any:
        made = Keeper("sqlite" if kind == "sqlite" else _store(library.path), place)
        other = made.new()
        with pictocli.open(other) as more:
            index(more, world, album(place, world), dataset="photos", model=world.model, thumbnails=True)
            index(more, world, world.base / "odd 😀", world.base / "twins", model=world.model)
        library.remove(dataset="odd 😀", yes=True)
        told = [replace(library.merge(other, dry_run=dry), other="") for dry in (True, False, False)]
        told.append(failed(lambda: library.merge(library.path)))
        made.drop(other)
        return told

    return change


def _store(name: str) -> str:
    return "sqlite" if databases.is_file(name) else "postgresql" if name.startswith("postgresql") else "lance"


def imported(library: Library, world: World, place: Path) -> Any:
    """Vectors come in for files that are not known, and for some that are."""
    folder = album(place, world)
    told: list[Any] = [
        index(library, world, folder),
        library.export_to(place / "x.parquet", embeddings=True, dataset="album"),
    ]
    told += [library.remove(dataset="album", yes=True)]
    told += [library.import_embeddings(place / "x.parquet", workers=0, device="cpu", thumbnails=True)]
    told += [library.import_embeddings(place / "x.parquet", workers=0, device="cpu", force=True)]
    return told


def retagged(library: Library, world: World, place: Path) -> Any:
    own = 'schema = 1\nversion = "mine"\nnull_prompts = ["a photo"]\n[objects]\ntemplates = ["{}"]\nlabels = [\n'
    own += (
        '  { id = "cat", phrase = "a cat", aliases = ["kitty", "Mieze ß"] },\n  { id = "dog", phrase = "a dog" },\n]\n'
    )
    (place / "own.toml").write_text(own)
    told: list[Any] = [library.retag(device="cpu"), library.retag(device="cpu")]
    told += [library.retag(taxonomy=place / "own.toml", device="cpu"), library.labels(), library.tagged(["kitty"])]
    return [
        *told,
        failed(lambda: library.tagged(["car"])),
        library.retag(taxonomy="built-in", device="cpu"),
        library.info(),
    ]


def reembedded(library: Library, world: World, place: Path) -> Any:
    told: list[Any] = [library.remove([1, 30])]
    told += [library.reembed(world.other_model, device="cpu", workers=0), library.similar(7, **FAR)]
    told += [
        library.reembed(world.other_model, device="cpu", workers=0),
        library.info(),
        library.search("a red car", device="cpu"),
    ]
    return [*told, failed(lambda: index(library, world, world.photos, model=world.model))]


def published(library: Library, world: World, place: Path) -> Any:
    told = [library.export_thumbnails(place / "t", cdn="https://cdn.example", dry_run=True)]
    told += [library.export_thumbnails(place / "t", cdn="https://cdn.example"), library.export_thumbnails(place / "t")]
    told += [library.export_thumbnails(place / "u", format="webp", width=32, dataset="photos", folder="beach")]
    return [*told, sorted(os.listdir(place / "t")), library.show(7)]


def watched(library: Library, world: World, place: Path) -> Any:
    """One file comes while its folder is watched, and one goes."""
    folder, stop, told = album(place, world), threading.Event(), []
    index(library, world, folder)

    def add(report: Any) -> None:
        told.append(plain(report, {}))
        scene(920, 32, 24).save(place / "new.png")
        os.replace(place / "new.png", folder / "new.png")

    for changes in library.watch(folder, caught_up=add, stop=stop, poll=0.2, workers=0, device="cpu"):
        told.append(changes)
        if len(told) == 2:
            (folder / "a.png").unlink()
        if len(told) == 3:
            stop.set()
    (folder / "new.png").unlink()
    return [*told, library.prune(dataset="album", yes=True)]


def kept_words(library: Library, world: World, place: Path) -> Any:
    return [library.search(words, limit=2, device="cpu") for words in ("umbrellas", "Umbrellas!", "ß 😀 wörter")]


def read_while_written(library: Library, world: World, place: Path) -> Any:
    """What one connection has stored, another that has been open for long sees at its next question."""
    told: list[Any] = [library.info().images, library.browse(limit=1).total]
    with pictocli.open(library.path) as other:
        index(other, world, album(place, world))
        told += [library.info().images, library.browse(limit=1).total, library.similar(1, **FAR).considered]
        other.remove(dataset="album", yes=True)
    return [*told, library.info().images, library.browse(limit=1).total, library.similar(1, **FAR).considered]


def one_state(library: Library, world: World, place: Path) -> Any:
    """A question sees one state, also where another connection removes images between its steps."""
    real, told = Queries.fields, []

    def meanwhile(self: Queries, found: Any) -> Any:
        db = databases.connect(library.path)
        db.execute("DELETE FROM file WHERE id IN (SELECT file_id FROM image ORDER BY id DESC LIMIT 3)")
        db.close()
        return real(self, found)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Queries, "fields", meanwhile)
        told.append(library.similar(1, **FAR))
    return [*told, library.info().images]


def _raised(change: Callable[[], Any]) -> Any:
    with pytest.raises(PictoError) as raised:
        change()
    return raised.value


def undone(library: Library, world: World, place: Path) -> Any:
    """An index run that fails in its middle keeps what it has stored; the next one does the rest."""
    from pictocli import sqlite

    folder, real, calls = album(place, world), sqlite.SqliteStore.write, []

    def write(self: Any, *given: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise RuntimeError("in the middle")
        return real(self, *given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlite.SqliteStore, "write", write)
        with pytest.raises(RuntimeError, match="in the middle"):
            index(library, world, folder, batch_size=2)
    return [index(library, world, folder, batch_size=2), library.info()]


CHANGES: dict[str, Change] = {
    "index": indexed_new,
    "index-all-again": lambda lib, w, place: [w.index(lib), index(lib, w, *w.roots, force=True)],
    "metadata": described,
    "prune": pruned,
    "remove": removed,
    "merge-a-file": merged("sqlite"),
    "merge-its-kind": merged("same"),
    "import": imported,
    "retag": retagged,
    "reembed": reembedded,
    "thumbnails": published,
    "watch": watched,
    "words": kept_words,
    "recall": lambda lib, w, place: [lib.info(check_recall=True), lib.info()],
    "read-while-written": read_while_written,
    "one-state": one_state,
    "undone": undone,
}  # fmt: skip
"""What is done to a copy of the library; `place` is a new folder."""


@pytest.fixture(scope="module")
def wanted_change(sqlite: Keeper, world: World, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Any]:
    """What SQLite tells, and keeps."""
    return functools.cache(lambda case: changed(sqlite, case, world, tmp_path_factory.mktemp("change")))


def changed(keeper: Keeper, case: str, world: World, tmp_path: Path) -> Any:
    """What a change tells, and all that is kept after it."""
    place, name = Path(tempfile.mkdtemp(dir=tmp_path)), keeper.copy(keeper.filled)
    names = {str(place): "PLACE", name: "LIBRARY", databases.shown(name): "LIBRARY"}
    told = asked(name, lambda library: CHANGES[case](library, world, place), names)
    kept = [tables(name, names), metas(name)]
    keeper.drop(name)
    return [told, *kept]


@pytest.mark.parametrize("case", CHANGES)
def test_a_change(case: str, keeper: Keeper, wanted_change: Callable[[str], Any], world: World, tmp_path: Path) -> None:
    wanted = wanted_change(case)
    assert wanted[1]["check"] == []
    same(wanted, changed(keeper, case, world, tmp_path))


def test_a_library_that_is_not_there(store: str, tmp_path: Path, world: World) -> None:
    name = Keeper(store, tmp_path).new()
    assert not databases.exists(name)
    with pictocli.open(name) as library:
        for ask in (library.info, lambda: library.similar(1), lambda: library.prune(), lambda: list(library.export())):
            assert type(_raised(ask)).__name__ == "StoreError"
        assert _raised(lambda: library.merge(name)).exit_code == 4
    assert not databases.exists(name)


def test_a_library_is_indexed_anew(store: str, tmp_path: Path, world: World) -> None:
    """The first run of a folder makes the library; its name is kept in full."""
    name = Keeper(store, tmp_path).new()
    with pictocli.open(name) as library:
        report = index(library, world, album(tmp_path, world), model=world.model)
        assert (report.indexed, report.copied, report.skipped) == (4, 1, [])
        assert databases.exists(name)
        assert databases.identity(name) is not None
        assert databases.full(name) == library.path
        assert databases.size(name) > 0
        assert library.info().size_bytes > 0
        assert library.check() == []


_HOLDER = """
import sys
from pictocli.databases import claimed
with claimed(sys.argv[1]):
    print("claimed", flush=True)
    input()
"""


def test_one_process_at_a_time_changes_a_library(keeper: Keeper, world: World) -> None:
    """While another process claims it, whoever would change it is told which one; it may be asked meanwhile."""
    name = keeper.copy(keeper.filled)
    with (
        subprocess.Popen(
            [sys.executable, "-c", _HOLDER, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as holder,
        pictocli.open(name) as library,
    ):
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"claimed\n"
        taken = _raised(lambda: index(library, world, world.base / "many", force=True))
        assert type(taken).__name__ == "TakenError"
        assert str(holder.pid) in str(taken)
        assert library.info().images == 62
        holder.communicate(b"\n")
        assert index(library, world, world.base / "many").unchanged == 24
    keeper.drop(name)
