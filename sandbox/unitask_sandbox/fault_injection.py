"""Apply a fault to an answer: replace it, change it, delay it, cut it, or send none.

connections.py puts a function that closes the connection into the scope; in-process `AnswerLost` is raised instead.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

from starlette.datastructures import MutableHeaders
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


@dataclass(eq=False)
class _Faulty(Response):
    """An answer that is sent with a fault."""

    whole: Response
    fault: Fault
    sleep: Sleep

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        fault = self.fault
        await self._pause(fault.delay, receive)
        if fault.kind in ("lose", "drop"):
            await _hang_up(scope, receive)
            return
        start, body = await self._gathered(scope, receive)
        headers = MutableHeaders(raw=start["headers"])
        if fault.kind == "edit":
            headers.update(fault.headers)
            with suppress(ValueError):  # a stream or a picture stays as it is
                body = json.dumps(fault.edited(json.loads(body)), ensure_ascii=False).encode()
        if fault.kind in ("edit", "short"):
            headers["content-length"] = str(len(body) + (TOO_MANY if fault.kind == "short" else 0))
        await send(start)
        sent = body[: len(body) // 2] if fault.kind == "cut" else body
        size = len(sent) // PIECES + 1 if fault.drip else len(sent) or 1
        for place in range(0, len(sent), size):
            await self._pause(fault.drip / PIECES, receive)
            await send({"type": "http.response.body", "body": sent[place : place + size], "more_body": True})
        if fault.kind in ("cut", "short"):
            await _hang_up(scope, receive)
        else:
            await send({"type": "http.response.body"})

    async def _gathered(self, scope: Scope, receive: Receive) -> tuple[Message, bytes]:
        """Return the first message of the whole answer, with status and headers, and the body."""
        messages: list[Message] = []

        async def gather(message: Message) -> None:
            messages.append(message)

        await self.whole(scope, receive, gather)
        return messages[0], b"".join(message.get("body", b"") for message in messages[1:])

    async def _pause(self, seconds: float, receive: Receive) -> None:
        """Wait; a client that disconnects ends the wait."""
        if not seconds:
            return
        waits = [asyncio.ensure_future(self.sleep(seconds)), asyncio.ensure_future(_disconnected(receive))]
        try:
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        for wait in done:
            wait.result()  # what the sleep raised


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _hang_up(scope: Scope, receive: Receive) -> None:
    close: Callable[[], None] | None = scope.get("extensions", {}).get(CLOSE)
    if close is None:
        raise AnswerLost("the answer was lost")
    close()
    await _disconnected(receive)  # else the server would answer that nothing was answered
