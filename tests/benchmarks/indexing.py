"""How fast pictures are indexed beside what their encoder and their decoders do alone, and how much memory that takes.

    PYTHONPATH=tests python tests/benchmarks/indexing.py [--photos 48] [--small 320] [--files 10000] [--keep FOLDER]

It makes its own files, under FOLDER or a temporary one: JPEGs of 12 megapixels and of 640 px from the bundled samples,
enlarged and made noisy, so that they compress as photos do; tiny PNGs; and 12 pictures of 100 megapixels. Models:
`mini`, and SigLIP base-224 of random weights, on the CPU, by OpenVINO and by torch where the extra `openvino` is
installed and used; with CUDA, base-224 and so400m-256 in float16 as well.

Rates are of wall time, so only those of one run compare, on a machine that does nothing else; "CPU" is user and system
time of all processes. On a CPU encoder and decoders share the cores: together they cannot do more than
1 / (1 / encoder + 1 / decoders), the bound printed beside the smaller of the two. Memory is the sum of the
proportional shares (PSS) of all processes, sampled 20 times a second.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from made import make_huge, make_photos, make_tiny
from PIL import Image
from watching import Watch, watched

from pictocli.brain import Model, choose, put_labels
from pictocli.candidates import IndexOptions, Target
from pictocli.decode import Recipe, decode
from pictocli.indexing import Indexer
from pictocli.pipeline import ahead
from pictocli.protocols import NoProgress
from pictocli.schema import connect
from pictocli.sqlite import FileRow, FinishedFile, SqliteStore
from pictocli.taxonomy import load
from pictocli.workers import Workers, default_workers

BATCH = 16
CORES = default_workers()
BASE = {
    "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
    "patch_size": 16, "image_size": 224,
}  # fmt: skip
SO400M = {
    "hidden_size": 1152, "intermediate_size": 4304, "num_hidden_layers": 27, "num_attention_heads": 16,
    "patch_size": 16, "image_size": 256,
}  # fmt: skip
AGAIN = """
import json, sys, time
started = time.process_time(), time.perf_counter()
import pictocli
with pictocli.open(sys.argv[1]) as library:
    report = library.index([sys.argv[2]], model="auto" if sys.argv[3] == "again" else "mini", device="cpu")
spent = time.process_time() - started[0], time.perf_counter() - started[1]
print(json.dumps([report.indexed, report.unchanged, len(report.skipped), *spent, "torch" in sys.modules]))
"""


# ---- Rates ----


def rate(count: int, run: Callable[[], object]) -> tuple[float, float]:
    """Pictures a second, and CPU milliseconds a picture, of a call that does `count`."""
    with watched(os.getpid()) as watch:
        started = time.perf_counter()
        run()
        seconds = time.perf_counter() - started
    return count / seconds, watch.cpu * 1000 / count


def warmed(workers: Workers) -> Workers:
    """The same, with its processes started."""
    for job in [workers.submit(time.sleep, 0.5) for _ in range(CORES)]:
        workers.result(job)
    return workers


def encoder_alone(model: Model, count: int) -> tuple[float, float]:
    side = model.spec.image_size
    pixels = np.random.default_rng(0).integers(0, 256, (BATCH, side, side, 3), dtype=np.uint8)
    model.embedder.embed_images(pixels)
    batches = max(2, count // BATCH)
    return rate(batches * BATCH, lambda: [model.embedder.embed_images(pixels) for _ in range(batches)])


def decode_alone(model: Model, paths: Sequence[Path]) -> tuple[float, float]:
    recipe = Recipe(model.spec.image_size, model.spec.resample, 72, thumbnail=False)
    pool = warmed(Workers(CORES))
    calls = ((path, 0, decode, (str(path), "jpeg", 0, recipe)) for path in paths)
    try:
        return rate(len(paths), lambda: list(ahead(pool, calls, BATCH + 4 * CORES)))
    finally:
        pool.close()


def pipeline(model: Model, folder: Path, count: int, db: Path) -> tuple[float, float]:
    """`picto index` from walking the folder to the last commit; the model and its prompts are there already."""
    db.unlink(missing_ok=True)
    store = SqliteStore(connect(str(db), create=True))
    store.require_model(model.spec)
    put_labels(store, load())
    brain = model.brain(store)
    side = model.spec.image_size
    brain.begin(np.zeros((1, side, side, 3), np.uint8), [{}])()
    target = Target(store.add_root(str(folder), folder.name), str(folder))
    indexer = Indexer(store, model.spec, brain, IndexOptions(BATCH, CORES), NoProgress())
    warmed(indexer._workers)
    found = rate(count, lambda: indexer.run([target]))
    assert indexer.report.indexed == count
    store.db.close()
    return found


def plain_loop(folder: Path, paths: Sequence[Path], device: str) -> float:
    """Pictures a second of the loop that everybody writes first, in a process of its own, with torch as it comes."""
    os.environ.pop("OMP_WAIT_POLICY", None)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(plainly, folder, paths, device).result()


def plainly(folder: Path, paths: Sequence[Path], device: str) -> float:
    """Pictures a second of processor and model in float32, a batch at a time, once both are loaded."""
    import torch
    from transformers import SiglipModel
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    model, processor = SiglipModel.from_pretrained(folder), SiglipImageProcessorPil.from_pretrained(folder)
    model = model.float().to(device).eval()

    def embed(some: Sequence[Path]) -> None:
        with torch.inference_mode():
            inputs = processor([Image.open(path).convert("RGB") for path in some], return_tensors="pt").to(device)
            torch.nn.functional.normalize(model.get_image_features(**inputs).pooler_output, dim=-1).cpu()

    embed(paths[:1])
    return rate(len(paths), lambda: [embed(paths[at : at + BATCH]) for at in range(0, len(paths), BATCH)])[0]


def compare(name: str, model: Model, folders: dict[str, list[Path]], base: Path, *, plain: bool = True) -> None:
    """One block of the table: a model over the photos and over the small pictures."""
    device = str(getattr(model.embedder, "device", "cpu"))
    for kind, paths in folders.items():
        count = len(paths)
        encoder, encoding = encoder_alone(model, min(count, 64) if device == "cpu" else 2048)
        decoders, decoding = decode_alone(model, paths)
        whole, spent = pipeline(model, paths[0].parent, count, base / "benchmark.db")
        wall = min(encoder, decoders)
        bound = 1 / (1 / encoder + 1 / decoders) if device == "cpu" else wall
        print(f"{name} on {device} by {model.embedder.runtime}, {count} of {kind}")
        print(f"  encoder alone {encoder:8.1f} images/s   CPU {encoding:6.1f} ms")
        print(f"  decode alone  {decoders:8.1f} images/s   CPU {decoding:6.1f} ms   {CORES} processes")
        print(f"  pipeline      {whole:8.1f} images/s   CPU {spent:6.1f} ms   {whole / wall:.2f} of the slower alone, "
              f"{whole / bound:.2f} of what both can do", flush=True)  # fmt: skip
        if plain:
            loop = plain_loop(model.files.folder, paths[:48], device)
            print(f"  plain loop    {loop:8.1f} images/s                   the pipeline is {whole / loop:.1f} times it")


# ---- Files that are known, and memory ----


def know(db: Path, folder: Path) -> None:
    """A library that holds every file of `folder` as it is, without a picture."""
    db.unlink(missing_ok=True)
    store = SqliteStore(connect(str(db), create=True))
    store.require_model(choose("mini", None, "cpu", NoProgress()).spec)
    put_labels(store, load())
    root = store.add_root(str(folder), folder.name)
    for each in sorted(folder.iterdir()):
        folder_id = store.folder_id(root, each.name)
        assert folder_id is not None
        files = [(entry.name, entry.stat()) for entry in os.scandir(each)]
        rows = [FileRow(folder_id, name, "png", stat.st_size, stat.st_mtime_ns, pages=1) for name, stat in files]
        store.write([], [FinishedFile(row) for row in rows])
    store.db.close()


def process(db: Path, folder: Path, how: str) -> tuple[list[float], Watch]:
    """`library.index` in a process of its own: indexed, unchanged, skipped, its CPU and wall seconds, torch loaded."""
    with subprocess.Popen([sys.executable, "-c", AGAIN, str(db), str(folder), how], stdout=subprocess.PIPE) as child:
        with watched(child.pid) as watch:
            assert child.stdout is not None
            said = child.stdout.read()
        child.wait()
    return json.loads(said), watch


def known_files(base: Path, count: int) -> None:
    peaks = {"again": list[float](), "first": list[float]()}
    for n in (count // 10, count):
        folder = make_tiny(base / f"tiny-{n}", n)
        know(base / "known.db", folder)
        told, watch = process(base / "known.db", folder, "again")
        assert told[1:3] == [n, 0]
        peaks["again"].append(watch.peak / 2**20)
        print(f"{n:,} unchanged files: {n / told[3]:,.0f} files/s of CPU time, {n / told[4]:,.0f} of wall time, "
              f"from the start of the process; torch loaded: {bool(told[5])}", flush=True)  # fmt: skip
        (base / "first.db").unlink(missing_ok=True)
        told, watch = process(base / "first.db", folder, "first")
        assert told[0] == n
        peaks["first"].append(watch.peak / 2**20)
    for name, (less, more) in peaks.items():
        print(f"peak memory, {name} index: {less:,.0f} MB with {count // 10:,} files, {more:,.0f} MB with {count:,}, "
              f"{more / less:.2f} times")  # fmt: skip


def huge_files(base: Path) -> None:
    folder = make_huge(base / "huge")
    (base / "huge.db").unlink(missing_ok=True)
    told, watch = process(base / "huge.db", folder, "first")
    assert told[0] == 12
    print(f"12 pictures of 100 megapixels: {watch.peak / 2**20:,.0f} MB at the peak, {told[4]:.0f} s")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--photos", type=int, default=48, help="JPEGs of 12 megapixels; 0 leaves the speed out")
    parser.add_argument("--small", type=int, default=320, help="JPEGs of 640 px")
    parser.add_argument("--files", type=int, default=10_000, help="tiny files; 0 leaves known files and memory out")
    parser.add_argument("--keep", type=Path, help="make the files here, and use those that are there")
    options = parser.parse_args()
    base = options.keep or Path(tempfile.mkdtemp())
    try:
        if options.files:
            known_files(base, options.files)
            huge_files(base)
        if options.photos:
            folders = {
                "12 megapixels": make_photos(base / "photos", options.photos, (4000, 3000)),
                "640 px": make_photos(base / "small", options.small, (640, 480)),
            }
            speed(folders, base)
    finally:
        if not options.keep:
            shutil.rmtree(base)


def speed(folders: dict[str, list[Path]], base: Path) -> None:
    """Every model over every folder."""
    for model in runtimes("mini", "cpu"):
        compare("mini", model, folders, base)
    import torch  # after picto has: it says how torch's threads wait
    from checkpoints import save_shapes

    for name, shapes, devices in (("base-224", BASE, ("cpu", "cuda")), ("so400m-256", SO400M, ("cuda",))):
        for device in devices:
            if device == "cpu" or torch.cuda.is_available():
                folder = base / name
                if not folder.exists():
                    save_shapes(folder, **shapes)
                for model in runtimes(str(folder), device):
                    compare(name, model, folders, base, plain=device == "cpu")


def runtimes(name: str, device: str) -> Iterator[Model]:
    """A model as picto runs it; then by torch too, if OpenVINO ran it."""
    model = choose(name, None, device, NoProgress())
    yield model
    if model.embedder.runtime == "openvino":
        model = choose(name, None, device, NoProgress())
        model.embedder._try_openvino = False
        yield model


if __name__ == "__main__":
    main()
