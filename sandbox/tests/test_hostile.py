"""Hostile requests to a real server: each gets a documented answer, and the server needs little memory.

The contract tests send the hostile pictures to every engine.
"""

import json
import re
import select
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from http.client import HTTPResponse
from pathlib import Path

import httpx
import pytest

from .hostile import MB
from .local import CREATE, KEY, check_against_spec, face_swap

MOST_MEMORY = 1500 * MB
SERVER = "from unitask_sandbox import serve; serve(port=0, on_ready=lambda url: print(url, flush=True))"
UPLOAD, CHAT, EDIT = "/api/ephemeral_resource", "/v1/chat/completions", "/v1/images/edits"
Pieces = Callable[[], Iterable[bytes]]


@dataclass(frozen=True)
class Request:
    """One request as it goes over the connection; the rest is not sent when the server answers before the end."""

    status: int
    words: str  # of the refusal
    head: bytes
    pieces: Pieces = lambda: ()


def get(status: int, words: str, path: str, *headers: str, method: str = "GET") -> Request:
    lines = [f"{method} {path} HTTP/1.1", "host: localhost", "x-api-key: sandbox", "authorization: Bearer sandbox"]
    return Request(status, words, "\r\n".join([*lines, *headers, "", ""]).encode("latin-1"))


def post(status: int, words: str, path: str, body: bytes | Pieces, *headers: str) -> Request:
    length = [f"content-length: {len(body)}"] if isinstance(body, bytes) else []
    request = get(status, words, path, *length, *headers, method="POST")
    return replace(request, pieces=(lambda: [body]) if isinstance(body, bytes) else body)


def megabytes() -> Iterator[bytes]:
    return (b" " * MB for _ in range(100))


def chunks() -> Iterator[bytes]:
    return (f"{len(piece):x}\r\n".encode() + piece + b"\r\n" for piece in megabytes())


NOT_JSON = "the body is not JSON"
LENGTH, CHUNKED, FORM = f"content-length: {100 * MB}", "transfer-encoding: chunked", "content-type: multipart/form-data"
FIELD = b'--b\r\ncontent-disposition: form-data; name="a"\r\n\r\n\r\n'
BLANKS = b'{"file_name":"a.png","file_data":"' + b"AB  " * (5 * MB) + b'A"}'
REQUESTS = {
    "deep-objects": post(400, NOT_JSON, CREATE, b'{"a":' * 30_000 + b"1" + b"}" * 30_000),
    "many-errors": post(400, "it is not of type", CHAT, b'{"model":"m","messages":[' + b"1," * 99_000 + b"1]}"),
    "quotes": post(400, "the body has more than 100000 parts", CREATE, b'"' * (24 * MB)),
    "number-of-5000-digits": post(400, NOT_JSON, CREATE, b'{"model": ' + b"1" * 5000 + b"}"),
    "model-of-20-mb": post(400, "no such task", CREATE, json.dumps(face_swap(model="m" * (20 * MB))).encode()),
    "100-mb": post(413, "larger than", CREATE, megabytes, LENGTH),
    "100-mb-that-close": post(413, "larger than", CREATE, megabytes, LENGTH, "connection: close"),
    "100-mb-in-chunks": post(413, "larger than", CREATE, chunks, CHUNKED),
    "form-of-100000-fields": post(400, "too many fields", EDIT, FIELD * 100_000 + b"--b--", f"{FORM}; boundary=b"),
    "form-with-a-long-head": post(
        400, "invalid multipart data", EDIT, b"--b\r\n" + b"content-disposition:" * MB, f"{FORM}; boundary=b"
    ),
    "upload-with-blanks": post(400, "nor base64", UPLOAD, BLANKS),
    "length-and-chunks": post(400, NOT_JSON, CREATE, lambda: [b"0\r\n\r\n"], "content-length: 3", CHUNKED),
    "key-with-bytes": Request(
        401, "key", b"GET /account/info HTTP/1.1\r\nhost: localhost\r\nx-api-key: \xff\xfe\r\n\r\n"
    ),
    "escaped-parent": get(404, "not found", "/files/..%2f..%2f..%2f..%2fetc%2fpasswd"),
    "task-of-bytes": get(404, "task not found", f"{CREATE}/{'%ff' * 2000}"),
    "ten-thousand-parameters": get(400, "page: it", "/api/open/tasks/histories?" + "page=1&" * 1500 + "page=x"),
}


@dataclass(frozen=True)
class Server:
    url: str
    pid: int

    def answer(self, request: Request) -> tuple[int, bytes]:
        """Send a request as it is; return status and body of the answer."""
        with socket.create_connection(("127.0.0.1", int(self.url.rpartition(":")[2])), timeout=60) as connection:
            for piece in (request.head, *request.pieces()):
                if select.select([connection], [], [], 0)[0]:
                    break
                connection.sendall(piece)
            answer = HTTPResponse(connection)
            answer.begin()
            return answer.status, answer.read()

    def peak_memory(self) -> int:
        """The most bytes that it held; 0 without /proc."""
        status = Path(f"/proc/{self.pid}/status")
        return int(re.findall(r"VmHWM:\s*(\d+)", status.read_text())[0]) * 1024 if status.exists() else 0


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        yield Server(process.stdout.readline().strip(), process.pid)
        process.terminate()
    assert process.returncode == 0


@pytest.fixture(autouse=True)
def unharmed(server: Server) -> Iterator[None]:
    yield
    assert httpx.get(f"{server.url}/account/info", headers=KEY).status_code == 200
    assert server.peak_memory() < MOST_MEMORY


@pytest.mark.parametrize("name", REQUESTS)
def test_hostile_request_is_refused(server: Server, name: str) -> None:
    request = REQUESTS[name]
    status, body = server.answer(request)

    assert status == request.status, body[:500]
    sent = httpx.Request("PUT", f"{server.url}/v1/" if b" /v1/" in request.head else server.url)
    check_against_spec(httpx.Response(status, headers={"content-type": "application/json"}, content=body, request=sent))
    assert request.words in body.decode()


def test_many_large_bodies_at_once_fit(server: Server) -> None:
    body = b'{"model": "m", "messages": [' + b'{"content": "' + b"ab " * (8 * MB - 100) + b'"}]}'
    request = post(200, "", CHAT, body)
    with ThreadPoolExecutor(5) as pool:
        statuses = {status for status, _ in pool.map(server.answer, [request] * 5)}

    assert statuses <= {200, 503}
