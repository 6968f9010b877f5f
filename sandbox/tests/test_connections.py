"""The server on a real port: start and end, and limits on connections that keep slow clients from others."""

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from unitask_sandbox import Fault, connections, running, serve
from unitask_sandbox.failures import CannotStart

from .local import KEY, base64_of

SOON = 0.2  # seconds: a busy machine needs less from a connection to what is sent over it
HALF_A_BODY = b"POST /api/v1/task HTTP/1.1\r\nhost: localhost\r\nx-api-key: sandbox\r\ncontent-length: 100\r\n\r\n{"
WHOLE = b"GET /account/info HTTP/1.1\r\nhost: localhost\r\nx-api-key: sandbox\r\n\r\n"


@pytest.fixture
def url(settings_with: Any) -> Iterator[str]:
    with running(settings_with()) as url:
        yield url


# Start and end.


def test_running_serves_until_the_block_ends(settings_with: Any) -> None:
    with running(settings_with()) as url:
        assert httpx.get(f"{url}/account/info", headers=KEY).status_code == 200
        with pytest.raises(OSError, match="in use"):
            serve(settings_with(), port=int(url.rpartition(":")[2]))

    with pytest.raises(httpx.ConnectError):
        httpx.get(url)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("unitask-sandbox")]


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ({"port": 65536}, "port 65536: "),
        ({"host": "a" * 70 + ".test"}, "give an address of this machine, and a port from 0 to 65535"),
        ({"host": "192.0.2.1"}, "host '192.0.2.1', "),
    ],
)
def test_wrong_host_or_port_is_refused(settings_with: Any, place: dict[str, Any], words: str) -> None:
    with pytest.raises(CannotStart, match=re.escape(words)):
        serve(settings_with(), **{"port": 0, **place})


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_serve_and_leaves_nothing(tmp_path: Path, sent: signal.Signals) -> None:
    code = "from unitask_sandbox import serve; serve(port=0, on_ready=lambda url: print(url, flush=True)); print('end')"
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        status = httpx.get(f"{process.stdout.readline().strip()}/openapi.json", timeout=60).status_code
        process.send_signal(sent)
        output, _ = process.communicate()

    assert (status, output, process.returncode) == (200, "end\n", 0)
    assert not list(tmp_path.iterdir())


# Limits on connections.


def connected(url: str, sent: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=30)
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
        (b"POST /api/v1/task HTTP/1.1\r\nhost: localhost\r\nx-a: ", []),
        (b"GET /nothing HTTP/1.1\r\nhost: localhost\r\n\r\nGET /", [404]),
        (b"POST /nothing HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\nx", [404]),
    ],
    ids=["half-a-head", "half-a-second-head", "body-after-the-answer"],
)
def test_slow_request_is_closed(url: str, sent: bytes, answers: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", SOON)
    with connected(url, sent) as connection:
        came = rest_of(connection)

    assert [int(part.split()[0]) for part in came.split(b"HTTP/1.1 ")[1:]] == answers


def test_answer_that_is_not_read_is_given_up(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lost = threading.Event()
    losing = connections.Connection.connection_lost
    body = {"file_name": "a.png", "file_data": base64_of(bytes(9_000_000))}
    path = httpx.post(f"{url}/api/ephemeral_resource", json=body, headers=KEY).json()["data"]["url"].removeprefix(url)
    monkeypatch.setattr(connections, "ANSWER_SECONDS", SOON)
    with socket.socket() as connection:

        def connection_lost(self: connections.Connection, exc: Exception | None) -> None:
            if self.client == connection.getsockname():
                lost.set()
            losing(self, exc)

        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", int(url.rpartition(":")[2])))
        monkeypatch.setattr(connections.Connection, "connection_lost", connection_lost)
        connection.sendall(f"GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())
        assert lost.wait(20)


@pytest.mark.parametrize(
    ("sent", "answer"),
    [(b"GET / HT", b""), (HALF_A_BODY, b""), (WHOLE, b"HTTP/1.1 200")],
    ids=["half-a-head", "half-a-body", "idle"],
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


def test_connection_at_work_does_not_give_way(settings_with: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, may_end = threading.Event(), threading.Event()

    async def sleep(_seconds: float) -> None:
        begun.set()
        await asyncio.to_thread(may_end.wait, 30)

    monkeypatch.setattr(connections, "MOST_CONNECTIONS", 1)
    late = (Fault(operation="get_account_info", kind="slow", delay=1.0),)
    with running(settings_with(sleep=sleep, faults=late)) as url, connected(url, WHOLE) as first:
        assert begun.wait(30)
        second = httpx.get(f"{url}/openapi.json")
        may_end.set()
        assert first.recv(65536).startswith(b"HTTP/1.1 200")
    assert second.status_code == 503
