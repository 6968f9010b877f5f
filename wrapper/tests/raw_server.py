"""A server on a real socket that answers each request with the bytes that a test gives."""

import contextlib
import json
import re
import select
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import parse_headers
from typing import Any

PIECE = 1 << 16  # bytes
LONGEST = 30.0  # seconds after which a server that was left behind gives up


@dataclass(frozen=True)
class Received:
    """A request as it arrived, whole."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


Respond = Callable[[Received], Iterable[bytes]]


@dataclass
class RawServer:
    """What arrived, and how it is answered."""

    respond: Respond  # the connection stays open after an answer, unless this raises `Hangup`
    pause: float = 0.0  # seconds between two pieces of a body that is read
    requests: list[Received] = field(default_factory=list)
    stopped: threading.Event = field(default_factory=threading.Event)  # set at the end; an answer that drips waits
    url: str = ""
    connections: int = 0  # that were made
    most_open: int = 0  # at once, by clients
    _sockets: list[socket.socket] = field(default_factory=list)
    _threads: list[threading.Thread] = field(default_factory=list)

    @property
    def creates(self) -> list[Received]:
        """The submissions that arrived."""
        return [request for request in list(self.requests) if request.method == "POST"]

    def settle(self) -> None:
        """Wait until each connection that the client closed has been served: they are accepted in order."""
        host, _, port = self.url.removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port)), LONGEST) as last:
            last.shutdown(socket.SHUT_WR)
            last.recv(1)
        for thread in list(self._threads):
            thread.join(LONGEST)

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                self.connections += 1
                self._sockets = [*(each for each in self._sockets if not _closed_by_peer(each)), connection]
                self.most_open = max(self.most_open, len(self._sockets))
                thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
                thread.start()
                self._threads.append(thread)

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(LONGEST)
        with connection, contextlib.suppress(OSError, Hangup):
            reader = connection.makefile("rb")
            while line := reader.readline():
                method, path, _ = line.decode().split(" ", 2)
                headers = {name.lower(): value for name, value in parse_headers(reader).items()}
                length = int(headers.get("content-length", 0))
                body = b""
                while len(body) < length and (piece := reader.read(min(PIECE, length - len(body)))):
                    body += piece
                    self.stopped.wait(self.pause)
                if len(body) < length:
                    return
                request = Received(method, path, headers, body)
                self.requests.append(request)
                for chunk in self.respond(request):
                    connection.sendall(chunk)


class Hangup(Exception):
    """Raised by an answer that closes the connection."""


@contextmanager
def raw_server(respond: Respond, pause: float = 0.0) -> Iterator[RawServer]:
    """Serve on a free port of 127.0.0.1 until the end of the block."""
    server = RawServer(respond, pause)
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
        server.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        accepting = threading.Thread(target=server._accept, args=(listener,), daemon=True)
        accepting.start()
        try:
            yield server
        finally:
            server.stopped.set()
            listener.shutdown(socket.SHUT_RDWR)
            accepting.join(LONGEST)


def response(status: int, body: Any, *headers: str, length: int | None = None) -> bytes:
    """An HTTP response; a body of bytes as it is, any other as JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} Said", f"content-length: {len(content) if length is None else length}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + content


def shown(request: Received, status: str = "completed") -> bytes:
    """Return the task of a request; the id of a new task is made from its input."""
    if request.method == "POST":
        task_id = "of-" + re.sub(r"\W", "", str(json.loads(request.body)["input"]))[-40:]
    else:
        task_id = request.path.rpartition("/")[2]
    return response(200, {"code": 200, "data": {"task_id": task_id, "status": status}, "message": "success"})


def _closed_by_peer(connection: socket.socket) -> bool:
    with contextlib.suppress(OSError, ValueError):  # closed here, too
        watch = select.poll()
        watch.register(connection, select.POLLRDHUP)
        return bool(watch.poll(0))
    return True
