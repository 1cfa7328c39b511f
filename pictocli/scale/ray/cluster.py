"""Joins a Ray cluster, or starts one on this machine, and says in one sentence why that cannot be.

Ray itself tries for minutes to reach what is not there, so it is asked for only where something answers. It is imported
when a cluster is joined, after what it reads from the environment has been said.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pictocli
from pictocli.errors import PictoError
from pictocli.protocols import Progress
from pictocli.records import HostWork
from pictocli.scale.ray.head import Head, checked, probe

__all__ = ["Cluster", "Node", "way_to"]

_ASKED = 60.0  # seconds in which every node says what it has: its first process imports Ray
_STORE = 2**29  # bytes of a local cluster's object store: pictures on their way, 150 KB each
_LOCAL = ("127.0.0.1", "localhost", "::1")
_SAID = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing leaves the machine that nobody asked for
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",  # every line: standard output is data, and Ray tells there of nodes that went
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # else every actor without a GPU warns of a future version
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # under `uv run` it would install everything on every node
}


@dataclass(slots=True, eq=False)
class Node:
    """One node, and what it has done. began, ended: of its work, in seconds of `time.monotonic`; 0.0 before any."""

    id: str
    host: str
    cpus: int
    gpus: int
    decoded: int = 0
    embedded: int = 0
    losses: int = 0
    trouble: str = ""
    began: float = 0.0
    ended: float = 0.0

    def did(self, decoded: int = 0, embedded: int = 0) -> None:
        """Count pages that were decoded, and pictures that were embedded."""
        self.decoded += decoded
        self.embedded += embedded
        self.ended = time.monotonic()


class Cluster:
    """A cluster that was joined. nodes: those that can work. redone: pages that were given to a node once more."""

    def __init__(self, ray: Any, address: str, nodes: list[Node], mine: bool) -> None:
        self._ray, self.address, self.nodes, self._mine = ray, address, nodes, mine
        self.head = Head(ray.get_runtime_context().gcs_address)
        self.redone = 0

    def on(self, node: Node) -> Any:
        """The strategy by which Ray puts an actor on a node, and nowhere else."""
        return _on(node.id)

    def has(self, node: Node) -> bool:
        """Whether a node is still there, as far as the cluster's head knows. Raises PictoError when that went, too."""
        self.head.require(now=True)
        return any(each["NodeID"] == node.id and each["Alive"] for each in self._ray.nodes())

    def gone(self) -> PictoError:
        """That nobody is left to work."""
        trouble = next((f": {node.trouble}" for node in self.nodes if node.trouble), "")
        count = len(self.nodes)
        lost = "the only node" if count == 1 else f"all {count} nodes"
        return PictoError(
            f"{lost} of the Ray cluster at {self.address} went away{trouble}",
            "what is stored stays: the same command goes on from there once a node is back",
        )

    def told(self, node: Node, error: Exception) -> PictoError:
        """What went wrong on one node, as its error with the node's name."""
        hint = getattr(error, "hint", None) or "what picto needs must be on every node"
        return PictoError(f"node {node.host} of the Ray cluster: {error}", hint)

    def hosts(self) -> list[HostWork]:
        """What each node has done, in the order of their addresses."""
        return [
            HostWork(
                host=node.host, node=node.id[:8], decoded=node.decoded, embedded=node.embedded,
                seconds=round(max(0.0, node.ended - node.began), 3) if node.began and node.ended else 0.0,
            )
            for node in self.nodes
        ]  # fmt: skip

    def close(self) -> None:
        """Leave the cluster, which ends all that was begun in it; a local one ends with it."""
        if self._mine:
            self._ray.shutdown()


def way_to(address: str | None, workers: int | None, progress: Progress) -> Callable[[], Cluster]:
    """What joins the cluster at `address` (HOST:PORT), that of RAY_ADDRESS, or a new one here of so many CPUs.

    Raises ValidationError for what is no address; PictoError when nothing answers there, or when Ray is not installed.
    What it returns raises PictoError when Ray, Python or picto are of other versions there, or no node can work.
    """
    where = address or os.environ.get("RAY_ADDRESS") or "local"
    place = None if where == "local" else checked(where)
    said = dict(_SAID)
    if place is not None:  # else Ray ends this process a minute after the head went, whatever it does just then
        said["RAY_gcs_rpc_server_reconnect_timeout_s"] = "86400"
    if place is not None and place[0] in _LOCAL:  # else Ray would ask at the machine's other address, for minutes
        said["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    for name, value in said.items():
        os.environ.setdefault(name, value)
    ray = _imported()
    if place is not None:
        probe(place)
    return partial(_joined, ray, where, place, workers, progress)


def _joined(ray: Any, where: str, place: tuple[str, int] | None, workers: int | None, progress: Progress) -> Cluster:
    mine = not ray.is_initialized()
    if mine:
        progress.doing("joining the Ray cluster" if place else "starting Ray on this machine")
        _join(ray, place, workers)
        progress.doing("")
    try:
        nodes = _nodes(ray, where)
        _same_picto(ray, nodes)
    except BaseException:
        if mine:
            ray.shutdown()
        raise
    told = f"Ray at {where}" if place else "A Ray cluster of this machine alone; --ray-address names another"
    cpus, gpus = sum(node.cpus for node in nodes), sum(node.gpus for node in nodes)
    counts = [f"{count} {what}{'s'[: count != 1]}" for count, what in
              ((len(nodes), "node"), (cpus, "CPU"), (gpus, "GPU")) if count]  # fmt: skip
    progress.say(f"{told}: {', '.join(counts)}")
    return Cluster(ray, where, nodes, mine)


def _imported() -> Any:
    try:
        import ray
    except ImportError as exc:
        raise PictoError("--runner ray needs Ray, which is not installed", "pip install 'pictocli[ray]'") from exc
    return ray


def _join(ray: Any, place: tuple[str, int] | None, workers: int | None) -> None:
    quiet = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    try:
        with _signals():
            if place is None:
                here = {"num_cpus": workers, "include_dashboard": False, "object_store_memory": _STORE}
                ray.init(address="local", **here, **quiet)
            else:
                host = f"[{place[0]}]" if ":" in place[0] else place[0]
                ray.init(address=f"{host}:{place[1]}", **quiet)
    except BaseException as exc:
        with contextlib.suppress(Exception):
            ray.shutdown()
        if isinstance(exc, SystemExit):  # Ray's own handler of SIGTERM raises it
            raise KeyboardInterrupt from exc
        if isinstance(exc, Exception):  # RuntimeError, ConnectionError, ValueError, by what is wrong
            raise _refusal(ray, exc, place) from exc
        raise


def _refusal(ray: Any, exc: Exception, place: tuple[str, int] | None) -> PictoError:
    text = str(exc)
    if place is None:
        return PictoError(f"Ray cannot be started on this machine: {' '.join(text.split())[:200]}", "ray stop; df -h")
    shown = f"{place[0]}:{place[1]}"
    theirs = re.search(r"was started with:\s+Ray: (\S+)\s+Python: (\S+)", text)
    if theirs is not None:
        version, python = theirs.groups()
        if version != ray.__version__:
            return PictoError(
                f"the Ray cluster at {shown} is of Ray {version}, and this is {ray.__version__}",
                f"pip install 'ray=={version}'",
            )
        return PictoError(
            f"the Ray cluster at {shown} runs Python {python}, and this is another one",
            f"run picto by Python {python}: Ray takes no other",
        )
    if "node to connect" in text or "node info" in text:
        return PictoError(
            f"this machine is no node of the Ray cluster at {shown}",
            f"ray start --address={shown} makes it one; or run picto on a node",
        )
    return PictoError(
        f"cannot join the Ray cluster at {shown}: {' '.join(text.split())[:200]}",
        f"ray status --address={shown} says whether it is there, pip show ray of which version this one is",
    )


def _nodes(ray: Any, where: str) -> list[Node]:
    """The nodes that can work. Raises PictoError when there is none."""
    nodes = []
    for each in ray.nodes():
        cpus, gpus = (int(each["Resources"].get(name, 0)) for name in ("CPU", "GPU"))
        if each["Alive"] and cpus + gpus:
            nodes.append(Node(each["NodeID"], str(each["NodeManagerAddress"]), max(1, cpus), gpus))
    if not nodes:
        raise PictoError(
            f"the Ray cluster at {where} has no node with a CPU", f"ray start --address={where} on a machine adds it"
        )
    return sorted(nodes, key=lambda node: (node.host, node.id))


def _same_picto(ray: Any, nodes: list[Node]) -> None:
    """Raise PictoError unless every node has this picto."""

    def version() -> str | None:  # goes to the node by value: it may have no picto to find a function in
        try:
            from pictocli import __version__
        except ImportError:
            return None
        return str(__version__)

    asked = ray.remote(num_cpus=0, max_retries=0)(version)
    answers = [(node, asked.options(scheduling_strategy=_on(node.id)).remote()) for node in nodes]
    for node, answer in answers:
        try:
            theirs = ray.get(answer, timeout=_ASKED)
        except ray.exceptions.RayError as exc:
            raise PictoError(
                f"node {node.host} of the Ray cluster does not answer: {' '.join(str(exc).split())[:150]}",
                "ray status shows its nodes; a node of another Python or Ray must be started anew",
            ) from exc
        if theirs != pictocli.__version__:
            has = "no picto" if theirs is None else f"picto {theirs}"
            raise PictoError(
                f"node {node.host} of the Ray cluster has {has}, and this is {pictocli.__version__}",
                f"pip install 'pictocli[ray]=={pictocli.__version__}' there",
            )


def _on(node_id: str) -> Any:
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return NodeAffinitySchedulingStrategy(node_id, soft=False)


@contextlib.contextmanager
def _signals() -> Iterator[None]:
    """Keep our own handlers of signals, where Ray puts others."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    names = [getattr(signal, name) for name in ("SIGINT", "SIGTERM") if hasattr(signal, name)]
    before = {name: signal.getsignal(name) for name in names}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)
