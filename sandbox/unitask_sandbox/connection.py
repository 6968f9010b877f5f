"""Answers that do not arrive: the connection is closed instead of, or in the middle of, an answer.

ASGI cannot say "close the connection", so the server (server.py) puts a function that does it into the scope. Where no
connection is, in-process, the application raises `AnswerLost` instead.
"""

from __future__ import annotations

from collections.abc import Callable

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

CLOSE = "unitask.close"
"""The ASGI extension: a function that closes the connection after what was written to it."""


class AnswerLost(Exception):
    """The connection was closed before the answer was whole; a script of faults wanted it so."""


class Lost(Response):
    """No answer at all."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - as ASGI wants it
        """Close the connection."""
        await _hang_up(scope, receive)


class Cut(Response):
    """The beginning of another answer: its status, its headers and half of its first piece."""

    def __init__(self, whole: Response) -> None:
        super().__init__()
        self._whole = whole

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


async def _hang_up(scope: Scope, receive: Receive) -> None:
    close: Callable[[], None] | None = scope.get("extensions", {}).get(CLOSE)
    if close is None:
        raise AnswerLost("the answer was lost")
    close()
    while (await receive())["type"] != "http.disconnect":  # else the server would answer that nothing was answered
        pass
