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
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
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

# What no public server has, by IANA's registries of special-purpose addresses; Python's own table (`is_global`) lacks
# some of these and differs between releases of Python, so it only adds to this one.
_NOT_PUBLIC: Final[tuple[IPv4Network | IPv6Network, ...]] = tuple(
    map(
        ip_network,
        (
            "0.0.0.0/8",  # this network, RFC 791
            "10.0.0.0/8",  # private, RFC 1918
            "100.64.0.0/10",  # behind a carrier's NAT, RFC 6598; Alibaba's metadata is 100.100.100.200
            "127.0.0.0/8",  # this machine
            "168.63.129.16/32",  # Azure's platform services; inside Azure alone, though it looks public
            "169.254.0.0/16",  # link-local, RFC 3927; most clouds' metadata is 169.254.169.254
            "172.16.0.0/12",  # private, RFC 1918
            "192.0.0.0/24",  # IETF protocol assignments, RFC 6890; Oracle's metadata is 192.0.0.192
            "192.0.2.0/24",  # documentation, RFC 5737
            "192.88.99.0/24",  # 6to4 relays, withdrawn by RFC 7526
            "192.168.0.0/16",  # private, RFC 1918
            "198.18.0.0/15",  # benchmarks, RFC 2544
            "198.51.100.0/24",  # documentation, RFC 5737
            "203.0.113.0/24",  # documentation, RFC 5737
            "224.0.0.0/4",  # multicast, RFC 5771
            "240.0.0.0/4",  # reserved, RFC 1112, and broadcast
            "::/96",  # unspecified, this machine, and IPv4-compatible addresses, withdrawn by RFC 4291
            "64:ff9b:1::/48",  # NAT64 within one network, RFC 8215
            "100::/64",  # discard, RFC 6666
            "2001::/23",  # IETF protocol assignments, RFC 2928: Teredo (2001::/32), ORCHID, benchmarks
            "2001:db8::/32",  # documentation, RFC 3849
            "3fff::/20",  # documentation, RFC 9637
            "5f00::/16",  # segment routing, RFC 9602
            "fc00::/7",  # private (unique local), RFC 4193; AWS's metadata is fd00:ec2::254
            "fe80::/10",  # link-local, RFC 4291
            "fec0::/10",  # site-local, withdrawn by RFC 3879 and still routed by some systems
            "ff00::/8",  # multicast, RFC 4291
        ),
    )
)
# What leads to an IPv4 address that stands inside: the network, and how many bits stand after the IPv4 address.
_IPV4_INSIDE: Final = (
    (IPv6Network("::ffff:0:0/96"), 0),  # IPv4-mapped, RFC 4291
    (IPv6Network("::ffff:0:0:0/96"), 0),  # IPv4-translated, RFC 2765
    (IPv6Network("64:ff9b::/96"), 0),  # NAT64, RFC 6052
    (IPv6Network("2002::/16"), 80),  # 6to4, RFC 3056
)
_MAPPED: Final = _IPV4_INSIDE[0][0]
_ISATAP: Final = (0x00005EFE, 0x02005EFE)  # RFC 5214: the third quarter of an address that ends in an IPv4 address


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
    """Where an address leads: to the internet, to this machine, or to what only "all" allows.

    An IPv6 address that leads to an IPv4 address is judged by that one. The system itself connects an IPv4-mapped
    address to the IPv4 address; every other form goes over a gateway, so there 127.0.0.1 is not this machine.
    """
    inside = _ipv4_inside(address)
    if isinstance(address, IPv6Address) and inside is not None and address in _MAPPED:
        return kind_of(inside)
    if address.is_loopback or address.is_unspecified:  # 0.0.0.0 connects to this machine
        return "loopback"
    if any(address in network for network in _NOT_PUBLIC):
        return "all"
    if inside is not None:
        return "public" if kind_of(inside) == "public" else "all"
    return "public" if address.is_global else "all"


def _ipv4_inside(address: Address) -> IPv4Address | None:
    """The IPv4 address that an IPv6 address leads to, if its form says so."""
    if isinstance(address, IPv4Address):
        return None
    bits = int(address)
    for network, after in _IPV4_INSIDE:
        if address in network:
            return IPv4Address(bits >> after & 0xFFFFFFFF)
    return IPv4Address(bits & 0xFFFFFFFF) if bits >> 32 & 0xFFFFFFFF in _ISATAP else None


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
