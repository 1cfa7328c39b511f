"""Takes the model away: memory that is full, values that are no numbers, a hub that stalls, half a download, no space.

    python tests/trials/models.py

Each case is a run of picto: it ends as usual, or says in one sentence what to do, with exit code 3 and nothing stored.
The library agrees, the cache is not left broken, and the same command completes once the fault is gone.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from checkpoints import save_siglip2
from pictures import scene
from program import environment
from test_hub import COMMIT, MODEL, Hub, serving
from trials.agree import agree
from trials.disk import small_disk
from trials.running import finished, said, start, waited

__all__ = ["FAULTS", "corrupted", "faulty", "half_fetched", "no_space", "stalled"]

PICTURES = 7

# name → what to do to the pictures' forward pass of `dtype`, and what picto then says; nothing: all goes well
FAULTS = {
    "memory for three pictures": ("if len(batch) > 3: raise torch.OutOfMemoryError('CUDA out of memory')", ""),
    "memory for none": ("raise torch.OutOfMemoryError('CUDA out of memory')", "does not fit into the memory"),
    "NaN in half precision": ("if dtype != torch.float32: found = found * torch.nan", ""),
    "NaN always": ("found = found * torch.nan", "not finite"),
    "NaN in one picture": ("found[-1] = torch.nan", "not finite"),
}
FAULTY = """
import sys, torch
from pictocli import cli, siglip
siglip._dtype = lambda device: torch.bfloat16
real = siglip.Siglip._forward
def forward(self, tower, batch, dtype):
    found = real(self, tower, batch, dtype).clone()
    if tower == "vision":
        FAULT
    return found
siglip.Siglip._forward = forward
cli.main(sys.argv[1:])
"""


def album(base: Path) -> Path:
    """A folder of seven pictures."""
    folder = base / "album"
    folder.mkdir()
    for seed in range(PICTURES):
        scene(seed, 64, 48).save(folder / f"{seed}.png")
    return folder


def faulty(base: Path, fault: str, model: Path) -> None:
    """Index with a model that fails, then with one that does not."""
    folder, db = album(base), base / "library.db"
    code, words = FAULTS[fault]
    arguments: list[str | Path] = ["index", folder, "--db", db, "--model", model, "--workers", "0", "--device", "cpu"]
    done = subprocess.run(
        [sys.executable, "-c", FAULTY.replace("FAULT", code), *map(str, arguments)], capture_output=True, text=True,
        env=environment(),
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    if words:
        said(done.stderr, words)
    assert (done.returncode, agree(db)) == ((3, 0) if words else (0, PICTURES)), done.stderr
    assert finished(start(*arguments))[0] == 0
    assert agree(db) == PICTURES


def corrupted(base: Path, model: Path) -> None:
    """Index with weights whose header, or whose end, is not what was published."""
    folder, copy = album(base), shutil.copytree(model, base / "copy")
    weights = copy / "model.safetensors"
    whole = weights.read_bytes()
    for name, content in {"header": b"\xff" * 64 + whole[64:], "end": whole[:-1000], "nothing": b""}.items():
        weights.write_bytes(content)
        db = base / f"{name}.db"
        code, told = finished(start("index", folder, "--db", db, "--model", copy, "--workers", "0"))
        assert (code, agree(db)) == (3, 0), told
        said(told)


def _stall(self: Hub, content: bytes, status: int, body: bool, headers: dict[str, str] | None = None) -> None:
    """Send half of the weights, and keep the line open; send all else."""
    if len(content) < 100_000 or not body:
        Hub._send(self, content, status, body, headers)
        return
    Hub._send(self, b"", status, False, {**(headers or {}), "Content-Length": str(len(content))})
    self.wfile.write(content[: len(content) // 2])
    self.wfile.flush()
    time.sleep(30)
    self.close_connection = True


def run(folder: Path, db: Path, home: Path, **more: str) -> subprocess.Popen[bytes]:
    """Index with the hub's model, which is to lie in the cache `home`."""
    settings = {"HF_HOME": str(home), "NO_PROXY": "127.0.0.1", "HF_ENDPOINT": os.environ["HF_ENDPOINT"], **more}
    return start("index", folder, "--db", db, "--model", MODEL, "--workers", "0", env=settings)


def _completes(folder: Path, db: Path, home: Path, model: Path) -> None:
    """With a hub that answers, the same command fetches what is missing, and indexes."""
    with serving(model):
        code, told = finished(run(folder, db, home))
    assert (code, agree(db)) == (0, PICTURES), told


def stalled(base: Path, model: Path) -> float:
    """Fetch from a hub that stops half-way; the seconds until picto says so."""
    folder, db, home = album(base), base / "library.db", base / "hf"
    started = time.monotonic()
    with serving(model, _send=_stall):
        code, told = finished(run(folder, db, home, HF_HUB_DOWNLOAD_TIMEOUT="2"))
    seconds = time.monotonic() - started
    assert (code, db.exists()) == (3, False), told
    said(told.partition("\n")[2], "fetching")
    _completes(folder, db, home, model)
    return seconds


def half_fetched(base: Path, model: Path) -> None:
    """Kill picto in the middle of a download."""
    folder, db, home = album(base), base / "library.db", base / "hf"
    with serving(model, _send=_stall) as server:
        process = run(folder, db, home)
        weights = ("GET", f"/{MODEL}/resolve/{COMMIT}/model.safetensors")
        assert waited(lambda: any(asked[:2] == weights for asked in server.asked), 60)
        time.sleep(0.3)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    assert not db.exists()
    _completes(folder, db, home, model)


def no_space(base: Path, model: Path) -> None:
    """Fetch to a disk that has no room for the model. Needs a disk that may be mounted; else it does nothing."""
    folder, db = album(base), base / "library.db"
    with small_disk(base / "disk") as disk:
        if not disk.mounted:
            return
        home = disk.folder / "hf"
        with disk.crowded(100_000), serving(model):
            code, told = finished(run(folder, db, home))
        assert (code, db.exists()) == (3, False), told
        said(told.partition("\n")[2], "space")
        _completes(folder, db, home, model)


def main() -> None:
    """Run every case."""
    os.environ["NO_PROXY"] = "127.0.0.1"
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder).resolve()
        model = save_siglip2(base / "model")
        for at, fault in enumerate(FAULTS):
            (base / f"fault {at}").mkdir()
            faulty(base / f"fault {at}", fault, model)
        for case in (corrupted, stalled, half_fetched, no_space):
            (base / case.__name__).mkdir()
            case(base / case.__name__, model)
    print(f"{len(FAULTS) + 4} faults of models: nothing stored that is not right, nothing lost, all completed later")


if __name__ == "__main__":
    main()
