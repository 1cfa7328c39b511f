"""Indexing on the nodes of a Ray cluster: as on one machine, whatever goes away in the middle of it.

`PICTO_CONTRACT=all` kills a node or picto among 10,000 pictures, else among 240, and runs what is marked long. Loading
the model on the nodes is most of the time: a test asks for no more nodes than it needs.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import servers
from pictures import scene
from program import PICTO, Ran, environment, run
from ray_nodes import Nodes, nodes

import pictocli
from pictocli.decode import inspect
from pictocli.errors import ValidationError
from pictocli.scale.ray.hands import Decoder
from pictocli.steady import steady
from pictocli.workers import LateError

pytest.importorskip("ray")
pytestmark = pytest.mark.xdist_group("ray")

LONG = os.environ.get("PICTO_CONTRACT") == "all"
FEW = 240
MANY = 10_000 if LONG else FEW
long = pytest.mark.skipif(not LONG, reason="PICTO_CONTRACT=all runs it")
LOST = "what is stored stays: the same command goes on from there once a node is back"
HEADLESS = "what is stored stays: once Ray is started there again, the same command goes on from there"
SOURCE = str(Path(pictocli.__file__).parents[1])
ROWS = """
    SELECT image.id, file.id, file.name, file.kind, file.pages, hex(file.hash), image.page, width, height, measures,
           hex(thumbnail.jpeg), image.content_id, objects, scenes, attributes, image.folder_id, file.reason
    FROM image JOIN file ON file.id = image.file_id JOIN content ON content.id = image.content_id
    LEFT JOIN thumbnail ON thumbnail.content_id = content.id ORDER BY image.id"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Nodes]:
    """Nodes of one CPU each: one at first. A test says how many it needs."""
    with nodes(1) as found:
        yield found


def painted(folder: Path, count: int) -> Path:
    for number in range(count):
        scene(number, 64, 48).save(folder / f"{number:05}.png")
    return folder


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return painted(tmp_path_factory.mktemp("many"), MANY)


@pytest.fixture(scope="module")
def few(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return painted(tmp_path_factory.mktemp("few"), FEW) if LONG else pictures


def told(ran: Ran) -> dict[str, Any]:
    """The report, which is all that standard output has."""
    assert ran.code == 0, ran.err
    found: dict[str, Any] = json.loads(ran.out)
    return found


def asked(path: Path, sql: str) -> list[tuple[Any, ...]]:
    db = sqlite3.connect(path, timeout=20)
    try:
        return db.execute(sql).fetchall()
    finally:
        db.close()


def stored(path: Path) -> int:
    try:
        return int(asked(path, "SELECT count(*) FROM image")[0][0])
    except sqlite3.OperationalError:  # it is being made
        return 0


def vectors(path: Path) -> np.ndarray[Any, Any]:
    found = asked(path, "SELECT v FROM embedding ORDER BY content_id")
    return np.array([np.frombuffer(row[0], "<f4") for row in found])


def begun(path: Path, pictures: Path, model: str, cluster: Nodes, images: int) -> subprocess.Popen[bytes]:
    """A run of the program that has stored so many images, and goes on."""
    program = subprocess.Popen(
        [PICTO, "--db", path, "index", pictures, "--model", model, "--runner", "ray", "--ray-address", cluster.address,
         "--batch-size", "4", "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(),
    )  # fmt: skip
    until = time.monotonic() + 120 + images / 10
    while stored(path) < images:
        assert program.poll() is None, program.communicate()
        assert time.monotonic() < until
        time.sleep(0.05)
    return program


def ended(program: subprocess.Popen[bytes]) -> Ran:
    out, err = program.communicate(timeout=240)
    return Ran(program.returncode, out, err.decode())


def whole(path: Path, count: int) -> None:
    """Every picture is there once, with its own embedding."""
    names = [name for (name,) in asked(path, "SELECT name FROM image JOIN file ON file.id = file_id ORDER BY image.id")]
    assert names == [f"{number:05}.png" for number in range(count)]
    assert len(vectors(path)) == count


def test_nodes_store_the_same_as_one_machine(
    cluster: Nodes, photos: Path, model: str, tmp_path: Path, index: Any
) -> None:
    """Formats, pages, copies and bad files: ids, tags, thumbnails and reasons; from RAY_ADDRESS, too."""
    cluster.require(2)
    album = tmp_path / "album"
    shutil.copytree(photos, album)
    (album / "beach/broken.jpg").write_bytes((album / "beach/sunny.jpg").read_bytes()[:3000])
    (album / "empty.png").touch()
    shutil.copy(album / "old.bmp", album / "old copy.bmp")
    here = index(album, thumbnails=True, workers=2, db=tmp_path / "here.db")
    there = tmp_path / "there.db"
    ran = run(
        "--db", there, "index", album, "--model", model, "--thumbnails", "--runner", "ray", "--json",
        env={"RAY_ADDRESS": cluster.address},
    )  # fmt: skip
    report = told(ran)
    assert (report["indexed"], report["copied"]) == (here.indexed, here.copied) == (18, 1)
    assert [(each["path"], each["reason"]) for each in report["skipped"]] == [(s.path, s.reason) for s in here.skipped]
    assert len(here.skipped) == 2
    assert asked(there, ROWS) == asked(tmp_path / "here.db", ROWS)
    assert np.abs(vectors(there) - vectors(tmp_path / "here.db")).max() < 1e-5
    assert [each["host"] for each in report["hosts"]] == ["127.0.0.1"] * 2
    assert sum(each["embedded"] for each in report["hosts"]) == 18
    lines = ran.err.splitlines()
    assert lines[0] == f"Ray at {cluster.address}: 2 nodes, 2 CPUs"
    assert lines[1].startswith("Indexed 18 images in ")
    assert all(re.fullmatch(r"host 127\.0\.0\.1: \d+ (images?|pages? decoded), [\d.]+/s", line) for line in lines[2:4])
    assert lines[4] == "warning: skipped 2"
    assert not [word for word in ("raylet", "INFO", "WARNING", "Warning", "pid=") if word in ran.err]
    again = told(run("--db", there, "index", album, "--runner", "ray", "--ray-address", cluster.address, "--json"))
    assert (again["indexed"], again["unchanged"], again["hosts"]) == (0, 15, [])


def test_without_work_no_cluster_is_joined(photos: Path, model: str, tmp_path: Path) -> None:
    """Starting Ray takes 20 s, in which nothing would be done."""
    ours = ["--db", tmp_path / "a.db", "index", photos / "beach", "--model", model]
    assert run(*ours).code == 0
    ran = ended(subprocess.Popen(
        [sys.executable, "-c", DRIVER.format("import ray; ray.init = None"), *ours, "--runner", "ray"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(PYTHONPATH=SOURCE),
    ))  # fmt: skip
    assert (ran.code, ran.out) == (0, b""), ran.err
    assert re.fullmatch(r"Indexed 0 images in [^\n]+\n", ran.err), "and nothing of nodes"


STOPPED = """
import os, signal
from ray._private.node import Node
start = Node.start_ray_processes
def stopped(self):
    start(self)
    print(*[each.process.pid for kind in self.all_processes.values() for each in kind], flush=True)
    os.kill(os.getpid(), signal.{})
Node.start_ray_processes = stopped
"""


@pytest.mark.parametrize("stop", ["SIGTERM", "SIGINT"])
def test_stopped_while_ray_starts(stop: str, photos: Path, tmp_path: Path) -> None:
    """Ray's own handler of SIGTERM left with a code of its own, which picto made 0."""
    ran = ended(subprocess.Popen(
        [sys.executable, "-c", DRIVER.format(STOPPED.format(stop)), "--db", tmp_path / "a.db", "index", photos,
         "--model", "mini", "--runner", "ray", "--workers", "1"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(PYTHONPATH=SOURCE),
    ))  # fmt: skip
    assert (ran.code, ran.err) == (130, "")
    until, pids = time.monotonic() + 20, ran.out.split()
    assert len(pids) > 1
    while any(lives(int(pid)) for pid in pids):
        assert time.monotonic() < until
        time.sleep(0.05)
    assert not (tmp_path / "a.db").exists()


def lives(pid: int) -> bool:
    """Whether there is such a process, and not its remains alone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes() != b""
    except OSError:
        return False


def test_a_node_that_is_killed_loses_and_doubles_nothing(
    cluster: Nodes, pictures: Path, model: str, tmp_path: Path
) -> None:
    victim = cluster.require(2)[0]
    program = begun(tmp_path / "a.db", pictures, model, cluster, MANY // 4)
    cluster.kill(victim)
    ran = ended(program)
    report = told(ran)
    assert "done once more, as a node went away with them\n" in ran.err or not report["redone"]
    whole(tmp_path / "a.db", MANY)
    assert report["indexed"] == sum(each["embedded"] for each in report["hosts"]) == MANY
    assert report["redone"] <= max(0.02 * MANY, 60)  # what is under way does not grow with the job
    assert len(report["hosts"]) == 2


BAD = """
import sys
import ray_nodes
from pictocli import cli, indexing
indexing.decode = ray_nodes.bad_decode
cli.main(sys.argv[1:])
"""


def test_a_file_that_hangs_or_kills_costs_itself(cluster: Nodes, model: str, tmp_path: Path) -> None:
    cluster.require(1)
    album = tmp_path / "album"
    album.mkdir()
    for number in range(12):
        scene(number).save(album / f"{number:02}.png")
    for seed, name in enumerate(("hangs", "kills"), 50):
        scene(seed).save(album / f"{name}.png")
    env = environment(PYTHONPATH=os.pathsep.join([str(Path(__file__).parent), str(Path(pictocli.__file__).parents[1])]))
    done = subprocess.run(
        [sys.executable, "-c", BAD, "--db", tmp_path / "a.db", "index", album, "--model", model, "--runner", "ray",
         "--ray-address", cluster.address, "--max-seconds", "3", "--json"],
        capture_output=True, env=env, check=False,
    )  # fmt: skip
    report = told(Ran(done.returncode, done.stdout, done.stderr.decode()))
    assert report["indexed"] == 12
    assert {os.path.basename(each["path"]): each["reason"] for each in report["skipped"]} == {
        "hangs.png": "not done in time, over --max-seconds 3", "kills.png": "crashed its decoder",
    }  # fmt: skip
    assert report["redone"] == 0


@long
def test_what_was_fetched_is_lent_to_the_nodes(cluster: Nodes, model: str, photos: Path, tmp_path: Path) -> None:
    cluster.require(1)
    names = ("scans/report.pdf", "beach/sunny.jpg", "scans/three.tif")
    with servers.site() as site:
        site.pages |= {f"/{name}": (photos / name).read_bytes() for name in names}
        urls = [site.address + f"/{name}" for name in names]
        report = told(
            run("--db", tmp_path / "a.db", "index", *urls, "--model", model, "--runner", "ray", "--ray-address",
                cluster.address, "--json")
        )  # fmt: skip
        assert (report["indexed"], report["downloaded"], report["skipped"]) == (7, 3, [])
        run("--db", tmp_path / "b.db", "index", *urls, "--model", model)
    of = "SELECT hex(file.hash), size, image.page, width, height, measures, objects FROM image"
    of += " JOIN file ON file.id = file_id JOIN content ON content.id = content_id ORDER BY image.id"
    assert asked(tmp_path / "a.db", of) == asked(tmp_path / "b.db", of)


@pytest.mark.parametrize("machine", [False, pytest.param(True, marks=long)], ids=["its process", "its machine"])
def test_where_picto_then_the_head_was_killed_no_stored_picture_is_embedded_again(
    cluster: Nodes, pictures: Path, model: str, tmp_path: Path, machine: bool
) -> None:
    cluster.require(1)
    program = begun(tmp_path / "a.db", pictures, model, cluster, MANY // 4)
    program.send_signal(signal.SIGKILL)
    program.communicate()
    first = stored(tmp_path / "a.db")
    assert MANY // 4 <= first < MANY
    with nodes(1) as other:
        beheaded(begun(tmp_path / "a.db", pictures, model, other, first + MANY // 4), other, machine)
    there = stored(tmp_path / "a.db")
    assert first + MANY // 4 <= there < MANY
    before = asked(tmp_path / "a.db", "SELECT id, content_id FROM image ORDER BY id")
    report = told(
        run("--db", tmp_path / "a.db", "index", pictures, "--runner", "ray", "--ray-address", cluster.address, "--json")
    )
    assert (report["indexed"], sum(each["embedded"] for each in report["hosts"])) == (MANY - there, MANY - there)
    assert asked(tmp_path / "a.db", "SELECT id, content_id FROM image ORDER BY id")[:there] == before
    whole(tmp_path / "a.db", MANY)


def beheaded(program: subprocess.Popen[bytes], cluster: Nodes, machine: bool) -> None:
    """It says so, and ends, in seconds."""
    program.send_signal(signal.SIGSTOP)  # it would else be done with most of them before it looks for the head again
    cluster.behead(machine)
    time.sleep(2.5)
    program.send_signal(signal.SIGCONT)
    went_on = time.monotonic()
    ran = ended(program)
    assert time.monotonic() - went_on < 30
    error = f"error: the head of the Ray cluster at {cluster.address} went away"
    assert (ran.code, ran.out, ran.err.splitlines()[1:]) == (3, b"", [error, "", f"hint: {HEADLESS}"])


DRIVER = """
import sys
import pictocli
from pictocli import cli
{}
cli.main(sys.argv[1:])
"""


@pytest.mark.parametrize(
    ("change", "options", "code", "sentence", "remedy"),
    [
        ("", ["--ray-address", "127.0.0.1:9"], 2, "--ray-address is for --runner ray", "give both"),
        ("", ["--runner", "ray", "--ray-address", "nowhere"], 2, "nowhere is no address", "HOST:PORT"),
        ("", ["--runner", "ray", "--ray-address", "http://127.0.0.1:18999"], 2, "no address of a Ray", "HOST:PORT"),
        ("", ["--runner", "ray", "--ray-address", "ray://a:1"], 2, "for Ray's client", "on a node"),
        ("", ["--runner", "ray", "--workers", "0"], 2, "every node needs a decoding process", "--workers 1"),
        ("", ["--runner", "ray", "--ray-address", "127.0.0.1:9"], 3, "no Ray cluster at 127.0.0.1:9: ", "ray start"),
        ("sys.modules['ray'] = None", ["--runner", "ray"], 3, "which is not installed", "pip install 'pictocli[ray]'"),
    ],
    ids=["not asked for", "no address", "a web address", "a client's", "no workers", "nobody there", "no Ray"],
)
def test_what_cannot_be_is_told_at_once(
    change: str, options: list[str], code: int, sentence: str, remedy: str, photos: Path, tmp_path: Path
) -> None:
    started = time.monotonic()
    refused(change, options, code, sentence, remedy, photos, tmp_path)
    assert time.monotonic() - started < 20


def refused(
    change: str, options: list[str], code: int, sentence: str, remedy: str, photos: Path, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", DRIVER.format(change), "--db", tmp_path / "a.db", "index", photos, "--model", "mini",
         *options],
        capture_output=True, text=True, env=environment(PYTHONPATH=SOURCE),
        check=False,
    )  # fmt: skip
    first, _, hint = done.stderr.partition("\n\n")
    assert (done.returncode, done.stdout, len(first.splitlines())) == (code, "", 1), done.stderr
    assert sentence in first
    assert remedy in hint
    assert not (tmp_path / "a.db").exists()


def test_a_cluster_of_another_version_is_refused(cluster: Nodes, photos: Path, tmp_path: Path) -> None:
    """Ray compares what its head says of itself: here it is made to say something else."""
    cluster.require(1)
    there = ["--runner", "ray", "--ray-address", cluster.address]
    ours = cluster.say(f"2.1.0 {sys.version.split()[0]}")
    try:
        refused("", there, 3, "is of Ray 2.1.0, and this is ", "pip install 'ray==2.1.0'", photos, tmp_path)
        cluster.say(f"{ours.split()[0]} 3.9.1")
        refused("", there, 3, "runs Python 3.9.1", "by Python 3.9.1", photos, tmp_path)
    finally:
        cluster.say(ours)
    newer = "pictocli.__version__ = '99.0'"
    refused(newer, there, 3, "has picto 0.", "pip install 'pictocli[ray]==99.0' there", photos, tmp_path)


def test_a_port_where_something_else_answers(photos: Path, tmp_path: Path) -> None:
    started = time.monotonic()
    with socket.create_server(("127.0.0.1", 0)) as server:
        there = ["--runner", "ray", "--ray-address", f"127.0.0.1:{server.getsockname()[1]}"]
        refused("", there, 3, ": no answer", "ray start --head", photos, tmp_path)
    with servers.site() as site:
        there = ["--runner", "ray", "--ray-address", site.address.removeprefix("http://")]
        refused("", there, 3, ": what answers there is something else", "ray start --head", photos, tmp_path)
    assert time.monotonic() - started < 40


def test_watch_runs_here(tmp_path: Path) -> None:
    with pictocli.open(tmp_path / "a.db") as library, pytest.raises(ValidationError, match="this machine alone"):
        next(library.watch(tmp_path, runner="ray"))


@long
def test_without_an_address_it_is_this_machine_alone(photos: Path, model: str, tmp_path: Path) -> None:
    ran = run("--db", tmp_path / "a.db", "index", photos / "beach", "--model", model, "--runner", "ray", "--json",
              "--workers", "1")  # fmt: skip
    report = told(ran)
    assert (report["indexed"], len(report["hosts"])) == (3, 1)
    assert ran.err.startswith("A Ray cluster of this machine alone; --ray-address names another: 1 node, 1 CPU")


def test_decoding_on_a_node(photos: Path, tmp_path: Path) -> None:
    """Folders that it does not see; bytes that are lent; a call that takes too long."""
    node = Decoder(1, 1.0)
    try:
        assert node.hello([str(photos), "/no/such"]).value == ["/no/such"]
        path = str(photos / "beach/sunny.jpg")
        content = Path(path).read_bytes()
        with steady(path) as (_, stamp):
            pass
        ours, theirs = inspect(path), node.make(inspect, ("/elsewhere/x.jpg",), (content, stamp)).value
        assert ours == theirs
        assert node.make(inspect, ("/elsewhere/x.jpg",), None).value.reason == "no such file or directory"
        assert isinstance(node.make(time.sleep, (30,), None).error, LateError)
    finally:
        node._pool.close()


def test_when_all_nodes_are_gone_what_is_stored_stays(cluster: Nodes, few: Path, model: str, tmp_path: Path) -> None:
    cluster.require(2 if LONG else 1)
    lost = f"all {len(cluster.alive)} nodes" if len(cluster.alive) > 1 else "the only node"
    program = begun(tmp_path / "a.db", few, model, cluster, FEW // 4)
    for number in list(cluster.alive):
        cluster.kill(number)
    ran = ended(program)
    assert ran.code == 3
    assert f"error: {lost} of the Ray cluster at {cluster.address} went away" in ran.err
    assert LOST in ran.err
    assert FEW // 4 <= stored(tmp_path / "a.db") < FEW
