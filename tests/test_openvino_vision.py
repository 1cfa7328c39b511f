"""The vision tower by OpenVINO, held equal to transformers'; when it is used, and what happens where it fails."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoints import IMAGE_SIZE, WIDTH, save_siglip, save_siglip2
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import SiglipVisionConfig, SiglipVisionModel

from pictocli import openvino_vision
from pictocli.errors import ModelError
from pictocli.hub import read_spec, resolve
from pictocli.openvino_vision import OpenVinoVision
from pictocli.siglip import Siglip

SAMPLES = Path(__file__).parents[1] / "sample_images"
KINDS = ["siglip", "siglip2", "mini"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    base = tmp_path_factory.mktemp("models")
    made = {"siglip": save_siglip(base / "siglip"), "siglip2": save_siglip2(base / "siglip2")}
    return {"mini": "mini"} | {kind: str(folder) for kind, folder in made.items()}


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a CPU with bfloat16; where this one has none, OpenVINO computes in float32, for it refuses to emulate."""
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True, raising=False)
    capabilities = openvino_vision._without_telemetry().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if "BF16" not in capabilities:
        monkeypatch.setattr(openvino_vision, "_PRECISION", "f32")


@pytest.fixture
def absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True, raising=False)
    monkeypatch.setitem(sys.modules, "openvino", None)


def load(name: str) -> Siglip:
    files = resolve(name)
    return Siglip(files, read_spec(files), "cpu")


def pictures(count: int, size: int = IMAGE_SIZE) -> NDArray[np.uint8]:
    return np.random.default_rng(7).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def samples(size: int) -> NDArray[np.uint8]:
    """The sample photos, squashed."""
    found = []
    for path in sorted(SAMPLES.glob("*/*.jpg")):
        with Image.open(path) as photo:
            found.append(np.asarray(photo.convert("RGB").resize((size, size))))
    return np.stack(found)


def reference(tower: Any, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """transformers' own embeddings in float32."""
    with torch.inference_mode():
        scaled = torch.tensor(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1
        found: NDArray[np.float32] = torch.nn.functional.normalize(tower(pixel_values=scaled).pooler_output).numpy()
    return found


def tower(name: str) -> Any:
    return SiglipVisionModel.from_pretrained(resolve(name).folder, dtype=torch.float32).eval()


def nearest(vectors: NDArray[np.float32]) -> list[set[int]]:
    return [set(row[:10].tolist()) for row in np.argsort(-(vectors @ vectors.T) + 2 * np.eye(len(vectors)))]


def centred(vectors: NDArray[np.float32], mean: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray((vectors - mean) / np.linalg.norm(vectors - mean, axis=1, keepdims=True), np.float32)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_arithmetic(kind: str, folders: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """In float32, so that nothing hides behind rounding."""
    monkeypatch.setattr(openvino_vision, "_PRECISION", "f32")
    model = tower(folders[kind])
    pixels = pictures(5, model.config.image_size)
    found = OpenVinoVision(lambda: model, 1)(pixels)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, reference(model, pixels), atol=2e-5)


@pytest.mark.parametrize("activation", ["gelu", "gelu_fast", "gelu_new"])
def test_other_activations(activation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino_vision, "_PRECISION", "f32")
    torch.manual_seed(3)
    sizes = {"hidden_size": 24, "intermediate_size": 48, "num_attention_heads": 2, "num_hidden_layers": 2}
    config = SiglipVisionConfig(**sizes, image_size=IMAGE_SIZE, patch_size=8, hidden_act=activation)
    model = SiglipVisionModel(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.5)
    np.testing.assert_allclose(OpenVinoVision(lambda: model, 1)(pictures(3)), reference(model, pictures(3)), atol=2e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.usefixtures("used")
def test_bfloat16_is_near_float32(kind: str, folders: dict[str, str]) -> None:
    embedder = load(folders[kind])
    pixels = samples(embedder.spec.image_size)
    found = np.concatenate([embedder.embed_images(pixels[at : at + 16]) for at in range(0, len(pixels), 16)])
    wanted = reference(tower(folders[kind]), pixels)
    assert embedder.runtime == "openvino"
    assert (found * wanted).sum(axis=1).min() >= 0.999
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    if kind == "mini":  # trained: its vectors share a mean, which makes any two alike; what is left must be so too
        found, wanted = centred(found, wanted.mean(axis=0)), centred(wanted, wanted.mean(axis=0))
        assert (found * wanted).sum(axis=1).min() >= 0.999
        assert np.mean([len(a & b) / 10 for a, b in zip(nearest(found), nearest(wanted), strict=True)]) >= 0.95


@pytest.mark.usefixtures("used")
def test_any_number_of_pictures(folders: dict[str, str]) -> None:
    embedder, pixels = load(folders["siglip2"]), pictures(33)
    wanted = embedder.embed_images(pixels)
    for count in (1, 16, 7, 33, 2):
        found = embedder.embed_images(pixels[:count])
        assert found.shape == (count, WIDTH)
        assert (found * wanted[:count]).sum(axis=1).min() > 0.9999
    kept = found.copy()
    embedder.embed_images(pixels[20:22])
    np.testing.assert_array_equal(found, kept)  # a result is not the buffer of the next
    pixels.flags.writeable = False
    assert embedder.embed_images(pixels[::2]).shape == (17, WIDTH)
    assert embedder.embed_images(pixels[:0]).shape == (0, WIDTH)
    assert embedder.runtime == "openvino"
    assert not embedder._loaded  # torch's weights went when the graph was built


@pytest.mark.usefixtures("used")
def test_values_that_overflow_are_made_again_by_torch(folders: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    real = OpenVinoVision.__call__
    monkeypatch.setattr(OpenVinoVision, "__call__", lambda self, pixels: real(self, pixels) * np.inf)
    embedder = load(folders["siglip"])
    np.testing.assert_allclose(
        embedder.embed_images(pictures(3)), reference(tower(folders["siglip"]), pictures(3)), atol=1e-5
    )
    assert embedder.runtime == "openvino"


@pytest.mark.parametrize(
    "name", ["encoder.layers.0.mlp.fc1.weight", "encoder.layers.1.self_attn.k_proj.bias", "head.probe"]
)
@pytest.mark.usefixtures("used")
def test_a_broken_weight_is_noticed(name: str, tmp_path: Path) -> None:
    """A NaN comes through every operation: an activation that clamps would hide it."""
    folder = save_siglip(tmp_path / "broken")
    weights = load_file(folder / "model.safetensors")
    weights[f"vision_model.{name}"].view(-1)[0] = torch.nan
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match="not finite"):
        load(str(folder)).embed_images(pictures(3))


@pytest.mark.usefixtures("used")
def test_a_missing_weight_is_told(tmp_path: Path) -> None:
    folder = save_siglip(tmp_path / "half")
    weights = load_file(folder / "model.safetensors")
    kept = {name: weight for name, weight in weights.items() if not name.endswith("head.probe")}
    save_file(kept, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match="lacks 1 weights"):
        load(str(folder)).embed_images(pictures(3))


@pytest.mark.usefixtures("absent")
def test_torch_where_it_is_not_installed(folders: dict[str, str]) -> None:
    embedder = load(folders["siglip"])
    found = embedder.embed_images(pictures(3))
    assert embedder.runtime == "torch"
    assert list(embedder._loaded) == [("vision", torch.bfloat16)]  # nothing was loaded in vain
    assert (found * reference(tower(folders["siglip"]), pictures(3))).sum(axis=1).min() > 0.99


def test_torch_in_float32(folders: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"):
        monkeypatch.setattr(torch.cpu, name, lambda: False, raising=False)
    embedder = load(folders["siglip"])
    embedder.embed_images(pictures(3))
    assert embedder.runtime == "torch"


@pytest.mark.parametrize("method", ["__init__", "__call__"])
@pytest.mark.usefixtures("used")
def test_torch_where_it_fails(method: str, folders: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    embedder, tried = load(folders["siglip"]), []

    def fail(*_: Any) -> None:
        tried.append(1)
        raise RuntimeError("std::bad_alloc")

    monkeypatch.setattr(OpenVinoVision, method, fail)
    wanted = reference(tower(folders["siglip"]), pictures(3))
    for _ in range(2):
        assert (embedder.embed_images(pictures(3)) * wanted).sum(axis=1).min() > 0.99
    assert (embedder.runtime, len(tried)) == ("torch", 1)


@pytest.mark.usefixtures("used")
def test_torch_where_telemetry_is_in_use(folders: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino_telemetry", sys)
    embedder = load(folders["siglip"])
    embedder.embed_images(pictures(3))
    assert embedder.runtime == "torch"


WATCHED = """
import os, socket, sys
def refuse(*args, **kwargs):
    os.write(1, b"touched")
    raise OSError("no network")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
"""
EMBED = """
import numpy as np, torch
from pictocli import hub, openvino_vision, siglip
openvino_vision._PRECISION = sys.argv[2]
torch.cpu._is_amx_tile_supported = lambda: True
files = hub.resolve(sys.argv[1])
embedder = siglip.Siglip(files, hub.read_spec(files), "cpu")
embedder.embed_images(np.zeros((1, 32, 32, 3), np.uint8))
os.write(1, embedder.runtime.encode())
"""


@pytest.mark.parametrize(
    ("code", "said"),
    [pytest.param("import openvino", "touched", id="the probe notices"), pytest.param(EMBED, "openvino", id="picto")],
)
@pytest.mark.usefixtures("used")
def test_nothing_is_sent(code: str, said: str, folders: dict[str, str], guard: Path) -> None:
    """openvino by itself reports to Google Analytics when it is imported, and keeps a count in the user's home."""
    env = {name: value for name, value in os.environ.items() if name not in ("CI", "TF_BUILD", "JENKINS_URL")}
    arguments = [sys.executable, "-c", WATCHED + code, folders["siglip"], openvino_vision._PRECISION]
    done = subprocess.run(arguments, capture_output=True, text=True, env=env, check=True)
    assert set(done.stdout.replace("touched", "touched ").split()) == {said}
    assert done.stderr == ""
    assert [each.name for each in guard.iterdir() if each.name != "intel"] == []
    assert (guard / "intel").exists() == (said == "touched")
