"""The sandbox as a server: in the foreground (`serve`), or in a thread while a `with` block lasts (`running`)."""

import errno
import signal
import socket
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from types import FrameType

import uvicorn

from unitask_sandbox import connections
from unitask_sandbox.app import create_app
from unitask_sandbox.failures import CannotStart
from unitask_sandbox.middleware import is_loopback
from unitask_sandbox.settings import Settings

HOST = "127.0.0.1"
PORT = 8042


def serve(
    settings: Settings | None = None,
    host: str = HOST,
    port: int = PORT,
    on_ready: Callable[[str], object] = lambda _url: None,
) -> None:
    """Serve until Ctrl-C or SIGTERM.

    Args:
        settings: How the sandbox behaves.
        host: Address to listen on. An address that others can reach lets them use the sandbox; then it sends requests
            to no private address, this machine included, unless `Settings.private_addresses` says so.
        port: Port to listen on; 0 picks a free one.
        on_ready: Called with the base URL as soon as connections are accepted.

    Raises:
        CannotStart: There is no such host or port, or the data folder cannot be used; an OSError and a ValueError.
        OSError: The port is taken, or may not be listened on.
    """
    with _opened(settings, host, port) as (server, listener), _signals_end(server):
        on_ready(_url(listener))  # the system accepts connections from here on, and they wait for the server
        server.run([listener])  # raises the signal again when it has shut down


@contextmanager
def running(settings: Settings | None = None, port: int = 0) -> Generator[str]:
    """Serve in a thread of this program: yield the base URL, and shut down at the end.

    Args:
        settings: How the sandbox behaves.
        port: Port on 127.0.0.1; 0 picks a free one.

    Raises:
        CannotStart: There is no such port, or the data folder cannot be used; an OSError and a ValueError.
        OSError: The port is taken.
    """
    with _opened(settings, HOST, port) as (server, listener):
        thread = threading.Thread(target=server.run, args=([listener],), name="unitask-sandbox-http", daemon=True)
        thread.start()
        try:
            yield _url(listener)
        finally:
            server.should_exit = True
            thread.join()


def _for_host(settings: Settings, host: str) -> Settings:
    private = settings.private_addresses or ("loopback" if is_loopback(host) else "none")
    return replace(settings, allowed_hosts=(*settings.allowed_hosts, host), private_addresses=private)


@contextmanager
def _signals_end(server: uvicorn.Server) -> Generator[None]:
    """Let Ctrl-C and SIGTERM end the server, also before it has set its own handlers."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    # No exception: Python drops one that is raised while it runs a finalizer, and SIGTERM would end the process.
    def end(_signal: int, _frame: FrameType | None) -> None:
        server.should_exit = True

    ends = (signal.SIGINT, signal.SIGTERM)
    previous = [signal.signal(one, end) for one in ends]
    try:
        yield
    finally:
        for one, handler in zip(ends, previous, strict=True):
            signal.signal(one, handler)


@contextmanager
def _opened(settings: Settings | None, host: str, port: int) -> Generator[tuple[uvicorn.Server, socket.socket]]:
    """Listen, and make the server of a sandbox that is closed at the end."""
    try:
        if port not in range(65536):
            raise ValueError("there is no such port")
        listener = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except (OSError, ValueError) as error:
        if getattr(error, "errno", None) in (errno.EADDRINUSE, errno.EACCES):
            raise
        wanted = "give an address of this machine, and a port from 0 to 65535; 0 picks a free one"
        raise CannotStart(f"host {host!r}, port {port!r}: {error}; {wanted}") from error
    with listener:
        # Connections inherit it. asyncio does not set it for a socket made here, and each answer would take 40 ms.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        app = create_app(_for_host(settings or Settings(), host))
        try:
            config = uvicorn.Config(
                app,
                http=connections.Connection,
                limit_concurrency=connections.MOST_CONNECTIONS + 1,  # one more may come while the oldest is closed
                log_level="warning",
                access_log=False,
                date_header=False,  # middleware.py adds that of the sandbox's clock
                server_header=False,  # and the name of the sandbox
                lifespan="off",
                ws="none",
                proxy_headers=False,
                timeout_graceful_shutdown=2,
            )
            yield uvicorn.Server(config), listener
        finally:
            app.state.sandbox.close()


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
