"""Indexing: what is done, what is not done twice, and what is left when something goes wrong."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pymupdf
import pytest
from pictures import PHOTOS, make_pdf, scene

import pictocli
from pictocli import brain, indexing, pipeline, queries, recall, siglip, sqlite
from pictocli.decode import Refused
from pictocli.errors import ModelError, NotFoundError, PictoError, ValidationError
from pictocli.records import IndexReport, Skipped
from pictocli.siglip import Siglip
from pictocli.workers import CrashedError, Workers

Index = Callable[..., IndexReport]
Rows = Callable[..., list[tuple[Any, ...]]]


@dataclass
class Calls:
    """What a run opened, decoded and embedded."""

    inspected: list[str] = field(default_factory=list)
    decoded: list[tuple[str, int]] = field(default_factory=list)
    embedded: int = 0

    def take(self) -> tuple[int, int, int]:
        counts = len(self.inspected), len(self.decoded), self.embedded
        self.inspected, self.decoded, self.embedded = [], [], 0
        return counts


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    found = Calls()
    inspect, decode, begin = pipeline.inspect, indexing.decode, brain.Brain.begin

    def inspecting(path: str, limits: Any, opening: Any) -> Any:
        found.inspected.append(path)
        return inspect(path, limits, opening)

    def decoding(path: str, kind: str, page: int, recipe: Any, stamp: Any) -> Any:
        found.decoded.append((path, page))
        return decode(path, kind, page, recipe, stamp)

    def embedding(self: brain.Brain, pixels: Any, measures: Any) -> Any:
        found.embedded += len(pixels)
        return begin(self, pixels, measures)

    monkeypatch.setattr(pipeline, "inspect", inspecting)
    monkeypatch.setattr(indexing, "decode", decoding)
    monkeypatch.setattr(brain.Brain, "begin", embedding)
    return found


@pytest.fixture
def no_model(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    def forbid() -> None:
        def embedder(self: brain.Model) -> Any:
            raise AssertionError("the model was loaded")

        monkeypatch.setattr(brain.Model, "embedder", property(embedder))

    return forbid


@pytest.fixture(params=[False, True], ids=["CPU", "GPU"])
def asynchronous(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a device that computes by itself: a batch is under way, and its answer there when it is waited for."""
    if request.param:
        begin = Siglip.begin_images
        monkeypatch.setattr(Siglip, "begin_images", lambda self, pixels: lambda: begin(self, pixels)())
        monkeypatch.setattr(brain.Brain, "asynchronous", property(lambda _: True, lambda *_: None), raising=False)


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """Five pictures in three folders: a.png, b.png, trip/c.png, trip/d.png, trip/deep/e.png."""
    for seed, name in enumerate(("a", "b", "trip/c", "trip/d", "trip/deep/e")):
        path = tmp_path / "album" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        scene(100 + seed).save(path)
    return tmp_path / "album"


def counts(report: IndexReport) -> dict[str, int]:
    """The counts of a report that are not zero."""
    names = ("indexed", "unchanged", "moved", "copied", "updated", "described", "unmatched")
    found = {name: getattr(report, name) for name in names} | {"skipped": len(report.skipped)}
    return {name: count for name, count in found.items() if count}


def library_of(rows: Rows) -> dict[str, tuple[int, bytes, str]]:
    """path → (id, embedding, attributes) of every image."""
    found = rows(
        "SELECT o.path || '/' || CAST(f.name AS TEXT) || '#' || i.page, i.id, e.v, i.attributes FROM image i"
        " JOIN file f ON f.id = i.file_id JOIN folder o ON o.id = f.folder_id"
        " JOIN embedding e ON e.content_id = i.content_id ORDER BY i.id"
    )
    return {path: (image_id, v, tags) for path, image_id, v, tags in found}


def ids(rows: Rows) -> dict[str, int]:
    return {path: found[0] for path, found in library_of(rows).items()}


# -- nothing is done twice -----


def test_a_second_run_opens_nothing_and_loads_no_model(
    index: Index, album: Path, calls: Calls, no_model: Callable[[], None], rows: Rows
) -> None:
    (album / "notes.txt").write_text("hello")
    assert counts(index(album)) == {"indexed": 5}
    assert calls.take() == (6, 5, 5)
    before = library_of(rows)
    no_model()
    assert counts(index(album)) == {"unchanged": 5}
    assert calls.take() == (0, 0, 0)
    assert library_of(rows) == before


def test_the_second_run_over_every_format(
    library: pictocli.Library, photos: Path, no_model: Callable[[], None]
) -> None:
    no_model()
    assert counts(library.index([photos], workers=0)) == {"unchanged": len(PHOTOS)}


@pytest.mark.parametrize("how", ["folder", "file", "into another root"])
def test_moved_files_keep_their_ids_and_are_not_embedded(
    how: str, index: Index, album: Path, calls: Calls, no_model: Callable[[], None], rows: Rows, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    scene(1).save(tmp_path / "other/x.png")
    index(album)
    index(tmp_path / "other")
    before = {found[0]: found[1:] for found in library_of(rows).values()}
    calls.take()
    no_model()
    if how == "folder":
        (album / "trip").rename(album / "journey")
        assert counts(index(album)) == {"unchanged": 2, "moved": 3}
        assert "journey/deep/e.png#0" in ids(rows)
    elif how == "file":
        (album / "a.png").rename(album / "z.png")
        assert counts(index(album)) == {"unchanged": 4, "moved": 1}
    else:
        (album / "a.png").rename(tmp_path / "other/a.png")
        assert counts(index(tmp_path / "other")) == {"unchanged": 1, "moved": 1}
        assert rows("SELECT images FROM folder o JOIN root r ON r.id = o.root_id WHERE r.path LIKE '%other'") == [(2,)]
    assert calls.take()[1:] == (0, 0)
    assert {found[0]: found[1:] for found in library_of(rows).values()} == before
    assert rows("SELECT count(*) FROM file") == [(6,)]


def test_a_file_whose_root_is_not_there_has_not_moved(index: Index, album: Path, rows: Rows, tmp_path: Path) -> None:
    """An unmounted disk looks like that: the copy elsewhere is a copy, and the rows of the disk stay."""
    index(album)
    (tmp_path / "copy").mkdir()
    shutil.copy(album / "a.png", tmp_path / "copy/copy.png")
    album.rename(tmp_path / "unmounted")
    assert counts(index(tmp_path / "copy")) == {"copied": 1}
    assert len(ids(rows)) == 6


def test_a_copy_shares_the_embedding_and_has_an_id_of_its_own(
    index: Index, album: Path, calls: Calls, no_model: Callable[[], None], rows: Rows
) -> None:
    index(album)
    calls.take()
    no_model()
    shutil.copy(album / "a.png", album / "trip/copy.png")
    assert counts(index(album)) == {"unchanged": 5, "copied": 1}
    assert calls.take() == (1, 0, 0)
    found = library_of(rows)
    assert found["trip/copy.png#0"][1:] == found["/a.png#0"][1:]
    assert found["trip/copy.png#0"][0] != found["/a.png#0"][0]
    assert rows("SELECT count(*) FROM embedding") == [(5,)]


def test_many_copies_are_not_each_compared_with_all_others(
    index: Index, album: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether a copy is a file that has moved: asked of each, ten thousand of them would take minutes."""
    index(album)
    for n in range(30):
        shutil.copy(album / "a.png", album / f"copy-{n}.png")
    asked, real = [], indexing.SqliteStore.files_with

    def files_with(self: Any, digest: bytes) -> Any:
        asked.append(digest)
        return real(self, digest)

    monkeypatch.setattr(indexing.SqliteStore, "files_with", files_with)
    assert counts(index(album)) == {"unchanged": 5, "copied": 30}
    assert len(asked) == 1


@pytest.mark.parametrize("force", [False, True])
def test_identical_files_of_one_run_are_embedded_once(
    force: bool, index: Index, album: Path, calls: Calls, rows: Rows
) -> None:
    for name in ("a2.png", "trip/a3.png"):
        shutil.copy(album / "a.png", album / name)
    assert counts(index(album)) == {"indexed": 5, "copied": 2}
    assert calls.take() == (7, 5, 5)
    assert len(ids(rows)) == 7
    if force:
        before = library_of(rows)
        assert index(album, force=True).indexed == 5
        assert calls.take() == (7, 5, 5)
        assert library_of(rows) == before


def test_identical_broken_files_of_one_run(index: Index, album: Path, rows: Rows) -> None:
    data = (album / "a.png").read_bytes()
    for name in ("x.png", "y.png"):
        (album / name).write_bytes(data[: len(data) // 2])
    report = index(album)
    assert counts(report) == {"indexed": 5, "skipped": 2}
    assert report.skipped == [Skipped(f"{album}/x.png", "truncated"), Skipped(f"{album}/y.png", "truncated")]


def test_a_changed_file_keeps_its_id_and_gets_a_new_embedding_and_tags(
    index: Index, album: Path, calls: Calls, rows: Rows
) -> None:
    index(album, thumbnails=True)
    before = library_of(rows)
    calls.take()
    scene(9, 90, 160).save(album / "a.png")
    assert counts(index(album)) == {"indexed": 1, "unchanged": 4}
    assert calls.take() == (1, 1, 1)
    after = library_of(rows)
    assert after["/a.png#0"][0] == before["/a.png#0"][0]
    assert after["/a.png#0"][1] != before["/a.png#0"][1]
    assert "portrait-orientation" in after["/a.png#0"][2]
    assert {path: found for path, found in after.items() if path != "/a.png#0"} == {
        path: found for path, found in before.items() if path != "/a.png#0"
    }
    assert rows("SELECT count(*) FROM content") == [(5,)]  # what the old bytes decoded to has gone
    assert rows("SELECT count(*) FROM thumbnail") == [(5,)]  # it had one, so it has one of what it shows now


def test_pages_rendered_anew_keep_their_thumbnails(index: Index, album: Path, rows: Rows) -> None:
    """--pdf-dpi without --thumbnails dropped those that were there."""
    make_pdf(album / "report.pdf", [7, 8])
    index(album)
    index(album / "report.pdf", thumbnails=True)
    assert rows("SELECT count(*) FROM thumbnail") == [(2,)]
    small = rows("SELECT jpeg FROM thumbnail ORDER BY content_id")
    index(album, pdf_dpi=144)
    assert rows("SELECT count(*) FROM thumbnail") == [(2,)]
    assert rows("SELECT jpeg FROM thumbnail ORDER BY content_id") != small


def test_a_touched_file_is_looked_at_and_not_decoded(
    index: Index, album: Path, calls: Calls, no_model: Callable[[], None]
) -> None:
    index(album)
    calls.take()
    no_model()
    os.utime(album / "a.png", ns=(10**18, 10**18))
    assert counts(index(album)) == {"unchanged": 5}
    assert calls.take() == (1, 0, 0)
    assert counts(index(album)) == {"unchanged": 5}
    assert calls.take() == (0, 0, 0)


def test_a_picture_that_became_text_is_forgotten(index: Index, album: Path, rows: Rows) -> None:
    index(album)
    (album / "a.png").write_text("no more")
    assert counts(index(album)) == {"unchanged": 4, "skipped": 1}
    assert "/a.png#0" not in ids(rows)
    assert rows("SELECT count(*) FROM content") == [(4,)]


# -- skipped files -----


def test_skipped_files_are_remembered_and_not_opened_again(index: Index, album: Path, calls: Calls) -> None:
    (album / "bad.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    (album / "text.jpg").write_text("hello")
    (album / "empty.jpg").touch()
    (album / "notes.txt").write_text("no picture, and not called one")
    wanted = [
        Skipped(f"{album}/bad.jpg", "damaged JPEG"),
        Skipped(f"{album}/empty.jpg", "empty file"),
        Skipped(f"{album}/text.jpg", "text, not an image"),
    ]
    for opened in (9, 0):
        report = index(album)
        assert sorted(report.skipped, key=lambda skipped: skipped.path) == wanted
        assert calls.take()[0] == opened
    assert counts(index(album, force=True))["indexed"] == 5
    assert calls.take()[0] == 9
    scene(1).save(album / "bad.jpg")
    assert counts(index(album)) == {"indexed": 1, "unchanged": 5, "skipped": 2}


@pytest.mark.parametrize("stage", ["inspect", "decode"])
def test_what_cannot_be_read_today_is_tried_again_tomorrow(
    stage: str, index: Index, album: Path, monkeypatch: pytest.MonkeyPatch, rows: Rows
) -> None:
    module = {"inspect": pipeline, "decode": indexing}[stage]
    real = getattr(module, stage)

    def denied(path: str, *rest: Any) -> Any:
        return Refused("permission denied", "unreadable") if path.endswith("b.png") else real(path, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(module, stage, denied)
        report = index(album)
    assert report.skipped == [Skipped(f"{album}/b.png", "permission denied")]
    assert counts(index(album)) == {"indexed": 1, "unchanged": 4}
    assert len(ids(rows)) == 5


def test_a_changed_file_that_cannot_be_read_keeps_what_was_known(
    index: Index, album: Path, monkeypatch: pytest.MonkeyPatch, rows: Rows
) -> None:
    index(album)
    before = library_of(rows)
    os.utime(album / "b.png", ns=(10**18, 10**18))
    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "inspect", lambda *_: Refused("permission denied", "unreadable"))
        index(album)
    assert library_of(rows) == before


def test_an_unreadable_folder_is_reported_and_the_rest_indexed(
    index: Index, album: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.scandir

    def scandir(path: str) -> Any:
        if str(path).endswith("/trip"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    report = index(album)
    assert counts(report) == {"indexed": 2, "skipped": 1}
    assert report.skipped == [Skipped(f"{album}/trip", "permission denied")]


def crash_on(name: str, page: int, real: Callable[..., Any]) -> Callable[..., Any]:
    def decode(path: str, kind: str, number: int, *rest: Any) -> Any:
        if path.endswith(name) and number == page:
            raise CrashedError
        return real(path, kind, number, *rest)

    return decode


def test_a_page_that_crashes_its_decoder_costs_that_page_only(
    index: Index, album: Path, monkeypatch: pytest.MonkeyPatch, rows: Rows
) -> None:
    make_pdf(album / "report.pdf", [1, 2, 3])
    with monkeypatch.context() as patch:
        patch.setattr(indexing, "decode", crash_on("report.pdf", 2, indexing.decode))
        report = index(album)
    assert report.skipped == [Skipped(f"{album}/report.pdf#page=2", "crashed its decoder")]
    assert [path for path in ids(rows) if "report" in path] == ["/report.pdf#1", "/report.pdf#3"]
    assert counts(index(album)) == {"unchanged": 6}


def test_a_file_that_lost_pages_loses_their_images(index: Index, album: Path, rows: Rows) -> None:
    make_pdf(album / "report.pdf", [1, 2, 3])
    index(album)
    before = ids(rows)
    make_pdf(album / "report.pdf", [1, 5])
    index(album)
    after = ids(rows)
    assert [path for path in after if "report" in path] == ["/report.pdf#1", "/report.pdf#2"]
    assert after["/report.pdf#1"] == before["/report.pdf#1"]


# -- interrupted -----


def stopping(monkeypatch: pytest.MonkeyPatch, after: int, error: type[BaseException] | BaseException) -> Any:
    """Let `after` pages be decoded, then raise."""
    real, done = indexing.decode, []

    def decode(*args: Any) -> Any:
        if len(done) == after:
            raise error
        done.append(args)
        return real(*args)

    context = monkeypatch.context()
    patch = context.__enter__()
    patch.setattr(indexing, "decode", decode)
    return context


@pytest.mark.usefixtures("asynchronous")
@pytest.mark.parametrize("after", [0, 1, 2, 4, 7])
def test_an_interrupted_run_keeps_what_was_decoded_and_the_next_completes_it(
    after: int, index: Index, album: Path, monkeypatch: pytest.MonkeyPatch, calls: Calls, rows: Rows
) -> None:
    make_pdf(album / "m.pdf", [1, 2, 3])
    context = stopping(monkeypatch, after, KeyboardInterrupt)
    report = index(album, batch_size=2)
    context.__exit__(None, None, None)
    assert report.interrupted
    assert report.indexed == after == calls.take()[2]
    assert counts(index(album, batch_size=2)).get("indexed", 0) == 8 - after
    assert calls.take()[1:] == (8 - after, 8 - after)  # nothing is decoded or embedded twice
    assert len(ids(rows)) == 8
    assert counts(index(album)) == {"unchanged": 6}


@pytest.mark.usefixtures("asynchronous")
@pytest.mark.parametrize("after", [1, 4, 5])
def test_an_error_among_the_decoders_costs_no_embedding(
    after: int, index: Index, album: Path, monkeypatch: pytest.MonkeyPatch, calls: Calls
) -> None:
    make_pdf(album / "m.pdf", [1, 2, 3])
    context = stopping(monkeypatch, after, PictoError("the machines went away"))
    with pytest.raises(PictoError, match="went away"):
        index(album, batch_size=2)
    context.__exit__(None, None, None)
    embedded = calls.take()[2]
    assert embedded == after // 2 * 2
    assert index(album).indexed == calls.take()[2] == 8 - embedded


def test_a_ctrl_c_between_the_commit_and_the_count_is_counted(
    index: Index, album: Path, monkeypatch: pytest.MonkeyPatch, rows: Rows
) -> None:
    """The report once said 8 where the database had 12."""
    real, sent = indexing.SqliteStore.write, []

    def write(self: Any, *args: Any) -> None:
        real(self, *args)
        if not sent:
            sent.append(os.kill(os.getpid(), signal.SIGINT))

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    with monkeypatch.context() as patch:
        patch.setattr(indexing.SqliteStore, "write", write)
        report = index(album, batch_size=2)
    signal.signal(signal.SIGINT, before)
    assert report.interrupted
    assert report.indexed == len(ids(rows)) == 2


@pytest.mark.usefixtures("asynchronous")
@pytest.mark.parametrize("batches", [1, 2])
def test_a_run_killed_between_batches_is_completed_by_the_next(
    batches: int, index: Index, album: Path, monkeypatch: pytest.MonkeyPatch, calls: Calls, rows: Rows
) -> None:
    """A file of five pages, two a batch: what the kill leaves is half a file, which must not pass as a whole one."""
    shutil.rmtree(album)
    album.mkdir()
    make_pdf(album / "report.pdf", [1, 2, 3, 4, 5])
    real, seen = indexing.SqliteStore.write, []

    def write(self: Any, *args: Any) -> None:
        if len(seen) == batches:
            raise SystemExit("killed")  # which nothing catches on the way
        seen.append(1)
        real(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(indexing.SqliteStore, "write", write)
        with pytest.raises(SystemExit):
            index(album, batch_size=2)
    assert rows("SELECT size FROM file") == [(None,)]
    assert len(ids(rows)) == 2 * batches
    calls.take()
    assert counts(index(album, batch_size=2)) == {"indexed": 5 - 2 * batches}
    assert calls.take() == (1, 5 - 2 * batches, 5 - 2 * batches)
    assert list(ids(rows)) == [f"/report.pdf#{page}" for page in range(1, 6)]
    assert counts(index(album)) == {"unchanged": 1}


@pytest.mark.usefixtures("asynchronous")
def test_an_embedding_that_is_no_number_stops_the_run_before_it_is_stored(
    index: Index, album: Path, monkeypatch: pytest.MonkeyPatch, rows: Rows
) -> None:
    real = Siglip.begin_images

    def broken(self: Siglip, pixels: Any) -> Any:
        return lambda: real(self, pixels)() * np.nan

    with monkeypatch.context() as patch:
        patch.setattr(Siglip, "begin_images", broken)
        with pytest.raises(ModelError, match="finite"):
            index(album)
    assert rows("SELECT count(*) FROM image") == [(0,)]
    assert counts(index(album)) == {"indexed": 5}


# -- only the missing work -----


def test_thumbnails_later(index: Index, album: Path, calls: Calls, no_model: Callable[[], None], rows: Rows) -> None:
    make_pdf(album / "report.pdf", [1, 2])
    index(album)
    before = library_of(rows)
    calls.take()
    no_model()
    assert counts(index(album, thumbnails=True)) == {"updated": 7}
    assert calls.take() == (6, 7, 0)
    assert rows("SELECT count(*) FROM thumbnail") == [(7,)]
    assert library_of(rows) == before
    assert counts(index(album, thumbnails=True)) == {"unchanged": 6}
    assert calls.take() == (0, 0, 0)


@pytest.mark.usefixtures("asynchronous")
@pytest.mark.parametrize("batch_size", [1, 2, 16])
@pytest.mark.parametrize("copy", ["z.png", "0.png"], ids=["the copy comes later", "the copy comes first"])
def test_a_copy_keeps_what_the_original_no_longer_shows(
    copy: str, batch_size: int, index: Index, album: Path, rows: Rows
) -> None:
    """The original's new picture drops the old one, of which the copy needs but a thumbnail: it once lost all else."""
    index(album)
    before = library_of(rows)
    (album / "a.png").rename(album / copy)
    scene(150).save(album / "a.png")
    assert counts(index(album, thumbnails=True, batch_size=batch_size)).get("skipped", 0) == 0
    assert counts(index(album, thumbnails=True)) == {"unchanged": 6}
    after = library_of(rows)
    (_, vector, tags), (_, wanted, wanted_tags) = after[f"/{copy}#0"], before["/a.png#0"]
    assert np.allclose(np.frombuffer(vector, "<f4"), np.frombuffer(wanted, "<f4"), atol=1e-5)  # of another batch
    assert tags == wanted_tags
    assert len(after) == 6
    assert rows("SELECT count(*) FROM content WHERE id NOT IN (SELECT content_id FROM embedding)") == [(0,)]


def test_metadata_later(
    index: Index, album: Path, calls: Calls, no_model: Callable[[], None], rows: Rows, tmp_path: Path
) -> None:
    make_pdf(album / "report.pdf", [1, 2])
    index(album)
    calls.take()
    no_model()
    (tmp_path / "m.csv").write_text("path,who\ntrip/c.png,Ann\nreport.pdf,Bob\ngone.png,Eve\n")
    assert counts(index(album, metadata=str(tmp_path / "m.csv"))) == {"unchanged": 6, "described": 2, "unmatched": 1}
    assert counts(index(album, metadata=str(tmp_path / "m.csv"))) == {"unchanged": 6, "unmatched": 1}
    assert calls.take() == (0, 0, 0)
    found = rows(
        "SELECT f.name, i.page, i.metadata FROM image i JOIN file f ON f.id = i.file_id WHERE i.metadata IS NOT NULL"
        " ORDER BY 1, 2"
    )
    assert found == [
        ("c.png", 0, '{"who": "Ann"}'),
        ("report.pdf", 1, '{"who": "Bob"}'),
        ("report.pdf", 2, '{"who": "Bob"}'),
    ]


def test_metadata_goes_to_the_right_images_of_a_new_folder_with_broken_ones(
    index: Index, album: Path, rows: Rows, tmp_path: Path
) -> None:
    (album / "b.png").write_bytes((album / "b.png").read_bytes()[:2000])
    shutil.copy(album / "trip/c.png", album / "c-copy.png")
    lines = [
        f"{name},{name}" for name in ("a.png", "b.png", "c-copy.png", "trip/c.png", "trip/d.png", "trip/deep/e.png")
    ]
    (tmp_path / "m.csv").write_text("path,own\n" + "\n".join(lines) + "\n")
    report = index(album, metadata=str(tmp_path / "m.csv"), batch_size=2)
    assert report.described == 5
    found = rows(
        "SELECT ltrim(o.path || '/' || f.name, '/'), json_extract(i.metadata, '$.own') FROM image i"
        " JOIN file f ON f.id = i.file_id JOIN folder o ON o.id = f.folder_id"
    )
    assert len(found) == 5
    assert all(path == own for path, own in found)


@pytest.mark.parametrize("value", ["plain", "é", "\ud800", "[red]", 'quo"te', "nul\0"])
def test_metadata_of_any_text(value: str, index: Index, album: Path, tmp_path: Path) -> None:
    (tmp_path / "m.jsonl").write_text(json.dumps({"filename": "a.png", "text": value}))
    index(album, metadata=str(tmp_path / "m.jsonl"))
    with pictocli.open(tmp_path / "library.db") as library:
        assert library.show(str(album / "a.png")).metadata == {"text": value}


def test_another_dpi_renders_pdfs_only(index: Index, album: Path, calls: Calls, rows: Rows) -> None:
    make_pdf(album / "report.pdf", [1, 2], size=(200, 100))
    index(album)
    before = ids(rows)
    calls.take()
    assert counts(index(album, pdf_dpi=144)) == {"indexed": 2, "unchanged": 5}
    assert calls.take() == (1, 2, 2)
    assert ids(rows) == before
    assert rows("SELECT width, height, dpi FROM content WHERE page > 0") == [(400, 200, 144)] * 2
    assert counts(index(album)) == {"unchanged": 6}  # a known file keeps its own
    assert counts(index(album, pdf_dpi=144)) == {"unchanged": 6}
    assert calls.take() == (0, 0, 0)


def test_identical_pdfs_at_two_resolutions(index: Index, tmp_path: Path, rows: Rows) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        make_pdf(tmp_path / name / "a.pdf", [1, 2], no_new_id=True)
        os.utime(tmp_path / name / "a.pdf", (10**9, 10**9))
    shutil.copy(tmp_path / "one/a.pdf", tmp_path / "two/a.pdf")
    index(tmp_path / "one")
    index(tmp_path / "two", pdf_dpi=144)
    for name in ("one", "two"):
        os.utime(tmp_path / name / "a.pdf", (10**9 + 5, 10**9 + 5))
    report = index(tmp_path / "one", tmp_path / "two", force=True)
    assert report.skipped == []
    assert sorted(rows("SELECT DISTINCT dpi FROM content")) == [(72,), (144,)]
    assert rows("SELECT count(*) FROM image") == [(4,)]


def test_force_does_everything_again_and_keeps_ids(index: Index, album: Path, calls: Calls, rows: Rows) -> None:
    index(album, thumbnails=True)
    before = library_of(rows)
    calls.take()
    assert counts(index(album, force=True)) == {"indexed": 5}
    assert calls.take() == (5, 5, 5)
    assert library_of(rows) == before
    assert rows("SELECT count(*) FROM thumbnail") == [(5,)]


def test_a_dry_run_changes_nothing(index: Index, album: Path, calls: Calls, tmp_path: Path) -> None:
    report = index(album, dry_run=True)
    assert (report.indexed, report.dry_run) == (5, True)
    assert not (tmp_path / "library.db").exists()
    index(album)
    calls.take()
    before = (tmp_path / "library.db").read_bytes()
    scene(1).save(album / "new.png")
    (album / "more").mkdir()
    scene(2).save(album / "more/new.png")
    (tmp_path / "other").mkdir()
    scene(3).save(tmp_path / "other/x.png")
    report = index(album, tmp_path / "other", dry_run=True, thumbnails=False)
    assert counts(report) == {"indexed": 3, "unchanged": 5}
    assert calls.take() == (0, 0, 0)
    assert (tmp_path / "library.db").read_bytes() == before


# -- what is in flight -----


class Recorded(Workers):
    """Runs calls here, when their result is asked for, and keeps what was asked in `events`: +n began, -n ended."""

    def __init__(self) -> None:
        super().__init__(0)
        self.events: list[int] = []

    def submit(self, call: Any, *args: Any) -> Any:
        self.events.append(args[0])
        return super().submit(call, *args)

    def result(self, job: Any) -> Any:
        self.events.append(-job.args[0])
        return super().result(job)


@pytest.mark.parametrize(
    ("sizes", "window", "events"),
    [
        ([1, 1, 1], 9, [1, 2, 3, -1, -2, -3]),
        ([1, 1, 1, 1], 2, [1, 2, -1, 3, -2, 4, -3, -4]),
        ([60, 60, 60], 9, [1, -1, 2, -2, 3, -3]),
        ([40, 60, 50, 50], 9, [1, 2, -1, -2, 3, 4, -3, -4]),
        ([500, 1, 500], 9, [1, -1, 2, -2, 3, -3]),
        ([1, 99, 1, 1], 9, [1, 2, -1, 3, -2, 4, -3, -4]),
        ([0, 0, 101, 0], 9, [1, 2, -1, -2, 3, -3, 4, -4]),
        ([], 9, []),
    ],
    ids=["all fit", "so many", "one at a time", "just as many bytes", "larger than all room", "room is given back",
         "none take nothing", "no call"],
)  # fmt: skip
def test_calls_under_way_are_bounded_in_number_and_in_bytes(
    sizes: list[int], window: int, events: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "DECODE_AHEAD", 100)
    pool = Recorded()
    calls = ((f"item {n}", size, abs, (n,)) for n, size in enumerate(sizes, 1))
    found = list(pipeline.ahead(pool, calls, window))
    assert found == [(f"item {n}", n) for n in range(1, len(sizes) + 1)]
    assert pool.events == events


@pytest.mark.parametrize(("room", "most"), [(4, 1), (8, 2), (99, 7)], ids=["one picture", "two", "all"])
def test_pictures_are_decoded_within_their_bytes(
    room: int, most: int, index: Index, album: Path, monkeypatch: pytest.MonkeyPatch, rows: Rows
) -> None:
    """Each says by its header what it takes, a PNG 4 bytes a pixel; the outcome is the same however few are on."""
    make_pdf(album / "report.pdf", [1, 2], size=(160, 120))
    under_way: list[int] = []
    submit, result = Workers.submit, Workers.result

    def submitting(self: Workers, call: Any, *args: Any) -> Any:
        under_way.append(under_way[-1] + 1 if under_way else 1) if len(args) == 5 else None
        return submit(self, call, *args)

    def resulting(self: Workers, job: Any) -> Any:
        found = result(self, job)
        under_way.append(under_way[-1] - 1) if len(job.args) == 5 else None
        return found

    monkeypatch.setattr(Workers, "submit", submitting)
    monkeypatch.setattr(Workers, "result", resulting)
    monkeypatch.setattr(pipeline, "DECODE_AHEAD", room * 160 * 120)
    assert counts(index(album)) == {"indexed": 7}
    assert max(under_way) == most
    assert sorted(ids(rows).values()) == list(range(1, 8))


# -- which files -----


def test_rules_reach_the_walk(index: Index, album: Path, rows: Rows) -> None:
    scene(1).save(album / ".hidden.png")
    (album / "trip/loop").symlink_to(album)
    (album / "link.png").symlink_to(album / "trip/c.png")
    assert counts(index(album, include=["*.png"], exclude=["deep", "b.*"])) == {"indexed": 3}
    assert set(ids(rows)) == {"/a.png#0", "trip/c.png#0", "trip/d.png#0"}
    index(album, hidden=True, follow=True)
    assert {"/.hidden.png#0", "/link.png#0", "/b.png#0", "trip/deep/e.png#0"} < set(ids(rows))
    assert not [path for path in ids(rows) if "loop" in path]


def test_files_that_a_rule_leaves_out_are_not_forgotten(index: Index, album: Path, rows: Rows) -> None:
    index(album)
    assert counts(index(album, exclude=["trip"])) == {"unchanged": 2}
    assert len(ids(rows)) == 5
    shutil.rmtree(album / "trip")
    assert counts(index(album)) == {"unchanged": 2}
    assert len(ids(rows)) == 5  # a file that vanished is never dropped here


ODD = [
    "new\nline",
    "quo'te\"",
    "[red]x",
    "-leading",
    "tab\t",
    "é",
    "e\u0301",
    "%_",
    os.fsdecode(b"caf\xe9"),
    " ",
    "a#page=3",
]


def test_any_name_is_kept_as_it_is(index: Index, tmp_path: Path, calls: Calls, photos: Path) -> None:
    folder = tmp_path / os.fsdecode(b"na\xefve [folder]\n")
    folder.mkdir()
    for seed, name in enumerate(ODD):
        scene(seed).save(folder / f"{name}.png")
    assert counts(index(folder)) == {"indexed": len(ODD)}
    calls.take()
    assert counts(index(folder)) == {"unchanged": len(ODD)}
    assert calls.take() == (0, 0, 0)
    with pictocli.open(tmp_path / "library.db") as library:
        for name in ODD:
            found = library.show(f"{folder}/{name}.png")
            assert (found.path, found.filename) == (f"{folder}/{name}.png", f"{name}.png")


def test_roots_inside_one_another_and_datasets_of_one_name_are_refused(
    index: Index, album: Path, tmp_path: Path, rows: Rows
) -> None:
    index(album / "trip")
    for path, message in ((album / "trip/deep", "lies inside"), (album, "holds")):
        with pytest.raises(ValidationError, match=message):
            index(path)
    twin = tmp_path / "elsewhere/trip"
    twin.mkdir(parents=True)
    scene(1).save(twin / "a.png")
    with pytest.raises(ValidationError, match="a dataset named trip exists"):
        index(twin)
    with pytest.raises(ValidationError, match="is indexed already, as dataset trip"):
        index(album / "trip", dataset="journey")
    assert rows("SELECT count(*) FROM root") == [(1,)]
    assert counts(index(twin, dataset="trip")) == {"indexed": 1}
    assert rows("SELECT count(*) FROM dataset") == [(1,)]
    assert counts(index(album / "trip", dataset="trip")) == {"unchanged": 3}


def test_nothing_is_made_before_every_path_has_been_checked(
    index: Index, album: Path, tmp_path: Path, rows: Rows
) -> None:
    index(album / "trip")
    twins = [tmp_path / "one/same", tmp_path / "two/same"]
    for twin in twins:
        twin.mkdir(parents=True)
        scene(1).save(twin / "a.png")
    for paths, message in (
        ([twins[0], album / "trip/deep"], "lies inside"),
        ([twins[0], twins[0].parent], "holds"),
        ([twins[0].parent, twins[0]], "lies inside"),
        (twins, "a dataset named same exists"),
    ):
        for dry_run in (True, False):
            with pytest.raises(ValidationError, match=message):
                index(*paths, dry_run=dry_run)
    assert rows("SELECT name FROM dataset") == [("trip",)]
    assert counts(index(twins[0], twins[0] / "a.png")) == {"indexed": 1, "unchanged": 1}
    assert rows("SELECT count(*) FROM root") == [(2,)]


def test_single_files(index: Index, album: Path, rows: Rows) -> None:
    (album / "notes.txt").write_text("hello")
    scene(1).save(album / ".hidden.png")
    report = index(album / "a.png", album / "notes.txt", album / ".hidden.png")
    assert counts(report) == {"indexed": 2, "skipped": 1}
    assert report.skipped == [Skipped(f"{album}/notes.txt", "not an image")]
    assert counts(index(album / "trip/c.png")) == {"indexed": 1}  # within the root that its sister made
    assert rows("SELECT count(*) FROM root") == [(1,)]
    assert counts(index(album))["indexed"] == 3


def test_a_text_file_that_is_named_is_always_answered(index: Index, album: Path) -> None:
    (album / "notes.txt").write_text("hello")
    index(album)
    assert index(album / "notes.txt").skipped == [Skipped(f"{album}/notes.txt", "not an image")]


def test_a_path_given_twice_counts_once(index: Index, album: Path, rows: Rows) -> None:
    assert counts(index(album, album, f"{album}/")) == {"indexed": 5}
    assert len(ids(rows)) == 5


def test_missing_paths_do_not_stop_the_others(index: Index, album: Path, tmp_path: Path) -> None:
    report = index(tmp_path / "gone", album)
    assert report.missing == [str(tmp_path / "gone")]
    assert report.indexed == 5


def test_the_database_is_not_one_of_the_pictures(index: Index, album: Path, calls: Calls) -> None:
    for _ in range(2):
        report = index(album, db=album / "library.jpg")
        assert report.skipped == []
        assert not [path for path in calls.inspected if "library" in path]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"batch_size": 0}, ValidationError),
        ({"workers": -1}, ValidationError),
        ({"pdf_dpi": 5}, ValidationError),
        ({"metadata": "gone.csv"}, NotFoundError),
        ({"model": "no/such model"}, ModelError),
    ],
    ids=lambda value: str(value),
)
def test_wrong_options_leave_no_database_behind(
    options: dict[str, Any], error: type[Exception], index: Index, album: Path, tmp_path: Path
) -> None:
    with pytest.raises((error, ValidationError)):
        index(album, **options)
    assert not (tmp_path / "library.db").exists()


def test_no_path_is_refused(index: Index) -> None:
    with pytest.raises(ValidationError, match="no PATH"):
        index()


def test_an_empty_folder(index: Index, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert counts(index(tmp_path / "empty")) == {}


# -- numbers -----


def test_times_are_of_the_image_and_not_of_the_models_start(
    index: Index, album: Path, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loading the model takes seconds, its prompts minutes: neither is a picture's processing time."""
    for owner, name in ((brain.Model, "tagger"), (siglip, "_read")):
        monkeypatch.setattr(owner, name, later(getattr(owner, name), monkeypatch))
    index(album, batch_size=5)
    times = [ms for (ms,) in rows("SELECT processing_time_ms FROM content")]
    assert len(times) == 5
    assert all(0 < ms < 1900 for ms in times), times  # each a fifth of what the batch took


def test_what_embed_prints_is_the_time_of_the_image_and_not_of_the_models_start(
    album: Path, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(siglip, "_read", later(siglip._read, monkeypatch))
    with pictocli.open(tmp_path / "none.db") as library:
        (found,) = library.embed([album / "a.png"], model=model, device="cpu")
    assert 0 < found.processing_time_ms < 9000


def later(real: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """The same, after which it is ten seconds later by the clock that times are taken from."""

    def slowly(*args: Any) -> Any:
        clock = time.perf_counter
        monkeypatch.setattr(time, "perf_counter", lambda: clock() + 10.0)
        return real(*args)

    return slowly


@pytest.mark.usefixtures("asynchronous")
def test_batches_of_any_size_and_any_number_of_workers_give_the_same(
    index: Index, photos: Path, indexed: Path, tmp_path: Path
) -> None:
    def stored(path: Path) -> list[tuple[Any, ...]]:
        db = sqlite3.connect(path)
        found = db.execute(
            "SELECT i.id, f.name, i.page, i.objects, i.scenes, i.attributes, e.v FROM image i"
            " JOIN file f ON f.id = i.file_id JOIN embedding e ON e.content_id = i.content_id ORDER BY i.id"
        ).fetchall()
        db.close()
        return found

    wanted = stored(indexed)
    for batch_size, workers in ((1, 0), (3, 2)):
        path = tmp_path / f"{batch_size}.db"
        assert index(photos, db=path, batch_size=batch_size, workers=workers).indexed == 18
        found = stored(path)
        assert [row[:3] for row in found] == [row[:3] for row in wanted]
        vectors = [np.array([np.frombuffer(row[6], "<f4") for row in rows]) for rows in (found, wanted)]
        assert np.abs(vectors[0] - vectors[1]).max() < 1e-5
        assert [row[3:6] for row in found] == [row[3:6] for row in wanted]


def test_embeddings_are_of_unit_length(library: pictocli.Library, rows: Rows) -> None:
    for (blob,) in rows("SELECT v FROM embedding"):
        assert np.linalg.norm(np.frombuffer(blob, "<f4")) == pytest.approx(1, abs=1e-5)


def test_codes_follow_when_the_library_is_large(
    index: Index, album: Path, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "EXACT_BELOW", 3)
    index(album)
    assert rows("SELECT count(*) FROM code") == [(5,)]
    scene(50).save(album / "new.png")
    (album / "trip").rename(album / "journey")
    index(album)
    assert sorted(rows("SELECT folder_id, image_id FROM code")) == sorted(rows("SELECT folder_id, id FROM image"))


def test_a_large_library_is_checked_by_itself(
    index: Index, album: Path, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five images, of which one is compared: then six, and the next check is at ten."""
    for module in (sqlite, queries):
        monkeypatch.setattr(module, "EXACT_BELOW", 3)
    for module in (recall, queries):
        monkeypatch.setattr(module, "at_least", lambda _: 1)
    index(album)
    kept = rows("SELECT value FROM meta WHERE key = 'recall'")
    assert json.loads(kept[0][0])["images"] == 5
    scene(50).save(album / "new.png")
    monkeypatch.setattr(recall, "check", pytest.fail)
    index(album)
    assert rows("SELECT value FROM meta WHERE key = 'recall'") == kept


@pytest.fixture(autouse=True)
def documents_closed() -> Iterator[None]:
    yield
    pymupdf.TOOLS.store_shrink(100)
