"""Scripted faults: what a client meets, what was done all the same, and what the report of arrivals says of it."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from starlette.responses import PlainTextResponse, Response
from unitask_sandbox import Fault, create_app, running
from unitask_sandbox.fault_injection import CLOSE, AnswerLost, injected
from unitask_sandbox.request_log import key_fingerprint

from .local import NOW, Clock, HttpWith, face_swap

CREATE, HISTORY, INFO = "/api/v1/task", "/api/open/tasks/histories", "/account/info"
KEY = {"x-api-key": "sandbox"}


@pytest.fixture
def served(settings_with: Any) -> Any:
    """A client of a sandbox on a real socket, with a script of faults."""

    @contextmanager
    def serve(*faults: Fault) -> Iterator[httpx.Client]:
        with running(settings_with(faults=faults)) as url, httpx.Client(base_url=url, headers=KEY) as client:
            yield client

    return serve


def tasks(client: httpx.Client) -> int:
    """How many tasks the provider has."""
    total: int = client.get(HISTORY).json()["data"]["total"]
    return total


def statuses(client: httpx.Client) -> list[int | None]:
    """What the report says of each create."""
    arrivals = client.get("/_sandbox/arrivals").json()["arrivals"]
    return [arrival["status"] for arrival in arrivals if arrival["operation"] == "create_task"]


def test_refusal_comes_before_anything_is_done(served: Any) -> None:
    fault = Fault("create_task", "refuse", 429, b'{"code":429,"message":"slow down"}', {"retry-after": "7"})
    with served(fault) as client:
        answer = client.post(CREATE, json=face_swap(b"large" * 100_000))

        assert (answer.status_code, answer.json()["message"]) == (429, "slow down")
        assert (answer.headers["retry-after"], answer.headers["content-type"]) == ("7", "application/json")
        assert (tasks(client), statuses(client)) == (0, [429])


def test_answer_can_be_replaced_after_the_work(served: Any) -> None:
    with served(Fault("create_task", "replace", 520, b"<html>", {"content-type": "text/html"})) as client:
        answer = client.post(CREATE, json=face_swap())

        assert (answer.status_code, answer.content, answer.headers["content-type"]) == (520, b"<html>", "text/html")
        assert (tasks(client), statuses(client)) == (1, [520])


LOST = r"without sending a resp|reset"  # reset: the body lies unread when the connection is closed


@pytest.mark.parametrize(("kind", "made", "reported"), [("lose", 1, None), ("drop", 0, None)])
def test_connection_can_be_closed_without_an_answer(
    served: Any, capfd: pytest.CaptureFixture[str], kind: Any, made: int, reported: int | None
) -> None:
    with served(Fault("create_task", kind)) as client:
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError), match=LOST):
            client.post(CREATE, json=face_swap())

        assert (tasks(client), statuses(client)) == (made, [reported])
        assert client.post(CREATE, json=face_swap()).status_code == 200
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("kind", ["cut", "short"])
def test_body_can_be_shorter_than_announced(served: Any, capfd: pytest.CaptureFixture[str], kind: Any) -> None:
    with served(Fault("create_task", kind)) as client:
        with client.stream("POST", CREATE, json=face_swap()) as answer:
            announced, pieces = int(answer.headers["content-length"]), answer.iter_raw()
            received = next(pieces)
            with pytest.raises(httpx.RemoteProtocolError, match=f"{len(received)} bytes, expected {announced}"):
                next(pieces)

        assert received.startswith(b'{"code": 200, "data": {"task_id": ')
        assert len(received) == (announced // 2 if kind == "cut" else announced - 1000)
        assert kind == "cut" or json.loads(received)["code"] == 200
        assert (tasks(client), statuses(client)) == (1, [200])
    assert capfd.readouterr().err == ""


def test_script_goes_on_in_order_and_by_operation(http_with: HttpWith) -> None:
    twice, ever = Fault("create_task", "refuse", 503, times=2), Fault("get_account_info", "refuse", 500, times=None)
    http = http_with(faults=(twice, ever, Fault("create_task", "refuse", 502)))
    http.sandbox.fault(Fault("create_task", "refuse", 504))
    seen = [http.unchecked("POST", CREATE, json=face_swap()).status_code for _ in range(5)]
    infos = [http.unchecked("GET", INFO).status_code for _ in range(3)]
    http.sandbox.clear_faults()

    assert (seen, infos) == ([503, 503, 502, 504, 200], [500] * 3)
    assert http.unchecked("GET", INFO).status_code == 200


@pytest.mark.parametrize(("faults", "status"), [((), 200), ((Fault("get_account_info", "lose"),), None)])
def test_request_is_reported_before_its_answer_goes_out(
    settings_with: Any, faults: tuple[Fault, ...], status: int | None
) -> None:
    app = create_app(settings_with(faults=faults))
    reported: list[list[int | None]] = []

    def report() -> None:
        reported.append([arrival.status for arrival in app.state.sandbox.arrivals])

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            report()

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    headers = [(b"x-api-key", b"sandbox"), (b"host", b"127.0.0.1")]
    scope = {"type": "http", "method": "GET", "path": INFO, "headers": headers, "query_string": b""}
    asyncio.run(app({**scope, "client": ("127.0.0.1", 1), "extensions": {CLOSE: report}}, receive, send))
    app.state.sandbox.close()

    assert reported == [[status]]


@pytest.mark.parametrize("kind", ["lose", "cut"])
def test_lost_answer_is_raised_in_process(http_with: HttpWith, kind: Any) -> None:
    http = http_with(faults=(Fault("create_task", kind),))
    with pytest.raises(AnswerLost):
        http.unchecked("POST", CREATE, json=face_swap())

    assert http.sandbox.history("sandbox")["total"] == 1
    assert http.sandbox.arrivals[-1].status == (None if kind == "lose" else 200)


def slow(operation: str, **more: Any) -> dict[str, Any]:
    return {"operation": operation, "kind": "slow", "delay": 1, **more}


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (("make_task", "lose"), "operation does not meet enum"),
        (("create_task", "forget"), "kind does not meet enum"),
        (("create_task", "fail"), "create_task has no fault of kind 'fail'; it has cut, drop, "),
        (("send_webhook", "cut"), "send_webhook has no fault of kind 'cut'; it has edit, lose, repeat, slow"),
        (("create_task", "refuse", 100), "status does not meet minimum 200"),
        (("create_task", "refuse", 500, b"", {}, 0), "times does not meet minimum 1"),
        (("create_task", "lose", 500), "kind 'lose' has no status: leave it out"),
        (("create_task", "cut", 200, b"x"), "kind 'cut' has no body: leave it out"),
        (("create_task", "refuse", 200, b"", {"Content-Length": "9"}), "headers: content-length is counted"),
        (("create_task", "slow"), "'slow' needs delay or drip"),
        (("create_task", "edit"), "'edit' needs changes or headers or part or without"),
        (("run_task", "fail", 200, b"[]"), "give the error of the failed task"),
        (slow("create_task", task="next"), "task: create_task has no task; get_task, cancel_task, "),
        (slow("get_task", model="kling"), "they need task 'next'"),
        (slow("get_file", key="sandbox"), "key: a file is downloaded without one"),
        (slow("get_task", delay=-1), "delay does not meet minimum 0"),
        (slow("get_task", delay=float("nan")), "delay"),
        (slow("send_webhook", drip=1), "send_webhook of kind 'slow' has no drip"),
    ],
)
def test_fault_that_means_nothing_is_refused(wrong: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Fault(**wrong) if isinstance(wrong, dict) else Fault(*wrong)


def test_answer_can_be_true_but_for_a_few_fields(http_with: HttpWith) -> None:
    changes = {"data.status": "Retrying", "data.meta.usage": None, "data.nothing.there": 1}
    wrong = Fault("get_task", "edit", changes=changes, without=("message", "data.logs"), headers={"retry-after": "1"})
    http = http_with(faults=(wrong,))
    task_id = http.create()
    seen = http.unchecked("GET", f"{CREATE}/{task_id}")
    true = http("GET", f"{CREATE}/{task_id}").json()
    expected = json.loads(json.dumps(true))
    expected["data"] |= {"status": "Retrying", "meta": {**true["data"]["meta"], "usage": None}}
    del expected["message"], expected["data"]["logs"]

    assert seen.json() == expected
    assert (seen.status_code, seen.headers["retry-after"], seen.headers["content-type"]) == (
        200,
        "1",
        "application/json",
    )


def test_slow_answer_is_true_and_takes_its_time(http_with: HttpWith) -> None:
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    http = http_with(sleep=sleep, faults=(Fault("create_task", "slow", delay=30.0, drip=20.0),))
    http.create()

    assert pauses == [30.0, *[2.0] * 10]


def test_slow_answer_comes_whole_over_a_connection_that_stays(settings_with: Any) -> None:
    async def at_once(_seconds: float) -> None: ...

    slow = [Fault(operation, "slow", delay=9.0, drip=9.0) for operation in ("create_task", "get_file")]
    settings = settings_with(faults=slow, sleep=at_once, autorun=True)
    with running(settings) as url, httpx.Client(base_url=url, headers=KEY) as client:
        task_id = client.post(CREATE, json=face_swap(b"x" * 1000)).json()["data"]["task_id"]
        while (task := client.get(f"{CREATE}/{task_id}").json()["data"])["status"] != "completed":
            pass
        pictures = [client.get(task["output"]["image_url"]).content for _ in range(2)]

    assert pictures == [b"<" + b"x" * 1000 + b">"] * 2


def test_nobody_is_waited_for_who_has_gone() -> None:
    sent: list[Any] = []

    async def gone() -> dict[str, str]:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message["type"])

    async def late() -> Response:
        return PlainTextResponse("late")

    async def main() -> None:
        answer = await injected(Fault("get_task", "slow", delay=1e3), late, lambda _seconds: asyncio.Event().wait())
        await answer({"type": "http"}, gone, send)

    asyncio.run(main())

    assert sent == ["http.response.start", "http.response.body"]


def test_fault_can_be_of_one_key(http_with: HttpWith) -> None:
    http = http_with(keys={"one": 1.0, "two": 1.0})
    for key in ("two", key_fingerprint("two")):
        http.sandbox.fault(Fault("get_account_info", "refuse", 500, key=key))
    seen = [http.unchecked("GET", INFO, headers={"x-api-key": key}).status_code for key in ("one", "two", "two", "two")]

    assert seen == [200, 500, 500, 200]
    assert "two" not in repr(Fault("get_account_info", "refuse", 500, key="two"))


def test_fault_can_be_of_the_next_task(http_with: HttpWith) -> None:
    of_another = Fault("get_task", "refuse", 500, task="next", key="another")
    http = http_with(
        faults=(of_another, Fault("get_task", "refuse", 404, task="next", model="Qubico/image-toolkit", times=2))
    )
    other = http(
        "POST", CREATE, json={"model": "Qubico/flux1-schnell", "task_type": "txt2img", "input": {"prompt": "x"}}
    )
    first, second = http.create(), http.create()
    ids = [other.json()["data"]["task_id"], second, first, first, first]

    assert [http.unchecked("GET", f"{CREATE}/{task_id}").status_code for task_id in ids] == [200, 200, 404, 404, 200]
    assert [fault.task for fault in http.sandbox.coming_faults()] == ["next"]


def test_task_can_be_let_fail_in_given_words(http_with: HttpWith) -> None:
    error = {"code": 10003, "message": "image size too large"}
    http = http_with(faults=(Fault("run_task", "fail", body=json.dumps(error).encode()),))
    unlucky, lucky = http.create(), http.create()
    http.sandbox.advance()

    assert (http.task(unlucky)["status"], http.task(unlucky)["error"]) == ("failed", error)
    assert http.task(lucky)["status"] == "completed"
    assert http.sandbox.balance("sandbox") == pytest.approx(9.99)


def told(http_with: HttpWith, clock: Clock, *faults: Fault) -> list[tuple[float, dict[str, Any], str]]:
    """What the endpoint of one task is told, and when: seconds after its end, body, secret."""
    got: list[tuple[float, dict[str, Any], str]] = []

    def receive(_url: str, body: bytes, headers: Any) -> int:
        got.append((clock.now - NOW, json.loads(body), headers["x-webhook-secret"]))
        return 200

    http = http_with(send_webhook=receive, faults=faults)
    http.create(config={"webhook_config": {"endpoint": "https://me.test", "secret": "the secret"}})
    for _ in range(20):
        http.sandbox.advance()
        clock.now += 10
    return got


@pytest.mark.parametrize(
    ("fault", "seen"),
    [
        (Fault("send_webhook", "lose"), []),
        (Fault("send_webhook", "slow", delay=60.0), [(60, "completed", "the secret")]),
        (
            Fault("send_webhook", "repeat", changes={"data.status": "processing"}),
            [(0, "completed", "the secret"), (0, "processing", "the secret")],
        ),
        (
            Fault("send_webhook", "edit", part="data", headers={"x-webhook-secret": "another"}),
            [(0, "completed", "another")],
        ),
    ],
    ids=["lost", "late", "again-with-older-news", "another-form-and-secret"],
)
def test_webhook_can_go_wrong(http_with: HttpWith, clock: Clock, fault: Fault, seen: list[Any]) -> None:
    bodies = [
        (when, body if fault.part else body["data"], secret) for when, body, secret in told(http_with, clock, fault)
    ]

    assert [(when, body["status"], secret) for when, body, secret in bodies] == seen
