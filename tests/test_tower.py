"""The text tower in numpy, held equal to plain transformers in float32: on the hub's layouts, and on the bundled model.

Trained weights are not at hand: equal arithmetic on random ones is what can be shown, and it holds for any.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoints import WIDTH, WORDS, save_siglip, save_siglip2, write_json
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from transformers import Siglip2TextConfig, Siglip2TextModel, SiglipModel, SiglipTextConfig, SiglipTextModel

import pictocli
from pictocli import brain, hub, tower
from pictocli.checkpoint import ModelFiles
from pictocli.errors import ModelError, ModelMismatchError
from pictocli.protocols import NoProgress
from pictocli.records import ModelSpec
from pictocli.siglip import Siglip
from pictocli.text import canonicalize, load_tokenizer
from pictocli.tower import TextTower, tensor_shapes

KINDS = ["siglip", "siglip2"]
TEXTS = ("", "dog", "A photo, of TWO   cats on a couch!", "a red car in a city street " * 9, "日本 の海", *WORDS * 3)
DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    base = tmp_path_factory.mktemp("models")
    return {"siglip": save_siglip(base / "siglip"), "siglip2": save_siglip2(base / "siglip2")}


@pytest.fixture
def folder(folders: dict[str, Path], tmp_path: Path) -> Path:
    """A SigLIP 2 that a test may damage."""
    return Path(shutil.copytree(folders["siglip2"], tmp_path / "model"))


def load(folder: Path | str) -> TextTower:
    files = hub.resolve(str(folder))
    return TextTower(files, hub.read_spec(files))


def reference(folder: Path, texts: Any = TEXTS, model: Any = None) -> NDArray[np.float32]:
    """transformers' own embedding in float32, of picto's tokens, which test_text.py holds equal to transformers'."""
    model = model or SiglipModel.from_pretrained(folder, dtype=torch.float32)
    encode = load_tokenizer(folder, model.config.get_text_config().max_position_embeddings)
    ids = torch.tensor([encode(canonicalize(text)) for text in texts])
    ask = getattr(model, "get_text_features", model)
    with torch.no_grad():
        features = ask(input_ids=ids).pooler_output
    found: NDArray[np.float32] = torch.nn.functional.normalize(features, dim=-1).numpy()
    return found


def retyped(folder: Path, dtype: str, *, shards: int = 1) -> None:
    """Rewrite the weights in another type, in one file or in several with an index."""
    tensors = {name: value.to(DTYPES[dtype]) for name, value in load_file(folder / "model.safetensors").items()}
    if shards == 1:
        save_file(tensors, folder / "model.safetensors", {"format": "pt"})
        return
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    files = {name: f"model-{at % shards + 1:05}-of-{shards:05}.safetensors" for at, name in enumerate(names)}
    for file in set(files.values()):
        save_file({name: tensors[name] for name in names if files[name] == file}, folder / file, {"format": "pt"})
    write_json(folder / "model.safetensors.index.json", {"metadata": {}, "weight_map": files})


def configure(folder: Path, **settings: Any) -> None:
    config = json.loads((folder / "config.json").read_bytes())
    config["text_config"] |= settings
    write_json(folder / "config.json", config)


def damage(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


# -- equal to transformers -----


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
def test_equal_to_transformers(kind: str, dtype: str, shards: int, folders: dict[str, Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(folders[kind], tmp_path / "model"))
    retyped(folder, dtype, shards=shards)
    found, wanted = load(folder).embed_texts(TEXTS), reference(folder)
    assert (found.dtype, found.shape) == (np.float32, (len(TEXTS), WIDTH))
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    assert np.min(found @ found.T) < 0.95  # the checkpoint tells texts apart, so the comparison means something


def test_equal_to_transformers_with_the_bundled_model() -> None:
    folder = hub.resolve("mini").folder
    found = load("mini").embed_texts(TEXTS)
    assert found.shape[1] == 256  # twice the tower's own width: the head projects
    np.testing.assert_allclose(found, reference(folder), atol=1e-5)


def test_equal_to_the_embedder_that_it_stands_in_for(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"):
        monkeypatch.setattr(torch.cpu, name, lambda: False, raising=False)
    files = hub.resolve(str(folders["siglip"]))
    model = Siglip(files, hub.read_spec(files), "cpu")
    np.testing.assert_allclose(load(files.folder).embed_texts(TEXTS), model.embed_texts(TEXTS), atol=1e-5)


@pytest.mark.parametrize("name", ["gelu", "gelu_fast", "gelu_new", "gelu_pytorch_tanh", "quick_gelu"])
def test_activations(name: str, folder: Path) -> None:
    configure(folder, hidden_act=name, layer_norm_eps=0.01)
    damage(folder, lambda tensors: tensors["text_model.encoder.layers.0.mlp.fc1.weight"].mul_(5))  # far into both arms
    np.testing.assert_allclose(load(folder).embed_texts(TEXTS), reference(folder), atol=1e-5)


@pytest.mark.parametrize("name", ["gelu", "gelu_fast", "gelu_new", "gelu_pytorch_tanh", "quick_gelu"])
def test_activations_over_all_they_may_meet(name: str) -> None:
    from transformers.activations import ACT2FN

    points = np.concatenate([np.linspace(-12, 12, 4001), [-1e4, -100, -0.0, 0, 100, 1e4]]).astype(np.float32)
    wanted = ACT2FN[name](torch.tensor(points)).numpy()
    with np.errstate(all="ignore"):
        found = tower._ACTIVATIONS[name](points.copy())
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=2e-6)


@pytest.mark.parametrize(
    ("cls", "config_cls"), [(SiglipTextModel, SiglipTextConfig), (Siglip2TextModel, Siglip2TextConfig)]
)
@pytest.mark.parametrize("prefix", ["", "text_model."])
def test_a_text_tower_saved_alone(
    cls: Any, config_cls: Any, prefix: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    shutil.copytree(folders["siglip2"], tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("model.*"))
    sizes = {"hidden_size": 32, "intermediate_size": 40, "num_attention_heads": 4, "num_hidden_layers": 3}
    ids = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 1}
    config = config_cls(vocab_size=420, max_position_embeddings=16, projection_size=20, **sizes, **ids)
    torch.manual_seed(1)
    model = cls(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.3)
    config.save_pretrained(tmp_path)
    save_file({prefix + name: value for name, value in model.state_dict().items()}, tmp_path / "model.safetensors")
    spec = ModelSpec("alone", "1", dim=20, image_size=32, resample="bilinear", text_length=16, scale=100, bias=-10)
    found = TextTower(ModelFiles("alone", "1", tmp_path), spec).embed_texts(TEXTS)
    np.testing.assert_allclose(found, reference(tmp_path, model=model), atol=1e-5)


def test_a_header_of_any_length(folder: Path) -> None:
    """Numbers need not start at a multiple of their width."""
    wanted = load(folder).embed_texts(TEXTS)
    for blanks in (1, 2, 3):
        content = (folder / "model.safetensors").read_bytes()
        length = int.from_bytes(content[:8], "little")
        padded = (length + 1).to_bytes(8, "little") + content[8 : 8 + length] + b" " + content[8 + length :]
        (folder / "model.safetensors").write_bytes(padded)
        np.testing.assert_allclose(load(folder).embed_texts(TEXTS), wanted, atol=1e-6, err_msg=str(blanks))


# -- batches -----


@pytest.mark.parametrize("count", [0, 1, 2, tower._BATCH, tower._BATCH + 1, 3 * tower._BATCH])
def test_batches(count: int, folders: dict[str, Path]) -> None:
    texts = [f"{WORDS[at % len(WORDS)]} {at % 5}" for at in range(count)]
    embedder = load(folders["siglip"])
    found = embedder.embed_texts(texts)
    assert (found.dtype, found.shape) == (np.float32, (count, WIDTH))
    for at in range(0, count, 7):
        np.testing.assert_allclose(found[at], embedder.embed_texts([texts[at]])[0], atol=1e-6)


def test_duplicates_and_spellings_are_equal(folders: dict[str, Path]) -> None:
    found = load(folders["siglip2"]).embed_texts(["a dog", "A DOG!", "two cats", "a  dog", "a dog"])
    for at in (1, 3, 4):
        np.testing.assert_allclose(found[at], found[0], atol=1e-6)
    assert found[0] @ found[2] < 0.99


def test_what_is_cut_does_not_count(folders: dict[str, Path]) -> None:
    found = load(folders["siglip"]).embed_texts(["x " * 100, "x " * 100 + "dog"])
    np.testing.assert_allclose(found[0], found[1], atol=1e-6)


# -- what it refuses, so that the whole model is asked -----


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        pytest.param({"hidden_act": "silu"}, "silu", id="activation"),
        pytest.param({"model_type": "clip_text_model"}, "clip_text_model", id="architecture"),
        pytest.param({"num_attention_heads": 5}, "5 heads", id="heads"),
        pytest.param({"layer_norm_eps": "small"}, "epsilon", id="epsilon is a word"),
        pytest.param({"layer_norm_eps": -0.5}, "epsilon", id="epsilon is negative"),
        pytest.param({"num_hidden_layers": 10**12}, "hold no text_model.encoder.layers.2", id="layers without end"),
        pytest.param({"hidden_size": 10**12}, "token_embedding", id="an absurd width"),
        pytest.param({"hidden_size": None}, "hidden_size", id="no width"),
        pytest.param({"intermediate_size": 50}, "fc1", id="another shape"),
        pytest.param({"vocab_size": 7}, "token_embedding", id="another vocabulary"),
        pytest.param({"projection_size": 12}, "image half", id="another projection"),
    ],
)
def test_another_architecture_is_refused(settings: dict[str, Any], message: str, folder: Path) -> None:
    files = hub.resolve(str(folder))
    spec = hub.read_spec(files)
    configure(folder, **settings)
    with pytest.raises(ModelError, match=message) as caught:
        TextTower(files, spec)
    assert caught.value.hint


def test_a_text_half_of_another_kind_is_refused(folder: Path) -> None:
    files = hub.resolve(str(folder))
    spec = hub.read_spec(files)
    write_json(folder / "config.json", {"model_type": "clip", "text_config": {"model_type": "siglip_text_model"}})
    with pytest.raises(ModelError, match="of type clip"):
        TextTower(files, spec)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(lambda t: t.pop("text_model.head.bias"), "hold no text_model.head.bias", id="missing"),
        pytest.param(lambda t: t.pop("text_model.head.weight"), "hold no", id="the one that tells the prefix"),
        pytest.param(
            lambda t: t.update({"text_model.head.bias": t["text_model.head.bias"].double()}),
            "not 24 numbers of type",
            id="float64",
        ),
        pytest.param(
            lambda t: t.update({"text_model.head.weight": torch.zeros(WIDTH * WIDTH)}),
            "not 24 × 24 numbers",
            id="flattened",
        ),
    ],
)
def test_weights_that_do_not_fit_are_refused(change: Any, message: str, folder: Path) -> None:
    damage(folder, change)
    with pytest.raises(ModelError, match=message) as caught:
        load(folder)
    assert caught.value.hint


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 3e38])
def test_values_that_are_not_finite_are_told(value: float, folder: Path) -> None:
    damage(folder, lambda tensors: tensors["text_model.encoder.layers.1.mlp.fc2.weight"].fill_(value))
    with pytest.raises(ModelError, match="not finite"):
        load(folder).embed_texts(["a dog"])


@pytest.mark.parametrize("token", [420_000, -1])
def test_a_tokenizer_of_another_model(token: int, folders: dict[str, Path]) -> None:
    embedder = load(folders["siglip"])
    embedder._encode = lambda _: [token] * 64
    with pytest.raises(ModelError, match="another model"):
        embedder.embed_texts(["a dog"])


def test_a_tokenizer_that_is_gone(folder: Path) -> None:
    embedder = load(folder)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match="no tokenizer"):
        embedder.embed_texts(["a dog"])


def test_a_file_that_becomes_shorter(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = tower._map
    monkeypatch.setattr(tower, "_map", lambda path: real(path)[:2000])  # cut between the header's reading and the map
    with pytest.raises(ModelError, match="shorter"):
        load(folder).embed_texts(["a dog"])


def test_shapes_name_every_tensor_of_the_text_half(folders: dict[str, Path]) -> None:
    from pictocli.checkpoint import read_text_shape

    tensors = load_file(folders["siglip"] / "model.safetensors")
    wanted = {name: tuple(value.shape) for name, value in tensors.items() if name.startswith("text_model.")}
    found = tensor_shapes(read_text_shape(folders["siglip"]))
    assert {f"text_model.{name}": shape for name, shape in found} == wanted


# -- who embeds a query -----


def chosen(folder: Path, device: str = "auto") -> Any:
    files = hub.resolve(str(folder))
    return brain.Model(hub.read_spec(files), device, NoProgress()).text_embedder


@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_the_tower_is_chosen(device: str, folders: dict[str, Path]) -> None:
    assert isinstance(chosen(folders["siglip2"], device), TextTower)


def test_the_whole_model_where_the_tower_cannot_be_read(folder: Path) -> None:
    configure(folder, hidden_act="silu")
    embedder = chosen(folder)
    assert isinstance(embedder, Siglip)
    assert embedder.embed_texts(["a dog"]).shape == (1, WIDTH)


def test_a_device_asked_for_by_name_is_used(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ModelError, match="no cuda device"):
        chosen(folders["siglip"], "cuda")


def test_a_model_that_has_changed_is_told(folder: Path) -> None:
    files = hub.resolve(str(folder))
    model = brain.Model(hub.read_spec(files), "auto", NoProgress())
    configure(folder, hidden_act="silu")
    with pytest.raises(ModelMismatchError):
        _ = model.text_embedder
    shutil.rmtree(folder)
    with pytest.raises(ModelError):
        _ = brain.Model(model.spec, "auto", NoProgress()).text_embedder


def test_a_search_falls_back(library: pictocli.Library, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = library.by_text("a dog on the beach", limit=18, device="cpu")

    def refuse(*_: object) -> None:
        raise ModelError("another architecture")

    monkeypatch.setattr(tower, "TextTower", refuse)
    found = library.by_text("dog on the beach a", limit=18, device="cpu")
    assert len(found) == len(wanted) == 18
