"""A provider under test: the sandbox in the same process, or any base URL, reached without the client of unitask.

Every exchange is kept. Every submission holds its price against the money limit before it is sent.
"""

import json
import re
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any, cast

import httpx
import requests
from unitask_contract.bundle import fields
from unitask_contract.connecting import LARGEST, LARGEST_FILE, CannotRun, greet, open_http, proxies_to
from unitask_contract.exchange import Exchange
from unitask_contract.hiding import hidden_in, scrubbed
from unitask_contract.in_process import IN_PROCESS, InProcess, no_network
from unitask_contract.money import LeftOut as LeftOut
from unitask_contract.money import Money as Money
from unitask_contract.money import price_of_post
from unitask_sandbox import Settings, create_app

NEVER_LEFT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
OF_A_GATEWAY = (408, 499)  # the gateway gave up waiting; the provider behind it may have accepted the submission
MOST_PORT = 65535
ANSWER_SECONDS = 60.0  # for a whole answer
TRIES = 6  # of a request that is refused with HTTP 429
LONGEST_PAUSE = 30.0  # seconds between them; a longer Retry-After is not waited for


class Limited(CannotRun):
    """The provider still refuses with HTTP 429, or asks for a longer pause than LONGEST_PAUSE."""


@dataclass
class Inside:
    """What only a provider in the same process has: other accounts, a clock, and webhooks that arrive here."""

    later: float = 0.0  # seconds by which its clock is ahead
    answers: list[int] = field(default_factory=list[int])  # statuses of the answers to the next webhooks; then 200
    webhooks: list[tuple[Mapping[str, str], Any]] = field(default_factory=list[tuple[Mapping[str, str], Any]])
    other_key: str = "another contract"
    poor_key: str = "no credit"

    def receive(self, _url: str, body: bytes, headers: Mapping[str, str]) -> int:
        self.webhooks.append((headers, json.loads(body)))
        return self.answers.pop(0) if self.answers else 200

    def webhooks_of(self, task_id: str) -> list[tuple[Mapping[str, str], Any]]:
        """Return the webhooks about a task; one that names no task counts for each."""
        named = ((fields(fields(body).get("data")).get("task_id"), headers, body) for headers, body in self.webhooks)
        return [(headers, body) for name, headers, body in named if name in (task_id, None)]


@dataclass
class Provider:
    """A provider under test, and what went over the wire."""

    http: httpx.Client
    key: str
    advance: Callable[[float], object]  # lets the sandbox move its tasks; waits so many seconds for a remote provider
    timeout: float | None = None  # seconds until a task counts as stuck; None: by the usual duration of its type
    inside: Inside | None = None  # None for a remote provider
    seed: int | None = None  # of generated requests; None for new ones each time
    money: Money = field(default_factory=Money)
    exchanges: list[Exchange] = field(default_factory=list[Exchange])
    generated: list[Exchange] = field(default_factory=list[Exchange])  # of generated requests
    say: Callable[[str], object] = lambda _: None  # reports what happens meanwhile, such as a pause
    submissions: dict[str, tuple[Any, float]] = field(default_factory=dict[str, tuple[Any, float]])  # body, `waited`
    stuck: dict[str, str] = field(
        default_factory=dict[str, str]
    )  # the tasks that did not end in time, and their models
    waited: float = 0.0  # the seconds of all pauses
    pace: float | None = None  # the longest share of its usual duration that a task took; None until one has ended
    clock: Callable[[], float] = time.monotonic
    refused: bool = False  # the last request was refused with HTTP 429 to the end
    memo: dict[Any, Any] = field(default_factory=dict[Any, Any])  # what checks share: tasks and uploaded files
    seconds: list[float] = field(default_factory=list[float])  # the duration of each answer

    def request(self, method: str, path: str, key: str | None = "", **more: Any) -> httpx.Response:
        """Send a request, with the right key unless another one or None is given.

        A submission whose price is beyond the money limit raises LeftOut; HTTP 429 again and again raises Limited.
        """
        what, usd = price_of_post(path, more.get("json")) if method == "POST" else ("", 0.0)
        is_paid = key == ""  # without the right key a request is refused, unless the provider is wrong
        headers = {} if key is None else self.headers(key)

        def send() -> httpx.Response:
            if is_paid:
                self.money.hold(what, usd)
            started = self.clock()
            try:
                answer = self.http.request(method, path, headers=headers, **more)
            except NEVER_LEFT:
                if is_paid:
                    self.money.count(usd, -1)
                raise
            if is_refused(answer) == is_paid:
                self.money.count(usd, -1 if is_paid else 1)
            self.exchanges.append(self._exchange(answer))
            self.seconds.append(self.clock() - started)
            return answer

        return self._patiently(send)

    def pause(self, seconds: float) -> None:
        """Wait, or let the sandbox move its tasks."""
        self.waited += seconds
        self.advance(seconds)

    def fetch(self, url: str) -> httpx.Response:
        """Get a file, which may be larger than an answer."""
        return self.http.get(url, extensions={LARGEST: LARGEST_FILE})

    def send_generated(self, case: Any) -> httpx.Response:
        """Send a request that schemathesis generated; its price counts if it may have been accepted."""
        data = case.as_transport_kwargs(base_url=str(self.http.base_url), headers=self.headers())
        prepared = requests.Request(**data).prepare()
        headers = httpx.Headers(cast("Any", prepared.headers), encoding="latin-1")
        content: Any = prepared.body

        def send() -> httpx.Response:
            answer = self.http.request(str(prepared.method), str(prepared.url), headers=headers, content=content)
            exchange = self._exchange(answer)
            self.generated.append(exchange)
            if exchange.method == "POST" and not is_refused(answer):
                self.money.count(price_of_post(exchange.path, exchange.asked)[1])
            return answer

        return self._patiently(send)

    def _patiently(self, send: Callable[[], httpx.Response]) -> httpx.Response:
        """Send a request until it is not refused with HTTP 429, which means that it was not carried out.

        No pause is longer than LONGEST_PAUSE. After a request was refused to the end, the next ones are sent once each,
        until one is answered otherwise.
        """
        tries = 0
        while True:
            tries += 1
            answer = send()
            if answer.status_code != 429 or not is_refused(answer):
                self.refused = False
                return answer
            asked = answer.headers.get("retry-after", "")
            pause = _pause(asked)
            said = f"HTTP 429 to {answer.request.method} {answer.request.url}"
            said += f", with Retry-After: {asked}" if asked else ""
            if pause > LONGEST_PAUSE or self.refused or tries == TRIES:
                times = "again" if self.refused else f"{tries} times"
                self.refused = True
                raise Limited(f"{said}, {times}; pauses are at most {LONGEST_PAUSE:g} s")
            self.say(f"waits {pause:g} s: {said}")
            self.pause(pause)

    def headers(self, key: str = "") -> dict[str, str]:
        """Return the headers with a key, for all operations: those of the LLM endpoints take a bearer token."""
        return {"x-api-key": key or self.key, "authorization": f"Bearer {key or self.key}"}

    def _exchange(self, answer: httpx.Response) -> Exchange:
        request, url = answer.request, answer.request.url
        path = url.path.removeprefix(self.http.base_url.path.rstrip("/"))
        kind = answer.headers.get("content-type", "")
        content = hidden_in(answer.content, self.key)
        return Exchange(request.method, path, request.content, answer.status_code, content, kind, url.query.decode())


def is_refused(answer: httpx.Response) -> bool:
    """Return whether an answer proves that nothing was accepted: a refusal that names no task."""
    refused = 400 <= answer.status_code < 500 and answer.status_code not in OF_A_GATEWAY
    return refused and b"task_id" not in answer.content


def _pause(retry_after: str) -> float:
    """Return the seconds of a Retry-After header, a number or a date; at least 1."""
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", retry_after):
        return max(1.0, float(retry_after))
    try:
        return max(1.0, parsedate_to_datetime(retry_after).timestamp() - time.time())
    except (ValueError, OverflowError):
        return 1.0


@contextmanager
def sandbox(make_app: Callable[[Settings], Any] = create_app, seed: int | None = None) -> Generator[Provider]:
    """Run the sandbox, or another application, in the same process; its tasks move only when the checks let them."""
    key, inside = "key-of-the-contract-checks", Inside()
    app = make_app(
        Settings(
            keys={key: 1e9, inside.other_key: 1.0, inside.poor_key: 0.0},
            clock=lambda: time.time() + inside.later,
            autorun=False,
            engine_process=False,
            fetch=no_network,
            send_webhook=inside.receive,
        )
    )
    try:
        with httpx.Client(transport=InProcess(app), base_url=IN_PROCESS) as http:
            yield Provider(http, key, lambda _: app.state.sandbox.advance(), inside=inside, seed=seed)
    finally:
        app.state.sandbox.close()


@contextmanager
def remote(
    base_url: str,
    key: str,
    money: Money,
    *,
    timeout: float | None = None,
    seed: int | None = None,
    say: Callable[[str], object] = lambda _: None,
) -> Generator[Provider]:
    """Connect to a remote provider, whose tasks may take `timeout` seconds; raise CannotRun if that is impossible.

    Without a timeout a task may take some times the usual duration of its type.
    """
    _check_address(base_url)
    with open_http(base_url, max(1.0, min(ANSWER_SECONDS, timeout or ANSWER_SECONDS))) as http:
        subject = Provider(http, key, time.sleep, timeout=timeout, seed=seed, money=money)
        subject.say = lambda text: say(scrubbed(text, key))
        try:
            greet(base_url, subject.request, key)
        except CannotRun as error:
            raise CannotRun(scrubbed(str(error), key)) from None
        except (httpx.HTTPError, UnicodeError) as error:
            said = "no answer in time" if isinstance(error, httpx.TimeoutException) else str(error)
            place = f"{base_url}{proxies_to(base_url)}"
            raise CannotRun(f"there is no usable answer at {place} ({said}); is the address right?") from None
        yield subject


def _check_address(base_url: str) -> None:
    try:
        url = httpx.URL(base_url)
        is_valid = url.scheme in ("http", "https") and bool(url.host) and (url.port or 0) <= MOST_PORT
    except (httpx.InvalidURL, UnicodeError) as error:
        raise CannotRun(f"--base-url {base_url!r} is not an address ({error})") from None
    if not is_valid:
        raise CannotRun(f"--base-url {base_url!r} is not an address; give one such as http://127.0.0.1:8042")
    if url.userinfo:
        raise CannotRun("--base-url has a user name before its host; leave it out, the API takes only a key")
