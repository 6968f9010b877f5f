"""Connect to a remote provider, and make sure that a provider answers.

An obstacle (the environment, a proxy, a wrong address, a mock that keeps no tasks) ends in CannotRun, with what to do.
It is not a broken contract. Nothing here costs money. A call has one time limit, and an answer a largest size.
"""

import os
import uuid
import zlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import closing
from http.cookiejar import CookieJar, DefaultCookiePolicy
from ipaddress import ip_address
from threading import Thread
from typing import Any

import httpx
from unitask_contract.bundle import fields
from unitask_contract.exchange import read_json, shortened
from unitask_contract.hiding import scrubbed

Request = Callable[..., httpx.Response]  # takes method and path

CERTIFICATES, KEY_LOG = ("SSL_CERT_FILE", "SSL_CERT_DIR"), "SSLKEYLOGFILE"
PROXIES, NO_PROXY = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), "NO_PROXY"
SHOWN = 80  # characters of an answer
NO_ROUTE = (404, 405)
LARGEST_ANSWER = 8 * 2**20  # bytes, unpacked; documented answers have some thousand
LARGEST_FILE = 256 * 2**20
LARGEST = "unitask.largest"  # the request extension for another largest size of the answer


class CannotRun(Exception):
    """Nothing can be checked; the message says why, and what to do."""


def open_http(base_url: str, within: float) -> httpx.Client:
    """Return an HTTP client whose calls take so many seconds at most; this machine is reached without a proxy.

    Unusable proxies or certificates of the environment raise CannotRun, which names the variables.
    """
    host = httpx.URL(base_url).host
    local = {"localhost", "127.0.0.1", "[::1]", *([f"[{host}]" if ":" in host else host] if is_loopback(host) else [])}
    direct: Mapping[str, None] = {f"all://{name}": None for name in local}
    settings: dict[str, Any] = {
        "base_url": base_url,
        "timeout": within,
        "mounts": direct,
        "headers": {"accept-encoding": "gzip"},
        "cookies": CookieJar(DefaultCookiePolicy(allowed_domains=())),  # a provider could set one that cannot be sent
    }
    try:
        return _Client(within, **settings)
    except (OSError, ValueError, ImportError, httpx.InvalidURL) as error:
        names = ", ".join(_set_variables((*PROXIES, NO_PROXY, *CERTIFICATES, KEY_LOG)))
        why = scrubbed(str(error), "")
        raise CannotRun(f"the environment ({names}) cannot be used: {why}; correct it, or unset it") from None


class _Client(httpx.Client):
    """An httpx client with a time limit for whole calls; the timeouts of httpx are for each read and write.

    Each call runs in a daemon thread. One that takes too long is abandoned; its connection is closed with the client.
    """

    def __init__(self, within: float, **settings: Any) -> None:
        super().__init__(**settings)
        self._within = within

    def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        future: Future[httpx.Response] = Future()
        options |= {"stream": True}
        start = super().send

        def run() -> None:
            try:
                future.set_result(_read(start(request, **options)))
            except BaseException as error:  # raised in the calling thread
                future.set_exception(error)

        Thread(target=run, daemon=True).start()
        try:
            return future.result(self._within)
        except FutureTimeout:
            raise httpx.ReadTimeout(f"the answer did not end within {self._within:g} s", request=request) from None


def _read(answer: httpx.Response) -> httpx.Response:
    """Read the body of an answer, and unpack it with a limit; httpx has none."""
    try:
        with closing(answer):
            content = _unpacked(answer)
    except (ValueError, zlib.error) as error:
        raise httpx.DecodingError(f"the body is unusable: {error}", request=answer.request) from None
    read = httpx.Response(answer.status_code, headers=answer.headers, content=content, request=answer.request)
    read.elapsed = answer.elapsed
    return read


def _unpacked(answer: httpx.Response) -> bytes:
    encoding = answer.headers.pop("content-encoding", "").strip().lower()
    if encoding not in ("", "identity", "gzip", "x-gzip"):
        raise ValueError(f"packed as {encoding}, which was not requested")
    unpacker = zlib.decompressobj(16 + zlib.MAX_WBITS) if encoding.endswith("gzip") else None
    largest: int = answer.request.extensions.get(LARGEST, LARGEST_ANSWER)
    content = bytearray()
    for part in answer.iter_raw():
        content += unpacker.decompress(part, largest + 1 - len(content)) if unpacker else part
        if len(content) > largest:
            raise ValueError(f"larger than {largest >> 20} MB")
    if unpacker and content and not unpacker.eof:
        raise ValueError("packed, and cut off")
    return bytes(content)


def proxies_to(base_url: str) -> str:
    """Return a note on the proxies before a provider; empty without any."""
    names = [] if is_loopback(httpx.URL(base_url).host) else list(_set_variables(PROXIES))
    return f" (through the proxy of {' or '.join(names)})" if names else ""


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost" or host.lower().endswith(".localhost")


def _set_variables(names: tuple[str, ...]) -> Iterator[str]:
    yield from (spelled for name in names for spelled in (name, name.lower()) if os.environ.get(spelled))


# Is it a provider?


def greet(base_url: str, request: Request, key: str) -> None:
    """Raise CannotRun unless a provider of this API answers, accepts the key, and keeps tasks."""
    account = request("GET", "/account/info")
    status, said = account.status_code, " ".join(scrubbed(account.content.decode(errors="replace"), key).split())
    said = shortened(said, SHOWN) or "an empty body"
    unknown = [request("GET", f"/api/v1/task/{uuid.uuid4()}") for _ in range(2)]
    answers = (account, *unknown)
    if not any(map(_is_of_the_api, answers)) and not _is_of_the_api(request("POST", "/api/v1/task", json={})):
        kind = account.headers.get("content-type", "").partition(";")[0] or "no content type"
        raise CannotRun(
            f"{base_url} is not a provider of this API: GET {account.request.url.path} returns HTTP {status},"
            f" {kind}: {said}. Give as --base-url what stands before /api/v1/task in its addresses, such as"
            " https://api.piapi.ai"
        )
    if status >= 400 and status != 404 and all(one.status_code == status for one in unknown):
        raise CannotRun(f"{base_url} refuses every request with HTTP {status}: {said}; check UNITASK_API_KEY or --key")
    if all(map(_shows_a_task, unknown)):
        raise CannotRun(
            f"{base_url} keeps no tasks: GET returns a task for two ids that were never created, as mock servers such"
            " as Prism and Mockoon do, which invent answers from the spec. Nothing can be checked with it;"
            " `unitask sandbox` is a local provider that keeps tasks"
        )


def _is_of_the_api(answer: httpx.Response) -> bool:
    """Return whether an answer has the form of this API: data, or a refusal that is not about the route."""
    body = fields(read_json(answer.content))
    if body.get("data") is not None:
        return True
    return {"code", "message"} <= body.keys() and answer.status_code not in NO_ROUTE


def _shows_a_task(answer: httpx.Response) -> bool:
    data = fields(fields(read_json(answer.content)).get("data"))
    return answer.status_code == 200 and bool(data.get("task_id") or data.get("status"))
