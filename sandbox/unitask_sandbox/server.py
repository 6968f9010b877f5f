"""The sandbox as a server: in the foreground (`serve`), or in a thread while a `with` block lasts (`running`)."""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from unitask_sandbox.app import create_app
from unitask_sandbox.connection import CLOSE
from unitask_sandbox.settings import Settings

HOST = "127.0.0.1"
PORT = 8042


class _Server(uvicorn.Server):
    """A uvicorn server that says when it accepts connections."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], object]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_ready()


class _Protocol(H11Protocol):
    """A connection that the application can close without an answer: see `unitask_sandbox.connection`."""

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


def serve(
    settings: Settings | None = None,
    host: str = HOST,
    port: int = PORT,
    on_ready: Callable[[str], object] = lambda _url: None,
) -> None:
    """Serve until Ctrl-C or SIGTERM.

    Args:
        settings: How the sandbox behaves.
        host: Address to listen on.
        port: Port to listen on; 0 picks a free one.
        on_ready: Called with the base URL as soon as the server accepts connections.

    Raises:
        OSError: The address cannot be listened on, or the data folder is in use by another sandbox.
    """
    with _listening(host, port) as listener:
        app = create_app(settings)
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
        OSError: The port is taken, or the data folder is in use by another sandbox.
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
            server.should_exit = True
            thread.join()
            app.state.sandbox.close()


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
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family)
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
        timeout_graceful_shutdown=2,
    )
    return _Server(config, on_ready)
