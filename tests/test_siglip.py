"""The model, on tiny checkpoints of the hub's layout, held equal to plain transformers."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoints import IMAGE_SIZE, WIDTH, WORDS, save_siglip, save_siglip2
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, SiglipModel
from transformers.models.siglip import tokenization_siglip
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from pictocli.decode import Decoded, Recipe, decode_bytes
from pictocli.errors import ModelError, ValidationError
from pictocli.hub import read_spec, resolve
from pictocli.preprocess import resize
from pictocli.siglip import Siglip
from pictocli.text import canonicalize

KINDS = ["siglip", "siglip2"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    base = tmp_path_factory.mktemp("models")
    return {"siglip": save_siglip(base / "siglip"), "siglip2": save_siglip2(base / "siglip2")}


@pytest.fixture
def in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a CPU without bfloat16."""
    for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"):
        monkeypatch.setattr(torch.cpu, name, lambda: False, raising=False)


@pytest.fixture
def in_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True, raising=False)


def load(folder: Path, **settings: Any) -> Siglip:
    files = resolve(str(folder))
    return Siglip(files, read_spec(files), settings.pop("device", "cpu"), **settings)


def pictures(count: int) -> Any:
    return np.random.default_rng(7).integers(0, 256, (count, IMAGE_SIZE, IMAGE_SIZE, 3), dtype=np.uint8)


def copy(folder: Path, target: Path) -> Path:
    target.mkdir()
    for path in folder.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    return target


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.usefixtures("in_float32")
def test_images_equal_transformers(kind: str, folders: dict[str, Path]) -> None:
    model, pixels = SiglipModel.from_pretrained(folders[kind]).eval(), pictures(5)
    processor = SiglipImageProcessorPil.from_pretrained(folders[kind])
    inputs = processor(list(pixels), return_tensors="pt", input_data_format="channels_last")
    with torch.no_grad():
        wanted = torch.nn.functional.normalize(model.get_image_features(**inputs).pooler_output, dim=-1).numpy()
    found = load(folders[kind]).embed_images(pixels)
    assert found.dtype == np.float32
    assert found.shape == (5, WIDTH)
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    assert np.min(found @ found.T) < 0.95  # the checkpoint tells pictures apart, so the comparison means something


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.usefixtures("in_float32")
def test_texts_equal_transformers(kind: str, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenization_siglip, "requires_backends", lambda *_: None)
    texts = [*(f" {words.title()}! " for words in WORDS * 10), "x" * 300]  # more than one batch of 64
    tokenizer = AutoTokenizer.from_pretrained(folders[kind], local_files_only=True)
    padded = tokenizer(
        [canonicalize(text) for text in texts],
        padding="max_length",
        max_length=64,
        truncation=True,
        return_tensors="pt",
    )
    model = SiglipModel.from_pretrained(folders[kind]).eval()
    with torch.no_grad():
        features = model.get_text_features(input_ids=padded["input_ids"]).pooler_output
    wanted = torch.nn.functional.normalize(features, dim=-1).numpy()
    embedder = load(folders[kind])
    found = embedder.embed_texts(texts)
    assert found.shape == (71, WIDTH)
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    np.testing.assert_allclose(embedder.embed_texts(["DOG, dog?"]), embedder.embed_texts(["dog dog"]), atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.usefixtures("in_bfloat16")
def test_bfloat16_is_near_float32(kind: str, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    fast = load(folders[kind])
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False, raising=False)
    exact = load(folders[kind])
    assert (fast.dtype, exact.dtype) == (torch.bfloat16, torch.float32)
    cosines = np.sum(fast.embed_images(pictures(4)) * exact.embed_images(pictures(4)), axis=1)
    assert cosines.min() > 0.99


def test_private_capability_functions_may_go(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"):
        monkeypatch.delattr(torch.cpu, name, raising=False)
    assert load(folders["siglip"]).dtype == torch.float32


def test_nothing_in_nothing_out(folders: dict[str, Path]) -> None:
    embedder = load(folders["siglip"])
    assert embedder.embed_images(pictures(0)).shape == (0, WIDTH)
    assert embedder.embed_texts([]).shape == (0, WIDTH)


@pytest.mark.parametrize(
    "pixels",
    [
        pytest.param(np.zeros((1, 16, 16, 3), np.uint8), id="another size"),
        pytest.param(np.zeros((1, IMAGE_SIZE, IMAGE_SIZE, 3), np.float32), id="floats"),
        pytest.param(np.zeros((IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8), id="no batch"),
    ],
)
def test_wrong_pixels_are_refused(pixels: Any, folders: dict[str, Path]) -> None:
    with pytest.raises(ValidationError, match="uint8"):
        load(folders["siglip"]).embed_images(pixels)


@pytest.mark.usefixtures("in_float32")
def test_read_only_and_strided_pixels(folders: dict[str, Path]) -> None:
    pixels, embedder = pictures(4), load(folders["siglip"])
    wanted = embedder.embed_images(pixels[::2].copy())
    pixels.flags.writeable = False
    np.testing.assert_array_equal(embedder.embed_images(pixels[::2]), wanted)


@pytest.mark.parametrize(
    ("device", "error", "message"),
    [
        pytest.param("cuda", ModelError, "no cuda device", id="no GPU"),
        pytest.param("mps", ModelError, "no mps device", id="no Apple GPU"),
        pytest.param("tpu", ValidationError, "no device tpu", id="unknown"),
    ],
)
def test_absent_devices(
    device: str, error: type[Exception], message: str, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(error, match=message) as caught:
        load(folders["siglip"], device=device)
    assert "cpu" in str(caught.value.hint)  # type: ignore[attr-defined]
    assert load(folders["siglip"], device="auto").device.type == "cpu"


@pytest.mark.parametrize(
    ("free", "sizes"),
    [(1600, [16, 32, 64, 128]), (10**6, [16, 32, 64, 128, 256, 256]), (47, [16, 16]), (95, [16, 32, 32])],
    ids=["while it fits", "no end of memory", "too little", "twice and no more"],
)
def test_batches_grow_to_what_the_memory_of_a_gpu_allows(
    free: int, sizes: list[int], folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch takes a byte a picture here: 3 times as much must be free, what torch holds in reserve included."""
    embedder = load(folders["siglip"])
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: 100)
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: 110)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda _: 100 + embedder.batch_size)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (free - 10, 10**9))
    found = [embedder.batch_size]
    for _ in sizes[1:]:
        embedder._grow()
        found.append(embedder.batch_size)
    assert found == sizes


@pytest.mark.parametrize("device", [name for name in ("cuda", "mps") if getattr(torch, name).is_available()])
@pytest.mark.usefixtures("in_float32")
def test_gpu_is_near_cpu(device: str, folders: dict[str, Path]) -> None:
    gpu, cpu = load(folders["siglip2"], device=device), load(folders["siglip2"])
    assert gpu.dtype == torch.float16
    assert np.sum(gpu.embed_images(pictures(6)) * cpu.embed_images(pictures(6)), axis=1).min() > 0.999
    assert np.sum(gpu.embed_texts(WORDS) * cpu.embed_texts(WORDS), axis=1).min() > 0.999


def test_only_the_towers_asked_for(folders: dict[str, Path]) -> None:
    embedder = load(folders["siglip"], towers=("text",))
    assert len(embedder.embed_texts(["dog"])) == 1
    with pytest.raises(ModelError, match="vision"):
        embedder.embed_images(pictures(1))


@pytest.mark.parametrize(
    ("prefix", "message"),
    [
        pytest.param("vision_model.", "lacks .* weights of its vision half", id="no vision"),
        pytest.param("text_model.", "lacks .* weights of its text half", id="no text"),
        pytest.param("vision_model.encoder.layers.1.mlp.fc1.weight", "lacks 1 weights", id="one vision weight"),
        pytest.param("text_model.head.bias", "lacks 1 weights", id="one text weight"),
    ],
)
def test_missing_weights_are_refused(prefix: str, message: str, folders: dict[str, Path], tmp_path: Path) -> None:
    folder = copy(folders["siglip"], tmp_path / "half")
    kept = {name: t for name, t in load_file(folder / "model.safetensors").items() if not name.startswith(prefix)}
    save_file(kept, folder / "model.safetensors", {"format": "pt"})
    embedder = load(folder)
    with pytest.raises(ModelError, match=message):
        embedder.embed_images(pictures(1)) if prefix.startswith("vision") else embedder.embed_texts(["dog"])


def test_weights_of_another_shape_are_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = copy(folders["siglip"], tmp_path / "reshaped")
    config = json.loads((folder / "config.json").read_bytes())
    config["vision_config"]["intermediate_size"] = 50
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="vision half"):
        load(folder).embed_images(pictures(1))


def test_pickled_weights_are_never_read(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = copy(folders["siglip"], tmp_path / "pickled")
    files = resolve(str(folder))
    spec = read_spec(files)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="cannot load"):
        Siglip(files, spec, "cpu").embed_images(pictures(1))


@pytest.mark.parametrize(("overflows_in_float32", "count"), [(False, 3), (True, 3)])
@pytest.mark.usefixtures("in_bfloat16")
def test_values_that_overflow(
    overflows_in_float32: bool, count: int, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    embedder, forward = load(folders["siglip"]), Siglip._forward

    def overflow(self: Siglip, tower: Any, batch: Any, dtype: torch.dtype) -> Any:
        found = forward(self, tower, batch, dtype)
        return found * np.nan if overflows_in_float32 or dtype != torch.float32 else found

    monkeypatch.setattr(Siglip, "_forward", overflow)
    if overflows_in_float32:
        with pytest.raises(ModelError, match="not finite"):
            embedder.embed_images(pictures(count))
    else:
        assert np.isfinite(embedder.embed_images(pictures(count))).all()


@pytest.mark.parametrize(
    ("room", "error"),
    [
        (1, torch.OutOfMemoryError("CUDA out of memory")),
        (3, RuntimeError("MPS backend out of memory")),
        (3, RuntimeError("DefaultCPUAllocator: can't allocate memory")),
        (0, torch.OutOfMemoryError("CUDA out of memory")),
    ],
)
@pytest.mark.usefixtures("in_float32")
def test_out_of_memory_halves_the_batch(
    room: int, error: Exception, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    embedder, forward = load(folders["siglip"]), Siglip._forward
    wanted, sizes = embedder.embed_images(pictures(7)), []

    def crowded(self: Siglip, tower: Any, batch: Any, dtype: torch.dtype) -> Any:
        sizes.append(len(batch))
        if len(batch) > room:
            raise error
        return forward(self, tower, batch, dtype)

    monkeypatch.setattr(Siglip, "_forward", crowded)
    if room:
        np.testing.assert_allclose(embedder.embed_images(pictures(7)), wanted, atol=1e-6)
        assert sizes[0] == 7
        assert embedder.batch_size <= 2 * room  # no batch fails twice: smaller ones are asked for from now on
    else:
        with pytest.raises(ModelError, match="memory"):
            embedder.embed_images(pictures(7))


POLICY = """
import os, sys
class Seen:
    def find_spec(self, name, *_):
        if name == "torch":
            print(os.environ.get("OMP_WAIT_POLICY"))
sys.meta_path.insert(0, Seen())
from pictocli.brain import choose
from pictocli.protocols import NoProgress
choose("mini", None, "cpu", NoProgress()).embedder
print(os.environ.get("OMP_WAIT_POLICY"))
"""


@pytest.mark.parametrize(("given", "seen"), [(None, ["PASSIVE", "None"]), ("ACTIVE", ["ACTIVE", "ACTIVE"])])
def test_threads_that_wait_leave_the_cores_to_decoders(given: str | None, seen: list[str]) -> None:
    """What torch's threads read when it is imported, and what is left for others."""
    env = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    env |= {"OMP_WAIT_POLICY": given} if given else {}
    done = subprocess.run([sys.executable, "-c", POLICY], capture_output=True, text=True, env=env, check=True)
    assert done.stdout.split() == seen


PHOTOS = ("city/castle-neuschwanstein.jpg", "nature/forest-stream.jpg")


@pytest.mark.parametrize("name", PHOTOS)
def test_a_photo_decoded_smaller_is_embedded_as_one_decoded_in_full(name: str) -> None:
    """12 megapixels, as cameras have them: a JPEG is decoded at half size, and mini sees no difference."""
    with Image.open(Path(__file__).parents[1] / "sample_images" / name) as photo:
        large = np.asarray(photo.convert("RGB").resize((4000, 3000), Image.Resampling.BICUBIC), np.int16)
    noise = np.random.default_rng(1).normal(0, 4, large.shape).astype(np.int8)
    stored = io.BytesIO()
    Image.fromarray((large + noise).clip(0, 255).astype(np.uint8)).save(stored, "JPEG", quality=90)
    files = resolve("mini")
    spec = read_spec(files)
    smaller = decode_bytes(stored.getvalue(), Recipe(spec.image_size, spec.resample, 72, thumbnail=False))
    assert isinstance(smaller, Decoded)
    with Image.open(stored) as full:
        whole = resize(full.convert("RGB"), spec.image_size, spec.resample)
    assert (smaller.pixels != whole).any()  # it was decoded smaller
    found = Siglip(files, spec, "cpu").embed_images(np.stack([smaller.pixels, whole]))
    assert found[0] @ found[1] >= 0.999


def test_a_tokenizer_of_another_model(folders: dict[str, Path]) -> None:
    embedder = load(folders["siglip"])
    embedder._encode = lambda _: [40_000] * 64
    with pytest.raises(ModelError, match="fails on cpu"):
        embedder.embed_texts(["a dog"])


def test_silent_offline_and_settings_put_back(folders: dict[str, Path], tmp_path: Path) -> None:
    """In a process of its own, with any connection an error: nothing on stdout or stderr, transformers as before."""
    code = f"""
import socket, sys
def refuse(*args, **kwargs):
    raise AssertionError("the network was touched")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
import numpy as np
from transformers.utils import logging
before = logging.get_verbosity(), logging.is_progress_bar_enabled()
from pictocli import hub, siglip
for folder in {[str(folder) for folder in folders.values()]!r}:
    files = hub.resolve(folder)
    embedder = siglip.Siglip(files, hub.read_spec(files))
    embedder.embed_images(np.zeros((1, {IMAGE_SIZE}, {IMAGE_SIZE}, 3), np.uint8))
    embedder.embed_texts(["a dog"])
assert before == (logging.get_verbosity(), logging.is_progress_bar_enabled())
"""
    env = {**os.environ, "HF_HOME": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
