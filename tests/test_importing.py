"""`picto import`: vectors made elsewhere, for files that are here."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from checkpoints import save_siglip
from pictures import make_pdf, scene
from program import run

import pictocli
from pictocli.errors import ModelMismatchError, NotFoundError, PictoError, ValidationError

DIM = 24
Write = Callable[..., Path]


def vector(seed: int, dim: int = DIM) -> list[float]:
    found = np.random.default_rng(seed).standard_normal(dim)
    return list(map(float, found / np.linalg.norm(found)))


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """Two pictures, one of them in a folder, and a PDF of three pages."""
    folder = tmp_path / "album"
    (folder / "sub").mkdir(parents=True)
    scene(1).save(folder / "a.png")
    scene(2).save(folder / "sub/b.jpg")
    make_pdf(folder / "c.pdf", [3, 4, 5])
    return folder


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write paths and vectors to x.parquet."""

    def run(rows: dict[str, Any], names: tuple[str, str] = ("path", "embedding"), kind: Any = None) -> Path:
        columns = [pa.array(list(rows)), pa.array(list(rows.values()), kind or pa.list_(pa.float32()))]
        pq.write_table(pa.table(columns, names=list(names)), tmp_path / "x.parquet")
        return tmp_path / "x.parquet"

    return run


@pytest.fixture
def library(tmp_path: Path) -> Any:
    with pictocli.open(tmp_path / "new.db") as library:
        yield library


def imported(library: pictocli.Library, file: Path, model: str, **options: Any) -> pictocli.reports.ImportReport:
    return library.import_embeddings(file, model=model, workers=0, device="cpu", **options)


def embeddings(library: pictocli.Library) -> dict[str, list[float]]:
    return {each.path: list(each.embedding or ()) for each in library.export(embeddings=True)}


def test_what_was_exported_comes_back(indexed: Path, tmp_path: Path, library: pictocli.Library) -> None:
    shutil.copy(indexed, tmp_path / "old.db")
    with pictocli.open(tmp_path / "old.db") as old:
        old.export_to(tmp_path / "x.parquet", embeddings=True)
        report = library.import_embeddings(tmp_path / "x.parquet", workers=0, device="cpu", thumbnails=True)
        assert (report.rows, report.index.indexed, report.index.skipped) == (18, 18, [])
        assert (report.absent, report.surplus, report.repeated, report.normalised) == (0, 0, 0, 0)
        assert not report.untagged
        assert library.check() == []
        mine = {each.path: each for each in library.export(embeddings=True)}
        for each in old.export(embeddings=True):
            for name in ("dataset", "folder", "page", "width", "height", "kind", "size", "content_hash", "measures"):
                assert getattr(mine[each.path], name) == getattr(each, name)
            assert mine[each.path].embedding == pytest.approx(each.embedding, abs=1e-6)
            assert mine[each.path].tags == each.tags
            theirs = old.similar(each.path, threshold=0, folder="/").results
            ours = library.similar(each.path, threshold=0, folder="/").results
            assert [(one.path, round(one.similarity, 5)) for one in ours] == [
                (one.path, round(one.similarity, 5)) for one in theirs
            ]
        photos = old.info().datasets[0].roots[0]
        again = library.index([photos], workers=0, device="cpu", thumbnails=True)
        assert (again.indexed, again.unchanged, again.updated) == (0, 14, 0)


def test_metadata_and_two_roots_come_back(index: Any, album: Path, tmp_path: Path, library: pictocli.Library) -> None:
    (tmp_path / "other").mkdir()
    scene(8).save(tmp_path / "other/d.png")
    (tmp_path / "m.jsonl").write_text('{"filename": "a.png", "price": 5}\n')
    index(album, metadata=str(tmp_path / "m.jsonl"), dataset="d")
    index(tmp_path / "other", dataset="d")
    with pictocli.open(tmp_path / "library.db") as old:
        old.export_to(tmp_path / "x.parquet", embeddings=True)
        library.import_embeddings(tmp_path / "x.parquet", workers=0, device="cpu")
        assert library.info().datasets == old.info().datasets
        assert library.show(album / "a.png").metadata == {"price": 5}


@pytest.mark.parametrize("kind", [pa.list_(pa.float64()), pa.large_list(pa.float32()), pa.list_(pa.float16(), DIM)])
@pytest.mark.parametrize("names", [("path", "embedding"), ("image_path", "vector")])
def test_files_of_others(
    names: tuple[str, str], kind: pa.DataType, album: Path, write: Write, model: str, library: pictocli.Library
) -> None:
    given = {str(album / "a.png"): vector(1), str(album / "sub/b.jpg"): vector(2)}
    halves = (
        {path: np.asarray(each, "f2") for path, each in given.items()} if kind.value_type == pa.float16() else given
    )
    report = imported(library, write(halves, names, kind), model)
    assert (report.index.indexed, report.model) == (2, model)
    assert {(each.path, each.dataset, each.folder) for each in library.export()} == {
        (str(album / "a.png"), "album", ""), (str(album / "sub/b.jpg"), "album", "sub")
    }  # fmt: skip
    for path, stored in embeddings(library).items():
        assert stored == pytest.approx(given[path], abs=1e-3)
    assert library.index([album], model=model, workers=0, device="cpu").indexed == 3  # the pages of the PDF


def test_what_does_not_fit_is_counted(album: Path, write: Write, model: str, library: pictocli.Library) -> None:
    twice = [value * 2 for value in vector(3)]
    file = write({
        f"{album}/a.png": twice, f"{album}/c.pdf#page=2": vector(4), f"{album}/c.pdf#page=9": vector(5),
        f"{album}/gone.jpg": vector(6), f"{album}/./a.png": vector(7), f"{album}/sub/b.jpg": [0.0] * DIM,
    })  # fmt: skip
    report = imported(library, file, model)
    assert (report.rows, report.absent, report.first_absent) == (6, 1, f"{album}/gone.jpg")
    assert (report.surplus, report.repeated, report.normalised) == (1, 1, 1)
    assert {(each.path, each.reason) for each in report.index.skipped} == {
        (f"{album}/sub/b.jpg", "its vector is missing, zero or not finite"),
        (f"{album}/c.pdf#page=1", "no vector is given for it: picto index makes one"),
        (f"{album}/c.pdf#page=3", "no vector is given for it: picto index makes one"),
    }
    found = embeddings(library)
    assert set(found) == {f"{album}/a.png", f"{album}/c.pdf#page=2"}
    assert found[f"{album}/a.png"] == pytest.approx(vector(3), abs=1e-6)
    assert library.index([album], model=model, workers=0, device="cpu").indexed == 3  # b.jpg, and the other pages
    assert embeddings(library)[f"{album}/c.pdf#page=2"] == pytest.approx(vector(4), abs=1e-6)
    assert library.check() == []


def test_the_first_page_is_that_of_a_file_without_a_page(
    album: Path, write: Write, model: str, library: pictocli.Library
) -> None:
    imported(library, write({f"{album}/c.pdf": vector(1)}), model)
    assert {path: pytest.approx(each, abs=1e-6) for path, each in embeddings(library).items()} == {
        f"{album}/c.pdf#page=1": vector(1)
    }


def test_known_files_keep_their_embedding_unless_forced(
    album: Path, write: Write, model: str, library: pictocli.Library
) -> None:
    path = str(album / "a.png")
    imported(library, write({path: vector(1)}), model)
    report = imported(library, write({path: vector(2)}), "auto")
    assert (report.index.indexed, report.index.unchanged) == (0, 1)
    assert embeddings(library)[path] == pytest.approx(vector(1), abs=1e-6)
    assert imported(library, write({path: vector(2)}), "auto", force=True).index.indexed == 1
    assert embeddings(library)[path] == pytest.approx(vector(2), abs=1e-6)


def test_a_dry_run_makes_nothing(album: Path, write: Write, model: str, library: pictocli.Library) -> None:
    report = imported(library, write({f"{album}/a.png": vector(1)}), model, dry_run=True)
    assert (report.index.indexed, report.index.dry_run, os.path.exists(library.path)) == (1, True, False)


def test_relative_paths_begin_at_the_root(
    album: Path, write: Write, model: str, library: pictocli.Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write({"sub/b.jpg": vector(1)})
    with pytest.raises(NotFoundError, match=r"none of the 1 rows of .* such as .*sub/b\.jpg"):
        imported(library, file, model)
    assert not os.path.exists(library.path)
    assert imported(library, file, model, root=str(album)).index.indexed == 1
    assert [(each.dataset, each.folder) for each in library.export()] == [("album", "sub")]


def test_a_model_that_is_not_here_leaves_tags_for_later(
    album: Path, tmp_path: Path, library: pictocli.Library, index: Any
) -> None:
    """A file of picto's own says all that must be known of the model; its tags wait for the model itself."""
    folder = save_siglip(tmp_path / "away", seed=5)
    index(album, model=str(folder), db=tmp_path / "old.db")
    with pictocli.open(tmp_path / "old.db") as old:
        old.export_to(tmp_path / "x.parquet", embeddings=True)
        tags = {each.path: each.tags for each in old.export()}
    shutil.move(folder, tmp_path / "elsewhere")
    report = library.import_embeddings(tmp_path / "x.parquet", workers=0, device="cpu")
    assert (report.index.indexed, report.untagged, library.info().tags) == (5, True, [])
    shutil.move(tmp_path / "elsewhere", folder)
    library.retag(device="cpu")
    assert {each.path: each.tags for each in library.export()} == tags


@pytest.mark.parametrize(
    ("rows", "options", "error", "told"),
    [
        ({"a.png": vector(1, 5)}, {}, ValidationError, "holds vectors of 5 numbers, and the model's have 24"),
        ({"a.png": vector(1)}, {"model": "auto"}, ValidationError, "does not say which model made its vectors"),
        ({"a.png": vector(1)}, {"path_column": "nix"}, ValidationError, "has no column nix; its columns are path, em"),
        ({"a.png": vector(1)}, {"vector_column": "path"}, ValidationError, "holds string, not vectors"),
        ({"a.png": vector(1)}, {"root": "/nowhere"}, NotFoundError, "no such folder: /nowhere"),
        ({"a.png": vector(1)}, {"workers": -1}, ValidationError, "workers must lie between"),
        ({"a.png": [float("nan")] * DIM}, {}, NotFoundError, "none of the 1 rows"),
        ({"a.png": None}, {}, NotFoundError, "none of the 1 rows"),
    ],
    ids=["dim", "no model", "path column", "vector column", "root", "workers", "nan", "null"],
)
def test_what_cannot_be_imported_is_told_and_nothing_made(
    rows: Any, options: Any, error: type[PictoError], told: str, album: Path, write: Write, model: str,
    library: pictocli.Library, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(album)
    with pytest.raises(error, match=told):
        library.import_embeddings(write(rows), **{"model": model, "device": "cpu", "workers": 0} | options)
    assert not os.path.exists(library.path)


def test_spaces_do_not_mix(
    index: Any, album: Path, write: Write, model: str, tmp_path: Path, library: pictocli.Library
) -> None:
    other = str(save_siglip(tmp_path / "other", seed=9))
    imported(library, write({f"{album}/a.png": vector(1)}), model)
    with pytest.raises(ModelMismatchError, match="the database holds embeddings of"):
        imported(library, tmp_path / "x.parquet", other)
    index(album, model=other, db=tmp_path / "theirs.db")
    with pictocli.open(tmp_path / "theirs.db") as theirs:
        theirs.export_to(tmp_path / "y.parquet", embeddings=True)
    with pytest.raises(ModelMismatchError, match=r"y\.parquet holds embeddings of .*other, not of"):
        imported(library, tmp_path / "y.parquet", "auto")
    assert len(embeddings(library)) == 1


@pytest.mark.parametrize("content", [b"", b"PAR1", b"no parquet at all" * 9], ids=["empty", "magic", "text"])
def test_what_is_no_parquet_is_told(content: bytes, tmp_path: Path, library: pictocli.Library) -> None:
    (tmp_path / "x.parquet").write_bytes(content)
    with pytest.raises(ValidationError, match="is not a Parquet file that can be read"):
        imported(library, tmp_path / "x.parquet", "mini")
    with pytest.raises(NotFoundError, match="no such file"):
        imported(library, tmp_path / "none.parquet", "mini")


def test_what_the_program_says(album: Path, write: Write, model: str, tmp_path: Path) -> None:
    rows = {f"{album}/a.png": [2 * each for each in vector(1)], f"{album}/gone.png": vector(2)}
    ran = run("import", write(rows), "--model", model, "--db", tmp_path / "new.db", "--workers", "0")
    first, *more = ran.err.splitlines()
    assert (ran.code, ran.out, first.startswith("Indexed 1 image in ")) == (0, b"", True)
    assert more == [
        f"1 of 2 vectors of files that are not here, such as {album}/gone.png",
        "1 of 2 vectors not of unit length, and made so",
    ]
    shown = run("show", album / "a.png", "--db", tmp_path / "new.db", "--format", "json")
    assert json.loads(shown.out)["filename"] == "a.png"
