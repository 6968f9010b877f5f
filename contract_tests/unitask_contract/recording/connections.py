"""Connections of a client and to the provider: bytes go on as they arrive, and a parser reads a copy of them.

Of a request, only the Host header is changed; of an answer, nothing. A request is sent once: a connection to the
provider is opened before anything of it is sent, and a connection that breaks later ends the connection of the client,
as the provider would have done.
"""

import asyncio
import re
import selectors
import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import NamedTuple, Protocol

import httptools
import httpx
from unitask_contract.recording.messages import Answer, Message
from unitask_contract.recording.redaction import Sent

LARGEST_HEAD = 64 * 1024  # bytes of a request before its body
MOST_UNSENT = 64  # pieces of a request that are kept while a connection is opened
EYEBALLS = 0.25  # seconds until the next address of a name is tried
BY_CLIENT = "the client closed the connection before the answer was complete"
BY_END = "the recording ended before the answer was complete"
BY_PROVIDER = "the provider closed the connection before its answer was complete"
NOT_HTTP = "the answer is not HTTP/1.1"
_HOST_HEADER = re.compile(rb"(?i)(\r\nhost:[ \t]*)[^\r\n]*")
_HEAD_END = re.compile(rb"\r?\n\r?\n")
_EMPTY_LINE = re.compile(rb"(?<=\n\r\n)|(?<=\A\n)|(?<=\A\r\n)")  # its beginning may have come before
_UPGRADE_HEADER = re.compile(rb"(?i)\r\nupgrade:[^\r\n]*")  # the parser would leave out the body of its request


class Server(NamedTuple):
    """A host of the provider."""

    host: str
    port: int
    tls: ssl.SSLContext | None
    authority: bytes
    prefix: bytes  # of each path

    @classmethod
    def of(cls, base_url: str, context: ssl.SSLContext) -> "Server":
        url = httpx.URL(base_url)
        port = url.port or {"http": 80, "https": 443}[url.scheme]
        tls = context if url.scheme == "https" else None
        return cls(url.raw_host.decode("ascii"), port, tls, url.netloc, url.raw_path.rstrip(b"/"))

    def head(self, head: bytes) -> bytes:
        """Return the head of a request to this host."""
        head = _HOST_HEADER.sub(lambda found: found[1] + self.authority, head)
        return head.replace(b" ", b" " + self.prefix, 1) if self.prefix else head


class Exchange:
    """A request and its answer."""

    def __init__(self, request: Message, method: str, server: Server, now: float) -> None:
        self.request, self.method, self.server, self.began = request, method, server, now
        self.started = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        self.answer = Answer(method == "HEAD")
        self.redacted: Sent | None = None  # the request
        self.is_recorded = False

    @property
    def has_ended(self) -> bool:
        """Whether the answer is whole, and no more of the request can be read."""
        return self.answer.is_whole and self.request.is_over


class Recorder(Protocol):
    """What records the exchanges of connections."""

    clients: "set[Client]"
    is_ending: bool

    def server_of(self, target: bytes) -> Server:
        """Return the host for the target of a request."""
        ...

    def redact_request(self, exchange: Exchange) -> None:
        """Redact a request that is forwarded."""
        ...

    def record(self, exchange: Exchange, now: float, lost: str, then: Callable[[], object]) -> None:
        """Record an exchange, whose answer may be lost for a reason; call `then` when its file is written."""
        ...

    def say_once(self, line: str) -> None:
        """Report something the first time that it happens."""
        ...

    def left(self, client: "Client") -> None:
        """Forget a connection that is closed."""
        ...


class Upstream(asyncio.Protocol):
    """A connection to a host of the provider, for the requests of one client connection."""

    transport: asyncio.Transport

    def __init__(self, client: "Client", server: Server) -> None:
        self._client, self._server = client, server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # of `create_connection`
        self._client.opened(self._server, self)

    def is_gone(self) -> bool:
        """Return whether an idle connection cannot be used: something has arrived, which can only be its end."""
        if self.transport.is_closing():
            return True
        with selectors.DefaultSelector() as selector:  # `select` takes no number from 1024 on
            selector.register(self.transport.get_extra_info("socket"), selectors.EVENT_READ)
            return bool(selector.select(0))

    def data_received(self, data: bytes) -> None:
        self._client.answer_received(self, data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._client.upstream_lost(self, exc)

    def pause_writing(self) -> None:
        self._client.transport.pause_reading()

    def resume_writing(self) -> None:
        self._client.transport.resume_reading()


class Client(asyncio.Protocol):
    """A connection of a client. Its requests are answered one after the other."""

    transport: asyncio.Transport

    def __init__(self, proxy: Recorder) -> None:
        self._proxy = proxy
        self._time = asyncio.get_running_loop().time
        self._rest = b""  # was received, and is not forwarded yet
        self._left = 0  # bytes of the body that are to come
        self._exchange: Exchange | None = None
        self._upstreams: dict[Server, Upstream] = {}
        self._unsent: list[bytes] = []  # while a connection is opened
        self._opening: asyncio.Task[None] | None = None
        self._has_ended = False  # no further request comes

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # of `create_server`
        self._proxy.clients.add(self)

    def data_received(self, data: bytes) -> None:
        self._rest += data
        self._go_on()

    def eof_received(self) -> bool:
        """Keep the connection for the answer to a whole request: a client that sends no more may still read."""
        self._has_ended = True
        return self._exchange is not None and self._exchange.request.is_over

    def connection_lost(self, exc: Exception | None) -> None:
        if self._opening is not None:
            self._opening.cancel()
        for upstream in self._upstreams.values():
            upstream.transport.abort()
        self._record(BY_CLIENT, partial(self._proxy.left, self))

    def pause_writing(self) -> None:
        for upstream in self._upstreams.values():
            upstream.transport.pause_reading()

    def resume_writing(self) -> None:
        for upstream in self._upstreams.values():
            upstream.transport.resume_reading()

    def end(self) -> None:
        """Close the connection unless an exchange is in flight."""
        if self._exchange is None:
            self.transport.close()

    def abort(self) -> None:
        """Close the connection at the end of the recording."""
        self._record(BY_END, self.transport.abort)

    # the request

    def _go_on(self) -> None:
        """Forward what has arrived of the request, or begin the next one."""
        while self._rest and not self.transport.is_closing():
            if self._exchange is None:
                if not self._begin():
                    return None
            elif self._exchange.request.is_whole or self._exchange.is_recorded:  # the next one waits for the answer
                return self.transport.pause_reading()
            else:
                self._forward(self._exchange, self._taken(self._exchange.request))
        return None

    def _begin(self) -> bool:
        """Forward the head of a request; return whether it is complete."""
        found = _HEAD_END.search(self._rest)
        if found is None and len(self._rest) <= LARGEST_HEAD and self._rest[0] != 0x16:  # the first byte of TLS
            return False
        end = found.end() if found else 0
        head, self._rest = self._rest[:end], self._rest[end:]
        request = Message(httptools.HttpRequestParser)
        parser, now = request.parser, self._time()
        request.feed(_UPGRADE_HEADER.sub(b"", head), now)
        if b"\n" in head.replace(b"\r\n", b""):
            return self._refuse("a request is not HTTP/1.1: end each line of its head with CR LF instead of LF alone")
        if found is None or request.is_broken:
            return self._refuse("a request is not HTTP/1.1; the base URL of this proxy begins with http://")
        if not request.target.startswith(b"/"):
            return self._refuse("a request is for an HTTP proxy; give the client this address as its base URL instead")
        method = parser.get_method().decode("ascii")
        self._left = int(request.headers.get("content-length", 0))
        server = self._proxy.server_of(request.target)
        self._exchange = Exchange(request, method, server, now)
        if server in self._upstreams and self._upstreams[server].is_gone():
            self._upstreams.pop(server).transport.abort()
        if server not in self._upstreams:  # reading goes on meanwhile: nothing is sent for a client that reset it
            self._opening = asyncio.get_running_loop().create_task(self._open(server))
        self._forward(self._exchange, server.head(head))
        return True

    def _taken(self, request: Message) -> bytes:
        """Take the bytes of a request from what has arrived."""
        now = self._time()
        if self._left:
            taken = self._rest[: self._left]
            self._left -= len(taken)
            request.feed(taken, now)
        else:  # in chunks: the parser does not say where the message ends, only that it does, behind an empty line
            parts = _EMPTY_LINE.split(self._rest)
            count = 0
            while count < len(parts) and not request.is_whole:
                request.feed(parts[count], now)
                count += 1
            taken = b"".join(parts[:count])
        self._rest = self._rest[len(taken) :]
        return taken

    def _refuse(self, reason: str) -> bool:
        self._proxy.say_once(f"refused: {reason}")
        text = reason.encode()
        head = (
            b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\nconnection: close\r\ncontent-length: %d\r\n\r\n"
        )
        self.transport.write(head % len(text) + text)
        self.transport.close()
        return False

    def _forward(self, exchange: Exchange, data: bytes) -> None:
        """Send bytes of a request, or keep them until a connection is open; redact it while the provider works."""
        if self._opening is not None:
            self._unsent.append(data)
            if len(self._unsent) >= MOST_UNSENT:
                self.transport.pause_reading()
        elif exchange.server in self._upstreams:
            self._upstreams[exchange.server].transport.write(data)
        if exchange.request.is_whole:
            self._proxy.redact_request(exchange)
        self._finish()

    async def _open(self, server: Server) -> None:
        """Open a connection to the provider."""
        loop, made = asyncio.get_running_loop(), partial(Upstream, self, server)
        delay = EYEBALLS if server.host[-1].isalpha() else None
        try:
            await loop.create_connection(made, server.host, server.port, ssl=server.tls, happy_eyeballs_delay=delay)
        except (OSError, ssl.CertificateError) as error:
            reason = f"no connection to {server.authority.decode()}: {error}"
            self._proxy.say_once(reason)
            self._fail(reason)

    def opened(self, server: Server, upstream: Upstream) -> None:
        """Send what waits for a connection to the provider."""
        if self.transport.is_closing():
            return upstream.transport.abort()
        self._upstreams[server], self._opening = upstream, None
        upstream.transport.writelines(self._unsent)
        self._unsent.clear()
        return self.transport.resume_reading()

    # the answer

    def answer_received(self, upstream: Upstream, data: bytes) -> None:
        """Read a piece of the answer, and forward it."""
        exchange = self._exchange
        if exchange is None or exchange.answer.is_whole or self._upstreams.get(exchange.server) is not upstream:
            return upstream.transport.abort()  # it answers nothing
        exchange.answer.feed(data, self._time())
        if exchange.has_ended:
            return self._record(then=partial(self._pass, data))
        return self._pass(data)

    def _pass(self, data: bytes) -> None:
        self.transport.write(data)
        self._finish()

    def upstream_lost(self, upstream: Upstream, error: Exception | None) -> None:
        """End what depends on a connection that is closed."""
        self._upstreams = {server: other for server, other in self._upstreams.items() if other is not upstream}
        exchange = self._exchange
        if exchange is None or exchange.server in self._upstreams or self._opening is not None:
            return
        if exchange.is_recorded:  # what has come goes on when the file is written
            return
        is_end = error is None and exchange.answer.ends_with_connection
        self._fail("" if is_end else BY_PROVIDER)

    def _finish(self) -> None:
        """Get ready for the next request when this one is forwarded and answered."""
        exchange = self._exchange
        if exchange is None or not exchange.has_ended:
            return None
        if not exchange.is_recorded:  # a refusal that came before the body of its request
            return self._record(then=self._finish)
        is_last = self._has_ended or exchange.request.is_broken or self._proxy.is_ending
        if is_last or not exchange.answer.keeps_alive:
            self.transport.close()
        else:
            self._exchange = None
            self.transport.resume_reading()
            if self._rest:
                self._go_on()
        return None

    def _fail(self, reason: str) -> None:
        """Close the connection of the client, as the provider did."""
        self._record(reason, self.transport.close)

    def _record(self, lost: str = "", then: Callable[[], object] = lambda: None) -> None:
        """Record the exchange, if there is one that is not recorded yet, and call `then` behind it."""
        exchange = self._exchange
        if exchange is None or exchange.is_recorded:
            then()
            return
        exchange.is_recorded = True
        lost = "" if exchange.answer.is_whole else lost
        self._proxy.record(exchange, self._time(), NOT_HTTP if exchange.answer.is_broken else lost, then)
