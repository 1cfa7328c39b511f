"""`calibrate`: a folder of pictures in, a file of constants out, and tags by it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pictures import make_pdf, scene

import pictocli
from pictocli import brain, calibration, hub, tagging
from pictocli.errors import NotFoundError, ValidationError
from pictocli.siglip import Siglip
from pictocli.taxonomy import load

N = 104


@pytest.fixture(scope="module")
def varied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """104 pictures of 96 px, one document, one text, one broken file."""
    folder = tmp_path_factory.mktemp("varied")
    (folder / "sub").mkdir()
    for seed in range(N - 1):
        scene(seed, 96, 64).save(folder / ("sub" if seed % 2 else "") / f"{seed:03}.png")
    make_pdf(folder / "z.pdf", [1, 2])
    (folder / "note.txt").write_text("no picture")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 broken")
    return folder


def files_of(tmp_path: Path) -> list[Path]:
    return sorted((Path(os.environ["XDG_DATA_HOME"]) / "picto" / "calibrations").glob("*"))


def test_pictures_alone_give_the_mean_and_spread_of_every_label(varied: Path, model: str, tmp_path: Path) -> None:
    with pictocli.open(tmp_path / "none.db") as library:
        report = library.calibrate([varied], model=model, device="cpu", workers=0)
    assert (report.images, report.told, report.able, report.labels) == (N, 0, 556, 556)
    assert [(Path(each.path).name, each.reason) for each in report.skipped] == [
        ("broken.jpg", report.skipped[0].reason)
    ]
    assert not (tmp_path / "none.db").exists()
    assert files_of(tmp_path) == [Path(report.file)]

    files = hub.resolve(model)
    spec = hub.read_spec(files)
    found = calibration.read(Path(report.file), spec, load())
    assert found is not None
    assert not found.fitted
    assert found.images == N
    pictures = [*sorted(varied.rglob("*.png")), varied / "z.pdf"]
    vectors = np.array([each.embedding for each in library.embed(pictures, model=model, device="cpu")])
    logits = spec.scale * (vectors @ tagging.embed_prompts(load(), Siglip(files, spec, "cpu"))[0].T) + spec.bias
    for name in ("dog", "kitchen", "furry"):
        column = [label.id for label in load().labels].index(name)
        assert found.labels[name].mu == pytest.approx(logits[:, column].mean(), abs=1e-3)
        assert found.labels[name].sigma == pytest.approx(logits[:, column].std(), abs=1e-3)


def test_with_labels_only_what_is_reliable_can_be_given(varied: Path, model: str, tmp_path: Path) -> None:
    """Random weights cannot tell dogs drawn by lot; bright scenes of one seed they may."""
    rows = ["path,objects,scenes"]
    for seed in range(N - 1):
        name = f"{'sub/' if seed % 2 else ''}{seed:03}.png"
        rows.append(f"{name},{'dog' if seed % 3 == 0 else ''}|zorgon,indoor")
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    said: list[str] = []
    with pictocli.open(tmp_path / "none.db") as library:
        library.progress.say = said.append  # type: ignore[method-assign]
        report = library.calibrate([varied], model=model, device="cpu", workers=0, labels=str(tmp_path / "labels.csv"))
    assert said == ["not in the taxonomy, and left out: zorgon"]
    assert report.told == 2
    labels = json.loads(Path(report.file).read_text())["labels"]
    assert labels["dog"][4] is None
    assert labels["dog"][5:] == [35, "label"]
    assert labels["indoor"][4] is not None  # true of all: given to all
    assert labels["cat"][4:] == [None, 0, "category"]


def test_the_librarys_own_model_and_prompts_are_used_and_retag_applies_it(
    varied: Path, model: str, library: pictocli.Library, rows: Callable[..., list[tuple[Any, ...]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def never(*_: object, **__: object) -> None:
        raise AssertionError("prompts were embedded again")

    with monkeypatch.context() as patch:
        patch.setattr(tagging, "embed_prompts", never)
        report = library.calibrate([varied], device="cpu", workers=0)
    assert report.model == model
    assert library.retag().rule == f"standardised on {N} pictures"


@pytest.mark.parametrize(
    ("paths", "options", "error"),
    [
        pytest.param(["nowhere"], {}, NotFoundError, id="no such folder"),
        pytest.param(["sub"], {}, ValidationError, id="too few pictures"),
        pytest.param(["."], {"labels": "none.csv"}, NotFoundError, id="no such labels"),
        pytest.param(["."], {"taxonomy": "none.toml"}, NotFoundError, id="no such taxonomy"),
        pytest.param(["."], {"batch_size": 0}, ValidationError, id="no batch"),
    ],
)
def test_what_cannot_be_done_leaves_no_file(
    paths: list[str], options: dict[str, Any], error: type[Exception], varied: Path, model: str, tmp_path: Path
) -> None:
    with pictocli.open(tmp_path / "none.db") as library, pytest.raises(error):
        library.calibrate(
            [varied / each for each in paths], **({"model": model, "device": "cpu", "workers": 0} | options)
        )
    assert files_of(tmp_path) == []


def test_each_model_revision_and_taxonomy_has_a_file_of_its_own(model: str) -> None:
    spec = hub.read_spec(hub.resolve(model))
    assert brain.calibration_file(spec, load()).parent == Path(os.environ["XDG_DATA_HOME"]) / "picto" / "calibrations"
    assert len(brain.calibration_file(spec, load()).name) < 100
