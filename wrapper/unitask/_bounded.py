"""A transport of httpx whose calls end at a deadline: httpx limits each read, so a dripping answer would never end."""

import math
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import httpcore
import httpx

LONGEST_CONNECT = 10.0  # seconds for one address of a host: the next one may answer, as IPv4 where IPv6 does not
WRITE_SIZE = 16 * 1024  # bytes that are written between two checks of the deadline
_deadline: ContextVar[float] = ContextVar("deadline", default=math.inf)  # in monotonic seconds


@contextmanager
def bounded(seconds: float) -> Generator[None]:
    """Limit what this thread sends and receives inside the block, in seconds."""
    token = _deadline.set(time.monotonic() + seconds)
    try:
        yield
    finally:
        _deadline.reset(token)


class BoundedTransport(httpx.HTTPTransport):
    """The transport of httpx with the deadline of `bounded`."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        # httpcore's hook for this is the network backend, which httpx does not pass on
        pool: Any = self._pool
        pool._network_backend = _BoundedBackend()  # noqa: SLF001
        # httpcore enters its lock in Python code, where an interruption leaves it locked. An RLock is entered in one
        # operation of the interpreter.
        pool._optional_thread_lock = threading.RLock()  # noqa: SLF001


class _BoundedBackend(httpcore.SyncBackend):
    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Any = None,
    ) -> httpcore.NetworkStream:
        left = _left(timeout, httpcore.ConnectTimeout)
        each = None if left is None else min(left / 2, LONGEST_CONNECT)
        return _in_time(super().connect_tcp(host, port, each, local_address, socket_options))


class _BoundedStream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), WRITE_SIZE):
            self._stream.write(buffer[start : start + WRITE_SIZE], _left(timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None) -> Any:
        left = _left(timeout, httpcore.ConnectTimeout)
        return _in_time(self._stream.start_tls(ssl_context, server_hostname, left))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _in_time(stream: httpcore.NetworkStream) -> _BoundedStream:
    """Return a new connection unless it is too late for it: once writing begins, the request may have left."""
    try:
        _left(None, httpcore.ConnectTimeout)
    except httpcore.ConnectTimeout:
        stream.close()
        raise
    return _BoundedStream(stream)


def _left(timeout: float | None, too_late: type[Exception]) -> float | None:
    """Return the seconds that a step may take."""
    left = _deadline.get() - time.monotonic()
    if left <= 0:
        raise too_late("the call has taken as long as it may")
    return timeout if math.isinf(left) else left if timeout is None else min(timeout, left)
