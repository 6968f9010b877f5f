"""Hostile requests (hostile.py) to a real server: each gets a documented answer, and the server stays small.

The contract tests give the hostile media to every engine.
"""

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

from .hostile import BODIES, HEADS, MB, PICTURES, Request, head
from .local import base64_of, hold_against_spec

MOST_MEMORY = 1500 * MB  # of the server and its engines together
KEY = {"x-api-key": "sandbox"}
SERVER = """
from unitask_sandbox import Settings, serve
serve(Settings(keys={"sandbox": 1e6}), port=0, on_ready=lambda url: print(url, flush=True))
"""
SVG = PICTURES["svg-that-reads"][0]
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
def serving() -> Iterator[Server]:
    app = create_app(Settings(autorun=False))
    command = [sys.executable, "-c", SERVER]
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


@pytest.fixture(autouse=True)
def unharmed(server: Server) -> Iterator[None]:
    yield
    assert server.http.get("/account/info").status_code == 200
    assert server.peak_memory() < MOST_MEMORY


@pytest.mark.parametrize("name", [*BODIES, *HEADS])
def test_hostile_request_is_refused(server: Server, name: str) -> None:
    request = (BODIES | HEADS)[name]
    status, body = server.answer(request)

    assert status in request.statuses, body[:500]
    if body == OF_UVICORN:
        assert request.words == ""
        return
    asked = httpx.Request(request.method, f"{server.url}{request.path}")
    answer = httpx.Response(status, headers={"content-type": "application/json"}, content=body, request=asked)
    hold_against_spec(server.app, answer)
    said = answer.json()
    assert request.words in (said["error"]["message"] if "error" in said else said["message"])


def test_many_large_bodies_at_once_fit() -> None:
    body = b'{"model": "m", "messages": [' + b'{"content": "' + b"ab " * (8 * MB - 100) + b'"}]}'
    request = Request(
        lambda: [head("POST", "/v1/chat/completions", f"content-length: {len(body)}"), body], frozenset({200, 503})
    )
    with serving() as server, ThreadPoolExecutor(5) as pool:
        answers = list(pool.map(lambda _: server.answer(request)[0], range(5)))
        assert server.peak_memory() < MOST_MEMORY

    assert set(answers) <= request.statuses


def test_uploaded_bomb_is_kept_and_served_as_it_is(server: Server) -> None:
    body: dict[str, Any] = {"file_name": "a.png", "file_data": base64_of(SVG)}
    served = server.http.get(server.http.post("/api/ephemeral_resource", json=body).json()["data"]["url"])

    assert served.content == SVG
    assert served.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in served.headers["content-security-policy"]
    many = ",".join(["0-1"] * 5000)
    assert server.http.get(served.url, headers={"range": f"bytes={many}"}).status_code in (200, 206, 400, 416)
