"""Web servers as they are: right, redirecting, late, broken and lying."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pictures import scene
from servers import Site, site, unused_port

from pictocli.downloads import Failed, Fetched, Outcome, Unchanged
from pictocli.kinds import Limits
from pictocli.remote import Access, Remote
from pictocli.web import _is_local, _sounds_local

QUICK = Access(timeout=0.5, pause=0.01)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Site]:
    with site() as made:
        scene(1, 640, 480).save(tmp_path / "cat.jpg")
        body = (tmp_path / "cat.jpg").read_bytes()
        made.pages = dict.fromkeys(
            ("/cat.jpg", "/dated", "/plain", "/once", "/broken", "/longer", "/shorter", "/late", "/dead"), body
        )
        made.ways = {
            "/dated": "dated", "/plain": "plain", "/once": "once 503", "/broken": "broken 1", "/longer": "longer",
            "/shorter": "shorter", "/endless": "endless", "/never": "never", "/drip": "drip", "/dead": "broken 99",
            "/404": "status 404",
            "/410": "status 410", "/403": "status 403", "/500": "status 500", "/418": "status 418",
            "/self": "to /cat.jpg", "/loop": "to /loop", "/file": "to file:///etc/passwd", "/s3": "to s3://bucket/a",
            "/password": "to http://a:b@127.0.0.1/", "/nowhere": "to http://[/", "/late": "slow",
        }  # fmt: skip
        yield made


def fetch(url: str, validator: str = "", access: Access = QUICK, limits: Limits | None = None) -> tuple[Outcome, bytes]:
    with Remote(access, limits) as remote:
        ((_, outcome),) = remote.fetched([(None, url, validator)])
        assert outcome is not None
        return outcome, Path(outcome.path).read_bytes() if isinstance(outcome, Fetched) else b""


@pytest.mark.parametrize(
    ("path", "asked"),
    [("/cat.jpg", 1), ("/dated", 1), ("/plain", 1), ("/once", 2), ("/broken", 2), ("/self", 1), ("/late", 1)],
)
def test_what_comes(path: str, asked: int, server: Site) -> None:
    outcome, body = fetch(server.address + path)
    assert isinstance(outcome, Fetched)
    assert body == server.pages["/cat.jpg"]
    assert (outcome.size, outcome.here) == (len(body), len(body))
    assert server.asked["GET", path] == asked


@pytest.mark.parametrize(("path", "unchanged"), [("/cat.jpg", True), ("/dated", True), ("/plain", False)])
def test_what_is_known_is_not_sent_again(path: str, unchanged: bool, server: Site) -> None:
    first, body = fetch(server.address + path)
    assert isinstance(first, Fetched)
    assert bool(first.validator) == unchanged
    again, _ = fetch(server.address + path, first.validator)
    assert isinstance(again, Unchanged if unchanged else Fetched)
    assert server.sent[path] == len(body) * (1 if unchanged else 2)


def test_a_broken_download_goes_on_where_it_broke_off(server: Site) -> None:
    outcome, body = fetch(f"{server.address}/broken")
    assert isinstance(outcome, Fetched)
    assert server.ranges == [f"bytes={len(body) // 2}-"]
    assert server.sent["/broken"] == len(body)


@pytest.mark.parametrize(
    ("path", "reason", "asked"),
    [
        ("/404", "not found (404)", 1),
        ("/410", "not found (410)", 1),
        ("/403", "access denied (403)", 1),
        ("/418", "the server answers 418", 1),
        ("/500", "the server answers 500", 5),
        ("/longer", "incomplete download", 5),
        ("/never", "no answer within 0.5 s", 3),
        ("/drip", "too slow, under 1 kB/s", 1),
        ("/loop", "more than 10 redirects", 11),
        ("/file", "redirected to file:, refused", 1),
        ("/s3", "redirected to s3:, refused", 1),
        ("/password", "redirected to a URL that cannot be asked for", 1),
        ("/nowhere", "redirected to a URL that cannot be asked for", 1),
    ],
)
def test_what_does_not_come(path: str, reason: str, asked: int, server: Site) -> None:
    outcome, _ = fetch(server.address + path)
    assert isinstance(outcome, Failed)
    assert (outcome.reason, server.asked["GET", path]) == (reason, asked)
    assert outcome.gone == (path in ("/404", "/410"))


def test_a_body_cut_to_its_promise_is_what_the_server_says_it_is(server: Site) -> None:
    """Of a Content-Length that is too small what follows may tell; else the decoder, by a truncated picture."""
    outcome, body = fetch(f"{server.address}/shorter")
    if isinstance(outcome, Fetched):
        assert body == server.pages["/cat.jpg"][: len(server.pages["/cat.jpg"]) // 2]
    else:
        assert outcome == Failed("the connection broke")


def test_a_server_that_sends_without_end_is_left(server: Site) -> None:
    server.pages["/big.jpg"] = b"\xff\xd8\xff" + bytes(3_000_000)
    for path, reason in (("/big.jpg", "4 MB, over --max-file-size 1"), ("/endless", "")):
        outcome, _ = fetch(server.address + path, limits=Limits(max_file_size=1))
        assert (outcome.reason if isinstance(outcome, Failed) else "") == reason
        assert server.sent[path] < 20_000_000  # with what the buffers of two sockets take
    outcome, body = fetch(f"{server.address}/endless")
    assert isinstance(outcome, Fetched)  # no picture, and left after its first blocks
    assert 1024 <= len(body) < 10**6


def test_a_password_is_taken_from_netrc_for_its_host_alone(
    server: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.ways["/cat.jpg"] = "private Basic YWRhOnB3"  # ada:pw
    assert fetch(f"{server.address}/cat.jpg")[0] == Failed(
        "access denied (401)", hint="passwords are taken from ~/.netrc"
    )
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login ada password pw\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert isinstance(fetch(f"{server.address}/cat.jpg")[0], Fetched)
    (tmp_path / "netrc").write_text("machine example.org login ada password pw\n")
    assert isinstance(fetch(f"{server.address}/cat.jpg")[0], Failed)


def test_unchanged_is_no_answer_to_who_knows_nothing(server: Site) -> None:
    server.ways["/cat.jpg"] = "status 304"
    assert fetch(f"{server.address}/cat.jpg")[0] == Failed("the server answers 304, unasked")


def test_nobody_is_there() -> None:
    outcome, _ = fetch(f"http://127.0.0.1:{unused_port()}/a.jpg")
    assert outcome == Failed("cannot connect", hint=None)


# -- addresses of this network -------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["port", "name", "written otherwise"])
def test_a_redirect_into_this_network_is_refused_unless_allowed(way: str, server: Site) -> None:
    with site() as other:
        other.pages = {"/secret.jpg": server.pages["/cat.jpg"]}
        port = other.address.rpartition(":")[2]
        host = {"port": "127.0.0.1", "name": "localhost", "written otherwise": "[::ffff:127.0.0.1]"}[way]
        server.ways["/away"] = f"to http://{host}:{port}/secret.jpg"
        outcome, _ = fetch(f"{server.address}/away")
        assert outcome == Failed(
            f"redirected to {host}:{port}, a local address, refused",
            hint="--allow-local fetches from local addresses, too",
        )
        assert sum(other.asked.values()) == 0
        if way != "written otherwise":
            allowed, body = fetch(f"{server.address}/away", access=Access(timeout=0.5, pause=0.01, allow_local=True))
            assert isinstance(allowed, Fetched)
            assert body == server.pages["/cat.jpg"]


def test_a_name_that_leads_into_this_network_is_refused(server: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name is looked up when the connection is made; its addresses are judged then. Here DNS answers by loopback."""
    import socket

    real = socket.getaddrinfo

    def lookup(host: str, *rest: object, **more: object) -> object:
        return real("127.0.0.1" if host == "pictures.example" else host, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    port = server.address.rpartition(":")[2]
    url = f"http://pictures.example:{port}/cat.jpg"
    server.ways["/away"] = f"to {url}"
    for asked in (url, f"{server.address}/away"):
        outcome, _ = fetch(asked)
        assert isinstance(outcome, Failed)
        assert outcome.reason == "its host's name leads to a local address, refused"
    assert server.asked["GET", "/cat.jpg"] == 0
    monkeypatch.setenv("PICTO_ALLOW_LOCAL", "1")
    allowed, _ = fetch(url)
    assert isinstance(allowed, Fetched)


def test_addresses_where_clouds_keep_passwords_are_refused_whoever_asks() -> None:
    started = time.monotonic()
    outcome, _ = fetch("http://169.254.169.254/latest/meta-data/")
    assert isinstance(outcome, Failed)
    assert outcome.reason == "169.254.169.254 is a local address, refused"
    assert time.monotonic() - started < 0.5


@pytest.mark.parametrize(
    ("address", "local"),
    [
        ("127.0.0.1", True), ("10.1.2.3", True), ("192.168.0.1", True), ("172.16.0.1", True), ("169.254.1.1", True),
        ("100.64.0.1", True), ("0.0.0.1", True), ("224.0.0.1", True), ("255.255.255.255", True), ("::1", True),
        ("::", True), ("fe80::1", True), ("fd00::1", True), ("::ffff:10.0.0.1", True), ("2002:7f00:1::", True),
        ("64:ff9b::7f00:1", True), ("1.1.1.1", False), ("2606:4700::1111", False), ("::ffff:1.1.1.1", False),
        ("64:ff9b::101:101", False),
    ],
)  # fmt: skip
def test_which_addresses_are_local(address: str, local: bool) -> None:
    assert _is_local(ipaddress.ip_address(address)) == local


@pytest.mark.parametrize(
    ("name", "local"),
    [("localhost", True), ("nas", True), ("printer.local", True), ("a.internal.", True), ("2130706433", True),
     ("example.org", False), ("localhost.example.org", False), ("127.1", False)],
)  # fmt: skip
def test_which_names_say_that_they_are_local(name: str, local: bool) -> None:
    assert _sounds_local(name) == local


@pytest.mark.parametrize(
    ("path", "there"), [("/cat.jpg", True), ("/404", False), ("/410", False), ("/403", None), ("/500", None),
                        ("/self", True), ("/never", None)],
)  # fmt: skip
def test_whether_a_page_is_there(path: str, there: bool | None, server: Site) -> None:
    with Remote(QUICK) as remote:
        assert remote.exists([server.address + path]) == {server.address + path: there}
