"""Values between SQLite's types and PostgreSQL's: what is bound by the type that the server expects, and what is read.

A column has one type there, and some of picto's hold two: the name of a file that is no UTF-8 is bytes, and `meta`
holds numbers too. Such a value is a text that begins with one of the last two characters of Unicode, and sorts behind
all texts, as SQLite's bytes do. A text that begins so by itself stands behind the third last, `BEHIND`, and where one
holds what no text of the server's does, NUL or half a surrogate pair, there are `ODD` and a sign of which it was.
"""

from __future__ import annotations

import json
import re
import struct
import sys
from array import array
from collections.abc import Callable, Sequence
from typing import Any

from psycopg.adapt import Buffer, Dumper, Loader
from psycopg.pq import Format
from psycopg.types.numeric import NumericBinaryLoader

from pictocli.scale.postgres.calls import path_of

__all__ = [
    "BEHIND", "BYTES", "DYNAMIC", "NUMBER", "ODD", "TEXT", "Binary", "adapt", "bound", "field_key", "packed",
    "stored_text",
]  # fmt: skip

BYTES, NUMBER, BEHIND = "\U0010ffff", "\U0010fffe", "\U0010fffd"
ODD = "\x01" + BEHIND
_BYTES, _NUMBER, _ODD = BYTES.encode(), NUMBER.encode(), ODD.encode()
_MARKED = (2 * BEHIND).encode()  # what is not less begins with BYTES, NUMBER, or BEHIND and one of the three
_LOSES = re.compile(f"[\0\ud800-\udfff]|{ODD}")
_KEPT = re.compile(f"{ODD}([01\u0100-\u08ff])")  # NUL, ODD itself, and a sign for each half of a pair
TEXT, DYNAMIC = 25, -25
"""The number of the type of texts; and of those of `meta`, where a number stays one."""
_BOOL, _BYTEA, _INTS, _FLOAT, _NUMERIC = 16, 17, (20, 21, 23), 701, 1700
_INT_ARRAY, _TEXT_ARRAY, _BYTEA_ARRAY = 1016, 1009, 1001
_LONE = dict.fromkeys([0, *range(0xD800, 0xE000)], "\ufffd")  # what no text of the server's holds


class Binary(bytes):
    """A value in the server's own binary form, of whatever type is expected."""


class _BinaryDumper(Dumper):
    format = Format.BINARY

    def dump(self, obj: Binary) -> Buffer:
        return obj


class _TextLoader(Loader):
    format = Format.BINARY

    def load(self, data: Buffer) -> Any:
        raw = bytes(data)
        marked = raw >= _MARKED
        text = raw[4:].decode() if marked else raw.decode()
        if _ODD in raw:
            text = _KEPT.sub(_meant, text)
        if marked and raw[:4] == _BYTES:
            return text.encode("latin-1")
        if marked and raw[:4] == _NUMBER:
            return int(text) if text.lstrip("-").isdigit() else float(text)
        return text


class _BoolLoader(Loader):
    format = Format.BINARY

    def load(self, data: Buffer) -> int:
        return bytes(data)[0]


class _NumericLoader(NumericBinaryLoader):
    """A sum of integers is one."""

    def load(self, data: Buffer) -> Any:
        found = super().load(data)
        return int(found) if found.is_finite() and found == int(found) else float(found)


class _VectorLoader(Loader):
    """A pgvector `vector`, which is two 16-bit numbers and big-endian float32, as little-endian float32."""

    format = Format.BINARY

    def load(self, data: Buffer) -> bytes:
        return _swapped(bytes(data)[4:])


def adapt(context: Any, vector: int) -> None:
    """Teach a connection what picto reads and binds. vector: the number of the type `vector` there."""
    adapters = context.adapters
    adapters.register_dumper(Binary, _BinaryDumper)
    for name in ("text", "varchar", "name"):
        adapters.register_loader(name, _TextLoader)
    adapters.register_loader("bool", _BoolLoader)
    adapters.register_loader("numeric", _NumericLoader)
    adapters.register_loader(vector, _VectorLoader)


def _swapped(raw: bytes) -> bytes:
    """float32 of one byte order in the other."""
    numbers = array("f", raw) if sys.byteorder == "little" else array("I", raw)
    numbers.byteswap()
    return numbers.tobytes()


def bound(value: Any, kind: int) -> Any:
    """A value as it is bound where the server expects the type of this number."""
    if value is None:
        return None
    return _BOUND.get(kind, _other)(value)


def packed(value: Any, kind: int) -> Binary | None:
    """A value in the binary form of a type of this number, as COPY takes it."""
    if value is None:
        return None
    if kind == _INTS[0]:
        return Binary(struct.pack(">q", value))
    if kind == _FLOAT:
        return Binary(struct.pack(">d", value))
    found = bound(value, kind)
    return found if isinstance(found, Binary) else Binary(str(found).encode())


def _whole(value: Any) -> str:
    if isinstance(value, float) and not value.is_integer():
        return repr(value)
    number = int(value)
    if not -(2**63) <= number < 2**63:
        raise OverflowError("Python int too large to convert to SQLite INTEGER")
    return str(number)


def stored_text(value: Any) -> str:
    """A value as it is stored where texts are."""
    if isinstance(value, str):
        if value.isprintable():  # none of what is looked for here is
            return value
        text = _LOSES.sub(_sign, value)
        return BEHIND + text if text >= 2 * BEHIND else text
    if isinstance(value, bytes):
        return BYTES + _LOSES.sub(_sign, value.decode("latin-1"))
    return str(int(value)) if isinstance(value, bool | int) else repr(value)


def _sign(found: re.Match[str]) -> str:
    return ODD + ({"\0": "0", ODD: "1"}.get(found[0]) or chr(ord(found[0]) - 0xD700))


def _meant(found: re.Match[str]) -> str:
    return {"0": "\0", "1": ODD}.get(found[1]) or chr(ord(found[1]) + 0xD700)


def field_key(value: str | float) -> bytes:
    """A field of metadata as bytes in the order of SQLite's values: numbers, as `field_value` makes them, then texts.

    A number is its float64, in an order of bytes, and what an integer is more than that.
    """
    if isinstance(value, str):
        return b"\x02" + value.translate(_LONE).encode()
    number = float(value) + 0.0
    bits: int = struct.unpack(">Q", struct.pack(">d", number))[0]
    bits = bits ^ (2**64 - 1) if bits >> 63 else bits | (1 << 63)
    more = int(value) - int(number) if isinstance(value, int) else 0
    return struct.pack(">BQH", 1, bits, more + 0x8000)


def _bytes(value: Any) -> Binary:
    return Binary(value if isinstance(value, bytes) else field_key(value))


def _list(value: str, element: Callable[[Any], str]) -> str | None:
    """A JSON list, or a JSON path, as an array. null is none."""
    if value.startswith("$"):
        return "{" + ",".join(_quoted(name.translate(_LONE)) for name in path_of(value)) + "}"
    items: Sequence[Any] | None = json.loads(value)
    return None if items is None else "{" + ",".join(map(element, items)) + "}"


def _ids(value: str) -> str | None:
    return None if value == "null" else "{" + value[1:-1] + "}"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _hex(item: Any) -> str:
    return f'"\\\\x{field_key(item).hex()}"'


def _other(value: Any) -> Any:
    """For types of extensions: a vector's float32 in its own form."""
    if isinstance(value, bytes):
        return Binary(struct.pack(">HH", len(value) // 4, 0) + _swapped(value))
    return str(value)


_BOUND: dict[int, Callable[[Any], Any]] = {
    **dict.fromkeys(_INTS, _whole),
    _BOOL: lambda value: "t" if value else "f",
    _BYTEA: _bytes,
    TEXT: stored_text,
    DYNAMIC: lambda value: stored_text(value) if isinstance(value, str | bytes) else NUMBER + stored_text(value),
    _FLOAT: lambda value: repr(float(value)),
    _NUMERIC: str,
    _INT_ARRAY: _ids,
    _TEXT_ARRAY: lambda value: _list(value, lambda item: _quoted(stored_text(item))),
    _BYTEA_ARRAY: lambda value: _list(value, _hex),
}
