"""Who may send requests, how much they may send, and what a browser may do with the answers."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from unitask_sandbox import Settings, middleware, server

from .local import BASE_URL, CREATE, KEY, Http, HttpWith, Receiver, base64_of, encoded, face_swap

INFO = "/account/info"
LARGE = encoded(face_swap(target=bytes(middleware.SMALL_BODY)))
GOOD_HOSTS = ("127.0.0.1:8042", "LOCALHOST", "me.localhost", "localhost.", "[::1]:80", "sandbox.test", "box.example:1")
BAD_HOSTS = ("evil.example:8042", "localhost.evil.example", "evillocalhost", "127.0.0.1.evil.example", "[x", "")


def test_only_requests_to_a_host_of_the_sandbox_are_answered(http_with: HttpWith) -> None:
    http = http_with(allowed_hosts=("Box.example",))  # the client of this test calls it sandbox.test

    for host in GOOD_HOSTS:
        assert http("GET", INFO, headers={**KEY, "host": host}).status_code == 200
    for path in (INFO, "/", "/openapi.json", "/files/x", "/_sandbox/arrivals", "/v1/models"):
        answers = [http("GET", path, headers={**KEY, "host": host}) for host in BAD_HOSTS]
        assert {answer.status_code for answer in answers} == {421}
        assert "is not one of this sandbox; allow it with `unitask sandbox --allow-host" in answers[0].text


@pytest.mark.parametrize(
    ("host", "given", "private"),
    [("::1", None, "loopback"), ("localhost", None, "loopback"), ("0.0.0.0", None, "none"), ("box", "all", "all")],
)
def test_listening_host_decides_which_addresses_are_allowed(host: str, given: Any, private: str) -> None:
    settings = server._for_host(Settings(private_addresses=given, allowed_hosts=("a",)), host)

    assert (settings.private_addresses, settings.allowed_hosts) == (private, ("a", host))


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({}, True),
        ({"origin": BASE_URL, "sec-fetch-site": "same-origin"}, True),
        ({"sec-fetch-site": "none"}, True),
        ({"origin": f"{BASE_URL}:3000"}, False),
        ({"sec-fetch-site": "same-site"}, False),
        ({"origin": BASE_URL, "sec-fetch-site": "cross-site"}, False),
    ],
    ids=str,
)
def test_page_of_another_origin_drives_nothing(http: Http, headers: dict[str, str], allowed: bool) -> None:
    requests = [("POST", CREATE), ("DELETE", "/api/v1/tasks?created_before=1"), ("GET", "/_sandbox/arrivals")]
    answers = [
        http(method, path, headers={**KEY, **headers}, content=encoded(face_swap())) for method, path in requests
    ]

    assert {answer.status_code for answer in answers} == ({200} if allowed else {403})
    assert (http.usd < 10) is allowed
    assert http("GET", "/", headers=headers).status_code == 200


PAGE = "https://app.example"
PREFLIGHT = {"origin": PAGE, "access-control-request-method": "POST", "access-control-request-headers": "x-api-key"}


@pytest.mark.parametrize(
    ("allowed", "shown"),
    [
        ((PAGE,), PAGE),
        (("*",), "*"),
        ((PAGE.upper(),), PAGE),
        (("http://app.example", f"{PAGE}:8443"), None),
        ((), None),
    ],
)
def test_page_of_an_allowed_origin_calls_the_api_and_controls_nothing(
    http_with: HttpWith, allowed: tuple[str, ...], shown: str | None
) -> None:
    http = http_with(allowed_origins=allowed)
    elsewhere = {**KEY, "origin": PAGE, "sec-fetch-site": "cross-site"}
    preflight = http.unchecked("OPTIONS", CREATE, headers=PREFLIGHT)
    create = http("POST", CREATE, json=face_swap(), headers=elsewhere)
    wrong_key = http("GET", INFO, headers={**elsewhere, "x-api-key": "wrong"})
    control = [http("POST", f"/_sandbox/{path}", headers=elsewhere) for path in ("reset", "clock", "snapshot")]

    assert create.status_code == (200 if shown else 403)
    assert [one.headers.get("access-control-allow-origin") for one in (create, wrong_key)] == [shown, shown]
    assert (preflight.status_code == 200) is (shown is not None)
    if shown:
        assert {"x-api-key", "authorization", "content-type"} <= {
            *preflight.headers["access-control-allow-headers"].lower().split(", ")
        }
    else:
        assert "`unitask sandbox --allow-origin ORIGIN`" in create.json()["message"]
    assert [one.status_code for one in control] == [403, 403, 403]


def test_addresses_begin_with_the_public_url(http_with: HttpWith) -> None:
    receiver, public = Receiver(), "https://box.example/provider/"
    http = http_with(public_url=public, send_webhook=receiver)
    behind_a_proxy = {**KEY, "host": "box.example", "origin": "https://box.example", "sec-fetch-site": "same-origin"}
    task_id = http.create(face_swap(config={"webhook_config": {"endpoint": "https://a.test"}}))
    http.sandbox.advance()
    http.headers = behind_a_proxy
    file = {"file_name": "a.png", "file_data": base64_of(b"content")}
    upload = http("POST", "/api/ephemeral_resource", json=file).json()["data"]["url"]
    image = http.task(task_id)["output"]["image_url"]

    assert image.startswith("https://box.example/provider/files/")
    assert upload.startswith("https://box.example/provider/files/ephemeral/")
    assert receiver.got[0][1]["data"]["output"]["image_url"] == image
    assert http.done("Qubico/image-toolkit", "face-swap", target_image=upload, swap_image=b"x")["status"] == "completed"
    assert http("GET", "/_sandbox/arrivals").status_code == 200
    for headers in ({"origin": "null"}, {"origin": "https://box.example", "sec-fetch-site": "cross-site"}):
        assert http("GET", "/_sandbox/arrivals", headers={**behind_a_proxy, **headers}).status_code == 403


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("public_url", "box.example"),
        ("public_url", "https://a.test/?a=1"),
        ("public_url", "http://[::1"),
        ("public_url", "http://a:x"),
        ("allowed_origins", ("https://a.test/",)),
    ],
)
def test_address_that_cannot_be_one_is_refused_at_the_start(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"^{name} .*: give "):
        Settings(**{name: value})


# The body.


@pytest.mark.parametrize(
    ("name", "value", "status"),
    [
        ("content-encoding", "gzip", 415),
        ("content-length", str(middleware.LARGEST_BODY + 1), 413),
        ("content-length", "x", 413),
    ],
)
def test_body_that_cannot_be_taken_is_refused_unread(http: Http, name: str, value: str, status: int) -> None:
    read: list[bytes] = []

    async def body() -> AsyncIterator[bytes]:
        read.append(b"x")
        yield b"x"

    answer = http("POST", CREATE, headers={**KEY, name: value}, content=body())

    assert (answer.status_code, read) == (status, [])


def test_slow_body_is_given_up(http: Http, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(middleware, "BODY_SECONDS", 0.01)

    async def endless() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.Event().wait()

    assert http("POST", CREATE, content=endless()).status_code == 408


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


@pytest.mark.parametrize("last", [{"type": "http.disconnect"}, {"type": "http.request", "body": b"{"}])
def test_upload_that_has_ended_holds_nothing(http_with: HttpWith, monkeypatch: pytest.MonkeyPatch, last: Any) -> None:
    monkeypatch.setattr(middleware, "BUFFERED", len(LARGE) + middleware.SMALL_BODY)
    http = http_with()
    headers = [(b"host", b"localhost"), (b"x-api-key", b"sandbox")]
    scope = {"type": "http", "method": "POST", "path": CREATE, "headers": headers, "query_string": b""}
    messages = [last, {"type": "http.request", "body": bytes(middleware.SMALL_BODY + 1), "more_body": True}]
    statuses: list[int] = []

    async def receive() -> Any:
        return messages.pop() if messages else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":  # the client has not read its answer yet
            async with httpx.AsyncClient(transport=httpx.ASGITransport(http.app), base_url=BASE_URL) as client:
                statuses.append((await client.post(CREATE, content=LARGE, headers=KEY)).status_code)

    asyncio.run(http.app({**scope, "server": ("localhost", 80)}, receive, send))  # type: ignore[arg-type]  # a plain dict is a scope

    assert statuses == [200]
    assert http("POST", CREATE, content=LARGE).status_code == 200


# What a browser does with the answers.


def test_answers_are_neither_guessed_nor_framed_nor_read_by_another_page(http: Http) -> None:
    for path in ("/", INFO, "/files/x"):
        headers = http("GET", path, headers={**KEY, "origin": "https://evil.example"}).headers
        assert (headers["x-content-type-options"], headers["x-frame-options"]) == ("nosniff", "DENY")
        assert not [name for name in headers if name.startswith("access-control-")]


def test_file_runs_nothing_and_is_shown_if_it_is_a_medium(http: Http) -> None:
    for extension, shown in (("png", True), ("html", False), ("svg", False), ("unknown", False)):
        headers = http("GET", f"/files/{http.sandbox._keep_file(b'<svg>', extension)}").headers
        assert headers["content-disposition"].startswith("inline" if shown else "attachment")
        assert "sandbox" in headers["content-security-policy"]
