"""Requests of the sandbox to other servers: the media behind an input's address, and webhooks.

Every client that may create a task chooses these addresses, so every address that a name resolves to is checked, after
each redirect too, and the connection goes to one of them. This machine is allowed by default, because the app under
development runs there; other addresses that the internet does not have are refused unless the settings allow them.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, Final, Literal

import httpx

Private = Literal["none", "loopback", "all"]
Address = IPv4Address | IPv6Address

# Bytes of one medium; the figure that clients give for uploads and videos (facts of public clients, 2025)
LARGEST = 10 * 1024 * 1024

SECONDS = 10.0
REDIRECTS = 5
HOW_TO_ALLOW: Final = "allow it with `unitask sandbox --private-addresses {}` or Settings(private_addresses={!r})"

# Addresses that no public server has, though some release of Python says `is_global` of them
_NOT_PUBLIC: Final = tuple(
    map(
        ip_network,
        (
            "168.63.129.16/32",  # Azure's platform services; inside Azure alone, though it looks public
            "192.0.0.0/24",  # IETF protocol assignments, RFC 6890; Oracle's metadata is 192.0.0.192
            "192.88.99.0/24",  # 6to4 relays, withdrawn by RFC 7526
            "224.0.0.0/4",  # multicast, RFC 5771
            "2001::/23",  # IETF protocol assignments, RFC 2928: Teredo (2001::/32), ORCHID, benchmarks
            "2002::/16",  # 6to4, withdrawn by RFC 7526
            "3fff::/20",  # documentation, RFC 9637
        ),
    )
)
_UNICAST: Final = IPv6Network("2000::/3")  # the only part of IPv6 that public servers are in, RFC 4291
_NAT64: Final = IPv6Network("64:ff9b::/96")  # ends in an IPv4 address that a gateway connects to, RFC 6052
_ISATAP: Final = (0x00005EFE, 0x02005EFE)  # RFC 5214: the third quarter of an address that ends in an IPv4 address


class NotFetched(OSError):
    """The request was not sent, or its answer is not usable; the message is for the author of the address."""


# What a request to another server can raise
ERRORS: Final = (OSError, ValueError, OverflowError, httpx.HTTPError, httpx.InvalidURL)


def resolve(host: str, port: int) -> list[str]:
    """Return every address of a host."""
    return list(dict.fromkeys(str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)))


@dataclass(frozen=True, slots=True)
class HttpClient:
    """Sends requests to other servers, each to an address that was checked."""

    private: Private = "loopback"
    resolve: Callable[[str, int], list[str]] = resolve
    transport: httpx.AsyncBaseTransport | None = None

    def get(self, url: str) -> bytes:
        """Return what is behind an address."""
        return self._sent("GET", url, follow_redirects=True)[1]

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        """POST to an address, and return the status of the answer; redirects are not followed."""
        return self._sent("POST", url, content=body, headers=dict(headers))[0]

    def _sent(self, method: str, url: str, **request: Any) -> tuple[int, bytes]:
        """Finish a transfer within `SECONDS`, which httpx's timeouts (each for one read) cannot limit.

        The event loop has a thread of its own, because the caller may have one that runs.
        """
        transport = self.transport or httpx.AsyncHTTPTransport(verify=_tls(), trust_env=False)

        async def transfer() -> tuple[int, bytes]:
            async with (
                asyncio.timeout(SECONDS),
                httpx.AsyncClient(
                    transport=_Checked(transport, self.private, self.resolve),
                    headers={"user-agent": "unitask-sandbox", "accept-encoding": "identity", "connection": "close"},
                    max_redirects=REDIRECTS,
                    timeout=SECONDS,
                    trust_env=False,
                ) as client,
                client.stream(method, url, **request) as answer,
            ):
                return answer.status_code, await _whole(answer) if method == "GET" else b""

        try:
            with ThreadPoolExecutor(1, "unitask-sandbox-http-client") as thread:
                return thread.submit(asyncio.run, transfer()).result()
        except httpx.TooManyRedirects:
            raise NotFetched(f"it redirects more than {REDIRECTS} times") from None
        except TimeoutError:
            raise NotFetched(f"it took longer than {SECONDS:g} s") from None


@dataclass(frozen=True, slots=True)
class _Checked(httpx.AsyncBaseTransport):
    """Sends each request to an address that was checked; certificates are still held against the name."""

    transport: httpx.AsyncBaseTransport
    private: Private
    resolve: Callable[[str, int], list[str]]

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        if url.scheme not in ("http", "https"):
            raise NotFetched(f"the scheme {url.scheme[:20]!r} is not fetched, only http and https")
        if url.userinfo:
            raise NotFetched("an address with a user name or a password is not fetched")
        host = url.raw_host.decode()
        found = self.resolve(host, url.port or (443 if url.scheme == "https" else 80))
        for text in found:
            self._check(text)
        extensions = {**request.extensions, "sni_hostname": host}
        failure: Exception = NotFetched("its name stands for no address")
        for text in found:
            to = url.copy_with(host=text.partition("%")[0])
            try:
                sent = httpx.Request(
                    request.method, to, headers=request.headers, stream=request.stream, extensions=extensions
                )
                return await self.transport.handle_async_request(sent)
            except httpx.ConnectError as error:
                failure = error
        raise failure

    async def aclose(self) -> None:
        await self.transport.aclose()

    def _check(self, text: str) -> None:
        kind = kind_of(ip_address(text.partition("%")[0]))
        if kind == "public" or self.private == "all" or kind == self.private:
            return
        what = "this machine" if kind == "loopback" else "a private network or of none"
        raise NotFetched(f"{text} is an address of {what}, which is not allowed; {HOW_TO_ALLOW.format(kind, kind)}")


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


async def _whole(answer: httpx.Response) -> bytes:
    if not answer.is_success:
        raise NotFetched(f"it answers HTTP {answer.status_code}")
    read = bytearray()
    async for chunk in answer.aiter_raw():
        read += chunk
        if len(read) > LARGEST:
            raise NotFetched(f"it is larger than {LARGEST} bytes")
    return bytes(read)


def kind_of(address: Address) -> Literal["public", "loopback", "all"]:
    """Return where an address leads: to the internet, to this machine, or to what only "all" allows."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped:  # the system itself connects to the IPv4 address
            return kind_of(address.ipv4_mapped)
        if address in _NAT64:  # 127.0.0.1 of the gateway is not this machine
            return "public" if kind_of(IPv4Address(int(address) & 0xFFFFFFFF)) == "public" else "all"
    if address.is_loopback or address.is_unspecified:  # 0.0.0.0 connects to this machine
        return "loopback"
    is_public = address.is_global and not any(address in network for network in _NOT_PUBLIC)
    if isinstance(address, IPv6Address):
        is_public = is_public and address in _UNICAST and int(address) >> 32 & 0xFFFFFFFF not in _ISATAP
    return "public" if is_public else "all"
