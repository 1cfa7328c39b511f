"""What picto would work with: the model that auto is, its cache, the database and the disks, and why these.

Nothing here raises: whatever is wrong is what is looked for. A model is loaded only where a trial is asked for.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from pictocli import databases, glance, hub
from pictocli.begun import require_finished
from pictocli.display import counted, shown_path, size_of
from pictocli.errors import TakenError
from pictocli.findings import Finding
from pictocli.installation import reinstalled, safely
from pictocli.queries import Queries
from pictocli.schema import connect

__all__ = ["examine_database", "examine_models", "try_model"]

_SMALL = 64_000_000  # bytes of a database that SQLite reads through in 0.2 s
_LEAST_FREE = 1_000_000_000  # bytes: a large model, or a library of a million images, would not fit
_CACHED = "fetched once, when a model must run; without a network the bundled mini steps in"

_TRIAL = """
import json, sys, time
begun = time.perf_counter()
import torch, transformers
from pictocli import hub
from pictocli.siglip import Siglip
import numpy as np
files = hub.on_disk(sys.argv[1])
made = Siglip(files, hub.read_spec(files), "auto", towers=("vision",))
made.warm_up()
size, loaded = made.spec.image_size, time.perf_counter()
made.embed_images(np.zeros((8, size, size, 3), np.uint8))
print(json.dumps({"device": str(made.device), "dtype": str(made.dtype).removeprefix("torch."), "runtime": made.runtime,
    "torch": torch.__version__, "threads": torch.get_num_threads(), "load": loaded - begun,
    "rate": 8 / (time.perf_counter() - loaded)}))
"""


# -- models ------------------------------------------------------------------------------------------------------------


def examine_models(held: str | None) -> list[Finding]:
    """The model that is used, and where models are kept. held: the id of the library's own, None without one."""
    return safely("model", lambda: _model(held)) + safely("cache", _cache)


def _chosen(held: str | None) -> tuple[str, str]:
    """The model that auto is, and why."""
    if held is not None:
        return held, "the library's own"
    if hub.on_disk(hub.DEFAULT) is not None:
        return hub.DEFAULT, "the default, and in the cache"
    return hub.DEFAULT, "the default"


def _model(held: str | None) -> Iterator[Finding]:
    name, why = _chosen(held)
    files = hub.on_disk(name)
    if files is not None:
        text = f"auto is {name}, {why}; {size_of(_size(files.folder))} in {shown_path(str(files.folder))}"
        yield Finding(subject="model", state="ok", text=text)
    elif held is not None and name.startswith(os.sep):
        text = f"auto is {name}, {why}, and that folder is gone: what is embedded can be compared, nothing new"
        yield Finding(
            subject="model", state="problem", text=text, remedy="bring it back, or picto reembed --model NAME"
        )
    else:
        yield Finding(subject="model", state="note", text=f"auto is {name}, {why}; {_CACHED}")


def _cache() -> Iterator[Finding]:
    folder = hub.cache_folder()
    kept = [name for name in hub.NAMES if name != "mini" and hub.on_disk(name) is not None]
    free = _free(folder)
    told = f"{shown_path(str(folder))} holds {', '.join(kept) or 'none of the models that have a name'}"
    yield _roomy("cache", told, free, "free some space, or set HF_HOME to a folder on another disk")


def _roomy(subject: str, told: str, free: int, remedy: str) -> Finding:
    if free >= _LEAST_FREE:
        return Finding(subject=subject, state="ok", text=f"{told}; {size_of(free)} free")
    return Finding(subject=subject, state="note", text=f"{told}; only {size_of(free)} free", remedy=remedy)


def _size(folder: Path) -> int:
    return sum(each.stat().st_size for each in folder.iterdir() if each.is_file())


def _there(path: str | os.PathLike[str]) -> Path:
    """The nearest folder above a path that is there."""
    place = Path(path).absolute()
    while not place.is_dir() and place != place.parent:
        place = place.parent
    return place


def _free(path: str | os.PathLike[str]) -> int:
    return shutil.disk_usage(_there(path)).free


def try_model(held: str | None) -> list[Finding]:
    """Load torch and the model in a process of its own, and embed pictures: seconds, and it may crash there."""
    return safely("trial", lambda: _trial(held))


def _trial(held: str | None) -> Iterator[Finding]:
    name = _chosen(held)[0]
    name = name if hub.on_disk(name) is not None else "mini"
    program = [sys.executable, "-P", "-c", _TRIAL, name]
    done = subprocess.run(program, capture_output=True, text=True, errors="replace", timeout=600, check=False)  # noqa: S603 - our own
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    if done.returncode:
        what = lines[-1] if lines else f"it ended with {done.returncode}"
        yield Finding(
            subject="trial",
            state="problem",
            text=f"{name} cannot run: {what}",
            remedy=reinstalled("torch transformers"),
        )
        return
    told = json.loads(done.stdout.splitlines()[-1])
    text = (
        f"{name} runs on {told['device']} in {told['dtype']} by {told['runtime']}, {told['rate']:.1f} images/s with"
        f" {counted(told['threads'], 'thread')}; loading took {told['load']:.1f} s"
    )
    yield Finding(subject="trial", state="ok", text=text)


# -- the database ------------------------------------------------------------------------------------------------------


def examine_database(path: str, why: str, *, deep: bool = False) -> tuple[list[Finding], str | None]:
    """The database, its disk, and the id of its model. why: what named it. deep: have SQLite read all of it."""
    models: list[str] = []
    if not databases.is_file(path):
        return safely("database", lambda: _server(path, why, models)), models[0] if models else None
    found = safely("database", lambda: _database(path, why, deep, models))
    return found + safely("disk", lambda: _disk(path)), models[0] if models else None


def _server(name: str, why: str, models: list[str]) -> Iterator[Finding]:
    """A library that is no file: whether it can be reached, and what it holds."""
    told = f"{databases.shown(databases.full(name))} ({why})"
    try:
        with databases.translated(name):
            if not databases.exists(name):
                remedy = "picto index FOLDER makes it"
                yield Finding(subject="database", state="note", text=f"{told} is not there yet", remedy=remedy)
                return
            db = databases.connect(name, readonly=True)
            try:
                queries = Queries(db)
                spec, images = queries.spec(), queries.count(None)
                models += [spec.id] if spec else []
                told += f", {db.engine}"
            finally:
                db.close()
            model = spec.id if spec else "no model yet"
            told += f", {size_of(databases.size(name))}, {counted(images, 'image')} of {model}"
    except TakenError as exc:
        yield Finding(subject="database", state="note", text=f"{told}: {exc}", remedy=exc.hint)
    else:
        yield Finding(subject="database", state="ok", text=told)


def _database(path: str, why: str, deep: bool, models: list[str]) -> Iterator[Finding]:
    told = f"{shown_path(os.path.abspath(path))} ({why})"
    size = os.path.getsize(path) if os.path.isfile(path) else 0
    header = glance.read_header(path) if size else None
    if not os.path.lexists(path) or (size == 0 and os.path.isfile(path)):
        able = os.access(_there(os.path.dirname(os.path.abspath(path))), os.W_OK)
        state, remedy = ("note", "picto index FOLDER makes it") if able else ("problem", "--db names another place")
        text = f"{told} is {'empty' if os.path.lexists(path) else 'not there yet'}" + (
            "" if able else ", and its folder cannot be written to"
        )
        yield Finding(subject="database", state=state, text=text, remedy=remedy)
        return
    if header is not None and header.older:
        text = f"{told} was made by an older picto, and the next command brings it up to date"
        yield Finding(subject="database", state="note", text=text, remedy="keep a copy if you need the older one, too")
        return
    try:
        db = connect(path, readonly=True)
    except TakenError as exc:
        yield Finding(subject="database", state="note", text=f"{told}: {exc}", remedy=exc.hint)
        return
    try:
        require_finished(db, shown_path(path))
        queries = Queries(db)
        spec, images = queries.spec(), queries.count(None)
        models += [spec.id] if spec else []
        whole = glance.is_sound(db) if size <= _SMALL or deep else None
    finally:
        db.close()
    told += f", {size_of(size)}, {counted(images, 'image')} of {spec.id if spec else 'no model yet'}"
    if whole is False:
        remedy = "picto info --check, then picto repair"
        yield Finding(subject="database", state="problem", text=f"{told}: it is damaged", remedy=remedy)
    else:
        told += ", sound" if whole else "; not read through, which picto info --check does"
        writable = os.access(path, os.W_OK)
        told += "" if writable else ", read-only"
        yield Finding(subject="database", state="ok" if writable else "note", text=told)


def _disk(path: str) -> Iterator[Finding]:
    place = _there(os.path.dirname(os.path.abspath(path)))
    yield _roomy("disk", f"{shown_path(str(place))}, where the database lies", _free(place), "free some space")
