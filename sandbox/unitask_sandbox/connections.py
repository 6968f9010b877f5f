"""Limits on connections, and a way to close one without an answer.

uvicorn has a public hook for both: `Config(http=...)` takes an `asyncio.Protocol`. A connection waits for its client
while a request head, a request body, or the reading of an answer is due. One that waits too long is closed, and when
too many are open, the one that has waited longest is closed.
"""

import asyncio
from typing import Any, cast

from starlette.types import Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from unitask_sandbox.fault_injection import CLOSE

HEAD_SECONDS = 10.0  # for the head of a request; also for the rest of a body that was answered before its end
ANSWER_SECONDS = 30.0  # for a client that does not read its answer
MOST_CONNECTIONS = 500


class Connection(H11Protocol):
    """One HTTP/1.1 connection with limits; requests get a function to close it in their ASGI extensions."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._limited, self.app = self.app, self._serve
        self._open = cast("set[object]", self.connections)
        self._late: asyncio.TimerHandle | None = None
        self.waits_since: float | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Begin to wait for a head; close the connection that has waited longest when there are too many."""
        super().connection_made(transport)
        others = [one for one in self._open if isinstance(one, Connection) and not one.transport.is_closing()]
        waiting = [one for one in others if one.waits_since is not None]  # not this one
        if len(others) > MOST_CONNECTIONS and waiting:
            min(waiting, key=lambda one: one.waits_since or 0.0).transport.abort()
        self._wait(HEAD_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        super().connection_lost(exc)
        self._go_on()

    def pause_writing(self) -> None:
        """Wait for the client to read its answer."""
        super().pause_writing()
        self._wait(ANSWER_SECONDS)

    def resume_writing(self) -> None:
        """Go on with the answer."""
        super().resume_writing()
        self._go_on()

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        has_body = True

        async def received() -> Message:
            nonlocal has_body
            if has_body:  # its time is limited in middleware.py
                self.waits_since = self.loop.time()
            try:
                message = await receive()
            finally:
                self.waits_since = None
            has_body = message.get("more_body", False)
            return message

        self._go_on()
        try:
            await self._limited({**scope, "extensions": {CLOSE: self.transport.close}}, received, send)
        finally:
            if not self.transport.is_closing():
                self._wait(HEAD_SECONDS)

    def _wait(self, seconds: float) -> None:
        self._go_on()
        self.waits_since = self.loop.time()
        self._late = self.loop.call_later(seconds, self.transport.abort)

    def _go_on(self) -> None:
        self.waits_since = None
        if self._late is not None:
            self._late.cancel()
            self._late = None
