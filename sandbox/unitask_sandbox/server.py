"""The sandbox as a server: in the foreground (`serve`), or in a thread while a `with` block lasts (`running`).

Rules of this file: a client that does not get on with its request, or with reading its answer, is hung up on; at most
`MOST_CONNECTIONS` are open, and of those that wait for their client the oldest gives way to a new one, so that slow
clients keep nobody out; what is no HTTP is answered like every other refusal. What an application can see of a request
is limited in guard.py.
"""

from __future__ import annotations

import asyncio
import errno
import json
import signal
import socket
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import replace
from http import HTTPStatus
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from unitask_sandbox.app import create_app
from unitask_sandbox.connection import CLOSE
from unitask_sandbox.failures import CannotStart
from unitask_sandbox.guard import is_loopback
from unitask_sandbox.settings import Settings, is_host, is_whole

HOST = "127.0.0.1"
PORT = 8042
MOST_PORT = 65535
HEAD_SECONDS = 10.0  # for the head of a request; also for the rest of a body that was answered before its end
ANSWER_SECONDS = 30.0  # for a client that reads nothing of what is left of its answer
GRACE = 1.0  # seconds that a head or a body may take before its connection gives way to others
MOST_CONNECTIONS = 500
TICK_SECONDS = 0.1  # between looks for a signal; the Date of answers is renewed every tenth


class _Server(uvicorn.Server):
    """A uvicorn server that says when it accepts connections, and stops at once: uvicorn's own takes 0.2 s for it."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], object]) -> None:
        super().__init__(config)
        self._on_ready = on_ready
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopped = asyncio.Event()

    def stop(self) -> None:
        """Stop, from any thread; only after it was ready."""
        self.should_exit = True
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._stopped.set)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._loop = asyncio.get_running_loop()
        self._on_ready()

    async def main_loop(self) -> None:
        ticks = 0
        while not await self.on_tick(ticks):
            ticks += 1
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopped.wait(), TICK_SECONDS)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self.server_state.connections or self.server_state.tasks:
            await super().shutdown(sockets)
            return
        for listener in (*self.servers, *(sockets or ())):
            listener.close()


class _Protocol(H11Protocol):
    """A connection that the application can close without an answer (`unitask_sandbox.connection`), and with limits."""

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        app: Any = self.app

        async def closable(scope: Any, receive: Any, send: Any) -> None:
            await app({**scope, "extensions": {CLOSE: self.transport.close}}, receive, send)

        self.app = closable
        self._late: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None
        self.since = self.loop.time()  # what is going on has been going on since then
        self._has_answered = False
        self._has_refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        if len(self.connections) > MOST_CONNECTIONS and not self._finds_room():
            self._refuse(503, f"more than {MOST_CONNECTIONS} connections are open; close some, and connect again")
        else:
            self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._unwatch()
        self._unstall()

    def data_received(self, data: bytes) -> None:
        if not self._has_refused:
            was_idle = self.conn.their_state is h11.IDLE
            super().data_received(data)
            if was_idle and self.conn.their_state is not h11.IDLE:
                self.since = self.loop.time()
            self._watch()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._has_answered = True
        self.since = self.loop.time()
        self._watch()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unstall()
        self._stalled = self.loop.call_later(ANSWER_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._unstall()

    def _unstall(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def _finds_room(self) -> bool:
        """Close the connection that has waited for its client the longest; whether there is room now."""
        others: list[_Protocol] = [one for one in self.connections if isinstance(one, _Protocol) and one is not self]
        open_ones = [one for one in others if not one.transport.is_closing()]
        if len(open_ones) < MOST_CONNECTIONS:
            return True
        waiting = [(order, one.since, one) for one in open_ones if (order := one.rank()) is not None]
        if not waiting:
            return False
        min(waiting, key=lambda found: found[:2])[2].give_way()
        return True

    def rank(self) -> int | None:
        """How soon this one gives way; None while the application works on its request, or sends."""
        if self._has_refused or self._is_sending_on() or self._stalled is not None:
            return 0
        is_slow = self.loop.time() - self.since >= GRACE
        if self.conn.their_state is h11.SEND_BODY:
            return 2 if is_slow else None
        if self.conn.their_state is not h11.IDLE:
            return None
        if not self._has_answered or self.conn.trailing_data[0]:  # within a head
            return 1 if is_slow else 4
        return 3  # it was of use, and may be again

    def give_way(self) -> None:
        """Hang up in favour of a new connection."""
        if self.rank() in (1, 4):
            self._refuse(503, "the request took long while others waited; connect again")
            self.transport.close()
        elif self.rank() == 3:
            self.transport.close()
        else:
            self.transport.abort()

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, f"{msg.rstrip('.').lower()}, or its head is too long")

    def _watch(self) -> None:
        """Hang up later, if it is the client's turn and it does not get on."""
        is_its_turn = self._has_refused or self.conn.their_state is h11.IDLE or self._is_sending_on()
        if not is_its_turn or self.transport.is_closing():
            self._unwatch()
        elif self._late is None:
            self._late = self.loop.call_later(HEAD_SECONDS, self._hang_up)

    def _unwatch(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _is_sending_on(self) -> bool:
        return self.conn.our_state is h11.DONE and self.conn.their_state is h11.SEND_BODY

    def _hang_up(self) -> None:
        if self._has_refused or self._is_sending_on():
            self.transport.abort()
        else:
            self._refuse(408, f"the head of the request took longer than {HEAD_SECONDS:g} seconds")

    def _refuse(self, status: int, message: str) -> None:
        """Answer for the application, which has not seen the request, and read no more."""
        self._unwatch()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            body = json.dumps({"code": status, "message": message, "data": None}).encode()
            headers = [
                ("content-type", "application/json"),
                ("content-length", str(len(body))),
                ("connection", "close"),
            ]
            head = h11.Response(status_code=status, headers=headers, reason=HTTPStatus(status).phrase)
            for event in (head, h11.Data(data=body), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        self._has_refused = True
        self.transport.write_eof()  # to close at once would throw away what the client has not read yet
        self._watch()


def serve(
    settings: Settings | None = None,
    host: str = HOST,
    port: int = PORT,
    on_ready: Callable[[str], object] = lambda _url: None,
) -> None:
    """Serve until Ctrl-C or SIGTERM.

    Args:
        settings: How the sandbox behaves.
        host: Address to listen on. One that others can reach lets everybody there use the sandbox, and then no private
            address is asked, this machine included, unless `Settings.private_addresses` says so.
        port: Port to listen on; 0 picks a free one.
        on_ready: Called with the base URL as soon as the server accepts connections.

    Raises:
        CannotStart: There is no such host or port, or the data folder cannot be used; an OSError and a ValueError.
        OSError: The port is taken, or may not be listened on.
    """
    with _listening(host, port) as listener:
        app = create_app(_for_host(settings or Settings(), host))
        try:
            with _sigterm_as_ctrl_c():
                _server(app, lambda: on_ready(_url(listener))).run([listener])
        except KeyboardInterrupt:  # uvicorn has shut down, and raises the signal again
            pass
        finally:
            app.state.sandbox.close()


@contextmanager
def running(settings: Settings | None = None, port: int = 0) -> Generator[str]:
    """A sandbox in a thread of this program: yields its base URL, and shuts it down at the end.

    Args:
        settings: How the sandbox behaves.
        port: Port on 127.0.0.1; 0 picks a free one.

    Raises:
        CannotStart: There is no such port, or the data folder cannot be used; an OSError and a ValueError.
        OSError: The port is taken.
    """
    ready = threading.Event()
    with _listening(HOST, port) as listener:
        app = create_app(settings)
        server = _server(app, ready.set)
        thread = threading.Thread(target=server.run, args=([listener],), name="unitask-sandbox-http", daemon=True)
        thread.start()
        try:
            ready.wait()
            yield _url(listener)
        finally:
            server.stop()
            thread.join()
            app.state.sandbox.close()


def _for_host(settings: Settings, host: str) -> Settings:
    private = settings.private_addresses or ("loopback" if is_loopback(host) else "none")
    return replace(settings, allowed_hosts=(*settings.allowed_hosts, host), private_addresses=private)


@contextmanager
def _sigterm_as_ctrl_c() -> Generator[None]:
    """Let SIGTERM end in a KeyboardInterrupt; it would end the process before the sandbox is closed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _listening(host: str, port: int) -> socket.socket:
    if not is_whole(port) or not 0 <= port <= MOST_PORT:
        raise CannotStart(f"port {port!r}: give a number from 0 to {MOST_PORT}; 0 picks a free one")
    if not is_host(host):
        raise CannotStart(f"host {host!r}: give the name or the address of this machine, without scheme and port")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)  # create_server would make another error of it
        listener = socket.create_server((host, port), family=family)
    except (socket.gaierror, UnicodeError) as error:
        raise CannotStart(f"host {host!r} is not known: give a name or an address of this machine") from error
    except OSError as error:
        if error.errno != errno.EADDRNOTAVAIL:
            raise
        raise CannotStart(f"host {host!r} is no address of this machine: give one that is") from error
    # Connections inherit it. asyncio does not set it for a socket made here, and each answer would take 40 ms.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _server(app: Callable[..., Any], on_ready: Callable[[], object]) -> _Server:
    config = uvicorn.Config(
        app,
        http=_Protocol,
        log_level="warning",
        access_log=False,
        lifespan="off",
        ws="none",
        proxy_headers=False,  # nobody else says where a request is from; see Settings.public_url
        timeout_graceful_shutdown=2,
    )
    return _Server(config, on_ready)
