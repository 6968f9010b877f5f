"""The LLM endpoints: the openai library as it is set up for them, over a transport that answers from memory."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable
from typing import Any

import httpx2
import openai
import pytest
from unitask import AsyncClient, Client

from .shells import BASE_URL, KEY

COMPLETION = {"id": "1", "object": "chat.completion", "created": 1, "model": "gpt-4o-mini", "choices": []}
MESSAGES: Any = [{"role": "user", "content": "hello"}]


def client_of(shell: str, base_url: str | None = BASE_URL) -> Client | AsyncClient:
    return (Client if shell == "sync" else AsyncClient)(KEY, base_url)


def chat(shell: str, handler: Callable[[httpx2.Request], httpx2.Response]) -> Any:
    """The completion that a chat with a client of either kind returns."""
    transport = httpx2.MockTransport(handler)
    if shell == "sync":
        with Client(KEY, BASE_URL) as client, client.openai() as library:
            over = library.with_options(http_client=httpx2.Client(transport=transport))
            return over.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES)

    async def main() -> Any:
        async with AsyncClient(KEY, BASE_URL) as client, client.openai() as library:
            over = library.with_options(http_client=httpx2.AsyncClient(transport=transport))
            return await over.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES)

    return asyncio.run(main())


def test_request_goes_to_the_provider_with_the_key(shell: str) -> None:
    requests: list[httpx2.Request] = []

    def handler(request: httpx2.Request) -> httpx2.Response:
        requests.append(request)
        return httpx2.Response(200, json=COMPLETION)

    assert chat(shell, handler).model == "gpt-4o-mini"
    (request,) = requests
    assert str(request.url) == f"{BASE_URL}/v1/chat/completions"
    assert request.headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("trouble", [409, 429, 502, None])
def test_request_is_sent_once(shell: str, trouble: int | None) -> None:
    sent: list[int | None] = []

    def handler(_: httpx2.Request) -> httpx2.Response:
        sent.append(trouble)
        if trouble is None:
            raise httpx2.ReadTimeout("slow")
        return httpx2.Response(trouble, content=b"<html>")

    with pytest.raises((openai.APIStatusError, openai.APITimeoutError)):
        chat(shell, handler)
    assert sent == [trouble]


@pytest.mark.parametrize("status", [200, 401])
def test_library_logs_and_raises_no_key(shell: str, status: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.NOTSET)
    library = client_of(shell).openai()
    shown = repr(library) + repr(vars(library)) + repr(library.api_key)
    try:
        chat(shell, lambda _: httpx2.Response(status, json=COMPLETION))
    except openai.AuthenticationError as error:
        shown += repr(error) + str(error) + repr(vars(error))

    assert library.api_key == KEY
    assert "chat/completions" in caplog.text
    assert KEY not in caplog.text + shown


def test_long_answers_come_from_their_own_host(shell: str) -> None:
    def used(base_url: str | None, long_answers: bool) -> str:
        return str(client_of(shell, base_url).openai(long_answers=long_answers).base_url)

    assert used(None, False) == "https://api.piapi.ai/v1/"
    assert used(None, True) == "https://proxy.piapi.ai/v1/"
    assert used(BASE_URL, True) == f"{BASE_URL}/v1/"


def test_missing_library_is_named(shell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)

    with pytest.raises(ModuleNotFoundError, match=r"pip install 'unitask\[llm\]'"):
        client_of(shell).openai()
