"""Who may ask the sandbox, what may be sent to it, and what a browser may do with its answers."""

from __future__ import annotations

import ast
import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from unitask_sandbox import Settings, middleware, server

from .local import BASE_URL, HttpWith, encoded, face_swap

CREATE = "/api/v1/task"
KEY = {"x-api-key": "sandbox"}


# The host.


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1:8042",
        "localhost:8042",
        "LOCALHOST",
        "me.localhost",
        "localhost.",
        "[::1]:8042",
        "192.168.1.5:8042",
        "sandbox.test",  # what the client of this test calls it
        "box.example:8042",  # allowed
    ],
)
def test_request_to_a_host_of_the_sandbox_is_answered(http_with: HttpWith, host: str) -> None:
    http = http_with(allowed_hosts=("Box.example",))

    assert http("GET", "/account/info", headers={**KEY, "host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8042",
        "localhost.evil.example",
        "evillocalhost",
        "127.0.0.1.evil.example",
        "[x",
        "",
    ],
)
@pytest.mark.parametrize(
    "path", ["/account/info", "/", "/openapi.json", "/files/x", "/_sandbox/arrivals", "/v1/models"]
)
def test_request_to_another_host_is_refused(http_with: HttpWith, host: str, path: str) -> None:
    answer = http_with()("GET", path, headers={**KEY, "host": host})
    words = answer.json()["error"]["message"] if path.startswith("/v1/") else answer.json()["message"]

    assert answer.status_code == 421
    assert "is not one of this sandbox" in words
    assert "--allow-host" in words


def test_server_is_called_by_the_name_it_listens_on(settings_with: Any) -> None:
    local, other = (server._for_host(settings_with(allowed_hosts=("a",)), host) for host in ("127.0.0.1", "box"))

    assert local.allowed_hosts == ("a", "127.0.0.1")
    assert other.allowed_hosts == ("a", "box")


@pytest.mark.parametrize(
    ("host", "given", "private"),
    [
        ("127.0.0.1", None, "loopback"),
        ("::1", None, "loopback"),
        ("localhost", None, "loopback"),
        ("0.0.0.0", None, "none"),
        ("192.168.1.5", None, "none"),
        ("192.168.1.5", "all", "all"),
        ("127.0.0.1", "none", "none"),
    ],
)
def test_others_cannot_ask_this_machine_through_the_sandbox(host: str, given: Any, private: str) -> None:
    assert server._for_host(Settings(private_addresses=given), host).private_addresses == private


# The origin.

OTHERS: dict[str, dict[str, str]] = {
    "origin": {"origin": "https://evil.example"},
    "other-port": {"origin": f"{BASE_URL}:3000"},
    "no-origin-of-its-own": {"origin": "null"},
    "cross-site": {"sec-fetch-site": "cross-site"},
    "same-site": {"sec-fetch-site": "same-site"},
    "said-twice": {"origin": BASE_URL, "sec-fetch-site": "cross-site"},
}
OURS: dict[str, dict[str, str]] = {
    "program": {},
    "page-of-the-sandbox": {"origin": BASE_URL, "sec-fetch-site": "same-origin"},
    "old-browser": {"origin": BASE_URL},
    "typed": {"sec-fetch-site": "none"},
}


@pytest.mark.parametrize("headers", OTHERS.values(), ids=OTHERS)
@pytest.mark.parametrize(
    ("method", "path"), [("POST", CREATE), ("DELETE", "/api/v1/tasks?created_before=1"), ("GET", "/_sandbox/arrivals")]
)
def test_page_of_another_origin_drives_nothing(
    http_with: HttpWith, method: str, path: str, headers: dict[str, str]
) -> None:
    http = http_with()
    answer = http(method, path, headers={**KEY, **headers}, content=encoded(face_swap()))

    assert answer.status_code == 403
    assert "web page of another origin" in answer.json()["message"]
    assert http.sandbox.balance("sandbox") == 10.0


@pytest.mark.parametrize("headers", OURS.values(), ids=OURS)
def test_programs_and_own_pages_drive_it(http_with: HttpWith, headers: dict[str, str]) -> None:
    http = http_with()

    assert http("POST", CREATE, headers={**KEY, **headers}, json=face_swap()).status_code == 200
    assert http("GET", "/_sandbox/arrivals", headers=headers).status_code == 200


@pytest.mark.parametrize("method", ["GET", "OPTIONS", "POST"])
def test_no_answer_can_be_read_by_another_page(http_with: HttpWith, method: str) -> None:
    headers = {**KEY, "origin": "https://evil.example", "access-control-request-method": "POST"}
    answer = http_with()(method, CREATE, headers=headers)

    assert answer.status_code in (403, 405)
    assert not [name for name in answer.headers if name.startswith("access-control-")]


# The body.


def test_compressed_body_is_refused(http_with: HttpWith) -> None:
    answer = http_with()("POST", CREATE, headers={**KEY, "content-encoding": "gzip"}, content=b"\x1f\x8b")

    assert (answer.status_code, answer.json()["code"]) == (415, 415)


def test_length_over_the_limit_is_refused_unread(http_with: HttpWith) -> None:
    read: list[bytes] = []

    async def body() -> AsyncIterator[bytes]:
        read.append(b"x")
        yield b"x"

    headers = {**KEY, "content-length": str(middleware.LARGEST_BODY + 1)}
    answer = http_with()("POST", CREATE, headers=headers, content=body())

    assert (answer.status_code, read) == (413, [])


def test_slow_body_is_given_up(http_with: HttpWith, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(middleware, "BODY_SECONDS", 0.01)

    async def endless() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.Event().wait()

    answer = http_with()("POST", CREATE, content=endless())

    assert (answer.status_code, answer.json()["message"][:28]) == (408, "the body took longer than 0.")


def test_large_bodies_wait_for_each_other(http_with: HttpWith, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(middleware, "LARGE_AT_ONCE", 0)
    monkeypatch.setattr(middleware, "BODY_SECONDS", 0.05)
    http = http_with()
    large = face_swap(target=bytes(middleware.SMALL_BODY))

    assert http("POST", CREATE, json=large).status_code == 503
    assert http("POST", CREATE, json=face_swap()).status_code == 200


def test_slowest_body_gives_way_when_all_hold_too_much(http_with: HttpWith, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(middleware, "BUFFERED", 1_500_000)
    monkeypatch.setattr(middleware, "FAIR_SECONDS", 0.0)
    http = http_with()
    ordinary = encoded(face_swap(target=bytes(600_000)))

    async def create_beside() -> list[int]:
        waiting, end = asyncio.Semaphore(0), asyncio.Event()

        async def slow(length: int) -> AsyncIterator[bytes]:
            yield b" " * length
            waiting.release()
            await end.wait()
            yield b"{"

        transport = httpx.ASGITransport(http.app)
        async with httpx.AsyncClient(transport=transport, base_url=BASE_URL, headers=KEY) as client:
            slow_ones = []
            for length in (300_000, 600_000):
                slow_ones.append(asyncio.ensure_future(client.post(CREATE, content=slow(length))))
                await asyncio.wait_for(waiting.acquire(), 30)
            answer = await client.post(CREATE, content=ordinary)
            end.set()
            return [answer.status_code, *[answer.status_code for answer in await asyncio.gather(*slow_ones)]]

    assert asyncio.run(create_beside()) == [200, 503, 400]


def test_place_is_kept_until_the_work_is_done_and_no_longer(
    http_with: HttpWith, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(middleware, "LARGE_AT_ONCE", 1)
    monkeypatch.setattr(middleware, "BODY_SECONDS", 5.0)
    http = http_with()
    large = encoded(face_swap(target=bytes(middleware.SMALL_BODY)))

    async def create_beside() -> list[int]:
        started: list[int] = []
        unread, begun = asyncio.Event(), asyncio.Event()
        messages = [{"type": "http.request", "body": large}]

        async def receive() -> Any:
            return messages.pop() if messages else await unread.wait()

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                started.append(message["status"])
                begun.set()
                await unread.wait()

        headers = [(b"host", b"localhost"), (b"x-api-key", b"sandbox")]
        scope = {"type": "http", "method": "POST", "path": CREATE, "headers": headers, "query_string": b""}
        slow = asyncio.ensure_future(http.app({**scope, "server": ("localhost", 80)}, receive, send))
        await begun.wait()
        async with httpx.AsyncClient(transport=httpx.ASGITransport(http.app), base_url=BASE_URL) as client:
            started.append((await client.post(CREATE, content=large, headers=KEY)).status_code)
        unread.set()
        await slow
        return started

    assert asyncio.run(create_beside()) == [200, 200]


def test_place_is_given_back(http_with: HttpWith, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(middleware, "LARGE_AT_ONCE", 1)
    http = http_with()
    large = face_swap(target=bytes(middleware.SMALL_BODY))
    answers = [http("POST", CREATE, json=body).status_code for body in (large, {**large, "model": 1}, large)]

    assert answers == [200, 400, 200]


@pytest.mark.parametrize("last", [{"type": "http.disconnect"}, {"type": "http.request", "body": b"{"}])
def test_broken_uploads_keep_no_place(http_with: HttpWith, monkeypatch: pytest.MonkeyPatch, last: Any) -> None:
    monkeypatch.setattr(middleware, "BODY_SECONDS", 0.5)
    http = http_with()

    async def broken() -> None:
        messages = [last, {"type": "http.request", "body": bytes(middleware.SMALL_BODY + 1), "more_body": True}]

        async def receive() -> Any:
            return messages.pop() if messages else {"type": "http.disconnect"}

        async def send(_message: Any) -> None: ...

        headers = [(b"host", b"localhost"), (b"x-api-key", b"sandbox")]
        scope = {"type": "http", "method": "POST", "path": CREATE, "headers": headers, "query_string": b""}
        await http.app({**scope, "server": ("localhost", 80)}, receive, send)

    for _ in range(middleware.LARGE_AT_ONCE + 1):
        asyncio.run(broken())

    assert http("POST", CREATE, json=face_swap(target=bytes(middleware.SMALL_BODY))).status_code == 200


# What a browser does with the answers.


@pytest.mark.parametrize("path", ["/", "/account/info", "/openapi.json", "/files/x", "/nothing"])
def test_answers_are_neither_guessed_nor_framed(http_with: HttpWith, path: str) -> None:
    headers = http_with()("GET", path).headers

    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"


@pytest.mark.parametrize("extension", ["html", "svg", "js", "txt", "glb", "unknown"])
def test_what_is_no_picture_film_or_sound_is_saved_and_not_shown(http_with: HttpWith, extension: str) -> None:
    http = http_with()
    headers = http("GET", f"/files/{http.sandbox._keep_file(b'<script>', extension)}").headers

    assert headers["content-disposition"].startswith("attachment")
    assert headers["content-type"] != "image/svg+xml" or "sandbox" in headers["content-security-policy"]


def test_long_path_is_not_kept(http_with: HttpWith) -> None:
    http = http_with()
    http("GET", f"/api/{'x' * 10_000}")

    assert len(http.sandbox.arrivals[-1].path) == 200


# The source.

UNSAFE = {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "pickle", "marshal", "shelve", "yaml.load"}
TRUSTED = {"worker.py": {"pickle"}}  # over the private pipes of its own child


def unsafe_names(path: Path) -> set[str]:
    """The names in a module that turn data into code."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Call):
            found.add(ast.unparse(node.func))
            found |= {"shell" for keyword in node.keywords if keyword.arg in ("shell", "allow_pickle")}
    return found & (UNSAFE | {"shell"})


def test_nothing_from_outside_becomes_code() -> None:
    folder = Path(middleware.__file__).parent
    found = {path.name: names for path in folder.rglob("*.py") if (names := unsafe_names(path))}

    assert found == TRUSTED
