"""Notifications: which requests are accepted, what is read from them, and which waits they end."""

import asyncio
import contextlib
import hmac
import json
import pickle
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from unitask import State, errors, webhooks
from unitask.tasks import FaceSwapOutput
from unitask.testing import documented_example
from unitask.webhooks import AccountNotification, AccountType, Notification, Receiver, TaskNotification, parse
from unitask_api import contract

from .script import OUTPUT_URL, TASK_ID, UNIX, json_values, task_data

SECRET = "a webhook secret, in clear"
FROM_PROVIDER = {"x-webhook-secret": SECRET}
NOW = int(UNIX)
CONFIG = {"webhook_config": {"endpoint": "https://me.test", "secret": SECRET}}
ENDED = {"timestamp": NOW, "data": task_data("completed", config=CONFIG, output={"image_url": OUTPUT_URL})}
ACCOUNT = documented_example("webhook.account.request")
LONG = 100.0  # seconds; longer than any wait of these tests


def read(body: Any, headers: Any = FROM_PROVIDER, **changes: Any) -> Notification:
    """Parse a body that arrives at the time UNIX; bytes and text as they are, anything else as JSON."""
    content = body if isinstance(body, bytes | str) else json.dumps(body)
    return parse(content, headers, **{"secret": SECRET, "now": lambda: UNIX, **changes})


def rejected(body: Any, headers: Any = FROM_PROVIDER, **changes: Any) -> errors.WebhookRejected:
    with pytest.raises(errors.WebhookRejected) as caught:
        read(body, headers, **changes)
    assert SECRET not in str(caught.value)
    assert len(str(caught.value)) < 250
    return caught.value


FORMS: list[Any] = [
    ENDED,
    ENDED["data"],  # the older form
    {"code": 200, "data": ENDED["data"], "message": "success"},
    {**ENDED, "task_id": "another"},
    {**ENDED["data"], "data": None},
    {**ENDED, "timestamp": None},
]


def test_task_is_read_in_every_form_without_the_secret() -> None:
    for body in FORMS:
        found = read(body)
        assert isinstance(found, TaskNotification)
        assert (found.task.id, found.task.state) == (TASK_ID, State.COMPLETED)
        assert isinstance(found.task.output, FaceSwapOutput)
        assert found.timestamp == (datetime.fromtimestamp(NOW, UTC) if body.get("timestamp") else None)
        assert SECRET.encode() not in pickle.dumps(found)


def test_account_notification_is_read() -> None:
    time = datetime(2024, 2, 27, 12, 2, 41, tzinfo=UTC)
    odd = {"type": "new_word", "time": "noon", "message": 7, "detail": ["x"]}

    assert read(ACCOUNT) == AccountNotification("go_api_quota_exchange_failed", time, "Test", {}, ACCOUNT)
    assert read(odd) == AccountNotification("new_word", None, "", {}, odd)
    assert read({**odd, "detail": {"bot": "x"}}).detail == {"bot": "x"}  # type: ignore[union-attr]
    assert isinstance(read(ACCOUNT).type, AccountType)  # type: ignore[union-attr]  # it is an account notification
    documented = contract.components()["AccountNotification"]["properties"]["type"]
    assert set(AccountType) == set(documented["x-advisory"]["enum"])


RIGHT: list[Any] = [
    {"host": "me.test", "X-WEBHOOK-SECRET": SECRET},
    [(b"host", b"me.test"), (b"x-webhook-secret", SECRET.encode())],  # ASGI
    {"x-webhook-secret": bytearray(SECRET.encode())},
    {"Cookie": ["a=1", "b=2"], "X-Webhook-Secret": [SECRET]},
    [["x-webhook-secret", SECRET], ("X-WEBHOOK-SECRET", SECRET)],
    {"HTTP_X_WEBHOOK_SECRET": SECRET, "wsgi.version": (1, 0), "CONTENT_LENGTH": 7},  # WSGI
    httpx.Headers({"X-Webhook-Secret": SECRET}),
    {None: "x", 7: "y", "x-webhook-secret": SECRET},
]
WRONG: list[Any] = [
    {},
    *({"x-webhook-secret": value} for value in ("", SECRET[:-1], SECRET.upper(), "€\ud800", [], 7, None, b"\xff")),
    {"x-webhook-secret": ["another", SECRET]},
    {"x-api-key": SECRET},
    [("x-webhook-secret", SECRET), ("x-webhook-secret", "another")],
]


def test_secret_is_found_in_the_headers_of_any_framework() -> None:
    for headers in RIGHT:
        assert read(b"\xef\xbb\xbf" + json.dumps(ENDED).encode(), headers)
    for sent in ("gehéim€", "gehéim€".encode().decode("latin-1")):
        assert read(ENDED, {"x-webhook-secret": sent}, secret="gehéim€")
    assert read(ENDED, {}, secret=None)


def test_another_secret_is_rejected() -> None:
    for headers in WRONG:
        found = rejected(ENDED, headers)
        assert (found.kind, found.status, found.task_id) == ("secret", 403, None)
    assert rejected(ENDED, {"x-webhook-secret": "gehéim€"}, secret="gehéim$")
    for call in (Receiver, partial(parse, "{}", {})):
        with pytest.raises(TypeError, match="secret"):  # to accept any sender needs an explicit None
            call()


def test_secrets_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []
    monkeypatch.setattr(hmac, "compare_digest", lambda *pair: compared.append(pair) or False)

    assert rejected(ENDED).kind == "secret"
    assert set(compared) == {(SECRET.encode(), SECRET.encode())}


SETTINGS: list[Any] = [{"secret": text} for text in ("", f" {SECRET}", "two\r\nlines", b"bytes")]
SETTINGS += [{"secret": None, "tolerance": odd} for odd in (-1, float("nan"), "300", True)]
NO_HEADERS: list[Any] = [None, "x-webhook-secret: a", [1], [("a",)]]
UNUSABLE: list[Any] = [
    *(partial(call, **odd) for call in (Receiver, partial(parse, "{}", {})) for odd in SETTINGS),
    *(partial(parse, "{}", headers, secret=SECRET) for headers in NO_HEADERS),
    partial(parse, ENDED, FROM_PROVIDER, secret=SECRET),
    partial(Receiver, SECRET, on_notification="print"),
]
REFUSALS = {
    "the webhook secret is of type bytes: give text, or None to check none",
    "the headers are of type list: give those of the request, as a mapping or as pairs",
    "the body is of type dict: give the bytes or the text that came",
    "on_notification cannot be called: give a function of one argument",
}


def test_unusable_argument_is_refused() -> None:
    reasons: set[str] = set()
    for call in UNUSABLE:
        with pytest.raises(errors.InvalidInput) as caught:
            call()
        reasons.add(str(caught.value))
    assert SECRET not in "".join(reasons)
    assert reasons >= REFUSALS


def test_timestamp_must_be_near_now_on_both_sides() -> None:
    for body, task_id in ((ENDED, TASK_ID), ({**ACCOUNT, "timestamp": NOW}, None)):
        for age, tolerance in [(300, 300.0), (-300, 300.0), (0, 0), (10**9, None), (-(10**9), float("inf"))]:
            assert read(body, tolerance=tolerance, now=lambda age=age: NOW + age)
        assert rejected(body, now=lambda: NOW + 301).kind == "time"  # without a tolerance, five minutes
        for age, tolerance in [(301, 300.0), (-301, 300.0), (1, 0)]:
            found = rejected(body, tolerance=tolerance, now=lambda age=age: NOW + age)
            assert (found.kind, found.status, found.task_id) == ("time", 400, task_id)
            assert f"2023-11-14 22:13:20 UTC is {abs(age)} s {'before' if age > 0 else 'after'} now" in str(found)


NEITHER = "the body has neither a task_id, in data or at the root, nor a type"
TIMES: list[tuple[Any, str]] = [("1700000000", "of type str"), (True, "of type bool"), ([], "of type list")]
TIMES += [(10**13, "10000000000000"), (10**400, f"1{'0' * 39}"), (1e300, "1e+300")]
OTHER_BODIES: list[tuple[Any, str]] = [
    (b"", "the body is not JSON: Expecting value"),
    (b'{"data": {"task_id": "\xff"}}', "the body is not JSON: 'utf-8' codec"),
    (json.dumps(ENDED).encode("utf-16"), "the body is not JSON: 'utf-8' codec"),
    ('{"data":' * 100_000, "the body is nested too deeply"),
    (b'{"type": "a", "time": ' + b"9" * 5000 + b"}", "the body is not JSON: "),
    ([ENDED], "the body is not a JSON object"),
    *((body, NEITHER) for body in ({}, {"data": {"task_id": " "}}, {"type": 7})),
    ({"timestamp": NOW, "data": {"status": "completed", "secret": SECRET}}, NEITHER),
    *(({**ENDED, "timestamp": odd}, f"its timestamp is {shown}, not unix time in seconds") for odd, shown in TIMES),
]


def test_other_body_is_rejected_without_its_content() -> None:
    for body, reason in OTHER_BODIES:
        found = rejected(body, tolerance=None)
        assert str(found).startswith(f"webhook rejected: {reason}")
        has_task = isinstance(body, dict) and body.get("data") is ENDED["data"]
        assert (found.kind, found.status, found.task_id) == ("form", 400, TASK_ID if has_task else None)
        assert found.__context__ is None  # exceptions of decoders hold the whole body


words = st.sampled_from(["", "a", SECRET, TASK_ID, "completed", "\ud800"])
values = json_values(["timestamp", "data", "task_id", "type", "time", "detail", SECRET], words)


@given(values.map(json.dumps) | st.text(max_size=60) | st.binary(max_size=60), st.none() | st.just(300.0))
def test_every_body_is_a_notification_or_rejected(body: bytes | str, tolerance: float | None) -> None:
    try:
        found: object = read(body, tolerance=tolerance)
    except errors.WebhookRejected as refusal:
        found = str(refusal)

    assert isinstance(found, TaskNotification | AccountNotification) or SECRET not in str(found)


@dataclass
class Exchange:
    """One request to an ASGI application: a body in parts, where None is a sender that disconnects."""

    body: Any = None
    headers: dict[str, str] = field(default_factory=lambda: FROM_PROVIDER)
    method: str = "POST"
    sent: list[Any] = field(default_factory=list[Any])
    parts_read: int = 0

    async def receive(self) -> dict[str, Any]:
        parts = self.body if isinstance(self.body, list) else [self.body]
        part, self.parts_read = parts[self.parts_read], self.parts_read + 1
        if part is None:
            return {"type": "http.disconnect"}
        content = part if isinstance(part, bytes) else json.dumps(part).encode()
        optional = {"body": content, "more_body": self.parts_read < len(parts)}
        return {"type": "http.request", **{name: value for name, value in optional.items() if value}}

    async def send(self, message: Any) -> None:
        self.sent.append(message)

    async def run(self, app: Any, path: str = "/") -> int:
        headers = [(name.encode(), value.encode()) for name, value in self.headers.items()]
        await app({"type": "http", "method": self.method, "path": path, "headers": headers}, self.receive, self.send)
        return int(self.sent[0]["status"]) if self.sent else 0

    @property
    def text(self) -> str:
        return str(self.sent[1]["body"].decode()) if self.sent else ""


def receiver(**changes: Any) -> Receiver:
    return Receiver(SECRET, clock=lambda: UNIX, **changes)


@pytest.fixture
def made() -> Iterator[Receiver]:
    """A receiver; no wait may be left behind in it."""
    made = receiver()
    yield made
    assert made._notifications._waiting == {}


def changed(status: Any, task_id: str = TASK_ID) -> dict[str, Any]:
    """A notification of a task in this status."""
    return {"timestamp": NOW, "data": {**task_data(status), "task_id": task_id}}


def deliver(receiver: Receiver, *bodies: Any) -> list[int]:
    return [asyncio.run(Exchange(body).run(receiver)) for body in bodies]


def handled(*bodies: Any) -> list[Any]:
    """Task and status of each notification that a handler gets; each is answered 204."""
    calls: list[Any] = []
    assert deliver(receiver(on_notification=calls.append), *bodies) == [204] * len(bodies)
    return [(call.task.id, str(call.task.status)) if hasattr(call, "task") else call.raw for call in calls]


def test_each_state_of_a_task_is_handled_once() -> None:
    bodies = [changed("processing"), changed("completed"), changed("Success"), {"data": task_data("completed")}]
    unknown = ("rendering", "uploading", "Rendering", None, 7, "uploading")
    other = {**ACCOUNT, "time": ACCOUNT["time"] + 1}

    assert handled(*bodies) == [(TASK_ID, "processing"), (TASK_ID, "completed")]
    assert len(handled(changed("completed"), changed("completed", "another"))) == 2
    assert [word for _, word in handled(*map(changed, unknown))] == ["rendering", "uploading", "None", "7"]
    assert handled(ACCOUNT, ACCOUNT, other) == [ACCOUNT, other]


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch, made: Receiver) -> None:
    monkeypatch.setattr(webhooks, "REMEMBERED", 2)
    deliver(made, *(changed("completed", name) for name in "abc"))

    assert [made.wait_for_notification(name, 0) for name in "abc"] == [None, "b", "c"]
    assert [name for name, _ in handled(*(changed("completed", name) for name in "abccba"))] == ["a", "b", "c", "a"]
    monkeypatch.setattr(webhooks, "REMEMBERED", 0)
    assert deliver(receiver(on_notification=lambda _: 1 / 0), ENDED) == [500]  # forgotten before it fails


LARGEST = json.dumps(ENDED).encode().ljust(5 * 2**20)
OLD = "its timestamp 2023-11-14 22:08:19 UTC is 301 s before now, 300 s are allowed: it is old, or the clock"
# Status (0: no answer), how many parts of the body are read, and the text of the answer.
REQUESTS: dict[str, tuple[Exchange, int, int, str]] = {
    "whole": (Exchange([LARGEST[:10], b"", LARGEST[10:]]), 204, 3, ""),
    "one byte too long": (Exchange(LARGEST + b" "), 413, 1, "the body is larger than 5242880 bytes"),
    "endless": (Exchange([b"x" * 2**20] * 1000), 413, 6, "the body is larger than 5242880 bytes"),
    "another secret": (Exchange(ENDED, {"x-webhook-secret": "x"}), 403, 0, "the header x-webhook-secret holds another"),
    "no secret": (Exchange(ENDED, {}), 403, 0, "the header x-webhook-secret is missing"),
    "not a notification": (Exchange({}), 400, 1, NEITHER),
    "too old": (Exchange({**ENDED, "timestamp": NOW - 301}), 400, 1, OLD),
    "GET": (Exchange(ENDED, method="GET"), 405, 0, "notifications are sent by POST"),
    "sender that disconnects": (Exchange([b'{"type":', None]), 0, 2, ""),
}


@pytest.mark.parametrize(("exchange", "status", "parts", "reason"), REQUESTS.values(), ids=REQUESTS)
def test_request_is_answered_with_its_status_and_a_short_text(
    exchange: Exchange, status: int, parts: int, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[Notification] = []
    made = receiver(on_notification=calls.append)
    exchange = replace(exchange, sent=[])

    assert asyncio.run(exchange.run(made)) == status
    assert exchange.parts_read == parts
    text = exchange.text
    assert text.removeprefix("webhook rejected: ").startswith(reason)
    assert bool(text) == (status >= 400)
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(text))] if text else []
    headers += [(b"allow", b"POST")] if status == 405 else []
    start = {"type": "http.response.start", "status": status, "headers": headers}
    assert exchange.sent == ([start, {"type": "http.response.body", "body": text.encode()}] if status else [])
    assert len(calls) == (status == 204)
    assert (made.wait_for_notification(TASK_ID, 0) == TASK_ID) == (status == 204)
    assert caplog.messages == ([text] if status in (400, 403, 413) else [])


def test_only_http_is_served() -> None:
    with pytest.raises(NotImplementedError, match="a Receiver serves http, not lifespan"):
        asyncio.run(receiver()({"type": "lifespan"}, Exchange().receive, Exchange().send))


def test_notification_whose_handler_fails_is_handled_again(caplog: pytest.LogCaptureFixture) -> None:
    outcomes: list[Exception | None] = [ValueError("no room"), StopIteration(), None]

    def handle(_: Notification) -> None:
        assert threading.current_thread() is not threading.main_thread()
        if outcome := outcomes.pop(0):
            raise outcome

    made, exchanges = receiver(on_notification=handle), [Exchange(ENDED) for _ in range(4)]
    answers = [(asyncio.run(exchange.run(made)), exchange.text) for exchange in exchanges]
    assert answers == [(500, "the notification could not be handled; send it again")] * 2 + [(204, "")] * 2
    assert outcomes == []
    assert caplog.messages == ["on_notification failed; the provider is asked to send the notification again"] * 2
    raised = [repr(record.exc_info[1]) for record in caplog.records if record.exc_info]
    assert raised == ["ValueError('no room')", "RuntimeError('on_notification raised StopIteration')"]


DUPLICATES: list[tuple[BaseException | None, list[Any]]] = [  # how the handler ends, and what happens
    (None, [TASK_ID, 503, 204, 204]),
    (ValueError("no room"), [TASK_ID, 503, 500, TASK_ID, 204]),
    (asyncio.CancelledError(), [TASK_ID, 503, TASK_ID, 204]),
]


@pytest.mark.parametrize("is_async", [True, False])
@pytest.mark.parametrize(("error", "outcome"), DUPLICATES, ids=repr)
def test_duplicate_while_the_handler_runs_is_answered_503(error: Any, outcome: list[Any], is_async: bool) -> None:
    events: list[Any] = []
    duplicate = Exchange(ENDED)

    async def handle(notification: Any) -> None:
        events.append(notification.task.id)
        if events == [TASK_ID]:
            events.append(await duplicate.run(made))
            if error:
                raise error

    made = receiver(on_notification=handle if is_async else lambda notification: handle(notification))
    with contextlib.suppress(asyncio.CancelledError):
        events += deliver(made, ENDED)
    events += deliver(made, ENDED)

    assert events == outcome
    assert duplicate.text == "this notification is being handled; send it again later"
    assert made.wait_for_notification(TASK_ID, 0) == TASK_ID


def test_earlier_notification_ends_one_wait(shell: str, made: Receiver) -> None:
    def wait(seconds: float, task_id: str = TASK_ID) -> str | None:
        if shell == "sync":
            return made.wait_for_notification(task_id, seconds)
        return asyncio.run(made.wait_for_notification_async(task_id, seconds))

    deliver(made, changed("processing"), changed("completed"), changed("completed", "another"), ACCOUNT)

    assert wait(LONG) == TASK_ID
    deliver(made, changed("completed"))  # a duplicate
    assert (wait(0), wait(-1.0)) == (None, None)
    deliver(made, changed("failed"))
    assert wait(LONG) == TASK_ID
    assert wait(0, "another") == "another"


def test_wait_for_several_tasks_returns_one_at_a_time_and_keeps_the_others(made: Receiver) -> None:
    names = ["a", "b", "c"]

    async def main() -> str | None:  # both during one wait
        waiting = asyncio.create_task(made.wait_for_notification_async(names, LONG))
        await asyncio.sleep(0)
        for name in "cb":
            await Exchange(changed("failed", name)).run(made)
        return await waiting

    assert asyncio.run(main()) == "c"
    assert [made.wait_for_notification(names, 0) for _ in range(2)] == ["b", None]


def test_waiting_coroutines_are_woken_from_another_event_loop(made: Receiver) -> None:
    bodies = ENDED, changed("failed", "another"), changed("completed", "cancelled")
    application = threading.Thread(target=deliver, args=(made, *bodies))

    async def main() -> list[str | None]:
        waits = [("cancelled", LONG), (TASK_ID, LONG), (TASK_ID, float("inf")), ("another", LONG)]
        cancelled, *waiting = [asyncio.create_task(made.wait_for_notification_async(*wait)) for wait in waits]
        await asyncio.sleep(0)
        cancelled.cancel()
        await asyncio.wait([cancelled])
        application.start()
        async with asyncio.timeout(LONG / 2):  # less than the waits, which would end by themselves
            return await asyncio.gather(*waiting)

    assert asyncio.run(main()) == [TASK_ID, TASK_ID, "another"]
    application.join()
    assert made.wait_for_notification("cancelled", 0) == "cancelled"


def test_notification_for_a_wait_whose_event_loop_is_closed_is_answered(made: Receiver) -> None:
    waiting: Any = made.wait_for_notification_async(TASK_ID, LONG)

    async def begin() -> None:
        waiting.send(None)

    asyncio.run(begin())
    assert deliver(made, ENDED) == [204]
    waiting.close()


def test_no_notification_is_lost_between_threads(made: Receiver) -> None:
    names = [f"task {number}" for number in range(100)]

    def send(name: str) -> None:
        deliver(made, *(changed(status, name) for status in ("pending", "processing", "completed")))

    with ThreadPoolExecutor(8) as waiters, ThreadPoolExecutor(4) as senders:
        heard = waiters.map(lambda name: made.wait_for_notification(name, float("inf")), names)
        assert list(senders.map(send, names)) == [None] * 100
        assert list(heard) == names


@pytest.mark.parametrize("name", ["hook.py", "view.py"])
def test_page_example_runs(name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("WEBHOOK_SECRET", SECRET)
    page = Path(__file__).resolve().parents[2].joinpath("docs/webhooks.md").read_text(encoding="utf-8")
    code = page.split(f"```python\n# {name}\n")[1].partition("```")[0]
    names: dict[str, Any] = {}
    exec(compile(code, name, "exec"), names)

    assert asyncio.run(Exchange({"data": ENDED["data"]}).run(names["app"], "/piapi")) == 204
    assert capsys.readouterr().out == f"{TASK_ID} completed\n"
    assert asyncio.run(Exchange(ENDED, {"x-webhook-secret": "x"}).run(names["app"], "/piapi")) == 403
