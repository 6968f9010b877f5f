"""Webhooks: who is told what and how often, and what is left of the secret afterwards."""

import json
import sqlite3
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from unitask_sandbox import Sandbox, threads, webhooks
from unitask_sandbox.failures import Refusal
from unitask_sandbox.webhooks import AT_ONCE_A_HOST

from .local import BASE_URL, Clock, SandboxWith, encoded, face_swap

SECRET = "a webhook secret"
ENDPOINT = "https://me.test/done?id=1"
WEBHOOK = {"webhook_config": {"endpoint": ENDPOINT, "secret": SECRET}}


class Receiver:
    """Stands for whoever is told: notes what comes, and answers from a script; when it is at its end, with 200."""

    def __init__(self, *answers: int | Exception) -> None:
        self.answers = list(answers)
        self.got: list[tuple[str, dict[str, Any], Mapping[str, str]]] = []

    def __call__(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        self.got.append((url, json.loads(body), headers))
        answer = self.answers.pop(0) if self.answers else 200
        if isinstance(answer, Exception):
            raise answer
        return answer


def accept(sandbox: Sandbox, **changes: Any) -> str:
    return sandbox.accept("sandbox", encoded(face_swap(**{"config": WEBHOOK, **changes})), BASE_URL).task_id


def secret_of(sandbox: Sandbox, task_id: str) -> str:
    secret: str = sandbox.get("sandbox", task_id).config["webhook_config"]["secret"]
    return secret


@pytest.mark.parametrize("bad", [500, 300, 199, OSError("refused"), KeyError("a bug")])
def test_webhook_is_sent_at_most_three_times(sandbox_with: SandboxWith, clock: Clock, bad: Any) -> None:
    receiver = Receiver(bad, bad, bad)
    sandbox = sandbox_with(send_webhook=receiver)
    accept(sandbox)
    sent = []
    for _ in range(4):
        left = sandbox.advance()
        clock.now += 4.5
        sandbox.advance()
        sent.append((len(receiver.got), left))
        clock.now += 0.5

    assert sent == [(1, True), (2, True), (3, False), (3, False)]
    assert receiver.got[0] == receiver.got[1] == receiver.got[2]


def test_secret_is_kept_until_the_last_attempt(sandbox_with: SandboxWith, clock: Clock) -> None:
    sandbox = sandbox_with(send_webhook=Receiver(500, 500))
    task_id = accept(sandbox)
    shown = []
    for _ in range(3):
        shown.append(secret_of(sandbox, task_id))
        sandbox.advance()
        clock.now += 5

    assert shown == [SECRET] * 3
    assert secret_of(sandbox, task_id) == ""
    assert sandbox._store._rows("SELECT task_id FROM tasks WHERE config LIKE '%' || ? || '%'", SECRET) == []
    assert sandbox.get("sandbox", task_id).config["webhook_config"]["endpoint"] == ENDPOINT


@pytest.mark.parametrize(
    ("endpoint", "ending", "told"),
    [
        (ENDPOINT, "completed", [SECRET]),
        (ENDPOINT, "cancelled", []),
        (ENDPOINT, "without credit", []),
        *((address, "completed", []) for address in ("ftp://me.test/x", "me.test", "file:///etc/passwd")),
    ],
)
def test_end_is_told_to_http_endpoints_and_the_secret_is_forgotten(
    sandbox_with: SandboxWith, endpoint: str, ending: str, told: list[str]
) -> None:
    receiver = Receiver()
    sandbox = sandbox_with(send_webhook=receiver, keys={"sandbox": 0.0 if ending == "without credit" else 1.0})
    config = {"webhook_config": {"endpoint": endpoint, "secret": SECRET}}
    with suppress(Refusal):
        task_id = accept(sandbox, config=config)
        sandbox.cancel("sandbox", task_id) if ending == "cancelled" else None

    assert sandbox.advance() is False
    assert [headers.get("x-webhook-secret") for _, _, headers in receiver.got] == told
    assert sandbox._store._rows("SELECT config FROM tasks WHERE config LIKE '%' || ? || '%'", SECRET) == []
    accept(sandbox, config={"webhook_config": {"endpoint": endpoint}}) if told else None
    sandbox.advance()
    assert not told or "x-webhook-secret" not in receiver.got[-1][2]


def test_restart_goes_on_with_webhooks(sandbox_with: SandboxWith, clock: Clock, tmp_path: Path) -> None:
    sandbox = sandbox_with(data=tmp_path, send_webhook=Receiver(500))
    accept(sandbox)
    sandbox.advance()
    sandbox.close()
    clock.now += 5
    receiver = Receiver(500, 500)
    second = sandbox_with(data=tmp_path, send_webhook=receiver)
    for _ in range(3):
        second.advance()
        clock.now += 5

    assert len(receiver.got) == 2


def test_slow_receiver_holds_up_no_task_and_no_end(sandbox_with: SandboxWith) -> None:
    called, answered = threading.Event(), threading.Event()

    def slow(*_sent: object) -> int:
        called.set()
        answered.wait(timeout=30)
        return 200

    sandbox = sandbox_with(autorun=True, send_webhook=slow)
    ended = threading.Semaphore(0)
    end = sandbox._store.end

    def watched(*args: Any, **kwargs: Any) -> bool:
        done = end(*args, **kwargs)
        ended.release()
        return done

    sandbox._store.end = watched  # type: ignore[method-assign]
    accept(sandbox)
    assert called.wait(timeout=30)
    assert ended.acquire(timeout=30)
    task_id = accept(sandbox)
    assert ended.acquire(timeout=30)

    assert sandbox.get("sandbox", task_id).status == "completed"
    sandbox.close()
    assert not answered.is_set()
    answered.set()


def test_failed_delivery_is_repeated_by_itself(sandbox_with: SandboxWith, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "WEBHOOK_PAUSE", 0.01)
    told = threading.Semaphore(0)

    def send(*_sent: object) -> int:
        told.release()
        return 500

    accept(sandbox_with(autorun=True, clock=time.time, send_webhook=send))

    assert all(told.acquire(timeout=30) for _ in range(3))


class Hanging:
    """Receivers of which some do not answer until they are let; `arrived` counts what came to the others."""

    def __init__(self, *hosts: str) -> None:
        self.hosts = hosts
        self.called, self.arrived = threading.Semaphore(0), threading.Semaphore(0)
        self.answer = threading.Event()

    def __call__(self, url: str, _body: bytes, _headers: Mapping[str, str]) -> int:
        if url.split("/")[2] not in self.hosts:
            self.arrived.release()
            return 200
        self.called.release()
        self.answer.wait(timeout=30)
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
def test_receivers_that_hang_hold_up_no_other(sandbox_with: SandboxWith, hanging: list[str], good: str) -> None:
    receiver = Hanging(*hanging)
    sandbox = sandbox_with(autorun=True, send_webhook=receiver)
    for host in (*hanging, good, good):
        accept(sandbox, config={"webhook_config": {"endpoint": f"http://{host}/done"}})

    assert all(receiver.arrived.acquire(timeout=20) for _ in range(2))
    assert all(receiver.called.acquire(timeout=20) for _ in hanging[: AT_ONCE_A_HOST if len({*hanging}) == 1 else None])
    assert not receiver.called.acquire(blocking=False)
    receiver.answer.set()


@pytest.mark.parametrize("method", ["due_webhooks", "keep_attempt", "next_time"])
def test_passing_trouble_of_the_database_loses_no_webhook(
    sandbox_with: SandboxWith, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    monkeypatch.setattr(threads, "FIRST_PAUSE", 0.001)
    receiver = Receiver()
    sandbox = sandbox_with(autorun=True, send_webhook=receiver)
    works, left = getattr(sandbox._store, method), [sqlite3.OperationalError("database is locked")] * 3
    kept = threading.Event()
    keep = sandbox._store.keep_attempt

    def locked(*args: Any, **kwargs: Any) -> Any:
        if left:
            raise left.pop()
        return works(*args, **kwargs)

    def watched(*args: Any, **kwargs: Any) -> None:
        (locked if method == "keep_attempt" else keep)(*args, **kwargs)
        kept.set()

    monkeypatch.setattr(sandbox._store, method, locked)
    monkeypatch.setattr(sandbox._store, "keep_attempt", watched)
    task_id = accept(sandbox)

    assert kept.wait(20)
    assert len(receiver.got) == 1
    assert secret_of(sandbox, task_id) == ""
