"""A provider under test: the sandbox in-process, or any base URL, spoken to without our client.

A fault of the client cannot hide one of the provider so. Every exchange is kept; every create holds its price against
the money limit before it is sent.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any, cast
from urllib.parse import urlsplit

import httpx
import requests
import schemathesis
from unitask_contract import bundle, prices
from unitask_contract.bundle import fields
from unitask_contract.connecting import LARGEST, LARGEST_FILE, CannotRun, OverHttpx, greet, open_http, proxies_to
from unitask_contract.exchange import Exchange
from unitask_contract.hiding import hidden_in, scrubbed
from unitask_contract.provider_schema import provider_schema
from unitask_contract.sandbox_runner import IN_PROCESS, InProcess, no_network
from unitask_sandbox import Settings, create_app

CHAT_USD = 0.001  # held for a chat of a word; its true price is far below
NEVER_LEFT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
OF_A_GATEWAY = (408, 499)  # it gave up waiting: what stands behind it may have accepted the create
LOOK_EVERY = 3.0  # seconds; the first looks at a task come sooner
EARLY_LOOKS = 6
MOST_PORT = 65535
ANSWER_WITHIN = 60.0  # seconds for a whole answer
TRIES = 6  # of a request that is refused for the rate
LONGEST_PAUSE = 30.0  # seconds between them; a provider that asks for more is not waited for


class LeftOut(Exception):
    """A check cannot be made here; the message says why."""


class Limited(Exception):
    """The provider goes on to refuse for the rate, however long one waits."""


@dataclass
class Money:
    """What may be spent, and what the creates sent so far will cost at most by the price list of the contract.

    Attributes:
        limit_usd: Infinite where nothing is real.
        held_usd: For every create that was sent and that may have been accepted.
        unpriced: How many of those creates have no known price; they are not in `held_usd`.
    """

    limit_usd: float = math.inf
    held_usd: float = 0.0
    unpriced: int = 0

    def hold(self, what: str, usd: float | None) -> None:
        """Set a price aside.

        Raises:
            LeftOut: It is beyond the limit, or not known while there is a limit.
        """
        if not math.isinf(self.limit_usd):
            if usd is None:
                raise LeftOut(f"the price of {what} is not known beforehand; --max-usd inf sends it all the same")
            if usd > self.left_usd:
                raise LeftOut(f"{what} costs ${usd:.4g}, and ${self.left_usd:.4g} is left of --max-usd")
        self.count(usd)

    def count(self, usd: float | None, times: int = 1) -> None:
        """Add a price to what is held, or with -1 take it back, without asking the limit."""
        if usd is None:
            self.unpriced += times
        else:
            self.held_usd = round(self.held_usd + times * usd, 9)

    @property
    def left_usd(self) -> float:
        """What is left of the limit."""
        return max(0.0, round(self.limit_usd - self.held_usd, 9))


@dataclass
class Inside:
    """What only a provider in-process has: other accounts, a clock, and webhooks that arrive here.

    Attributes:
        later: Seconds by which its clock is ahead.
        answers: The statuses of the answers to the next webhooks; then 200.
        told: Each webhook that came: headers and body.
    """

    later: float = 0.0
    answers: list[int] = field(default_factory=list[int])
    told: list[tuple[Mapping[str, str], Any]] = field(default_factory=list[tuple[Mapping[str, str], Any]])
    other_key: str = "another contract"
    poor_key: str = "no credit"

    def clock(self) -> float:
        """Now, for the provider."""
        return time.time() + self.later

    def receive(self, _url: str, body: bytes, headers: Mapping[str, str]) -> int:
        """A webhook comes."""
        self.told.append((headers, json.loads(body)))
        return self.answers.pop(0) if self.answers else 200

    def told_of(self, task_id: str) -> list[tuple[Mapping[str, str], Any]]:
        """The webhooks that came about a task; one without a task is about each."""
        named = ((fields(fields(body).get("data")).get("task_id"), headers, body) for headers, body in self.told)
        return [(headers, body) for name, headers, body in named if name in (task_id, None)]


@dataclass
class Provider:
    """A provider under test, and how time passes for it.

    Attributes:
        schema: Of schemathesis, bound to this provider.
        advance: Lets it work on; elsewhere waits so many seconds.
        looks: How often a task is looked at before it counts as stuck.
        inside: What only a provider in-process has; None for one somewhere else.
        seed: Of what is drawn at random; None draws anew each time, or as the profile of hypothesis says.
        exchanges: What went over the wire, in order.
        drawn: The same of requests that were drawn at random.
        drawing: With what schemathesis sends a request.
        say: Tells what happens meanwhile, such as a pause.
        stuck: The tasks that were waited for as long as a task may take, and did not end.
        refused: Whether the last request was refused for the rate to the end.
        memo: What checks share: the tasks that they have made, the files that they have uploaded.
        seconds: How long each answer took.
    """

    http: httpx.Client
    schema: Any
    key: str
    advance: Callable[[float], object]
    looks: int = 120
    inside: Inside | None = None
    seed: int | None = None
    money: Money = field(default_factory=Money)
    exchanges: list[Exchange] = field(default_factory=list[Exchange])
    drawn: list[Exchange] = field(default_factory=list[Exchange])
    drawing: dict[str, Any] = field(default_factory=dict[str, Any])
    say: Callable[[str], object] = lambda _: None
    stuck: list[str] = field(default_factory=list[str])
    refused: bool = False
    memo: dict[Any, Any] = field(default_factory=dict[Any, Any])
    seconds: list[float] = field(default_factory=list[float])

    def request(self, method: str, path: str, key: str | None = "", **more: Any) -> httpx.Response:
        """One call, with the right key unless another or none is given.

        Raises:
            LeftOut: It is a create whose price is beyond the money limit.
            Limited: It is refused for the rate again and again.
        """
        what, usd = _price(path, more.get("json")) if method == "POST" else ("", 0.0)
        is_ours = key == ""  # what is sent without the key is refused, or it is a fault that costs us nothing
        headers = {} if key is None else self.headers(key)

        def send() -> httpx.Response:
            if is_ours:
                self.money.hold(what, usd)
            started = time.monotonic()
            try:
                answer = self.http.request(method, path, headers=headers, **more)
            except NEVER_LEFT:
                if is_ours:
                    self.money.count(usd, -1)
                raise
            if is_refused(answer) == is_ours:
                self.money.count(usd, -1 if is_ours else 1)
            self.exchanges.append(self.exchange(answer.request, answer))
            self.seconds.append(time.monotonic() - started)
            return answer

        answer: httpx.Response = self.patiently(send)
        return answer

    def fetch(self, url: str) -> httpx.Response:
        """A file, which may be larger than an answer."""
        return self.http.get(url, extensions={LARGEST: LARGEST_FILE})

    def draw(self, call: Callable[[], Any]) -> Any:
        """One call that schemathesis makes; its price is counted where it may have been accepted.

        Raises:
            Limited: It is refused for the rate again and again.
        """

        def send() -> Any:
            answer = call()
            exchange = self.exchange(answer.request, answer)
            self.drawn.append(exchange)
            if exchange.method == "POST" and not is_refused(answer):
                self.money.count(_price(exchange.path, exchange.asked)[1])
            return answer

        return self.patiently(send)

    def patiently(self, send: Callable[[], Any]) -> Any:
        """An answer that is no refusal for the rate (HTTP 429): what is refused so was not done, and is sent again.

        Pauses are bounded: none is longer than LONGEST_PAUSE, and once a request was refused to the end, those that
        follow are sent once each until one is answered otherwise.

        Raises:
            Limited: It is refused for the rate again and again, or for longer than is waited.
        """
        tries = 0
        while True:
            answer = send()
            tries += 1
            if answer.status_code != 429 or not is_refused(answer):
                self.refused = False
                return answer
            asked = _header(answer, "retry-after")
            pause = _pause(asked)
            named = f"HTTP 429 to {answer.request.method} {answer.request.url}"
            said = f", with Retry-After: {asked}" if asked else ""
            if pause > LONGEST_PAUSE:
                self.refused = True
                raise Limited(f"{named}{said}; at most {LONGEST_PAUSE:g} s are waited")
            if self.refused or tries == TRIES:
                again = "again" if self.refused else f"{TRIES} times, with pauses"
                self.refused = True
                raise Limited(f"{named}{said} {again}")
            self.say(f"waits {pause:g} s: {named}{said}")
            self.advance(pause)

    def headers(self, key: str = "") -> dict[str, str]:
        """The key as every operation takes it: the OpenAI-shaped ones as a bearer token."""
        return {"x-api-key": key or self.key, "authorization": f"Bearer {key or self.key}"}

    def exchange(self, request: Any, answer: Any) -> Exchange:
        """An exchange of httpx or of requests."""
        url = urlsplit(str(request.url))
        path = url.path.removeprefix(self.http.base_url.path.rstrip("/"))
        sent: Any = request.content if isinstance(request, httpx.Request) else request.body or b""
        sent = sent.encode() if isinstance(sent, str) else sent
        kind = _header(answer, "content-type")
        content = hidden_in(answer.content, self.key)
        return Exchange(request.method, path, sent, answer.status_code, content, kind, url.query)


def is_refused(answer: Any) -> bool:
    """Whether an answer proves that nothing was accepted: a refusal of the request that names no task."""
    refused = 400 <= answer.status_code < 500 and answer.status_code not in OF_A_GATEWAY
    return refused and b"task_id" not in answer.content


def _header(answer: Any, name: str) -> str:
    """A header of an answer of httpx or of schemathesis; empty: there is none."""
    value = answer.headers.get(name, "")
    return str(cast("list[str]", value)[0] if isinstance(value, list) else value)


def _pause(retry_after: str) -> float:
    """Seconds that an answer asks to wait, at least 1; it says them as a number or as a date."""
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", retry_after):
        return max(1.0, float(retry_after))
    try:
        return max(1.0, parsedate_to_datetime(retry_after).timestamp() - time.time())
    except (ValueError, OverflowError):
        return 1.0


def _price(path: str, body: Any) -> tuple[str, float | None]:
    """What a POST is called, and costs at most in USD; None when that is not known beforehand."""
    if path == "/v1/chat/completions":
        return "a chat", CHAT_USD
    if path != "/api/v1/task":
        return path, None if path.startswith(("/v1/images", "/mj/", "/api/luma", "/api/kling", "/api/face")) else 0.0
    task = fields(body)
    named = (task.get("model"), task.get("task_type"))
    name = " ".join(map(str, named))
    if not bundle.entries_of(*named) or not fields(task.get("input")):
        return name, 0.0  # no task can be made of it
    return name, prices.usd_of(task)


@contextmanager
def sandbox(make_app: Callable[[Settings], Any] = create_app, seed: int | None = None) -> Generator[Provider]:
    """The sandbox in-process; its tasks move only when the checks let them.

    Args:
        make_app: Makes the application; for tests of the checks with a provider that has a defect.
        seed: Of what is drawn at random.
    """
    key, inside = "key-of-the-contract-checks", Inside()
    app = make_app(
        Settings(
            keys={key: 1e9, inside.other_key: 1.0, inside.poor_key: 0.0},
            clock=inside.clock,
            autorun=False,
            engine_process=False,
            fetch=no_network,
            send_webhook=inside.receive,
        )
    )
    schema: Any = schemathesis.openapi.from_dict(provider_schema())
    schema.app = app
    try:
        with httpx.Client(transport=InProcess(app), base_url=IN_PROCESS) as http:
            yield Provider(http, schema, key, lambda _: app.state.sandbox.advance(), inside=inside, seed=seed)
    finally:
        app.state.sandbox.close()


@contextmanager
def remote(
    base_url: str,
    key: str,
    money: Money,
    *,
    timeout: float = 600.0,
    seed: int | None = None,
    say: Callable[[str], object] = lambda _: None,
) -> Generator[Provider]:
    """A provider somewhere else, in real time.

    Args:
        base_url: Where it is.
        key: Of an account there.
        money: What may be spent.
        timeout: How long a task may take, in seconds.
        seed: Of what is drawn at random.
        say: Tells what happens meanwhile, such as a pause.

    Raises:
        CannotRun: It is no address, no provider that keeps tasks answers there, or the key is refused.
    """
    _check_address(base_url)
    schema: Any = schemathesis.openapi.from_dict({**provider_schema(legacy=False), "servers": [{"url": base_url}]})
    schema.config.base_url = base_url
    within = max(1.0, min(ANSWER_WITHIN, timeout))
    with open_http(base_url, within) as http, requests.Session() as session:
        session.trust_env = False  # what the environment says is for the client beneath
        for scheme in ("http://", "https://"):
            session.mount(scheme, OverHttpx(http))
        looks = EARLY_LOOKS + math.ceil(timeout / LOOK_EVERY)
        subject = Provider(http, schema, key, time.sleep, looks=looks, seed=seed, money=money, say=say)
        subject.drawing = {"session": session}
        _greet(subject, base_url)
        yield subject


def _check_address(base_url: str) -> None:
    try:
        url = httpx.URL(base_url)
        is_one = url.scheme in ("http", "https") and bool(url.host) and (url.port or 0) <= MOST_PORT
    except (httpx.InvalidURL, UnicodeError) as error:
        raise CannotRun(f"--base-url {base_url!r} is no address ({error})") from None
    if not is_one:
        raise CannotRun(f"--base-url {base_url!r} is no address; give one such as http://127.0.0.1:8042")
    if url.userinfo:
        raise CannotRun("--base-url has a user name before its host; the API takes a key alone, so leave it out")


def _greet(subject: Provider, base_url: str) -> None:
    place = f"{base_url}{proxies_to(base_url)}"
    try:
        greet(base_url, subject.request, subject.key)
    except CannotRun as error:
        raise CannotRun(scrubbed(str(error), subject.key)) from None
    except httpx.TimeoutException:
        within = f"{subject.http.timeout.read:g} s"
        raise CannotRun(f"{place} did not answer in {within}; is the address right?") from None
    except httpx.RemoteProtocolError as error:
        raise CannotRun(f"what is at {place} gives no whole answer of HTTP ({error}); is the address right?") from None
    except (httpx.TransportError, UnicodeError) as error:
        raise CannotRun(f"nobody answers at {place} ({error}); is the address right?") from None
    except httpx.DecodingError as error:
        raise CannotRun(f"the answer of {base_url} cannot be read: {error}; what stands in front of it?") from None
    except Limited as error:
        raise CannotRun(str(error)) from None
