"""Tags by a model that was trained on the labels themselves."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pictocli.records import ModelSpec
from pictocli.taught import FILE, Taught, read_taught
from pictocli.taxonomy import load

SPEC = ModelSpec("mini", "abc", 8, 64, "bicubic", 32, 10.0, -5.0)


def test_only_taught_labels_fire_and_by_their_own_probability() -> None:
    taxonomy = load()
    rule = Taught(taxonomy, ["car", "dog"])
    names = [label.id for label in taxonomy.of("objects")]
    logits = np.full((2, len(names)), 3.0)
    logits[1, names.index("car")] = -0.001
    probability, accepted = rule("objects", logits, np.zeros(2))
    assert [names[i] for i in np.flatnonzero(accepted[0])] == ["car", "dog"]
    assert [names[i] for i in np.flatnonzero(accepted[1])] == ["dog"]
    assert probability[0, 0] == pytest.approx(1 / (1 + np.exp(-3.0)))
    assert not rule("scenes", np.full((1, 200), 9.0), np.zeros(1))[1].any()


def test_measured_attributes_are_not_among_the_columns() -> None:
    taxonomy = load()
    columns = sum(label.id not in taxonomy.rules for label in taxonomy.of("attributes"))
    assert Taught(taxonomy, ["furry"])("attributes", np.zeros((1, columns)), np.zeros(1))[1].sum() == 1


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(None, id="no-file"),
        pytest.param("{", id="not-json"),
        pytest.param("[]", id="not-an-object"),
        pytest.param('{"revision": "abc", "taxonomy": "TAXONOMY"}', id="no-labels"),
        pytest.param('{"revision": "other", "taxonomy": "TAXONOMY", "labels": ["car"]}', id="other-weights"),
        pytest.param('{"revision": "abc", "taxonomy": "other", "labels": ["car"]}', id="other-taxonomy"),
    ],
)
def test_what_does_not_fit_does_not_count(tmp_path: Path, content: str | None) -> None:
    taxonomy = load()
    if content is not None:
        (tmp_path / FILE).write_text(content.replace("TAXONOMY", taxonomy.hash))
    assert read_taught(tmp_path, SPEC, taxonomy) is None


def test_what_fits_counts(tmp_path: Path) -> None:
    taxonomy = load()
    found = {"revision": "abc", "taxonomy": taxonomy.hash, "labels": ["car"]}
    (tmp_path / FILE).write_text(json.dumps(found))
    assert read_taught(tmp_path, SPEC, taxonomy) is not None


def test_the_bundled_model_carries_its_own() -> None:
    """The shipped file is that of the shipped weights and taxonomy."""
    from pictocli import hub

    files = hub.resolve("mini")
    taxonomy = load()
    assert read_taught(files.folder, hub.read_spec(files), taxonomy) is not None
    labels = json.loads((files.folder / FILE).read_text())["labels"]
    assert set(labels) <= {label.id for label in taxonomy.labels} - set(taxonomy.rules)
    assert len(labels) >= 40
