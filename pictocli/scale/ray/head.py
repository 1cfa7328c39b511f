"""The head of a Ray cluster, by its port: whether one is there, and whether it still is.

Ray waits for a head that went, by default for a minute, and then ends the whole process. So it is looked for here.
"""

from __future__ import annotations

import os
import re
import socket
import time

from pictocli.errors import PictoError, ValidationError

__all__ = ["Head", "checked", "probe"]

_PROBE = 3.0  # seconds that a head may take to answer
_EVERY = 2.0  # seconds between two looks for one that was there
_SURE = 3.0  # seconds until it is looked for once more: a busy machine may miss one connection
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])  # RFC 9113, 3.4
_SETTINGS = b"\4"  # the type of the frame that a server of HTTP/2 says first


class Head:
    """The head of a cluster that was joined. address: HOST:PORT."""

    def __init__(self, address: str) -> None:
        self._address, self._place = address, checked(address)
        self._looked = time.monotonic()
        self._gone = False

    def require(self, now: bool = False) -> None:
        """Raise PictoError when nobody takes a connection there, twice in a row. now: look, however short ago it was.

        To be called before whatever waits for the head: Ray's calls that do so have no end of their own.
        """
        if not self._gone and (now or time.monotonic() - self._looked > _EVERY):
            if not self._answers():
                time.sleep(_SURE)
                self._gone = not self._answers()
            self._looked = time.monotonic()
        if self._gone:
            raise PictoError(
                f"the head of the Ray cluster at {self._address} went away",
                "what is stored stays: once Ray is started there again, the same command goes on from there",
            )

    def _answers(self) -> bool:
        try:
            socket.create_connection(self._place, _PROBE).close()
        except OSError:
            return False
        return True


def checked(address: str) -> tuple[str, int]:
    """HOST:PORT in two. Raises ValidationError."""
    if address.startswith("ray://"):
        raise ValidationError(
            f"{address} is for Ray's client, whose program runs elsewhere",
            "run picto on a node of the cluster, with --ray-address HOST:6379",
        )
    host, _, port = address.rpartition(":")
    if not host or re.search(r"[\s/@]", host) or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValidationError(
            f"{address} is no address of a Ray cluster", "--ray-address HOST:PORT, as ray start --head prints it"
        )
    return host.strip("[]"), int(port)


def probe(place: tuple[str, int]) -> None:
    """Raise PictoError unless something answers there that speaks as a head of Ray does, which is gRPC."""
    shown = f"{place[0]}:{place[1]}"
    hint = "ray start --head starts one and prints its address; without --ray-address, this machine alone works"
    try:
        with socket.create_connection(place, _PROBE) as line:
            if os.environ.get("RAY_USE_TLS", "0") == "1":
                return
            line.sendall(_PREFACE)
            line.settimeout(_PROBE)
            said = b""
            while len(said) < 4 and (more := line.recv(16)):
                said += more
    except OSError as exc:
        reason = "no answer" if isinstance(exc, TimeoutError) else (exc.strerror or str(exc)).lower()
        raise PictoError(f"there is no Ray cluster at {shown}: {reason}", hint) from exc
    if said[3:4] != _SETTINGS:
        raise PictoError(f"there is no Ray cluster at {shown}: what answers there is something else", hint)
