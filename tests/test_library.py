"""The public API: what pictocli.open() gives, held against the reference system's semantics."""

from __future__ import annotations

import inspect
import shutil
from collections.abc import Callable, Iterable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pictures import make_pdf, scene

import pictocli
from pictocli import brain, sqlite
from pictocli.catalog import Catalog
from pictocli.errors import (
    AwayError,
    ModelError,
    ModelMismatchError,
    NotFoundError,
    PictoError,
    StoreError,
    TakenError,
    UnreadableError,
    ValidationError,
)
from pictocli.queries import Queries
from pictocli.records import Image, Pairs, SimilarImage, TaggedImage
from pictocli.schema import connect

Rows = Callable[..., list[tuple[Any, ...]]]


@pytest.fixture
def no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    def embedder(self: brain.Model) -> Any:
        raise AssertionError("the model was loaded")

    monkeypatch.setattr(brain.Model, "embedder", property(embedder))
    monkeypatch.setattr(brain.Model, "text_embedder", property(embedder))


@pytest.fixture
def tagged(library: pictocli.Library, rows: Rows) -> pictocli.Library:
    """The library with tags that a person can check: see the comments below."""
    import sqlite3

    db = sqlite3.connect(library.path)
    db.execute("UPDATE image SET objects = '{}', scenes = '{}', attributes = '{}'")
    for image_id, objects, scenes in (
        (1, '{"car": 0.9, "dog": 0.5}', '{"outdoor": 0.6}'),
        (2, '{"dog": 0.8}', '{"outdoor": 0.7}'),
        (3, '{"car": 0.6}', '{"beach": 0.9}'),
        (4, '{"bus": 0.6}', "{}"),
    ):
        db.execute("UPDATE image SET objects = ?, scenes = ? WHERE id = ?", (objects, scenes, image_id))
    db.commit()
    db.close()
    return library


# -- its shape -----


def test_signatures_are_the_reference_systems() -> None:
    wanted = {
        "by_similarity": {"image": inspect.Parameter.empty, "threshold": 0.6, "limit": 50, "folder_path": None},
        "by_tag": {"objects": None, "scenes": None, "attributes": None, "dataset_name": None, "limit": 50},
    }
    for name, parameters in wanted.items():
        found = inspect.signature(getattr(pictocli.Library, name)).parameters
        assert {key: value.default for key, value in found.items() if key != "self"} == parameters


def test_records_have_the_documented_fields() -> None:
    base = {"image_id", "path", "filename", "dataset", "folder", "page", "tags", "metadata", "thumbnail_url", "width",
            "height", "processing_time_ms"}  # fmt: skip
    names = {record: {each.name for each in fields(record)} for record in (Image, SimilarImage, TaggedImage)}
    assert base <= names[Image]
    assert names[SimilarImage] - names[Image] == {"similarity", "closer_than", "probability", "score", "parts"}
    assert names[TaggedImage] - names[Image] == {"matched"}


def test_the_tree_of_errors() -> None:
    tree = {
        ValidationError: (PictoError, 2),
        NotFoundError: (PictoError, 4),
        StoreError: (PictoError, 3),
        ModelMismatchError: (StoreError, 3),
        TakenError: (StoreError, 3),
        AwayError: (StoreError, 3),
        ModelError: (PictoError, 3),
        UnreadableError: (PictoError, 3),
    }
    assert {error: (error.__base__, error.exit_code) for error in tree} == tree


def test_the_public_names() -> None:
    assert pictocli.__all__ == sorted(pictocli.__all__)
    assert all(hasattr(pictocli, name) for name in pictocli.__all__)
    assert pictocli.open is not open
    assert {"Library", "open", "NotFoundError", "ValidationError"} <= set(pictocli.__all__)


def test_open_takes_a_path_or_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, guard: Path) -> None:
    monkeypatch.setenv("PICTO_DB", str(tmp_path / "env.db"))
    assert pictocli.open().path == str(tmp_path / "env.db")
    assert pictocli.open(tmp_path / "x.db").path == str(tmp_path / "x.db")
    monkeypatch.delenv("PICTO_DB")
    assert Path(pictocli.open().path).is_relative_to(guard)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(StoreError, match="there is no database"):
        pictocli.open(tmp_path / "x.db").by_similarity(1)
    assert list(tmp_path.iterdir()) == []


# -- likeness -----


def cosines(rows: Rows, image_id: int) -> dict[int, float]:
    found = rows("SELECT i.id, e.v FROM image i JOIN embedding e ON e.content_id = i.content_id")
    vectors = {i: np.frombuffer(v, "<f4").astype(float) for i, v in found}
    return {i: float(v @ vectors[image_id]) for i, v in vectors.items() if i != image_id}


@pytest.mark.usefixtures("no_model")
def test_by_similarity_is_the_cosine_sorted_cut_and_without_the_source(library: pictocli.Library, rows: Rows) -> None:
    wanted = cosines(rows, 7)
    found = library.by_similarity(7, threshold=0.0, limit=500, folder_path="/")
    assert {each.image_id: each.similarity for each in found} == pytest.approx(
        {i: cosine for i, cosine in wanted.items() if cosine >= 0}, abs=1e-5
    )
    assert [each.similarity for each in found] == sorted((each.similarity for each in found), reverse=True)
    assert all(isinstance(each, SimilarImage) and each.image_id != 7 for each in found)
    middle = sorted(wanted.values())[-4]
    assert len(library.by_similarity(7, threshold=middle, folder_path="/")) == 4
    assert library.by_similarity(7, threshold=middle, limit=2, folder_path="/") == found[:2]
    assert all(each.similarity >= 0.6 for each in library.by_similarity(7, folder_path="/"))


@pytest.mark.parametrize(
    ("threshold", "limit", "message"),
    [
        (1.2, 50, "threshold must lie between 0 and 1, not 1.2"),
        (-0.1, 50, "threshold must lie"),
        (float("nan"), 50, "threshold must lie"),
        (0.6, 0, "limit must lie between 1 and 500, not 0"),
        (0.6, 501, "limit must lie"),
        (0.6, -1, "limit must lie"),
    ],
)
def test_values_out_of_range(threshold: float, limit: int, message: str, library: pictocli.Library) -> None:
    with pytest.raises(ValidationError, match=message):
        library.by_similarity(1, threshold=threshold, limit=limit)


@pytest.mark.parametrize("limit", [0, 501])
def test_the_limit_of_every_query(limit: int, library: pictocli.Library) -> None:
    for query in (lambda: library.by_text("dog", limit=limit), lambda: library.by_tag(objects=["dog"], limit=limit)):
        with pytest.raises(ValidationError, match="limit must lie"):
            query()


@pytest.mark.parametrize("limit", [1, 500])
def test_the_limits_themselves_are_allowed(limit: int, library: pictocli.Library) -> None:
    assert len(library.by_similarity(1, 0.0, limit, "/")) >= 1


@pytest.mark.usefixtures("no_model")
@pytest.mark.parametrize(
    ("reference", "folder_path", "wanted"),
    [
        ("scans/one.tif", None, "scans"),
        ("scans/one.tif", "/", ""),
        ("scans/one.tif", "beach", "beach"),
        ("old.bmp", None, ""),
    ],
    ids=["its own folder", "the whole dataset", "another folder", "a reference at the root"],
)
def test_a_reference_brings_its_folder_as_the_scope(
    reference: str, folder_path: str | None, wanted: str, library: pictocli.Library, photos: Path, rows: Rows
) -> None:
    found = library.by_similarity(photos / reference, threshold=0.0, limit=500, folder_path=folder_path)
    own = library.show(photos / reference).image_id
    there = {i for i, path in rows("SELECT i.id, o.path FROM image i JOIN folder o ON o.id = i.folder_id")
             if path.startswith(wanted)}  # fmt: skip
    positive = {i for i, cosine in cosines(rows, own).items() if cosine >= 0}
    assert {each.image_id for each in found} == (there & positive) - {own}


def test_the_scope_is_the_datasets_own(library: pictocli.Library, photos: Path, tmp_path: Path, model: str) -> None:
    (tmp_path / "second").mkdir()
    shutil.copy(photos / "old.bmp", tmp_path / "second/old.bmp")
    library.index([tmp_path / "second"], workers=0)
    assert {each.dataset for each in library.by_similarity(photos / "old.bmp", 0.0, 500, "/")} == {"photos"}
    assert library.by_similarity(tmp_path / "second/old.bmp", 0.0, 500) == []
    wide = library.similar(photos / "old.bmp", threshold=0.0, limit=500, everywhere=True).results
    assert {each.dataset for each in wide} == {"photos", "second"}
    copy = next(each for each in wide if each.dataset == "second")
    assert isinstance(copy, SimilarImage)
    assert copy.similarity == pytest.approx(1)
    answer = library.similar(tmp_path / "second/old.bmp", threshold=0.0)
    assert (answer.considered, list(answer.results)) == (0, [])
    assert answer.elsewhere
    one = library.similar(photos / "scans/one.tif", threshold=0.0, dataset="second").results
    assert {each.dataset for each in one} <= {"second"}


def test_a_scope_that_is_not_there(library: pictocli.Library) -> None:
    with pytest.raises(NotFoundError, match="no dataset nothing"):
        library.similar(1, dataset="nothing")
    with pytest.raises(NotFoundError, match="no indexed folder nothing"):
        library.by_similarity(1, folder_path="nothing")
    with pytest.raises(NotFoundError, match="no dataset nothing"):
        library.by_tag(objects=["dog"], dataset_name="nothing")


def test_a_new_picture_is_embedded_on_the_fly_and_not_stored(
    library: pictocli.Library, photos: Path, tmp_path: Path, rows: Rows
) -> None:
    scene(1).save(tmp_path / "new.png")  # the pixels of old.bmp
    found = library.similar(tmp_path / "new.png", device="cpu").results
    assert found[0].path == str(photos / "old.bmp")
    assert isinstance(found[0], SimilarImage)
    assert found[0].similarity == pytest.approx(1, abs=1e-4)
    by_bytes = library.similar((tmp_path / "new.png").read_bytes(), device="cpu").results
    assert [each.image_id for each in by_bytes] == [each.image_id for each in found]
    make_pdf(tmp_path / "new.pdf", [30, 15])
    page = library.similar(f"{tmp_path}/new.pdf#page=2", threshold=0.0, device="cpu").results
    assert page[0].path == f"{photos}/scans/report.pdf#page=2"
    assert rows("SELECT count(*) FROM image") == [(18,)]


@pytest.mark.usefixtures("no_model")
def test_a_copy_elsewhere_costs_no_model(library: pictocli.Library, photos: Path, tmp_path: Path) -> None:
    shutil.copy(photos / "old.bmp", tmp_path / "copy.bmp")
    found = library.by_similarity(tmp_path / "copy.bmp")
    assert found[0].path == str(photos / "old.bmp")
    assert library.by_similarity((photos / "old.bmp").read_bytes()) == found


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (b"text", UnreadableError, "text, not an image"),
        (b"", UnreadableError, "empty file"),
        (b"\xff\xd8\xff\xe0", UnreadableError, "damaged JPEG"),
    ],
)
def test_bad_references(
    data: bytes, error: type[PictoError], message: str, library: pictocli.Library, tmp_path: Path
) -> None:
    (tmp_path / "bad.jpg").write_bytes(data)
    for image in (tmp_path / "bad.jpg", data):
        with pytest.raises(error):
            library.similar(image, device="cpu")
    with pytest.raises(error, match=message):
        library.similar(data, device="cpu")


def test_a_page_that_is_not_there(library: pictocli.Library, photos: Path) -> None:
    with pytest.raises(UnreadableError, match="it has 3 pages"):
        library.by_similarity(f"{photos}/scans/report.pdf#page=4")


# -- how unusual -----


@pytest.fixture
def compared(library: pictocli.Library) -> pictocli.Library:
    """The library, made to hold 1,000 pairs of which one in a hundred is at 0.5 or above."""
    db = connect(library.path)
    Catalog(db).keep_pairs(Pairs(contents=46, n=1000, ranks=(0, 500, 990, 999), cosines=(-1.0, 0.0, 0.5, 0.9)))
    db.close()
    return library


@pytest.mark.usefixtures("no_model")
def test_a_similarity_says_how_unusual_it_is(compared: pictocli.Library) -> None:
    answer = compared.similar(7, threshold=0.25, limit=500, everywhere=True)
    found = [each for each in answer.results if isinstance(each, SimilarImage)]
    assert found
    for each in found:
        wanted = np.interp(each.similarity, (-1, 0, 0.5, 0.9), (0, 0.5, 0.99, 0.999))
        assert each.closer_than == pytest.approx(wanted)
        assert each.probability is None
    assert answer.closer_than == pytest.approx(0.745)  # than the threshold's


def test_the_nearest_says_so_when_nothing_passed(compared: pictocli.Library) -> None:
    answer = compared.similar("id:1", threshold=1, everywhere=True)
    assert not answer.results
    assert answer.nearest is not None
    assert answer.closer_than == pytest.approx(np.interp(answer.nearest, (-1, 0, 0.5, 0.9), (0, 0.5, 0.99, 0.999)))
    assert compared.similar("id:1", threshold=1, folder="beach").closer_than is not None
    alone = compared.similar(compared.show(1).path, threshold=1)
    assert (alone.closer_than is None) is (alone.nearest is None)


def test_words_and_small_libraries_say_nothing_of_pairs(compared: pictocli.Library, indexed: Path) -> None:
    found = compared.search("a dog", device="cpu")
    assert {each.closer_than for each in found.results if isinstance(each, SimilarImage)} == {None}
    assert found.closer_than is None
    with pictocli.open(indexed) as small:  # 18 pictures
        answer = small.similar(7, threshold=0, everywhere=True)
        assert {each.closer_than for each in answer.results if isinstance(each, SimilarImage)} == {None}
        assert (answer.closer_than, small.info().pairs) == (None, None)


def test_info_has_the_distribution(compared: pictocli.Library) -> None:
    found = compared.info().pairs
    assert found is not None
    assert (found.n, found.contents) == (1000, 46)
    assert {share: round(cosine, 3) for share, cosine in found.quantiles.items() if share in (0.25, 0.5, 0.99)} == {
        0.25: -0.5,
        0.5: 0.0,
        0.99: 0.5,
    }
    assert max(found.quantiles) == 0.999


def test_an_index_run_measures_pairs_and_the_next_does_not(
    index: Any, tmp_path: Path, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "album").mkdir()
    for seed in range(50):
        scene(seed, 40, 30).save(tmp_path / f"album/{seed}.png")
    shutil.copy(tmp_path / "album/0.png", tmp_path / "album/copy.png")
    assert index(tmp_path / "album").indexed == 50
    kept = rows("SELECT value FROM meta WHERE key = 'pairs'")
    with pictocli.open(tmp_path / "library.db") as library:
        found = library.info().pairs
        assert found is not None
        assert (found.n, found.contents) == (1225, 50)
        best = library.similar(1, threshold=0, everywhere=True).results[0]
        assert isinstance(best, SimilarImage)
        assert best.closer_than == pytest.approx(1 - 1 / 1225)  # a copy: closer than all that were compared
    with monkeypatch.context() as patch:
        patch.setattr(sqlite, "chosen", pytest.fail)
        patch.setattr(sqlite, "measured", pytest.fail)
        assert index(tmp_path / "album", model="auto").unchanged == 51
    assert rows("SELECT value FROM meta WHERE key = 'pairs'") == kept


# -- words -----


def test_a_text_is_embedded_once(library: pictocli.Library, rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    first = library.by_text("A dog, on the beach!", limit=500, device="cpu")
    assert len(first) == 18
    assert [each.similarity for each in first] == sorted((each.similarity for each in first), reverse=True)
    assert all(each.probability is not None and 0 <= each.probability <= 1 for each in first)
    assert rows("SELECT text FROM text_embedding") == [("a dog on the beach",)]

    def embedder(self: brain.Model) -> Any:
        raise AssertionError("the model was loaded")

    monkeypatch.setattr(brain.Model, "text_embedder", property(embedder))
    with pictocli.open(library.path) as again:
        assert again.by_text("a dog on the beach", limit=500) == first
        assert len(again.search("a dog on the beach", folder="scans").results) == 8
        with pytest.raises(AssertionError, match="was loaded"):
            again.by_text("a cat")


def test_text_is_ranked_by_the_cosine(library: pictocli.Library, rows: Rows) -> None:
    found = library.by_text("a red car", limit=500, device="cpu")
    text = np.frombuffer(rows("SELECT v FROM text_embedding")[0][0], "<f4").astype(float)
    stored = dict(rows("SELECT i.id, e.v FROM image i JOIN embedding e ON e.content_id = i.content_id"))
    assert {each.image_id: each.similarity for each in found} == pytest.approx(
        {i: float(np.frombuffer(v, "<f4") @ text) for i, v in stored.items()}, abs=1e-5
    )
    assert library.by_text("a red car", limit=3) == found[:3]


@pytest.mark.parametrize("text", ["", "   ", "?!", "\n"])
def test_no_words(text: str, library: pictocli.Library) -> None:
    with pytest.raises(ValidationError, match="no words"):
        library.by_text(text)


def test_a_probability_cuts(library: pictocli.Library) -> None:
    everything = library.search("a dog", limit=500, device="cpu").results
    assert isinstance(everything[3], SimilarImage)
    cut = everything[3].probability
    assert cut is not None
    assert len(library.search("a dog", limit=500, min_probability=cut).results) == 4
    with pytest.raises(ValidationError):
        library.search("a dog", min_probability=1.5)


# -- tags -----


@pytest.mark.usefixtures("no_model")
@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        ({"objects": ["car"]}, [1, 3]),
        ({"objects": ["car", "dog"]}, [1, 2, 3]),
        ({"objects": ["car"], "scenes": ["outdoor"]}, [1]),
        ({"objects": ["car", "dog"], "scenes": ["outdoor", "beach"]}, [1, 2, 3]),
        ({"objects": ["car"], "limit": 1}, [1]),
        ({"objects": ["CAR"]}, [1, 3]),
        ({"objects": ["cars"]}, [1, 3]),
        ({"objects": ["automobile"]}, [1, 3]),
        ({"objects": ["buses"]}, [4]),
        ({"objects": ["car"], "dataset_name": "photos"}, [1, 3]),
        ({"objects": ["giraffe"]}, []),
        ({"objects": [], "scenes": ["beach"], "attributes": None}, [3]),
    ],
    ids=str,
)
def test_by_tag(asked: dict[str, Any], wanted: list[int], tagged: pictocli.Library) -> None:
    found = tagged.by_tag(**asked)
    assert [each.image_id for each in found] == wanted
    assert all(isinstance(each, TaggedImage) for each in found)


def test_matched_names_the_labels_asked_for(tagged: pictocli.Library) -> None:
    found = tagged.by_tag(objects=["cars", "dog"], scenes=["outdoor"])
    assert [dict(each.matched) for each in found] == [
        {"car": 0.9, "dog": 0.5, "outdoor": 0.6},
        {"dog": 0.8, "outdoor": 0.7},
    ]
    assert found[0].tags["objects"] == ["car", "dog"]


def test_match_all_and_sorting_by_score(tagged: pictocli.Library) -> None:
    assert [each.image_id for each in tagged.tagged(["car", "dog"], match="all").results] == [1]
    assert [each.image_id for each in tagged.tagged(["car", "dog"], sort="score").results] == [2, 1, 3]
    assert [each.image_id for each in tagged.tagged(["dog"], sort="score", limit=1).results] == [2]


@pytest.mark.parametrize("asked", [{}, {"objects": []}, {"objects": None, "scenes": (), "attributes": []}], ids=str)
def test_an_empty_filter_is_an_error_and_not_everything(asked: dict[str, Any], library: pictocli.Library) -> None:
    with pytest.raises(ValidationError, match="no tag given"):
        library.by_tag(**asked)


@pytest.mark.parametrize(
    ("asked", "hint"),
    [
        ({"objects": ["truk"]}, "nearest: truck"),
        ({"objects": ["outdoor"]}, "--scenes outdoor"),
        ({"scenes": ["xyzzyxyz"]}, "picto taxonomy --category scenes"),
        ({"objects": [""]}, ""),
    ],
    ids=str,
)
def test_an_unknown_label_names_the_nearest(asked: dict[str, Any], hint: str, library: pictocli.Library) -> None:
    with pytest.raises(ValidationError, match="unknown label") as caught:
        library.by_tag(**asked)
    assert hint in str(caught.value.hint)


def test_an_answer_that_is_empty_in_scope_counts_elsewhere(tagged: pictocli.Library) -> None:
    answer = tagged.tagged(["car"], folder="scans")
    assert (list(answer.results), answer.elsewhere) == ([], 2)
    assert tagged.tagged(["giraffe"]).elsewhere is None


# -- show, info, embed -----


@pytest.mark.usefixtures("no_model")
def test_show(library: pictocli.Library, photos: Path) -> None:
    found = library.show(photos / "beach/turned.jpg")
    assert (found.path, found.folder, found.dataset) == (str(photos / "beach/turned.jpg"), "beach", "photos")
    assert (found.kind, found.width, found.height, found.page) == ("jpeg", 120, 80, None)
    assert (found.size, found.has_thumbnail) == ((photos / "beach/turned.jpg").stat().st_size, True)
    assert found.processing_time_ms > 0
    assert found.tags["attributes"]
    assert list(found.tags["attributes"]) == list(found.scores["attributes"])
    with pytest.raises(NotFoundError, match="not in the index"):
        library.show(photos / "notes.txt")


@pytest.mark.usefixtures("no_model")
def test_info(library: pictocli.Library, model: str) -> None:
    found = library.info()
    assert (found.images, found.files, found.pdf_pages, found.thumbnails) == (18, 14, 3, 18)
    assert dict(found.kinds) == {
        "avif": 1,
        "bmp": 1,
        "gif": 1,
        "heic": 1,
        "jpeg": 3,
        "pdf": 3,
        "png": 3,
        "tiff": 4,
        "webp": 1,
    }
    assert (found.model, found.dim) == (model, 24)
    assert [(each.dataset, each.images) for each in found.datasets] == [("photos", 18)]
    assert found.size_bytes >= Path(library.path).stat().st_size


def test_embed_stores_nothing_and_agrees_with_the_index(library: pictocli.Library, photos: Path, rows: Rows) -> None:
    before = Path(library.path).read_bytes()
    files = [photos / "old.bmp", f"{photos}/scans/report.pdf#page=2", (photos / "old.bmp").read_bytes()]
    found = list(library.embed(files, device="cpu"))
    assert [each.path for each in found] == [str(photos / "old.bmp"), f"{photos}/scans/report.pdf#page=2", "-"]
    assert found[0].embedding == found[2].embedding
    for each in found[:2]:
        stored = rows(
            "SELECT e.v FROM image i JOIN embedding e ON e.content_id = i.content_id WHERE i.id = ?",
            library.show(each.path).image_id,
        )[0][0]
        assert np.allclose(each.embedding, np.frombuffer(stored, "<f4"), atol=1e-5)
        assert each.processing_time_ms > 0
    assert Path(library.path).read_bytes() == before


def test_another_model_than_the_databases_is_refused(library: pictocli.Library, photos: Path) -> None:
    with pytest.raises(ModelMismatchError, match="holds embeddings of") as caught:
        library.index([photos], model="mini")
    assert "picto reembed --model mini" in str(caught.value.hint)


def test_a_model_whose_files_have_changed_is_refused(
    library: pictocli.Library, model: str, tmp_path: Path, index: Any
) -> None:
    shutil.copytree(model, tmp_path / "model")
    (tmp_path / "album").mkdir()
    scene(1).save(tmp_path / "album/a.png")
    index(tmp_path / "album", db=tmp_path / "own.db", model=str(tmp_path / "model"))
    from checkpoints import save_siglip

    save_siglip(tmp_path / "model", seed=9)
    scene(2).save(tmp_path / "album/b.png")
    with pytest.raises(ModelMismatchError, match="another revision"):
        index(tmp_path / "album", db=tmp_path / "own.db", model="auto")


def test_a_library_is_read_while_it_is_written(library: pictocli.Library, photos: Path, tmp_path: Path) -> None:
    assert library.info().images == 18
    (tmp_path / "album").mkdir()
    scene(50).save(tmp_path / "album/a.png")
    assert library.index([tmp_path / "album"], workers=0, device="cpu").indexed == 1
    assert library.info().images == 19


# -- while others write -----


def test_a_question_sees_one_state_while_images_are_removed(
    library: pictocli.Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between finding images and reading their fields another process dropped them: that was a KeyError."""
    real = Queries.fields

    def meanwhile(self: Queries, ids: Iterable[int]) -> Any:
        db = connect(library.path)
        db.execute("DELETE FROM image WHERE id IN (SELECT id FROM image ORDER BY id DESC LIMIT 3)")
        db.close()
        return real(self, ids)

    before, whole = library.info().images, library.similar(1, threshold=0, everywhere=True)
    monkeypatch.setattr(Queries, "fields", meanwhile)
    found = library.similar(1, threshold=0, everywhere=True)
    assert (len(found.results), found.considered) == (len(whole.results), before - 1)
    monkeypatch.undo()
    assert library.info().images == before - 3


def test_words_embedded_for_a_space_that_the_library_has_left_are_not_kept(library: pictocli.Library) -> None:
    db = connect(library.path)
    catalog = Catalog(db)
    spec = catalog.spec()
    assert spec is not None
    catalog.keep_text("here", b"now", spec)
    catalog.keep_text("elsewhere", b"then", replace(spec, revision="another"))
    assert (catalog.text_embedding("here"), catalog.text_embedding("elsewhere")) == (b"now", None)
    db.close()


def test_a_library_that_another_process_re_embeds_is_asked_with_its_new_model(
    library: pictocli.Library, photos: Path
) -> None:
    words = "a red car in the snow"
    assert library.by_text(words, limit=1)
    with pictocli.open(library.path) as other:
        other.reembed("mini", workers=0, device="cpu")
    with pictocli.open(library.path) as fresh:
        assert library.by_text(words, limit=3) == fresh.by_text(words, limit=3)
