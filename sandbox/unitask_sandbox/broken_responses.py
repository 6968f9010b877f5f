"""Answers that do not arrive as they should: late, slowly, cut off, or not at all.

ASGI cannot close a connection, so connections.py puts a function that does it into the scope. In-process there is no
connection, and the application raises `AnswerLost` instead.
"""

import asyncio
from collections.abc import Awaitable, Callable

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

CLOSE = "unitask.close"  # The ASGI extension: a function that closes the connection after what was written to it

Sleep = Callable[[float], Awaitable[object]]
PIECES = 10  # of a body that comes slowly
TOO_MANY = 1000  # bytes that are announced and do not come


class AnswerLost(Exception):
    """The connection was closed before the answer was whole; a script of faults wanted it so."""


class Lost(Response):
    """No answer at all."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - as ASGI wants it
        """Close the connection."""
        await _hang_up(scope, receive)


class _Another(Response):
    """Another answer, sent in another way."""

    def __init__(self, whole: Response) -> None:
        super().__init__()
        self._whole = whole


class Cut(_Another):
    """The beginning of another answer: its status, its headers and half of its first piece."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the beginning and close the connection."""

        async def send_half(message: Message) -> None:
            if message["type"] != "http.response.body":
                await send(message)
            elif piece := message.get("body", b""):
                await send({"type": "http.response.body", "body": piece[: len(piece) // 2], "more_body": True})
                raise AnswerLost("the answer was cut")

        try:
            await self._whole(scope, receive, send_half)
        except AnswerLost:
            await _hang_up(scope, receive)


class Short(_Another):
    """Another answer, whole, with a length announced that is too long."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send all of it and close the connection."""

        async def send_on(message: Message) -> None:
            if message["type"] == "http.response.start":
                lengths = [int(value) for name, value in message["headers"] if name == b"content-length"]
                others = [header for header in message["headers"] if header[0] != b"content-length"]
                announced = str(sum(lengths) + TOO_MANY).encode()
                await send({**message, "headers": [*others, (b"content-length", announced)]})
            else:
                await send({**message, "more_body": True})

        await self._whole(scope, receive, send_on)
        await _hang_up(scope, receive)


class Slow(_Another):
    """Another answer, after a while, and piece by piece."""

    def __init__(self, whole: Response, delay: float, drip: float, sleep: Sleep) -> None:
        super().__init__(whole)
        self._delay = delay
        self._drip = drip
        self._sleep = sleep

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Wait and send; a client that disconnects ends the wait."""

        async def send_slowly(message: Message) -> None:
            body: bytes = message.get("body", b"")
            size = len(body) // PIECES + 1
            for start in range(0, len(body), size):
                await self._pause(self._drip / PIECES, receive)
                await send({"type": "http.response.body", "body": body[start : start + size], "more_body": True})
            await send({**message, "body": b""} if body else message)

        await self._pause(self._delay, receive)
        await self._whole(scope, receive, send_slowly if self._drip else send)

    async def _pause(self, seconds: float, receive: Receive) -> None:
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


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _hang_up(scope: Scope, receive: Receive) -> None:
    close: Callable[[], None] | None = scope.get("extensions", {}).get(CLOSE)
    if close is None:
        raise AnswerLost("the answer was lost")
    close()
    await _disconnected(receive)  # else the server would answer that nothing was answered
