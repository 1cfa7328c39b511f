"""Actors of one kind on the nodes of a cluster, and the calls that they have: what one takes along, another is given.

Everything happens in the thread of the caller, whenever it gives a call or waits for one. Ray tries nothing again by
itself: only here it is known what is still wanted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayError, RayTaskError

from pictocli.errors import PictoError
from pictocli.scale.ray.cluster import Cluster, Node
from pictocli.scale.ray.hands import Said

__all__ = ["Call", "Member", "Team"]

_LOOK = 0.005  # seconds between two looks at what has been done
_AGAIN = 3.0  # seconds until an actor is made anew: by then it is known whether its node went with it
_TRIES = 3  # actors a node loses before it is given up
_START = 600.0  # seconds for all to come up: a large model on a slow disk


@dataclass(slots=True, eq=False)
class Call:
    """A call on its way. size: pictures that it counts for. said: its answer, None so far."""

    method: str
    arguments: tuple[Any, ...]
    size: int
    member: Member | None = None
    ref: Any = None
    said: Said | None = None


@dataclass(slots=True, eq=False)
class Member:
    """An actor that has come up. room: calls that it makes at a time. calls: those that it has."""

    node: Node
    actor: Any
    room: int
    hello: Said
    calls: dict[Any, Call] = field(default_factory=dict)

    @property
    def load(self) -> float:
        return sum(call.size for call in self.calls.values()) / self.room


class Team:
    """Actors, each on its node. what: they do, for a person. counts: told (node, pictures) of calls that were made."""

    def __init__(
        self, cluster: Cluster, places: Sequence[tuple[Node, int]], make: Callable[[Node], Any],
        hello: tuple[Any, ...], what: str, counts: Callable[[Call], None],
    ) -> None:  # fmt: skip
        self._cluster, self._make, self._hello, self._what, self._counts = cluster, make, hello, what, counts
        self.members: list[Member] = []
        self._waiting: list[Call] = []  # that nobody has
        self._coming: dict[Any, tuple[Node, Any, int]] = {}
        self._due: list[tuple[float, Node, int]] = []
        self._looked = 0.0
        for node, room in places:
            self._begin(node, room)

    def ready(self) -> list[Member]:
        """Wait until all have come up; with their hellos. Raises PictoError when one cannot."""
        until = time.monotonic() + _START
        while self._coming:
            self._look(0.5, list(self._coming))
            self._cluster.head.require()
            if time.monotonic() > until:
                node = next(iter(self._coming.values()))[0]
                raise PictoError(
                    f"nothing could be started on node {node.host} of the Ray cluster to {self._what}",
                    "other jobs may have all of it: ray status shows what is free",
                )
        if not self.members:
            self._give_up()
        return self.members

    def give(self, method: str, *arguments: Any, size: int = 1) -> Call:
        """Have a call made, by whoever has least to do. Raises PictoError when the cluster's head is gone."""
        self._cluster.head.require()
        call = Call(method, arguments, size)
        self._place(call)
        if time.monotonic() - self._looked > _LOOK:
            self._look(0)
        return call

    def wait(self, call: Call) -> Any:
        """What a call gave. Raises what it raised; PictoError when nobody is left to make it, or the head is gone."""
        while call.said is None:
            self._look(1.0, [call.ref] if call.ref is not None else [])
            if call.said is None:  # answers do not go by the head: what has one is not lost with it
                self._cluster.head.require()
        if call.said.error is not None:
            raise call.said.error
        return call.said.value

    def close(self) -> None:
        """End all actors, whatever they do."""
        for actor in [member.actor for member in self.members] + [each[1] for each in self._coming.values()]:
            ray.kill(actor)
        self.members, self._coming, self._due, self._waiting = [], {}, [], []

    # -- who is there -----------------------------------------------------------------------------------------------

    def _begin(self, node: Node, room: int) -> None:
        self._cluster.head.require(now=True)
        actor = self._make(node)
        self._coming[actor.hello.remote(*self._hello)] = (node, actor, room)

    def _place(self, call: Call) -> None:
        if not self.members:
            call.member = call.ref = None
            self._waiting.append(call)
            return
        call.member = min(self.members, key=lambda member: member.load)
        call.ref = getattr(call.member.actor, call.method).remote(*call.arguments)
        call.member.calls[call.ref] = call

    def _look(self, seconds: float, wanted: Sequence[Any] = ()) -> None:
        """Take what has been done; wait so long for the first of `wanted`, if that is any."""
        if wanted:
            ray.wait(list(wanted), num_returns=1, timeout=seconds)
        elif seconds:
            time.sleep(0.1)
        self._looked = time.monotonic()
        for member in list(self.members):
            refs = list(member.calls)
            done = ray.wait(refs, num_returns=len(refs), timeout=0)[0] if refs else []
            for ref in done:
                if ref in member.calls and not self._take(member, ref):
                    self._lost(member)
                    break
        self._arrivals()
        if not self.members and not self._coming and not self._due:
            self._give_up()

    def _take(self, member: Member, ref: Any) -> bool:
        """Take an answer; False when its actor is gone."""
        try:
            said: Said = ray.get(ref, timeout=0)
        except GetTimeoutError:
            return True
        except RayTaskError as exc:  # no loss: what it was given, it cannot do
            said = Said(None, PictoError(f"node {member.node.host} fails: {' '.join(str(exc.cause).split())[:200]}"))
        except RayError:
            return False
        call = member.calls.pop(ref)
        call.said, call.ref, call.arguments = said, None, ()
        if said.error is None:
            self._counts(call)
        return True

    def _lost(self, member: Member) -> None:
        """Give what an actor had to others, and make it anew where its node is still there in a while."""
        self.members.remove(member)
        for ref in list(member.calls):
            self._take(member, ref)  # what came before it went
        calls, member.calls = list(member.calls.values()), {}
        self._cluster.redone += sum(call.size for call in calls)
        member.node.losses += 1
        if member.node.losses < _TRIES:
            self._due.append((time.monotonic() + _AGAIN, member.node, member.room))
        for call in calls:
            self._place(call)

    def _arrivals(self) -> None:
        """Begin actors anew that are due, and welcome those that have come up."""
        now = time.monotonic()
        for each in [each for each in self._due if each[0] <= now]:
            self._due.remove(each)
            if self._cluster.has(each[1]):
                self._begin(each[1], each[2])
        refs = list(self._coming)
        for ref in ray.wait(refs, num_returns=len(refs), timeout=0)[0] if refs else []:
            node, actor, room = self._coming.pop(ref)
            try:
                hello: Said = ray.get(ref)
            except RayError as exc:
                node.losses += 1
                if node.losses < _TRIES:
                    self._due.append((now + _AGAIN, node, room))
                node.trouble = " ".join(str(exc).split())[:200]
                continue
            if hello.error is not None:
                raise self._cluster.told(node, hello.error)
            self.members.append(Member(node, actor, room, hello))
        if self.members:
            calls, self._waiting = self._waiting, []
            for call in calls:
                self._place(call)

    def _give_up(self) -> None:
        raise self._cluster.gone()
