"""Webhooks: who is told what and how often, and what is left of the secret afterwards."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator
from unitask_sandbox import Sandbox, bundle, running, timing
from unitask_sandbox.http_client import HttpClient
from unitask_sandbox.webhooks import AT_ONCE_A_HOST

from .local import BASE_URL, NO_FACE, NOW, Clock, HttpWith, SandboxWith, encoded, face_swap

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


@pytest.mark.parametrize(("target", "status"), [(b"target", "completed"), (NO_FACE, "failed")])
def test_end_of_a_task_is_told(http_with: HttpWith, clock: Clock, target: bytes, status: str) -> None:
    """The endpoint gets {timestamp, data}, data as a look shows it, with the secret in its header."""
    receiver = Receiver()
    http = http_with(send_webhook=receiver)
    task_id = http.create(target=target, config=WEBHOOK)
    clock.now += 3
    http.sandbox.advance()
    seen = http.task(task_id)
    ((url, body, headers),) = receiver.got
    schema = {"$ref": "#/components/schemas/TaskNotification", "components": bundle.document()["components"]}

    assert list(Draft202012Validator(schema).iter_errors(body)) == []
    assert (url, headers["x-webhook-secret"], headers["content-type"]) == (ENDPOINT, SECRET, "application/json")
    assert (body.keys(), body["timestamp"]) == ({"timestamp", "data"}, int(NOW) + 3)
    assert body["data"].pop("config")["webhook_config"]["secret"] == SECRET
    del seen["config"]
    assert body["data"] == seen
    assert seen["status"] == status


def test_address_of_the_output_is_that_of_the_create(http_with: HttpWith) -> None:
    """A receiver can fetch what it is told of."""
    receiver = Receiver()
    http = http_with(send_webhook=receiver)
    http.create(config=WEBHOOK)
    http.sandbox.advance()
    url = receiver.got[0][1]["data"]["output"]["image_url"]

    assert http("GET", url, headers={}).content == b"<target>"


def test_without_a_secret_there_is_no_header(sandbox_with: SandboxWith) -> None:
    """An absent secret is not an empty one."""
    receiver = Receiver()
    sandbox = sandbox_with(send_webhook=receiver)
    accept(sandbox, config={"webhook_config": {"endpoint": ENDPOINT}})
    sandbox.advance()

    assert "x-webhook-secret" not in receiver.got[0][2]


@pytest.mark.parametrize("bad", [500, 404, 302, 199, OSError("refused"), ValueError("no header"), KeyError("a bug")])
def test_webhook_is_sent_at_most_three_times(sandbox_with: SandboxWith, clock: Clock, bad: Any) -> None:
    """What is not answered with 2xx comes again after 5 seconds, the same to the byte, and then no more."""
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


def test_delivered_webhook_is_not_sent_again(sandbox_with: SandboxWith, clock: Clock) -> None:
    """A 2xx ends it, also on the second attempt."""
    receiver = Receiver(503, 204)
    sandbox = sandbox_with(send_webhook=receiver)
    accept(sandbox)
    for _ in range(3):
        sandbox.advance()
        clock.now += 5

    assert len(receiver.got) == 2


def test_secret_is_kept_until_the_last_attempt(sandbox_with: SandboxWith, clock: Clock) -> None:
    """A look shows the secret in clear, as the live one does, while it is needed; then it is nowhere."""
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


def test_cancelled_task_is_not_told_of(sandbox_with: SandboxWith) -> None:
    """No document says that it were; the secret is forgotten with the cancel."""
    receiver = Receiver()
    sandbox = sandbox_with(send_webhook=receiver)
    task_id = accept(sandbox)
    sandbox.cancel("sandbox", task_id)

    assert (sandbox.advance(), receiver.got, secret_of(sandbox, task_id)) == (False, [], "")


def test_create_without_credit_is_not_told_of(http_with: HttpWith) -> None:
    """The answer has said it; the secret is not kept."""
    receiver = Receiver()
    http = http_with(keys={"sandbox": 0.0}, send_webhook=receiver)
    body = http("POST", "/api/v1/task", json=face_swap(config=WEBHOOK)).json()
    http.sandbox.advance()

    assert receiver.got == []
    assert secret_of(http.sandbox, body["data"]["task_id"]) == ""


@pytest.mark.parametrize("endpoint", ["ftp://me.test/x", "me.test", "file:///etc/passwd", "javascript:0"])
def test_only_http_is_spoken(sandbox_with: SandboxWith, endpoint: str) -> None:
    """Any other endpoint is accepted, as the spec says, and never called; the secret goes with the task's end."""
    receiver = Receiver()
    sandbox = sandbox_with(send_webhook=receiver)
    task_id = accept(sandbox, config={"webhook_config": {"endpoint": endpoint, "secret": SECRET}})
    sandbox.advance()

    assert receiver.got == []
    assert secret_of(sandbox, task_id) == ""


def test_restart_goes_on_with_webhooks(sandbox_with: SandboxWith, clock: Clock, tmp_path: Path) -> None:
    """What was not delivered yet is sent by the next sandbox over the same folder, and attempts are not forgotten."""
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
    """While one waits for an answer, other tasks are done, and the sandbox can be closed."""
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
        (["a.test", "b.test", "c.test"], "good.test"),
        (["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"], "127.0.0.1:4"),
        (["a.test"] * (AT_ONCE_A_HOST + 5), "good.test"),
        ([f"{number}.test" for number in range(20)], "good.test"),
    ],
    ids=["three", "ports", "one-host", "twenty"],
)
def test_receivers_that_hang_hold_up_no_other(sandbox_with: SandboxWith, hanging: list[str], good: str) -> None:
    """While they are waited for, what is for others is delivered; nobody is told twice."""
    receiver = Hanging(*hanging)
    sandbox = sandbox_with(autorun=True, send_webhook=receiver)
    for host in (*hanging, good, good):
        accept(sandbox, config={"webhook_config": {"endpoint": f"http://{host}/done"}})

    assert all(receiver.arrived.acquire(timeout=20) for _ in range(2))
    assert all(receiver.called.acquire(timeout=20) for _ in hanging[: AT_ONCE_A_HOST if len({*hanging}) == 1 else None])
    assert not receiver.called.acquire(blocking=False)
    receiver.answer.set()


@pytest.mark.parametrize("method", ["due_webhooks", "keep_attempt", "next_webhook"])
def test_passing_trouble_of_the_database_loses_no_webhook(
    sandbox_with: SandboxWith, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """It is delivered when the lock is gone, once, and without another request."""
    monkeypatch.setattr(timing, "FIRST_PAUSE", 0.001)
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


@contextmanager
def receiving(status: int, **headers: str) -> Iterator[tuple[str, list[tuple[str, dict[str, str], bytes]]]]:
    """A real receiver on a free port: its address, and what it got."""
    got: list[tuple[str, dict[str, str], bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            got.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *_line: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/done", got
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("status", [200, 204, 400, 503])
def test_webhook_goes_over_a_real_connection(status: int) -> None:
    """The body arrives as it is, with its headers, and the answer's status comes back, whatever it is."""
    with receiving(status) as (url, got):
        answered = HttpClient().post(
            url, b'{"data": 1}', {"content-type": "application/json", "x-webhook-secret": SECRET}
        )
    ((path, headers, body),) = got

    assert (answered, path, body) == (status, "/done", b'{"data": 1}')
    assert (headers["content-type"], headers["x-webhook-secret"]) == ("application/json", SECRET)


def test_running_sandbox_tells_a_running_receiver(settings_with: Any) -> None:
    """From a create over HTTP to a POST over HTTP, with an output that can be fetched while it is told of."""
    told: list[tuple[bytes, str]] = []
    arrived = threading.Event()

    def tell(url: str, body: bytes, headers: Mapping[str, str]) -> int:
        status = HttpClient().post(url, body, headers)
        told.append((httpx.get(json.loads(body)["data"]["output"]["image_url"]).content, headers["x-webhook-secret"]))
        arrived.set()
        return status

    with receiving(200) as (endpoint, got), running(settings_with(autorun=True, send_webhook=tell)) as url:
        config = {"webhook_config": {"endpoint": endpoint, "secret": SECRET}}
        created = httpx.post(f"{url}/api/v1/task", json=face_swap(config=config), headers={"x-api-key": "sandbox"})
        assert arrived.wait(timeout=30)

    assert told == [(b"<target>", SECRET)]
    assert [json.loads(body)["data"]["task_id"] for _, _, body in got] == [created.json()["data"]["task_id"]]


def test_redirect_is_not_followed() -> None:
    """The secret goes where the create said and nowhere else."""
    with receiving(200) as (elsewhere, got), receiving(307, location=elsewhere) as (url, _):
        answered = HttpClient().post(url, b"{}", {"x-webhook-secret": SECRET})

    assert (answered, got) == (307, [])
