"""Tiny SigLIP checkpoints of random weights, laid out as the hub's are: real files for tests, a second to make.

Their tokenizers know the words of `WORDS`; their embeddings differ from input to input, and mean nothing.
"""

from __future__ import annotations

import io
import json
import math
from pathlib import Path
from typing import Any

import sentencepiece
import tokenizers
import torch
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import SiglipConfig, SiglipModel

__all__ = ["IMAGE_SIZE", "WIDTH", "WORDS", "save_shapes", "save_siglip", "save_siglip2", "write_json"]

IMAGE_SIZE = 32
WIDTH = 24
TEXT_LENGTH = 64
WORDS = (
    "a photo of a dog on the beach",
    "a photo of two cats on a couch",
    "a red car in a city street at night",
    "mountains and a lake under a blue sky",
    "the kitchen of an old house with a window",
    "people walking in the rain with umbrellas",
    "zebras quietly graze just behind various foxes",
)


def save_siglip(folder: Path, *, seed: int = 0, **settings: Any) -> Path:
    """A SigLIP: bicubic, SentencePiece's spiece.model, `</s>` closing and padding. settings go to the preprocessor."""
    vocabulary = _train_pieces(folder)
    _save_model(folder, vocabulary, seed, pad=1, eos=1, bias=-12.93)
    _save_preprocessor(folder, resample=3, **settings)
    token = {"eos_token": "</s>", "pad_token": "</s>", "unk_token": "<unk>"}
    write_json(folder / "special_tokens_map.json", token)
    config = {**token, "do_lower_case": True, "model_max_length": 64, "tokenizer_class": "SiglipTokenizer"}
    write_json(folder / "tokenizer_config.json", config | {"additional_special_tokens": [], "sp_model_kwargs": {}})
    return folder


def save_siglip2(folder: Path, *, seed: int = 0, **settings: Any) -> Path:
    """A fixed-resolution SigLIP 2: bilinear, a Gemma tokenizer.json with `<eos>` closing and `<pad>` padding."""
    vocabulary = _train_pairs(folder)
    _save_model(folder, vocabulary, seed, pad=0, eos=1, bias=-16.77)
    _save_preprocessor(folder, resample=2, **settings)
    config = {
        "add_bos_token": False,
        "add_eos_token": True,
        "bos_token": "<bos>",
        "clean_up_tokenization_spaces": False,
        "do_lower_case": True,
        "eos_token": "<eos>",
        "model_max_length": 1000000000000000019884624838656,  # the hub's: "max_length" alone then pads to nothing
        "pad_token": "<pad>",
        "padding_side": "right",
        "processor_class": "SiglipProcessor",
        "tokenizer_class": "GemmaTokenizerFast",
        "unk_token": "<unk>",
    }
    write_json(folder / "tokenizer_config.json", config)
    entry = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False}
    tokens = {role: {"content": config[role], **entry} for role in ("bos_token", "eos_token", "pad_token", "unk_token")}
    write_json(folder / "special_tokens_map.json", tokens)
    return folder


def save_shapes(folder: Path, **vision: int) -> Path:
    """A SigLIP whose vision tower has these shapes, with a small text tower: for speed, which no weight changes."""
    vocabulary = _train_pieces(folder)
    shared = {"hidden_size": WIDTH, "intermediate_size": 48, "num_attention_heads": 2, "num_hidden_layers": 2}
    text = {"vocab_size": vocabulary, "max_position_embeddings": TEXT_LENGTH, "projection_size": vision["hidden_size"]}
    ids = {"pad_token_id": 1, "bos_token_id": 1, "eos_token_id": 1}
    SiglipModel(SiglipConfig(text_config=shared | text | ids, vision_config=vision)).save_pretrained(folder)
    side = vision["image_size"]
    _save_preprocessor(folder, resample=2, size={"height": side, "width": side})
    return folder


def write_json(path: Path, content: object) -> None:
    """Write one JSON file."""
    path.write_text(json.dumps(content, indent=2), encoding="utf-8")


def _save_model(folder: Path, vocabulary: int, seed: int, *, pad: int, eos: int, bias: float) -> None:
    shared = {"hidden_size": WIDTH, "intermediate_size": 48, "num_attention_heads": 2, "num_hidden_layers": 2}
    text = {"vocab_size": vocabulary, "max_position_embeddings": TEXT_LENGTH, "projection_size": WIDTH}
    ids = {"pad_token_id": pad, "bos_token_id": eos, "eos_token_id": eos}
    vision = {"image_size": IMAGE_SIZE, "patch_size": 8}
    config = SiglipConfig(text_config=shared | text | ids, vision_config=shared | vision)
    torch.manual_seed(seed)
    model = SiglipModel(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # the usual tiny start would make all embeddings nearly alike
            if parameter.ndim > 1:
                parameter.normal_(0, 1.5 / math.sqrt(parameter.shape[1:].numel()))
        model.logit_scale.fill_(math.log(112.67))
        model.logit_bias.fill_(bias)
    model.save_pretrained(folder)


def _save_preprocessor(folder: Path, *, resample: int, **settings: Any) -> None:
    standard = {
        "do_convert_rgb": None,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_processor_type": "SiglipImageProcessor",
        "image_std": [0.5, 0.5, 0.5],
        "processor_class": "SiglipProcessor",
        "resample": resample,
        "rescale_factor": 0.00392156862745098,
        "size": {"height": IMAGE_SIZE, "width": IMAGE_SIZE},
    }
    write_json(folder / "preprocessor_config.json", standard | settings)


def _train_pieces(folder: Path) -> int:
    """spiece.model, with the special ids of T5's C4 vocabulary, SigLIP's own. Returns the number of pieces."""
    folder.mkdir(parents=True, exist_ok=True)
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(WORDS * 3),
        model_writer=written,
        vocab_size=90,
        hard_vocab_limit=False,
        model_type="unigram",
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        minloglevel=3,
    )
    (folder / "spiece.model").write_bytes(written.getvalue())
    return int(sentencepiece.SentencePieceProcessor(model_proto=written.getvalue()).get_piece_size())


def _train_pairs(folder: Path) -> int:
    """tokenizer.json as Gemma's: byte-fallback BPE over "▁" for blanks. Returns the number of tokens."""
    folder.mkdir(parents=True, exist_ok=True)
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    space, split = normalizers.Replace(" ", "▁"), pre_tokenizers.Split(" ", "merged_with_previous")
    draft = tokenizers.Tokenizer(models.BPE(unk_token="<unk>"))  # noqa: S106 - no password
    draft.normalizer, draft.pre_tokenizer = space, pre_tokenizers.Metaspace(prepend_scheme="never")
    fallback = [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=420, special_tokens=special + fallback, show_progress=False)
    draft.train_from_iterator(WORDS * 3, trainer)
    learned = json.loads(draft.to_str())["model"]
    merges = [tuple(merge) for merge in learned["merges"]]
    bpe = models.BPE(learned["vocab"], merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)  # noqa: S106 - a token of text
    final = tokenizers.Tokenizer(bpe)
    final.normalizer, final.pre_tokenizer = space, split
    final.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    final.add_special_tokens(special)
    final.post_processor = processors.TemplateProcessing(single="$A <eos>", special_tokens=[("<eos>", 1)])
    final.save(str(folder / "tokenizer.json"))
    return int(final.get_vocab_size())
