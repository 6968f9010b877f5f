"""Notifications: what is one, who may send it, and who is notified."""

from __future__ import annotations

import asyncio
import hmac
import json
import pickle
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.routing import Mount, Route
from unitask import State, _notifications, errors, webhooks
from unitask.tasks import FaceSwapOutput
from unitask.webhooks import AccountNotification, AccountType, Notification, Receiver, TaskNotification, parse
from unitask_api import contract

from .script import TASK_ID, UNIX, task_data

ROOT = Path(__file__).resolve().parents[2]
SECRET = "a webhook secret, in clear"
FROM_PROVIDER = {"x-webhook-secret": SECRET}
NOW = int(UNIX)
ENDED = {"timestamp": NOW, "data": task_data("completed", output={"image_url": "https://out.test/a.png"})}
ACCOUNT = json.loads((ROOT / "spec/examples/webhook/account.request.json").read_text())["value"]
LONG = 100.0  # seconds that no test waits


def read(body: Any, headers: Any = FROM_PROVIDER, **changes: Any) -> Notification:
    """Parse a body that arrives at the time UNIX; bytes and text as they are, anything else as JSON."""
    content = body if isinstance(body, bytes | str) else json.dumps(body)
    return parse(content, headers, **{"secret": SECRET, "now": lambda: UNIX, **changes})


def rejected(body: Any, headers: Any = FROM_PROVIDER, **changes: Any) -> errors.WebhookRejected:
    with pytest.raises(errors.WebhookRejected) as caught:
        read(body, headers, **changes)
    return caught.value


FORMS: dict[str, Any] = {
    "documented": ENDED,
    "older": ENDED["data"],
    "envelope": {"code": 200, "data": ENDED["data"], "message": "success"},
    "data beside another task_id": {**ENDED, "task_id": "another"},
    "older with null data": {**ENDED["data"], "data": None},
    "null timestamp": {**ENDED, "timestamp": None},
}


@pytest.mark.parametrize("body", FORMS.values(), ids=FORMS)
def test_task_is_read_in_every_form(body: Any) -> None:
    found = read(body)

    assert isinstance(found, TaskNotification)
    assert (found.task.id, found.task.state) == (TASK_ID, State.COMPLETED)
    assert isinstance(found.task.output, FaceSwapOutput)
    assert found.task.output.image_url == "https://out.test/a.png"
    assert found.timestamp == (datetime.fromtimestamp(NOW, UTC) if body.get("timestamp") else None)


def test_webhook_secret_is_not_in_the_task() -> None:
    config = {"webhook_config": {"endpoint": "https://me.test", "secret": SECRET}}

    assert SECRET.encode() not in pickle.dumps(
        [read({"data": task_data(config=config)}), read(task_data(config=config))]
    )


def test_account_notification_is_read() -> None:
    time = datetime(2024, 2, 27, 12, 2, 41, tzinfo=UTC)
    odd = {"type": "new_word", "time": "noon", "message": 7, "detail": ["x"]}

    assert read(ACCOUNT) == AccountNotification("go_api_quota_exchange_failed", time, "Test", {}, ACCOUNT)
    assert read(odd) == AccountNotification("new_word", None, "", {}, odd)
    assert isinstance(read(ACCOUNT).type, AccountType)  # type: ignore[union-attr]
    known = contract.components()["AccountNotification"]["properties"]["type"]["x-advisory"]["enum"]
    assert set(AccountType) == set(known)


# ---- who may send


class Items:
    """Headers that are no mapping, as some frameworks have them."""

    def __init__(self, *pairs: tuple[str, str]) -> None:
        self.items = lambda: iter(pairs)


HEADERS: dict[str, Any] = {
    "capitals": {"host": "me.test", "X-WEBHOOK-SECRET": SECRET},
    "ASGI": [(b"host", b"me.test"), (b"x-webhook-secret", SECRET.encode())],
    "a bytearray": {"x-webhook-secret": bytearray(SECRET.encode())},
    "several values": {"Cookie": ["a=1", "b=2"], "X-Webhook-Secret": [SECRET]},
    "the same twice": [["x-webhook-secret", SECRET], ("X-WEBHOOK-SECRET", SECRET)],
    "WSGI": {"HTTP_X_WEBHOOK_SECRET": SECRET, "wsgi.version": (1, 0), "CONTENT_LENGTH": 7},
    "no mapping": Items(("X-Webhook-Secret", SECRET)),
    "odd names beside it": {None: "x", 7: "y", "x-webhook-secret": SECRET},
}


@pytest.mark.parametrize("headers", HEADERS.values(), ids=HEADERS)
def test_secret_is_found_in_the_headers_of_any_framework(headers: Any) -> None:
    assert read(b"\xef\xbb\xbf" + json.dumps(ENDED).encode(), headers)


OTHER_HEADERS: list[Any] = [
    {},
    {"x-webhook-secret": ""},
    {"x-webhook-secret": SECRET[:-1]},
    {"x-webhook-secret": SECRET.upper()},
    {"x-webhook-secret": "€\ud800"},
    {"x-api-key": SECRET},
    [("x-webhook-secret", SECRET), ("x-webhook-secret", "another")],
    {"x-webhook-secret": ["another", SECRET]},
    {"x-webhook-secret": []},
    {"x-webhook-secret": 7},
    {"x-webhook-secret": b"\xff"},
]


@pytest.mark.parametrize("headers", OTHER_HEADERS, ids=repr)
def test_another_secret_is_rejected(headers: Any) -> None:
    found = rejected(ENDED, headers)

    assert (found.kind, found.status, found.task_id) == ("secret", 403, None)
    assert SECRET not in str(found)


@pytest.mark.parametrize("given_secret", ["gehéim€", "gehéim€".encode().decode("latin-1")], ids=["text", "Latin-1"])
def test_secret_may_have_any_letters(given_secret: str) -> None:
    headers = {"x-webhook-secret": given_secret}

    assert read(ENDED, headers, secret="gehéim€")
    assert rejected(ENDED, headers, secret="gehéim$")


@pytest.mark.parametrize("headers", [None, "x-webhook-secret: a", [1], [("a",)], ["ab"]], ids=repr)
def test_value_that_is_no_headers_is_a_mistake_of_the_program(headers: Any) -> None:
    with pytest.raises(errors.InvalidInput, match="give those of the request"):
        read(ENDED, headers)


def test_secrets_are_compared_in_constant_time_as_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []
    monkeypatch.setattr(hmac, "compare_digest", lambda *pair: compared.append(pair) or False)

    assert rejected(ENDED).kind == "secret"
    assert set(compared) == {(SECRET.encode(), SECRET.encode())}


def test_any_sender_is_accepted_only_with_an_explicit_none() -> None:
    assert read(ENDED, {}, secret=None)
    assert asyncio.run(Exchange(ENDED, headers={}).run(Receiver(secret=None, clock=lambda: UNIX))) == 204
    for call in (Receiver, partial(parse, "{}", {})):
        with pytest.raises(TypeError, match="secret"):
            call()


SETTINGS: list[tuple[dict[str, Any], str]] = [
    ({"secret": ""}, "the webhook secret is empty"),
    ({"secret": f" {SECRET}"}, "the webhook secret has a space at an end or a line break"),
    ({"secret": "two\r\nlines"}, "the webhook secret has a space at an end or a line break"),
    ({"secret": SECRET.encode()}, "the webhook secret is of type bytes"),
    *(({"secret": None, "tolerance": odd}, f"tolerance is {odd!r}") for odd in (-1, float("nan"), "300", True)),
]


@pytest.mark.parametrize(("given_settings", "reason"), SETTINGS)
def test_unusable_setting_is_refused(given_settings: Any, reason: str) -> None:
    for call in (Receiver, partial(parse, "{}", {})):
        with pytest.raises(errors.InvalidInput, match=re.escape(reason)) as caught:
            call(**given_settings)
        assert SECRET not in str(caught.value)


def test_decoded_body_and_uncallable_handler_are_refused() -> None:
    with pytest.raises(errors.InvalidInput, match="the body is of type dict: give the bytes or the text that came"):
        parse(ENDED, FROM_PROVIDER, secret=SECRET)  # type: ignore[arg-type]
    with pytest.raises(errors.InvalidInput, match="on_notification cannot be called"):
        Receiver(SECRET, on_notification="print")  # type: ignore[arg-type]


# ---- how old it may be


AGES = [(300, 300.0), (-300, 300.0), (0, 0), (10**9, None), (-(10**9), float("inf"))]
TOO_OLD_OR_NEW = [(301, 300.0), (-301, 300.0), (1, 0)]


@pytest.mark.parametrize("body", [ENDED, {**ACCOUNT, "timestamp": NOW}], ids=["task", "account"])
def test_timestamp_must_be_near_now_on_both_sides(body: Any) -> None:
    for age, tolerance in AGES:
        assert read(body, tolerance=tolerance, now=lambda age=age: NOW + age)
    for age, tolerance in TOO_OLD_OR_NEW:
        found = rejected(body, tolerance=tolerance, now=lambda age=age: NOW + age)
        assert (found.kind, found.status) == ("time", 400)
        assert found.task_id == (TASK_ID if body is ENDED else None)
        assert f"2023-11-14 22:13:20 UTC is {abs(age)} s {'before' if age > 0 else 'after'} now" in str(found)


@pytest.mark.parametrize("value", ["1700000000", True, [], 10**13, 10**400, 1e300])
def test_timestamp_of_another_form_is_rejected(value: Any) -> None:
    for tolerance in (300.0, None):
        found = rejected({**ENDED, "timestamp": value}, tolerance=tolerance)
        assert (found.kind, found.status, found.task_id) == ("form", 400, TASK_ID)
        assert len(str(found)) < 200


# ---- what is no notification

NO_ID = "the body has no task_id, in data or at the root, and no type"
NONE: dict[str, tuple[Any, str]] = {
    "nothing": (b"", "the body is not JSON: "),
    "not UTF-8": (b'{"data": {"task_id": "\xff"}}', "the body is not JSON: "),
    "UTF-16": (json.dumps(ENDED).encode("utf-16"), "the body is not JSON: "),
    "deep nesting": ('{"data":' * 100_000, "the body is nested too deeply"),
    "a long integer": (b'{"type": "a", "time": ' + b"9" * 5000 + b"}", "the body is not JSON: "),
    "NaN": ('{"type": "a", "time": NaN}', "the body is not JSON: it has NaN"),
    "a key twice": ('{"data": {"task_id": "a", "task_id": "b"}}', "the body is not JSON: an object has a key twice"),
    "a list": ([ENDED], "the body is no JSON object"),
    "an empty object": ({}, NO_ID),
    "no id": ({"timestamp": NOW, "data": {"status": "completed"}}, NO_ID),
    "the older form without an id": ({"status": "completed", "output": {}}, NO_ID),
    "a blank id": ({"data": {"task_id": " "}}, NO_ID),
    "a number for the type": ({"type": 7}, NO_ID),
}


@pytest.mark.parametrize(("body", "reason"), NONE.values(), ids=NONE)
def test_other_body_is_rejected_without_its_content(body: Any, reason: str) -> None:
    found = rejected(body)

    assert (found.kind, found.status, found.task_id) == ("form", 400, None)
    assert str(found).startswith(f"webhook rejected: {reason}")
    assert len(str(found)) < 250
    assert found.__context__ is None


words = st.sampled_from(["", "a", SECRET, TASK_ID, "completed", "\ud800"])
keys = st.sampled_from(["timestamp", "data", "task_id", "type", "time", "detail", SECRET])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner),
    max_leaves=8,
)


@given(values.map(json.dumps) | st.text(max_size=60) | st.binary(max_size=60), st.none() | st.just(300.0))
def test_every_body_is_a_notification_or_rejected(body: bytes | str, tolerance: float | None) -> None:
    try:
        found: object = read(body, tolerance=tolerance)
    except errors.WebhookRejected as refusal:
        found = f"{refusal}"

    assert isinstance(found, TaskNotification | AccountNotification) or SECRET not in str(found)


# ---- the receiver


@dataclass
class Exchange:
    """One request to an ASGI application: a body in parts, where None is a sender that goes away."""

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
        return {"type": "http.request", "body": content, "more_body": self.parts_read < len(parts)}

    async def send(self, message: Any) -> None:
        self.sent.append(message)

    async def run(self, receiver: Receiver) -> int:
        headers = [(name.encode(), value.encode()) for name, value in self.headers.items()]
        await receiver({"type": "http", "method": self.method, "headers": headers}, self.receive, self.send)
        return int(self.sent[0]["status"]) if self.sent else 0


def deliver(receiver: Receiver, *bodies: Any) -> list[int]:
    """Return the status of the answer to each."""
    return [asyncio.run(Exchange(body).run(receiver)) for body in bodies]


def receiver(**changes: Any) -> Receiver:
    return Receiver(SECRET, clock=lambda: UNIX, **changes)


def changed(status: Any, task_id: str = TASK_ID) -> dict[str, Any]:
    """A notification of a task in this status."""
    return {"timestamp": NOW, "data": {**task_data(status), "task_id": task_id}}


def handled(*bodies: Any) -> list[Any]:
    """Task and status of each notification that a handler gets; each is answered 204."""
    calls: list[Any] = []
    assert deliver(receiver(on_notification=calls.append), *bodies) == [204] * len(bodies)
    return [(call.task.id, str(call.task.status)) if hasattr(call, "task") else call.raw for call in calls]


def test_notification_is_answered_with_an_empty_204() -> None:
    body = json.dumps(ENDED).encode()
    exchange = Exchange([body[:10], b"", body[10:]])

    assert asyncio.run(exchange.run(receiver())) == 204
    assert exchange.sent[0]["headers"] == []
    assert exchange.sent[1]["body"] == b""


def test_each_state_of_a_task_is_handled_once() -> None:
    bodies = [changed("processing"), changed("completed"), changed("Completed"), {"data": task_data("completed")}]
    other = {**ACCOUNT, "time": ACCOUNT["time"] + 1}

    assert handled(*bodies, changed("completed", "another")) == [
        (TASK_ID, "processing"),
        (TASK_ID, "completed"),
        ("another", "completed"),
    ]
    assert handled(ACCOUNT, ACCOUNT, other) == [ACCOUNT, other]


def test_each_unknown_status_word_is_a_state() -> None:
    words = ("rendering", "uploading", "Rendering", None, 7, "uploading")

    assert [word for _, word in handled(*map(changed, words))] == ["rendering", "uploading", "None", "7"]


def test_oldest_notifications_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_notifications, "REMEMBERED", 2)

    assert [name for name, _ in handled(*(changed("completed", name) for name in "abccba"))] == ["a", "b", "c", "a"]


@pytest.mark.parametrize(
    ("body", "headers", "method", "status", "text"),
    [
        (ENDED, {}, "POST", 403, "webhook rejected: there is no header x-webhook-secret"),
        ({}, FROM_PROVIDER, "POST", 400, f"webhook rejected: {NO_ID}"),
        ([b"x" * 2**22] * 3, FROM_PROVIDER, "POST", 413, "webhook rejected: the body is larger than 5242880 bytes"),
        (ENDED, FROM_PROVIDER, "GET", 405, "notifications are sent by POST"),
    ],
    ids=["secret", "form", "size", "GET"],
)
def test_anything_else_is_answered_with_a_short_text(
    body: Any, headers: Any, method: str, status: int, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[Notification] = []
    made, exchange = receiver(on_notification=calls.append), Exchange(body, headers, method)

    assert asyncio.run(exchange.run(made)) == status
    assert exchange.sent[1]["body"] == text.encode()
    answer_headers = dict(exchange.sent[0]["headers"])
    assert answer_headers[b"content-length"] == str(len(text)).encode()
    assert answer_headers.get(b"allow") == (b"POST" if status == 405 else None)
    assert calls == []
    assert not made.wait_for_notification(TASK_ID, 0)
    assert caplog.messages == ([] if status == 405 else [text])


def test_body_is_read_up_to_five_mebibytes_and_only_after_the_secret() -> None:
    largest = json.dumps(ENDED).encode().ljust(5 * 2**20)
    endless, stranger = Exchange([b"x" * 2**20] * 1000), Exchange(ENDED, {"x-webhook-secret": "another"})

    assert deliver(receiver(), largest, largest + b" ") == [204, 413]
    assert asyncio.run(endless.run(receiver())) == 413
    assert endless.parts_read == 6
    assert asyncio.run(stranger.run(receiver())) == 403
    assert stranger.parts_read == 0


def test_sender_that_goes_away_is_not_answered() -> None:
    assert deliver(receiver(), [b'{"type":', None]) == [0]


def test_sync_handler_runs_in_a_thread_and_async_one_in_the_loop() -> None:
    threads: list[threading.Thread] = []

    def sync(_: Notification) -> None:
        threads.append(threading.current_thread())

    async def asynchronous(notification: Notification) -> None:
        sync(notification)

    for handler in (sync, asynchronous, lambda notification: asynchronous(notification)):
        assert deliver(receiver(on_notification=handler), ENDED) == [204]
    assert [thread is threading.main_thread() for thread in threads] == [False, True, True]


@pytest.mark.parametrize("failure", [ValueError("no room"), StopIteration()], ids=repr)
@pytest.mark.parametrize(("asynchronous", "body"), [(False, ENDED), (True, ACCOUNT)], ids=["sync", "async"])
def test_notification_whose_handler_fails_is_handled_again(
    failure: Exception, asynchronous: bool, body: Any, caplog: pytest.LogCaptureFixture
) -> None:
    outcomes: list[Exception | None] = [failure, None]

    def handle(_: Notification) -> None:
        if outcome := outcomes.pop(0):
            raise outcome

    async def handle_async(notification: Notification) -> None:
        handle(notification)

    made = receiver(on_notification=handle_async if asynchronous else handle)

    assert deliver(made, body, body, body) == [500, 204, 204]
    assert outcomes == []
    assert caplog.messages == ["on_notification failed; the provider is asked to send the notification again"]
    assert (made.wait_for_notification(TASK_ID, 0) == TASK_ID) is (body is ENDED)


@pytest.mark.parametrize("end", ["done", "fails", "cancelled"])
def test_duplicate_that_comes_while_the_handler_runs_is_answered_503(end: str) -> None:
    calls: list[Notification] = []

    async def main() -> list[int]:
        release = asyncio.Event()

        async def handle(notification: Notification) -> None:
            calls.append(notification)
            await release.wait()
            if end == "fails" and len(calls) == 1:
                raise ValueError

        made = receiver(on_notification=handle)
        first = asyncio.create_task(Exchange(ENDED).run(made))
        while not calls:
            await asyncio.sleep(0)
        during = await Exchange(ENDED).run(made)
        if end == "cancelled":
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)
        release.set()
        return [during, 0 if end == "cancelled" else await first, await Exchange(ENDED).run(made)]

    assert asyncio.run(main()) == [503, {"done": 204, "fails": 500, "cancelled": 0}[end], 204]
    assert len(calls) == (1 if end == "done" else 2)


def test_lifespan_is_answered_and_a_websocket_is_closed() -> None:
    def messages(scope_type: str, *arriving: str) -> list[str]:
        arrivals, sent = iter(arriving), list[str]()

        async def receive() -> dict[str, Any]:
            return {"type": next(arrivals)}

        async def send(message: Any) -> None:
            sent.append(message["type"])

        asyncio.run(receiver()({"type": scope_type}, receive, send))
        return sent

    lifespan = messages("lifespan", "lifespan.startup", "lifespan.shutdown")
    assert lifespan == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert messages("websocket", "websocket.connect") == ["websocket.close"]


# ---- waiting for notifications


def wait_for_notification(shell: str, made: Receiver, task_ids: Any = TASK_ID, seconds: float = 0) -> str | None:
    """Wait in the way of either client."""
    if shell == "sync":
        return made.wait_for_notification(task_ids, seconds)
    return asyncio.run(made.wait_for_notification_async(task_ids, seconds))


def test_earlier_notification_ends_one_wait(shell: str) -> None:
    made = receiver()
    deliver(made, changed("processing"), changed("completed"))

    assert wait_for_notification(shell, made, seconds=LONG) == TASK_ID
    deliver(made, changed("completed"))  # a duplicate
    assert [wait_for_notification(shell, made, seconds=seconds) for seconds in (0, -1.0)] == [None, None]
    deliver(made, changed("failed"))
    assert wait_for_notification(shell, made, seconds=LONG) == TASK_ID
    assert made._notifications._waiting == {}


def test_notification_of_another_task_or_of_the_account_ends_no_wait() -> None:
    made = receiver()
    deliver(made, changed("completed", "another"), ACCOUNT)

    assert made.wait_for_notification(TASK_ID, 0) is None
    assert made.wait_for_notification("another", 0) == "another"


def test_undelivered_notifications_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_notifications, "REMEMBERED", 2)
    made = receiver()
    deliver(made, *(changed("completed", name) for name in "abc"))

    assert [made.wait_for_notification(name, 0) for name in "abc"] == [None, "b", "c"]


def test_wait_for_several_tasks_returns_one_at_a_time_and_keeps_the_others(shell: str) -> None:
    made, names = receiver(), ["a", "b", "c"]
    deliver(made, changed("completed", "b"), changed("completed", "c"))
    assert [wait_for_notification(shell, made, names) for _ in range(3)] == ["b", "c", None]

    async def main() -> str | None:  # both during one wait
        waiting = asyncio.create_task(made.wait_for_notification_async(names, LONG))
        await asyncio.sleep(0)
        await Exchange(changed("failed", "c")).run(made)
        await Exchange(changed("failed", "b")).run(made)
        return await waiting

    assert asyncio.run(main()) == "c"
    assert [wait_for_notification(shell, made, names) for _ in range(2)] == ["b", None]
    assert made._notifications._waiting == {}


def test_changing_set_gets_each_notification_once(shell: str) -> None:
    made, wanted = receiver(), {"a", "b", "c"}

    def heard(seconds: float = 0) -> str | None:
        return wait_for_notification(shell, made, wanted, seconds)

    deliver(made, changed("completed", "a"))
    assert [heard(), heard()] == ["a", None]
    wanted.discard("a")
    deliver(made, *(changed("completed", name) for name in "abc"))
    wanted.discard("c")
    assert [heard(), heard()] == ["b", None]
    wanted.add("c")
    wanted.add("d")
    assert [heard(), heard()] == ["c", None]
    timer = threading.Timer(0, deliver, (made, changed("completed", "d")))
    timer.start()
    assert heard(LONG) == "d"
    timer.join()


class Announced(threading.Event):
    """An event that reports when a thread is about to wait for it."""

    waits = threading.Semaphore(0)

    def wait(self, timeout: float | None = None) -> bool:
        Announced.waits.release()
        return super().wait(timeout)


WAITS = [(TASK_ID, LONG), (TASK_ID, float("inf")), ("another", LONG)]


def test_waiting_threads_are_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "Event", Announced)
    made = receiver()
    with ThreadPoolExecutor(len(WAITS)) as pool:
        woken = [pool.submit(made.wait_for_notification, *wait) for wait in WAITS]
        for _ in WAITS:
            Announced.waits.acquire()
        deliver(made, ENDED, changed("completed", "another"))

        assert [each.result() for each in woken] == [TASK_ID, TASK_ID, "another"]
    assert made._notifications._waiting == {}
    assert not made.wait_for_notification(TASK_ID, 0)


@pytest.mark.parametrize("loop", ["same", "another"])
def test_waiting_coroutines_are_woken_from_any_event_loop(loop: str) -> None:
    made = receiver()
    bodies = (ENDED, changed("failed", "another"))
    application = threading.Thread(target=deliver, args=(made, *bodies))

    async def main() -> list[str | None]:
        waiting = [asyncio.create_task(made.wait_for_notification_async(*wait)) for wait in WAITS]
        await asyncio.sleep(0)
        if loop == "same":
            for body in bodies:
                await Exchange(body).run(made)
        else:
            application.start()
        async with asyncio.timeout(LONG / 2):  # less than the waits, which would end by themselves
            return await asyncio.gather(*waiting)

    assert asyncio.run(main()) == [TASK_ID, TASK_ID, "another"]
    assert made._notifications._waiting == {}
    if loop == "another":
        application.join()


def test_cancelled_wait_takes_no_notification() -> None:
    made = receiver()

    async def main() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(made.wait_for_notification_async(TASK_ID, LONG), 0.001)

    asyncio.run(main())
    assert made._notifications._waiting == {}
    deliver(made, ENDED)
    assert made.wait_for_notification(TASK_ID, 0)


def test_notification_for_a_closed_loop_is_still_answered() -> None:
    made = receiver()
    loop = asyncio.new_event_loop()
    waiting = made.wait_for_notification_async(TASK_ID, LONG)

    async def begin() -> None:
        waiting.send(None)

    loop.run_until_complete(begin())
    loop.close()

    assert deliver(made, ENDED) == [204]
    waiting.close()


def test_no_notification_is_lost_between_threads() -> None:
    made = receiver()
    names = [f"task {number}" for number in range(100)]

    def send(name: str) -> None:
        deliver(made, *(changed(status, name) for status in ("pending", "processing", "completed")))

    with ThreadPoolExecutor(8) as waiters, ThreadPoolExecutor(4) as senders:
        heard = waiters.map(lambda name: made.wait_for_notification(name, LONG), names)
        assert list(senders.map(send, names)) == [None] * 100
        assert list(heard) == names
    assert made._notifications._waiting == {}


# ---- in a framework


def post(app: Any, path: str, body: Any, **headers: str) -> int:
    """Send a notification to an application in this process; return the status."""

    async def main() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="https://me.test") as client:
            return await client.post(path, json=body, headers={**FROM_PROVIDER, **headers})

    return asyncio.run(main()).status_code


@pytest.mark.parametrize(("route", "path"), [(Mount, "/hook/"), (Route, "/hook")])
def test_receiver_can_be_mounted_in_starlette(route: Any, path: str) -> None:
    app = Starlette(routes=[route("/hook", made := receiver())])

    assert post(app, path, ENDED) == 204
    assert made.wait_for_notification(TASK_ID, 0)
    assert post(app, path, ENDED, **{"x-webhook-secret": "x"}) == 403
    assert route is Route or post(app, "/hook", ENDED) == 307  # docs/webhooks.md: a provider need not follow it


PAGE = (ROOT / "docs" / "webhooks.md").read_text(encoding="utf-8")
EXAMPLES = {code.partition("\n")[0].removeprefix("# "): code for code in re.findall(r"```python\n(.*?)```", PAGE, re.S)}


@pytest.mark.parametrize("name", ["hook.py", "view.py"])
def test_example_of_the_page_runs(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WEBHOOK_SECRET", SECRET)
    names: dict[str, Any] = {}
    exec(compile(EXAMPLES[name], name, "exec"), names)
    body = {"data": ENDED["data"]}

    assert post(names["app"], "/piapi", body) == 204
    assert capsys.readouterr().out == f"{TASK_ID} completed\n"
    assert post(names["app"], "/piapi", body, **{"x-webhook-secret": "x"}) == 403
