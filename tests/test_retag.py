"""New tags from what is stored: no picture is opened, and with the prompts at hand no model is loaded."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import pictocli
from pictocli import brain, calibration, siglip
from pictocli.calibration import Calibration, Constants, identity
from pictocli.errors import NotFoundError, StoreError, ValidationError
from pictocli.records import CATEGORIES
from pictocli.taxonomy import load

Rows = Callable[..., list[tuple[Any, ...]]]
TAGS = "SELECT id, objects, scenes, attributes FROM image ORDER BY id"
KEPT = "SELECT id, file_id, folder_id, page, content_id, metadata, indexed_at FROM image ORDER BY id"
OWN = """
schema = 1
version = "mine"
null_prompts = ["a photo."]
[objects]
templates = ["a photo of {}."]
labels = [{ id = "gadget", phrase = "a gadget", aliases = ["gizmo"] }, { id = "widget", phrase = "a widget" }]
[attributes]
templates = ["a {} photo"]
labels = [{ id = "wide", phrase = "wide", measured = "pixels", rule = "aspect > 1.05" }]
"""


def no_model(*_: object, **__: object) -> None:
    raise AssertionError("a model was loaded")


def inverted(rows: Rows) -> None:
    """The inverted table and the counts say what the JSON columns say."""
    told = {
        (image, category, name, score)
        for image, *columns in rows(TAGS)
        for category, column in enumerate(columns)
        for name, score in json.loads(column).items()
    }
    kept = rows("SELECT it.image_id, t.category, t.name, it.score FROM image_tag it JOIN tag t ON t.id = it.tag_id")
    assert set(kept) == told
    assert len(kept) == len(told)
    counts = rows("SELECT count(*) FROM tag t WHERE n <> (SELECT count(*) FROM image_tag WHERE tag_id = t.id)")
    assert counts == [(0,)]


def test_tags_that_were_lost_come_back_as_they_were_without_a_model_or_a_picture(
    library: pictocli.Library, rows: Rows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, kept = rows(TAGS), rows(KEPT)
    db = sqlite3.connect(tmp_path / "library.db")
    following = ("image_untagging", "image_retagged")
    triggers = db.execute("SELECT sql FROM sqlite_schema WHERE name IN (?, ?)", following).fetchall()
    for name in following:
        db.execute(f"DROP TRIGGER {name}")  # another program puts them aside: both tables are wrong now
    db.execute("UPDATE image SET objects = '{\"cat\": 0.5}', attributes = '{}' WHERE id > 3")
    for (sql,) in triggers:
        db.execute(sql)
    db.commit()
    db.close()
    monkeypatch.setattr(siglip, "Siglip", no_model)
    report = library.retag()
    assert (report.images, report.changed, report.rule) == (18, 15, "label-free")
    assert rows(TAGS) == before
    assert rows(KEPT) == kept
    assert rows("SELECT sql FROM sqlite_schema WHERE name IN (?, ?)", *following) == triggers
    inverted(rows)
    assert library.retag().changed == 0


def test_triggers_stand_again_afterwards(library: pictocli.Library, rows: Rows, tmp_path: Path) -> None:
    before = rows("SELECT name, sql FROM sqlite_schema ORDER BY name")
    library.retag()
    assert rows("SELECT name, sql FROM sqlite_schema ORDER BY name") == before


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_a_retag_that_stops_half_way_leaves_everything_as_it_was(
    error: type[BaseException], library: pictocli.Library, rows: Rows, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = [rows(TAGS), rows("SELECT * FROM meta ORDER BY key"), rows("SELECT name, n, phrase FROM tag ORDER BY 1")]
    (tmp_path / "own.toml").write_text(OWN)
    real = pictocli.tagging.Tagger.tag

    def tag(self: Any, *args: Any) -> Any:
        real(self, *args)
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(pictocli.tagging.Tagger, "tag", tag)
        with pytest.raises(error):
            library.retag(taxonomy=tmp_path / "own.toml", device="cpu")
    after = [rows(TAGS), rows("SELECT * FROM meta ORDER BY key"), rows("SELECT name, n, phrase FROM tag ORDER BY 1")]
    assert after == before
    assert rows("SELECT count(*) FROM sqlite_schema WHERE type = 'trigger'") != [(0,)]


def test_ones_own_labels_replace_the_bundled_ones_stay_and_go_again(
    library: pictocli.Library, rows: Rows, tmp_path: Path, index: Any, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = rows(TAGS)
    (tmp_path / "own.toml").write_text(OWN)
    report = library.retag(taxonomy=tmp_path / "own.toml", device="cpu")
    assert report.changed == report.images == 18
    inverted(rows)
    names = {name for row in rows(TAGS) for column in row[1:] for name in json.loads(column)}
    assert names <= {"gadget", "widget", "wide"}
    assert "wide" in names
    assert rows("SELECT name FROM tag ORDER BY name") == [("gadget",), ("wide",), ("widget",)]
    assert library.tagged(attributes=["wide"]).results
    library.tagged(objects=["gizmo"])
    with pytest.raises(ValidationError):
        library.tagged(objects=["cat"])

    (tmp_path / "own.toml").unlink()  # the library keeps a copy
    extra = tmp_path / "extra"
    shutil.copytree(photos, extra)
    next(extra.rglob("*.png")).write_bytes(b"changed")
    index(extra)
    assert {name for row in rows(TAGS) for column in row[1:] for name in json.loads(column)} <= names | {
        "gadget",
        "widget",
    }
    monkeypatch.setattr(siglip, "Siglip", no_model)  # these prompts are known
    assert library.retag().changed == 0

    library.retag(taxonomy="built-in")
    assert rows(TAGS)[: len(before)] == before
    with pytest.raises(ValidationError):
        library.tagged(objects=["gadget"])


@pytest.mark.parametrize(
    ("content", "error", "said"),
    [
        pytest.param(None, NotFoundError, "cannot be read", id="no file"),
        pytest.param(OWN.replace('id = "widget"', 'id = "gadget"'), ValidationError, "line", id="a label twice"),
        pytest.param("schema = 1\nversion = x", ValidationError, "line 2", id="no TOML"),
    ],
)
def test_a_wrong_list_is_refused_before_anything_is_touched(
    content: str | None, error: type[Exception], said: str, library: pictocli.Library, rows: Rows, tmp_path: Path
) -> None:
    before = rows(TAGS)
    if content is not None:
        (tmp_path / "own.toml").write_text(content)
    with pytest.raises(error, match=said):
        library.retag(taxonomy=tmp_path / "own.toml")
    assert rows(TAGS) == before


def test_a_library_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pictocli.open(tmp_path / "none.db") as library, pytest.raises(StoreError):
        library.retag()
    assert not (tmp_path / "none.db").exists()


# -- by which rule -----


def calibrated(model: str, library: pictocli.Library) -> tuple[Path, Calibration]:
    """A calibration by which every picture is a cat, and nothing else, kept where picto looks for it."""
    taxonomy = load()
    spec = library._spec()
    labels = {each.id: Constants(0, 1, 1, 0, None, 0, "category") for each in taxonomy.labels}
    labels = {name: each for name, each in labels.items() if name not in taxonomy.rules}
    labels["cat"] = Constants(-1000, 1, 1, 0, 0.5, 30, "label")
    made = Calibration(identity(spec, taxonomy), "label", 1234, True, labels)
    return brain.calibration_file(spec, taxonomy), made


def test_a_calibration_of_this_model_decides_and_info_says_so(
    library: pictocli.Library, model: str, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, made = calibrated(model, library)
    monkeypatch.setattr(calibration, "LEAST_LOGIT", -np.inf)  # random weights find everything absurd
    calibration.write(file, made)
    report = library.retag()
    assert report.rule == "calibrated on 1,234 pictures"
    assert {json.dumps(list(json.loads(row[1]))) for row in rows(TAGS)} == {'["cat"]'}
    assert library.info().tag_rule == "calibrated on 1,234 pictures"


def test_what_was_fitted_to_known_labels_goes_before_what_was_not(
    library: pictocli.Library, model: str, rows: Rows, tmp_path: Path
) -> None:
    """A folder of pictures alone must not take the place of the calibration that a model brings."""
    file, fitted = calibrated(model, library)
    loose = Calibration(fitted.identity, "image", 77, False, {name: Constants(0, 1) for name in fitted.labels})
    calibration.write(file, loose)
    assert library.retag().rule == "standardised on 77 pictures"
    calibration.write(Path(model) / calibration.FILE, fitted)
    try:
        assert library.retag().rule == "calibrated on 1,234 pictures"
        calibration.write(file, Calibration(fitted.identity, "label", 99, True, fitted.labels))
        assert library.retag().rule == "calibrated on 99 pictures"
    finally:
        (Path(model) / calibration.FILE).unlink()


def test_a_stale_calibration_is_refused_with_a_sentence_and_the_label_free_rule_stands_in(
    library: pictocli.Library, model: str, rows: Rows
) -> None:
    before = rows(TAGS)
    file, made = calibrated(model, library)
    stale = Calibration({**made.identity, "revision": "older"}, made.score, made.images, True, made.labels)
    calibration.write(file, stale)
    said: list[str] = []
    library.progress.say = said.append  # type: ignore[method-assign]
    assert library.retag().rule == "label-free"
    assert len(said) == 1
    assert "another revision" in said[0]
    assert rows(TAGS) == before


def test_new_pictures_under_another_rule_are_told_apart_until_a_retag(
    library: pictocli.Library, model: str, index: Any, photos: Path, tmp_path: Path
) -> None:
    calibration.write(*calibrated(model, library))
    extra = tmp_path / "extra"
    extra.mkdir()
    Image.linear_gradient("L").convert("RGB").save(extra / "new.png")
    index(extra)
    assert library.info().tag_rule == "label-free, then calibrated on 1,234 pictures"
    library.retag()
    assert library.info().tag_rule == "calibrated on 1,234 pictures"


def test_every_category_is_tagged_again(library: pictocli.Library) -> None:
    assert set(library.show(1).scores) == set(CATEGORIES)
