"""Finding and fetching models, against a real HTTP server on this machine that speaks enough of the hub's API."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoints import IMAGE_SIZE, WIDTH, save_siglip, save_siglip2, write_json
from safetensors.torch import load_file, save_file
from transformers import SiglipModel

from pictocli import hub
from pictocli.errors import ModelError
from pictocli.hub import ModelFiles, fingerprint, read_spec, resolve, resolve_auto
from pictocli.protocols import NoProgress

MODEL = "google/siglip2-base-patch16-224"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Said(NoProgress):
    """Remembers what was said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, message: str) -> None:
        self.lines.append(message)


class Hub(BaseHTTPRequestHandler):
    """One model, from a folder: its description, its tree, its files."""

    protocol_version = "HTTP/1.1"
    folder: Path
    asked: list[tuple[str, str, str | None]]
    broken: set[str]
    unfinished: set[str]
    status: int

    def do_GET(self) -> None:
        self._serve(body=True)

    def do_HEAD(self) -> None:
        self._serve(body=False)

    def log_message(self, *args: object) -> None: ...

    def _serve(self, *, body: bool) -> None:
        path = urllib.parse.unquote(self.path.split("?")[0])
        type(self).asked.append((self.command, path, self.headers["Authorization"]))
        api = f"/api/models/{MODEL}"
        if self.status != 200:
            return self._send(b"{}", self.status, body)
        if path in {api, f"{api}/revision/main", f"{api}/revision/{COMMIT}"}:
            siblings = [{"rfilename": name, "size": len(content)} for name, content in self._files().items()]
            return self._json({"_id": "1", "id": MODEL, "sha": COMMIT, "siblings": siblings})
        if path == f"{api}/tree/{COMMIT}":
            return self._json(
                [
                    {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}  # noqa: S324 - git's
                    for name, content in self._files().items()
                ]
            )
        name = path.removeprefix(f"/{MODEL}/resolve/{COMMIT}/")
        if name in self._files() and name not in self.broken:
            content = self._files()[name]
            etag = hashlib.sha256(content).hexdigest()
            headers = {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT, "Content-Length": str(len(content))}
            if name in self.unfinished:  # the line drops half-way
                content, self.close_connection = content[: len(content) // 2], True
            return self._send(content, 200, body, headers)
        return self._send(b"{}", 404, body, {"X-Error-Code": "EntryNotFound" if name != path else "RepoNotFound"})

    def _files(self) -> dict[str, bytes]:
        paths = (path for path in self.folder.rglob("*") if path.is_file())
        return {path.relative_to(self.folder).as_posix(): path.read_bytes() for path in paths}

    def _json(self, content: object) -> None:
        self._send(json.dumps(content).encode(), 200, True, {"Content-Type": "application/json"})

    def _send(self, content: bytes, status: int, body: bool, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(content)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    base = tmp_path_factory.mktemp("models")
    return {"siglip": save_siglip(base / "siglip"), "siglip2": save_siglip2(base / "siglip2")}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folders: dict[str, Path]) -> None:
    """No test finds the user's cache, token, proxy or hub; "mini" is a tiny checkpoint."""
    for name in [name for name in os.environ if name.startswith(("HF_", "HUGGINGFACE_")) or "PROXY" in name.upper()]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nothing listens on the discard port
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(hub, "_MINI", folders["siglip"])


@contextlib.contextmanager
def serving(folder: Path, **settings: Any) -> Iterator[type[Hub]]:
    attributes = {"folder": folder, "asked": [], "broken": set(), "unfinished": set(), "status": 200, **settings}
    kind = type("OneHub", (Hub,), attributes)
    server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    os.environ["HF_ENDPOINT"] = f"http://127.0.0.1:{server.server_port}"  # `elsewhere` puts it back
    try:
        yield kind
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextlib.contextmanager
def answering(answer: Callable[[socket.socket], None]) -> Iterator[None]:
    """A server that accepts and then does what `answer` does."""
    listener, accepted = socket.create_server(("127.0.0.1", 0)), []

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                accepted.append(listener.accept()[0])
                answer(accepted[-1])

    thread = threading.Thread(target=accept)
    thread.start()
    os.environ["HF_ENDPOINT"] = f"http://127.0.0.1:{listener.getsockname()[1]}"
    try:
        yield
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for connection in accepted:
            connection.close()
        thread.join()


def silent(connection: socket.socket) -> None: ...


def dripping(start: bytes) -> Callable[[socket.socket], None]:
    def drip(connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            connection.sendall(start)
            for _ in range(40):
                time.sleep(0.1)
                connection.sendall(b"x")

    return drip


def published(folder: Path, target: Path) -> Path:
    """A repository as on the hub: the model, and what nobody should fetch."""
    copy(folder, target)
    for name in ("README.md", "pytorch_model.bin", ".gitattributes", "onnx/model.safetensors", "onnx/config.json"):
        (target / name).parent.mkdir(exist_ok=True)
        (target / name).write_bytes(b"unwanted")
    return target


def copy(folder: Path, target: Path) -> Path:
    target.mkdir()
    for path in folder.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    return target


def spec_of(folder: Path) -> Any:
    return read_spec(ModelFiles("test", "0", folder))


def edit(path: Path, **changes: Any) -> None:
    content = json.loads(path.read_bytes()) | changes
    write_json(path, {name: value for name, value in content.items() if value is not ...})


# --- names and folders


def test_names_are_as_documented() -> None:
    assert hub.DEFAULT == "siglip2-base"
    assert {name: hub_id for name, hub_id in hub.NAMES.items() if name != "mini"} == {
        "siglip2-base": "google/siglip2-base-patch16-224",
        "siglip2-so400m": "google/siglip2-so400m-patch16-256",
        "siglip2-so400m-384": "google/siglip2-so400m-patch14-384",
        "siglip-base": "google/siglip-base-patch16-224",
    }
    assert Path(hub.NAMES["mini"]) == Path(hub.__file__).with_name("mini")


@pytest.mark.parametrize("name", ["x" * 5000, f"a/{'x' * 5000}"], ids=["a folder's", "an id"])
def test_names_that_no_model_can_have(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names longer than a file's may be were errors of the operating system's, and called a fault of picto's."""
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with pytest.raises(ModelError, match=f"there is no model or folder {name}"):
        hub.resolve(name)


def test_mini_is_bundled(folders: dict[str, Path]) -> None:
    assert resolve("mini") == ModelFiles("mini", fingerprint(folders["siglip"]), folders["siglip"])


def test_folders_become_absolute(folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy(folders["siglip2"], tmp_path / "mine")
    monkeypatch.chdir(tmp_path)
    found = resolve("mine", revision="ignored")
    assert found == ModelFiles(str(tmp_path / "mine"), fingerprint(tmp_path / "mine"), tmp_path / "mine")
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "model").symlink_to(tmp_path / "mine")
    assert resolve("~/model") == found


@pytest.mark.parametrize(
    "name", ["siglip3", "./nowhere", "/no/such/folder", "a/b/c", "../x", "-a/b", "", "~nobody-here", "a" * 300]
)
def test_no_such_model(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")  # what lies beside the checkout is nobody's business
    if name == "":
        name = "\n"  # "" is the working folder to pathlib
    with pytest.raises(ModelError) as caught:
        resolve(name)
    assert "siglip2-base" in str(caught.value.hint)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no model can be read .*config\.json"):
        resolve(str(tmp_path))


# --- the hub


@pytest.mark.parametrize("kind", ["siglip", "siglip2"])
def test_fetched_once_then_cached(
    kind: str, folders: dict[str, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    said = Said()
    with serving(published(folders[kind], tmp_path / "repository")) as server:
        first = resolve("siglip2-base", progress=said)
        got = {path.rsplit("/", 1)[-1] for command, path, _ in server.asked if "/resolve/" in path}
    size = sum(path.stat().st_size for path in folders[kind].iterdir())
    assert said.lines == [f"fetching {MODEL} {size} bytes"]
    assert (first.id, first.revision) == (MODEL, COMMIT)
    assert first.folder.is_relative_to(tmp_path / "hf" / "hub")
    assert got == {path.name for path in folders[kind].iterdir()}
    assert {path.name for path in first.folder.iterdir()} == got
    started = time.monotonic()
    for again in (
        resolve(MODEL),
        resolve("siglip2-base", revision=COMMIT),
        resolve_auto(said)[0],
    ):  # the server is gone
        assert again == first
    assert time.monotonic() - started < 0.5
    assert len(said.lines) == 1
    assert (read_spec(first).dim, read_spec(first).image_size) == (WIDTH, IMAGE_SIZE)
    assert not (tmp_path / "home").exists()
    assert capfd.readouterr() == ("", "")  # no bar and no advice off a terminal


@pytest.mark.parametrize("variable", ["HF_HUB_CACHE", "XDG_CACHE_HOME", None])
def test_the_cache_is_where_hugging_face_has_it(
    variable: str | None, folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = {"HF_HUB_CACHE": "own", "XDG_CACHE_HOME": "own/huggingface/hub", None: "home/.cache/huggingface/hub"}
    monkeypatch.delenv("HF_HOME")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    if variable:
        monkeypatch.setenv(variable, str(tmp_path / "own"))
    root = tmp_path / base[variable] / f"models--{MODEL.replace('/', '--')}"
    for commit in ("aa", "bb"):
        (root / "snapshots").mkdir(parents=True, exist_ok=True)
        copy(folders["siglip2"], root / "snapshots" / commit)
    os.utime(root / "snapshots" / "aa", (1, 1))
    assert resolve(MODEL).revision == "bb"  # the newest, while no ref says otherwise
    (root / "refs").mkdir()
    (root / "refs" / "main").write_text("aa")
    assert resolve(MODEL).revision == "aa"
    assert resolve(MODEL, revision="bb").folder == root / "snapshots" / "bb"


@pytest.mark.parametrize("damage", ["weights", "config"])
def test_half_a_cache_is_completed_or_refused(damage: str, folders: dict[str, Path], tmp_path: Path) -> None:
    repository = published(folders["siglip2"], tmp_path / "repository")
    with serving(repository):
        first = resolve(MODEL)
    (first.folder / {"weights": "model.safetensors", "config": "config.json"}[damage]).unlink()
    with pytest.raises(ModelError, match="cannot be reached"):
        resolve(MODEL)
    with serving(repository):
        assert resolve(MODEL) == first
    assert read_spec(first).dim == WIDTH


def test_a_cut_off_weight_file_is_not_taken_for_whole(folders: dict[str, Path], tmp_path: Path) -> None:
    repository = published(folders["siglip2"], tmp_path / "repository")
    with serving(repository):
        weights = resolve(MODEL).folder / "model.safetensors"
        with weights.open("rb+") as stream:
            stream.truncate(weights.stat().st_size - 1)
        with pytest.raises(ModelError, match="not whole") as caught:
            resolve(MODEL)
    assert "delete" in str(caught.value.hint)
    assert "models--google" in str(caught.value.hint)


def test_a_download_that_fails(folders: dict[str, Path], tmp_path: Path) -> None:
    repository = published(folders["siglip2"], tmp_path / "repository")
    with serving(repository, broken={"tokenizer.json"}), pytest.raises(ModelError, match="failed") as caught:
        resolve_auto()  # not a case for mini: the hub is there, and the rest will come
    assert "again" in str(caught.value.hint)
    assert "\n" not in str(caught.value)
    with serving(repository):
        assert resolve(MODEL).revision == COMMIT


def test_a_line_that_drops(folders: dict[str, Path], tmp_path: Path) -> None:
    repository = published(folders["siglip2"], tmp_path / "repository")
    with serving(repository, unfinished={"model.safetensors"}), pytest.raises(ModelError):
        resolve(MODEL)
    with serving(repository):
        assert read_spec(resolve(MODEL)).dim == WIDTH


@pytest.mark.parametrize(("count", "words"), [(999, "999 bytes"), (375_400_000, "375 MB"), (1_500_000_000, "1.5 GB")])
def test_sizes_in_words(count: int, words: str) -> None:
    assert hub._size(count) == words


def test_pickled_weights_are_not_fetched(folders: dict[str, Path], tmp_path: Path) -> None:
    repository = published(folders["siglip2"], tmp_path / "repository")
    (repository / "model.safetensors").unlink()
    with serving(repository) as server, pytest.raises(ModelError, match="no safetensors"):
        resolve(MODEL)
    assert len(server.asked) == 1


def test_shards_are_fetched(folders: dict[str, Path], tmp_path: Path) -> None:
    repository = copy(folders["siglip2"], tmp_path / "repository")
    (repository / "model.safetensors").unlink()
    SiglipModel.from_pretrained(folders["siglip2"]).save_pretrained(repository, max_shard_size="40KB")
    names = {path.name for path in repository.iterdir()}
    assert len(names) > 7
    with serving(repository):
        found = resolve(MODEL)
    assert {path.name for path in found.folder.iterdir()} == names
    assert read_spec(found).bias == pytest.approx(-16.77)


def test_the_token_reaches_the_hub(folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    with serving(copy(folders["siglip"], tmp_path / "repository")) as server:
        resolve(MODEL)
    assert {token for _, _, token in server.asked} == {"Bearer hf_secret"}


def test_offline_asks_nobody(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with serving(folders["siglip"]) as server, pytest.raises(ModelError, match="HF_HUB_OFFLINE"):
        resolve(MODEL)
    assert not server.asked
    assert resolve_auto()[0].id == "mini"


@pytest.mark.parametrize(
    ("status", "revision", "message"),
    [
        pytest.param(404, None, f"has no model {MODEL} for you", id="404"),
        pytest.param(401, None, f"has no model {MODEL} for you", id="401"),
        pytest.param(200, "other", "at revision other", id="no such revision"),
        pytest.param(503, None, "in trouble", id="503"),
    ],
)
def test_refusals(status: int, revision: str | None, message: str, folders: dict[str, Path]) -> None:
    with serving(folders["siglip"], status=status), pytest.raises(ModelError, match=message) as caught:
        resolve(MODEL, revision=revision)
    assert "--model mini" in str(caught.value.hint)


PORTAL = b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n<html></html>"


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(None, id="closed port"),
        pytest.param(silent, id="accepts and never answers"),
        pytest.param(dripping(b"HTTP/1.1 200 OK\r\nX: "), id="drips headers"),
        pytest.param(dripping(b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n"), id="drips the body"),
        pytest.param(lambda connection: connection.sendall(PORTAL), id="a login page"),
        pytest.param(lambda connection: connection.sendall(b"SSH-2.0-OpenSSH\r\n\r\n"), id="no HTTP"),
    ],
)
def test_no_hub_answers(answer: Callable[[socket.socket], None] | None, folders: dict[str, Path]) -> None:
    with answering(answer) if answer else contextlib.nullcontext():
        started = time.monotonic()
        with pytest.raises(ModelError, match="cannot be reached") as caught:
            resolve(MODEL, timeout=0.5)
        assert time.monotonic() - started < 1.5
        assert "--model mini" in str(caught.value.hint)
        started = time.monotonic()
        files, notice = resolve_auto(timeout=0.5)
        assert time.monotonic() - started < 1.5
    assert (files.id, files.folder) == ("mini", folders["siglip"])
    assert notice is not None
    assert "mini" in notice
    assert "cannot be reached" in notice
    assert "`picto reembed --model siglip2-base`" in notice


@pytest.mark.parametrize(
    "endpoint",
    ["ftp://127.0.0.1", "file:///etc/passwd", "http://[broken", "http://no-such-host.invalid", "https://127.0.0.1:9"],
)
def test_endpoints_that_are_none(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    started = time.monotonic()
    with pytest.raises(ModelError):
        resolve(MODEL, timeout=1)
    assert time.monotonic() - started < 2


# --- what the files say


@pytest.mark.parametrize(("kind", "resample", "bias"), [("siglip", "bicubic", -12.93), ("siglip2", "bilinear", -16.77)])
def test_spec(kind: str, resample: str, bias: float, folders: dict[str, Path]) -> None:
    spec = read_spec(resolve(str(folders[kind])))
    assert (spec.dim, spec.image_size, spec.resample, spec.text_length) == (WIDTH, IMAGE_SIZE, resample, 64)
    assert spec.id == str(folders[kind])
    assert spec.revision == fingerprint(folders[kind])
    assert spec.scale == pytest.approx(112.67, rel=1e-5)
    assert spec.bias == pytest.approx(bias, rel=1e-5)


@pytest.mark.parametrize(("dtype", "precision"), [(torch.float16, 5e-3), (torch.bfloat16, 2e-2)])
@pytest.mark.parametrize("shape", [(), (1,)])
def test_scale_in_half_precision(
    dtype: torch.dtype, precision: float, shape: tuple[int, ...], folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = copy(folders["siglip2"], tmp_path / "half")
    tensors = {
        "logit_bias": torch.full(shape, -16.77, dtype=dtype),
        "another": torch.zeros(3, dtype=torch.int8),
        "logit_scale": torch.full(shape, math.log(112.67), dtype=dtype),
    }
    save_file(tensors, folder / "model.safetensors")
    spec = spec_of(folder)
    assert spec.bias == float(tensors["logit_bias"].sum())
    assert spec.scale == math.exp(float(tensors["logit_scale"].sum()))
    assert spec.scale == pytest.approx(112.67, rel=precision)


@pytest.mark.parametrize(
    ("changes", "resample"),
    [
        pytest.param({"resample": ...}, "bicubic", id="absent"),
        pytest.param({"resample": None, "image_processor_type": "SiglipImageProcessor"}, "bicubic", id="SigLIP's"),
        pytest.param({"resample": ..., "image_processor_type": "Siglip2ImageProcessor"}, "bilinear", id="SigLIP 2's"),
        pytest.param({"size": IMAGE_SIZE, "image_mean": 0.5}, "bilinear", id="size and mean as numbers"),
    ],
)
def test_preprocessor_defaults(
    changes: dict[str, Any], resample: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = copy(folders["siglip2"], tmp_path / "model")
    edit(folder / "preprocessor_config.json", **changes)
    assert spec_of(folder).resample == resample


def test_processor_config_of_transformers_5(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = copy(folders["siglip2"], tmp_path / "model")
    inner = json.loads((folder / "preprocessor_config.json").read_bytes())
    write_json(folder / "processor_config.json", {"image_processor": inner, "processor_class": "SiglipProcessor"})
    (folder / "preprocessor_config.json").unlink()
    assert spec_of(folder) == spec_of(folders["siglip2"])


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        pytest.param("config.json", {"model_type": "clip"}, "of type clip", id="CLIP"),
        pytest.param("config.json", {"model_type": "siglip2"}, "of type siglip2", id="NaFlex"),
        pytest.param("config.json", {"model_type": ...}, "of type None", id="no type"),
        pytest.param("config.json", {"text_config": {"max_position_embeddings": "x"}}, "'x'", id="no number"),
        pytest.param("preprocessor_config.json", {"resample": 0}, "filter 0", id="nearest"),
        pytest.param("preprocessor_config.json", {"size": {"height": 32, "width": 64}}, "otherwise", id="not square"),
        pytest.param("preprocessor_config.json", {"size": {"shortest_edge": 32}}, "otherwise", id="crops"),
        pytest.param("preprocessor_config.json", {"image_mean": [0.48, 0.45, 0.4]}, "otherwise", id="CLIP's mean"),
        pytest.param("preprocessor_config.json", {"rescale_factor": 1}, "otherwise", id="unscaled"),
        pytest.param("preprocessor_config.json", {"do_normalize": False}, "otherwise", id="not normalised"),
        pytest.param("preprocessor_config.json", {"image_std": [[1]]}, "otherwise", id="odd deviation"),
        pytest.param("preprocessor_config.json", {"resample": [2]}, "filter", id="odd filter"),
    ],
)
def test_foreign_models_are_refused(
    name: str, changes: dict[str, Any], message: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = copy(folders["siglip2"], tmp_path / "model")
    edit(folder / name, **changes)
    with pytest.raises(ModelError, match=message) as caught:
        spec_of(folder)
    assert caught.value.hint


def safetensors(header: object, data: bytes = b"") -> bytes:
    encoded = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(encoded)) + encoded + data


def number(dtype: str, width: int, start: int = 0) -> dict[str, Any]:
    return {"dtype": dtype, "shape": [], "data_offsets": [start, start + width]}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        pytest.param("config.json", None, "no config.json", id="no config"),
        pytest.param("config.json", b"{", "cannot read", id="broken config"),
        pytest.param("config.json", b"[]", "JSON object", id="config is a list"),
        pytest.param("config.json", b"\xff\xfe{", "cannot read", id="config in no encoding"),
        pytest.param("preprocessor_config.json", None, "no preprocessor_config.json", id="no preprocessor"),
        pytest.param("preprocessor_config.json", b"", "cannot read", id="empty preprocessor"),
        pytest.param("model.safetensors", None, "no model.safetensors", id="no weights"),
        pytest.param("model.safetensors", b"", "no whole", id="empty weights"),
        pytest.param("model.safetensors", b"\x08\0\0", "no whole", id="3 bytes"),
        pytest.param("model.safetensors", b"\xff" * 64, "no whole", id="header beyond the file"),
        pytest.param("model.safetensors", safetensors(b"no JSON"), "header", id="header is no JSON"),
        pytest.param("model.safetensors", safetensors([1]), "header", id="header is a list"),
        pytest.param("model.safetensors", safetensors({"a": 1}), "header", id="entry is a number"),
        pytest.param("model.safetensors", safetensors({"a": {"dtype": "F32"}}), "header", id="no offsets"),
        pytest.param("model.safetensors", safetensors({"a": {"data_offsets": [4, 0]}}), "header", id="backwards"),
        pytest.param("model.safetensors", safetensors({"a": number("F32", 4)}), "instead of", id="cut short"),
        pytest.param("model.safetensors", safetensors({"a": number("F32", 4)}, b"1234"), "logit_scale", id="no scale"),
        pytest.param(
            "model.safetensors", safetensors({"logit_scale": number("F64", 8)}, b"12345678"), "one number", id="F64"
        ),
        pytest.param(
            "model.safetensors", safetensors({"logit_scale": number("F32", 4)}, b"\0\0\xc0\x7f"), "finite", id="NaN"
        ),
    ],
)
def test_broken_files_are_refused(
    name: str, content: bytes | None, message: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = copy(folders["siglip2"], tmp_path / "model")
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    with pytest.raises(ModelError, match=message) as caught:
        spec_of(folder)
    assert caught.value.hint


@pytest.mark.parametrize(
    "name", ["../secret.safetensors", "/etc/passwd", "gone.safetensors", 7, "a" * 300 + ".safetensors"]
)
def test_shard_names_that_lead_astray(name: object, folders: dict[str, Path], tmp_path: Path) -> None:
    folder = copy(folders["siglip2"], tmp_path / "model")
    (folder / "model.safetensors").rename(tmp_path / "secret.safetensors")
    write_json(folder / "model.safetensors.index.json", {"weight_map": {"logit_scale": name}})
    with pytest.raises(ModelError, match="not there"):
        spec_of(folder)


# --- fingerprints


@pytest.mark.parametrize(
    "name", ["config.json", "preprocessor_config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"]
)
def test_fingerprint_follows_every_file(name: str, folders: dict[str, Path], tmp_path: Path) -> None:
    folder = copy(folders["siglip2"], tmp_path / "model")
    before = fingerprint(folder)
    assert before == fingerprint(folders["siglip2"])
    assert len(before) == 12
    int(before, 16)
    (folder / "README.md").write_text("words")
    assert fingerprint(folder) == before
    if name == "model.safetensors":
        tensors = load_file(folder / name)
        save_file({key: value + 1 if key == "logit_bias" else value for key, value in tensors.items()}, folder / name)
    else:
        (folder / name).write_bytes((folder / name).read_bytes() + b" ")
    assert fingerprint(folder) != before


def test_fingerprint_of_large_weights_is_cheap(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = copy(folders["siglip2"], tmp_path / "model")
    length = 1_500_000_000
    with (folder / "model.safetensors").open("wb") as stream:
        stream.write(safetensors({"a": {"dtype": "U8", "shape": [length], "data_offsets": [0, length]}}))
        stream.truncate(stream.tell() + length)  # sparse: takes no room
    started = time.monotonic()
    fingerprint(folder)
    assert time.monotonic() - started < 0.2


def test_nothing_heavy_is_imported(folders: dict[str, Path]) -> None:
    code = f"""
import sys
from pictocli import hub
hub.read_spec(hub.resolve({str(folders["siglip2"])!r}))
heavy = {{"torch", "transformers", "numpy", "huggingface_hub", "httpx", "httpx2"}} & set(sys.modules)
sys.exit(str(heavy) if heavy else 0)
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[1])
