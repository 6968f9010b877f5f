"""Read and check base URL, proxies and certificates.

Rules of this file: nothing is read at import; a value that cannot be used raises `InvalidInput` that names the variable
or argument; no password of a proxy is shown; a proxy of the environment is not used for this machine.
"""

import ipaddress
import os
import re
import socket
import ssl
from dataclasses import dataclass, field
from functools import cache, lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import cast
from urllib.request import getproxies

import httpx

from ._version import __version__
from .errors import InvalidInput

DEFAULT_BASE_URL = "https://api.piapi.ai"  # servers[0] of the spec
API_PATH = "/api/v1"
PROXY_SCHEMES = ("http", "https", "socks5", "socks5h")
USER_AGENT = f"unitask/{__version__}"
CERTIFICATE_VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE")
PORTS = range(1, 1 << 16)
_USERINFO = re.compile(r"^(\w[\w+.-]*://)?.*@", re.DOTALL)
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class Settings:
    """How connections are made."""

    verify: ssl.SSLContext = field(repr=False)
    _proxies: dict[str, str] = field(repr=False)  # by scheme; they may have passwords
    _excepted: tuple[str, ...] = ()  # hosts, host:port and networks of NO_PROXY
    _is_given: bool = False  # by the user, for every request

    def proxy_url_for(self, url: str | httpx.URL) -> str | None:
        """Return the URL of the proxy for a URL, with its password; None for a direct connection."""
        target = httpx.URL(url)
        proxy = self._proxies.get(target.scheme) or self._proxies.get("all")
        if self._is_given or proxy is None:
            return proxy
        is_direct = _is_this_machine(target) or any(_is_named(target, entry) for entry in self._excepted)
        return None if is_direct else proxy


def transport_settings(proxy: str | None = None) -> Settings:
    """Read certificates and proxies from the environment; `proxy` is for all requests, in place of those."""
    if proxy is not None:
        return Settings(_certificates(), {"all": _checked_proxy("proxy", "http", proxy)}, _is_given=True)
    found = getproxies()
    excepted = re.split(r"[\s,]+", found.get("no", "").lower())
    schemes = [scheme for scheme in ("http", "https", "all") if found.get(scheme) and "*" not in excepted]
    proxies = {scheme: _checked_proxy(_variable(scheme), scheme, found[scheme]) for scheme in schemes}
    return Settings(_certificates(), proxies, tuple(excepted))


def checked_base_url(given: str | None) -> str:
    """Return the base URL without a slash at its end: as given, else UNITASK_BASE_URL, else PiAPI."""
    name, url = "base_url", given
    if url is None or url == "":
        name, url = "UNITASK_BASE_URL", os.environ.get("UNITASK_BASE_URL") or DEFAULT_BASE_URL
    wanted = f"give scheme and host, such as {DEFAULT_BASE_URL}"
    problem = _problem(url, ("http", "https"), wanted)
    if problem or re.search(r"[\s?#@\\]", url):
        raise InvalidInput(f"{name} is {_shown(url)}: {problem or wanted}")
    url = url.rstrip("/")
    if url.endswith(API_PATH):
        raise InvalidInput(f"{name} is {_shown(url)}: leave out {API_PATH}, which each request adds")
    return url


def _problem(url: object, schemes: tuple[str, ...], wanted: str) -> str:
    """Return why this is not the URL of a server, with what is wanted; empty if it is."""
    if not isinstance(url, str):
        return wanted
    try:
        parts = httpx.URL(url)
        return "" if parts.scheme in schemes and _has_host(parts) else wanted
    except (httpx.InvalidURL, ValueError) as error:  # ValueError: a name or a character that cannot be encoded
        return wanted if "@" in url else f"{error}; {wanted}"


class _Written(httpx.URL):
    """A URL whose path and query are sent as they were written, through a proxy too."""

    def __init__(self, url: httpx.URL, target: bytes) -> None:
        super().__init__(url)
        self._target = target

    @property
    def raw_path(self) -> bytes:
        return self._target


def through_proxy(request: httpx.Request) -> httpx.Request:
    """Prepare a request for a proxy: httpcore would put the extension "target" in place of the host of its CONNECT."""
    if target := request.extensions.pop("target", None):
        request.url = _Written(request.url, target)
    return request


def _is_named(url: httpx.URL, entry: str) -> bool:
    """Return whether an entry of NO_PROXY names the host of a URL, or the network of its address."""
    host, port = _host(url), url.port or {"http": 80, "https": 443}.get(url.scheme)
    try:
        network = ipaddress.ip_network(entry, strict=False)
    except ValueError:
        host = f"[{host}]" if ":" in host else host
        end = f".{entry.removeprefix('*').strip('.')}"
        return f".{host}".endswith(end) or f".{host}:{port}".endswith(end)
    address = _address(host)
    return address is not None and address in network


def _variable(scheme: str) -> str:
    names = [name for name in (f"{scheme}_proxy", f"{scheme}_proxy".upper()) if os.environ.get(name)]
    return names[0] if names else f"the {scheme} proxy of the system"


def _checked_proxy(name: str, scheme: str, given: str) -> str:
    """Return the URL of a proxy, with its scheme."""
    host = "http" if scheme == "all" else scheme
    wanted = f"give http, https or socks5, and a host, such as {host}://proxy.example:3128"
    url = f"http://{given}" if isinstance(cast("object", given), str) and "://" not in given else given
    problem = _problem(url, PROXY_SCHEMES, wanted)
    if not problem and url.lower().startswith("socks") and find_spec("socksio") is None:
        problem = "a SOCKS proxy needs another package: pip install 'httpx[socks]'"
    if problem:
        raise InvalidInput(f"{name} is {_shown(given)}: {problem}, or leave it out")
    return url


def _certificates() -> ssl.SSLContext:
    """Return the context for the present variables. The usual one is shared: to read it takes a tenth of a second."""
    given = {name: value for name in CERTIFICATE_VARIABLES if (value := os.environ.get(name))}
    folder = "" if "SSL_CERT_FILE" in given else given.get("SSL_CERT_DIR", "")
    if folder and not any(Path(part).is_dir() for part in folder.split(os.pathsep)):
        raise InvalidInput(f"SSL_CERT_DIR is {folder!r}: there is no such folder. Correct it, or unset it")
    try:
        return httpx.create_ssl_context() if given else _usual_certificates()
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        named = " and ".join(f"{name} is {value!r}" for name, value in given.items())
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise InvalidInput(f"{named or 'the trusted certificates'}: {reason}. Correct it, or unset it") from None


_usual_certificates = cache(httpx.create_ssl_context)


def _host(url: httpx.URL) -> str:
    """Return the host in lower case, without the dot that ends a full name."""
    return url.raw_host.decode("ascii").lower().rstrip(".")


@lru_cache(maxsize=1024)
def _address(host: str) -> _Address | None:
    """Return the address that a host is, in any form that a resolver takes; None for a name."""
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


def _has_host(url: httpx.URL) -> bool:
    """Return whether host and port can be connected to. Raises ValueError for a name without a wire form."""
    if not url.host or (url.port is not None and url.port not in PORTS):
        return False
    host = url.raw_host.decode("ascii")
    if ":" not in host:
        host.encode("idna")  # as a lookup does first
    return "%" not in host  # a zone of IPv6 is of one machine, and in no certificate


def _shown(value: object) -> str:
    """Show a value without a password."""
    if not isinstance(value, str):
        return f"of type {type(value).__name__}"
    shown = _USERINFO.sub(r"\1***@", value)
    return f"{shown!r:.200}"
