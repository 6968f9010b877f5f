"""The LLM endpoints: the openai library as it is set up for them, over a transport that answers from memory."""

import logging
import sys
from collections.abc import Callable
from typing import Any

import httpx2
import openai
import pytest
from unitask import AsyncClient, Client

from .raw_server import Received, raw_server, response
from .shells import BASE_URL, KEY

COMPLETION = {"id": "1", "object": "chat.completion", "created": 1, "model": "gpt-4o-mini", "choices": []}


def library_of(shell: str, base_url: str | None = BASE_URL, **options: Any) -> Any:
    return (Client if shell == "sync" else AsyncClient)(KEY, base_url).openai(**options)


def chat(handler: Callable[[httpx2.Request], httpx2.Response]) -> Any:
    with Client(KEY, BASE_URL) as client, client.openai() as library:
        over = library.with_options(http_client=httpx2.Client(transport=httpx2.MockTransport(handler)))
        return over.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": "hello"}])


def test_library_has_the_key_and_shows_it_nowhere(shell: str) -> None:
    library = library_of(shell)

    assert (library.api_key, library.max_retries) == (KEY, 0)
    assert KEY not in repr(library) + repr(vars(library)) + repr(library.api_key)


@pytest.mark.parametrize("trouble", [None, 409, 429, 502, "timeout"])
def test_request_is_sent_once_with_the_key(trouble: Any) -> None:
    sent: list[httpx2.Request] = []

    def handler(request: httpx2.Request) -> httpx2.Response:
        sent.append(request)
        if trouble == "timeout":
            raise httpx2.ReadTimeout("slow")
        return httpx2.Response(trouble or 200, json=COMPLETION)

    try:
        assert chat(handler).model == "gpt-4o-mini"
    except (openai.APIStatusError, openai.APITimeoutError):
        assert trouble

    (request,) = sent
    assert str(request.url) == f"{BASE_URL}/v1/chat/completions"
    assert request.headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("name", ["Authorization", "authorization"])
def test_headers_of_the_environment_for_openai_are_not_sent(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("OPENAI_ORG_ID", "org-of-another")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "project-of-another")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", f"{name}: Bearer key-of-another\nX-Gateway: secret-of-another")
    sent: list[httpx2.Request] = []

    def handler(request: httpx2.Request) -> httpx2.Response:
        sent.append(request)
        return httpx2.Response(200, json=COMPLETION)

    chat(handler)
    assert "of-another" not in repr(sent[0].headers.raw)
    assert sent[0].headers.get_list("authorization") == [f"Bearer {KEY}"]
    test_library_has_the_key_and_shows_it_nowhere("sync")


def test_library_logs_and_raises_no_key(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.NOTSET)
    with pytest.raises(openai.AuthenticationError) as caught:
        chat(lambda _: httpx2.Response(401, json={"error": {"message": f"bad key {KEY[:4]}"}}))

    assert "chat/completions" in caplog.text
    assert KEY not in caplog.text + repr(caught.value) + str(caught.value) + repr(vars(caught.value))


def test_redirect_is_not_followed() -> None:
    def served(_: Received) -> list[bytes]:
        return [response(307, b"", f"location: {elsewhere.url}", "connection: close")]

    with (
        raw_server(lambda _: [response(200, COMPLETION)]) as elsewhere,
        raw_server(served) as server,
        Client(KEY, server.url, default_headers={"x-team": "a"}) as client,
        client.openai() as library,
        pytest.raises(openai.APIStatusError, match="307"),
    ):
        library.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": "hello"}])

    assert (len(server.requests), elsewhere.requests) == (1, [])


def test_long_answers_come_from_their_own_host(shell: str) -> None:
    assert str(library_of(shell, None).base_url) == "https://api.piapi.ai/v1/"
    assert str(library_of(shell, None, long_answers=True).base_url) == "https://proxy.piapi.ai/v1/"
    assert str(library_of(shell, long_answers=True).base_url) == f"{BASE_URL}/v1/"


def test_missing_library_is_named(shell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)

    with pytest.raises(ModuleNotFoundError, match=r"pip install 'unitask\[llm\]'"):
        library_of(shell)
