"""What looks as before is not embedded again: changed PDFs, edited metadata, and all that could make it wrong."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pictures import make_pdf, scene, turned_exif
from PIL import Image

import pictocli
from pictocli import brain
from pictocli.preprocess import digest

Index = Callable[..., Any]
Rows = Callable[..., list[tuple[Any, ...]]]
VECTORS = (
    "SELECT f.name, i.page, e.v, i.objects, i.scenes, i.attributes FROM image i JOIN file f ON f.id = i.file_id"
    " JOIN embedding e ON e.content_id = i.content_id ORDER BY f.name, i.page"
)


@pytest.fixture
def embedded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many pictures the model was asked about, batch by batch."""
    found: list[int] = []
    begin = brain.Brain.begin

    def counting(self: brain.Brain, pixels: Any, measures: Any) -> Any:
        found.append(len(pixels))
        return begin(self, pixels, measures)

    monkeypatch.setattr(brain.Brain, "begin", counting)
    return found


def counts(report: Any) -> dict[str, int]:
    names = ("indexed", "reused", "unchanged", "moved", "copied", "updated")
    return {name: getattr(report, name) for name in names if getattr(report, name)}


def same_as_afresh(index: Index, rows: Rows, folder: Path, tmp_path: Path, **options: Any) -> None:
    """Every page, embedding and tag is as in a library that was made of these files alone, and nothing is damaged."""
    found = rows(VECTORS)
    with pictocli.open(tmp_path / "library.db") as library:
        assert library.check() == []
    os.rename(tmp_path / "library.db", tmp_path / "first.db")
    index(folder, **options)
    fresh = rows(VECTORS)
    os.replace(tmp_path / "first.db", tmp_path / "library.db")
    assert [row[:2] + row[3:] for row in found] == [row[:2] + row[3:] for row in fresh]
    for ours, theirs in zip(found, fresh, strict=True):
        assert np.abs(np.frombuffer(ours[2], "<f4") - np.frombuffer(theirs[2], "<f4")).max() < 1e-5


CHANGES = {
    "nothing but its bytes": ([*range(12)], 0),
    "one page": ([*range(7), 99, *range(8, 12)], 1),
    "a page at its front": ([99, *range(12)], 1),
    "more pages at its front than a batch has": ([*range(100, 106), *range(12)], 6),
    "pages taken away": ([*range(3, 9)], 0),
    "the order": ([*reversed(range(12))], 0),
    "a page twice": ([*range(12), 5, 5, 5], 0),
    "all": ([*range(100, 103)], 3),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_pdf_embeds_what_has_changed(
    change: str, index: Index, rows: Rows, embedded: list[int], tmp_path: Path
) -> None:
    (tmp_path / "album").mkdir()
    make_pdf(tmp_path / "album/a.pdf", range(12))
    assert counts(index(tmp_path / "album", batch_size=4)) == {"indexed": 12}
    embedded.clear()
    seeds, new = CHANGES[change]
    make_pdf(tmp_path / "album/a.pdf", seeds, expand=True)
    report = index(tmp_path / "album", batch_size=4)
    assert counts(report) == {name: n for name, n in (("indexed", new), ("reused", len(seeds) - new)) if n}
    assert sum(embedded) == new
    same_as_afresh(index, rows, tmp_path / "album", tmp_path)


def edited(path: Path) -> None:
    """The same picture with other EXIF data."""
    with Image.open(path) as image:
        image.load()
    image.save(path, exif=turned_exif(1))


def test_a_picture_whose_metadata_changed_is_not_embedded_again(
    index: Index, rows: Rows, embedded: list[int], tmp_path: Path
) -> None:
    (tmp_path / "album").mkdir()
    scene(1).save(tmp_path / "album/a.png")
    index(tmp_path / "album")
    embedded.clear()
    before = rows("SELECT id FROM image")
    edited(tmp_path / "album/a.png")
    scene(1).save(tmp_path / "album/b.bmp")
    assert counts(index(tmp_path / "album")) == {"reused": 2}
    assert embedded == []
    assert rows("SELECT id FROM image WHERE file_id = 1") == before
    assert rows("SELECT count(*), count(DISTINCT digest) FROM input") == [(2, 1)]
    same_as_afresh(index, rows, tmp_path / "album", tmp_path)


def test_force_embeds_all_anew(index: Index, embedded: list[int], tmp_path: Path) -> None:
    (tmp_path / "album").mkdir()
    make_pdf(tmp_path / "album/a.pdf", range(5))
    index(tmp_path / "album")
    make_pdf(tmp_path / "album/a.pdf", range(6), expand=True)
    embedded.clear()
    assert counts(index(tmp_path / "album", force=True)) == {"indexed": 6}
    assert sum(embedded) == 6
    assert counts(index(tmp_path / "album")) == {"unchanged": 1}


def test_a_thumbnail_that_was_kept_is_made_anew(index: Index, rows: Rows, tmp_path: Path) -> None:
    (tmp_path / "album").mkdir()
    make_pdf(tmp_path / "album/a.pdf", range(3))
    index(tmp_path / "album", thumbnails=True)
    make_pdf(tmp_path / "album/a.pdf", [0, 9, 2], expand=True)
    assert counts(index(tmp_path / "album")) == {"indexed": 1, "reused": 2}
    assert rows("SELECT count(*) FROM thumbnail") == [(3,)]


@pytest.mark.parametrize("asynchronous", [False, True], ids=["cpu", "as on a GPU"])
def test_a_stopped_run_goes_on(
    asynchronous: bool, index: Index, rows: Rows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of the changed pages are stored, with pages of the file as it was behind them."""
    (tmp_path / "album").mkdir()
    make_pdf(tmp_path / "album/a.pdf", range(30))
    index(tmp_path / "album", batch_size=4)
    make_pdf(tmp_path / "album/a.pdf", [50, 51, *range(30)], expand=True)
    take, taken = pictocli.indexing.Indexer._take, []

    def stopping(self: Any, *page: Any) -> None:
        self.brain.asynchronous = asynchronous
        take(self, *page)
        taken.append(page)
        if len(taken) == 14:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(pictocli.indexing.Indexer, "_take", stopping)
        report = index(tmp_path / "album", batch_size=4)
    assert report.interrupted
    assert counts(report) == {"indexed": 2, "reused": 12}
    report = index(tmp_path / "album", batch_size=4)
    assert report.indexed + report.reused == 18
    assert report.indexed <= 2  # of what stood where new pages stand now
    same_as_afresh(index, rows, tmp_path / "album", tmp_path)


def test_after_a_move_to_another_model_embeddings_are_of_that_one(
    index: Index, rows: Rows, model: str, tmp_path: Path
) -> None:
    from checkpoints import save_siglip

    other = str(save_siglip(tmp_path / "other", seed=7))
    (tmp_path / "album").mkdir()
    make_pdf(tmp_path / "album/a.pdf", range(4))
    index(tmp_path / "album")
    with pictocli.open(tmp_path / "library.db") as library:
        library.reembed(other, device="cpu", workers=0)
    make_pdf(tmp_path / "album/a.pdf", [9, *range(4)], expand=True)
    assert counts(index(tmp_path / "album", model=other)) == {"indexed": 1, "reused": 4}
    same_as_afresh(index, rows, tmp_path / "album", tmp_path, model=other)


def test_measures_count_as_well_as_pixels() -> None:
    pixels = np.zeros((4, 4, 3), np.uint8)
    other = pixels.copy()
    other[3, 3, 2] = 1
    every = {
        digest(pixels, {"a": 1.0, "b": 2.0}), digest(other, {"a": 1.0, "b": 2.0}), digest(pixels, {"a": 1.0, "b": 2.5}),
        digest(pixels.reshape(2, 8, 3), {"a": 1.0, "b": 2.0}),
    }  # fmt: skip
    assert len(every) == 4
    assert digest(pixels, {"b": 2.0, "a": 1.0}) in every
    assert {len(each) for each in every} == {16}
