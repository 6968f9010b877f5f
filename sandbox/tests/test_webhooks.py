"""Webhooks: which ends are sent, how often, and what is kept of the secret afterwards."""

import itertools
import sqlite3
import textwrap
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from unitask_sandbox import Fault, Sandbox, store, threads, webhooks
from unitask_sandbox.webhooks import AT_ONCE_A_HOST

from .local import (
    CREATE,
    Clock,
    HttpWith,
    Receiver,
    SandboxWith,
    base64_of,
    encoded,
    face_swap,
    fail_at_first,
    simulated,
)

SECRET = "a webhook secret"
ENDPOINT = "https://me.test/done?id=1"
PATIENCE = 30  # seconds until a test that hangs fails


def accept(sandbox: Sandbox, endpoint: str = ENDPOINT, **more: str) -> str:
    webhook = {"endpoint": endpoint, "secret": SECRET, **more}
    return sandbox.accept("sandbox", encoded(face_swap(config={"webhook_config": webhook}))).task_id


def kept_secrets(sandbox: Sandbox) -> int:
    return len(sandbox._store._rows("SELECT task_id FROM tasks WHERE config LIKE '%' || ? || '%'", SECRET))


@pytest.mark.parametrize("bad", [300, 199, KeyError("a bug")])
def test_webhook_is_sent_at_most_three_times(sandbox_with: SandboxWith, clock: Clock, bad: Any) -> None:
    receiver = Receiver([bad, bad, bad])
    sandbox = sandbox_with(send_webhook=receiver, faults=(Fault("send_webhook", "slow", delay=60.0),))
    accept(sandbox)
    sandbox.advance()
    clock.now += 60  # the delay of a fault is not an attempt
    sent = []
    for _ in range(4):
        left = sandbox.advance()
        clock.now += 4.5
        sandbox.advance()
        sent.append((len(receiver.got), left, kept_secrets(sandbox)))
        clock.now += 0.5

    assert sent == [(1, True, 1), (2, True, 1), (3, False, 0), (3, False, 0)]
    assert receiver.got[0] == receiver.got[1] == receiver.got[2]


@pytest.mark.parametrize(
    ("endpoint", "ending", "sent"),
    [
        (ENDPOINT, "completed", [SECRET]),
        (ENDPOINT, "cancelled", []),
        (ENDPOINT, "without credit", []),
        *((address, "completed", []) for address in ("ftp://me.test/x", "me.test", "file:///etc/passwd")),
    ],
)
def test_end_is_sent_to_http_endpoints_and_the_secret_is_removed(
    http_with: HttpWith, endpoint: str, ending: str, sent: list[str]
) -> None:
    receiver = Receiver()
    http = http_with(send_webhook=receiver, keys={"sandbox": 0.0 if ending == "without credit" else 1.0})
    config = {"webhook_config": {"endpoint": endpoint, "secret": SECRET}}
    task_id = http("POST", CREATE, json=face_swap(config=config)).json()["data"]["task_id"]
    if ending == "cancelled":
        http("DELETE", f"{CREATE}/{task_id}")

    assert http.sandbox.advance() is False
    assert [headers["x-webhook-secret"] for _, _, headers in receiver.got] == sent
    assert kept_secrets(http.sandbox) == 0
    assert http.task(task_id)["config"]["webhook_config"] == {"endpoint": endpoint, "secret": ""}


def test_webhook_that_becomes_due_meanwhile_is_not_forgotten(sandbox_with: SandboxWith, clock: Clock) -> None:
    sandbox = sandbox_with(send_webhook=Receiver([500]))
    accept(sandbox)
    sandbox.advance()
    due = clock.now + store.WEBHOOK_PAUSE
    moments = itertools.count(due - 1)
    sandbox._courier.clock = lambda: next(moments)

    assert sandbox._courier.deliver(on_end=sandbox.advance) == due


def test_restart_goes_on_with_webhooks_by_itself(
    sandbox_with: SandboxWith, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (store, webhooks):
        monkeypatch.setattr(module, "WEBHOOK_PAUSE", 0.01)
    sandbox = sandbox_with(data=tmp_path, send_webhook=Receiver([500]))
    accept(sandbox, secret="")
    sandbox.advance()
    sandbox.close()
    sent = threading.Semaphore(0)

    def send(_url: str, _body: bytes, headers: Mapping[str, str]) -> int:
        if "x-webhook-secret" not in headers:
            sent.release()
        return 500

    sandbox_with(data=tmp_path, autorun=True, clock=time.time, send_webhook=send)

    assert all(sent.acquire(timeout=PATIENCE) for _ in range(2))


class Hanging:
    """Receivers of which some answer only when `answer` is set; `arrived` counts what came to the others."""

    def __init__(self, *hosts: str) -> None:
        self.hosts = hosts
        self.called, self.arrived = threading.Semaphore(0), threading.Semaphore(0)
        self.answer = threading.Event()

    def __call__(self, url: str, _body: bytes, _headers: Mapping[str, str]) -> int:
        if url.split("/")[2] not in self.hosts:
            self.arrived.release()
            return 200
        self.called.release()
        self.answer.wait(timeout=PATIENCE)
        return 200


@pytest.mark.parametrize(
    ("hanging", "good"),
    [
        ([f"127.0.0.1:{port}" for port in range(1, AT_ONCE_A_HOST + 2)], "127.0.0.1:99"),
        (["a.test"] * (AT_ONCE_A_HOST + 5), "good.test"),
        ([f"{number}.test" for number in range(20)], "good.test"),
    ],
    ids=["ports", "one-host", "twenty"],
)
def test_receivers_that_hang_hold_up_no_other_and_no_close(
    sandbox_with: SandboxWith, hanging: list[str], good: str
) -> None:
    receiver = Hanging(*hanging)
    sandbox = sandbox_with(autorun=True, send_webhook=receiver)
    for host in (*hanging, good, good):
        accept(sandbox, f"http://{host}/done")

    assert all(receiver.arrived.acquire(timeout=PATIENCE) for _ in range(2))
    at_once = hanging if len({*hanging}) > 1 else hanging[:AT_ONCE_A_HOST]
    assert all(receiver.called.acquire(timeout=PATIENCE) for _ in at_once)
    assert not receiver.called.acquire(blocking=False)
    sandbox.close()
    assert not receiver.answer.is_set()
    receiver.answer.set()


@pytest.mark.parametrize("method", ["due_webhooks", "keep_attempt", "next_time"])
def test_passing_trouble_of_the_database_loses_no_webhook(
    sandbox_with: SandboxWith, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    monkeypatch.setattr(threads, "FIRST_PAUSE", 0.001)
    receiver, kept = Receiver(), threading.Event()
    sandbox = sandbox_with(autorun=True, send_webhook=receiver)
    keep = sandbox._store.keep_attempt
    monkeypatch.setattr(sandbox._store, "keep_attempt", lambda *args: (keep(*args), kept.set()))
    fail_at_first(monkeypatch, sandbox._store, method, sqlite3.OperationalError("database is locked"))
    accept(sandbox)

    assert kept.wait(PATIENCE)
    assert len(receiver.got) == 1
    assert kept_secrets(sandbox) == 0


def test_webhook_is_sent_later_when_there_is_no_thread_for_it(
    sandbox_with: SandboxWith, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "FIRST_PAUSE", 0.001)
    sent, start, refused = threading.Event(), threading.Thread.start, list[str]()

    def start_third(thread: threading.Thread) -> None:
        if thread.name == "unitask-sandbox-webhook" and len(refused) < 2:
            refused.append(thread.name)
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_third)
    sandbox = sandbox_with(autorun=True, send_webhook=lambda *_sent: sent.set() or 200)
    accept(sandbox)

    assert sent.wait(PATIENCE)
    assert len(refused) == 2


PICTURE = base64_of(bytes(range(256)))
WRAPPED = "\r\n".join(textwrap.wrap(PICTURE, 76))  # as the program base64 writes it
URLS = ["https://a.test/a.png?x=1", PICTURE, WRAPPED, f"DATA:image/png;base64,{PICTURE}"]
ECHOES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "a recorded family": (
        simulated("kling", "video_generation", prompt="a", duration=5),
        {"prompt": "a", "duration": 5},
    ),
    "a picture in base64": (
        simulated("gemini", "nano-banana-pro", prompt="a" * 300, image_urls=URLS),
        {"prompt": "a" * 300, "image_urls": [URLS[0], *(f"{url[:40]}..." for url in URLS[1:])]},
    ),
    "a sample shows nothing": (face_swap(), {}),
    "the sample of several faces": (face_swap(task_type="multi-face-swap"), {}),
}


@pytest.mark.parametrize(("body", "shown"), ECHOES.values(), ids=ECHOES.keys())
def test_answers_and_webhooks_show_the_input_without_files(
    http_with: HttpWith, body: dict[str, Any], shown: dict[str, Any]
) -> None:
    receiver = Receiver()
    http = http_with(send_webhook=receiver)
    created = http("POST", CREATE, json=body | {"config": {"webhook_config": {"endpoint": ENDPOINT}}}).json()["data"]
    http.sandbox.advance()
    ((_, sent, _),) = receiver.got

    assert [task["input"] for task in (created, http.task(created["task_id"]), sent["data"])] == [shown] * 3
