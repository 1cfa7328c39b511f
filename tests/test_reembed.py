"""Moving a whole library into another model's space."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import save_siglip2
from pictures import make_pdf, scene

import pictocli
from pictocli import pairs, pipeline, reembedding, sqlite
from pictocli.decode import Refused
from pictocli.errors import ModelError, ModelMismatchError, PictoError
from pictocli.workers import CrashedError

Rows = Callable[..., list[tuple[Any, ...]]]
KEPT = "SELECT i.id, i.file_id, i.folder_id, i.page, i.content_id, i.metadata, i.indexed_at FROM image i ORDER BY i.id"


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A SigLIP 2 of other weights: another revision, another resampling."""
    return str(save_siglip2(tmp_path_factory.mktemp("other") / "model", seed=5))


@pytest.fixture
def album(index: Any, tmp_path: Path) -> Path:
    """Four pictures in five files, one of three pages, indexed with the small model."""
    folder = tmp_path / "album"
    (folder / "sub").mkdir(parents=True)
    for seed, name in enumerate(("a.png", "sub/b.png", "sub/c.png")):
        scene(seed).save(folder / name)
    shutil.copy(folder / "a.png", folder / "sub/copy.png")
    make_pdf(folder / "d.pdf", [7, 8, 9])
    (tmp_path / "m.csv").write_text("filename,who\nb.png,Ann\n")
    report = index(folder, metadata=str(tmp_path / "m.csv"), thumbnails=True)
    assert (report.indexed, report.copied, report.described) == (6, 1, 1)
    return folder


def snapshot(rows: Rows) -> dict[str, Any]:
    tables = ("image", "embedding", "content", "file", "tag", "image_tag", "text_embedding", "code", "dataset", "root")
    return {name: sorted(rows(f"SELECT * FROM {name}")) for name in tables} | {
        "model": rows("SELECT value FROM meta WHERE key = 'model'")
    }


def reembed(tmp_path: Path, model: str, **options: Any) -> Any:
    with pictocli.open(tmp_path / "library.db") as library:
        return library.reembed(model, **({"device": "cpu", "workers": 0} | options))


def test_everything_but_the_space_is_kept_and_the_space_is_that_of_a_fresh_index(
    album: Path, other: str, rows: Rows, tmp_path: Path, index: Any
) -> None:
    kept, before = rows(KEPT), snapshot(rows)
    report = reembed(tmp_path, other)
    assert (report.indexed, report.skipped) == (6, [])
    assert rows(KEPT) == kept
    after = snapshot(rows)
    assert [after[name] == before[name] for name in ("file", "content", "dataset", "root")] == [True] * 4
    assert after["embedding"] != before["embedding"]
    assert json.loads(after["model"][0][0])["id"] == other
    assert rows("SELECT count(*) FROM staged") == [(0,)]
    assert rows("SELECT count(*) FROM thumbnail") == [(6,)]

    index(album, db=tmp_path / "fresh.db", model=other)
    with pictocli.open(tmp_path / "fresh.db") as fresh, pictocli.open(tmp_path / "library.db") as moved:
        for image_id, *_ in kept:
            detail = moved.show(image_id)
            twin = fresh.show(detail.path)
            assert (detail.tags, detail.scores, detail.model) == (twin.tags, twin.scores, other)
            found = {image.path: image.similarity for image in moved.by_similarity(detail.path, 0, 500, "/")}
            wanted = {image.path: image.similarity for image in fresh.by_similarity(detail.path, 0, 500, "/")}
            assert found == pytest.approx(wanted, abs=1e-5)


def test_afterwards_the_library_indexes_with_its_new_model(
    album: Path, other: str, model: str, index: Any, tmp_path: Path
) -> None:
    reembed(tmp_path, other)
    scene(50).save(album / "new.png")
    assert index(album, model="auto").indexed == 1
    with pytest.raises(ModelMismatchError):
        index(album, model=model)
    with pictocli.open(tmp_path / "library.db") as library:
        assert len(library.by_text("a dog", device="cpu")) == 8


def test_the_same_model_again_is_no_work(
    album: Path, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "inspect", pytest.fail)
    assert reembed(tmp_path, model).unchanged == 5


def test_texts_and_codes_of_the_old_space_go(
    album: Path, other: str, rows: Rows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, index: Any
) -> None:
    monkeypatch.setattr(sqlite, "EXACT_BELOW", 3)
    index(album)
    with pictocli.open(tmp_path / "library.db") as library:
        library.by_text("a dog", device="cpu")
    before = snapshot(rows)
    assert len(before["code"]) == 7
    assert len(before["text_embedding"]) == 1
    reembed(tmp_path, other)
    after = snapshot(rows)
    assert after["text_embedding"] == []
    assert [row[:2] for row in after["code"]] == [row[:2] for row in before["code"]]
    assert after["code"] != before["code"]
    kept = {name.split()[0] for (name,) in rows("SELECT name FROM vector")}
    assert kept == {"labels", "nulls", "mean"}
    assert rows("SELECT count(*) FROM vector") == [(3,)]  # none of them the old model's


def test_pairs_are_those_of_the_new_space(
    album: Path, other: str, rows: Rows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, index: Any
) -> None:
    monkeypatch.setattr(pairs, "ENOUGH", 10)
    index(album)
    kept = "SELECT value FROM meta WHERE key = 'pairs'"
    before = json.loads(rows(kept)[0][0])
    reembed(tmp_path, other)
    after = json.loads(rows(kept)[0][0])
    assert (before["n"], after["n"]) == (15, 15)
    assert after["model"] == other
    assert after["cosines"] != before["cosines"]


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (lambda album: (album / "sub/b.png").unlink(), "no such file"),
        (lambda album: scene(60).save(album / "sub/b.png"), "changed since it was indexed"),
        (lambda album: (album / "sub/b.png").write_text("x"), "text, not an image"),
    ],
    ids=["missing", "changed", "no image any more"],
)
def test_an_original_that_is_not_there_leaves_the_library_as_it_was(
    harm: Callable[[Path], object], reason: str, album: Path, other: str, rows: Rows, tmp_path: Path
) -> None:
    before = snapshot(rows)
    good = (album / "sub/b.png").read_bytes()
    harm(album)
    with pytest.raises(PictoError, match=rf"1 images? cannot be embedded again.*b.png: {reason}"):
        reembed(tmp_path, other, batch_size=2)
    assert snapshot(rows) == before
    assert rows("SELECT count(*) FROM staged") == [(5,)]  # kept for the next try
    (album / "sub/b.png").write_bytes(good)
    assert reembed(tmp_path, other).indexed == 1
    assert rows("SELECT count(*) FROM embedding") == [(6,)]


def test_one_of_two_copies_is_enough(album: Path, other: str, tmp_path: Path) -> None:
    (album / "a.png").unlink()
    assert reembed(tmp_path, other).indexed == 6


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_a_stopped_run_goes_on_where_it_was(
    error: type[BaseException], album: Path, other: str, rows: Rows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, real, done = snapshot(rows), reembedding.decode, []

    def decode(*args: Any) -> Any:
        if len(done) == 5:
            raise error
        done.append(args)
        return real(*args)

    with monkeypatch.context() as patch:
        patch.setattr(reembedding, "decode", decode)
        with pytest.raises(error):
            reembed(tmp_path, other, batch_size=2)
    assert snapshot(rows) == before
    assert rows("SELECT count(*) FROM staged") == [(4,)]
    assert reembed(tmp_path, other).indexed == 2
    vectors = [np.frombuffer(v, "<f4") for (v,) in rows("SELECT v FROM embedding")]
    assert len(vectors) == 6
    assert np.allclose([np.linalg.norm(v) for v in vectors], 1, atol=1e-3)


def test_what_was_staged_for_a_third_model_is_dropped(
    album: Path, other: str, model: str, rows: Rows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    third = save_siglip2(tmp_path / "third", seed=6)
    with monkeypatch.context() as patch:
        patch.setattr(reembedding, "decode", lambda *_: Refused("damaged PNG", "png"))
        with pytest.raises(PictoError):
            reembed(tmp_path, str(third))
    (album / "sub/b.png").rename(album / "sub/away.png")
    with pytest.raises(PictoError):
        reembed(tmp_path, str(third))
    assert rows("SELECT count(*) FROM staged") == [(5,)]
    (album / "sub/away.png").rename(album / "sub/b.png")
    assert reembed(tmp_path, other).indexed == 6


def test_a_file_that_crashes_its_decoder_is_named(
    album: Path, other: str, rows: Rows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, real = snapshot(rows), reembedding.decode

    def decode(path: str, *rest: Any) -> Any:
        if path.endswith("b.png"):
            raise CrashedError
        return real(path, *rest)

    monkeypatch.setattr(reembedding, "decode", decode)
    with pytest.raises(PictoError, match=r"b\.png: crashed its decoder"):
        reembed(tmp_path, other)
    assert snapshot(rows) == before


def test_an_empty_library_has_nothing_to_move(tmp_path: Path, other: str) -> None:
    with pytest.raises(PictoError, match="there is no database"):
        reembed(tmp_path, other)
    from pictocli.schema import connect

    connect(str(tmp_path / "library.db"), create=True).close()
    with pytest.raises(ModelError, match="holds no images"):
        reembed(tmp_path, other)
