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
from http.cookiejar import CookieJar, DefaultCookiePolicy
from ipaddress import ip_address
from threading import Thread
from typing import Any, cast
from urllib.parse import urlsplit

import httpx
from unitask_contract.bundle import fields
from unitask_contract.exchange import read_json, shortened
from unitask_contract.hiding import scrubbed

Request = Callable[..., httpx.Response]  # takes method and path

CERTIFICATES, KEY_LOG = ("SSL_CERT_FILE", "SSL_CERT_DIR"), "SSLKEYLOGFILE"
PROXIES, NO_PROXY = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), "NO_PROXY"
USUAL_PREFIXES = ("/api/v1", "/api", "/v1")
SHOWN = 80  # characters of an answer
NO_ROUTE = (404, 405)
LARGEST_ANSWER = 8 * 2**20  # bytes, unpacked; documented answers have some thousand
LARGEST_FILE = 256 * 2**20
LARGEST = "unitask.largest"  # the request extension for another largest size of the answer


class CannotRun(Exception):
    """Nothing can be checked; the message says why, and what to do."""


def open_http(base_url: str, within: float) -> httpx.Client:
    """Return an HTTP client for a provider; one on this machine is reached without a proxy.

    Args:
        base_url: The address of the provider.
        within: The seconds that a call may take, head and body together.

    Raises:
        CannotRun: The environment has unusable proxies or certificates; the message names the variables.
    """
    host = httpx.URL(base_url).host
    local = {"localhost", "127.0.0.1", "[::1]", *([f"[{host}]" if ":" in host else host] if is_loopback(host) else [])}
    direct: Mapping[str, None] = {f"all://{name}": None for name in local}
    settings: dict[str, Any] = {
        "base_url": base_url,
        "timeout": within,
        "mounts": direct,
        "event_hooks": {"response": [_unpack_with_a_limit]},
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

    Each call runs in a daemon thread. A call that takes too long is abandoned, and its connection is closed with the
    client.
    """

    def __init__(self, within: float, **settings: Any) -> None:
        super().__init__(**settings)
        self._within = within

    def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        future: Future[httpx.Response] = Future()
        work = super().send

        def run() -> None:
            try:
                future.set_result(work(request, **options))
            except BaseException as error:  # raised in the calling thread
                future.set_exception(error)

        Thread(target=run, daemon=True).start()
        try:
            return future.result(self._within)
        except FutureTimeout:
            raise httpx.ReadTimeout(f"the answer did not end within {self._within:g} s", request=request) from None


def _unpack_with_a_limit(answer: httpx.Response) -> None:
    encoding = answer.headers.pop("content-encoding", "").strip().lower()
    answer.stream = _Body(cast("httpx.SyncByteStream", answer.stream), encoding, answer.request)


class _Body(httpx.SyncByteStream):
    """The body of an answer, unpacked with a limit; httpx has none."""

    def __init__(self, stream: httpx.SyncByteStream, encoding: str, request: httpx.Request) -> None:
        self._stream = stream
        self._encoding = encoding
        self._request = request
        self._largest: int = request.extensions.get(LARGEST, LARGEST_ANSWER)

    def __iter__(self) -> Iterator[bytes]:
        is_packed = self._encoding in ("gzip", "x-gzip")
        if not is_packed and self._encoding not in ("", "identity"):
            raise self._unusable(f"the body is packed as {self._encoding}, which was not requested")
        unpacker = zlib.decompressobj(16 + zlib.MAX_WBITS)
        taken = 0
        for arrived in self._stream:
            part = arrived
            if is_packed:
                try:
                    part = unpacker.decompress(arrived, self._largest + 1 - taken)
                except zlib.error as error:
                    raise self._unusable(f"the body cannot be unpacked, {error}") from None
            taken += len(part)
            if taken > self._largest:
                raise self._unusable(f"the body is larger than {self._largest >> 20} MB")
            yield part
        if is_packed and taken and not unpacker.eof:
            raise self._unusable("the packed body is cut off")

    def _unusable(self, why: str) -> httpx.DecodingError:
        return httpx.DecodingError(why, request=self._request)

    def close(self) -> None:
        self._stream.close()


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
    """Make sure that a provider of this API answers, and accepts the key.

    Args:
        base_url: The address, as it was given.
        request: Sends a request with the key.
        key: The key, which is not shown.

    Raises:
        CannotRun: Something else answers, the key is refused, or it is a mock that keeps no tasks.
    """
    account = request("GET", "/account/info")
    if account.has_redirect_location:
        place = account.headers["location"].partition("?")[0]
        raise CannotRun(f"{base_url} redirects to {place}; give the address of the API itself")
    if account.status_code == 401:
        raise CannotRun(f"{base_url} refuses the key; give another one in UNITASK_API_KEY or with --key")
    unknown = [request("GET", f"/api/v1/task/{uuid.uuid4()}") for _ in range(2)]
    answers = (account, *unknown)
    if not any(map(_is_of_the_api, answers)) and not _is_of_the_api(request("POST", "/api/v1/task", json={})):
        raise CannotRun(f"{_what_answers(base_url, account, key)}{_hint(base_url, request)}")
    status = account.status_code
    if status >= 400 and status != 404 and all(one.status_code == status for one in unknown):
        said = shortened(scrubbed(account.content.decode(errors="replace"), key), SHOWN)
        raise CannotRun(f"{base_url} refuses every request with HTTP {status}: {said}; check the key and the provider")
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


def _what_answers(base_url: str, answer: httpx.Response, key: str) -> str:
    kind = answer.headers.get("content-type", "").partition(";")[0] or "no content type"
    text = " ".join(scrubbed(answer.content.decode(errors="replace"), key).split())
    return (
        f"{base_url} is not a provider of this API: GET {answer.request.url.path} returns HTTP {answer.status_code},"
        f" {kind}: {shortened(text, SHOWN) or 'an empty body'}"
    )


def _hint(base_url: str, request: Request) -> str:
    """Return the address of a provider around this one, or how to find it."""
    for other in _addresses_around(base_url):
        answer = request("GET", f"{other}/account/info")
        if _is_of_the_api(answer) or (answer.status_code == 401 and fields(read_json(answer.content))):
            return f". A provider answers at {other}: give --base-url {other}"
    return ". Give as --base-url what stands before /api/v1/task in its addresses, such as https://api.piapi.ai"


def _addresses_around(base_url: str) -> Iterator[str]:
    url = urlsplit(base_url)
    origin, steps = f"{url.scheme}://{url.netloc}", [step for step in url.path.split("/") if step]
    for number in range(len(steps) - 1, -1, -1):
        yield "/".join([origin, *steps[:number]])
    for prefix in USUAL_PREFIXES:
        yield f"{base_url.rstrip('/')}{prefix}"
