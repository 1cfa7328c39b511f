"""The short form of fuzzing: every kept seed, then a few fixed examples of each target. run.py is the long one."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from targets import TARGETS, checked
from world import World

SEEDS = sorted(path for path in Path(__file__).with_name("seeds").glob("*/*") if path.is_file())


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("fuzz"))


@pytest.mark.parametrize("path", SEEDS, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_what_once_failed_holds(path: Path, world: World) -> None:
    checked(TARGETS[path.parent.name], path.read_bytes(), world)


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_is_found(name: str, world: World) -> None:
    target = TARGETS[name]

    @settings(
        max_examples=target.examples, derandomize=True, database=None, deadline=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(target.inputs)
    def attempt(data: bytes) -> None:
        checked(target, data, world)

    attempt()
