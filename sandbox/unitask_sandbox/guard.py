"""What stands before every operation: who may ask, and how much may be sent.

A web page that somebody has open must not be able to drive a server on the same machine. Two rules see to that:

- The Host must be one of this sandbox (`is_ours`), so that no name of somebody else's can be pointed at it by DNS.
- What a page of another origin sends is refused, unless it only reads what the API shows (`is_from_elsewhere`). No
  answer allows another origin to read it (CORS).

And three rules for bodies: at most `LARGEST_BODY` bytes, within `BODY_SECONDS`, and never compressed. Those of more
than `SMALL_BODY` bytes share two things, of which neither can be kept by a client that is slow on purpose: while they
come they hold at most `BUFFERED` bytes together, and the slowest gives way to others; once they are whole they are
worked on `LARGE_AT_ONCE` at a time, since each costs several times its size then.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from unitask_sandbox.failures import Refusal

LARGEST_BODY = 25 * 1024 * 1024
BODY_SECONDS = 30.0
DRAIN_SECONDS = 10.0
SMALL_BODY = 256 * 1024
LARGE_AT_ONCE = 4
BUFFERED = 8 * LARGEST_BODY
FAIR_SECONDS = 2.0  # that a body may take before it may have to give way

INNER_PATHS = "/_sandbox"
READING = frozenset({"GET", "HEAD", "OPTIONS"})
HEADERS = {"x-content-type-options": "nosniff", "x-frame-options": "DENY"}

Refuse = Callable[[Request, Refusal, dict[str, str]], Response]


class Guard:
    """Lets through what may come in; an ASGI middleware.

    Args:
        app: What is guarded.
        refuse: Makes an answer of a refusal.
        allowed_hosts: Host names of this sandbox, besides those of the machine itself.
    """

    def __init__(self, app: ASGIApp, refuse: Refuse, allowed_hosts: Iterable[str] = ()) -> None:
        self._app = app
        self._refuse = refuse
        self._allowed = frozenset(map(str.lower, allowed_hosts))
        self._buffer = _Buffer()
        self._places = threading.BoundedSemaphore(LARGE_AT_ONCE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        body = _Body(receive, self._buffer, self._places)
        closes = Headers(scope=scope).get("connection", "").lower() == "close"

        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                if body.has_ended:
                    body.release()  # its work is done; whoever reads the answer slowly keeps no place
                headers = MutableHeaders(raw=message.setdefault("headers", []))
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            elif closes and not message.get("more_body", False) and not body.has_ended:
                # The server will hang up, and would throw away an answer that the client has not read yet.
                await send({**message, "more_body": True})
                await body.drain()
                message = {"type": "http.response.body"}
            await send(message)

        try:
            self._check(scope)
            await self._app(scope, body.receive, marked)
        except Refusal as refusal:  # of this file; those of the application are answered there
            await self._refuse(Request(scope), refusal, {})(scope, receive, marked)
        finally:
            body.release()

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        if not is_ours(headers.get("host", ""), scope.get("server"), self._allowed):
            raise Refusal(421, f"the host {headers.get('host', '')[:100]!r} is not one of this sandbox; {HOW_TO_ALLOW}")
        reads = scope["method"] in READING and not scope["path"].startswith(INNER_PATHS)
        if not reads and is_from_elsewhere(headers):
            raise Refusal(403, "this request is from a web page of another origin; call the sandbox from a program")
        if headers.get("content-encoding", "identity").lower() != "identity":
            raise Refusal(415, "the body is compressed (content-encoding); send it as it is")
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length[:20]) > LARGEST_BODY:
            raise _too_large()


HOW_TO_ALLOW = "allow it with `unitask sandbox --allow-host NAME` or Settings(allowed_hosts=...)"


def is_ours(host: str, server: tuple[str, int | None] | None, allowed: Iterable[str]) -> bool:
    """Whether a Host header names this sandbox.

    An address that is written out always does: a page that came from there came from here. A name does when it is
    localhost or below it (RFC 6761), what the connection was made to (in-process that is what the client calls it), or
    allowed.

    Args:
        host: The header, with or without a port.
        server: What the connection was made to, as ASGI says it.
        allowed: More names, in small letters.
    """
    try:
        name = (urlsplit(f"//{host}").hostname or "").removesuffix(".")
    except ValueError:
        return False
    if name == "localhost" or name.endswith(".localhost") or name in allowed:
        return True
    return bool(name) and (_is_address(name) or (server is not None and name == server[0].lower()))


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, reachable from itself alone."""
    return host == "localhost" or (_is_address(host) and ip_address(host).is_loopback)


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def is_from_elsewhere(headers: Headers) -> bool:
    """Whether a browser sent a request for a page of another origin. Programs send neither of both headers."""
    if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        return True
    origin = headers.get("origin")
    return origin is not None and origin.partition("://")[2].lower() != headers.get("host", "").lower()


class _Buffer:
    """How many bytes of large bodies are held while they come. Any thread may call any method."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: dict[_Body, int] = {}

    def take(self, body: _Body, length: int) -> bool:
        """Let a body hold so many bytes; False when there is no room, and no slower one that can give way."""
        with self._lock:
            now = time.monotonic()
            while sum(self._held.values()) - self._held.get(body, 0) + length > BUFFERED:
                slow = [other for other in self._held if other is not body and other.may_give_way(now)]
                if not slow:
                    return False
                slowest = min(slow, key=lambda other: other.speed(now))
                slowest.give_way()
                del self._held[slowest]
            self._held[body] = length
            return True

    def release(self, body: _Body) -> None:
        """A body holds nothing any more."""
        with self._lock:
            self._held.pop(body, None)


class _Body:
    """The body of one request while it is read: counted, timed, and with others within what all may hold."""

    def __init__(self, receive: Receive, buffer: _Buffer, places: threading.BoundedSemaphore) -> None:
        self._receive = receive
        self._buffer = buffer
        self._places = places  # no asyncio.Semaphore: in-process, each request has an event loop of its own
        self._has_place = False
        self._gives_way = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: asyncio.Timeout | None = None
        self._begun = 0.0
        self._length = 0
        self.has_ended = False

    async def receive(self) -> Message:
        """The next piece.

        Raises:
            Refusal: 408, 413 or 503.
        """
        if self.has_ended:
            return await self._receive()
        if self._loop is None:
            self._loop, self._begun = asyncio.get_running_loop(), time.monotonic()
        try:
            async with asyncio.timeout(self._left()) as self._waiting:
                message = await self._receive()
        except TimeoutError:
            raise self._late() from None
        finally:
            self._waiting = None
        has_ended = message["type"] != "http.request" or not message.get("more_body", False)
        self._length += len(message.get("body", b""))
        if self._length > LARGEST_BODY:
            self.has_ended = has_ended
            raise _too_large()
        if self._length > SMALL_BODY:
            await self._until(lambda: self._buffer.take(self, self._length), self._left())
        self.has_ended = has_ended
        if has_ended and self._length > SMALL_BODY:
            await self._until(self._take_place, BODY_SECONDS)
        return message

    def may_give_way(self, now: float) -> bool:
        """Whether it has come for so long that a quicker one may have its room."""
        return not self.has_ended and now - self._begun >= FAIR_SECONDS

    def speed(self, now: float) -> float:
        """Bytes a second so far."""
        return self._length / max(now - self._begun, 0.001)

    def give_way(self) -> None:
        """End the reading; any thread may call it."""
        self._gives_way = True
        if self._loop is not None:
            with suppress(RuntimeError):  # its loop has ended
                self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        if self._waiting is not None:
            self._waiting.reschedule(0.0)

    def _left(self) -> float:
        return self._begun + BODY_SECONDS - time.monotonic()

    def _late(self) -> Refusal:
        if self._gives_way:
            return Refusal(503, "the body came slowly while others waited; send it again later")
        return Refusal(408, f"the body took longer than {BODY_SECONDS:g} seconds; send it again")

    async def _until(self, done: Callable[[], bool], seconds: float) -> None:
        end = time.monotonic() + seconds
        while self._gives_way or not done():
            if self._gives_way:
                raise self._late()
            if time.monotonic() > end:
                raise Refusal(503, "the sandbox is busy with other large bodies; send it again later")
            await asyncio.sleep(0.01)

    def _take_place(self) -> bool:
        self._has_place = self._places.acquire(blocking=False)
        return self._has_place

    async def drain(self) -> None:
        """Read on without keeping anything, for a while."""
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                while not self.has_ended:
                    message = await self._receive()
                    self.has_ended = message["type"] != "http.request" or not message.get("more_body", False)

    def release(self) -> None:
        """Let another one in."""
        self._buffer.release(self)
        if self._has_place:
            self._places.release()
            self._has_place = False


def _too_large() -> Refusal:
    return Refusal(413, f"the body is larger than {LARGEST_BODY} bytes; send large media as a URL")
