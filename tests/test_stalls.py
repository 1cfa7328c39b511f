"""A decoder that dies, and a disk that stalls, cost a file each: in real workers, which really die and really wait."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pictures import make_pdf, scene

from pictocli import indexing, pipeline
from pictocli.decode import decode, inspect

WAITS = "not done in time, over --max-seconds 2"


def waiting(path: str) -> None:
    """Wait for somebody to write to a pipe, as one waits for a share whose server has gone."""
    with open(f"{os.path.dirname(path)}/../pipe", "rb") as pipe:
        pipe.read()


def dying_decode(path: str, kind: str, page: int, *rest: Any) -> Any:
    if path.endswith("b.png") or page == 2:
        os.kill(os.getpid(), signal.SIGSEGV)
    return decode(path, kind, page, *rest)


def stalling_decode(path: str, kind: str, page: int, *rest: Any) -> Any:
    if path.endswith("b.png") or page == 2:
        waiting(path)
    return decode(path, kind, page, *rest)


def stalling_inspect(path: str, *rest: Any) -> Any:
    if path.endswith(("b.png", ".pdf")):
        waiting(path)
    return inspect(path, *rest)


@pytest.fixture
def album(tmp_path: Path) -> Path:
    folder = tmp_path / "album"
    folder.mkdir()
    for seed, name in enumerate("abcd"):
        scene(seed).save(folder / f"{name}.png")
    make_pdf(folder / "e.pdf", [7, 8, 9])
    os.mkfifo(tmp_path / "pipe")
    return folder


@pytest.mark.parametrize(
    ("module", "name", "instead", "pages", "reasons"),
    [
        (indexing, "decode", dying_decode, 5, ["crashed its decoder"] * 2),
        (indexing, "decode", stalling_decode, 5, [WAITS] * 2),
        (pipeline, "inspect", stalling_inspect, 3, [WAITS] * 2),
    ],
    ids=["dies of a page", "stalls at a page", "stalls at a file"],
)
def test_one_file_is_lost_and_the_run_goes_on(
    module: Any, name: str, instead: Callable[..., Any], pages: int, reasons: list[str], album: Path,
    index: Callable[..., Any], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    started = time.monotonic()
    with monkeypatch.context() as patch:
        patch.setattr(module, name, instead)
        report = index(album, workers=2, max_seconds=2)
    assert report.indexed == pages
    assert [each.reason for each in report.skipped] == reasons
    assert time.monotonic() - started < 60
    again = index(album, workers=2)
    waited = instead is not dying_decode
    assert again.indexed == (7 - pages if waited else 0)  # a crash is remembered, a stall is not
    assert len(again.skipped) == (0 if waited else 1)  # a file of which some pages are there is no skipped file
