"""Finds a model's files: bundled, in a folder, in Hugging Face's cache, or on its hub. Loads no model.

The only module that talks to a network, and only to fetch model files: no picture, query or name ever leaves the
machine. huggingface_hub does the fetching; whether a hub answers at all is asked here first, because huggingface_hub
takes 23 s to give up. The cache is read here too, which saves its import (0.3 s) on every start after the first.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import json
import os
import queue
import re
import ssl
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from pictocli.checkpoint import TOKENIZER_FILES, ModelFiles, fingerprint, lacking, read_spec
from pictocli.errors import ModelError
from pictocli.protocols import NoProgress, Progress

__all__ = [
    "DEFAULT", "NAMES", "ModelFiles", "cache_folder", "fingerprint", "on_disk", "read_spec", "resolve", "resolve_auto",
]  # fmt: skip

DEFAULT = "siglip2-base"
_MINI = Path(__file__).with_name("mini")
NAMES = {
    "siglip2-base": "google/siglip2-base-patch16-224",
    "siglip2-so400m": "google/siglip2-so400m-patch16-256",
    "siglip2-so400m-384": "google/siglip2-so400m-patch14-384",
    "siglip-base": "google/siglip-base-patch16-224",
    "mini": str(_MINI),
}
_WANTED = {"config.json", "preprocessor_config.json", "processor_config.json", *TOKENIZER_FILES}
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_ID_LENGTH = 96  # the hub's own bound (huggingface_hub, validate_repo_id); longer ones are no folder names either
_FILE = re.compile(r"[\w.-]+")  # files in subfolders (onnx/, …) are never wanted, and no name may climb out
_ANSWER_LIMIT = 8_000_000  # bytes; a model's listing has some 10 kB
_HINT = "use --model mini, or a folder that holds the model"


class _UnavailableError(ModelError):
    """No hub can be asked, or it does not have the model: the case in which the bundled model steps in."""


def resolve(
    name: str, *, revision: str | None = None, progress: Progress | None = None, timeout: float = 3.0
) -> ModelFiles:
    """Find a model's files, fetching them when they are on the hub only.

    name: one of NAMES, a folder, or a hub id. revision: the hub commit (or branch) wanted; None takes the cached one,
    else the newest. A folder's revision is its fingerprint, whatever is asked for. timeout: seconds within which the
    hub must answer a first question; the download itself takes as long as it takes.
    Raises ModelError when there is no such model, or it cannot be had.
    """
    if name == "mini":
        return ModelFiles("mini", fingerprint(_MINI), _MINI)
    model = NAMES.get(name, name)
    folder = Path(os.path.expanduser(model))  # Path's own raises for a user or a name that cannot be
    if os.path.isdir(folder):
        folder = folder.resolve()
        return ModelFiles(str(folder), fingerprint(folder), folder)
    if not _HUB_ID.fullmatch(model) or len(model) > _ID_LENGTH:
        known = ", ".join(NAMES)
        raise ModelError(f"there is no model or folder {name}", f"name one of {known}, a hub id or a model's folder")
    if cached := _cached(model, revision):
        return cached
    return _fetch(model, _ask(model, revision, timeout), progress or NoProgress())


def resolve_auto(progress: Progress | None = None, *, timeout: float = 3.0) -> tuple[ModelFiles, str | None]:
    """The default model, and None; or the bundled one and a sentence that says why, when no hub offers the default.

    Raises ModelError when a download that had begun fails: what was fetched is kept, the next run goes on from there.
    """
    try:
        return resolve(DEFAULT, progress=progress, timeout=timeout), None
    except _UnavailableError as exc:
        reason = str(exc)
    return resolve("mini"), (
        f"using the small bundled model mini, because {reason}; results are coarser than with {DEFAULT}: "
        f"once online, change with `picto reembed --model {DEFAULT}`"
    )


def on_disk(name: str) -> ModelFiles | None:
    """A model's files where nothing need be fetched: bundled, in a folder, or whole in the cache; else None."""
    model = NAMES.get(name, name)
    return resolve(name) if name == "mini" or os.path.isdir(os.path.expanduser(model)) else _cached(model, None)


def cache_folder() -> Path:
    """Hugging Face's cache, found by its own rules, at call time: huggingface_hub reads the environment at import."""
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if os.environ.get(variable):
            return Path(os.environ[variable]).expanduser()
    return _home() / "hub"


def _home() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.environ.get("HF_HOME") or Path(base) / "huggingface").expanduser()


def _cached(model: str, revision: str | None) -> ModelFiles | None:
    """The whole model in the cache, None when it is not there or only half. Its layout is documented and stable.

    A wish for no particular revision is met by the one that `main` last meant, else by the newest whole one.
    """
    root = cache_folder() / f"models--{model.replace('/', '--')}"
    wanted = [revision] if revision else []
    with contextlib.suppress(OSError, ValueError):
        wanted.insert(0, (root / "refs" / (revision or "main")).read_text().strip())
    snapshots = root / "snapshots"
    if revision is None and snapshots.is_dir():
        wanted += [path.name for path in sorted(snapshots.iterdir(), key=lambda p: p.stat().st_mtime, reverse=True)]
    for commit in wanted:
        folder = snapshots / commit
        if _FILE.fullmatch(commit) and folder.is_dir() and lacking(folder) is None:
            return ModelFiles(model, commit, folder)
    return None


def _token() -> str | None:
    """The user's access token, for gated and private models."""
    path = Path(os.environ.get("HF_TOKEN_PATH") or _home() / "token").expanduser()
    token = os.environ.get("HF_TOKEN", "").strip()
    if not token:
        with contextlib.suppress(OSError, ValueError):
            token = path.read_text().strip()
    return token or None


def _endpoint() -> str:
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def _ask(model: str, revision: str | None, timeout: float) -> dict[str, Any]:
    """The hub's description of a model: `sha` and `siblings` with sizes. Raises within `timeout` seconds, always.

    A thread asks and is abandoned when it is late: a socket's own timeout starts anew with every byte, so it lets a
    dripping server go on for hours, and it does not cover the look-up of the name.
    """
    endpoint = _endpoint()
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}:
        raise _UnavailableError(f"{model} is not in the cache and HF_HUB_OFFLINE is set", f"unset it, or {_HINT}")
    if not endpoint.startswith(("http://", "https://")):
        raise _UnavailableError(f"HF_ENDPOINT is no web address: {endpoint}", "unset it, or begin it with https://")
    revised = f"/revision/{urllib.parse.quote(revision, safe='')}" if revision else ""
    url = f"{endpoint}/api/models/{model}{revised}?blobs=true"
    answers: queue.SimpleQueue[bytes | Exception] = queue.SimpleQueue()
    threading.Thread(target=_read_answer, args=(url, timeout, answers), daemon=True).start()
    try:
        answer = answers.get(timeout=timeout)
    except queue.Empty:
        answer = TimeoutError(f"no answer in {timeout:g} s")
    if isinstance(answer, urllib.error.HTTPError):
        _refuse(model, revision, answer.code)
    try:
        if isinstance(answer, Exception):
            raise answer
        described = json.loads(answer)
        if re.fullmatch(r"[\w.-]+", described["sha"]) and isinstance(described["siblings"], list):
            return dict(described)
        raise ValueError("a description of something else")
    except Exception as exc:  # whatever a network, a portal's login page or a broken server comes up with
        reason = getattr(exc, "reason", exc)
        reason = getattr(reason, "strerror", None) or reason  # without "[Errno -3]"
        raise _UnavailableError(f"{endpoint} cannot be reached ({reason}) to fetch {model}", _HINT) from exc


def _read_answer(url: str, timeout: float, answers: queue.SimpleQueue[bytes | Exception]) -> None:
    deadline = time.monotonic() + timeout
    body = b""
    try:
        request = urllib.request.Request(url)  # noqa: S310 - _ask checked the scheme
        if token := _token():
            request.add_unredirected_header("Authorization", f"Bearer {token}")  # never to another host
        with urllib.request.urlopen(request, timeout=timeout, context=_trust(url)) as response:  # noqa: S310 - http(s) only
            while chunk := response.read1(65_536):
                body += chunk
                if time.monotonic() > deadline or len(body) > _ANSWER_LIMIT:
                    return
        answers.put(body)
    except urllib.error.HTTPError as exc:
        exc.close()
        answers.put(exc)
    except Exception as exc:  # handed to the thread that waits
        answers.put(exc)


def _trust(url: str) -> ssl.SSLContext | None:
    """The certificates that huggingface_hub's client trusts: Python from python.org finds none by itself on a Mac."""
    if not url.startswith("https://"):
        return None
    with contextlib.suppress(ImportError):  # what newer huggingface_hub brings along; older ones bring certifi
        found: ssl.SSLContext = importlib.import_module("truststore").SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        return found
    context = ssl.create_default_context()
    with contextlib.suppress(ImportError):
        context.load_verify_locations(importlib.import_module("certifi").where())
    return context


def _refuse(model: str, revision: str | None, code: int) -> NoReturn:
    """Tell a model that is not there from a hub in trouble. The hub answers 401 for names it does not know."""
    if code in {401, 403, 404}:
        at = f" at revision {revision}" if revision else ""
        hint = f"check the name, or set HF_TOKEN if the model is private; else {_HINT}"
        raise _UnavailableError(f"{_endpoint()} has no model {model}{at} for you", hint)
    raise _UnavailableError(f"{_endpoint()} is in trouble (HTTP {code}) and cannot give {model}", f"try later; {_HINT}")


def _choose(model: str, described: dict[str, Any]) -> dict[str, int]:
    """The files to fetch → bytes. Of the weights, safetensors only: the whole file if there is one, else the shards."""
    sizes: dict[str, int] = {}
    for sibling in described["siblings"]:
        name, size = str(sibling.get("rfilename")), sibling.get("size")
        if _FILE.fullmatch(name):
            sizes[name] = size if isinstance(size, int) else 0
    weights = {name for name in sizes if name.endswith((".safetensors", ".safetensors.index.json"))}
    if "model.safetensors" in weights:
        weights = {"model.safetensors"}
    if not weights or "config.json" not in sizes:
        raise ModelError(f"{model} has no safetensors weights that can be read", f"choose another model; {_HINT}")
    return {name: size for name, size in sizes.items() if name in weights or name in _WANTED}


def _fetch(model: str, described: dict[str, Any], progress: Progress) -> ModelFiles:
    sizes, commit = _choose(model, described), str(described["sha"])
    progress.say(f"fetching {model} {_size(sum(sizes.values()))}")
    try:
        from huggingface_hub import snapshot_download

        with _talk(bars=sys.stderr.isatty() and not isinstance(progress, NoProgress)):
            folder = Path(
                snapshot_download(
                    model,
                    revision=commit,  # what was asked about is what is fetched, even if the branch moves meanwhile
                    cache_dir=cache_folder(),
                    endpoint=_endpoint(),
                    token=_token() or False,
                    allow_patterns=sorted(sizes),
                )
            )
    except Exception as exc:  # httpx, hub, xet and disk errors have no common root
        if isinstance(exc, OSError) and exc.errno == errno.ENOSPC:
            hint = f"free some space and run the command again; or {_HINT}"
            raise ModelError(
                f"no space left in {cache_folder()} to fetch {model} {_size(sum(sizes.values()))}", hint
            ) from exc
        reason = " ".join(str(exc).split())[:200]
        hint = f"run the command again to go on from where it stopped; or {_HINT}"
        raise ModelError(f"fetching {model} failed: {reason}", hint) from exc
    if missing := lacking(folder):
        raise ModelError(
            f"{model} was fetched, but it is not whole: {missing}", f"delete {folder.parents[1]} and try again"
        )
    return ModelFiles(model, commit, folder)


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB" if count >= 1e6 else f"{count} bytes"


@contextlib.contextmanager
def _talk(*, bars: bool) -> Iterator[None]:
    """Bars or none, and no advice from huggingface_hub; its settings are process-wide, so they are put back."""
    from huggingface_hub.utils import logging
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    verbosity, silent = logging.get_verbosity(), are_progress_bars_disabled()
    logging.set_verbosity(40)  # errors only, by the number that Python's logging gives them
    if not bars:
        disable_progress_bars()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a disk that is nearly full is told once, when it is full
            yield
    finally:
        logging.set_verbosity(verbosity)
        if not bars and not silent:
            enable_progress_bars()
