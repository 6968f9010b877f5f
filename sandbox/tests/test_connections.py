"""Limits on connections, over real sockets: slow clients are closed, and keep no other client out."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
from unitask_sandbox import Fault, connections, running

from .local import base64_of

KEY = {"x-api-key": "sandbox"}
SOON = 0.2  # seconds: a busy machine needs less from a connection to what is sent over it
HALF_A_BODY = b"POST /api/v1/task HTTP/1.1\r\nhost: localhost\r\nx-api-key: sandbox\r\ncontent-length: 100\r\n\r\n{"
WHOLE = b"GET /account/info HTTP/1.1\r\nhost: localhost\r\nx-api-key: sandbox\r\n\r\n"


@pytest.fixture
def url(settings_with: Any) -> Iterator[str]:
    with running(settings_with()) as url:
        yield url


def connected(url: str, sent: bytes = b"") -> socket.socket:
    host, _, port = url.removeprefix("http://").partition(":")
    connection = socket.create_connection((host, int(port)), timeout=30)
    connection.sendall(sent)
    return connection


def rest_of(connection: socket.socket) -> bytes:
    """Everything that comes until the server closes the connection."""
    came = bytearray()
    try:
        while chunk := connection.recv(65536):
            came += chunk
    except ConnectionResetError:
        pass
    return bytes(came)


@pytest.mark.parametrize(
    ("sent", "answers"),
    [
        (b"", []),
        (b"POST /api/v1/task HTTP/1.1\r\nhost: localhost\r\nx-a: ", []),
        (b"GET /nothing HTTP/1.1\r\nhost: localhost\r\n\r\nGET /", [404]),
        (b"POST /nothing HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\nx", [404]),
    ],
    ids=["silence", "half-a-head", "half-a-second-head", "body-after-the-answer"],
)
def test_slow_request_is_closed(url: str, sent: bytes, answers: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", SOON)
    with connected(url, sent) as connection:
        came = rest_of(connection)

    assert [int(part.split()[0]) for part in came.split(b"HTTP/1.1 ")[1:]] == answers


def test_answer_that_nobody_reads_is_given_up(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lost = threading.Event()
    monkeypatch.setattr(connections, "ANSWER_SECONDS", SOON)
    losing = connections.Connection.connection_lost
    body = {"file_name": "a.png", "file_data": base64_of(bytes(9_000_000))}
    path = httpx.post(f"{url}/api/ephemeral_resource", json=body, headers=KEY).json()["data"]["url"].removeprefix(url)
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", int(url.rpartition(":")[2])))
        monkeypatch.setattr(
            connections.Connection, "connection_lost", lambda self, exc: (lost.set(), losing(self, exc))
        )
        connection.sendall(f"GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())
        assert lost.wait(20)


@pytest.mark.parametrize(
    ("sent", "answer"),
    [(b"", b""), (b"GET / HT", b""), (HALF_A_BODY, b""), (WHOLE, b"HTTP/1.1 200")],
    ids=["silence", "half-a-head", "half-a-body", "idle"],
)
def test_oldest_waiting_connection_gives_way(
    url: str, monkeypatch: pytest.MonkeyPatch, sent: bytes, answer: bytes
) -> None:
    monkeypatch.setattr(connections, "MOST_CONNECTIONS", 4)
    with ExitStack() as opened:
        slow: list[socket.socket] = []
        for _ in range(9):
            slow.append(opened.enter_context(connected(url, sent)))
            if answer:
                assert slow[-1].recv(65536).startswith(answer)
        with httpx.Client(base_url=url, headers=KEY) as client:
            statuses = [client.get("/account/info").status_code for _ in range(3)]
        rest = rest_of(slow[0])

    assert answer or rest == b""
    assert statuses == [200] * 3


def test_connection_at_work_gives_way_to_nobody(settings_with: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, answered = threading.Event(), threading.Event()

    async def sleep(_seconds: float) -> None:
        asked.set()
        await asyncio.to_thread(answered.wait, 30)

    monkeypatch.setattr(connections, "MOST_CONNECTIONS", 1)
    late = (Fault(operation="get_account_info", kind="slow", delay=1.0),)
    with running(settings_with(sleep=sleep, faults=late)) as url, connected(url, WHOLE) as first:
        assert asked.wait(30)
        second = httpx.get(f"{url}/openapi.json")
        answered.set()
        assert first.recv(65536).startswith(b"HTTP/1.1 200")
    assert second.status_code == 503
