"""Made vocabularies of Gemma's kind and of any size, each written as tokenizer.json and as SentencePiece's own file.

SigLIP 2 reads words with Gemma's: byte-fallback BPE, no normalisation, "▁" for blanks, 256,000 pieces. A trained one
cannot be shipped; a made one of that size takes as long to load, and both its files must split a text alike.
"""

from __future__ import annotations

import random
import struct
from pathlib import Path

import tokenizers
from checkpoints import write_json
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

__all__ = ["make_pieces", "save_gemma_json", "save_gemma_model"]

_SPECIAL = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
_LETTERS = "▁etaoinshrdlucmfwypvbgkjqxz0123456789éüßñжд日本の海"
_CONFIG = {
    "add_bos_token": False,
    "add_eos_token": True,
    "bos_token": "<bos>",
    "eos_token": "<eos>",
    "pad_token": "<pad>",
    "unk_token": "<unk>",
    "tokenizer_class": "GemmaTokenizerFast",
    "model_max_length": 1000000000000000019884624838656,
}


def make_pieces(count: int, seed: int = 0) -> list[str]:
    """`count` different pieces in the order of Gemma's: special ones, 256 bytes, learned ones from often to rare.

    Learned pieces are made as BPE would: out of two earlier ones, "▁" at the beginning only.
    """
    rng = random.Random(seed)  # noqa: S311 - no secret
    made = [*_SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256))]
    learned = list(_LETTERS)
    known = set(learned)
    size = count - len(made) - len(learned)
    grown: list[str] = []
    while len(grown) < size:
        first = rng.choice(learned if rng.random() < 0.4 else learned[: len(_LETTERS)])
        second = rng.choice(learned[1 : len(_LETTERS)])
        piece = first + second
        if piece not in known and len(piece) <= 12:
            known.add(piece)
            learned.append(piece)
            grown.append(piece)
    return [*made, *grown, *_LETTERS]  # as in Gemma's own, single letters come last


def save_gemma_json(folder: Path, pieces: list[str]) -> None:
    """tokenizer.json and tokenizer_config.json. Each split of a piece into two known ones is a merge, as on the hub."""
    rank = {piece: at for at, piece in enumerate(pieces)}
    first = len(_SPECIAL) + 256
    merges = [
        (piece[:cut], piece[cut:])
        for piece in pieces[first:]
        for cut in range(1, len(piece))
        if rank.get(piece[:cut], 0) >= first and rank.get(piece[cut:], 0) >= first
    ]
    bpe = models.BPE(rank, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)  # noqa: S106 - a token of text
    made = tokenizers.Tokenizer(bpe)
    made.normalizer = normalizers.Replace(" ", "▁")
    made.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    made.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    made.add_special_tokens(_SPECIAL)
    made.post_processor = processors.TemplateProcessing(single="$A <eos>", special_tokens=[("<eos>", 1)])
    made.save(str(folder / "tokenizer.json"))
    write_json(folder / "tokenizer_config.json", _CONFIG)


def save_gemma_model(folder: Path, pieces: list[str]) -> None:
    """tokenizer.model and tokenizer_config.json. Written by hand: SentencePiece trains, but does not take pieces.

    Field numbers are those of sentencepiece_model.proto, types 1 normal, 2 unknown, 3 control, 6 byte.
    """
    entries = []
    special = {"<pad>": 3, "<eos>": 3, "<bos>": 3, "<unk>": 2, "<mask>": 4}
    for at, piece in enumerate(pieces):
        kind = special.get(piece, 6 if at < len(_SPECIAL) + 256 else 1)
        score = struct.pack("<f", 0.0 if kind != 1 else -float(at))
        entries.append(_field(1, _field(1, piece.encode()) + b"\x15" + score + _number(3, kind)))
    trainer = _number(3, 2) + _number(4, len(pieces)) + _number(35, 1)  # BPE, vocab_size, byte_fallback
    trainer += _number(40, 3) + _number(41, 2) + _number(42, 1) + _number(43, 0)  # unk, bos, eos, pad
    trainer += _field(46, b"<bos>") + _field(47, b"<eos>") + _field(48, b"<pad>")
    plain = _field(1, b"identity") + _number(3, 0) + _number(4, 0) + _number(5, 1)  # no prefix, blanks kept, as "▁"
    (folder / "tokenizer.model").write_bytes(b"".join(entries) + _field(2, trainer) + _field(3, plain))
    write_json(folder / "tokenizer_config.json", _CONFIG)


def _varint(value: int) -> bytes:
    found = b""
    while value > 127:
        found, value = found + bytes([value & 127 | 128]), value >> 7
    return found + bytes([value])


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _field(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content
