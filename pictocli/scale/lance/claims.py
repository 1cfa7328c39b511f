"""Lets one process at a time change a root of a library in a bucket, or all of it; readers never wait.

A bucket has no locks that it takes back from who dies. So who claims signs again every few seconds, and a signature
that has grown old is nobody's. Two that claim one root because their clocks differ do its work twice, and lose nothing.
"""

from __future__ import annotations

import contextlib
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping

from pictocli.errors import StoreError, TakenError
from pictocli.scale.lance.head import LEASE, Cell, State, holder_of, is_dead, signature
from pictocli.scale.lance.place import Place

__all__ = ["CLAIMS", "claimed_in_bucket"]

CLAIMS = "claims"  # the cell that has them
_ALL = "0"  # stands for the whole library; no root has this id
_BEAT = LEASE / 4  # s


@contextlib.contextmanager
def claimed_in_bucket(place: Place, roots: Mapping[int, str] | None) -> Iterator[None]:
    """Be the only process to change these roots (id → path) of a library, or any of it, in this block.

    Raises TakenError that names the process that does already.
    """
    cell, token, over = Cell(place, CLAIMS), uuid.uuid4().hex, threading.Event()
    if not cell.is_there():
        cell.create({})
    wanted = {_ALL: place.name} if roots is None else {str(root_id): path for root_id, path in roots.items()}

    def claim(held: State) -> State:
        alive = {slot: signed for slot, signed in held.items() if not _is_nobodys(signed, token)}
        for slot, signed in alive.items():
            if signed["token"] != token and (slot in wanted or _ALL in wanted or slot == _ALL):
                doing = "changed" if slot == _ALL else "indexed"
                what = wanted.get(slot, place.name)
                hint = "wait until it has finished, or stop it"
                raise TakenError(f"{what} is being {doing} by {holder_of(signed)}", hint)
        return {**alive, **dict.fromkeys(wanted, signature(token))}

    cell.change(claim)
    beat = threading.Thread(target=_renew, args=(cell, claim, over), name="claim", daemon=True)
    beat.start()
    try:
        yield
    finally:
        over.set()
        beat.join()
        with contextlib.suppress(StoreError):  # it comes free by itself
            cell.change(lambda held: {slot: signed for slot, signed in held.items() if signed["token"] != token})


def _renew(cell: Cell, claim: Callable[[State], State], over: threading.Event) -> None:
    while not over.wait(_BEAT):
        with contextlib.suppress(StoreError):  # the next beat may come through
            cell.change(claim)


def _is_nobodys(signed: State, token: str) -> bool:
    return signed["token"] != token and is_dead(signed, time.time() - float(signed["at"]))
