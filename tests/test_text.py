"""Canonical text and tokens, held equal to transformers' own."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from checkpoints import save_siglip, save_siglip2, write_json
from tokenizers import models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast
from transformers.models.siglip import tokenization_siglip
from vocabularies import make_pieces, save_gemma_json, save_gemma_model

from pictocli.errors import ModelError
from pictocli.text import canonicalize, load_tokenizer

TEXTS = (
    "A photo, of TWO   cats on a couch!",
    " a dog's\tlife\nat 7 o'clock… ",
    "Crème brûlée, naïve façade",
    "日本の海",
    "x",
    "a red car in a city street at night " * 9,
    "zebras; quietly <eos> </s> graze <pad>",
    'İstanbul {} _under_ `code` "quoted" 50%',
)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    base = tmp_path_factory.mktemp("tokenizers")
    return {"siglip": save_siglip(base / "siglip"), "siglip2": save_siglip2(base / "siglip2")}


def reference(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """transformers' own tokenizer of a checkpoint; SigLIP's demands protobuf, but only to tell you so."""
    monkeypatch.setattr(tokenization_siglip, "requires_backends", lambda *_: None)
    return AutoTokenizer.from_pretrained(folder, local_files_only=True)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        pytest.param(" A Dog's  life! ", "a dogs life", id="case, punctuation, blanks"),
        pytest.param("well-known", "wellknown", id="hyphen"),
        pytest.param("a\n\tb\u00a0c", "a b c", id="every kind of blank"),
        pytest.param("…«Ünïcode»…", "…«ünïcode»…", id="only ASCII punctuation goes"),
        pytest.param("?!", "", id="nothing left"),
        pytest.param("dog , cat", "dog cat", id="blanks around punctuation"),
    ],
)
def test_canonicalize(text: str, canonical: str) -> None:
    assert canonicalize(text) == canonical
    assert canonicalize(canonical) == canonical


@pytest.mark.parametrize("text", TEXTS)
def test_canonicalize_is_siglips_own(text: str, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    assert canonicalize(text) == reference(folders["siglip"], monkeypatch).canonicalize_text(text)


@pytest.mark.parametrize("kind", ["siglip", "siglip2"])
def test_tokens_equal_transformers(kind: str, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer, encode = reference(folders[kind], monkeypatch), load_tokenizer(folders[kind], 64)
    for text in TEXTS:
        canonical = canonicalize(text)
        wanted = tokenizer(canonical, padding="max_length", max_length=64, truncation=True)["input_ids"]
        assert encode(canonical) == wanted, text
        assert len(wanted) == 64


@pytest.mark.parametrize(("kind", "closing", "padding"), [("siglip", 1, 1), ("siglip2", 1, 0)])
def test_closing_token_survives_truncation(kind: str, closing: int, padding: int, folders: dict[str, Path]) -> None:
    short, long = load_tokenizer(folders[kind], 64)("x"), load_tokenizer(folders[kind], 16)("a red car " * 20)
    assert len(long) == 16
    assert long[-1] == closing
    assert short[-1] == padding
    assert load_tokenizer(folders[kind], 8)("") == [closing] + [padding] * 7


def test_template_decides_when_the_config_does_not(folders: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_bytes((folders["siglip2"] / "tokenizer.json").read_bytes())
    encode, full = load_tokenizer(tmp_path, 64), load_tokenizer(folders["siglip2"], 64)
    for text in map(canonicalize, TEXTS):
        assert encode(text) == full(text)


def test_layout_of_the_bundled_model(tmp_path: Path) -> None:
    """A tokenizer.json without any closing token or template, as mini/train.py exports it."""
    words = tokenizers.Tokenizer(models.WordLevel({"[PAD]": 0, "[UNK]": 1, "dog": 2}, unk_token="[UNK]"))  # noqa: S106 - a token of text
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    saved = PreTrainedTokenizerFast(tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]")  # noqa: S106 - a token of text
    saved.save_pretrained(tmp_path)
    encode = load_tokenizer(tmp_path, 4)
    assert (encode("a dog"), encode("dog " * 9)) == ([1, 2, 0, 0], [2, 2, 2, 2])


def test_a_sentencepiece_file_alone_serves_siglip2(folders: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "tokenizer.model").write_bytes((folders["siglip"] / "spiece.model").read_bytes())
    tokens = {"bos_token": "a", "eos_token": "</s>", "pad_token": {"content": "<pad>"}}  # pieces it knows
    write_json(tmp_path / "tokenizer_config.json", tokens)
    v1 = load_tokenizer(folders["siglip"], 64)("two cats")
    end = v1.index(1)
    assert load_tokenizer(tmp_path, 64)("two cats") == [*v1[: end + 1], *[0] * (63 - end)]


@pytest.fixture(scope="module")
def gemma(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Gemma of 3,000 pieces in both its files."""
    folder, pieces = tmp_path_factory.mktemp("gemma"), make_pieces(3000)
    save_gemma_json(folder, pieces)
    save_gemma_model(folder, pieces)
    return folder


def test_a_gemmas_two_files_give_the_same_tokens(gemma: Path, tmp_path: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(gemma / name, tmp_path)
    by_pieces, by_merges = load_tokenizer(gemma, 64), load_tokenizer(tmp_path, 64)
    rng = random.Random(1)  # noqa: S311 - no secret
    for text in (*map(canonicalize, TEXTS), "", *("".join(rng.choices("aeinorst 0é日😀", k=40)) for _ in range(500))):
        assert by_pieces(canonicalize(text)) == by_merges(canonicalize(text)), text
    assert len(set(by_pieces("aeinorst"))) > 4


@pytest.mark.parametrize(
    ("settings", "read"),
    [
        ({"tokenizer_class": "GemmaTokenizerFast"}, True),
        ({"tokenizer_class": "GemmaTokenizer"}, True),
        ({"tokenizer_class": "Siglip2Tokenizer"}, True),
        ({"tokenizer_class": "LlamaTokenizer"}, False),
        ({"add_eos_token": None}, False),
    ],
    ids=str,
)
def test_a_gemmas_faster_file_is_preferred(
    settings: dict[str, str | None], read: bool, gemma: Path, tmp_path: Path
) -> None:
    """256,000 pieces: 0.05 s against 0.6 s. Whether another's two files agree is not known."""
    shutil.copytree(gemma, tmp_path, dirs_exist_ok=True)
    config = json.loads((gemma / "tokenizer_config.json").read_bytes())
    config = {name: value for name, value in (config | settings).items() if value is not None}
    write_json(tmp_path / "tokenizer_config.json", config)
    (tmp_path / "tokenizer.json").write_text("broken")
    if read:
        assert load_tokenizer(tmp_path, 64)("a dog") == load_tokenizer(gemma, 64)("a dog")
    else:
        with pytest.raises(ModelError):
            load_tokenizer(tmp_path, 64)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        pytest.param({}, "no tokenizer", id="nothing"),
        pytest.param({"tokenizer.json": "{"}, "cannot read the tokenizer", id="broken JSON"),
        pytest.param({"spiece.model": "no model"}, "cannot read the tokenizer", id="broken SentencePiece"),
        pytest.param({"tokenizer_config.json": "{"}, "cannot read", id="broken config"),
        pytest.param({"tokenizer_config.json": "[" * 100_000}, "cannot read", id="a config too deep to be read"),
    ],
)
def test_broken_tokenizers_are_refused(files: dict[str, str], message: str, tmp_path: Path) -> None:
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    with pytest.raises(ModelError, match=message) as caught:
        load_tokenizer(tmp_path, 64)
    assert caught.value.hint


def test_unknown_special_token_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    for name in ("spiece.model", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((folders["siglip"] / name).read_bytes())
    config = json.loads((tmp_path / "tokenizer_config.json").read_bytes())
    write_json(tmp_path / "tokenizer_config.json", config | {"pad_token": "<nowhere>"})
    with pytest.raises(ModelError, match="<nowhere>"):
        load_tokenizer(tmp_path, 64)


def test_text_imports_nothing_heavy() -> None:
    code = (
        "import sys, pictocli.text; "
        "heavy = {'torch', 'transformers', 'numpy', 'tokenizers', 'sentencepiece'} & set(sys.modules); "
        "sys.exit(str(heavy) if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[1])
