"""A proxy before a provider: connections.py forwards, and each exchange is redacted, checked and written.

An exchange is written before the last byte of its answer goes on, so a process that is killed loses at most the
exchanges in flight. A thread works on large bodies: the connections of other clients go on meanwhile.
"""

import asyncio
import contextlib
import errno
import signal
import ssl
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from unitask_contract import bundle
from unitask_contract.connecting import CannotRun, is_loopback
from unitask_contract.recording.connections import Client, Exchange, Server
from unitask_contract.recording.folder import Recording
from unitask_contract.recording.live import Check
from unitask_contract.recording.messages import Unrecorded
from unitask_contract.recording.redaction import Redactor

HOST = "127.0.0.1"
GRACE = 30.0  # seconds that exchanges in flight may take after Ctrl-C
Say = Callable[[str], object]


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
        self._server = Server.of(base_url, context)
        self._others: dict[bytes, Server] = {}  # hosts of single paths, by path
        if base_url == bundle.document()["servers"][0]["url"]:
            paths: dict[str, dict[str, Any]] = bundle.document()["paths"]
            urls = {path: item["servers"][0]["url"] for path, item in paths.items() if "servers" in item}
            self._others = {path.encode(): Server.of(url, context) for path, url in urls.items()}
        self._base_url, self._redactor, self._check, self._say = base_url, redactor, check, say
        self._recording: Recording | None = None
        self._said: set[str] = set()
        self._stop, self._left = asyncio.Event(), asyncio.Event()
        self._thread = ThreadPoolExecutor(1)  # redacts and checks large bodies, one after the other
        self.clients: set[Client] = set()
        self.is_ending = False
        self.count = self.unrecorded = 0

    def server_of(self, target: bytes) -> Server:
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
            server = await loop.create_server(lambda: Client(self), HOST, port, start_serving=False)
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
            client.abort()
        await asyncio.get_running_loop().run_in_executor(self._thread, int)  # behind all others
        self._thread.shutdown()

    def left(self, client: Client) -> None:
        """Forget a connection that is closed."""
        self.clients.discard(client)
        if self.is_ending and not self.clients:
            self._left.set()

    def say_once(self, line: str) -> None:
        """Report something the first time that it happens."""
        if line not in self._said:
            self._said.add(line)
            self._say(line)

    def redact_request(self, exchange: Exchange) -> None:
        """Redact a request while the provider works on it."""
        if exchange.is_recorded:
            return
        if exchange.request.is_small:
            self._redact(exchange)
        else:
            asyncio.get_running_loop().run_in_executor(self._thread, self._redact, exchange)

    def _redact(self, exchange: Exchange) -> None:
        with contextlib.suppress(Exception):  # raised again, and reported, when the exchange is recorded
            exchange.redacted = self._redactor.sent(*_parts(exchange))
            exchange.request.pieces.clear()

    def record(self, exchange: Exchange, now: float, lost: str, then: Callable[[], object]) -> None:
        """Check an exchange, write its file, and call `then`; one that takes long lets the others go on."""
        self.count += 1
        given = exchange, self.count, now, lost

        def done(reason: str) -> None:
            if reason:
                self.unrecorded += 1
                self.say_once(f"{reason}. Everything is forwarded all the same")
            then()

        if exchange.request.is_small and exchange.answer.is_small:
            done(self._written(*given))
        else:
            written = asyncio.get_running_loop().run_in_executor(self._thread, self._written, *given)
            written.add_done_callback(lambda one: done(one.result()))

    def _written(self, exchange: Exchange, number: int, now: float, lost: str) -> str:
        """Check an exchange, and write its file; return why that failed, else an empty text."""
        try:
            self._write(exchange, number, now, lost)
        except (Unrecorded, OSError) as error:
            return f"not recorded: {error.strerror if isinstance(error, OSError) else error}"
        except Exception as error:  # of redaction or check; its message may have the text of a body
            frame = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{Path(frame.filename).name}, line {frame.lineno}"
            return f"not recorded, by a bug of unitask: {type(error).__name__} ({place}); please report it"
        return ""

    def _write(self, exchange: Exchange, number: int, now: float, lost: str) -> None:
        assert self._recording is not None
        answer, began = exchange.answer, exchange.began
        content, problem = answer.body()
        is_stream = answer.headers.get("content-type", "").startswith("text/event-stream")
        pieces = [(round(at - began, 4), piece) for at, piece in answer.pieces] if is_stream else []
        if is_stream and content != b"".join(piece for _, piece in pieces):  # it was packed
            pieces = [(pieces[-1][0], content)]
        recorded = self._redactor.recorded(
            number,
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


def _parts(exchange: Exchange) -> tuple[str, str, str, dict[str, str], bytes]:
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
