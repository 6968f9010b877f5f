"""The LLM endpoints: the openai library as it is set up for them, over a transport that answers from memory."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import Callable
from typing import Any

import httpx2
import openai
import pytest
from unitask import AsyncClient, Client

from .shells import BASE_URL, KEY

CHUNK = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o-mini"}
MESSAGES: Any = [{"role": "user", "content": "hello"}]


def event(**fields: Any) -> bytes:
    return b"data: " + json.dumps({**CHUNK, **fields}).encode() + b"\n\n"


# Blank keep-alive lines, a last event with an empty usage (one client, 2025), and the end.
PIECES = [event(choices=[{"index": 0, "delta": {"content": text}, "finish_reason": None}]) for text in ("he", "llo")]
STREAM = b"\n\n" + b"\n\n\n".join(PIECES) + event(choices=[], usage={}) + b"data: [DONE]\n\n"


def streamed(request: httpx2.Request) -> httpx2.Response:
    assert json.loads(request.content)["stream"] is True
    return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=STREAM)


def chat(shell: str, handler: Callable[[httpx2.Request], httpx2.Response], **options: Any) -> Any:
    """A chat with a client of either kind: the completion, or the events of the stream."""
    transport = httpx2.MockTransport(handler)
    if shell == "sync":
        with Client(KEY, BASE_URL) as client, client.openai() as library:
            over = library.with_options(http_client=httpx2.Client(transport=transport))
            found = over.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES, **options)
            return list(found) if options.get("stream") else found

    async def main() -> Any:
        async with AsyncClient(KEY, BASE_URL) as client, client.openai() as library:
            over = library.with_options(http_client=httpx2.AsyncClient(transport=transport))
            found = await over.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES, **options)
            return [event async for event in found] if options.get("stream") else found

    return asyncio.run(main())


def test_request_goes_to_the_provider_with_the_key(shell: str) -> None:
    requests: list[httpx2.Request] = []

    def handler(request: httpx2.Request) -> httpx2.Response:
        requests.append(request)
        return httpx2.Response(200, json={**CHUNK, "object": "chat.completion", "choices": [], "usage": None})

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


def test_stream_is_read_with_its_quirks(shell: str) -> None:
    events = chat(shell, streamed, stream=True)

    assert [event.choices[0].delta.content for event in events if event.choices] == ["he", "llo"]
    assert [event.usage for event in events] == [None, None, None]


@pytest.mark.parametrize("status", [200, 401])
def test_library_logs_and_raises_no_key(shell: str, status: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.NOTSET)
    body = {**CHUNK, "object": "chat.completion", "choices": [], "error": {"message": "no"}}
    shown = ""
    try:
        chat(shell, lambda _: httpx2.Response(status, json=body))
    except openai.AuthenticationError as error:
        shown = repr(error) + str(error) + repr(vars(error))

    client = (Client if shell == "sync" else AsyncClient)(KEY, BASE_URL)
    library = client.openai()

    assert library.api_key == KEY
    shown += repr(library) + repr(vars(library)) + repr(library.api_key)
    assert "chat/completions" in caplog.text
    assert KEY not in caplog.text + shown


def test_long_answers_come_from_their_own_host(shell: str) -> None:
    def used(base_url: str | None, long_answers: bool) -> str:
        client = (Client if shell == "sync" else AsyncClient)(KEY, base_url)
        return str(client.openai(long_answers=long_answers).base_url)

    assert used(None, False) == "https://api.piapi.ai/v1/"
    assert used(None, True) == "https://proxy.piapi.ai/v1/"
    assert used(BASE_URL, True) == f"{BASE_URL}/v1/"


def test_missing_library_is_named(shell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)
    client = (Client if shell == "sync" else AsyncClient)(KEY, BASE_URL)

    with pytest.raises(ModuleNotFoundError, match=r"pip install 'unitask\[llm\]'"):
        client.openai()
