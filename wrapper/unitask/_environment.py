"""Read and check base URL, proxies and certificates from the environment.

Rules of this file: nothing is read at import; what cannot be used raises `InvalidInput` that names the variable; a
password in an address is not shown; this machine is never asked through a proxy.
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
import ssl
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import cast
from urllib.request import getproxies

import httpx

from ._version import __version__
from .errors import InvalidInput

DEFAULT_BASE_URL = "https://api.piapi.ai"  # servers[0] of the spec
PROXY_SCHEMES = ("http", "https", "socks5", "socks5h")
USER_AGENT = f"unitask/{__version__}"
PORTS = range(1, 1 << 16)
LONGEST_NAME = 253  # characters of a host name (RFC 1035)
_LABEL = re.compile(r"[A-Za-z0-9_-]{1,63}", re.ASCII)
_USERINFO = re.compile(r"^(\w[\w+.-]*://)?.*@", re.DOTALL)
_HASHED = re.compile(r"[0-9a-f]{8}\.\d+")  # how OpenSSL finds a certificate in a folder
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class Settings:
    """How connections are made.

    Attributes:
        base_url: The provider, without a slash at the end.
        verify: The certificates that are trusted; shared by all clients that read the same ones.
    """

    base_url: str
    verify: ssl.SSLContext = field(repr=False)
    _proxies: dict[str, str] = field(default_factory=dict[str, str], repr=False)  # by scheme; may have passwords
    _direct: tuple[_Direct, ...] = field(default=(), repr=False)
    _given: str | None = field(default=None, repr=False)  # as `proxy` of a client

    def proxy_url_for(self, url: str | httpx.URL) -> str | None:
        """Return the URL of the proxy for a URL, with its password; None for a direct connection."""
        if self._given:
            return self._given
        if not self._proxies:
            return None
        target = httpx.URL(url)
        proxy = self._proxies.get(target.scheme) or self._proxies.get("all")
        if proxy is None or _is_this_machine(target) or any(direct.holds(target) for direct in self._direct):
            return None
        return proxy


def transport_settings(base_url: str, proxy: str | None = None) -> Settings:
    """Read proxies and certificates from the environment.

    Args:
        base_url: The provider.
        proxy: A proxy for all requests, in place of those of the environment.

    Raises:
        InvalidInput: The base URL, the proxy, or a variable of the environment cannot be used.
    """
    if proxy is not None:
        return Settings(checked_base_url(base_url), _certificates(), _given=_checked_proxy("http", proxy, "proxy"))
    found = getproxies()
    excepted = re.split(r"[\s,]+", found.get("no", ""))
    proxies = (
        {} if "*" in excepted else {scheme: found[scheme] for scheme in ("http", "https", "all") if found.get(scheme)}
    )
    checked = {scheme: _checked_proxy(scheme, address) for scheme, address in proxies.items()}
    direct = tuple(entry for text in excepted if (entry := _direct(text)))
    return Settings(checked_base_url(base_url), _certificates(), checked, direct)


def checked_base_url(given: str | None) -> str:
    """The address of the provider: as given, else UNITASK_BASE_URL, else PiAPI.

    Raises:
        InvalidInput: It is no address of a server.
    """
    name, url = "base_url", given
    if url is None or url == "":
        name, url = "UNITASK_BASE_URL", os.environ.get("UNITASK_BASE_URL") or DEFAULT_BASE_URL
    wrong = "give scheme and host, such as " + DEFAULT_BASE_URL
    if isinstance(cast("object", url), str):
        try:
            parts = httpx.URL(url)
            is_origin = (
                parts.scheme in ("http", "https") and _is_host(parts) and (parts.port is None or parts.port in PORTS)
            )
            if is_origin and not re.search(r"[\s?#@\\]", url):
                return url.rstrip("/")
        except (httpx.InvalidURL, ValueError) as error:  # ValueError: a name or a character that cannot be encoded
            wrong = wrong if "@" in url else str(error) or wrong
    raise InvalidInput(f"{name} is {_shown(url)}: {wrong}")


class _Written(httpx.URL):
    """A URL whose path and query are sent as they were written, through a proxy too."""

    def __init__(self, url: httpx.URL, target: bytes) -> None:
        super().__init__(url)
        self._target = target

    @property
    def raw_path(self) -> bytes:
        return self._target


def through_proxy(request: httpx.Request) -> httpx.Request:
    """The request for a proxy. httpcore would put the extension "target" into its CONNECT, and in place of the host."""
    if target := request.extensions.pop("target", None):
        request.url = _Written(request.url, target)
    return request


@dataclass(frozen=True, slots=True)
class _Direct:
    """An entry of NO_PROXY: a name with those below it, an address or a range of them; a scheme and a port limit it."""

    host: str
    network: ipaddress.IPv4Network | ipaddress.IPv6Network | None
    scheme: str | None
    port: int | None

    def holds(self, url: httpx.URL) -> bool:
        if self.scheme not in (None, url.scheme) or self.port not in (None, _port(url)):
            return False
        if self.network is not None:
            address = _address(_host(url))
            return address is not None and address in self.network
        host = _host(url)
        return self.host == "*" or host == self.host or host.endswith("." + self.host)


def _direct(text: str) -> _Direct | None:
    """An entry of NO_PROXY; None for one that names no host, which excepts nothing."""
    scheme, found, rest = text.rpartition("://")
    rest = rest.rstrip("/") if found else rest
    match = re.fullmatch(
        r"\[(?P<v6>[^\]]*)\](?P<range>/\d{1,3})?(:(?P<v6port>\d{1,5}))?|(?P<host>[^:]*?)(:(?P<port>\d{1,5}))?", rest
    )
    if match is None:
        host, port = rest, None  # an address of IPv6 without brackets
    else:
        host = match["host"] or (match["v6"] or "") + (match["range"] or "")
        port = match["port"] or match["v6port"]
    network = _network(host)
    name = host.removeprefix("*").lstrip(".").rstrip(".").lower() if host != "*" else host
    if not name.isascii():
        try:
            name = httpx.URL(f"http://{name}").raw_host.decode()
        except (httpx.InvalidURL, ValueError):
            return None
    return _Direct(name, network, scheme.lower() or None, int(port) if port else None) if name else None


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None


def _checked_proxy(scheme: str, address: str, name: str = "") -> str:
    """The address of a proxy, with its scheme."""
    if not isinstance(cast("object", address), str):
        raise InvalidInput(f"proxy is {address!r:.80}: give a URL as text, such as http://proxy.example:3128")
    url = address if "://" in address else f"http://{address}"
    wrong = (
        f"give http, https or socks5, and a host, such as {scheme if scheme != 'all' else 'http'}://proxy.example:3128"
    )
    try:
        parts = httpx.URL(url)
        usable = parts.scheme in PROXY_SCHEMES and _is_host(parts) and (parts.port is None or parts.port in PORTS)
        if usable and parts.scheme.startswith("socks") and find_spec("socksio") is None:
            usable, wrong = False, "a SOCKS proxy needs another package: pip install 'httpx[socks]'"
        if usable:
            httpx.Proxy(url)
            return url
    except (httpx.InvalidURL, ValueError) as error:
        wrong = wrong if "@" in address else f"{error}; {wrong}"
    names = [each for each in (f"{scheme}_proxy", f"{scheme}_proxy".upper()) if os.environ.get(each)]
    name = name or (names[0] if names else f"the {scheme} proxy of the system")
    raise InvalidInput(f"{name} is {_shown(address)}: {wrong}, or leave it out")


def _certificates() -> ssl.SSLContext:
    """The context for the present variables. Reading certificates takes longer than making a client."""
    names = ("SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE")
    return _context(*((name, value, _state(value)) for name in names for value in (os.environ.get(name, ""),)))


@lru_cache(maxsize=4)
def _context(*_variables: object) -> ssl.SSLContext:
    file, folder, log = (os.environ.get(name, "") for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE"))
    if not file and folder and not any(_is_hashed_folder(part) for part in folder.split(os.pathsep)):
        raise InvalidInput(
            f"SSL_CERT_DIR is {folder!r}: there is no folder with certificates named by `openssl rehash`. "
            "Correct it, or unset it"
        )
    try:
        context = httpx.create_ssl_context()
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        name, value = ("SSL_CERT_FILE", file) if file and not _holds_certificates(file) else ("SSLKEYLOGFILE", log)
        if not value:
            raise InvalidInput(f"the trusted certificates cannot be read: {error}") from None
        raise InvalidInput(f"{name} is {value!r}: {_reason(error)}. Correct it, or unset it") from None
    if file and not context.cert_store_stats()["x509"]:
        raise InvalidInput(f"SSL_CERT_FILE is {file!r}: it holds no certificate. Correct it, or unset it")
    return context


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return "it holds no certificate that can be read"
    return getattr(error, "strerror", None) or str(error)


def _holds_certificates(file: str) -> bool:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=file)
    except (OSError, ValueError):
        return False
    return True


def _is_hashed_folder(path: str) -> bool:
    try:
        return any(_HASHED.fullmatch(name) for name in os.listdir(path))  # noqa: PTH208 - an empty path is no folder
    except (OSError, ValueError):
        return False


def _state(path: str) -> tuple[int, int, int] | None:
    """Return what changes when the content of a file or folder does; None when it does not exist."""
    try:
        found = Path(path).stat() if path else None
    except (OSError, ValueError):
        return None
    return None if found is None else (found.st_ino, found.st_size, found.st_mtime_ns)


def _host(url: httpx.URL) -> str:
    """The host as it is asked for: in lower case, without the dot that ends a full name."""
    return url.raw_host.decode("ascii").lower().rstrip(".")


def _port(url: httpx.URL) -> int | None:
    return url.port or {"http": 80, "https": 443}.get(url.scheme)


@lru_cache(maxsize=1024)
def _address(host: str) -> _Address | None:
    """The address that a host is written as, in any form that a resolver takes; None for a name."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        try:
            return ipaddress.IPv4Address(socket.inet_aton(host)) if host[:1].isdigit() else None
        except OSError:
            return None
    return getattr(address, "ipv4_mapped", None) or address


def _is_this_machine(url: httpx.URL) -> bool:
    host = _host(url)
    address = _address(host)
    if address is not None:
        return address.is_loopback or address.is_unspecified
    return host == "localhost" or host.endswith(".localhost")


def _is_host(url: httpx.URL) -> bool:
    """Whether it has a host that can be looked up. Raises ValueError for one that has no written form."""
    if not url.host:
        return False
    host = url.raw_host.decode("ascii").removesuffix(".")
    if ":" in host:
        return "%" not in host  # httpx has read the address; a zone is of one machine and ends in no certificate
    labels = host.split(".")
    is_name = len(host) <= LONGEST_NAME and all(_LABEL.fullmatch(label) for label in labels)
    return is_name and (not labels[-1].isdigit() or _address(host) is not None)


def _shown(value: object) -> str:
    """A value for a message, without a password."""
    shown = _USERINFO.sub(r"\1***@", value) if isinstance(value, str) else value
    return f"{shown!r:.200}"
