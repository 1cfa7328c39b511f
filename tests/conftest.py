"""What the tests share: a guard on home and network, a folder of real pictures, and a library that holds them."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a shell's background jobs: what tests start must hear it
    signal.signal(signal.SIGINT, signal.default_int_handler)

os.environ["OMP_NUM_THREADS"] = "1"  # before torch starts: tiny models on shared cores only lose by threads

from pictures import make_photos

import pictocli
import pictocli.tagging

HOMES = {
    "HOME": "home",
    "USERPROFILE": "home",
    "XDG_DATA_HOME": "home/data",
    "XDG_CACHE_HOME": "home/cache",
    "XDG_CONFIG_HOME": "home/config",
    "XDG_STATE_HOME": "home/state",
    "HF_HOME": "home/hf",
    "PICTO_DB": "home/default.db",
}


@pytest.fixture(scope="session", autouse=True)
def loopback_only() -> Iterator[None]:
    """No test of this process reaches further than this machine."""
    real = socket.socket.connect

    def connect(self: socket.socket, address: Any) -> None:
        if self.family != getattr(socket, "AF_UNIX", None) and address[0] not in ("127.0.0.1", "::1", "localhost"):
            raise AssertionError(f"a test reached for {address}")
        real(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", connect)
        patch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nothing listens on the discard port: no hub answers
        yield


@pytest.fixture(autouse=True)
def guard(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own for every test, beside its tmp_path. Programs that a test runs inherit it."""
    base = tmp_path_factory.mktemp("guard")
    (base / "home").mkdir()
    for name, place in HOMES.items():
        monkeypatch.setenv(name, str(base / place))
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "CLICOLOR_FORCE"):
        monkeypatch.delenv(name, raising=False)
    return base / "home"


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """18 pictures in 14 files of every format, see pictures.PHOTOS, and one text file. Not to be changed: copy it."""
    return make_photos(tmp_path_factory.mktemp("shared") / "photos")


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a small SigLIP with random weights, 24-D: a real model, whose answers mean nothing."""
    from checkpoints import save_siglip

    return str(save_siglip(tmp_path_factory.mktemp("models") / "small"))


@pytest.fixture(scope="session", autouse=True)
def prompts_once() -> Iterator[None]:
    """Every new library embeds some 3,000 prompts, 1.5 s: here each model does so once, and the others reuse it."""
    real, kept = pictocli.tagging.embed_prompts, dict[tuple[str, str, str], Any]()

    def embed_prompts(taxonomy: Any, embedder: Any, *more: Any) -> Any:
        key = (embedder.spec.id, embedder.spec.revision, taxonomy.hash)
        if key not in kept:
            kept[key] = real(taxonomy, embedder, *more)
        return kept[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pictocli.tagging, "embed_prompts", embed_prompts)
        yield


@pytest.fixture(scope="session")
def indexed(tmp_path_factory: pytest.TempPathFactory, photos: Path, model: str) -> Path:
    """The database of `photos`, indexed once with thumbnails. Not to be changed: `library` is a copy."""
    path = tmp_path_factory.mktemp("indexed") / "photos.db"
    with pictocli.open(path) as library:
        report = library.index([photos], model=model, workers=0, device="cpu", thumbnails=True)
    assert (report.indexed, report.skipped) == (18, [])
    return path


@pytest.fixture
def library(indexed: Path, tmp_path: Path) -> Iterator[pictocli.Library]:
    """A library of `photos` that a test may change; its file is tmp_path/library.db."""
    shutil.copy(indexed, tmp_path / "library.db")
    with pictocli.open(tmp_path / "library.db") as library:
        yield library


@pytest.fixture
def ours(tmp_path: Path) -> Iterator[pictocli.Library]:
    """tmp_path/library.db; at the end it must be sound, and one file."""
    with pictocli.open(tmp_path / "library.db") as library:
        yield library
        assert library.check() == []
    assert [name for name in os.listdir(tmp_path) if name.startswith("library.db")] == ["library.db"]


@pytest.fixture
def index(model: str, tmp_path: Path) -> Callable[..., pictocli.records.IndexReport]:
    """Index paths into tmp_path/library.db with the small model, in this process."""

    def run(*paths: str | Path, **options: Any) -> pictocli.records.IndexReport:
        settings = {"model": model, "workers": 0, "device": "cpu"} | options
        with pictocli.open(settings.pop("db", tmp_path / "library.db")) as library:
            return library.index(paths, **settings)

    return run


@pytest.fixture
def rows(tmp_path: Path) -> Callable[..., list[tuple[Any, ...]]]:
    """Ask tmp_path/library.db by SQL, as any program may: what is stored, not what picto says is."""

    def ask(sql: str, *bound: Any) -> list[tuple[Any, ...]]:
        db = sqlite3.connect(tmp_path / "library.db")
        try:
            return db.execute(sql, bound).fetchall()
        finally:
            db.close()

    return ask
