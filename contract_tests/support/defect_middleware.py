"""A sandbox application whose requests, answers and webhooks pass through defects.

Most defects change requests and answers, in an ASGI middleware. A defect that cannot be made there replaces a method of
one `Sandbox` instance.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeAlias

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from unitask_api import contract
from unitask_sandbox import Sandbox, Settings, create_app
from unitask_sandbox.http_client import HttpClient

Json: TypeAlias = dict[str, Any]
Post: TypeAlias = Callable[[str, bytes, Mapping[str, str]], int]


@dataclass(frozen=True)
class Asked:
    """A request: the operation of the spec that it is for (None: another path), its ASGI scope and its body."""

    operation: str | None
    scope: Scope
    body: bytes
    receive: Receive  # what comes after the body


@dataclass(frozen=True)
class Answered:
    """An answer."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


Perform: TypeAlias = Callable[[Asked], Awaitable[Answered]]


@dataclass(frozen=True)
class Defect:
    """A planted bug: a sentence, and what it replaces.

    Attributes:
        what: What a client sees of it.
        found_by: The quickest check that finds it, and the task type if it is made for one; `make score` has them all.
        body: Changes the JSON body of an answer (with its operation) or of a webhook (with None) in place.
        refusal: Changes the body of a refusal in place and returns the HTTP status to send.
        exchange: Answers a request in place of the provider, which it may ask.
        inside: Replaces methods of a sandbox.
        webhook: Sends a webhook in place of the provider.
    """

    what: str
    found_by: str
    body: Callable[[str | None, Json], object] | None = None
    refusal: Callable[[str | None, int, Json], int] | None = None
    exchange: Callable[[Asked, Perform], Awaitable[Answered]] | None = None
    inside: Callable[[Sandbox], object] | None = None
    webhook: Callable[[Post, str, bytes, dict[str, str]], int] | None = None


def with_defects(planted: list[Defect], settings: Settings) -> Starlette:
    post = settings.send_webhook or HttpClient(settings.private_addresses or "loopback").post
    app = create_app(replace(settings, send_webhook=partial(_send, planted, post)))
    for defect in planted:
        if defect.inside:
            defect.inside(app.state.sandbox)
    app.add_middleware(_Spoiling, planted)
    return app


def _send(planted: list[Defect], post: Post, url: str, content: bytes, headers: Mapping[str, str]) -> int:
    body = json.loads(content)
    for defect in planted:
        if defect.body:
            defect.body(None, body)
        if defect.webhook:
            post = partial(defect.webhook, post)
    return post(url, json.dumps(body).encode(), dict(headers))


class _Spoiling:
    """Passes whole requests and answers through the defects."""

    def __init__(self, app: ASGIApp, planted: list[Defect]) -> None:
        self._app = app
        self._planted = planted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith("/_sandbox"):
            await self._app(scope, receive, send)
            return
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        perform: Perform = self._perform
        for defect in self._planted:
            perform = partial(_altered, defect, perform)
        answer = await perform(Asked(_operation(scope), scope, body, receive))
        headers = [header for header in answer.headers if header[0] != b"content-length"]
        headers.append((b"content-length", str(len(answer.body)).encode()))
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})

    async def _perform(self, asked: Asked) -> Answered:
        start: MutableMapping[str, Any] = {}
        content = bytearray()

        coming: list[Message] = [{"type": "http.request", "body": asked.body, "more_body": False}]

        async def receive() -> Message:
            return coming.pop() if coming else await asked.receive()

        async def gather(message: Message) -> None:
            start.update(message if message["type"] == "http.response.start" else {})
            content.extend(message.get("body", b""))

        headers = [header for header in asked.scope["headers"] if header[0] != b"content-length"]
        headers.append((b"content-length", str(len(asked.body)).encode()))
        await self._app({**asked.scope, "headers": headers}, receive, gather)
        return Answered(start["status"], start["headers"], bytes(content))


async def _altered(defect: Defect, perform: Perform, asked: Asked) -> Answered:
    answer = await (defect.exchange(asked, perform) if defect.exchange else perform(asked))
    if not (defect.body or defect.refusal):
        return answer
    try:
        body = json.loads(answer.body)
    except ValueError:
        return answer
    status = answer.status
    if defect.body:
        defect.body(asked.operation, body)
    if defect.refusal and status >= 400:
        status = defect.refusal(asked.operation, status, body)
    return Answered(status, answer.headers, json.dumps(body, ensure_ascii=False).encode())


def _operation(scope: Scope) -> str | None:
    method = "GET" if scope["method"] == "HEAD" else scope["method"]
    try:
        return contract.match(method, scope["path"])[0]
    except LookupError:
        return None


def with_header(answer: Answered, name: str, value: str) -> Answered:
    headers = [*answer.headers]
    MutableHeaders(raw=headers)[name] = value
    return replace(answer, headers=headers)


def page(status: int, text: str, media_type: str = "text/html") -> Answered:
    return Answered(status, [(b"content-type", media_type.encode())], text.encode())
