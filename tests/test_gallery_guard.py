"""Who may ask the gallery: raw requests to the program that really runs, from a browser's own to a stranger's."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from program import PICTO, Ran, environment, make_world, run

from pictocli import gallery

POLICY = (
    "default-src 'none'; img-src 'self' blob:; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


@dataclass(slots=True)
class Answer:
    """One answer, with its headers in small letters."""

    code: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(slots=True)
class Server:
    """`picto browse` as a process. address: what it printed."""

    process: subprocess.Popen[str]
    address: str
    port: int = 0
    token: str = ""
    cookie: str = ""

    def end(self, stop: signal.Signals = signal.SIGTERM) -> tuple[int, str, str]:
        """Exit code, and what else it printed and said."""
        self.process.send_signal(stop)
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out, err

    def raw(self, text: str) -> Answer:
        """What is answered to these very bytes."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as line:
            line.sendall(text.encode("latin-1"))
            with http.client.HTTPResponse(line, method=text.partition(" ")[0]) as answer:
                answer.begin()
                headers = {name.lower(): value for name, value in answer.getheaders()}
                return Answer(answer.status, headers, answer.read())

    def ask(self, path: str, method: str = "GET", body: str = "", **headers: str | None) -> Answer:
        """As a browser that was let in, unless a header is None or another one."""
        given: dict[str, str | None] = {"host": f"127.0.0.1:{self.port}", "cookie": self.cookie}
        if method == "POST":
            given |= {"sec-fetch-site": "same-origin", "content-length": str(len(body))}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        lines = "".join(f"{name}: {value}\r\n" for name, value in given.items() if value is not None)
        return self.raw(f"{method} {path} HTTP/1.1\r\n{lines}connection: close\r\n\r\n{body}")


def start(path: Path, *more: str) -> Server:
    process = subprocess.Popen(
        [PICTO, "--db", path, "browse", "--no-open", *more], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=environment(),
    )  # fmt: skip
    assert process.stdout is not None
    address = process.stdout.readline().strip()
    parts = re.fullmatch(r"http://127\.0\.0\.1:(\d+)/\?token=([\w-]{43})", address)
    assert parts, (address, process.stderr and process.stderr.read())
    return Server(process, address, int(parts[1]), parts[2])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, model: str) -> Path:
    return make_world(tmp_path_factory.mktemp("world"), model)


@pytest.fixture(scope="module")
def server(world: Path) -> Iterator[Server]:
    server = start(world / "picto.db")
    try:
        opened = server.ask(f"/?token={server.token}", cookie=None)
        server.cookie = opened.headers["set-cookie"].partition(";")[0]
        yield server
    finally:
        code, out, err = server.end()
    assert (code, out, err.count("\n")) == (0, "", 1), err


def test_the_token_becomes_a_cookie(server: Server) -> None:
    opened = server.ask(f"/?q=sand&token={server.token}&objects=a%26b", cookie=None)
    assert (opened.code, opened.headers["location"]) == (303, "/?q=sand&objects=a%26b")
    cookie = opened.headers["set-cookie"]
    assert re.fullmatch(rf"picto-{server.port}=[\w-]{{43}}; HttpOnly; Path=/; SameSite=strict", cookie)
    assert server.token not in cookie
    assert server.ask("/").code == 200
    assert server.ask("/", "HEAD").code == 200
    assert server.ask("/", cookie=f"other=1; {server.cookie}; more=2").code == 200
    assert server.ask("/", host=f"LOCALHOST:{server.port}").code == 200
    again = server.ask(f"/?token={server.token}", "HEAD")
    assert (again.code, again.headers["location"]) == (303, "/")


WRONG = "A" * 43


@pytest.mark.parametrize(
    ("path", "headers", "code"),
    [
        ("/", {"cookie": None}, 403),
        ("/", {"cookie": "picto-{port}="}, 403),
        ("/", {"cookie": f"picto-{{port}}={WRONG}"}, 403),
        ("/", {"cookie": "picto-{port}={token}"}, 403),
        ("/", {"cookie": "picto-1={secret}"}, 403),
        ("/", {"cookie": "picto-{port}={secret}x"}, 403),
        ("/", {"cookie": "picto-{port}=\xe9\xff"}, 403),
        (f"/?token={WRONG}", {}, 403),
        (f"/?token={WRONG}", {"cookie": None}, 403),
        ("/?token=", {"cookie": None}, 403),
        ("/?token=%00%ff", {"cookie": None}, 403),
        ("/image/1?token={token}", {"cookie": None}, 403),
        ("/thumbnail/1?w=480", {"cookie": None}, 403),
        ("/original/1", {"cookie": None}, 403),
        ("/static/gallery.css", {"cookie": None}, 403),
        ("/status", {"cookie": None}, 403),
        ("/nowhere", {"cookie": None}, 403),
        ("/?token={token}", {"host": "evil.example"}, 403),
        ("/", {"host": "evil.example"}, 403),
        ("/", {"host": "evil.example:{port}"}, 403),
        ("/", {"host": "127.0.0.1"}, 403),
        ("/", {"host": "localhost"}, 403),
        ("/", {"host": "127.0.0.1:1"}, 403),
        ("/", {"host": "127.0.0.1:{port}.evil.example"}, 403),
        ("/", {"host": "127.0.0.1:{port}@evil.example"}, 403),
        ("/", {"host": "0.0.0.0:{port}"}, 403),
        ("/", {"host": "[::1]:{port}"}, 403),
        ("/", {"host": ""}, 403),
        ("/", {"host": "evil.example", "x-forwarded-host": "127.0.0.1:{port}"}, 403),
        ("http://evil.example/", {}, 404),
    ],
    ids=lambda value: str(value)[:60],
)
def test_strangers_see_nothing(path: str, headers: dict[str, str | None], code: int, server: Server) -> None:
    secret = server.cookie.partition("=")[2]
    fill = {"port": server.port, "token": server.token, "secret": secret}
    given = {name: value and value.format(**fill) for name, value in headers.items()}
    answer = server.ask(path.format(**fill), **given)
    assert answer.code == code
    assert "set-cookie" not in answer.headers
    assert b"beach" not in answer.body
    assert code == 404 or b"open the address that picto browse printed" in answer.body


def test_two_hosts_and_none(server: Server) -> None:
    head = f"cookie: {server.cookie}\r\nconnection: close\r\n\r\n"
    two = f"GET / HTTP/1.1\r\nhost: 127.0.0.1:{server.port}\r\nhost: evil.example\r\n{head}"
    assert server.raw(two).code in (400, 403)
    assert server.raw(f"GET / HTTP/1.1\r\n{head}").code in (400, 403)
    assert server.raw(f"GET / HTTP/1.0\r\n{head}").code == 403


@pytest.mark.parametrize(
    "path",
    ["/../../etc/passwd", "/static/../../errors.py", "/static/..%2f..%2ferrors.py", "/static/%2e%2e/%2e%2e/errors.py",
     "/static/%2e%2e%2f%2e%2e%2ferrors.py", "/static/..%5c..%5cerrors.py", "/static/gallery.css%00.png",
     "/static//etc/passwd", "/static/%2fetc%2fpasswd", "/original/1/../../../etc/passwd", "/original/..%2f1",
     "/original/%2e%2e%2f%2e%2e%2fetc%2fpasswd", "/original/1%00", "/original/%31%2f..", "/original/1.svg",
     "/original/\u0661", "/original/+1", "/original/-1", "/original/0x1", "/original/99999999999999999999",
     "/thumbnail/1%2f..%2f2", "/image/1/../2", "/image/%2e%2e", "/image/99", "/thumbnail/0", "/dropped/..%2f..%2fetc",
     "/page/..", "//", "/templates/page.html", "/static/gallery.css/", "/original/1/", "/.%2e/", "/%2e%2e%2f%2e%2e"],
)  # fmt: skip
def test_nothing_but_what_is_there_is_served(path: str, server: Server) -> None:
    answer = server.ask(path.encode().decode("latin-1") if path.isascii() else "/original/%D9%A1")
    assert answer.code == 404, path
    assert b"root:" not in answer.body
    assert b"PictoError" not in answer.body


POSTS = ["/look", "/paths", "/download"]


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize(
    ("headers", "let_in"),
    [
        ({"sec_fetch_site": "same-origin"}, True),
        ({"sec_fetch_site": "same-origin", "origin": "http://127.0.0.1:{port}"}, True),
        ({"sec_fetch_site": "same-origin", "origin": "null"}, True),  # a form of ours: no-referrer
        ({"sec_fetch_site": None, "origin": "http://127.0.0.1:{port}"}, True),
        ({"sec_fetch_site": None}, False),
        ({"sec_fetch_site": None, "origin": "null"}, False),
        ({"sec_fetch_site": None, "origin": "http://evil.example"}, False),
        ({"sec_fetch_site": None, "origin": "http://127.0.0.1:1"}, False),
        ({"sec_fetch_site": None, "origin": "https://127.0.0.1:{port}"}, False),
        ({"sec_fetch_site": None, "origin": "http://localhost:{port}"}, False),
        ({"sec_fetch_site": "cross-site"}, False),
        ({"sec_fetch_site": "cross-site", "origin": "http://127.0.0.1:{port}"}, False),
        ({"sec_fetch_site": "same-site"}, False),
        ({"sec_fetch_site": "none"}, False),
        ({"sec_fetch_site": "same-origin", "origin": "http://evil.example"}, False),
        ({"cookie": None}, False),
        ({"host": "evil.example"}, False),
    ],
    ids=lambda value: str(value)[:60],
)
def test_only_our_own_pages_send(path: str, headers: dict[str, str | None], let_in: bool, server: Server) -> None:
    given = {name: value and value.format(port=server.port) for name, value in headers.items()}
    answer = server.ask(path, "POST", body="ids=1", **given)
    assert answer.code == (403 if not let_in else 415 if path == "/look" else 200)


def test_no_path_that_a_shell_would_run_is_given_to_paste(server: Server) -> None:
    answer = server.ask("/paths", "POST", body='{"ids": [1, 9, 10, 11]}')  # caf\xe9, an ESC, a newline
    assert (answer.code, answer.headers["content-type"]) == (200, "application/json")
    told = json.loads(answer.body)
    assert [path.rpartition("/")[2] for path in told["paths"]] == ["beach.jpg"]
    assert [(each["path"].rpartition("/")[2], each["has"]) for each in told["left_out"]] == [
        (r"caf\xe9.png", "bytes that are not UTF-8"),
        (r"esc\x1b[31m.png", "control characters"),
        (r"new\x0aline.png", "control characters"),
    ]
    for body in ('{"ids": [Infinity]}', '{"ids": [1e400]}', '{"ids": "1"}', "ids=1e400"):
        assert server.ask("/paths", "POST", body=body).code == 400


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "POST"])
def test_nothing_else_can_be_done(method: str, server: Server) -> None:
    code = server.ask("/", method, sec_fetch_site="same-origin").code
    assert code in ((400, 404, 405) if method == "CONNECT" else (405,))
    assert server.ask("/", method, cookie=None, sec_fetch_site="same-origin").code in (400, 403)


@pytest.mark.parametrize(
    ("path", "cookie"),
    [("/", True), ("/", False), ("/nowhere", True), ("/thumbnail/1?w=480", True), ("/original/1", True),
     ("/status", True), ("/static/gallery.js", True), ("/image/999", True), ("/?objects=carr", True),
     ("/favicon.ico", True)],
)  # fmt: skip
def test_every_answer_has_the_headers(path: str, cookie: bool, server: Server) -> None:
    headers = server.ask(path, cookie=server.cookie if cookie else None).headers
    assert headers["content-security-policy"] == POLICY
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert "cache-control" in headers
    assert "server" not in headers
    assert "access-control-allow-origin" not in headers


def test_it_listens_on_this_machines_own_address_only(server: Server) -> None:
    for family, address in ((socket.AF_INET, "127.0.0.2"), (socket.AF_INET6, "::1")):
        with socket.socket(family) as line:
            line.settimeout(30)
            assert line.connect_ex((address, server.port)) != 0


def test_many_browsers_at_once(server: Server) -> None:
    paths = [f"/thumbnail/{at % 14 + 1}?w=480" for at in range(56)] + ["/", "/facets", "/?like=1"] * 4
    with ThreadPoolExecutor(12) as pool:
        assert {answer.code for answer in pool.map(server.ask, paths)} == {200}


def test_who_sends_rubbish_harms_nobody(server: Server) -> None:
    for text in ("\r\n\r\n", "GET\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "\x16\x03\x01\x02", "GET /" + "a" * 70_000):
        with socket.create_connection(("127.0.0.1", server.port), timeout=60) as line:
            line.sendall(text.encode("latin-1"))
    assert server.ask("/").code == 200


# -- the command -----


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_it_ends_cleanly_whatever_goes_on(stop: signal.Signals, world: Path, tmp_path: Path) -> None:
    shutil.copy(world / "picto.db", tmp_path)
    server = start(tmp_path / "picto.db")
    opened = server.ask(f"/?token={server.token}", cookie=None)
    server.cookie = opened.headers["set-cookie"].partition(";")[0]
    assert server.ask("/").code == 200
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as line:  # one that has not finished asking
        line.sendall(b"GET / HTTP/1.1\r\n")
        code, out, err = server.end(stop)
    assert (code, out) == (0, "")
    assert err == f"Showing 14 images of {tmp_path / 'picto.db'}: Ctrl-C ends it\n"
    assert os.listdir(tmp_path) == ["picto.db"]


def test_a_cookie_of_the_last_start_is_worth_nothing(world: Path, server: Server) -> None:
    other = start(world / "picto.db")
    try:
        stale = server.cookie.replace(str(server.port), str(other.port))
        assert other.ask("/", cookie=stale).code == 403
        assert other.ask(f"/?token={server.token}", cookie=None).code == 403
    finally:
        other.end()


def command(*arguments: str) -> Ran:
    ran = run(*arguments)
    assert ran.out == b""
    return ran


def test_a_port_that_is_taken(world: Path, server: Server) -> None:
    ran = command("--db", str(world / "picto.db"), "browse", "--no-open", "--port", str(server.port))
    assert ran.code == 3
    assert ran.err == f"error: port {server.port} cannot be used: address already in use\n\nhint: leave --port out\n"


def test_no_library(tmp_path: Path) -> None:
    ran = command("--db", str(tmp_path / "none.db"), "browse", "--no-open")
    assert ran.code == 3
    assert ran.err == (
        f"error: there is no database at {tmp_path}/none.db\n\nhint: picto index FOLDER makes one, --db names another\n"
    )
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("package", ["starlette", "uvicorn", "jinja2"])
def test_without_the_extra(package: str, world: Path) -> None:
    program = f"import sys; sys.modules[{package!r}] = None; from pictocli.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, "--db", world / "picto.db", "browse"], capture_output=True, text=True,
        env=environment(), check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == f"error: the gallery needs the package {package}\n\nhint: pip install 'pictocli[web]'\n"


def test_a_browser_is_started_with_a_token_that_works_once(world: Path, tmp_path: Path) -> None:
    """What is in the arguments of a program, every user of the machine can read."""
    called, opener = tmp_path / "called", tmp_path / "opener"
    os.mkfifo(called)
    opener.write_text(f'#!/bin/sh\necho "$1" > {called}\n')
    opener.chmod(0o755)
    main, copy = os.openpty()
    process = subprocess.Popen(
        [PICTO, "--db", world / "picto.db", "browse"], stdout=copy, stderr=subprocess.DEVNULL,
        env=environment(BROWSER=str(opener)),
    )  # fmt: skip
    os.close(copy)
    try:
        with os.fdopen(main, "rb", buffering=0) as terminal:
            printed = b""
            while b"\n" not in printed:
                printed += terminal.read(4096)
            address = printed.decode().strip()
            server = Server(process, address, int(address.split(":")[2].partition("/")[0]))  # type: ignore[arg-type]
            once = called.read_text().strip()  # waits for the opener
            assert once.partition("=")[0] == address.partition("=")[0]
            assert once != address
            path = once.removeprefix(f"http://127.0.0.1:{server.port}")
            assert [server.ask(path, cookie=None).code for _ in range(2)] == [303, 403]
            assert server.ask(address.removeprefix(f"http://127.0.0.1:{server.port}"), cookie=None).code == 303
    finally:
        process.terminate()
        assert process.wait(60) == 0


def test_an_application_for_a_server_of_ones_own(world: Path) -> None:
    app = gallery.app(world / "picto.db", hosts=["127.0.0.1:1"])
    assert len(app.token) == 43
    assert app.images == 14
