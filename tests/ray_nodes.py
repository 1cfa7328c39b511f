"""A Ray cluster of real nodes on this machine, in a process of its own, whose nodes a test may kill.

Ray must not run within the test's process: it leaves threads, sockets and signal handlers of its own there.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["Nodes", "bad_decode", "nodes"]

ROOT = Path(__file__).parents[1]
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_health_check_initial_delay_ms": "1000",  # a node that was killed is known to be gone in 2 s, not in 20
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "10000",  # but one that is slow stays: these share two cores
    "RAY_health_check_failure_threshold": "3",
}


class Nodes:
    """The cluster. address: HOST:PORT. alive: the numbers of its nodes, by which they are known."""

    def __init__(self) -> None:
        paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
        self.alive: list[int] = []
        self._program = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            text=True, env=os.environ | QUIET | {"PYTHONPATH": paths},
        )  # fmt: skip
        self.address = self._answer()

    def add(self, count: int = 1) -> int:
        """So many nodes more, of one CPU each; the number of the last."""
        last = int(self._ask(f"add {count}"))
        self.alive += range(last + 1 - count, last + 1)
        return last

    def require(self, count: int) -> list[int]:
        """Add nodes until there are so many; the numbers of all."""
        if len(self.alive) < count:
            self.add(count - len(self.alive))
        return self.alive

    def kill(self, number: int) -> None:
        """As when the machine loses its power."""
        self._ask(f"kill {number}")
        self.alive.remove(number)

    def behead(self, machine: bool = False) -> None:
        """Kill the process that knows the nodes; machine: and whatever else runs beside it."""
        self._ask(f"behead {machine:d}")

    def say(self, what: str) -> str:
        """Have the cluster tell others that it is of "RAY PYTHON"; returns what it told them before."""
        return self._ask(f"say {what}")

    def close(self) -> None:
        """End all nodes."""
        assert self._program.stdin is not None
        assert self._program.stdout is not None
        self._program.stdin.close()
        self._program.wait(60)
        self._program.stdout.close()

    def _ask(self, line: str) -> str:
        assert self._program.stdin is not None
        self._program.stdin.write(line + "\n")
        self._program.stdin.flush()
        return self._answer()

    def _answer(self) -> str:
        assert self._program.stdout is not None
        while line := self._program.stdout.readline():
            if line.startswith("> "):
                return line[2:].strip()
        raise AssertionError("the cluster has ended")


def bad_decode(path: str, kind: str, page: int, *rest: Any) -> Any:
    """On a node: hang at one file, die of another."""
    import signal

    from pictocli.decode import decode

    if path.endswith("hangs.png"):
        os.kill(os.getpid(), signal.SIGSTOP)
    if path.endswith("kills.png"):
        os.kill(os.getpid(), signal.SIGKILL)
    return decode(path, kind, page, *rest)


@contextlib.contextmanager
def nodes(count: int = 0) -> Iterator[Nodes]:
    """A cluster whose head does no work, with so many nodes of one CPU."""
    cluster = Nodes()
    try:
        if count:
            cluster.add(count)
        yield cluster
    finally:
        cluster.close()


def _serve() -> None:
    import json

    from ray._common.usage.usage_constants import CLUSTER_METADATA_KEY as KEY
    from ray._private.ray_constants import KV_NAMESPACE_CLUSTER as SPACE
    from ray._private.ray_constants import PROCESS_TYPE_GCS_SERVER
    from ray._raylet import GcsClient
    from ray.cluster_utils import Cluster

    shared = {"node_ip_address": "127.0.0.1", "object_store_memory": 2**28, "include_log_monitor": False}
    head = {"num_cpus": 0, "include_dashboard": False, "no_monitor": True}
    cluster = Cluster(initialize_head=True, head_node_args=head | shared)
    client = GcsClient(address=cluster.address)
    made = []
    sys.stdout.write(f"> {cluster.address}\n")
    sys.stdout.flush()
    for line in sys.stdin:
        verb, _, rest = line.strip().partition(" ")
        told = "done"
        if verb == "add":
            made += [cluster.add_node(wait=False, num_cpus=1, **shared) for _ in range(int(rest))]
            cluster.wait_for_nodes(60)
            told = str(len(made) - 1)
        elif verb == "kill":
            cluster.remove_node(made[int(rest)], allow_graceful=False)
        elif verb == "behead":
            for kind, processes in cluster.head_node.all_processes.items():
                for each in processes if kind == PROCESS_TYPE_GCS_SERVER or int(rest) else []:
                    each.process.kill()
        else:
            before = json.loads(client.internal_kv_get(KEY, SPACE, 10))
            ray_version, python_version = rest.split()
            now = before | {"ray_version": ray_version, "python_version": python_version}
            client.internal_kv_put(KEY, json.dumps(now).encode(), True, SPACE, 10)
            told = f"{before['ray_version']} {before['python_version']}"
        sys.stdout.write(f"> {told}\n")
        sys.stdout.flush()
    cluster.shutdown()


if __name__ == "__main__":
    _serve()
