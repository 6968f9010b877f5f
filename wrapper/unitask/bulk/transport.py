"""A transport that takes less CPU time than httpx: `AsyncClient(transport=FastTransport())`; see `make bench-scale`.

API calls are written to plain connections, without objects of httpx; llhttp (httptools) parses the answers. Output
files and requests through a proxy go over httpx as before. A request is written once and never repeated.
"""

import asyncio
import ssl
import time
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx

from .._connections import IDLE, IDLE_FOR_SUBMISSIONS, Answer, AnswerError, AsyncRouting, Body, Exchanger
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
    head: str  # the header that names it

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
        self._is_direct = lru_cache(maxsize=64)(self._reaches)

    def reaches(self, url: str) -> bool:
        """Return whether `exchange` sends to this URL: it uses no proxy."""
        return self._is_direct(url)

    async def exchange(
        self,
        request: tuple[str, str, Mapping[str, str], bytes],
        answer: Answer,
        progress: Progress,
        seconds: float,
    ) -> None:
        """Send a request (method, URL, headers and body) once, and read its answer into `answer`, within a time.

        Raises:
            TimeoutError: The time has passed.
            httpx.ConnectError: It did not leave.
            httpx.ReadError: The connection broke; what arrived is in `answer`.
            httpx.RemoteProtocolError: So did it, or the answer is not HTTP.
            AnswerError: The body is too large, or it cannot be unpacked.
        """
        method, url, headers, body = request
        scheme, authority, path = _split(url)
        server = self._server_of(scheme, authority)
        if server is None:
            raise httpx.UnsupportedProtocol(f"{scheme}://{authority} is reached through a proxy")
        fresh = IDLE_FOR_SUBMISSIONS if method == "POST" else IDLE
        deadline = asyncio.get_running_loop().time() + seconds
        connection = self._reusable(server, fresh)
        if connection is None:
            async with asyncio.timeout(seconds):
                connection = await self._connect(server)
        try:
            await connection.send(_encoded(method, path, server, headers, body), answer, progress, deadline)
        except BaseException:
            connection.abort()
            raise
        if connection.is_reusable:
            self._idle.setdefault(asyncio.get_running_loop(), []).append(connection)
        else:
            connection.abort()

    async def aclose(self) -> None:
        """Close the idle connections of this event loop, and those of httpx."""
        for connection in self._idle.pop(asyncio.get_running_loop(), []):
            connection.abort()
        await super().aclose()

    def _reaches(self, url: str) -> bool:
        return self._server_of(*_split(url)[:2]) is not None

    def _server(self, scheme: str, authority: str) -> _Server | None:
        url = httpx.URL(f"{scheme}://{authority}")
        if self._settings.proxy_url_for(url):
            return None
        port = url.port or {"http": 80, "https": 443}[url.scheme]
        return _Server(url.raw_host.decode("ascii"), port, url.scheme == "https", f"host: {url.netloc.decode()}\r\n")

    def _reusable(self, server: _Server, fresh: float) -> "_Connection | None":
        """Return an open connection that was used within the last `fresh` seconds; close the old ones."""
        idle, now = self._idle.get(asyncio.get_running_loop(), []), time.monotonic()
        while idle and (idle[0].closed or now - idle[0].used > IDLE):
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

    async def send(self, request: bytes, answer: Answer, progress: Progress, deadline: float) -> None:
        """Write a request, and wait until its answer has arrived."""
        if self.closed:
            raise httpx.ConnectError("the server closed the connection before the request was sent")
        loop = asyncio.get_running_loop()
        self._answer, self._done, self._deadline = answer, loop.create_future(), deadline
        if self._timer is None or self._timer.when() > deadline:
            self._set_timer(loop)
        self._waits, self.is_reusable, self._head = True, False, 0
        progress.left = True
        self._transport.write(request)
        del request  # it has the key, which a traceback with variables would show
        await self._done

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
        headers, key, text = self._answer.headers, name.decode("latin-1").lower(), value.decode("latin-1")
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


def _split(url: str) -> tuple[str, str, str]:
    """Return scheme, authority, and path with query."""
    scheme, _, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    if not path.isascii():  # of a base URL
        return scheme, authority, httpx.URL(url).raw_path.decode("ascii")
    return scheme, authority, slash + path


def _encoded(method: str, path: str, server: _Server, headers: Mapping[str, str], body: bytes) -> bytes:
    lines = [f"{method} {path} HTTP/1.1\r\n", server.head, *(f"{name}: {value}\r\n" for name, value in headers.items())]
    if body or method != "GET":
        lines.append(f"content-length: {len(body)}\r\n")
    return "".join([*lines, "\r\n"]).encode("ascii") + body
