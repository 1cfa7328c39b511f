"""The runner over a Ray cluster: its nodes decode by processes of their own, and embed by a model a GPU, or a node.

Results come in the order in which they were asked for, as from processes of one machine, so that the rest of indexing
is the very same. Pictures pass through the driver, 150 KB each: beyond some 2,000 a second that is the narrowest place.
"""

from __future__ import annotations

import os
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import ray

from pictocli.decode import inspect
from pictocli.downloads import PREFIX
from pictocli.errors import ModelError, PictoError
from pictocli.protocols import Embedder, Progress
from pictocli.records import HostWork, ModelSpec
from pictocli.scale.ray.cluster import Cluster, Node
from pictocli.scale.ray.hands import Decoder, Encoder
from pictocli.scale.ray.team import Call, Team
from pictocli.steady import Stamp

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["RayRunner"]

_RUN = 16  # pictures a model run until a model says otherwise
_LENT = 8  # files of the driver's that nodes have the bytes of: pages of one are decoded one after the other


class RayRunner:
    """A `protocols.Runner`. workers: decoding processes of a node, None for one a CPU. batch_size: a model run's.

    join: joins the cluster, which takes seconds: it is called when there is something to do.
    """

    def __init__(
        self, join: Callable[[], Cluster], device: str, workers: int | None, batch_size: int | None, progress: Progress
    ) -> None:
        self._join, self._device, self._workers, self._batch_size = join, device, workers, batch_size
        self._progress = progress
        self._folders: Sequence[str] = ()
        self._cluster: Cluster | None = None
        self._embedder: _Model | None = None

    def joined(self) -> Cluster:
        """The cluster, joined now if it was not. Raises PictoError when that cannot be."""
        if self._cluster is None:
            self._cluster = self._join()
        return self._cluster

    def needs(self, folders: Sequence[str]) -> None:
        """Folders that every node must see: it is asked before it has anything to do."""
        self._folders = folders

    def calls(self, limit: float) -> _Calls:
        """What decodes on the nodes. limit: seconds that a call may take."""
        return _Calls(self.joined, self._workers, limit, self._folders)

    def embedder(self, spec: ModelSpec) -> Embedder:
        """The model `spec` on the nodes, loaded now. Raises PictoError when a node does not have it."""
        if self._embedder is None:
            cluster = self.joined()
            self._progress.doing(f"loading {spec.id} on the nodes")
            self._embedder = _Model(cluster, spec, self._device, self._batch_size)
            self._progress.doing("")
        return self._embedder

    def hosts(self) -> list[HostWork]:
        """What each node has done; none without a cluster that was joined."""
        return [] if self._cluster is None else self._cluster.hosts()

    @property
    def redone(self) -> int:
        """Pages that were decoded or embedded once more, as a node went away with them."""
        return 0 if self._cluster is None else self._cluster.redone

    def close(self) -> None:
        """Leave the cluster."""
        if self._embedder is not None:
            self._embedder.close()
        if self._cluster is not None:
            self._cluster.close()


class _Calls:
    """A `protocols.Calls` on the nodes. Their processes are started with the first call."""

    def __init__(
        self, joined: Callable[[], Cluster], workers: int | None, limit: float, folders: Sequence[str]
    ) -> None:  # fmt: skip
        self._joined, self._workers, self.limit, self._folders = joined, workers, limit, folders
        self._team: Team | None = None
        self._lent: OrderedDict[tuple[str, Stamp], Any] = OrderedDict()

    @property
    def count(self) -> int:
        """Of processes, on all nodes: asking for it joins the cluster, as a first call does."""
        return sum(self._workers or node.cpus for node in self._joined().nodes)

    @property
    def machines(self) -> int:
        """Of nodes."""
        return len(self._joined().nodes)

    def submit(self, call: Callable[..., Any], *args: Any) -> Call:
        """Queue a call whose first argument is a path. Raises PictoError where nodes cannot make any."""
        if self._team is None:
            self._team = self._started()
        return self._team.give("make", call, args, self._lent_of(args[0]), size=int(call is not inspect))

    def result(self, job: Call) -> Any:
        """Wait for a call, as `Workers.result` does. Raises PictoError when no node is left."""
        assert self._team is not None
        return self._team.wait(job)

    def close(self) -> None:
        """End the processes; what has not been asked for is dropped."""
        if self._team is not None:
            self._team.close()
        self._team = None
        self._lent.clear()

    def _started(self) -> Team:
        cluster = self._joined()

        def make(node: Node) -> Any:
            count = self._workers or node.cpus
            made: Any = ray.remote(Decoder)
            return made.options(
                num_cpus=min(count, node.cpus), max_concurrency=count + 1, scheduling_strategy=cluster.on(node)
            ).remote(count, self.limit)

        def counted(call: Call) -> None:
            assert call.member is not None
            call.member.node.did(decoded=call.size)

        places = [(node, self._workers or node.cpus) for node in cluster.nodes]
        team = Team(cluster, places, make, (list(self._folders),), "decode", counted)
        try:
            for member in team.ready():
                for folder in member.hello.value:
                    raise PictoError(
                        f"node {member.node.host} of the Ray cluster does not see {folder}",
                        "files must lie on a disk that all nodes share, under the same path, or on s3:// or https://",
                    )
        except BaseException:
            team.close()
            raise
        for node in cluster.nodes:
            node.began = node.began or time.monotonic()
        return team

    def _lent_of(self, path: str) -> Any:
        """The bytes of a file that was fetched, and lies here alone; None for one that all nodes see."""
        if not os.path.basename(os.path.dirname(path)).startswith(PREFIX):
            return None
        try:
            status = os.stat(path)
            key = path, Stamp(status.st_size, status.st_mtime_ns, status.st_ctime_ns)
            if key not in self._lent:
                with open(path, "rb") as file:
                    self._lent[key] = ray.put((file.read(), key[1]))
        except OSError:
            return None  # it says so itself, where it is looked for
        self._lent.move_to_end(key)
        if len(self._lent) > _LENT:
            self._lent.popitem(last=False)
        return self._lent[key]


class _Model:
    """A `protocols.Embedder` of several models, each on its GPU or its node. batch_size: pictures for all of them."""

    asynchronous = True

    def __init__(self, cluster: Cluster, spec: ModelSpec, device: str, batch_size: int | None) -> None:
        self.spec, self._cluster, self._asked = spec, cluster, batch_size
        self.batch_size = _RUN
        gpus = device == "cuda" or (device == "auto" and any(node.gpus for node in cluster.nodes))
        places = [(node, 1) for node in cluster.nodes for _ in range(node.gpus if gpus else 1)]
        if not places:
            raise ModelError("no node of the Ray cluster has a GPU that Ray knows of", "use --device auto or cpu")

        def make(node: Node) -> Any:
            made: Any = ray.remote(Encoder)
            return made.options(num_cpus=0, num_gpus=int(gpus), scheduling_strategy=cluster.on(node)).remote(
                spec, "cuda" if gpus else device, node.cpus
            )

        def counted(call: Call) -> None:
            assert call.member is not None
            assert call.said is not None
            self._runs[id(call.member)] = call.said.batch_size
            self.batch_size = self._run * max(1, len(self._team.members))
            call.member.node.did(embedded=call.size if call.method == "embed" else 0)

        self._runs: dict[int, int] = {}
        self._team = Team(cluster, places, make, (), f"run {spec.id}", counted)
        try:
            for member in self._team.ready():
                if member.hello.value != spec:
                    raise self._other(member.node, member.hello.value)
        except BaseException:
            self._team.close()
            raise
        for node in cluster.nodes:
            node.began = node.began or time.monotonic()

    @property
    def _run(self) -> int:
        told = [run for member in self._team.members if (run := self._runs.get(id(member)))]
        return self._asked or (min(told) if told else _RUN)

    def warm_up(self) -> None:
        """Nothing to do: models come up warm."""

    def embed_images(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """As `protocols.Embedder` has it."""
        return self.begin_images(pixels)()

    def begin_images(self, pixels: NDArray[np.uint8]) -> Callable[[], NDArray[np.float32]]:
        """As `protocols.Embedder` has it: a model run at a time to whichever has least to do."""
        run = self._run
        parts = [pixels[start : start + run] for start in range(0, len(pixels), run)]
        calls = [self._team.give("embed", part, size=len(part)) for part in parts]
        return lambda: self._joined([self._team.wait(call) for call in calls])

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """As `protocols.Embedder` has it; the labels' prompts, which are many, go to all models."""
        share = max(_RUN, -(-len(texts) // max(1, len(self._team.members))))
        parts = [texts[start : start + share] for start in range(0, len(texts), share)]
        calls = [self._team.give("embed_texts", list(part), size=0) for part in parts]
        return self._joined([self._team.wait(call) for call in calls])

    def close(self) -> None:
        """End the models."""
        self._team.close()

    def _joined(self, found: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """All rows in one. Raises ModelError where a node's model is of another width."""
        wrong = [part.shape[1] for part in found if part.shape[1] != self.spec.dim]
        if wrong:
            raise ModelError(f"a node's {self.spec.id} yields {wrong[0]} values, not {self.spec.dim}", "use the same")
        return np.concatenate(found) if found else np.empty((0, self.spec.dim), np.float32)

    def _other(self, node: Node, theirs: ModelSpec) -> ModelError:
        same = theirs.id == self.spec.id
        what = f"revision {theirs.revision[:12]} of {theirs.id}" if same else theirs.id
        return ModelError(
            f"node {node.host} of the Ray cluster has {what}, not {self.spec.revision[:12]} of {self.spec.id}",
            "put the same model's files on every node",
        )
