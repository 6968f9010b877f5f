"""Middleware before every operation: who may send requests, and how much.

A web page that a user has open must not be able to drive a server on the same machine. So the Host must be a name of
this sandbox (`is_ours`), which prevents DNS rebinding, and a request from a page of another origin is refused unless it
only reads what the API shows (`is_from_elsewhere`), or the origin may call the API (`Settings.allowed_origins`).
Without such origins no answer allows another origin to read it.

Bodies of more than `SMALL_BODY` bytes hold at most `BUFFERED` bytes together until they are answered.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from email.utils import formatdate
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
BUFFERED = 4 * LARGEST_BODY

INNER_PATHS = "/_sandbox"
SNAPSHOT_PATH = f"{INNER_PATHS}/snapshot"
LARGEST_SNAPSHOT = 2**30
READING = frozenset({"GET", "HEAD", "OPTIONS"})
HEADERS = {"server": "unitask-sandbox", "x-content-type-options": "nosniff", "x-frame-options": "DENY"}
HOW_TO_ALLOW = "allow it with `unitask sandbox --allow-host NAME` or Settings(allowed_hosts=...)"
HOW_TO_ALLOW_ORIGIN = "allow its origin with `unitask sandbox --allow-origin ORIGIN` or Settings(allowed_origins=...)"
FROM_ELSEWHERE = "this request is from a web page of another origin; call the sandbox from a program"
TOO_LARGE = "the body is larger than {} bytes; send large media as a URL"

Refuse = Callable[[Request, Refusal, dict[str, str]], Response]


class Guard:
    """Refuses requests that may not come in; an ASGI middleware."""

    def __init__(
        self,
        app: ASGIApp,
        refuse: Refuse,
        allowed_hosts: Iterable[str],
        allowed_origins: Collection[str] = (),
        public_url: str | None = None,
    ) -> None:
        self._app, self._refuse = app, refuse
        public = urlsplit(public_url) if public_url else None
        self._public = public and public.netloc.lower()  # what the origin of our own page shows behind a proxy
        ours = [public.hostname or ""] if public else []
        self._allowed = frozenset(map(str.lower, (*allowed_hosts, *ours)))
        self._origins = allowed_origins
        self._arriving: dict[_Body, int] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        body = _Body(receive, self._arriving, _largest(scope))
        closes = Headers(scope=scope).get("connection", "").lower() == "close"

        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                if body.has_ended:
                    body.release()  # a client may read its answer slowly
                headers = MutableHeaders(raw=message.setdefault("headers", []))
                now = scope["app"].state.sandbox.clock()
                for name, value in {**HEADERS, "date": formatdate(now, usegmt=True)}.items():
                    headers.setdefault(name, value)
            elif closes and not message.get("more_body", False) and not body.has_ended:
                # The server closes the connection, and would discard an answer that the client has not read yet.
                await send({**message, "more_body": True})
                await body.drain()
                message = {"type": "http.response.body"}
            await send(message)

        try:
            self._check(scope)
            await self._app(scope, body.receive, marked)
        except Refusal as refusal:  # of this file; the application answers its own
            await self._refuse(Request(scope), refusal, {})(scope, receive, marked)
        finally:
            body.release()

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        if not is_ours(headers.get("host", ""), scope.get("server"), self._allowed):
            raise Refusal(421, f"the host {headers.get('host', '')[:100]!r} is not one of this sandbox; {HOW_TO_ALLOW}")
        is_inner = scope["path"].startswith(INNER_PATHS)
        reads = scope["method"] in READING and not is_inner
        if not reads and is_from_elsewhere(headers, self._public):
            if is_inner:
                raise Refusal(403, FROM_ELSEWHERE)
            if "*" not in self._origins and headers.get("origin") not in self._origins:
                raise Refusal(403, f"{FROM_ELSEWHERE}, or {HOW_TO_ALLOW_ORIGIN}")
        if headers.get("content-encoding", "identity").lower() != "identity":
            raise Refusal(415, "the body is compressed (content-encoding); send it as it is")
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length[:20]) > _largest(scope):
            raise Refusal(413, TOO_LARGE.format(_largest(scope)))


def is_ours(host: str, server: tuple[str, int | None] | None, allowed: Iterable[str]) -> bool:
    """Return whether a Host header names this sandbox.

    An IP address always does: DNS has no part in it. A name does when it is localhost or below it (RFC 6761), the name
    that the connection was made to (in-process that is what the client calls it), or allowed.
    """
    try:
        name = (urlsplit(f"//{host}").hostname or "").removesuffix(".")
    except ValueError:
        return False
    if name == "localhost" or name.endswith(".localhost") or name in allowed:
        return True
    return bool(name) and (_is_address(name) or (server is not None and name == server[0].lower()))


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine, reachable from itself only."""
    return host == "localhost" or (_is_address(host) and ip_address(host).is_loopback)


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _largest(scope: Scope) -> int:
    return LARGEST_SNAPSHOT if scope["path"] == SNAPSHOT_PATH else LARGEST_BODY


def is_from_elsewhere(headers: Headers, public: str | None = None) -> bool:
    """Return whether a browser sent a request for a page of another origin. Programs send neither of both headers."""
    if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        return True
    origin = headers.get("origin")
    return origin is not None and origin.partition("://")[2].lower() not in (headers.get("host", "").lower(), public)


class _Body:
    """The body of one request while it is read."""

    def __init__(self, receive: Receive, arriving: "dict[_Body, int]", largest: int) -> None:
        self._receive, self._arriving = receive, arriving  # bytes of each large body
        self._largest = largest
        self._end: float | None = None
        self._length = 0
        self.has_ended = False

    async def receive(self) -> Message:
        """Return the next piece."""
        if self.has_ended:
            return await self._receive()
        self._end = self._end or time.monotonic() + BODY_SECONDS
        try:
            async with asyncio.timeout(self._end - time.monotonic()):
                message = await self._receive()
        except TimeoutError:
            raise Refusal(408, f"the body took longer than {BODY_SECONDS:g} seconds; send it again") from None
        self._length += len(message.get("body", b""))
        if self._length > SMALL_BODY and self._largest != LARGEST_SNAPSHOT:  # which goes to the disk as it comes
            self._arriving[self] = self._length
        self.has_ended = message["type"] != "http.request" or not message.get("more_body", False)
        if self._length > self._largest:
            raise Refusal(413, TOO_LARGE.format(self._largest))
        if sum([*self._arriving.values()]) > BUFFERED and self in self._arriving:
            raise Refusal(503, "the sandbox is busy with other large bodies; send it again later")
        return message

    async def drain(self) -> None:
        """Read on for a while without storing anything."""
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                while not self.has_ended:
                    message = await self._receive()
                    self.has_ended = message["type"] != "http.request" or not message.get("more_body", False)

    def release(self) -> None:
        """Stop counting this body."""
        self._arriving.pop(self, None)
