"""Scripted faults: how they are ordered, what a client meets, what was done all the same, and the report of arrivals.

The contract tests let every named fault happen to the client.
"""

import json
import re
from pathlib import Path
from typing import Any, get_args

import httpx
import pytest
from unitask_sandbox import Fault, running
from unitask_sandbox.faults import EVIDENCE, Kind, library, read_faults, read_orders
from unitask_sandbox.request_log import key_fingerprint

from scripts.pages import DOCS, faults, page

from .local import CREATE, KEY, NOW, Clock, Http, HttpWith, face_swap, simulated

FAULTS, ARRIVALS, INFO = "/_sandbox/faults", "/_sandbox/arrivals", "/account/info"
HISTORY = "/api/open/tasks/histories"


# Over a connection.


@pytest.mark.parametrize(
    ("fault", "end", "made", "reported"),
    [
        (Fault("create_task", "refuse", 429, b"{}", {"retry-after": "7"}), (429, "7", b"{}"), 0, 429),
        (Fault("create_task", "replace", 520, b"<html>"), (520, None, b"<html>"), 1, 520),
        (Fault("create_task", "lose"), None, 1, None),
        (Fault("create_task", "drop"), None, 0, None),
        (Fault("create_task", "cut"), "half", 1, 200),
        (Fault("create_task", "short"), "whole", 1, 200),
    ],
    ids=lambda value: value.kind if isinstance(value, Fault) else "",
)
def test_answer_goes_wrong_and_the_rest_is_true(
    settings_with: Any, capfd: pytest.CaptureFixture[str], fault: Fault, end: Any, made: int, reported: int | None
) -> None:
    with running(settings_with(faults=(fault,))) as url, httpx.Client(base_url=url, headers=KEY) as client:
        if isinstance(end, tuple):
            answer = client.post(CREATE, json=face_swap(b"large" * 100_000))
            assert (answer.status_code, answer.headers.get("retry-after"), answer.content) == end
        elif end is None:
            # reset: the body lies unread when the connection is closed
            with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError), match=r"without sending a resp|reset"):
                client.post(CREATE, json=face_swap())
        else:
            with client.stream("POST", CREATE, json=face_swap()) as answer:
                announced, pieces = int(answer.headers["content-length"]), answer.iter_raw()
                received = next(pieces)
                with pytest.raises(httpx.RemoteProtocolError, match=f"{len(received)} bytes, expected {announced}"):
                    next(pieces)
            assert received.startswith(b'{"code":200,"data":{"task_id":')
            assert len(received) == (announced // 2 if end == "half" else announced - 1000)
        arrivals = client.get(ARRIVALS).json()["arrivals"]

        assert [one["status"] for one in arrivals if one["operation"] == "create_task"] == [reported]
        assert client.get(HISTORY).json()["data"]["total"] == made
        assert client.post(CREATE, json=face_swap()).status_code == 200
    assert capfd.readouterr().err == ""


# In this process.


def get_infos(http: Http, *keys: str) -> list[int]:
    return [http.unchecked("GET", INFO, headers={"x-api-key": key}).status_code for key in keys]


def test_answer_is_true_but_for_the_changed_fields(http_with: HttpWith) -> None:
    changes = {"data.status": "Retrying", "data.meta.usage": None, "data.nothing.there": 1}
    wrong = Fault("get_task", "edit", changes=changes, without=("message", "data.logs"), headers={"retry-after": "1"})
    http = http_with(faults=(wrong,))
    task_id = http.create()
    seen = http.unchecked("GET", f"{CREATE}/{task_id}")
    expected = http("GET", f"{CREATE}/{task_id}").json()
    expected["data"]["status"], expected["data"]["meta"]["usage"] = "Retrying", None
    del expected["message"], expected["data"]["logs"]

    assert seen.json() == expected
    assert (seen.status_code, seen.headers["retry-after"]) == (200, "1")
    assert seen.headers["content-type"] == "application/json"


def test_slow_answer_comes_whole_with_pauses(http_with: HttpWith) -> None:
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    http = http_with(sleep=sleep, faults=(Fault("get_account_info", "slow", delay=30.0, drip=20.0),))

    assert http("GET", INFO).json() == http("GET", INFO).json()
    assert pauses == [30.0, *[2.0] * 10]


def test_fault_of_one_key_happens_to_it_alone_and_does_not_show_it(http_with: HttpWith) -> None:
    http = http_with(keys={"one": 1.0, "two": 1.0})
    coming = order(http, {"operation": "get_account_info", "kind": "refuse", "status": 500, "key": "two"}).json()
    again = order(http, coming["coming"]).json()

    assert coming["coming"][0]["key"] == key_fingerprint("two")
    assert again["coming"] == coming["coming"] * 2
    assert get_infos(http, "one", "two", "two", "two") == [200, 500, 500, 200]
    assert "two" not in repr(Fault("get_account_info", "refuse", 500, key="two"))


def test_fault_of_the_next_task_that_is_created_happens_to_it_alone(http_with: HttpWith) -> None:
    of_another = Fault("get_task", "refuse", 500, task="next", key="another")
    of_a_swap = Fault("get_task", "refuse", 404, task="next", model="Qubico/image-toolkit", times=2)
    http = http_with(faults=(of_another, of_a_swap), concurrency=1)
    drawing = http.create(simulated())
    assert http("POST", CREATE, json=face_swap()).status_code == 429
    http.sandbox.advance()
    first = http.create()
    http.sandbox.advance()
    ids = [drawing, http.create(), first, first, first]

    assert [http.unchecked("GET", f"{CREATE}/{task_id}").status_code for task_id in ids] == [200, 200, 404, 404, 200]
    assert [fault.task for fault in http.sandbox.faults.coming()] == ["next"]


@pytest.mark.parametrize(
    ("fault", "seen"),
    [
        (Fault("send_webhook", "lose"), []),
        (Fault("send_webhook", "slow", delay=60.0), [(60, "completed", "s")]),
        (
            Fault("send_webhook", "repeat", changes={"data.status": "pending"}),
            [(0, "completed", "s"), (0, "pending", "s")],
        ),
        (Fault("send_webhook", "edit", part="data", headers={"x-webhook-secret": "x"}), [(0, "completed", "x")]),
    ],
    ids=["lost", "late", "repeated-with-an-older-status", "without-envelope-and-with-another-secret"],
)
def test_webhook_goes_wrong(http_with: HttpWith, clock: Clock, fault: Fault, seen: list[Any]) -> None:
    got: list[Any] = []

    def receive(_url: str, body: bytes, headers: Any) -> int:
        sent = json.loads(body)
        got.append((clock.now - NOW, (sent if fault.part else sent["data"])["status"], headers["x-webhook-secret"]))
        return 200

    http = http_with(send_webhook=receive, faults=(fault,))
    http.create(config={"webhook_config": {"endpoint": "https://me.test", "secret": "s"}})
    for _ in range(20):
        http.sandbox.advance()
        clock.now += 10

    assert got == seen


# Orders over HTTP.


def order(http: Http, what: object) -> httpx.Response:
    return http.unchecked("POST", FAULTS, json=what, headers={})


def test_faults_are_ordered_listed_and_cleared(http: Http) -> None:
    for_ever = {"operation": "get_account_info", "kind": "refuse", "status": 502, "times": None, "body": {"code": 502}}
    twice = {"fault": "internal-error", "operation": "get_account_info", "times": 2}
    ordered = order(http, ["bad-key", twice, for_ever])
    coming = [(fault["operation"], fault.get("times", 1)) for fault in ordered.json()["coming"]]
    seen = get_infos(http, *["sandbox"] * 4)
    left = http.unchecked("GET", FAULTS).json()["coming"]

    assert coming == [("create_task", 1), ("get_account_info", 2), ("get_account_info", None)]
    assert seen == [500, 500, 502, 502]
    assert (left[0]["status"], left[1]) == (401, for_ever)
    assert http.unchecked("DELETE", FAULTS).json()["coming"] == []
    assert get_infos(http, "sandbox") == [200]
    assert len(http.unchecked("GET", "/_sandbox/library").json()["faults"]) == len(library())


POLL = {"operation": "get_task", "kind": "refuse"}
SLOW = {"operation": "create_task", "kind": "slow", "delay": 1}


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (["bad-key", "bad-luck"], "fault 2 of 2: no fault is named 'bad-luck'; there are rate-limited, "),
        ([7], 'fault 1 of 1: the body: it is not of type "object"'),
        ({"fault": "bad-key", "status": 300}, "status: leave it out"),
        ({"fault": "bad-key", "operation": "get_file"}, "bad-key does not happen to 'get_file'"),
        ({"kind": "lose"}, '"operation" is a required property'),
        ({**POLL, "tiems": 2}, "'tiems' was unexpected"),
        ({**POLL, "headers": {"a": 1}}, 'headers.a: it is not of type "string"'),
        ({**POLL, "headers": {"Content-Length": "9"}}, "headers.Content-Length: leave it out"),
        ({**POLL, "kind": "fail"}, 'kind: {"enum":["fail"]} is not allowed for it'),
        ({**POLL, "kind": "lose", "status": 500}, "status: leave it out"),
        ({**POLL, "kind": "edit"}, "the body: it is not valid under any of the schemas"),
        ({**POLL, "kind": "slow"}, "the body: it is not valid under any of the schemas"),
        ({"operation": "run_task", "kind": "fail", "body": "[]"}, 'body: it is not of type "object"'),
        ({**SLOW, "task": "next"}, "task: leave it out"),
        ({**SLOW, "model": "kling"}, "model: leave it out"),
        ({**SLOW, "operation": "get_file", "key": "k"}, "key: leave it out"),
        ({**SLOW, "operation": "send_webhook", "drip": 1}, "drip: leave it out"),
    ],
)
def test_wrong_order_is_refused_and_orders_nothing(http: Http, wrong: Any, words: str) -> None:
    answer = order(http, wrong)

    assert (answer.status_code, answer.json()["code"]) == (400, 400)
    assert words in answer.json()["message"]
    assert http.sandbox.faults.coming() == []


def test_faults_are_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "faults.json"
    path.write_text('["bad-key", {"operation": "get_task", "kind": "lose"}]')

    assert [fault.kind for fault in read_faults(path)] == ["refuse", "lose"]
    path.write_text('["x"]')
    with pytest.raises(ValueError, match=r"faults.json: fault 1 of 1: no fault is named 'x'"):
        read_faults(path)


def test_arrivals_are_filtered_and_cleared(http: Http) -> None:
    for path in (INFO, "/account/active_tasks", INFO):
        http("GET", path)
    found = http.unchecked("GET", f"{ARRIVALS}?operation=get_account_info").json()["arrivals"]

    assert [arrival["path"] for arrival in found] == [INFO, INFO]
    assert http.unchecked("DELETE", ARRIVALS).json() == http.unchecked("GET", ARRIVALS).json() == {"arrivals": []}


def test_page_of_faults_is_current_and_its_orders_are_good() -> None:
    text = (DOCS / "faults.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"```json\n(.*?)```", text, re.DOTALL)

    assert page("faults.md", faults()) == text
    assert sorted(re.findall(r"^\| `([a-z0-9-]+)` \|", text, re.MULTILINE)) == sorted(library())
    assert set(re.findall(r"^- `([a-z]+)`: ", text, re.MULTILINE)) == {*EVIDENCE, *get_args(Kind)}
    assert len(read_orders(json.loads(shown))) == 3
