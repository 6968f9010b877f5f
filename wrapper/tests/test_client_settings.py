"""The arguments of the clients that are about HTTP: repeats, headers, proxy, an own httpx client, the clock."""

import asyncio
import gzip
import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from unitask import Client, errors
from unitask._environment import USER_AGENT

from .pictures import encoded
from .raw_server import Received, raw_server, response
from .script import TASK_ID, answer, finished, refused, seen
from .shells import CLIENTS, FACE_SWAP, KEY, get, in_turn, perform, provider, responded, submit

HTTP_CLIENTS: dict[str, Any] = {"sync": httpx.Client, "async": httpx.AsyncClient}
FILE = finished({"image_url": "http://127.0.0.1/file.png"})
PICTURE = answer(200, encoded())
BUSY, LIMITED, LOST, UNSENT = refused(500), refused(429), httpx.ReadTimeout("lost"), httpx.ConnectError("refused")


def download(client: Any) -> Any:
    return client.download(FILE, "out/")


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


REPEATS: dict[str, tuple[Callable[[Any], Any], list[Any], int | None, int]] = {
    "a submission after 429, by default": (submit, [LIMITED] * 4, None, 4),
    "a submission after 429": (submit, [LIMITED] * 2, 1, 2),
    "a submission after 429, never": (submit, [LIMITED], 0, 1),
    "a submission that never left": (submit, [UNSENT] * 3, 2, 3),
    "a submission that may have arrived": (submit, [LOST], 9, 1),
    "a poll": (get, [BUSY] * 3, 2, 3),
    "a poll, never": (get, [BUSY], 0, 1),
    "a poll of a wait": (lambda client: client.wait(TASK_ID), [seen("processing"), BUSY, LOST], 1, 3),
    "another call": (lambda client: client.account(), [BUSY, LOST], 1, 2),
    "another call, never": (lambda client: client.account(), [BUSY], 0, 1),
    "a file, by default": (download, [BUSY] * 4, None, 4),
    "a file": (download, [BUSY] * 2, 1, 2),
    "a file, never": (download, [BUSY], 0, 1),
}


@pytest.mark.parametrize(("call", "script", "max_retries", "sent"), REPEATS.values(), ids=REPEATS)
def test_max_retries_limits_what_is_sent_again(
    shell: str, call: Callable[[Any], Any], script: list[Any], max_retries: int | None, sent: int
) -> None:
    answers = provider(*script)
    with pytest.raises(errors.UnitaskError):
        perform(shell, answers, call, max_retries=max_retries)

    assert len(answers.requests) == sent


@pytest.mark.parametrize(
    ("given", "user_agent"), [({"X-Team": "a"}, USER_AGENT), ({"X-Team": "a", "User-Agent": "mine/1"}, "mine/1")]
)
def test_default_headers_go_to_the_provider_only(shell: str, given: dict[str, str], user_agent: str) -> None:
    answers = provider(seen(), PICTURE)
    perform(shell, answers, in_turn(submit, download), default_headers=given)

    api, file = (request.headers for request in answers.requests)
    assert (api["x-team"], api["user-agent"], api["x-api-key"]) == ("a", user_agent, KEY)
    assert not {"x-team", "x-api-key"} & file.keys()
    assert file["user-agent"] == USER_AGENT


@pytest.mark.parametrize("name", ["Authorization", "X-API-Key", "Content-Length", "Host"])
def test_default_headers_cannot_replace_what_the_client_sets(name: str) -> None:
    with pytest.raises(errors.InvalidInput, match=f"{name}, which the client sets itself"):
        Client(KEY, default_headers={name: "x"})


def test_own_http_client_sends_every_request_as_it_is_set_and_stays_open(shell: str) -> None:
    requests: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return responded(PICTURE if "file" in str(request.url) else seen("completed"))

    given = HTTP_CLIENTS[shell](
        transport=httpx.MockTransport(handler),
        timeout=httpx.Timeout(1.0, read=2.0),
        headers={"x-mine": "1", "x-api-key": "another"},
        auth=("me", "word"),
    )
    perform(shell, provider(), submit, transport=None, http_client=given)
    given_again = HTTP_CLIENTS[shell](transport=httpx.MockTransport(handler), auth=("me", "word"))
    perform(shell, provider(), download, transport=None, http_client=given_again)

    assert not given.is_closed
    api, file = requests
    assert (api.headers["x-mine"], api.headers["x-api-key"], api.headers["user-agent"]) == ("1", KEY, USER_AGENT)
    assert "authorization" not in api.headers
    assert api.extensions["timeout"] == {"connect": 1.0, "read": 2.0, "write": 1.0, "pool": 1.0}
    assert not {"x-api-key", "authorization"} & file.headers.keys()


def test_own_http_client_does_not_follow_the_redirect_of_a_submission(shell: str) -> None:
    answers = provider(answer(307, location="https://else.test/"))
    given = HTTP_CLIENTS[shell](transport=answers.transport, follow_redirects=True)
    with pytest.raises(errors.ProviderBroken, match="not followed"):
        perform(shell, answers, submit, transport=None, http_client=given)


def hooked(shell: str, hook: Callable[[httpx.Response], Any], **settings: Any) -> Any:
    """Make an HTTP client with a hook for responses."""

    async def hook_async(answer: httpx.Response) -> None:
        result = hook(answer)
        _ = await result if inspect.isawaitable(result) else result

    hooks = {"response": [hook if shell == "sync" else hook_async]}
    return HTTP_CLIENTS[shell](event_hooks=hooks, **settings)


def test_file_that_a_hook_has_read_is_stored(shell: str) -> None:
    head = ("content-type: image/png", "content-encoding: gzip", "connection: close")
    packed = response(200, gzip.compress(encoded()), *head)
    with raw_server(lambda _: [packed]) as server:
        given = hooked(shell, lambda answer: answer.read() if shell == "sync" else answer.aread(), timeout=2)
        file = finished({"image_url": f"{server.url}/file.png"})
        [path] = perform(shell, server.url, lambda client: client.download(file, "out/"), http_client=given)

    assert path.read_bytes() == encoded()


def test_hook_that_raises_for_a_status_ends_a_download_in_a_typed_error(shell: str) -> None:
    answers = provider(answer(410))
    given = hooked(shell, httpx.Response.raise_for_status, transport=answers.transport)
    with pytest.raises(errors.DownloadFailed, match="410"):
        perform(shell, answers, download, transport=None, http_client=given)


def test_closed_http_client_sends_nothing() -> None:
    given = httpx.Client()
    client = Client(KEY, http_client=given)
    given.close()
    with pytest.raises(errors.InvalidInput, match="closed"):
        client.submit(FACE_SWAP)


@pytest.mark.parametrize(
    ("shell", "given"), [("sync", "http_client"), ("sync", "transport"), ("async", "http_client")], ids=str
)
def test_connections_of_another_process_or_event_loop_are_refused(
    shell: str, given: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    transport = httpx.HTTPTransport()
    monkeypatch.setattr(transport, "handle_request", lambda _: responded(seen()))
    http_client = HTTP_CLIENTS[shell](transport=provider(seen()).transport)
    client = CLIENTS[shell](KEY, **{given: transport if given == "transport" else http_client})

    def call() -> object:
        return submit(client) if shell == "sync" else asyncio.run(submit(client))

    call()
    monkeypatch.setattr(os, "getpid", lambda: -1)
    with pytest.raises(errors.InvalidInput, match="of another process"):
        call()


def test_openai_client_sends_default_headers(shell: str) -> None:
    assert CLIENTS[shell](KEY, default_headers={"X-Team": "a"}).openai().default_headers["x-team"] == "a"


@pytest.mark.parametrize("other", [{"proxy": "http://proxy.test"}, {"transport": httpx.MockTransport(print)}])
def test_http_client_excludes_what_it_replaces(shell: str, other: dict[str, Any]) -> None:
    with pytest.raises(errors.InvalidInput, match="exclude each other"):
        CLIENTS[shell](KEY, http_client=HTTP_CLIENTS[shell](), **other)


def test_given_proxy_is_used_for_every_request(shell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def served(request: Received) -> list[bytes]:
        return [response(200, encoded() if "file" in request.path else seen("completed").body)]

    monkeypatch.setenv("NO_PROXY", "*")
    with raw_server(served) as server:
        perform(shell, "http://127.0.0.1:9", in_turn(get, download), proxy=server.url)

    paths = [f"http://127.0.0.1:9/api/v1/task/{TASK_ID}", FILE.output.files[0].url]
    assert [request.path for request in server.requests] == paths
