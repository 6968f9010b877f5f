"""A proxy before a provider: bytes go on as they arrive, and each exchange is recorded.

A parser reads a copy of the bytes. Of a request, only the Host header is changed; of an answer, nothing. A request is
sent once: a connection to the provider is opened before anything of it is sent, and a connection that breaks later ends
the connection of the client, as the provider would have done. An exchange is written before the last byte of its answer
goes on, so a process that is killed loses at most the exchanges in flight.
"""

import asyncio
import contextlib
import errno
import re
import select
import signal
import ssl
import threading
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import httptools
import httpx
from unitask_contract import bundle
from unitask_contract.connecting import CannotRun, is_loopback
from unitask_contract.recording.folder import Recording
from unitask_contract.recording.live import Check
from unitask_contract.recording.messages import Answer, Message, Unrecorded
from unitask_contract.recording.redaction import Redactor, Sent

HOST = "127.0.0.1"
LARGEST_HEAD = 64 * 1024  # bytes of a request before its body
EYEBALLS = 0.25  # seconds until the next address of a name is tried
GRACE = 30.0  # seconds that exchanges in flight may take after Ctrl-C
BY_CLIENT = "the client closed the connection before the answer was complete"
BY_PROVIDER = "the provider closed the connection before its answer was complete"
NOT_HTTP = "the answer is not HTTP/1.1"
_HOST_HEADER = re.compile(rb"(?i)(\r\nhost:[ \t]*)[^\r\n]*")
Say = Callable[[str], object]


class _Server(NamedTuple):
    """A host of the provider."""

    host: str
    port: int
    tls: ssl.SSLContext | None
    authority: bytes
    prefix: bytes  # of each path

    @classmethod
    def of(cls, base_url: str, context: ssl.SSLContext) -> "_Server":
        url = httpx.URL(base_url)
        port = url.port or {"http": 80, "https": 443}[url.scheme]
        tls = context if url.scheme == "https" else None
        return cls(url.raw_host.decode("ascii"), port, tls, url.netloc, url.raw_path.rstrip(b"/"))

    def head(self, head: bytes) -> bytes:
        """Return the head of a request to this host."""
        head = _HOST_HEADER.sub(lambda found: found[1] + self.authority, head)
        return head.replace(b" ", b" " + self.prefix, 1) if self.prefix else head


class _Exchange:
    """A request and its answer."""

    def __init__(self, request: Message, method: str, server: _Server, now: float) -> None:
        self.request, self.method, self.server, self.began = request, method, server, now
        self.started = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        self.answer = Answer(method == "HEAD")
        self.redacted: Sent | None = None  # the request
        self.is_recorded = False


class _Upstream(asyncio.Protocol):
    """A connection to a host of the provider, for the requests of one client connection."""

    transport: asyncio.Transport

    def __init__(self, client: "_Client", server: _Server) -> None:
        self._client, self._server = client, server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # of `create_connection`
        self._client.opened(self._server, self)

    def is_gone(self) -> bool:
        """Return whether an idle connection cannot be used: something has arrived, which can only be its end."""
        with contextlib.suppress(ValueError):  # a number that `select` does not take
            return self.transport.is_closing() or bool(
                select.select([self.transport.get_extra_info("socket")], [], [], 0)[0]
            )
        return False

    def data_received(self, data: bytes) -> None:
        self._client.answer_received(self, data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._client.upstream_lost(self, exc)

    def pause_writing(self) -> None:
        self._client.transport.pause_reading()

    def resume_writing(self) -> None:
        self._client.transport.resume_reading()


class _Client(asyncio.Protocol):
    """A connection of a client. Its requests are answered one after the other."""

    transport: asyncio.Transport

    def __init__(self, proxy: "Proxy") -> None:
        self._proxy = proxy
        self._time = asyncio.get_running_loop().time
        self._rest = b""  # was received, and is not forwarded yet
        self._left = 0  # bytes of the body that are to come
        self._exchange: _Exchange | None = None
        self._upstreams: dict[_Server, _Upstream] = {}
        self._unsent: list[bytes] = []  # while a connection is opened
        self._opening: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # of `create_server`
        self._proxy.clients.add(self)

    def data_received(self, data: bytes) -> None:
        self._rest += data
        self._go_on()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._opening is not None:
            self._opening.cancel()
        for upstream in self._upstreams.values():
            upstream.transport.abort()
        self._record(lost=BY_CLIENT)
        self._proxy.left(self)

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

    # the request

    def _go_on(self) -> None:
        """Forward what has arrived of the request, or begin the next one."""
        while self._rest and not self.transport.is_closing():
            if self._exchange is None:
                if not self._begin():
                    return None
            elif self._exchange.request.is_whole:  # the next one waits for the answer
                return self.transport.pause_reading()
            else:
                self._forward(self._exchange, self._taken(self._exchange.request))
        return None

    def _begin(self) -> bool:
        """Forward the head of a request; return whether it is complete."""
        end = self._rest.find(b"\r\n\r\n") + 4
        if end < 4 and len(self._rest) <= LARGEST_HEAD and self._rest[0] != 0x16:  # the first byte of TLS
            return False
        head, self._rest = self._rest[:end], self._rest[end:]
        request = Message(httptools.HttpRequestParser)
        parser, now = request.parser, self._time()
        request.feed(head, now)
        if end < 4 or request.is_broken:
            return self._refuse("a request is not HTTP/1.1; the base URL of this proxy begins with http://")
        if not request.target.startswith(b"/"):
            return self._refuse("a request is for an HTTP proxy; give the client this address as its base URL instead")
        method = parser.get_method().decode("ascii")
        self._left = int(request.headers.get("content-length", 0))
        server = self._proxy.server_of(request.target)
        self._exchange = _Exchange(request, method, server, now)
        if server in self._upstreams and self._upstreams[server].is_gone():
            self._upstreams.pop(server).transport.abort()
        if server not in self._upstreams:  # reading goes on meanwhile: nothing is sent for a client that has left
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
        else:  # in chunks: the parser does not say where the message ends, only that it does, at the end of a line
            lines = self._rest.splitlines(keepends=True)
            count = 0
            while count < len(lines) and not request.is_whole:
                request.feed(lines[count], now)
                count += 1
            taken = b"".join(lines[:count])
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

    def _forward(self, exchange: _Exchange, data: bytes) -> None:
        """Send bytes of a request, or keep them until a connection is open; redact it while the provider works."""
        if self._opening is not None:
            self._unsent.append(data)
        elif exchange.server in self._upstreams:
            self._upstreams[exchange.server].transport.write(data)
        if exchange.request.is_whole:
            self._proxy.redact_request(exchange)
        self._finish()

    async def _open(self, server: _Server) -> None:
        """Open a connection to the provider."""
        loop, made = asyncio.get_running_loop(), partial(_Upstream, self, server)
        delay = EYEBALLS if server.host[-1].isalpha() else None
        try:
            await loop.create_connection(made, server.host, server.port, ssl=server.tls, happy_eyeballs_delay=delay)
        except (OSError, ssl.CertificateError) as error:
            reason = f"no connection to {server.authority.decode()}: {error}"
            self._proxy.say_once(reason)
            self._fail(reason)

    def opened(self, server: _Server, upstream: _Upstream) -> None:
        """Send what waits for a connection to the provider."""
        if self.transport.is_closing():
            return upstream.transport.abort()
        self._upstreams[server], self._opening = upstream, None
        upstream.transport.writelines(self._unsent)
        return self._unsent.clear()

    # the answer

    def answer_received(self, upstream: _Upstream, data: bytes) -> None:
        """Read a piece of the answer, and forward it."""
        exchange = self._exchange
        if exchange is None or exchange.is_recorded or self._upstreams.get(exchange.server) is not upstream:
            return upstream.transport.abort()  # it answers nothing
        exchange.answer.feed(data, self._time())
        if exchange.answer.is_whole:
            self._record()
        self.transport.write(data)
        return self._finish()

    def upstream_lost(self, upstream: _Upstream, error: Exception | None) -> None:
        """End what depends on a connection that is closed."""
        self._upstreams = {server: other for server, other in self._upstreams.items() if other is not upstream}
        exchange = self._exchange
        if exchange is None or exchange.server in self._upstreams or self._opening is not None:
            return
        is_end = error is None and exchange.answer.ends_with_connection
        self._fail("" if is_end else BY_PROVIDER)

    def _finish(self) -> None:
        """Get ready for the next request when this one is forwarded and answered."""
        exchange = self._exchange
        if exchange is None or not exchange.is_recorded or not exchange.request.is_whole:
            return
        if not exchange.answer.keeps_alive or self._proxy.is_ending:
            self.transport.close()
        else:
            self._exchange = None
            self.transport.resume_reading()
            if self._rest:
                self._go_on()

    def _fail(self, reason: str) -> None:
        """Close the connection of the client, as the provider did."""
        self._record(reason)
        self.transport.close()

    def _record(self, lost: str = "") -> None:
        exchange = self._exchange
        if exchange is not None and not exchange.is_recorded:
            exchange.is_recorded = True
            self._proxy.record(exchange, self._time(), NOT_HTTP if exchange.answer.is_broken else lost)


class Proxy:
    """Forwards requests to a provider, and records the exchanges.

    Args:
        base_url: Of the provider.
        context: For connections by TLS.
        redactor: Removes what is not to be kept.
        check: Checks each exchange against the contract.
        say: Called with each line for the user.
    """

    def __init__(self, base_url: str, context: ssl.SSLContext, redactor: Redactor, check: Check, say: Say) -> None:
        self._server = _Server.of(base_url, context)
        self._others: dict[bytes, _Server] = {}  # hosts of single paths, by path
        if base_url == bundle.document()["servers"][0]["url"]:
            paths: dict[str, dict[str, Any]] = bundle.document()["paths"]
            urls = {path: item["servers"][0]["url"] for path, item in paths.items() if "servers" in item}
            self._others = {path.encode(): _Server.of(url, context) for path, url in urls.items()}
        self._base_url, self._redactor, self._check, self._say = base_url, redactor, check, say
        self._recording: Recording | None = None
        self._said: set[str] = set()
        self._stop, self._left = asyncio.Event(), asyncio.Event()
        self.clients: set[_Client] = set()
        self.is_ending = False
        self.count = self.unrecorded = 0

    def server_of(self, target: bytes) -> _Server:
        """Return the host for the target of a request."""
        return self._others.get(target.partition(b"?")[0], self._server) if self._others else self._server

    async def serve(self, folder: Path, port: int, on_ready: Callable[[str], object]) -> None:
        """Serve until `stop` is called.

        Args:
            folder: Of the recording; new or empty.
            port: On this machine; 0 takes a free one.
            on_ready: Called with the URL of the proxy.

        Raises:
            CannotRun: The port is taken, or the folder cannot be used.
        """
        loop = asyncio.get_running_loop()
        if port and port == self._server.port and is_loopback(self._server.host):
            raise CannotRun(f"--base-url {self._base_url} is this proxy itself: give the address of the provider")
        try:
            server = await loop.create_server(lambda: _Client(self), HOST, port, start_serving=False)
        except (OSError, OverflowError) as error:
            taken = getattr(error, "errno", None) == errno.EADDRINUSE
            reason = "it is taken" if taken else error
            raise CannotRun(f"--port {port}: {reason}; give another one, or 0 for a free one") from None
        try:
            self._recording = Recording.create(folder, self._base_url, datetime.now(UTC).isoformat(timespec="seconds"))
            await server.start_serving()
            on_ready(f"http://{HOST}:{server.sockets[0].getsockname()[1]}")
            await self._stop.wait()
        finally:
            server.close()
        await self._end()

    def stop(self) -> None:
        """End when the exchanges in flight have ended; called again, at once."""
        if self._stop.is_set():
            self._left.set()
        self._stop.set()

    async def _end(self) -> None:
        self.is_ending = True
        for client in [*self.clients]:
            client.end()
        await asyncio.sleep(0)
        if self.clients:
            self._say(f"{len(self.clients)} in flight; Ctrl-C again ends them at once")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._left.wait(), GRACE)
        for client in [*self.clients]:
            client.transport.abort()
        await asyncio.sleep(0)  # so that they are recorded

    def left(self, client: _Client) -> None:
        """Forget a connection that is closed."""
        self.clients.discard(client)
        if self.is_ending and not self.clients:
            self._left.set()

    def say_once(self, line: str) -> None:
        """Report something the first time that it happens."""
        if line not in self._said:
            self._said.add(line)
            self._say(line)

    def redact_request(self, exchange: _Exchange) -> None:
        """Redact a request while the provider works on it; a large one takes some milliseconds."""
        if not exchange.is_recorded:
            with contextlib.suppress(Exception):  # raised again, and reported, when the exchange is recorded
                exchange.redacted = self._redactor.sent(*_parts(exchange))
                exchange.request.pieces.clear()

    def record(self, exchange: _Exchange, now: float, lost: str) -> None:
        """Check an exchange, and write its file."""
        self.count += 1
        try:
            self._write(exchange, now, lost)
        except (Unrecorded, OSError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            self._unrecorded(f"not recorded: {reason}")
        except Exception as error:  # of redaction or check; its message may have the text of a body
            frame = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{Path(frame.filename).name}, line {frame.lineno}"
            self._unrecorded(f"not recorded, by a bug of unitask: {type(error).__name__} ({place}); please report it")

    def _unrecorded(self, reason: str) -> None:
        self.unrecorded += 1
        self.say_once(f"{reason}. Everything is forwarded all the same")

    def _write(self, exchange: _Exchange, now: float, lost: str) -> None:
        assert self._recording is not None
        answer, began = exchange.answer, exchange.began
        content, problem = answer.body()
        is_stream = answer.headers.get("content-type", "").startswith("text/event-stream")
        pieces = [(round(at - began, 4), piece) for at, piece in answer.pieces] if is_stream else []
        if is_stream and content != b"".join(piece for _, piece in pieces):  # it was packed
            pieces = [(pieces[-1][0], content)]
        recorded = self._redactor.recorded(
            self.count,
            *_parts(exchange),
            started=exchange.started,
            head_seconds=round((answer.head_at or now) - began, 4),
            seconds=round(now - began, 4),
            status=answer.status,
            response_headers=answer.headers,
            response_body=content,
            pieces=pieces,
            lost=lost or problem,
            sent=exchange.redacted,
        )
        for line in self._check.lines(recorded):
            self._say(line)
        self._recording.write(recorded)


def _parts(exchange: _Exchange) -> tuple[str, str, str, dict[str, str], bytes]:
    """Return method, path, query, headers and body of a request."""
    path, _, query = exchange.request.target.decode("latin-1").partition("?")
    return exchange.method, path, query, exchange.request.headers, exchange.request.body()[0]


def record(
    folder: Path,
    base_url: str,
    context: ssl.SSLContext,
    port: int = 0,
    key: str = "",
    keep_texts: bool = False,
    say: Say = print,
    on_ready: Callable[[str], object] = print,
) -> tuple[list[str], bool, bool]:
    """Record until Ctrl-C or SIGTERM; return a summary, whether the contract was broken, and whether all was recorded.

    Args:
        folder: Of the recording; new or empty.
        base_url: Of the provider.
        context: For connections by TLS.
        port: On this machine; 0 takes a free one.
        key: Is removed wherever it stands, beside the keys of the requests.
        keep_texts: Keep prompts and texts of outputs.
        say: Called with each line for the user.
        on_ready: Called with the URL of the proxy.

    Raises:
        CannotRun: The port is taken, or the folder cannot be used.
    """
    check = Check()

    async def run() -> Proxy:
        proxy = Proxy(base_url, context, Redactor(keep_texts, key), check, say)
        with _Signals(proxy):
            await proxy.serve(folder, port, on_ready)
        return proxy

    proxy = asyncio.run(run())
    summary = check.summary()
    if proxy.unrecorded:
        summary.append(f"{proxy.unrecorded} of {proxy.count} exchanges are not recorded")
    return summary, check.is_broken, not proxy.unrecorded


class _Signals:
    """While it is entered, Ctrl-C and SIGTERM stop a proxy."""

    def __init__(self, proxy: Proxy) -> None:
        stop = partial(asyncio.get_running_loop().call_soon_threadsafe, proxy.stop)
        self._handler: Callable[..., object] = lambda *_: stop()
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> None:
        if threading.current_thread() is threading.main_thread():
            self._before = {one: signal.signal(one, self._handler) for one in (signal.SIGINT, signal.SIGTERM)}

    def __exit__(self, *_: object) -> None:
        for one, handler in self._before.items():
            signal.signal(one, handler)
