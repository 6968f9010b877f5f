"""How a provider elsewhere is reached, and whether what answers there is one at all.

Rules of this file: what stands in the way (the environment, a proxy, a wrong address, a mock that keeps no tasks) is
said in one sentence with what to do, and is never called a broken contract; nothing here can cost money; a call ends
in time, head and body together, and an answer holds no more than it may, however it is packed.
"""

from __future__ import annotations

import os
import uuid
import zlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from http.cookiejar import CookieJar, DefaultCookiePolicy
from io import BytesIO
from ipaddress import ip_address
from threading import Thread
from typing import Any, cast
from urllib.parse import urlsplit

import httpx
import requests
from requests.adapters import HTTPAdapter
from unitask_contract.bundle import fields
from unitask_contract.exchange import read_json, shortened
from unitask_contract.hiding import scrubbed
from urllib3 import HTTPHeaderDict, HTTPResponse

Ask = Callable[..., httpx.Response]  # method and path

CERTIFICATES, KEY_LOG = ("SSL_CERT_FILE", "SSL_CERT_DIR"), "SSLKEYLOGFILE"
PROXIES, NO_PROXY = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), "NO_PROXY"
USUAL_PREFIXES = ("/api/v1", "/api", "/v1")
SHOWN = 80  # letters of an answer
NO_ROUTE = (404, 405)
LARGEST_ANSWER = 8 * 2**20  # bytes, unpacked; documented answers have some thousand
LARGEST_FILE = 256 * 2**20
LARGEST = "unitask.largest"  # the extension of a request that says how many bytes its answer may have


class CannotRun(Exception):
    """Nothing can be checked at all; the message says why, and what to do."""


def open_http(base_url: str, within: float, **more: Any) -> httpx.Client:
    """A client for a provider; what is on this machine is spoken to directly, whatever proxy is set.

    Args:
        base_url: Where the provider is.
        within: Seconds that a call may take, from its first byte to its last.
        more: What else httpx.Client takes.

    Raises:
        CannotRun: The environment has proxies or certificates that cannot be used; it names the variable.
    """
    host = httpx.URL(base_url).host
    here = {"localhost", "127.0.0.1", "[::1]", *([_bracketed(host)] if is_loopback(host) else [])}
    direct: Mapping[str, None] = {f"all://{name}": None for name in here}
    settings: dict[str, Any] = {
        "timeout": within,
        "mounts": direct,
        "event_hooks": {"response": [_hold]},
        "headers": {"accept-encoding": "gzip"},
        "cookies": CookieJar(DefaultCookiePolicy(allowed_domains=())),  # a provider could set one that cannot be sent
    }
    try:
        return _Client(within, base_url=base_url, **settings, **more)
    except (OSError, ValueError, ImportError, httpx.InvalidURL) as error:
        names = ", ".join(name for name, _ in _settings((*PROXIES, NO_PROXY, *CERTIFICATES, KEY_LOG)))
        why = scrubbed(str(error), "")
        raise CannotRun(f"the environment ({names}) cannot be used: {why}; mend it, or unset it") from None


class _Client(httpx.Client):
    """An httpx client whose calls end in time; the timeouts of httpx are for each read and write.

    Each call runs in a daemon thread. A call that takes too long is abandoned, and its connection is closed with the
    client.

    Args:
        within: Seconds for a whole call.
    """

    def __init__(self, within: float, **settings: Any) -> None:
        super().__init__(**settings)
        self._within = within

    def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        """Send a request and read the response.

        Raises:
            httpx.ReadTimeout: The call took longer than `within`.
        """
        future: Future[httpx.Response] = Future()
        work = super().send

        def run() -> None:
            try:
                future.set_result(work(request, **options))
            except BaseException as error:  # it is raised in the calling thread
                future.set_exception(error)

        Thread(target=run, daemon=True).start()
        try:
            return future.result(self._within)
        except FutureTimeout:
            raise httpx.ReadTimeout(f"the answer had no end after {self._within:g} s", request=request) from None


class OverHttpx(HTTPAdapter):
    """Sends the requests of a `requests.Session` over another client, with the limits and proxies of that one.

    Args:
        http: The other client.
    """

    def __init__(self, http: httpx.Client) -> None:
        super().__init__()
        self._http = http

    def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:
        """Send one, and read its whole answer."""
        headers = [(_latin(name), _latin(value)) for name, value in request.headers.items()]
        asked = self._http.build_request(
            str(request.method), str(request.url), headers=headers, content=cast("bytes | str | None", request.body)
        )
        asked.headers["accept-encoding"] = self._http.headers["accept-encoding"]
        answer = self._http.send(asked)
        # content-length counts the packed body; the content is unpacked
        raw = HTTPResponse(
            BytesIO(answer.content),
            HTTPHeaderDict(item for item in answer.headers.multi_items() if item[0] != "content-length"),
            answer.status_code,
            10 if answer.http_version == "HTTP/1.0" else 11,
            reason=answer.reason_phrase,
            preload_content=False,
        )
        return self.build_response(request, raw)


def _latin(text: str | bytes) -> bytes:
    return text.encode("latin-1") if isinstance(text, str) else text


def _hold(answer: httpx.Response) -> None:
    """Have the body of an answer unpacked here, with a limit; httpx would unpack it without one."""
    packed = [word.strip().lower() for word in answer.headers.pop("content-encoding", "").split(",")]
    answer.stream = _Body(cast("httpx.SyncByteStream", answer.stream), packed, answer.request)


class _Body(httpx.SyncByteStream):
    """The body of an answer as it arrives, unpacked."""

    def __init__(self, stream: httpx.SyncByteStream, packed: list[str], request: httpx.Request) -> None:
        self._stream = stream
        self._packed = [word for word in reversed(packed) if word not in ("", "identity")]
        self._request = request
        self._largest: int = request.extensions.get(LARGEST, LARGEST_ANSWER)

    def __iter__(self) -> Iterator[bytes]:
        if unknown := [word for word in self._packed if word not in ("gzip", "x-gzip")]:
            raise self._unusable(f"its body is packed as {', '.join(unknown)}, which was not asked for")
        unpackers = [zlib.decompressobj(16 + zlib.MAX_WBITS) for _ in self._packed]
        taken = 0
        for arrived in self._stream:
            part = arrived
            for unpacker in unpackers:
                try:
                    part = unpacker.decompress(part, self._largest + 1 - taken)
                except zlib.error as error:
                    raise self._unusable(f"its body cannot be unpacked, {error}") from None
            taken += len(part)
            if taken > self._largest or any(unpacker.unconsumed_tail for unpacker in unpackers):
                raise self._unusable(f"its body is larger than {self._largest >> 20} MB")
            yield part
        if taken and not all(unpacker.eof for unpacker in unpackers):
            raise self._unusable("its packed body is cut off")

    def _unusable(self, why: str) -> httpx.DecodingError:
        return httpx.DecodingError(why, request=self._request)

    def close(self) -> None:
        self._stream.close()


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
    status = account.status_code
    if status >= 400 and status != 404 and all(one.status_code == status for one in unknown):
        said = shortened(scrubbed(account.content.decode(errors="replace"), key), SHOWN)
        raise CannotRun(
            f"{base_url} refuses whatever it is asked with HTTP {status}: {said}; is the key right, and does the"
            " provider work now?"
        )
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
