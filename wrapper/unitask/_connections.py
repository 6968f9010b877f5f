"""Connection pools, the routing through proxies, and the limits of an answer.

A submission is not sent on a connection that was idle for long: if the server is closing it, the outcome is unknown.
"""

import asyncio
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar, cast

import httpx

from ._bounded import BoundedTransport
from ._core.effects import Progress
from ._core.range_download import DownloadAttemptError, Unpacking
from ._environment import USER_AGENT, Settings, through_proxy
from .errors import InvalidInput

ClientT = TypeVar("ClientT", httpx.Client, httpx.AsyncClient)
Headers: TypeAlias = tuple[tuple[str, str], ...]  # names and values

IN_FLIGHT = 32  # calls; httpx takes 0.7 ms of CPU for a call when 10 are in its pool, and 2.4 ms when 1,000 are
IDLE = 5.0  # seconds for which an idle connection is kept
IDLE_FOR_SUBMISSIONS = 1.0  # seconds
SLOWEST_SENDING = 50_000.0  # bytes a second; the time limit of a call grows with its body at this rate
LARGEST_ANSWER = 32 * 1024 * 1024  # bytes, unpacked; documented answers have some thousand
ENCODINGS = "gzip"  # what is unpacked here, with a limit
OWN_HEADERS = {
    *("accept-encoding", "authorization", "connection", "host", "transfer-encoding", "x-api-key"),
    *("content-encoding", "content-length", "content-type"),
}
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}", re.ASCII)


@dataclass(slots=True)
class Pools(Generic[ClientT]):
    """The HTTP clients of one process or event loop: for submissions, other requests, and output files."""

    submissions: ClientT
    calls: ClientT
    files: ClientT
    process: int = field(default_factory=os.getpid)
    # `IN_FLIGHT` coroutines at once make calls, and fetch files
    gate: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(IN_FLIGHT))
    file_gate: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(IN_FLIGHT))


def connect(
    kind: type[ClientT],
    transport: Callable[[float], Any],
    file_timeout: float,
    on_file_request: Callable[[httpx.Request], object],
) -> Pools[ClientT]:
    """Make the HTTP clients; `transport` makes a transport that keeps idle connections for so many seconds."""
    hooks, cookies = {"request": [on_file_request]}, CookieJar(DefaultCookiePolicy(allowed_domains=()))  # none is kept
    common: dict[str, Any] = {"cookies": cookies, "headers": {"user-agent": USER_AGENT}, "trust_env": False}
    files = kind(transport=transport(IDLE), timeout=file_timeout, event_hooks=hooks, **common)
    submissions, calls = (kind(transport=transport(idle), **common) for idle in (IDLE_FOR_SUBMISSIONS, IDLE))
    return Pools(submissions, calls, files)


def watching(progress: Progress) -> Callable[[str, Mapping[str, Any]], None]:
    """Return a function for httpcore's extension "trace" that keeps a `Progress` up to date."""

    def note(event: str, info: Mapping[str, Any]) -> None:
        if event.endswith("send_request_headers.started") and info["request"].method != b"CONNECT":
            progress.left = True
        elif progress.left is None:
            progress.left = False

    return note


def watching_async(progress: Progress) -> Callable[[str, Mapping[str, Any]], Awaitable[None]]:
    """Return the same for an async pool."""
    note = watching(progress)

    async def note_async(event: str, info: Mapping[str, Any]) -> None:
        note(event, info)

    return note_async


class AnswerError(Exception):
    """The body of an answer cannot be read; the message says why."""


class Body:
    """The body of an answer as it arrives: it is unpacked, and its size is limited. `coding`: how it is packed."""

    def __init__(self, coding: str = "") -> None:
        self._taken, self._wrong = bytearray(), ""
        is_packed = coding and coding.strip().lower().removeprefix("x-") in ("gzip", "deflate")
        self._unpacking = Unpacking() if is_packed else None

    @property
    def content(self) -> bytes:
        """What has arrived, unpacked."""
        return bytes(self._taken)

    def take(self, chunk: bytes) -> None:
        """Add the next bytes from the wire. Raise AnswerError if the body is too large."""
        try:
            for piece in (chunk,) if self._unpacking is None else self._unpacking.feed(chunk):
                self._taken += piece[: LARGEST_ANSWER + 1 - len(self._taken)]
                if len(self._taken) > LARGEST_ANSWER:
                    raise AnswerError(f"its body is larger than {LARGEST_ANSWER >> 20} MB")
        except DownloadAttemptError as trouble:
            self._unpacking, self._wrong = None, f"its body cannot be unpacked, {trouble}"
            self._taken += chunk

    def end(self) -> None:
        """Raise AnswerError if the packed body is cut off or damaged."""
        if self._wrong:
            raise AnswerError(self._wrong)
        if self._unpacking is not None and self._taken and not self._unpacking.is_whole:
            raise AnswerError("its packed body is cut off")


@dataclass(slots=True)
class Answer:
    """An answer as it arrives."""

    status: int = 0  # until the head has arrived
    headers: dict[str, str] = field(default_factory=dict[str, str])  # with names in lower case
    body: Body = field(default_factory=Body)


class Exchange(NamedTuple):
    """A request of an `Exchanger`."""

    method: str
    base: str  # scheme and host, or more of the URL; the same for many requests
    path: str  # what follows in the URL
    headers: Headers
    body: bytes


class Exchanger(ABC):
    """A transport with a shorter way for API calls than objects of httpx."""

    @abstractmethod
    def reaches(self, base: str) -> bool:
        """Return whether `exchange` can send to URLs that begin so."""

    @abstractmethod
    async def exchange(self, request: Exchange, answer: Answer, progress: Progress, seconds: float) -> None:
        """Send a request once, and read its answer into `answer`, within a time."""


def checked_headers(given: Mapping[str, str] | None) -> dict[str, str]:
    """Check `default_headers`: a value that HTTP cannot carry would fail while a submission is sent."""
    if not isinstance(cast("object", given), Mapping | None):
        raise InvalidInput(f"default_headers is of type {type(given).__name__}: give a dictionary of names and values")
    headers: dict[str, str] = {}
    for name, value in (given or {}).items():
        if not (isinstance(cast("object", name), str) and _HEADER.fullmatch(name)):
            raise InvalidInput(f"default_headers has the name {name!r:.80}: give the name of an HTTP header")
        if name.lower() in OWN_HEADERS:
            raise InvalidInput(f"default_headers has {name}, which the client sets itself: leave it out")
        is_text = isinstance(cast("object", value), str) and value.isascii() and value.isprintable()
        if not is_text or value != value.strip():
            raise InvalidInput(
                f"the value of {name} in default_headers has a line break, a space at an end or a character outside "
                "ASCII: give plain text"
            )
        headers[name.lower()] = value
    return headers


class SyncRouting(httpx.BaseTransport):
    """Sends each request directly or through its proxy; idle connections are kept for `idle` seconds."""

    def __init__(self, settings: Settings, idle: float = IDLE) -> None:
        self._settings, self._limits = settings, _limits(idle)
        self._by_proxy: dict[str | None, httpx.HTTPTransport] = {}

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        proxy = self._settings.proxy_url_for(request.url)
        if proxy not in self._by_proxy:
            made = BoundedTransport(verify=self._settings.verify, trust_env=False, proxy=proxy, limits=self._limits)
            self._by_proxy.setdefault(proxy, made)
        return self._by_proxy[proxy].handle_request(through_proxy(request) if proxy else request)

    def close(self) -> None:
        for transport in self._by_proxy.values():
            transport.close()


class AsyncRouting(httpx.AsyncBaseTransport):
    """`SyncRouting` for asyncio; `asyncio.timeout` limits a whole call."""

    def __init__(self, settings: Settings, idle: float = IDLE) -> None:
        self._settings, self._limits = settings, _limits(idle)
        self._by_proxy: dict[str | None, httpx.AsyncHTTPTransport] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        proxy = self._settings.proxy_url_for(request.url)
        if proxy not in self._by_proxy:
            self._by_proxy[proxy] = httpx.AsyncHTTPTransport(
                verify=self._settings.verify, trust_env=False, proxy=proxy, limits=self._limits
            )
        return await self._by_proxy[proxy].handle_async_request(through_proxy(request) if proxy else request)

    async def aclose(self) -> None:
        for transport in self._by_proxy.values():
            await transport.aclose()


def _limits(idle: float) -> httpx.Limits:
    return httpx.Limits(max_connections=None, max_keepalive_connections=IN_FLIGHT, keepalive_expiry=idle)
