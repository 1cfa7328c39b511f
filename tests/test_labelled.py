"""What a file of labels says of pictures, and what it leaves open."""

from __future__ import annotations

from pathlib import Path

import pytest

from pictocli.errors import NotFoundError, ValidationError
from pictocli.labelled import known_labels
from pictocli.taxonomy import Taxonomy, parse

TAXONOMY = b"""
schema = 1
version = "t"
null_prompts = ["a photo."]
[objects]
templates = ["{}"]
labels = [{ id = "car", phrase = "a car", aliases = ["auto"] }, { id = "dog", phrase = "a dog" }]
[scenes]
templates = ["{}"]
labels = [{ id = "living-room", phrase = "a living room" }]
[attributes]
templates = ["{}"]
labels = [{ id = "furry", phrase = "furry" }]
"""


@pytest.fixture
def taxonomy() -> Taxonomy:
    return parse(TAXONOMY, "t.toml")


def said(tmp_path: Path, taxonomy: Taxonomy, content: str, *names: str) -> tuple[list[list[int]], list[str]]:
    (tmp_path / "labels.csv").write_text(content)
    known, strange = known_labels(
        str(tmp_path / "labels.csv"), taxonomy, [(str(tmp_path), str(tmp_path / name)) for name in names]
    )
    return known.tolist(), strange


@pytest.mark.parametrize(
    ("content", "known"),
    [
        pytest.param("path,objects\na.jpg,car\nb.jpg,dog\n", [[1, 0, -1, -1], [0, 1, -1, -1]], id="one column"),
        pytest.param(
            "path,objects,scenes\na.jpg,car|dog,living room\nb.jpg,,\n",
            [[1, 1, 1, -1], [0, 0, 0, -1]],
            id="two columns",
        ),
        pytest.param("path,objects\na.jpg,Autos\n", [[1, -1, -1, -1], [-1, -1, -1, -1]], id="alias and plural"),
        pytest.param(
            "filename,labels\na.jpg,furry|car\nb.jpg,car\n", [[1, -1, -1, 1], [1, -1, -1, 0]], id="any category"
        ),
        pytest.param(
            "path,objects\nb.jpg, car | dog \n", [[-1, -1, -1, -1], [1, 1, -1, -1]], id="a picture with no row"
        ),
        pytest.param("path,objects\na.jpg,car?\nb.jpg,car\n", [[-1, -1, -1, -1], [1, -1, -1, -1]], id="left open"),
        pytest.param("path,objects\na.jpg,dog ?|car\nb.jpg,\n", [[1, -1, -1, -1], [0, -1, -1, -1]], id="nowhere sure"),
    ],
)
def test_a_label_is_known_where_some_row_gives_it(
    content: str, known: list[list[int]], tmp_path: Path, taxonomy: Taxonomy
) -> None:
    assert said(tmp_path, taxonomy, content, "a.jpg", "b.jpg") == (known, [])


def test_labels_that_the_taxonomy_lacks_are_named(tmp_path: Path, taxonomy: Taxonomy) -> None:
    known, strange = said(tmp_path, taxonomy, "path,objects\na.jpg,car|zebra\nb.jpg,furry\n", "a.jpg", "b.jpg")
    assert strange == ["furry", "zebra"]  # furry is no object
    assert known == [[1, -1, -1, -1], [0, -1, -1, -1]]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("path,objects\nelsewhere.jpg,car\n", id="other pictures"),
        pytest.param("path,objects\na.jpg,zebra\n", id="other labels"),
        pytest.param("path,colour\na.jpg,red\n", id="other columns"),
        pytest.param("name,objects\na.jpg,car\n", id="no path"),
    ],
)
def test_a_file_that_tells_nothing_is_refused(content: str, tmp_path: Path, taxonomy: Taxonomy) -> None:
    with pytest.raises(ValidationError):
        said(tmp_path, taxonomy, content, "a.jpg")


def test_a_file_that_is_not_there(tmp_path: Path, taxonomy: Taxonomy) -> None:
    with pytest.raises(NotFoundError):
        known_labels(str(tmp_path / "none.csv"), taxonomy, [])
