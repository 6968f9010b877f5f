"""Who may ask the sandbox, what may be sent to it, and what a browser may do with its answers."""

import ast
import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from unitask_sandbox import Settings, middleware, server

from .local import BASE_URL, Http, HttpWith, encoded, face_swap

CREATE = "/api/v1/task"
KEY = {"x-api-key": "sandbox"}
SCOPE = {
    "type": "http",
    "method": "POST",
    "path": CREATE,
    "headers": [(b"host", b"localhost"), (b"x-api-key", b"sandbox")],
    "query_string": b"",
    "server": ("localhost", 80),
}


# The host.


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8042", "LOCALHOST", "me.localhost", "localhost.", "[::1]:8042", "sandbox.test", "box.example:1"]
)
def test_request_to_a_host_of_the_sandbox_is_answered(http_with: HttpWith, host: str) -> None:
    http = http_with(allowed_hosts=("Box.example",))  # the client of this test calls it sandbox.test

    assert http("GET", "/account/info", headers={**KEY, "host": host}).status_code == 200


BAD_HOSTS = ("evil.example:8042", "localhost.evil.example", "evillocalhost", "127.0.0.1.evil.example", "[x", "")


@pytest.mark.parametrize(
    ("host", "path"),
    [
        *((host, "/account/info") for host in BAD_HOSTS),
        *(("evil.example", path) for path in ("/", "/openapi.json", "/files/x", "/_sandbox/arrivals", "/v1/models")),
    ],
)
def test_request_to_another_host_is_refused(http: Http, host: str, path: str) -> None:
    answer = http("GET", path, headers={**KEY, "host": host})
    words = answer.json()["error"]["message"] if path.startswith("/v1/") else answer.json()["message"]

    assert answer.status_code == 421
    assert "is not one of this sandbox" in words
    assert "--allow-host" in words


@pytest.mark.parametrize(
    ("host", "given", "private"),
    [("::1", None, "loopback"), ("localhost", None, "loopback"), ("0.0.0.0", None, "none"), ("box", "all", "all")],
)
def test_host_that_is_listened_on_decides_who_may_ask_what(host: str, given: Any, private: str) -> None:
    settings = server._for_host(Settings(private_addresses=given, allowed_hosts=("a",)), host)

    assert (settings.private_addresses, settings.allowed_hosts) == (private, ("a", host))


# The origin.

OTHERS: tuple[dict[str, str], ...] = (
    {"origin": f"{BASE_URL}:3000"},
    {"origin": "null"},
    {"sec-fetch-site": "same-site"},
    {"origin": BASE_URL, "sec-fetch-site": "cross-site"},
)


@pytest.mark.parametrize("headers", OTHERS, ids=str)
@pytest.mark.parametrize(
    ("method", "path"), [("POST", CREATE), ("DELETE", "/api/v1/tasks?created_before=1"), ("GET", "/_sandbox/arrivals")]
)
def test_page_of_another_origin_drives_nothing(http: Http, method: str, path: str, headers: dict[str, str]) -> None:
    answer = http(method, path, headers={**KEY, **headers}, content=encoded(face_swap()))

    assert answer.status_code == 403
    assert "web page of another origin" in answer.json()["message"]
    assert http.sandbox.balance("sandbox") == 10.0
    assert http("GET", "/", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "headers", [{}, {"origin": BASE_URL, "sec-fetch-site": "same-origin"}, {"sec-fetch-site": "none"}], ids=str
)
def test_programs_and_own_pages_drive_it(http: Http, headers: dict[str, str]) -> None:
    assert http("POST", CREATE, headers={**KEY, **headers}, json=face_swap()).status_code == 200
    assert http("GET", "/_sandbox/arrivals", headers=headers).status_code == 200


def test_no_answer_can_be_read_by_another_page(http: Http) -> None:
    headers = {**KEY, "origin": "https://evil.example", "access-control-request-method": "POST"}
    answer = http("OPTIONS", CREATE, headers=headers)

    assert answer.status_code == 405
    assert not [name for name in answer.headers if name.startswith("access-control-")]


# The body.


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"content-encoding": "gzip"}, 415),
        ({"content-length": str(middleware.LARGEST_BODY + 1)}, 413),
        ({"content-length": "x"}, 413),
    ],
    ids=str,
)
def test_body_that_cannot_be_taken_is_refused_unread(http: Http, headers: dict[str, str], status: int) -> None:
    read: list[bytes] = []

    async def body() -> AsyncIterator[bytes]:
        read.append(b"x")
        yield b"x"

    answer = http("POST", CREATE, headers={**KEY, **headers}, content=body())

    assert (answer.status_code, answer.json()["code"], read) == (status, status, [])


def test_slow_body_is_given_up(http: Http, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(middleware, "BODY_SECONDS", 0.01)

    async def endless() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.Event().wait()

    answer = http("POST", CREATE, content=endless())

    assert (answer.status_code, answer.json()["message"][:28]) == (408, "the body took longer than 0.")


def test_large_bodies_wait_for_each_other(http_with: HttpWith, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(middleware, "LARGE_AT_ONCE", 0)
    monkeypatch.setattr(middleware, "BODY_SECONDS", 0.05)
    http = http_with()
    large = face_swap(target=bytes(middleware.SMALL_BODY))

    assert http("POST", CREATE, json=large).status_code == 503
    assert http("POST", CREATE, json=face_swap()).status_code == 200


def test_bodies_that_arrive_hold_a_limited_amount_together(
    http_with: HttpWith, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(middleware, "BUFFERED", 1_000_000)
    http = http_with()
    ordinary = encoded(face_swap(target=bytes(600_000)))

    async def create_beside() -> list[int]:
        waiting, end = asyncio.Event(), asyncio.Event()

        async def slow() -> AsyncIterator[bytes]:
            yield b" " * 600_000
            waiting.set()
            await end.wait()
            yield b"{"

        transport = httpx.ASGITransport(http.app)
        async with httpx.AsyncClient(transport=transport, base_url=BASE_URL, headers=KEY) as client:
            slow_one = asyncio.ensure_future(client.post(CREATE, content=slow()))
            await asyncio.wait_for(waiting.wait(), 30)
            answers = [await client.post(CREATE, content=ordinary)]
            end.set()
            answers += [await slow_one, await client.post(CREATE, content=ordinary)]
            return [answer.status_code for answer in answers]

    assert asyncio.run(create_beside()) == [503, 400, 200]


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

        slow = asyncio.ensure_future(http.app(SCOPE, receive, send))
        await begun.wait()
        async with httpx.AsyncClient(transport=httpx.ASGITransport(http.app), base_url=BASE_URL) as client:
            started.append((await client.post(CREATE, content=large, headers=KEY)).status_code)
        unread.set()
        await slow
        return started

    assert asyncio.run(create_beside()) == [200, 200]


@pytest.mark.parametrize("last", [{"type": "http.disconnect"}, {"type": "http.request", "body": b"{"}])
def test_broken_uploads_keep_no_place(http_with: HttpWith, monkeypatch: pytest.MonkeyPatch, last: Any) -> None:
    monkeypatch.setattr(middleware, "BODY_SECONDS", 0.5)
    http = http_with()

    async def broken() -> None:
        messages = [last, {"type": "http.request", "body": bytes(middleware.SMALL_BODY + 1), "more_body": True}]

        async def receive() -> Any:
            return messages.pop() if messages else {"type": "http.disconnect"}

        async def send(_message: Any) -> None: ...

        await http.app(SCOPE, receive, send)

    for _ in range(middleware.LARGE_AT_ONCE + 1):
        asyncio.run(broken())

    assert http("POST", CREATE, json=face_swap(target=bytes(middleware.SMALL_BODY))).status_code == 200


# What a browser does with the answers.


@pytest.mark.parametrize("path", ["/", "/account/info", "/files/x"])
def test_answers_are_neither_guessed_nor_framed(http: Http, path: str) -> None:
    headers = http("GET", path).headers

    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"


@pytest.mark.parametrize("extension", ["html", "svg", "unknown"])
def test_what_is_no_picture_film_or_sound_is_saved_and_not_shown(http: Http, extension: str) -> None:
    headers = http("GET", f"/files/{http.sandbox._keep_file(b'<script>', extension)}").headers

    assert headers["content-disposition"].startswith("attachment")
    assert headers["content-type"] != "image/svg+xml" or "sandbox" in headers["content-security-policy"]


def test_long_path_is_not_kept(http: Http) -> None:
    http("GET", f"/api/{'x' * 10_000}")

    assert len(http.sandbox.arrivals[-1].path) == 200


UNSAFE = {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "pickle", "marshal", "shelve", "yaml.load"}


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
    found = {
        path.name: names for path in Path(middleware.__file__).parent.rglob("*.py") if (names := unsafe_names(path))
    }

    assert found == {"worker.py": {"pickle"}}  # over the private pipes of its own child
