"""A transport that takes less CPU time than httpx: `AsyncClient(transport=FastTransport())`; see `make bench-scale`.

API calls are written to plain connections, without objects of httpx; llhttp (httptools) parses the answers. Output
files and requests through a proxy go over httpx as before. A request is written once and never repeated.
"""

import asyncio
import ssl
import time
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx

from .._connections import (
    IDLE,
    IDLE_FOR_SUBMISSIONS,
    Answer,
    AnswerError,
    AsyncRouting,
    Body,
    Exchange,
    Exchanger,
    Headers,
)
from .._core.effects import Progress
from .._environment import transport_settings
from ..errors import InvalidInput

try:
    import httptools
except ImportError as _missing:
    raise InvalidInput("the fast transport needs another package: pip install 'unitask[bulk]'") from _missing

LARGEST_HEAD = 64 * 1024  # bytes of an answer before its body
EYEBALLS = 0.25  # seconds until the next address of a host is tried


class _Server(NamedTuple):
    host: str
    port: int
    tls: bool
    authority: str

    @property
    def next_address(self) -> float | None:
        """Return the seconds until the next address of a name is tried; asyncio may leak a socket of such a race."""
        return None if self.host[-1:].isdigit() or ":" in self.host else EYEBALLS


class FastTransport(AsyncRouting, Exchanger):
    """Sends API calls over connections of its own.

    Args:
        proxy: The URL of a proxy for all requests; without it, as the environment says.

    Raises:
        InvalidInput: httptools is not installed, or the proxy or the certificates cannot be used.
    """

    def __init__(self, proxy: str | None = None) -> None:
        super().__init__(transport_settings(proxy))
        # by event loop; a list begins with the connection that has been idle for the longest time
        self._idle: dict[asyncio.AbstractEventLoop, list[_Connection]] = {}
        self._server_of = lru_cache(maxsize=64)(self._server)
        self._head_of = lru_cache(maxsize=64)(_head)

    def reaches(self, base: str) -> bool:
        """Return whether `exchange` sends to URLs that begin so: they use no proxy."""
        return self._server_of(base) is not None

    async def exchange(self, request: Exchange, answer: Answer, progress: Progress, seconds: float) -> None:
        """Send a request once, and read its answer into `answer`, within a time.

        Raises:
            TimeoutError: The time has passed.
            httpx.ConnectError: It did not leave.
            httpx.ReadError: The connection broke; what arrived is in `answer`.
            httpx.RemoteProtocolError: So did it, or the answer is not HTTP.
            AnswerError: The body is too large, or it cannot be unpacked.
        """
        found = self._server_of(request.base)
        if found is None:
            raise httpx.UnsupportedProtocol(f"{request.base} is reached through a proxy")
        (server, prefix), loop = found, asyncio.get_running_loop()
        deadline = loop.time() + seconds
        fresh = IDLE_FOR_SUBMISSIONS if request.method == "POST" else IDLE
        connection = self._reusable(self._idle.get(loop, []), server, fresh)
        if connection is None:
            async with asyncio.timeout(seconds):
                connection = await self._connect(server)
        try:
            await connection.send(self._encoded(request, server, prefix), answer, progress, deadline)
        except BaseException:
            connection.abort()
            raise
        if connection.is_reusable:
            self._idle.setdefault(loop, []).append(connection)
        else:
            connection.abort()

    async def aclose(self) -> None:
        """Close the idle connections of this event loop, and those of httpx."""
        for connection in self._idle.pop(asyncio.get_running_loop(), []):
            connection.abort()
        await super().aclose()

    def _server(self, base: str) -> "tuple[_Server, str] | None":
        """Return the server of a URL, and the path in it; None if it is reached through a proxy."""
        scheme, _, rest = base.partition("://")
        authority, slash, path = rest.partition("/")
        url = httpx.URL(f"{scheme}://{authority}")
        if self._settings.proxy_url_for(url):
            return None
        port = url.port or {"http": 80, "https": 443}[url.scheme]
        server = _Server(url.raw_host.decode("ascii"), port, url.scheme == "https", url.netloc.decode())
        return server, slash + path if path.isascii() else httpx.URL(base).raw_path.decode("ascii")

    def _encoded(self, request: Exchange, server: _Server, prefix: str) -> bytes:
        length = f"content-length: {len(request.body)}\r\n" if request.body or request.method != "GET" else ""
        head = self._head_of(server.authority, request.headers)
        return f"{request.method} {prefix}{request.path} HTTP/1.1\r\n{head}{length}\r\n".encode("ascii") + request.body

    def _reusable(self, idle: "list[_Connection]", server: _Server, fresh: float) -> "_Connection | None":
        """Return an open connection that was used within the last `fresh` seconds; close the old ones."""
        now = time.monotonic()
        while idle and now - idle[0].used > IDLE:
            idle.pop(0).abort()
        for place in range(len(idle) - 1, -1, -1):
            connection = idle[place]
            if now - connection.used > fresh:
                return None
            if connection.server == server:
                del idle[place]
                if not connection.closed:
                    return connection
        return None

    async def _connect(self, server: _Server) -> "_Connection":
        loop = asyncio.get_running_loop()
        for other in [other for other in self._idle if other.is_closed()]:
            del self._idle[other]  # the sockets are closed with it
        context = self._settings.verify if server.tls else None
        race: dict[str, Any] = {}
        if isinstance(loop, asyncio.BaseEventLoop):  # others, such as uvloop's, have no such argument
            race["happy_eyeballs_delay"] = server.next_address
        try:
            _, connection = await loop.create_connection(
                lambda: _Connection(server),
                server.host,
                server.port,
                ssl=context,
                **race,
            )
        except (OSError, ssl.CertificateError) as error:
            raise httpx.ConnectError(str(error)) from error
        if connection.closed:
            raise httpx.ConnectError("the server closed the connection before the request was sent")
        return connection


class _Connection(asyncio.Protocol):
    """A connection to a server: one request at a time."""

    if TYPE_CHECKING:
        _transport: asyncio.Transport
        _answer: Answer
        _done: asyncio.Future[None]
        _timer: asyncio.TimerHandle | None  # for several requests: a new one for each would cost more

    def __init__(self, server: _Server) -> None:
        self.server, self.used, self.is_reusable = server, 0.0, False
        self._parser = httptools.HttpResponseParser(self)
        self._waits = self._in_head = False
        self._head = 0  # bytes
        self._deadline, self._timer = 0.0, None

    @property
    def closed(self) -> bool:
        return self._transport.is_closing()

    def send(self, request: bytes, answer: Answer, progress: Progress, deadline: float) -> "asyncio.Future[None]":
        """Write a request; return a future that is done when its answer has arrived."""
        loop = asyncio.get_running_loop()
        self._answer, self._done, self._deadline = answer, loop.create_future(), deadline
        if self._timer is None or self._timer.when() > deadline:
            self._set_timer(loop)
        self._waits, self.is_reusable, self._head = True, False, 0
        progress.left = True
        self._transport.write(request)
        return self._done

    def _set_timer(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = loop.call_at(self._deadline, self._check_time, loop)

    def _check_time(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        if self._waits and self._deadline > loop.time():  # that of a later request
            self._set_timer(loop)
        elif self._waits:
            self._fail(TimeoutError())

    def abort(self) -> None:
        self._waits = False
        if self._timer is not None:
            self._timer.cancel()
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # of `create_connection`

    def connection_lost(self, exc: Exception | None) -> None:
        headers = self._answer.headers if self._waits and self._answer.status else {"content-length": ""}
        if exc is None and "content-length" not in headers and "transfer-encoding" not in headers:
            self._end()  # the body ends with the connection
        lost = "the server closed the connection before its answer was complete"
        self._fail(httpx.RemoteProtocolError(lost) if exc is None else httpx.ReadError(str(exc)))

    def data_received(self, data: bytes) -> None:
        if not self._waits:  # nothing was requested
            return self.abort()
        self._head += len(data) * self._in_head
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserCallbackError as error:
            self._fail(error.__context__ or error)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail(httpx.RemoteProtocolError(f"the answer is not HTTP: {error}"))
        if self._head > LARGEST_HEAD and self._in_head:
            self._fail(httpx.RemoteProtocolError(f"the head of the answer has more than {LARGEST_HEAD} bytes"))
        return None

    # what the parser calls

    def on_message_begin(self) -> None:
        if not self._waits:
            raise httpx.RemoteProtocolError("a second answer came")
        self._in_head = True
        self._answer.headers.clear()

    def on_header(self, name: bytes, value: bytes) -> None:
        headers, key, text = self._answer.headers, _name(name), value.decode("latin-1")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text

    def on_headers_complete(self) -> None:
        self._in_head = False
        status = self._parser.get_status_code()
        if status >= 200:  # those below come before the answer
            self._answer.status = status
            if coding := self._answer.headers.get("content-encoding"):
                self._answer.body = Body(coding)

    def on_body(self, chunk: bytes) -> None:
        self._answer.body.take(chunk)

    def on_message_complete(self) -> None:
        if self._answer.status:
            self.is_reusable = self._parser.should_keep_alive() and not self._transport.get_write_buffer_size()
            self._end()

    def _end(self) -> None:
        try:
            self._answer.body.end()
        except AnswerError as error:
            return self._fail(error)
        self.used, self._waits = time.monotonic(), False
        if not self._done.done():
            self._done.set_result(None)
        return None

    def _fail(self, error: BaseException) -> None:
        if self._waits and not self._done.done():
            self._done.set_exception(error)
        self.abort()


@lru_cache(maxsize=256)
def _name(name: bytes) -> str:
    """Return the name of a header in lower case."""
    return name.decode("latin-1").lower()


def _head(authority: str, headers: Headers) -> str:
    return "".join(f"{name}: {value}\r\n" for name, value in (("host", authority), *headers))
