"""How fast pictures are indexed from S3 on loopback beside the same from disk, through the same model.

    PYTHONPATH=tests python tests/benchmarks/remote.py [--pictures 5000] [--rounds 1] [--moto] [--keep FOLDER]

The pictures are JPEGs of 320 px from the bundled samples, made noisy; the model is SigLIP base-224 of random weights on
the CPU. The server is a process of its own that speaks what of S3 is needed, and keeps all objects in memory: a plain
one, or with --moto moto's, whose answers take more CPU time than many a picture. It shares the cores here, where a
bucket would not, so its CPU time is printed beside ours: "without the server's share" is what is left when its CPU
time, spread over the cores, is taken from the wall time.

Rates are of wall time from the listing to the last commit; the model and its prompts are there already. Only those of
one run compare, on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

import numpy as np
from checkpoints import save_shapes
from made import make_photos
from servers import AWS, fill
from watching import watched

from pictocli.brain import Model, choose, put_labels
from pictocli.candidates import IndexOptions, Target
from pictocli.indexing import Indexer
from pictocli.protocols import NoProgress
from pictocli.remote import Remote
from pictocli.schema import connect
from pictocli.sqlite import SqliteStore
from pictocli.taxonomy import load
from pictocli.workers import Workers, default_workers

BATCH, CORES = 16, default_workers()
BASE = {
    "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
    "patch_size": 16, "image_size": 224,
}  # fmt: skip
MOTO = """
from servers import s3_server
with s3_server() as (address, _):
    print(address.rpartition(":")[2], flush=True)
    input()
"""
STAMP = "2024-01-01T00:00:00.000Z"


# ---- The server ----


def listing(objects: dict[str, bytes], tags: dict[str, str], query: dict[str, list[str]]) -> bytes:
    """ListObjectsV2's answer, a thousand keys at most."""
    prefix, after = query.get("prefix", [""])[0], query.get("continuation-token", [""])[0]
    count = int(query.get("max-keys", ["1000"])[0])
    keys = [key for key in sorted(objects) if key.startswith(prefix) and key > after]
    rows = "".join(
        f"<Contents><Key>{escape(key)}</Key><LastModified>{STAMP}</LastModified><ETag>{tags[key]}</ETag>"
        f"<Size>{len(objects[key])}</Size></Contents>"
        for key in keys[:count]
    )
    more = len(keys) > count
    token = f"<NextContinuationToken>{escape(keys[count - 1])}</NextContinuationToken>" if more else ""
    return (
        '<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<IsTruncated>{str(more).lower()}</IsTruncated>{rows}{token}</ListBucketResult>"
    ).encode()


def serve(folder: Path) -> None:
    """Serve the files of a folder as the objects of every bucket, until this process is ended. Prints the port."""
    objects = {path.name: path.read_bytes() for path in folder.iterdir()}
    tags = {key: f'"{hashlib.md5(body).hexdigest()}"' for key, body in objects.items()}  # noqa: S324 - as S3 has it

    def answer(target: str) -> bytes:
        place = urlsplit(target)
        key = unquote(place.path).strip("/").partition("/")[2]
        if not key:
            body, more, status = listing(objects, tags, parse_qs(place.query)), "", "200 OK"
        elif key in objects:
            body, status = objects[key], "200 OK"
            more = f"ETag: {tags[key]}\r\nLast-Modified: Mon, 01 Jan 2024 00:00:00 GMT\r\n"
        else:
            body, more, status = b"", "", "404 Not Found"
        return f"HTTP/1.1 {status}\r\n{more}Content-Length: {len(body)}\r\n\r\n".encode() + body

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                method, target, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
                said = answer(target)
                writer.write(said.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" if method == "HEAD" else said)
                await writer.drain()
        writer.close()

    async def run() -> None:
        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()

    asyncio.run(run())


@contextlib.contextmanager
def server(folder: Path, moto: bool) -> Iterator[subprocess.Popen[str]]:
    """The server in a process of its own; its address goes into the environment."""
    command = [sys.executable, __file__, "--serve", str(folder)]
    if moto:
        command = [sys.executable, "-c", MOTO]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = f"http://127.0.0.1:{int(process.stdout.readline())}"
        os.environ.update(AWS | {"AWS_ENDPOINT_URL": address})
        try:
            if moto:
                fill(address, "pictures", {path.name: path.read_bytes() for path in folder.iterdir()})
            yield process
        finally:
            process.kill()


# ---- The measurement ----


def indexed(model: Model, root: str, count: int, db: Path, server_id: int | None) -> tuple[float, float, float]:
    """Wall seconds of indexing a root, and CPU seconds of ours and of the server's."""
    db.unlink(missing_ok=True)
    store = SqliteStore(connect(str(db), create=True))
    store.require_model(model.spec)
    put_labels(store, load())
    brain = model.brain(store)
    side = model.spec.image_size
    brain.begin(np.zeros((1, side, side, 3), np.uint8), [{}])()
    target = Target(store.add_root(root, "pictures"), root)
    with Remote() as remote:
        options = IndexOptions(BATCH, CORES, remote=None if server_id is None else remote)
        indexer = Indexer(store, model.spec, brain, options, NoProgress())
        warm(indexer._workers)
        before = cpu_of(server_id)
        with watched(os.getpid()) as watch:
            started = time.perf_counter()
            indexer.run([target])
            seconds = time.perf_counter() - started
    assert (indexer.report.indexed, indexer.report.skipped) == (count, [])
    store.db.close()
    spent = cpu_of(server_id) - before
    return seconds, watch.cpu - spent, spent  # the server is a child of ours, and watched with us


def warm(workers: Workers) -> None:
    for job in [workers.submit(time.sleep, 0.5) for _ in range(CORES)]:
        workers.result(job)


def cpu_of(process: int | None) -> float:
    if process is None:
        return 0.0
    told = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(told[11]) + int(told[12])) / os.sysconf("SC_CLK_TCK")


def compare(model: Model, folder: Path, count: int, rounds: int, moto: bool, base: Path) -> None:
    print(f"{count:,} JPEGs of 320 px, base-224 by {model.embedder.runtime}, {CORES} cores", flush=True)
    for _ in range(rounds):
        disk, ours, _none = indexed(model, str(folder), count, base / "disk.db", None)
        print(f"  from disk  {count / disk:7.2f} images/s   CPU {ours * 1000 / count:6.1f} ms", flush=True)
        with server(folder, moto) as process:
            wall, mine, theirs = indexed(model, "s3://pictures", count, base / "s3.db", process.pid)
        alone = wall - theirs / CORES
        print(f"  from S3    {count / wall:7.2f} images/s   CPU {mine * 1000 / count:6.1f} ms   server "
              f"{theirs * 1000 / count:5.1f} ms   {disk / wall:.3f} of disk; without the server's share "
              f"{disk / alone:.3f}", flush=True)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pictures", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=1, help="how often, disk and S3 by turns")
    parser.add_argument("--moto", action="store_true", help="moto's server in place of the plain one")
    parser.add_argument("--keep", type=Path, help="make the files here, and use those that are there")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.serve:
        serve(options.serve)
        return
    base = options.keep or Path(tempfile.mkdtemp())
    try:
        folder = base / f"pictures-{options.pictures}"
        make_photos(folder, options.pictures, (320, 240))
        if not (base / "base-224").exists():
            save_shapes(base / "base-224", **BASE)
        model = choose(str(base / "base-224"), None, "cpu", NoProgress())
        compare(model, folder, options.pictures, options.rounds, options.moto, base)
    finally:
        if not options.keep:
            shutil.rmtree(base)


if __name__ == "__main__":
    main()
