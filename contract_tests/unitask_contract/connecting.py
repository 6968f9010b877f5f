"""How a provider elsewhere is reached, and whether what answers there is one at all.

Rules of this file: what stands in the way (the environment, a proxy, a wrong address, a mock that keeps no tasks) is
said in one sentence with what to do, and is never called a broken contract; nothing here can cost money.
"""

from __future__ import annotations

import os
import ssl
import uuid
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
from unitask_contract.bundle import fields
from unitask_contract.exchange import read_json, shortened
from unitask_contract.hiding import scrubbed

Ask = Callable[..., httpx.Response]  # method and path

CERTIFICATES, KEY_LOG = ("SSL_CERT_FILE", "SSL_CERT_DIR"), "SSLKEYLOGFILE"
PROXIES, NO_PROXY = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), "NO_PROXY"
PROXY_SCHEMES = ("http", "https", "socks5", "socks5h")
USUAL_PREFIXES = ("/api/v1", "/api", "/v1")
SHOWN = 80  # letters of an answer
SHOWN_VALUE = 100  # letters of a variable
NO_ROUTE = (404, 405)


class CannotRun(Exception):
    """Nothing can be checked at all; the message says why, and what to do."""


def open_http(base_url: str, within: float, **more: Any) -> httpx.Client:
    """A client for a provider; what is on this machine is spoken to directly, whatever proxy is set.

    Args:
        base_url: Where the provider is.
        within: Seconds that a call may take.
        more: What else httpx.Client takes.

    Raises:
        CannotRun: The environment has proxies or certificates that cannot be used; it names the variable.
    """
    host = httpx.URL(base_url).host
    here = {"localhost", "127.0.0.1", "[::1]", *([_bracketed(host)] if is_loopback(host) else [])}
    direct: Mapping[str, None] = {f"all://{name}": None for name in here}
    if wrong := next(_wrong_settings(), None):
        raise CannotRun(wrong)
    try:
        return httpx.Client(base_url=base_url, timeout=within, mounts=direct, **more)
    except (OSError, ValueError, ImportError, httpx.InvalidURL) as error:
        names = ", ".join(name for name, _ in _settings((*PROXIES, NO_PROXY, *CERTIFICATES, KEY_LOG)))
        raise CannotRun(f"the environment ({names}) cannot be used: {error}; mend it, or unset it") from None


def proxies_to(base_url: str) -> str:
    """Words on the proxies that stand before a provider; empty where there are none."""
    names = [] if is_loopback(httpx.URL(base_url).host) else [name for name, _ in _settings(PROXIES)]
    return f" (through the proxy of {' or '.join(names)})" if names else ""


def is_loopback(host: str) -> bool:
    """Whether a host is this machine."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost" or host.lower().endswith(".localhost")


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _settings(names: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Those of some variables that are set, as they are written, and their values."""
    for name in names:
        for spelled in (name, name.lower()):
            if value := os.environ.get(spelled):
                yield spelled, value


def _wrong_settings() -> Iterator[str]:
    """What is wrong with the variables that httpx reads, in a sentence each."""
    for name, value in _settings((KEY_LOG, *CERTIFICATES)):
        if name.isupper() and (problem := _problem(_try_tls, name, value)):
            yield _sentence(name, value, problem)
    for name, value in _settings(PROXIES):
        if problem := _problem(_try_proxy, name, value):
            yield _sentence(name, value, problem)
    for name, value in _settings((NO_PROXY,)):
        for part in filter(None, map(str.strip, value.split(","))):
            if problem := _problem(_try_host, name, part):
                yield _sentence(name, value, problem)


def _problem(attempt: Callable[[str, str], object], name: str, value: str) -> str:
    """Why a setting cannot be used; empty when it can."""
    try:
        attempt(name, value)
    except (OSError, ValueError, ImportError, httpx.InvalidURL) as error:
        return getattr(error, "strerror", None) or str(error) or type(error).__name__
    return ""


def _sentence(name: str, value: str, problem: str) -> str:
    shown = shortened(f"...{value[value.rindex('@') :]}" if "@" in value else value, SHOWN_VALUE)
    return f"the environment variable {name}={shown!r} cannot be used ({problem}); mend it, or unset it"


def _try_tls(name: str, value: str) -> None:
    if name == KEY_LOG:
        with Path(value).open("ab"):
            return
    if not Path(value).exists():
        raise FileNotFoundError(f"there is no {value}")
    ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(
        **{"cafile" if name == "SSL_CERT_FILE" else "capath": value}
    )


def _try_proxy(_name: str, value: str) -> None:
    url = urlsplit(value if "://" in value else f"http://{value}")
    httpx.URL(url.geturl())
    if url.scheme not in PROXY_SCHEMES or not url.hostname or url.port == 0:
        raise ValueError(f"a proxy is an address with one of {', '.join(f'{one}://' for one in PROXY_SCHEMES)}")
    if url.scheme.startswith("socks") and find_spec("socksio") is None:
        raise ImportError("SOCKS needs socksio: pip install 'httpx[socks]'")


def _try_host(_name: str, value: str) -> None:
    if value != "*" and "[" in value:
        raise ValueError("an IPv6 address is written without brackets, such as ::1")
    if "://" not in value and ":" not in value:
        httpx.URL(f"all://*{value}")


# --- what answers there


def greet(base_url: str, ask: Ask, key: str) -> None:
    """Make sure that a provider of this API answers, and takes the key.

    Args:
        base_url: As it was given.
        ask: Sends a request, with the key.
        key: Is not shown.

    Raises:
        CannotRun: Something else answers there, the key is refused, or it is a mock that keeps no tasks.
    """
    account = ask("GET", "/account/info")
    if account.has_redirect_location:
        place = account.headers["location"].partition("?")[0]
        raise CannotRun(f"{base_url} sends every caller on to {place}; give the address of the API itself")
    if account.status_code == 401:
        raise CannotRun(f"{base_url} refuses the key; give a right one in UNITASK_API_KEY or with --key")
    unknown = [ask("GET", f"/api/v1/task/{uuid.uuid4()}") for _ in range(2)]
    if not any(map(_is_of_the_api, (account, *unknown))) and not _is_of_the_api(ask("POST", "/api/v1/task", json={})):
        raise CannotRun(f"{_what_answers(base_url, account, key)}{_hint(base_url, ask)}")
    if all(map(_shows_a_task, unknown)):
        raise CannotRun(
            f"{base_url} keeps no tasks: it answers GET with a task for two ids that nobody created, as mock servers"
            " such as Prism and Mockoon do, which make answers up from the spec. Nothing that it says of a task can be"
            " checked; `unitask sandbox` is a local provider that keeps tasks"
        )


def _is_of_the_api(answer: httpx.Response) -> bool:
    """Whether an answer has the form of this API: data, or a refusal that is about more than the route."""
    body = fields(read_json(answer.content))
    if body.get("data") is not None:
        return True
    return {"code", "message"} <= body.keys() and answer.status_code not in NO_ROUTE


def _shows_a_task(answer: httpx.Response) -> bool:
    data = fields(fields(read_json(answer.content)).get("data"))
    return answer.status_code == 200 and bool(data.get("task_id") or data.get("status"))


def _what_answers(base_url: str, answer: httpx.Response, key: str) -> str:
    kind = answer.headers.get("content-type", "").partition(";")[0] or "no content type"
    text = " ".join(scrubbed(answer.content.decode(errors="replace"), key).split())
    return (
        f"what answers at {base_url} is no provider of this API: GET {answer.request.url.path} is answered with"
        f" HTTP {answer.status_code}, {kind}: {shortened(text, SHOWN) or 'an empty body'}"
    )


def _hint(base_url: str, ask: Ask) -> str:
    """What address to give instead: one around it that does answer as a provider, or how to find it."""
    for other in _others(base_url):
        answer = ask("GET", f"{other}/account/info")
        if _is_of_the_api(answer) or (answer.status_code == 401 and fields(read_json(answer.content))):
            return f". A provider answers at {other}: give --base-url {other}"
    return ". Give as --base-url what stands before /api/v1/task in its addresses, such as https://api.piapi.ai"


def _others(base_url: str) -> Iterator[str]:
    url = urlsplit(base_url)
    origin, steps = f"{url.scheme}://{url.netloc}", [step for step in url.path.split("/") if step]
    for number in range(len(steps) - 1, -1, -1):
        yield "/".join([origin, *steps[:number]])
    for prefix in USUAL_PREFIXES:
        yield f"{base_url.rstrip('/')}{prefix}"
