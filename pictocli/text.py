"""Words → what SigLIP was trained on: canonical text, and its tokens padded to a fixed length.

Nothing heavy is imported at the top: a cached text query needs `canonicalize` alone. The tokenizer is read with
sentencepiece or tokenizers themselves, not with transformers, because transformers 5

- demands protobuf for SigLIP's own tokenizer, which picto does not ship,
- asks the hub about tokenizers over 100,000 words, which SigLIP 2's is, unless told not to,
- pads to nothing when the tokenizer's limit is 1e30, as SigLIP 2's is.

tests/test_text.py holds the tokens equal to those of transformers.
"""

from __future__ import annotations

import json
import re
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pictocli.errors import ModelError

__all__ = ["canonicalize", "load_tokenizer"]

_STRIP = str.maketrans("", "", string.punctuation)
_BLANKS = re.compile(r"\s+")
_Encode = Callable[[str], list[int]]


def canonicalize(text: str) -> str:
    """Lower-case, drop ASCII punctuation, collapse blanks: `" A Dog's  life!"` → `"a dogs life"`.

    SigLIP's own prompt canonicalisation (big_vision, evaluators/proj/image_text/prompt_engineering.py). SigLIP 2 was
    trained on lower-cased text too, and others measured 4–12 points lost without.
    """
    text = text.encode("utf-8", "ignore").decode()  # a command line may hold any bytes
    return _BLANKS.sub(" ", text.lower().translate(_STRIP)).strip()


def load_tokenizer(folder: Path, length: int) -> _Encode:
    """A function from canonical text to exactly `length` token ids, from the tokenizer files in `folder`.

    Text that is too long is cut so that the closing token stays, if the checkpoint has one: both SigLIPs were trained
    with it "sticky". Padding is on the right, as in training, whatever side the tokenizer's class prefers.
    Raises ModelError when the folder holds no tokenizer that can be read.
    """
    config = {**_read(folder / "special_tokens_map.json"), **_read(folder / "tokenizer_config.json")}
    pieces, merges = folder / "tokenizer.model", folder / "tokenizer.json"
    # a Gemma's two files say the same, but 256,000 pieces load in 0.05 s from the one, in 0.6 s or more from the other;
    # where the config is silent about the closing token, tokenizer.json's own template has the say
    gemma = str(config.get("tokenizer_class")).startswith(("Gemma", "Siglip2")) and "add_eos_token" in config
    try:
        if (folder / "spiece.model").is_file():
            return _siglip(folder / "spiece.model", config, length)
        if pieces.is_file() and (gemma or not merges.is_file()):
            return _gemma(pieces, config, length)
        if merges.is_file():
            return _from_json(merges, config, length)
    except ModelError:
        raise
    except Exception as exc:  # tokenizers raises bare Exception, sentencepiece RuntimeError and OSError
        raise ModelError(f"cannot read the tokenizer in {folder}: {exc}", "fetch the model's files again") from exc
    raise ModelError(
        f"no tokenizer in {folder}", "a model folder holds spiece.model (SigLIP) or tokenizer.json (SigLIP 2)"
    )


def _read(path: Path) -> dict[str, Any]:
    """The object in a JSON file; empty when there is no file. Raises ModelError when it does not parse."""
    try:
        loaded = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, RecursionError, ValueError) as exc:
        raise ModelError(f"cannot read {path}: {exc}", "fetch the model's files again") from exc
    return loaded if isinstance(loaded, dict) else {}


def _token(config: dict[str, Any], role: str, default: str) -> str:
    """The text of a special token, which files give as a string or as an object with its `content`."""
    token = config.get(role) or default
    return str(token["content"] if isinstance(token, dict) else token)


def _known(token: str, token_id: int | None, folder: Path) -> int:
    if token_id is None:
        raise ModelError(f"the tokenizer in {folder} does not know its own token {token}", "use another model")
    return token_id


def _framed(encode: _Encode, before: list[int], after: list[int], pad: int, length: int) -> _Encode:
    def encode_padded(text: str) -> list[int]:
        ids = [*before, *encode(text)[: length - len(before) - len(after)], *after]
        return ids + [pad] * (length - len(ids))

    return encode_padded


def _pieces(path: Path, tokens: dict[str, str]) -> tuple[_Encode, dict[str, int]]:
    from sentencepiece import SentencePieceProcessor

    model = SentencePieceProcessor(model_file=str(path))
    ids: dict[str, int] = {}
    for role, token in tokens.items():
        found = model.piece_to_id(token)
        # piece_to_id answers the unknown token's id for what it does not know, without a word
        ids[role] = _known(token, None if model.id_to_piece(found) != token else found, path.parent)
    return lambda text: list(model.encode(text)), ids


def _siglip(path: Path, config: dict[str, Any], length: int) -> _Encode:
    """SigLIP: a SentencePiece model; `</s>` closes the text and pads it too."""
    tokens = {role: _token(config, role, "</s>") for role in ("eos_token", "pad_token")}
    encode, ids = _pieces(path, tokens)
    return _framed(encode, [], [ids["eos_token"]], ids["pad_token"], length)


def _gemma(path: Path, config: dict[str, Any], length: int) -> _Encode:
    """SigLIP 2 from its SentencePiece file. Defaults of the hub's checkpoints."""
    defaults = {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>"}
    encode, ids = _pieces(path, {role: _token(config, role, default) for role, default in defaults.items()})
    before = [ids["bos_token"]] if config.get("add_bos_token", False) else []
    after = [ids["eos_token"]] if config.get("add_eos_token", True) else []
    return _framed(encode, before, after, ids["pad_token"], length)


def _from_json(path: Path, config: dict[str, Any], length: int) -> _Encode:
    """Any tokenizer.json. Opening and closing tokens as tokenizer_config.json says, else as the file's own template."""
    from tokenizers import Tokenizer

    model = Tokenizer.from_file(str(path))
    padding = model.padding or {}
    pad_token = _token(config, "pad_token", padding.get("pad_token", "<pad>"))
    pad = _known(pad_token, model.token_to_id(pad_token), path.parent)
    model.no_padding()
    if "add_bos_token" in config or "add_eos_token" in config:
        model.no_truncation()
        ends = [("bos_token", "<bos>", "add_bos_token"), ("eos_token", "<eos>", "add_eos_token")]
        before, after = (
            [_known(token, model.token_to_id(token), path.parent)] if config.get(flag, False) else []
            for token, flag in ((_token(config, role, default), flag) for role, default, flag in ends)
        )
        return _framed(lambda text: list(model.encode(text, add_special_tokens=False).ids), before, after, pad, length)
    model.enable_truncation(length)  # leaves room for what the template adds
    return _framed(lambda text: list(model.encode(text).ids), [], [], pad, length)
