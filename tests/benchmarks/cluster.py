"""How fast the nodes of a Ray cluster index, one against two, and how much is done once more when one is killed.

    PYTHONPATH=tests python tests/benchmarks/cluster.py [--images 10000] [--model mini] [--keep FOLDER]

It makes its own pictures, JPEGs of 640 px, under FOLDER or a temporary one, and a cluster of real nodes of one CPU each
on this machine, which share its cores and its disk: what two nodes gain here is what the cores allow, and says nothing
of networks. Rates are of the run's own time, from the walk to the last commit, with loading the model on the nodes; a
run on this machine without Ray, by one decoding process, stands beside them. In the last run one of two nodes is killed
when half of the pictures are stored: every picture must be there once, and what was decoded or embedded once more is
told as a share of all.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from pictures import scene
from ray_nodes import Nodes, nodes

PROGRAM = "import sys; from pictocli.cli import main; main(sys.argv[1:])"


def make(folder: Path, count: int) -> Path:
    """Different pictures, as large as those of a web page."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        path = folder / f"{number:06}.jpg"
        if not path.exists():
            scene(number, 640, 480).save(path, quality=88)
    return folder


def begun(db: Path, pictures: Path, model: str, *options: str) -> subprocess.Popen[bytes]:
    for end in ("", "-wal", "-shm"):
        Path(f"{db}{end}").unlink(missing_ok=True)
    command = [sys.executable, "-c", PROGRAM, "--quiet", "--db", str(db), "index", str(pictures), "--model", model]
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), os.environ["PYTHONPATH"]])}
    return subprocess.Popen([*command, "--json", *options], stdout=subprocess.PIPE, env=env)


def ended(program: subprocess.Popen[bytes]) -> dict[str, Any]:
    out = program.communicate()[0]
    if program.returncode:
        sys.exit(program.returncode)
    found: dict[str, Any] = json.loads(out)
    return found


def images(db: Path) -> int:
    try:
        connection = sqlite3.connect(db, timeout=20)
        try:
            return int(connection.execute("SELECT count(*) FROM image").fetchone()[0])
        finally:
            connection.close()
    except sqlite3.OperationalError:  # it is being made
        return 0


def show(name: str, report: dict[str, Any]) -> None:
    hosts = ", ".join(f"{each['embedded']:,} at {each['embedded'] / each['seconds']:.1f}/s" for each in report["hosts"])
    rate = report["indexed"] / report["seconds"]
    print(f"{name:22} {report['indexed']:>7,} images {report['seconds']:>8.1f} s {rate:>8.1f}/s  {hosts}", flush=True)


def killed(cluster: Nodes, victim: int, db: Path, pictures: Path, model: str, count: int) -> None:
    """Kill a node in the middle, and count."""
    program = begun(db, pictures, model, "--runner", "ray", "--ray-address", cluster.address)
    while program.poll() is None and images(db) < count // 2:
        time.sleep(0.2)
    cluster.kill(victim)
    report = ended(program)
    show("one of two killed", report)
    there = images(db)
    print(f"{'':22} {there:,} of {count:,} stored, {report['redone']:,} done once more: {report['redone'] / count:.2%}")
    if there != count:
        sys.exit(1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--keep", type=Path)
    args = parser.parse_args()
    folder = args.keep or Path(tempfile.mkdtemp(prefix="picto-cluster-"))
    try:
        pictures, db = make(folder / f"pictures-{args.images}", args.images), folder / "library.db"
        show("no Ray, one process", ended(begun(db, pictures, args.model, "--workers", "1")))
        with nodes(1) as cluster:
            there = ("--runner", "ray", "--ray-address", cluster.address)
            show("one node", ended(begun(db, pictures, args.model, *there)))
            second = cluster.add()
            show("two nodes", ended(begun(db, pictures, args.model, *there)))
            killed(cluster, second, db, pictures, args.model, args.images)
    finally:
        if not args.keep:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
