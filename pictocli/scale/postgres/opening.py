"""Where a library in PostgreSQL lies, by its name, and the first words with its server.

postgresql://USER:PASSWORD@HOST:PORT/DATABASE, as PostgreSQL's own programs take it, with several hosts too. Of picto's
own are `schema`, which is `picto` unless given, and `vectors`: `float16`, or `float32` of twice the size.
"""

from __future__ import annotations

import logging
import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from pictocli.errors import StoreError
from pictocli.scale.postgres.values import adapt

__all__ = ["NAMED", "Target", "open_server", "password_of", "settle", "shown", "target"]

NAMED = "postgresql://USER@HOST/DATABASE, where special signs of a password are written as %40 and the like"
"""How a library is named."""

logging.getLogger("psycopg").addHandler(logging.NullHandler())  # what it says of a lost connection, our errors say

_VECTORS = {"float16": "halfvec", "float32": "vector"}
_LEAST = (0, 8)  # of pgvector: the first whose indexes go on until enough images pass
_TIMEOUT = 10  # seconds in which a server must answer


@dataclass(frozen=True, slots=True)
class Target:
    """Where a library lies. dsn: of its database, for libpq; vectors: pgvector's type of its points."""

    name: str
    dsn: str
    schema: str
    vectors: str

    @property
    def place(self) -> tuple[str, ...]:
        """Hosts, ports, database and schema: the same for every user, with a password or without."""
        parts = conninfo_to_dict(self.dsn)
        named = str(parts.get("dbname") or parts.get("user") or "")
        return str(parts.get("host") or parts.get("hostaddr") or ""), str(parts.get("port") or 5432), named, self.schema


@cache
def target(name: str) -> Target:
    """Where the library of this name lies. Raises StoreError for what no name can be."""
    base, _, query = name.partition("?")
    if base.count("@") > 1:  # libpq would take the rest of the password for a host, and tell it
        raise StoreError(f"{shown(name)} is no name of a library in PostgreSQL", NAMED)
    asked = dict(parse_qsl(query.replace("+", "%2B"), keep_blank_values=True))  # a blank is one in forms alone
    schema, vectors = asked.pop("schema", "picto"), asked.pop("vectors", "float16")
    if re.search(r"^$|^pg_|[\0${]", schema) or len(schema.encode()) > 63:  # $ and { are signs of our scripts
        hint = "?schema=picto, up to 63 letters, without $ and {"
        raise StoreError(f"{schema or 'an empty text'} is no name of a schema of picto's", hint)
    if vectors not in _VECTORS:
        raise StoreError(f"there are no vectors of {vectors}", f"?vectors= takes {' or '.join(_VECTORS)}")
    dsn = base + ("?" + urlencode(asked, quote_via=quote) if asked else "")
    try:
        parts = conninfo_to_dict(dsn)
    except psycopg.ProgrammingError:  # it may tell a part of the password
        parts = {"port": "none"}
    if re.search(r"[^\d,]", str(parts.get("port") or "")):  # or this is one, where the host was forgotten
        raise StoreError(f"{shown(name)} is no name of a library in PostgreSQL", NAMED)
    if "connect_timeout" not in parts:
        dsn = make_conninfo(dsn, connect_timeout=_TIMEOUT)
    return Target(name, dsn, schema, _VECTORS[vectors])


def shown(name: str) -> str:
    """A library's name without its password."""
    hidden = re.sub(r"^(\w+://[^/?#:@]*):.*@(?=[^@]*$)", r"\1@", name, flags=re.DOTALL)
    hidden = re.sub(r"^(\w+://[^/?#:@\[]*):(?!\d*([,/?]|$))[^/?]*", r"\1", hidden)  # no port: the host was forgotten
    base, *options = re.split(r"(?=[?&])", hidden)
    told, secret = [base], False
    for option in options:
        word, _, _ = option.partition("=")
        keyword = unquote(word[1:])  # libpq takes p%61ssword for one, too
        secret = _secrets().get(keyword, secret)
        if not secret:
            told.append(option)
        elif keyword in _secrets():  # what follows it and is no option belongs to it: its & was not escaped
            told.append(f"{word}=...")
    return "".join(told)


@cache
def _secrets() -> dict[str, bool]:
    """The options of a name, each with whether its value is not to be told: as libpq says it, and SCRAM's keys."""
    options = {each.keyword.decode(): each.dispchar == b"*" for each in psycopg.pq.Conninfo.get_defaults()}
    return options | dict.fromkeys(("scram_client_key", "scram_server_key"), True) | {"schema": False, "vectors": False}


def open_server(where: Target) -> psycopg.Connection[Any]:
    """A connection to the server, in whose library's schema names are looked up first.

    Raises StoreError for a server that cannot hold a library; psycopg's errors where there is none.
    """
    server: psycopg.Connection[Any] = psycopg.connect(
        where.dsn,
        autocommit=True,
        prepare_threshold=None,  # a plan that was kept gives wrong neighbours, without an error
        application_name=f"picto {os.getpid()}@{socket.gethostname()}",
    )
    try:
        settle(server, where)
    except BaseException:
        server.close()
        raise
    return server


def settle(server: psycopg.Connection[Any], where: Target) -> None:
    """Look names up in the library's schema, and learn the types of pgvector, where it is there by now."""
    found = server.execute(
        "SELECT t.oid, n.nspname, e.extversion FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace"
        " JOIN pg_type t ON t.typnamespace = n.oid AND t.typname = 'vector' WHERE e.extname = 'vector'"
    ).fetchone()
    path = [where.schema] + ([found[1]] if found else [])
    looked_up = ", ".join('"' + each.replace('"', '""') + '"' for each in path)
    server.execute(
        "SELECT set_config('search_path', %s, false), set_config('jit', 'off', false),"
        " set_config('standard_conforming_strings', 'on', false)",
        (looked_up,),
    )
    for zone in _zone():
        with suppress(psycopg.errors.InvalidParameterValue):
            server.execute("SELECT set_config('TimeZone', %s, false)", (zone,))
            break
    if found is not None:
        version = tuple(int(part) for part in re.findall(r"\d+", found[2])[:2])
        if version < _LEAST:
            raise StoreError(
                f"the server of {shown(where.name)} has pgvector {found[2]}, and picto needs 0.8 or newer",
                "install a newer pgvector there, then let its administrator run: ALTER EXTENSION vector UPDATE",
            )
        adapt(server, found[0])


def _zone() -> Iterator[str]:
    """This machine's time zone, in the ways in which a server may know it: by name; by its distance from Greenwich."""
    if name := os.environ.get("TZ", "").lstrip(":"):
        yield name
    with suppress(OSError):
        if name := os.readlink("/etc/localtime").partition("zoneinfo/")[2]:
            yield name
    east = time.localtime().tm_gmtoff
    yield f"<here>{'-' if east >= 0 else '+'}{abs(east) // 3600:02}:{abs(east) // 60 % 60:02}"


def password_of(name: str) -> str | None:
    """The password in a name, so that no message tells it."""
    with suppress(psycopg.ProgrammingError, StoreError):
        found = conninfo_to_dict(target(name).dsn).get("password")
        return None if found is None else str(found)
    return None
