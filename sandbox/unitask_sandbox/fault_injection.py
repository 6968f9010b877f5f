"""Apply a fault to an answer: replace it, change it, delay it, cut it, or send none.

ASGI cannot close a connection, so connections.py puts a function that does it into the scope. In-process there is no
connection, and the application raises `AnswerLost` instead.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from unitask_sandbox.faults import Fault

CLOSE = "unitask.close"  # the ASGI extension: a function that closes the connection after what was written to it

Sleep = Callable[[float], Awaitable[object]]
PIECES = 10  # of a body that comes slowly
TOO_MANY = 1000  # bytes that are announced and do not come


class AnswerLost(Exception):
    """A fault closed the connection before the answer was whole."""


async def injected(fault: Fault, perform: Callable[[], Awaitable[Response]], sleep: Sleep) -> Response:
    """Return the answer to a request that a fault happens to; `perform` does what was requested."""
    answer = Response() if fault.kind in ("refuse", "drop") else await perform()
    if fault.kind in ("refuse", "replace"):
        answer = Response(fault.body, fault.status, fault.headers, "application/json")
    return _Faulty(answer, fault, sleep)


class _Faulty(Response):
    """An answer that is sent with a fault."""

    def __init__(self, whole: Response, fault: Fault, sleep: Sleep) -> None:
        super().__init__()
        self._whole = whole
        self._fault = fault
        self._sleep = sleep

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        fault, answer = self._fault, self._whole
        await self._pause(fault.delay, receive)
        if fault.kind in ("lose", "drop"):
            await _hang_up(scope, receive)
            return
        if fault.kind in ("cut", "short"):
            await (_send_half if fault.kind == "cut" else _send_short)(answer, scope, receive, send)
            return
        if fault.kind == "edit":
            answer = await _edited(answer, fault, scope, receive)
        await answer(scope, receive, self._dripping(receive, send) if fault.drip else send)

    def _dripping(self, receive: Receive, send: Send) -> Send:
        async def send_slowly(message: Message) -> None:
            body: bytes = message.get("body", b"")
            size = len(body) // PIECES + 1
            for start in range(0, len(body), size):
                await self._pause(self._fault.drip / PIECES, receive)
                await send({"type": "http.response.body", "body": body[start : start + size], "more_body": True})
            await send({**message, "body": b""} if body else message)

        return send_slowly

    async def _pause(self, seconds: float, receive: Receive) -> None:
        """Wait; a client that disconnects ends the wait."""
        if not seconds:
            return
        waits = [asyncio.ensure_future(self._sleep(seconds)), asyncio.ensure_future(_disconnected(receive))]
        try:
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        for wait in done:
            wait.result()  # what the sleep raised


async def _send_half(answer: Response, scope: Scope, receive: Receive, send: Send) -> None:
    """Send status, headers and half of the first piece, and close the connection."""

    async def send_half(message: Message) -> None:
        if message["type"] != "http.response.body":
            await send(message)
        elif piece := message.get("body", b""):
            await send({"type": "http.response.body", "body": piece[: len(piece) // 2], "more_body": True})
            raise AnswerLost("the answer was cut")

    try:
        await answer(scope, receive, send_half)
    except AnswerLost:
        await _hang_up(scope, receive)


async def _send_short(answer: Response, scope: Scope, receive: Receive, send: Send) -> None:
    """Send the whole answer, announce more, and close the connection."""

    async def send_on(message: Message) -> None:
        if message["type"] == "http.response.start":
            lengths = [int(value) for name, value in message["headers"] if name == b"content-length"]
            others = [header for header in message["headers"] if header[0] != b"content-length"]
            announced = str(sum(lengths) + TOO_MANY).encode()
            await send({**message, "headers": [*others, (b"content-length", announced)]})
        else:
            await send({**message, "more_body": True})

    await answer(scope, receive, send_on)
    await _hang_up(scope, receive)


async def _edited(answer: Response, fault: Fault, scope: Scope, receive: Receive) -> Response:
    status, content = 200, bytearray()
    headers: dict[str, str] = {}

    async def gather(message: Message) -> None:
        nonlocal status, headers
        if message["type"] == "http.response.start":
            status = message["status"]
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in message["headers"]}
        else:
            content.extend(message.get("body", b""))

    await answer(scope, receive, gather)
    headers.pop("content-length", None)
    body = bytes(content)
    if fault.changes or fault.without or fault.part:
        with suppress(ValueError):  # a stream or a picture stays as it is
            body = json.dumps(fault.edited(json.loads(body)), ensure_ascii=False).encode()
    return Response(body, status, {**headers, **fault.headers})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _hang_up(scope: Scope, receive: Receive) -> None:
    close: Callable[[], None] | None = scope.get("extensions", {}).get(CLOSE)
    if close is None:
        raise AnswerLost("the answer was lost")
    close()
    await _disconnected(receive)  # else the server would answer that nothing was answered
