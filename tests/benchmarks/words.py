"""What a search for new words costs, process start to answer: the text tower in numpy against the whole model in torch.

    OMP_NUM_THREADS=1 PYTHONPATH=tests python tests/benchmarks/words.py [BF16 | F16 | F32 …]

CPU seconds (the least of three) and peak resident memory of whole processes, with `mini`, and with a made-up model of
SigLIP 2 base's true text shapes: 12 layers x 768, 256,000 pieces, random weights of each type named (1.1 GB in F32),
laid out in a hub cache of its own under the temporary folder and deleted afterwards. The file is in the page cache.
Beside each, the heavy modules that were loaded; last, how far numpy and torch in float32 are apart.
"""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from checkpoints import write_json
from retag import fill
from vocabularies import make_pieces, save_gemma_json, save_gemma_model

from pictocli import hub
from pictocli.checkpoint import read_text_shape
from pictocli.schema import connect
from pictocli.sqlite import SqliteStore
from pictocli.text import canonicalize, load_tokenizer
from pictocli.tower import TextTower, tensor_shapes

ID, COMMIT = "made-up/siglip2-base", "0" * 40
TEXT = {"model_type": "siglip_text_model", "vocab_size": 256_000, "hidden_size": 768, "num_hidden_layers": 12}
TIMES = 3
SEARCH = """
import sys
from pictocli.cli import main
try:
    main(sys.argv[1:])
finally:
    peak = [line for line in open("/proc/self/status") if line.startswith("VmHWM")]
    heavy = {"torch", "transformers", "tokenizers", "sentencepiece"} & set(sys.modules)
    print(int(peak[0].split()[1]) // 1024, *sorted(heavy), file=sys.stderr)
"""
BY_TORCH = """
import pictocli.tower
from pictocli.errors import ModelError
def refuse(*_):
    raise ModelError("not now")
pictocli.tower.TextTower = refuse
"""


def made_up(folder: Path, dtype: str) -> None:
    """A checkpoint with a text tower only, of the hub's file names."""
    write_json(folder / "config.json", {"model_type": "siglip", "text_config": TEXT, "vision_config": {}})
    processing = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "size": {"height": 224, "width": 224}, "resample": 2}
    write_json(folder / "preprocessor_config.json", processing)
    shapes = {f"text_model.{name}": shape for name, shape in tensor_shapes(read_text_shape(folder))}
    shapes |= {"logit_scale": (1,), "logit_bias": (1,)}
    header, end = {}, 0
    for name, shape in shapes.items():
        start, end = end, end + int(np.prod(shape)) * (4 if dtype == "F32" else 2)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}
    encoded = json.dumps(header).encode()
    rng = np.random.default_rng(0)
    with (folder / "model.safetensors").open("wb") as stream:
        stream.write(struct.pack("<Q", len(encoded)) + encoded)
        for shape in shapes.values():
            values = rng.standard_normal(shape, np.float32) / np.float32(np.sqrt(shape[-1]))
            packed = {"F32": "<f4", "F16": "<f2"}.get(dtype)
            stream.write((values.astype(packed) if packed else (values.view("<u4") >> 16).astype("<u2")).tobytes())


def search(db: Path, words: str, prologue: str = "") -> tuple[float, int, str]:
    """CPU seconds, peak MB and heavy imports of one search in a process of its own."""
    command = [sys.executable, "-c", prologue + SEARCH, "--db", str(db), "search", words, "--limit", "3"]
    with tempfile.TemporaryFile("w+") as told:
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=told)
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        told.seek(0)
        said = told.read()
    if child.returncode:
        raise SystemExit(said)
    peak, *heavy = said.splitlines()[-1].split()
    return used.ru_utime + used.ru_stime, int(peak), " ".join(heavy)


def report(name: str, db: Path, prologue: str = "", *, again: bool = False) -> None:
    """One line of the table: TIMES searches, for new words each time unless `again`."""
    runs = [search(db, f"a dog {0 if again else f'{name} {number}'}", prologue) for number in range(TIMES + again)]
    seconds, peak, heavy = min(runs[again:])
    print(f"{name:46} {seconds:6.2f} s {peak:6} MB   {heavy}", flush=True)


def difference(folder: Path) -> float:
    """The largest difference between the embeddings of 20 texts by numpy and by transformers in float32."""
    files = hub.resolve(ID)
    texts = ["", *(f"a dog {'and a cat ' * number}" for number in range(19))]
    found = TextTower(files, hub.read_spec(files)).embed_texts(texts)
    import torch
    from transformers import SiglipTextModel

    encode = load_tokenizer(folder, 64)
    model = SiglipTextModel.from_pretrained(folder, dtype=torch.float32)
    with torch.inference_mode():
        ids = torch.tensor([encode(canonicalize(text)) for text in texts])
        wanted = torch.nn.functional.normalize(model(input_ids=ids).pooler_output, dim=-1).numpy()
    return float(np.abs(found - wanted).max())


def library(path: Path, model: str) -> Path:
    """A database of 1,000 made-up images in this model's space."""
    spec = hub.read_spec(hub.resolve(model))
    store = SqliteStore(connect(str(path), create=True))
    store.require_model(spec)
    fill(store, spec, 1000)
    store.db.close()
    return path


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        os.environ |= {"HF_HUB_CACHE": str(base / "hub"), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        db = library(base / "mini.db", "mini")
        report("mini, numpy", db)
        report("mini, torch", db, BY_TORCH)
        report("mini, the same words again", db, again=True)
        folder = base / "hub" / f"models--{ID.replace('/', '--')}" / "snapshots" / COMMIT
        folder.mkdir(parents=True)
        pieces = make_pieces(256_000)
        save_gemma_json(folder, pieces)
        for dtype in sys.argv[1:] or ["BF16"]:
            made_up(folder, dtype)
            db = library(base / f"{dtype}.db", ID)
            save_gemma_model(folder, pieces)
            report(f"base {dtype}, numpy, tokenizer.model", db)
            report(f"base {dtype}, torch, tokenizer.model", db, BY_TORCH)
            report(f"base {dtype}, the same words again", db, again=True)
            (folder / "tokenizer.model").unlink()
            report(f"base {dtype}, numpy, tokenizer.json alone", db)
            report(f"base {dtype}, torch, tokenizer.json alone", db, BY_TORCH)
            print(f"base {dtype}, largest difference {difference(folder):.1e}", flush=True)


if __name__ == "__main__":
    main()
