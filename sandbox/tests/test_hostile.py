"""Hostile inputs against a real server: each gets a documented answer, and the server is alive and small after it.

The corpus is hostile.py. The server's times are shortened, so that nothing here waits for long.
"""

from __future__ import annotations

import select
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from unitask_sandbox import Settings, create_app

from .hostile import BODIES, HEADS, LINKS, MB, PICTURES, Request, base64_of, head
from .local import face_swap, hold_against_spec

MOST_MEMORY = 1500 * MB  # of the server and its engines together
KEY = {"x-api-key": "sandbox"}
SERVER = """
from unitask_sandbox import Settings, connections, middleware, serve
{}
serve(Settings(keys={{"sandbox": 1e6}}), port=0, on_ready=lambda url: print(url, flush=True))
"""
IN_A_HURRY = "connections.HEAD_SECONDS, middleware.BODY_SECONDS, middleware.DRAIN_SECONDS = 2.0, 5.0, 2.0"
SLOW = ("slow-body",)
OF_UVICORN = b"Invalid HTTP request received."


@dataclass(frozen=True)
class Server:
    """The server under attack."""

    url: str
    pid: int
    http: httpx.Client
    app: Starlette  # another of the same kind, which knows what the spec says of a path

    def answer(self, request: Request) -> tuple[int, bytes]:
        """Send a request as it is; the status and the body that come back."""
        port = int(self.url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
            send_until_answered(connection, request.pieces())
            answer = HTTPResponse(connection, method=request.method)
            try:
                answer.begin()
                return answer.status, answer.read()
            except ConnectionResetError:
                if request.path != "/":
                    raise
                return 400, OF_UVICORN  # a head that is too long: uvicorn closes while the rest arrives

    def is_alive(self) -> bool:
        """Whether it answers an ordinary request."""
        return self.http.get("/account/info").status_code == 200

    def peak_memory(self) -> int:
        """The most bytes that it and its children held; 0 where nobody can tell."""
        return sum(map(peak_memory, [self.pid, *children(self.pid)]))


def send_until_answered(connection: socket.socket, pieces: Iterable[bytes]) -> None:
    for piece in pieces:
        if select.select([connection], [], [], 0)[0]:
            return
        connection.sendall(piece)


def peak_memory(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:  # no such file system, or the process has ended
        return 0
    lines = dict(line.split(":", 1) for line in status.splitlines())
    return int(lines.get("VmHWM", "0 kB").split()[0]) * 1024


def children(pid: int) -> list[int]:
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):  # a thread that has ended meanwhile
            found += map(int, path.read_text().split())
    return found


@contextmanager
def serving(first: str = "") -> Iterator[Server]:
    app = create_app(Settings(autorun=False))
    command = [sys.executable, "-c", SERVER.format(first)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout
        try:
            url = process.stdout.readline().strip()
            with httpx.Client(base_url=url, headers=KEY, timeout=60) as http:
                yield Server(url, process.pid, http, app)
        finally:
            process.terminate()
    app.state.sandbox.close()
    assert process.returncode == 0


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving() as made:
        yield made


@pytest.fixture(scope="module")
def hurried() -> Iterator[Server]:
    """For clients that are slow on purpose; an ordinary one on a busy machine could be too slow for it as well."""
    with serving(IN_A_HURRY) as made:
        yield made


def hold(server: Server, request: Request) -> None:
    """The answer is one of those that are right, as the spec has it, and the server goes on."""
    status, body = server.answer(request)

    assert status in request.statuses, body[:500]
    if body == OF_UVICORN:
        assert (status, request.words) == (400, "")
        assert server.is_alive()
        return
    answer = httpx.Request(request.method, f"{server.url}{request.path}")
    response = httpx.Response(status, headers={"content-type": "application/json"}, content=body, request=answer)
    hold_against_spec(server.app, response)
    said = response.json()
    assert request.words in (said["error"]["message"] if "error" in said else said["message"])
    assert server.is_alive()
    assert server.peak_memory() < MOST_MEMORY


@pytest.mark.parametrize("name", [name for name in BODIES if name not in SLOW])
def test_hostile_body_is_refused(server: Server, name: str) -> None:
    hold(server, BODIES[name])


@pytest.mark.parametrize("name", [name for name in HEADS if name not in SLOW])
def test_hostile_head_is_refused(server: Server, name: str) -> None:
    hold(server, HEADS[name])


@pytest.mark.parametrize("name", SLOW)
def test_slow_request_is_given_up(hurried: Server, name: str) -> None:
    hold(hurried, {**BODIES, **HEADS}[name])


def failure_of(server: Server, target: str) -> str:
    """How the task with this medium ends."""
    given = {"target_image": target, "swap_image": base64_of(PICTURES["plain"][0])}
    created = server.http.post("/api/v1/task", json=face_swap(input=given))
    assert created.status_code == 200, created.text
    task = created.json()["data"]
    while task["status"] not in ("completed", "failed"):
        task = server.http.get(f"/api/v1/task/{task['task_id']}").json()["data"]
    assert task["status"] == "failed"
    words: str = task["error"]["raw_message"]
    return words


@pytest.mark.parametrize("name", PICTURES)
def test_hostile_picture_fails_its_task(server: Server, name: str) -> None:
    picture, words = PICTURES[name]

    assert failure_of(server, base64_of(picture)).startswith(words)
    assert server.is_alive()
    assert server.peak_memory() < MOST_MEMORY
    assert not Path("/tmp/owned").exists()


@pytest.mark.parametrize("name", LINKS)
def test_hostile_address_fails_its_task(server: Server, name: str) -> None:
    link, words = LINKS[name]

    assert words in failure_of(server, link)
    assert server.is_alive()


def test_many_large_bodies_at_once_fit() -> None:
    body = b'{"model": "m", "messages": [' + b'{"content": "' + b"ab " * (8 * MB - 100) + b'"}]}'
    request = Request(
        lambda: [head("POST", "/v1/chat/completions", f"content-length: {len(body)}"), body], frozenset({200, 503})
    )
    with serving() as server, ThreadPoolExecutor(5) as pool:
        answers = list(pool.map(lambda _: server.answer(request)[0], range(5)))
        assert server.is_alive()
        assert server.peak_memory() < MOST_MEMORY

    assert set(answers) <= request.statuses


def test_many_slow_clients_hold_nobody_up(hurried: Server) -> None:
    port = int(hurried.url.rpartition(":")[2])
    connections = [socket.create_connection(("127.0.0.1", port), timeout=60) for _ in range(300)]
    for connection in connections[::2]:
        connection.sendall(head("POST", "/api/v1/task", "content-length: 100") + b"{")
    alive = hurried.is_alive()
    ends = [b"".join(iter(lambda: connection.recv(65536), b"")) for connection in connections[1::2]]  # noqa: B023
    for connection in connections:
        connection.close()

    assert alive
    assert set(ends) == {b""}


def test_uploaded_bomb_is_kept_and_served_as_it_is(server: Server) -> None:
    body: dict[str, Any] = {"file_name": "a.png", "file_data": base64_of(PICTURES["html"][0])}
    served = server.http.get(server.http.post("/api/ephemeral_resource", json=body).json()["data"]["url"])

    assert served.content == PICTURES["html"][0]
    assert served.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in served.headers["content-security-policy"]
    many = ",".join(["0-1"] * 5000)
    assert server.http.get(served.url, headers={"range": f"bytes={many}"}).status_code in (200, 206, 400, 416)
    assert server.is_alive()
