"""Notifications: what is one, who may send it, and who is told."""

from __future__ import annotations

import asyncio
import hmac
import itertools
import json
import pickle
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.routing import Mount, Route
from unitask import State, _news, errors, webhooks
from unitask._core.messages import Wanted
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


def read(body: Any, **settings: Any) -> Notification:
    """What a body is for a webhook at the time UNIX; a body of bytes or text as it is, any other as JSON."""
    content = body if isinstance(body, bytes | str) else json.dumps(body)
    return parse(content, FROM_PROVIDER, **{"secret": SECRET, "now": lambda: UNIX, **settings})


def rejected(body: Any, **settings: Any) -> errors.WebhookRejected:
    """The refusal of a body."""
    with pytest.raises(errors.WebhookRejected) as caught:
        read(body, **settings)
    return caught.value


FORMS: dict[str, Any] = {
    "the documented one": ENDED,
    "the older one": ENDED["data"],
    "the envelope around it": {"code": 200, "data": ENDED["data"], "message": "success"},
    "data beside another task_id": {**ENDED, "task_id": "another"},
    "the older one with other data": {**ENDED["data"], "data": None},
}


@pytest.mark.parametrize("body", FORMS.values(), ids=FORMS)
def test_task_is_read_in_every_form(body: Any) -> None:
    """As a look would read it, output included."""
    told = read(body)

    assert isinstance(told, TaskNotification)
    assert (told.task.id, told.task.state) == (TASK_ID, State.COMPLETED)
    assert isinstance(told.task.output, FaceSwapOutput)
    assert told.task.output.image_url == "https://out.test/a.png"
    assert told.timestamp == (datetime.fromtimestamp(NOW, UTC) if "timestamp" in body else None)


def task_examples() -> Iterator[Any]:
    """Every answer with a task that the spec holds."""
    for path in sorted((ROOT / "spec" / "examples").glob("*/*.json")):
        value = json.loads(path.read_text())["value"]
        if "task_id" in (value.get("data") or {}):
            yield pytest.param(value, id=f"{path.parent.name}.{path.stem}")


@pytest.mark.parametrize("body", list(task_examples()))
def test_every_documented_task_can_be_told(body: dict[str, Any]) -> None:
    """A webhook's data is the task as in a look; some of the samples are webhook bodies."""
    told = read(body, tolerance=None)

    assert isinstance(told, TaskNotification)
    assert told.task.id == body["data"]["task_id"]
    assert (told.timestamp is None) is ("timestamp" not in body)


def test_webhook_secret_is_not_in_the_task() -> None:
    """The provider repeats it in the body."""
    config = {"webhook_config": {"endpoint": "https://me.test", "secret": SECRET}}

    for body in ({"data": task_data(config=config)}, task_data(config=config)):
        assert SECRET.encode() not in pickle.dumps(read(body))


def test_older_form_may_have_text_for_an_error() -> None:
    """The reason is told all the same."""
    told = read({"task_id": TASK_ID, "status": "failed", "output": None, "error": "no face found"})

    assert isinstance(told, TaskNotification)
    assert told.task.failure == "no face found"


def test_account_notification_is_read() -> None:
    """The documented sample."""
    told = read(ACCOUNT)

    assert told == AccountNotification(
        type="go_api_quota_exchange_failed",
        time=datetime(2024, 2, 27, 12, 2, 41, tzinfo=UTC),
        message="Test",
        detail={},
        raw=ACCOUNT,
    )
    assert told.type is AccountType.GO_API_QUOTA_EXCHANGE_FAILED


def test_known_words_are_those_of_the_spec() -> None:
    """None is missing, none is invented."""
    notification = contract.components()["AccountNotification"]

    assert set(AccountType) == set(notification["properties"]["type"]["x-advisory"]["enum"])


def test_unknown_word_and_odd_fields_pass() -> None:
    """Nothing but a webhook tells of the account, so it is not lost for a field of another kind."""
    body = {"type": "new_word", "time": "noon", "message": 7, "detail": ["x"]}

    assert read(body) == AccountNotification("new_word", None, "", {}, body)


# Who may send.


@pytest.mark.parametrize("name", ["x-webhook-secret", "X-Webhook-Secret", "X-WEBHOOK-SECRET"])
@pytest.mark.parametrize("body", [json.dumps(ENDED), json.dumps(ENDED).encode(), b'\xef\xbb\xbf{"type": "a"}'])
def test_secret_is_found_under_any_spelling_and_for_any_body(name: str, body: bytes | str) -> None:
    """Frameworks differ in both."""
    assert parse(body, {"host": "me.test", name: SECRET}, secret=SECRET, now=lambda: UNIX)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-webhook-secret": ""},
        {"x-webhook-secret": SECRET[:-1]},
        {"x-webhook-secret": SECRET + "x"},
        {"x-webhook-secret": SECRET.upper()},
        {"x-webhook-secret": "gehéim"},
        {"x-webhook-secret": "€\ud800"},
        {"x-api-key": SECRET},
    ],
    ids=repr,
)
def test_another_secret_is_rejected(headers: dict[str, str]) -> None:
    """Without a word about the right one."""
    with pytest.raises(errors.WebhookRejected) as caught:
        parse(json.dumps(ENDED), headers, secret=SECRET, now=lambda: UNIX)

    assert (caught.value.kind, caught.value.status, caught.value.task_id) == ("secret", 403, None)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "given", ["gehéim€", "gehéim€".encode().decode("latin-1")], ids=["text", "as servers decode it"]
)
def test_secret_may_have_any_letters(given: str) -> None:
    """A header is bytes; servers decode them as Latin-1."""
    headers = {"x-webhook-secret": given}

    assert parse(json.dumps(ENDED), headers, secret="gehéim€", now=lambda: UNIX)
    with pytest.raises(errors.WebhookRejected):
        parse(json.dumps(ENDED), headers, secret="gehéim$", now=lambda: UNIX)


class Items:
    """Headers that are no mapping, as frameworks have them."""

    def __init__(self, *pairs: tuple[str, str]) -> None:
        self.items = lambda: iter(pairs)


FORMS_OF_HEADERS: dict[str, Any] = {
    "a list of pairs": [("host", "me.test"), ("X-Webhook-Secret", SECRET)],
    "ASGI": [(b"host", b"me.test"), (b"x-webhook-secret", SECRET.encode())],
    "pairs once": iter([["x-webhook-secret", SECRET]]),
    "bytes": {b"X-Webhook-Secret": SECRET.encode()},
    "a bytearray": {"x-webhook-secret": bytearray(SECRET.encode())},
    "several values": {"Cookie": ["a=1", "b=2"], "X-Webhook-Secret": [SECRET]},
    "the same twice": [("x-webhook-secret", SECRET), ("X-WEBHOOK-SECRET", SECRET)],
    "WSGI": {"HTTP_X_WEBHOOK_SECRET": SECRET, "wsgi.version": (1, 0), "CONTENT_LENGTH": 7},
    "no mapping": Items(("X-Webhook-Secret", SECRET)),
    "odd names beside it": {None: "x", 7: "y", "x-webhook-secret": SECRET},
}


@pytest.mark.parametrize("headers", FORMS_OF_HEADERS.values(), ids=FORMS_OF_HEADERS)
def test_headers_are_read_in_the_form_of_any_framework(headers: Any) -> None:
    """The secret is found in it."""
    assert parse(json.dumps(ENDED), headers, secret=SECRET, now=lambda: UNIX)


@pytest.mark.parametrize(
    "headers",
    [
        [("x-webhook-secret", SECRET), ("x-webhook-secret", "another")],
        {"x-webhook-secret": ["another", SECRET]},
        {"x-webhook-secret": []},
        {"x-webhook-secret": None},
        {"x-webhook-secret": 7},
        {"x-webhook-secret": b"\xff"},
        [],
    ],
    ids=repr,
)
def test_header_that_is_not_the_secret_is_rejected_in_any_form(headers: Any) -> None:
    """Of several, each must be the secret."""
    with pytest.raises(errors.WebhookRejected):
        parse(json.dumps(ENDED), headers, secret=SECRET, now=lambda: UNIX)


@pytest.mark.parametrize(
    "headers", [None, 7, "x-webhook-secret: a", b"x", [1], [("a",)], ["ab"], {"a"}, dict], ids=repr
)
def test_headers_that_are_none_are_told(headers: Any) -> None:
    """As a mistake of the program, which no notification can be."""
    with pytest.raises(errors.InvalidInput, match="give those of the request"):
        parse(json.dumps(ENDED), headers, secret=SECRET, now=lambda: UNIX)


def test_secrets_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """As bytes, since compare_digest takes no text outside ASCII."""
    compared: list[tuple[bytes, bytes]] = []

    def compare(given: bytes, expected: bytes) -> bool:
        compared.append((given, expected))
        return False

    monkeypatch.setattr(hmac, "compare_digest", compare)

    assert rejected(ENDED).kind == "secret"
    assert set(compared) == {(SECRET.encode(), SECRET.encode())}


def test_no_secret_must_be_said() -> None:
    """None means that anybody may send; leaving it out is no choice."""
    assert parse(json.dumps(ENDED), {}, secret=None, now=lambda: UNIX)
    assert Receiver(None)
    assert Receiver(secret=None)
    with pytest.raises(TypeError, match="secret"):
        Receiver()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="secret"):
        parse("{}", {})  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"secret": ""}, "the webhook secret is empty"),
        ({"secret": f"{SECRET}\n"}, "the webhook secret has a space at an end or a line break"),
        ({"secret": f" {SECRET}"}, "the webhook secret has a space at an end or a line break"),
        ({"secret": "two\r\nlines"}, "the webhook secret has a space at an end or a line break"),
        ({"secret": SECRET.encode()}, "the webhook secret is of type bytes"),
        ({"secret": False}, "the webhook secret is of type bool"),
        ({"secret": SECRET, "tolerance": -1}, "tolerance is -1"),
        ({"secret": SECRET, "tolerance": float("nan")}, "tolerance is nan"),
        ({"secret": SECRET, "tolerance": "300"}, "tolerance is '300'"),
        ({"secret": SECRET, "tolerance": True}, "tolerance is True"),
    ],
)
@pytest.mark.parametrize("call", [Receiver, partial(parse, "{}", {})], ids=["Receiver", "parse"])
def test_setting_that_cannot_be_used_is_told(call: Callable[..., object], given: dict[str, Any], said: str) -> None:
    """At once; an empty secret would let everybody in who sends an empty header."""
    with pytest.raises(errors.InvalidInput, match=re.escape(said)) as caught:
        call(**given)

    assert SECRET not in str(caught.value)


def test_other_misuse_is_told() -> None:
    """A body that a framework has decoded already, and a handler that is none."""
    with pytest.raises(errors.InvalidInput, match="the body is of type dict: give the bytes or the text that came"):
        parse(ENDED, FROM_PROVIDER, secret=SECRET)  # type: ignore[arg-type]
    with pytest.raises(errors.InvalidInput, match="on_notification cannot be called"):
        Receiver(SECRET, on_notification="print")  # type: ignore[arg-type]


# How old it may be.


@pytest.mark.parametrize("body", [ENDED, {**ACCOUNT, "timestamp": NOW}], ids=["task", "account"])
@pytest.mark.parametrize(
    ("age", "tolerance", "passes"),
    [
        (0, 300.0, True),
        (300, 300.0, True),
        (301, 300.0, False),
        (-300, 300.0, True),
        (-301, 300.0, False),
        (365 * 86_400, 300.0, False),
        (-365 * 86_400, 300.0, False),
        (0, 0, True),
        (1, 0, False),
        (1, 1.5, True),
        (10**9, None, True),
        (-(10**9), None, True),
        (10**9, float("inf"), True),
    ],
)
def test_timestamp_is_near_now_on_both_sides(body: Any, age: int, tolerance: float | None, passes: bool) -> None:
    """What is from the future is as odd as what is old."""
    if passes:
        assert read(body, tolerance=tolerance, now=lambda: NOW + age)
    else:
        found = rejected(body, tolerance=tolerance, now=lambda: NOW + age)
        assert (found.kind, found.status) == ("time", 400)
        assert found.task_id == (TASK_ID if body is ENDED else None)
        assert f"2023-11-14 22:13:20 UTC is {abs(age)} s {'before' if age > 0 else 'after'} now" in str(found)


@pytest.mark.parametrize("value", ["1700000000", True, [], {}, 10**13, -(10**13), 10**400, 1e300])
@pytest.mark.parametrize("tolerance", [300.0, None])
def test_timestamp_that_is_none_is_rejected(value: Any, tolerance: float | None) -> None:
    """Not compared with the clock, and not let through."""
    found = rejected({**ENDED, "timestamp": value}, tolerance=tolerance)

    assert (found.kind, found.status, found.task_id) == ("form", 400, TASK_ID)
    assert len(str(found)) < 200


def test_null_timestamp_is_none() -> None:
    """As in the older form, which has none."""
    told = read({**ENDED, "timestamp": None})

    assert isinstance(told, TaskNotification)
    assert told.timestamp is None


# What is no notification.

NONE: dict[str, Any] = {
    "nothing": b"",
    "HTML": b"<html>",
    "truncated JSON": json.dumps(ENDED)[:-1],
    "not UTF-8": b'{"data": {"task_id": "\xff"}}',
    "a surrogate as UTF-8": b'{"data": {"task_id": "\xed\xa0\x80"}}',
    "UTF-16": json.dumps(ENDED).encode("utf-16"),
    "deep nesting": '{"data":' * 100_000,
    "deep lists": b"[" * 100_000,
    "an integer too long to read": b'{"type": "a", "time": ' + b"9" * 5000 + b"}",
    "NaN": '{"type": "a", "time": NaN}',
    "Infinity": '{"type": "a", "time": -Infinity}',
    "a key twice": '{"type": "a", "type": "b"}',
    "an inner key twice": '{"data": {"task_id": "a", "task_id": "b"}}',
    "two values": "{} {}",
    "null": "null",
    "a list": [ENDED],
    "a string": '"completed"',
    "an empty object": {},
    "no id": {"timestamp": NOW, "data": {"status": "completed"}},
    "the older form without an id": {"status": "completed", "output": {}},
    "a blank id": {"data": {"task_id": " "}},
    "a number for the id": {"data": {"task_id": 7}},
    "a list for data": {"data": [ENDED["data"]]},
    "an empty type": {"type": "", "message": "x"},
    "a number for the type": {"type": 7},
}


@pytest.mark.parametrize("body", NONE.values(), ids=NONE)
def test_other_body_is_rejected(body: Any) -> None:
    """With one error, and nothing of the body in it or behind it."""
    found = rejected(body)

    assert (found.kind, found.status, found.task_id) == ("form", 400, None)
    assert len(str(found)) < 250
    assert found.__context__ is None


def test_rejection_says_what_is_wrong() -> None:
    """Whoever sets up a webhook reads it."""
    assert str(rejected("{")).startswith("webhook rejected: the body is not JSON: ")
    assert str(rejected("[" * 100_000)) == "webhook rejected: the body is nested too deeply"
    assert str(rejected('{"a": NaN}')) == "webhook rejected: the body is not JSON: it has NaN"
    assert str(rejected({})) == "webhook rejected: the body has no task_id, in data or at the root, and no type"


words = st.sampled_from(["", "a", SECRET, TASK_ID, "completed", "\ud800"])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | words,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["timestamp", "data", "task_id", "type", "time", "detail", SECRET]), inner)
    ),
    max_leaves=8,
)


@settings(max_examples=500, deadline=None)
@given(
    body=values.map(json.dumps) | st.text(max_size=60) | st.binary(max_size=60), tolerance=st.none() | st.just(300.0)
)
def test_every_body_is_a_notification_or_rejected(body: bytes | str, tolerance: float | None) -> None:
    """No bare exception, and no secret in what is told of it."""
    try:
        found: object = read(body, tolerance=tolerance)
    except errors.WebhookRejected as refusal:
        found = refusal

    assert isinstance(found, TaskNotification | AccountNotification | errors.WebhookRejected)
    assert SECRET not in (str(found) if isinstance(found, Exception) else "")


# The receiver.


@dataclass
class Exchange:
    """One request to an ASGI application, played by hand.

    Attributes:
        body: What arrives, in parts; None for a sender that goes away.
        headers: As they come.
        method: As it comes.
    """

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
        return self.status

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"]) if self.sent else 0

    @property
    def text(self) -> str:
        return bytes(self.sent[1]["body"]).decode()

    @property
    def answer_headers(self) -> dict[str, str]:
        return {name.decode(): value.decode() for name, value in self.sent[0]["headers"]}


def deliver(receiver: Receiver, *bodies: Any) -> list[int]:
    """The status of the answer to each."""
    return [asyncio.run(Exchange(body).run(receiver)) for body in bodies]


def receiver(**settings: Any) -> Receiver:
    """One whose clock stands still."""
    return Receiver(SECRET, clock=lambda: UNIX, **settings)


def changed(status: str, task_id: str = TASK_ID) -> dict[str, Any]:
    """A notification of a task in this status."""
    return {"timestamp": NOW, "data": {**task_data(status), "task_id": task_id}}


def ids(told: list[Notification]) -> list[tuple[str, str]]:
    """Task and state of each."""
    return [(each.task.id, each.task.state) for each in told if isinstance(each, TaskNotification)]


def test_notification_is_answered_204_and_told() -> None:
    """Empty, as HTTP has it; the body may come in parts."""
    told: list[Notification] = []
    body = json.dumps(ENDED).encode()
    exchange = Exchange([body[:10], b"", body[10:]])

    assert asyncio.run(exchange.run(receiver(on_notification=told.append))) == 204
    assert exchange.text == ""
    assert exchange.answer_headers == {}
    assert ids(told) == [(TASK_ID, "completed")]


def test_each_state_of_a_task_is_told_once() -> None:
    """The provider sends again what it thinks was lost; letter case and timestamp may differ."""
    told: list[Notification] = []
    bodies = [changed("processing"), changed("completed"), changed("Completed"), {"data": task_data("completed")}]

    assert deliver(receiver(on_notification=told.append), *bodies, changed("completed", "another")) == [204] * 5
    assert ids(told) == [(TASK_ID, "processing"), (TASK_ID, "completed"), ("another", "completed")]


def test_account_notification_is_told_once() -> None:
    """The same again is the same; another one is another."""
    told: list[Notification] = []
    other = {**ACCOUNT, "time": ACCOUNT["time"] + 1}

    assert deliver(receiver(on_notification=told.append), ACCOUNT, ACCOUNT, other) == [204] * 3
    assert [each.raw for each in told if isinstance(each, AccountNotification)] == [ACCOUNT, other]


def test_each_unknown_status_word_is_told() -> None:
    """They may be different states; the same word again is the same."""
    told: list[Notification] = []
    made = receiver(on_notification=told.append)
    changes = [changed(word, "a") for word in ("rendering", "uploading", "Rendering", "muxing", None, 7, "uploading")]

    assert deliver(made, *changes) == [204] * 7
    assert [word for _, word in ids(told)] == ["unknown"] * 5
    assert [str(each.task.status) for each in told if isinstance(each, TaskNotification)] == [
        "rendering",
        "uploading",
        "muxing",
        "None",
        "7",
    ]


def test_oldest_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory has a limit; a duplicate that comes after ten thousand others is told again."""
    monkeypatch.setattr(_news, "REMEMBERED", 2)
    told: list[Notification] = []
    made = receiver(on_notification=told.append)

    deliver(made, *(changed("completed", name) for name in ("a", "b", "c", "c", "b", "a")))

    assert [task_id for task_id, _ in ids(told)] == ["a", "b", "c", "a"]


@pytest.mark.parametrize(
    ("exchange", "status", "text"),
    [
        (Exchange(ENDED, headers={}), 403, "webhook rejected: there is no header x-webhook-secret"),
        (Exchange({}), 400, "webhook rejected: the body has no task_id, in data or at the root, and no type"),
        (Exchange({**ENDED, "timestamp": NOW - 301}), 400, "webhook rejected: its timestamp 2023-11-14 22:08:19 UTC"),
        (Exchange([b"x" * 2**22] * 3), 413, "webhook rejected: the body is larger than 5242880 bytes"),
        (Exchange(ENDED, method="GET"), 405, "notifications are sent by POST"),
        (Exchange(ENDED, method="HEAD"), 405, "notifications are sent by POST"),
        (Exchange(ENDED, method="PUT"), 405, "notifications are sent by POST"),
    ],
    ids=["secret", "form", "time", "size", "GET", "HEAD", "PUT"],
)
def test_anything_else_is_answered_with_a_short_text(exchange: Exchange, status: int, text: str) -> None:
    """And told to nobody."""
    told: list[Notification] = []
    exchange = Exchange(exchange.body, exchange.headers, exchange.method)
    made = receiver(on_notification=told.append)

    assert asyncio.run(exchange.run(made)) == status
    assert exchange.text.startswith(text)
    assert exchange.answer_headers["content-length"] == str(len(exchange.text))
    assert exchange.answer_headers.get("allow") == ("POST" if status == 405 else None)
    assert told == []
    assert not made.until_news(TASK_ID, 0)


def test_large_body_is_not_read_to_its_end() -> None:
    """Five megabytes are all that a sender can make it hold."""
    largest = json.dumps(ENDED).encode().ljust(webhooks.LARGEST_BODY)
    endless = Exchange([b"x" * 2**20] * 1000)

    assert deliver(receiver(), largest) == [204]
    assert deliver(receiver(), largest + b" ") == [413]
    assert asyncio.run(endless.run(receiver())) == 413
    assert endless.parts_read == 6


def test_body_of_a_stranger_is_not_read_at_all() -> None:
    """The secret comes first."""
    exchange = Exchange(ENDED, headers={"x-webhook-secret": "another"})

    assert asyncio.run(exchange.run(receiver())) == 403
    assert exchange.parts_read == 0


def test_sender_that_goes_away_is_not_answered() -> None:
    """There is nobody to answer, and half a body is none."""
    exchange = Exchange([b'{"type":', None])

    assert asyncio.run(exchange.run(receiver())) == 0
    assert exchange.sent == []


def test_rejection_is_logged_without_the_secret(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever runs the webhook sees why nothing comes."""
    asyncio.run(Exchange(ENDED, headers={"x-webhook-secret": "guess"}).run(receiver()))

    assert caplog.messages == ["webhook rejected: the header x-webhook-secret holds another secret"]


def test_no_secret_lets_anybody_send() -> None:
    """When that is said."""
    made = Receiver(secret=None, clock=lambda: UNIX)

    assert asyncio.run(Exchange(ENDED, headers={}).run(made)) == 204


class AsyncHandler:
    """A handler that is an object."""

    def __init__(self, told: list[Any]) -> None:
        self.told = told

    async def __call__(self, notification: Notification) -> None:
        self.told.append((notification, threading.current_thread()))


def handlers(told: list[Any]) -> dict[str, Callable[[Notification], Any]]:
    """Each kind of function, keeping what it is told and the thread that tells it."""

    def sync(notification: Notification) -> None:
        told.append((notification, threading.current_thread()))

    async def asynchronous(notification: Notification) -> None:
        sync(notification)

    return {
        "sync": sync,
        "async": asynchronous,
        "async object": AsyncHandler(told),
        "async partial": partial(asynchronous),
        "lambda around async": lambda notification: asynchronous(notification),
    }


@pytest.mark.parametrize("kind", handlers([]))
def test_handler_may_be_sync_or_async(kind: str) -> None:
    """A sync one may block: it is called in a thread, so that the server goes on."""
    told: list[Any] = []

    assert deliver(receiver(on_notification=handlers(told)[kind]), ENDED) == [204]
    assert len(told) == 1
    assert (told[0][1] is threading.main_thread()) is (kind != "sync")


@pytest.mark.parametrize("failure", [ValueError("no room"), StopIteration(), errors.DownloadFailed("x", url="u")])
@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("body", [ENDED, ACCOUNT], ids=["task", "account"])
def test_handler_that_fails_is_told_again(
    failure: Exception, asynchronous: bool, body: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """HTTP 500 makes the provider send again; the failure is in the log."""
    outcomes: list[Exception | None] = [failure, None]
    told: list[Notification] = []

    def handle(notification: Notification) -> None:
        told.append(notification)
        if outcome := outcomes.pop(0):
            raise outcome

    async def handle_async(notification: Notification) -> None:
        handle(notification)

    made = receiver(on_notification=handle_async if asynchronous else handle)

    assert deliver(made, body, body, body) == [500, 204, 204]
    assert len(told) == 2
    assert caplog.messages == ["on_notification failed; the provider is asked to send the notification again"]


def test_handler_that_is_interrupted_is_told_again() -> None:
    """A server that stops cancels what it is doing."""
    told: list[Notification] = []

    async def handle(notification: Notification) -> None:
        told.append(notification)
        if len(told) == 1:
            await asyncio.Future()

    async def main() -> int:
        made = receiver(on_notification=handle)
        first = asyncio.create_task(Exchange(ENDED).run(made))
        while not told:
            await asyncio.sleep(0)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        return await Exchange(ENDED).run(made)

    assert asyncio.run(main()) == 204
    assert len(told) == 2


@pytest.mark.parametrize("fails", [False, True])
def test_duplicate_during_the_telling_is_sent_for_again(fails: bool) -> None:
    """Whether the telling works out is not known yet, so 204 could lose it."""
    told: list[Notification] = []

    async def main() -> list[int]:
        release = asyncio.Event()

        async def handle(notification: Notification) -> None:
            told.append(notification)
            await release.wait()
            if fails and len(told) == 1:
                raise ValueError

        made = receiver(on_notification=handle)
        first = asyncio.create_task(Exchange(ENDED).run(made))
        while not told:
            await asyncio.sleep(0)
        during = await Exchange(ENDED).run(made)
        release.set()
        return [during, await first, await Exchange(ENDED).run(made)]

    assert asyncio.run(main()) == [503, 500 if fails else 204, 204]
    assert len(told) == (2 if fails else 1)


def test_server_may_start_and_stop_it() -> None:
    """It can be served alone; a WebSocket is refused."""

    async def messages(scope_type: str, *arriving: str) -> list[str]:
        arrivals, sent = iter(arriving), list[Any]()

        async def receive() -> dict[str, Any]:
            return {"type": next(arrivals)}

        async def send(message: Any) -> None:
            sent.append(message["type"])

        await receiver()({"type": scope_type}, receive, send)
        return sent

    lifespan = asyncio.run(messages("lifespan", "lifespan.startup", "lifespan.shutdown"))

    assert lifespan == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert asyncio.run(messages("websocket", "websocket.connect")) == ["websocket.close"]


# News for those who wait.


def until_news(shell: str, made: Receiver, task_id: str | Wanted = TASK_ID, seconds: float = LONG) -> str | None:
    """Wait in the way of either client."""
    if shell == "sync":
        return made.until_news(task_id, seconds)
    return asyncio.run(made.until_news_async(task_id, seconds))


def test_news_that_came_before_anyone_waited_counts(shell: str) -> None:
    """Once: the next wait is for the next news."""
    made = receiver()
    deliver(made, changed("processing"), changed("completed"))

    assert until_news(shell, made)
    assert not until_news(shell, made, seconds=0)
    deliver(made, changed("failed"))
    assert until_news(shell, made)


@pytest.mark.parametrize("seconds", [0, -1.0])
def test_wait_ends_without_news(shell: str, seconds: float) -> None:
    """False says that the time is up."""
    made = receiver()

    assert not until_news(shell, made, seconds=seconds)
    assert made._news._waiting == {}


def test_news_is_of_one_task(shell: str) -> None:
    """Account notifications are news of none."""
    made = receiver()
    deliver(made, changed("completed", "another"), ACCOUNT)

    assert not until_news(shell, made, seconds=0)
    assert until_news(shell, made, "another")


def test_duplicate_is_no_news(shell: str) -> None:
    """It tells nothing that a look has not seen."""
    made = receiver()
    deliver(made, ENDED)
    assert until_news(shell, made)
    deliver(made, ENDED)

    assert not until_news(shell, made, seconds=0)


def test_news_comes_also_when_the_handler_fails(shell: str) -> None:
    """Whoever waits does not depend on it."""

    def fail(_: Notification) -> None:
        raise ValueError

    made = receiver(on_notification=fail)
    assert deliver(made, ENDED) == [500]

    assert until_news(shell, made)


def test_news_that_nobody_hears_is_bounded(shell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest is dropped; who waits for that looks a little later."""
    monkeypatch.setattr(_news, "REMEMBERED", 2)
    made = receiver()
    deliver(made, *(changed("completed", name) for name in ("a", "b", "c")))

    assert [until_news(shell, made, name, 0) for name in ("a", "b", "c")] == [None, "b", "c"]


def test_news_of_one_of_several_names_it(shell: str) -> None:
    """News of another one is kept for the next call."""
    made = receiver()
    deliver(made, changed("completed", "b"), changed("completed", "c"))
    wanted: Any = ["a", "b", "c"]

    assert [until_news(shell, made, wanted, 0) for _ in range(3)] == ["b", "c", None]
    assert made._news._waiting == {}


def test_news_of_two_at_once_is_heard_one_after_the_other() -> None:
    """The waiter is woken once, and nothing is lost."""
    made = receiver()

    async def main() -> list[str | None]:
        waiting = asyncio.create_task(made.until_news_async(["a", "b", "c"], LONG))
        await asyncio.sleep(0)
        await Exchange(changed("completed", "c")).run(made)
        await Exchange(changed("completed", "b")).run(made)
        return [await waiting, *[await made.until_news_async(["a", "b", "c"], 0) for _ in range(2)]]

    assert asyncio.run(main()) == ["b", "c", None]


def wanting(*task_ids: str) -> Wanted:
    """A set of tasks that may change."""
    wanted = Wanted()
    for task_id in task_ids:
        wanted.add(task_id)
    return wanted


def test_changing_set_hears_as_a_fixed_one(shell: str) -> None:
    """Before, between and during calls, each news once; what is not wanted is kept for others."""
    made, wanted = receiver(), wanting("a", "b", "c")

    def heard(seconds: float = 0) -> str | None:
        return until_news(shell, made, wanted, seconds)

    deliver(made, changed("completed", "a"))
    assert [heard(), heard()] == ["a", None]
    wanted.discard("a")
    deliver(made, changed("completed", "a"), changed("completed", "b"), changed("completed", "c"))
    wanted.discard("c")
    assert [heard(), heard()] == ["b", None]
    wanted.add("c")
    wanted.add("d")
    assert [heard(), heard()] == ["c", None]
    timer = threading.Timer(0, deliver, (made, changed("completed", "d")))
    timer.start()
    assert heard(LONG) == "d"
    timer.join()


def test_what_a_set_did_not_hear_is_kept_when_it_is_gone(shell: str) -> None:
    """A wait that has ended takes no news with it, and leaves nothing behind."""
    made, wanted = receiver(), wanting("a", "b", "c")
    assert until_news(shell, made, wanted, 0) is None
    deliver(made, changed("completed", "a"), changed("completed", "b"))
    del wanted

    assert [until_news(shell, made, name, 0) for name in ("a", "b", "c")] == ["a", "b", None]
    assert made._news._waiting == {}


def test_a_call_for_a_large_set_costs_what_has_changed(shell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand waits in one ask thousands of times."""
    digests: list[str] = []
    digest = _news.digest
    monkeypatch.setattr(_news, "digest", lambda *words: (digests.append(words[0]), digest(*words))[1])
    made, wanted = receiver(), wanting(*map(str, range(1000)))
    for name in map(str, range(200)):
        assert until_news(shell, made, wanted, 0) is None
        wanted.discard(name)
        wanted.add(name)

    assert len(digests) < 1000 + 2 * 200


class Announced(threading.Event):
    """An event that says when somebody is about to wait for it."""

    waits = threading.Semaphore(0)

    def wait(self, timeout: float | None = None) -> bool:
        Announced.waits.release()
        return super().wait(timeout)


def test_threads_that_wait_are_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two for the same task, one for another; any length of time is taken."""
    monkeypatch.setattr(webhooks, "Event", Announced)
    made = receiver()
    waits = [(TASK_ID, LONG), (TASK_ID, float("inf")), ("another", LONG)]
    with ThreadPoolExecutor(len(waits)) as pool:
        woken = [pool.submit(made.until_news, *wait) for wait in waits]
        for _ in waits:
            Announced.waits.acquire()
        deliver(made, ENDED, changed("completed", "another"))

        assert [each.result() for each in woken] == [TASK_ID, TASK_ID, "another"]
    assert made._news._waiting == {}
    assert not made.until_news(TASK_ID, 0)


def test_coroutines_that_wait_are_woken() -> None:
    """By a notification in the same loop; the loop goes on meanwhile."""
    made = receiver()

    async def main() -> list[str | None]:
        waits = [(TASK_ID, LONG), (TASK_ID, float("inf")), ("another", LONG)]
        waiting = [asyncio.create_task(made.until_news_async(*wait)) for wait in waits]
        await asyncio.sleep(0)
        await Exchange(ENDED).run(made)
        await Exchange(changed("failed", "another")).run(made)
        return await asyncio.gather(*waiting)

    assert asyncio.run(main()) == [TASK_ID, TASK_ID, "another"]
    assert made._news._waiting == {}


def test_coroutine_is_woken_from_another_loop() -> None:
    """The application may run in a thread of its own; a loop that sleeps hears of it."""
    made = receiver()
    application = threading.Thread(target=deliver, args=(made, ENDED))

    async def main() -> bool:
        waiting = asyncio.create_task(made.until_news_async(TASK_ID, LONG))
        await asyncio.sleep(0)
        application.start()
        async with asyncio.timeout(LONG / 2):  # else it ends by itself
            return await waiting

    assert asyncio.run(main())
    application.join()


def test_wait_that_is_cancelled_leaves_nothing_behind() -> None:
    """And takes no news from those who wait later."""
    made = receiver()

    async def main() -> None:
        waiting = asyncio.create_task(made.until_news_async(TASK_ID, LONG))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)

    asyncio.run(main())
    assert made._news._waiting == {}
    deliver(made, ENDED)
    assert made.until_news(TASK_ID, 0)


def test_loop_that_was_closed_during_a_wait_stops_nobody_else() -> None:
    """The notification is still answered."""
    made = receiver()
    loop = asyncio.new_event_loop()
    waiting = made.until_news_async(TASK_ID, LONG)

    async def begin() -> None:
        waiting.send(None)

    loop.run_until_complete(begin())
    loop.close()

    assert deliver(made, ENDED) == [204]
    waiting.close()


def test_many_threads_hear_all_news() -> None:
    """Eight waiters with tasks of their own, four senders: no news is lost between them."""
    made = receiver()
    names = [f"task {number}" for number in range(200)]
    statuses = ("pending", "processing", "completed")
    heard: dict[str, str | None] = {}

    def wait(name: str) -> None:
        heard[name] = made.until_news(name, LONG)

    def send(name: str) -> None:
        deliver(made, *(changed(status, name) for status in statuses))

    with ThreadPoolExecutor(8) as waiters, ThreadPoolExecutor(4) as senders:
        list(itertools.chain(waiters.map(wait, names), senders.map(send, names)))

    assert heard == {name: name for name in names}
    assert made._news._waiting == {}


# In a framework.


def post(app: Any, path: str, body: Any, **headers: str) -> httpx.Response:
    """Send a notification to an application in this process."""

    async def main() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="https://me.test") as client:
            return await client.post(path, json=body, headers={**FROM_PROVIDER, **headers})

    return asyncio.run(main())


@pytest.mark.parametrize(
    ("route", "path"), [(Mount, "/hook/"), (Mount, "/hook/any/path"), (Route, "/hook")], ids=["Mount", "below", "Route"]
)
def test_receiver_can_be_mounted_in_starlette(route: Any, path: str) -> None:
    """As an application below a path, or at exactly one."""
    made = receiver()
    app = Starlette(routes=[route("/hook", made)])

    assert post(app, path, ENDED).status_code == 204
    assert made.until_news(TASK_ID, 0)
    assert post(app, path, ENDED, **{"x-webhook-secret": "x"}).status_code == 403


def test_mount_redirects_without_its_slash() -> None:
    """As the page says: a provider need not follow."""
    assert post(Starlette(routes=[Mount("/hook", receiver())]), "/hook", ENDED).status_code == 307


PAGE = (ROOT / "docs" / "webhooks.md").read_text(encoding="utf-8")
EXAMPLES = {code.partition("\n")[0].removeprefix("# "): code for code in re.findall(r"```python\n(.*?)```", PAGE, re.S)}


@pytest.mark.parametrize(("name", "path"), [("hook.py", "/piapi"), ("view.py", "/piapi")])
def test_example_of_the_page_runs(
    name: str, path: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It takes a notification with the secret and prints it, and refuses one without."""
    monkeypatch.setenv("WEBHOOK_SECRET", SECRET)
    names: dict[str, Any] = {}
    exec(compile(EXAMPLES[name], name, "exec"), names)
    body = {"data": task_data("completed", output={"image_url": "https://out.test/a.png"})}

    assert post(names["app"], path, body).status_code == 204
    assert capsys.readouterr().out == f"{TASK_ID} completed\n"
    assert post(names["app"], path, body, **{"x-webhook-secret": "x"}).status_code == 403
