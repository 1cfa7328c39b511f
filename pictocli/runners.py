"""Which machines index: this one, or the nodes of a cluster. What a cluster needs is imported when one is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property

from pictocli.brain import Model
from pictocli.errors import ValidationError, check_range
from pictocli.protocols import Embedder, Progress, Runner
from pictocli.workers import default_workers

__all__ = ["check_runner", "elsewhere", "runner_of"]

_RUNNERS = ("local", "ray")


def check_runner(
    name: str, address: str | None, workers: int | None, batch_size: int | None, *, alone: bool
) -> None:  # fmt: skip
    """Raise ValidationError for a runner that there is not, or options that do not go with it.

    alone: what is asked for is done by this machine alone.
    """
    check_range("batch_size", 16 if batch_size is None else batch_size, 1, 4096)
    check_range("workers", default_workers() if workers is None else workers, 0, 256)
    if name not in _RUNNERS:
        raise ValidationError(f"there is no runner {name}", f"choose {' or '.join(_RUNNERS)}")
    if name == "local":
        if address is not None:
            raise ValidationError("--ray-address is for --runner ray", "give both, or neither")
    elif alone:
        raise ValidationError("picto watch runs on this machine alone", "picto index --runner ray uses the nodes")
    elif workers == 0:
        raise ValidationError("every node needs a decoding process", "--workers 1, or leave it out: one a CPU")


@contextmanager
def runner_of(
    address: str | None, device: str, workers: int | None, batch_size: int | None, progress: Progress, *, now: bool
) -> Iterator[Runner]:
    """The nodes of a Ray cluster, for as long as the block lasts. now: join it at once, not when it has work.

    Raises as `scale.ray.cluster.way_to` does.
    """
    from pictocli.scale.ray.cluster import way_to

    join = way_to(address, workers, progress)
    from pictocli.scale.ray.runner import RayRunner  # imports Ray, which has been told by now how

    runner = RayRunner(join, device, workers, batch_size, progress)
    try:
        if now:
            runner.joined()
        yield runner
    finally:
        runner.close()


class _Elsewhere(Model):
    """A model that a runner runs."""

    _runner: Runner

    @cached_property
    def embedder(self) -> Embedder:
        return self._runner.embedder(self.spec)


def elsewhere(model: Model, runner: Runner) -> Model:
    """The same model, run by other machines: its files need not be on this one."""
    made = _Elsewhere(model.spec, model.device, model.progress)
    made._runner = runner
    return made
