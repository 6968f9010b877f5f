"""Requests to other servers: which addresses, how much and how long. Names are resolved by a table."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from ipaddress import ip_address
from typing import Any

import httpx
import pytest
from unitask_sandbox import http_client
from unitask_sandbox.http_client import ERRORS, LARGEST, HttpClient, NotFetched, kind_of

PUBLIC = "93.184.215.14"
NAMES = {
    "pictures.test": [PUBLIC],
    "both.test": [PUBLIC, "10.0.0.5"],
    "inside.test": ["10.0.0.5"],
    "me.test": ["127.0.0.1"],
    "nowhere.test": [],
}


class Internet(httpx.AsyncBaseTransport):
    """Gives each request the next of its answers, and keeps the request; an exception is raised."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        self.requests.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def client(self, private: Any = "loopback") -> HttpClient:
        return HttpClient(private, resolved, self)


def resolved(host: str, _port: int) -> list[str]:
    return NAMES.get(host, [host])


def ok(**headers: str) -> httpx.Response:
    return httpx.Response(200, headers=headers, stream=httpx.ByteStream(b"picture"))


def moved(to: str, status: int = 302) -> httpx.Response:
    return httpx.Response(status, headers={"location": to})


def test_request_goes_to_the_checked_address_and_names_the_host() -> None:
    internet = Internet(ok())
    fetched = internet.client().get("https://pictures.test:81/a.png?x=1#top")
    (request,) = internet.requests

    assert fetched == b"picture"
    assert (request.url.host, request.url.port, request.url.raw_path) == (PUBLIC, 81, b"/a.png?x=1")
    assert request.headers["host"] == "pictures.test:81"
    assert request.extensions["sni_hostname"] == "pictures.test"  # the certificate is checked against it
    assert request.headers["accept-encoding"] == "identity"


@pytest.mark.parametrize(
    ("private", "url", "rule"),
    [
        ("loopback", "http://inside.test/", "--private-addresses all` or Settings(private_addresses='all')"),
        ("loopback", "http://both.test/", "10.0.0.5 is an address of a private network"),
        ("none", "http://me.test/", "--private-addresses loopback` or Settings(private_addresses='loopback')"),
        ("all", "http://nowhere.test/", ""),
        ("all", "http://me@pictures.test/", "a user name or a password"),
        ("all", "ftp://pictures.test/", "the scheme 'ftp'"),
        ("all", "http:///a.png", ""),
    ],
)
def test_address_that_is_not_allowed_gets_no_request(private: Any, url: str, rule: str) -> None:
    internet = Internet()
    for send in (internet.client(private).get, lambda url: internet.client(private).post(url, b"", {})):
        with pytest.raises(ERRORS) as caught:
            send(url)
        assert rule in str(caught.value)

    assert internet.requests == []


KINDS = {
    "public": f"{PUBLIC} 2606:4700::1111 64:ff9b::5db8:d70e ::ffff:93.184.215.14 168.63.129.17",
    "loopback": "127.9.9.9 ::1 0.0.0.0 :: ::ffff:127.0.0.1",
    "all": """
        0.0.0.1 10.0.0.1 100.64.0.1 100.100.100.200 168.63.129.16 169.254.169.254 172.16.0.1 192.0.0.9 192.0.0.192
        192.0.2.1 192.88.99.1 192.168.1.1 198.18.0.1 198.51.100.1 203.0.113.1 224.0.0.1 224.0.1.1 240.0.0.1
        255.255.255.255 100::1 2001:db8::1 3fff::1 5f00::1 fd12::1 fd00:ec2::254 fe80::1 fec0::1 feff::1 ff02::1
        ff0e::1 ::10.0.0.1 ::ffff:10.0.0.1 ::ffff:0:a00:1 64:ff9b::a00:1 64:ff9b::a9fe:a9fe 64:ff9b:1::1
        64:ff9b:1::5db8:d70e 2001:0:4136:e378:8000:63bf:3fff:fdd2 2002:a9fe:a9fe::1 2002:5db8:d70e::1
        2606:4700::5efe:10.0.0.1 2606:4700::200:5efe:a9fe:a9fe
        64:ff9b::7f00:1 2002:7f00:1:: ::ffff:0:7f00:1
    """,  # the last ones: the 127.0.0.1 of a gateway is not this machine
}


@pytest.mark.parametrize("kind", KINDS)
def test_kind_of_an_address(kind: str) -> None:
    assert {text: kind_of(ip_address(text)) for text in KINDS[kind].split()} == dict.fromkeys(KINDS[kind].split(), kind)


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ([moved("http://10.0.0.5/")], "a private network"),
        ([moved("//inside.test/")], "a private network"),
        ([moved("ftp://pictures.test/")], "the scheme 'ftp'"),
        ([moved("/next")] * 6, "redirects more than 5 times"),
        ([httpx.Response(300)], "it answers HTTP 300"),
        ([httpx.Response(404)], "it answers HTTP 404"),
    ],
)
def test_answer_that_cannot_be_used_is_an_error(answers: list[Any], words: str) -> None:
    internet = Internet(*answers)
    with pytest.raises(NotFetched, match=words):
        internet.client().get("http://pictures.test/")

    assert len(internet.requests) == len(answers)


@pytest.mark.parametrize(
    ("private", "url", "answers"),
    [
        ("loopback", "http://me.test/", [ok()]),
        ("all", "http://inside.test/", [ok()]),
        ("all", "http://both.test/", [httpx.ConnectError("refused"), ok()]),
        ("none", "http://pictures.test/", [*[moved("/next")] * 5, ok()]),
        ("none", "http://pictures.test/", [ok(**{"content-length": str(LARGEST)})]),
    ],
)
def test_answer_is_fetched_as_far_as_the_limits(private: Any, url: str, answers: list[Any]) -> None:
    internet = Internet(*answers)

    assert internet.client(private).get(url) == b"picture"
    assert internet.answers == []


def test_post_sends_the_body_and_follows_no_redirect() -> None:
    internet = Internet(moved("http://inside.test/", 307))
    status = internet.client().post("http://pictures.test/hook", b"{}", {"x-webhook-secret": "s"})
    (request,) = internet.requests

    assert status == 307
    assert (request.method, request.url.path, request.content) == ("POST", "/hook", b"{}")
    assert request.headers["x-webhook-secret"] == "s"


# Over a connection.


@contextmanager
def answering(answer: bytes) -> Iterator[str]:
    """A server for one request: its address."""

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://me.test:{listener.getsockname()[1]}/"
        thread.join()


def test_name_is_fetched_without_a_proxy_and_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    with answering(b"HTTP/1.0 200 OK\r\ncontent-encoding: gzip\r\n\r\npicture") as url:
        assert HttpClient(resolve=resolved).get(url) == b"picture"


@pytest.mark.parametrize(
    ("answer", "scheme"),
    [
        (b"", "http"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\npicture", "http"),
        (b"HTTP/1.0 200 OK\r\n\r\n" + bytes(1001), "http"),  # larger than the limit, without a length
        (b"HTTP/1.1 200 OK\r\n\r\n", "https"),
    ],
)
def test_broken_answer_is_an_error_of_a_known_kind(answer: bytes, scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_client, "LARGEST", 1000)
    with answering(answer) as url, pytest.raises(ERRORS):
        HttpClient(resolve=resolved).get(url.replace("http", scheme, 1))


def test_whole_transfer_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    async def endless() -> AsyncIterator[bytes]:
        yield b"pic"
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), 30)

    monkeypatch.setattr(http_client, "SECONDS", 0.05)
    with pytest.raises(NotFetched, match="took longer than"):
        Internet(httpx.Response(200, content=endless())).client().get("http://pictures.test/")
