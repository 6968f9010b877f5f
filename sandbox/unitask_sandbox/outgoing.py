"""What the sandbox asks of other servers: the media behind an input's address, and webhooks.

Whoever may create a task chooses these addresses, so they are limited. Rules of this file:

- http and https alone, without a user name, and straight: no proxy, since that would connect where nobody looked.
- Every address that a name stands for is checked before anything connects, and what is connected to is an address that
  was checked: a name cannot mean something else a moment later. Each redirect is checked like the first address.
- A whole transfer has `SECONDS`, however slowly it drips, and `LARGEST` bytes. Nothing is decompressed.
- This machine (127.0.0.0/8, ::1) may be asked by default: the app under development is there, and so is everybody who
  can ask a sandbox that listens on 127.0.0.1. Other addresses that the internet does not have, those of clouds'
  metadata (169.254.169.254) among them, are refused unless the settings allow them.
"""

from __future__ import annotations

import io
import socket
import ssl
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import SplitResult, urljoin, urlsplit

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

Private = Literal["none", "loopback", "all"]
Address = IPv4Address | IPv6Address

LARGEST = 10 * 1024 * 1024
"""Bytes of one medium; the figure that clients give for uploads and videos (facts of public clients, 2025)."""

SECONDS = 10.0
REDIRECTS = 5
REDIRECT = frozenset({301, 302, 303, 307, 308})
HOW_TO_ALLOW: Final = "allow it with `unitask sandbox --private-addresses {}` or Settings(private_addresses={!r})"

_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052: an IPv4 address in the last four bytes


class NotFetched(OSError):
    """The other side was not asked, or its answer is of no use; the message is for whoever named the address."""


def resolve(host: str, port: int) -> list[str]:
    """Every address that a name stands for.

    Raises:
        OSError: None.
    """
    return list(dict.fromkeys(str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)))


class Outgoing:
    """Asks other servers.

    Args:
        private: Which addresses that the internet does not have may be asked: "none", "loopback" (this machine) or
            "all".
        resolve: Every address that a name stands for.
        connect: Connects to an address and a port within so many seconds.
        clock: Returns seconds that only grow.
    """

    def __init__(
        self,
        private: Private = "loopback",
        resolve: Callable[[str, int], list[str]] = resolve,
        connect: Callable[[tuple[str, int], float], socket.socket] = socket.create_connection,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._private = private
        self._resolve = resolve
        self._connect = connect
        self._clock = clock

    def get(self, url: str) -> bytes:
        """What is behind an address.

        Raises:
            OSError: It cannot be reached, is not allowed, answers with an error, is too large or too slow.
            ValueError: It is no address.
            HTTPException: What is there does not speak HTTP.
        """
        deadline = _Deadline(self._clock)
        for _ in range(REDIRECTS + 1):
            with self._asked("GET", url, None, {}, deadline) as answer:
                where = answer.headers.get("location")
                if answer.status not in REDIRECT or not where:
                    return _whole(answer)
            url = urljoin(url, where)
        raise NotFetched(f"it redirects more than {REDIRECTS} times")

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        """POST to an address, and return the status of the answer; redirects are not followed.

        Raises:
            OSError: It cannot be reached, is not allowed, or does not answer in time.
            ValueError: The address or a header cannot be sent.
            HTTPException: What is there does not speak HTTP.
        """
        with self._asked("POST", url, body, headers, _Deadline(self._clock)) as answer:
            return answer.status

    @contextmanager
    def _asked(
        self, method: str, url: str, body: bytes | None, headers: Mapping[str, str], deadline: _Deadline
    ) -> Generator[HTTPResponse]:
        parts = urlsplit(url)
        host = _host(parts)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        own = {"user-agent": "unitask-sandbox", "connection": "close"}
        context = ssl.create_default_context() if parts.scheme == "https" else None
        connection = HTTPSConnection(host, port, context=context) if context else HTTPConnection(host, port)
        with self._connected(host, port, deadline) as plain:
            plain.settimeout(deadline.left())
            with context.wrap_socket(plain, server_hostname=host) if context else plain as connected:
                wire: Any = _Wire(connected, deadline)
                connection.sock = wire  # it connects by itself only while there is none
                connection.request(method, target, body, {**own, **headers})
                yield connection.getresponse()

    def _connected(self, host: str, port: int, deadline: _Deadline) -> socket.socket:
        found = self._resolve(host, port)
        for text in found:
            self._check(text)
        failure: OSError = NotFetched("its name stands for no address")
        for text in found:
            try:
                return self._connect((text, port), deadline.left())
            except OSError as error:
                failure = error
        raise failure

    def _check(self, text: str) -> None:
        """Refuse an address that may not be asked."""
        kind = kind_of(ip_address(text.partition("%")[0]))
        if kind == "public" or self._private == "all" or kind == self._private:
            return
        what = "this machine" if kind == "loopback" else "a private network or of none"
        raise NotFetched(f"{text} is an address of {what}, which is not allowed; {HOW_TO_ALLOW.format(kind, kind)}")


def kind_of(address: Address) -> Literal["public", "loopback", "all"]:
    """Where an address leads: to the internet, to this machine, or to what only "all" allows."""
    for inner in _inside(address):
        if inner.is_loopback or inner.is_unspecified:  # 0.0.0.0 connects to this machine
            return "loopback"
        if not inner.is_global or inner.is_multicast:
            return "all"
    return "public"


def _inside(address: Address) -> list[Address]:
    """An address, or the IPv4 address that an IPv6 address wraps."""
    if isinstance(address, IPv4Address):
        return [address]
    wrapped = address.ipv4_mapped or address.sixtofour
    if address in _NAT64:
        wrapped = IPv4Address(int(address) & 0xFFFFFFFF)
    return [wrapped or address]


def _host(parts: SplitResult) -> str:
    if parts.scheme not in ("http", "https"):
        raise NotFetched(f"the scheme {parts.scheme[:20]!r} is not fetched, only http and https")
    if "@" in parts.netloc:
        raise NotFetched("an address with a user name or a password is not fetched")
    if not parts.hostname:
        raise NotFetched("it has no host")
    return parts.hostname


def _whole(answer: HTTPResponse) -> bytes:
    if not 200 <= answer.status < 300:
        raise NotFetched(f"it answers HTTP {answer.status}")
    if (answer.length or 0) > LARGEST:
        raise NotFetched(f"it is larger than {LARGEST} bytes")
    read = bytearray()
    while chunk := answer.read1(65536):
        read += chunk
        if len(read) > LARGEST:
            raise NotFetched(f"it is larger than {LARGEST} bytes")
    if answer.length:
        raise NotFetched("it ends early")
    return bytes(read)


class _Deadline:
    """When a whole transfer must be over."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._end = clock() + SECONDS

    def left(self) -> float:
        """The seconds that are left; more than none.

        Raises:
            NotFetched: There are none.
        """
        left = self._end - self._clock()
        if left <= 0:
            raise NotFetched(f"it took longer than {SECONDS:g} s")
        return left


class _Wire:
    """A socket for http.client on which everything together ends at a time."""

    def __init__(self, connected: socket.socket, deadline: _Deadline) -> None:
        self._socket = connected
        self._deadline = deadline

    def sendall(self, data: ReadableBuffer) -> None:
        """Send all of it."""
        self._socket.settimeout(self._deadline.left())
        self._socket.sendall(data)

    def makefile(self, _mode: str) -> io.BufferedReader:
        """What comes."""
        return io.BufferedReader(_Arriving(self._socket, self._deadline))

    def close(self) -> None:
        """Do nothing: http.client calls it while it still reads, and whoever connected hangs up."""


class _Arriving(io.RawIOBase):
    def __init__(self, connected: socket.socket, deadline: _Deadline) -> None:
        super().__init__()
        self._socket = connected
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        self._socket.settimeout(self._deadline.left())
        try:
            return self._socket.recv_into(buffer)
        except TimeoutError:
            self._deadline.left()  # says it in words
            raise


ERRORS: Final = (OSError, ValueError, HTTPException)
"""What asking another server can raise."""
