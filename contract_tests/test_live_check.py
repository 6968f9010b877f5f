"""The check of exchanges while they pass: each difference once, the bills of tasks once, and little work and memory."""

import copy
import json
from typing import Any

import pytest
from unitask_contract import bundle
from unitask_contract.recording import live
from unitask_contract.recording.folder import Recorded
from unitask_contract.recording.live import Check

from .support import examples
from .test_redaction import recorded

SWAP = examples()["faceswap.face-swap.completed.200"]["value"]
TASK_ID = SWAP["data"]["task_id"]
DRAWING: dict[str, Any] = {"model": "Qubico/flux1-dev", "task_type": "txt2img", "input": {"prompt": "a fox"}}


def changed(place: str, value: Any, body: Any = SWAP) -> Any:
    """Return a body with another value at a place such as "data.output"; ... removes it."""
    copied = copy.deepcopy(body)
    *above, last = place.split(".")
    node = copied
    for step in above:
        node = node[step]
    node.pop(last, None) if value is ... else node.update({last: value})
    return copied


def polled(body: Any, **parts: Any) -> Recorded:
    return recorded(b"", body, method="GET", path=f"/api/v1/task/{TASK_ID}", **parts)


def created(sent: Any, task_id: str = TASK_ID, status: str = "pending") -> Recorded:
    return recorded(sent, {"code": 200, "data": {"task_id": task_id, "status": status}, "message": "success"})


DIFFERENCES = {
    "new word: get_task 200 /data/status": [polled(changed("data.status", word)) for word in ("throttled",)],
    "new field: get_task 200 /data/eta": [polled(changed("data.eta", 7)), polled(changed("data.eta", 8))],
    "broken: get_task 200 /data: required": [polled(changed("data.status", ...))],
    "broken: get_task 200 /data/meta/usage/consume: type": [polled(changed("data.meta.usage.consume", "12"))],
    "broken: create_task request /input/width: type": [created(changed("input.width", "wide", DRAWING))],
    "broken: create_task request /input: required": [created(changed("input.prompt", ..., DRAWING))],
    "undocumented: create_task request /: no such task type": [created(changed("task_type", "txt2hologram", DRAWING))],
    "undocumented: get_task 201": [polled(SWAP, status=201)],
    "undocumented: get_task default /: JSON": [
        polled(b"<html>", status=502, response_headers={"content-type": "text/html"})
    ],
    "undocumented: get_task 200 /: content type": [polled(SWAP, response_headers={"content-type": "text/plain"})],
    "undocumented: GET /api/v2/things": [recorded(b"", {"a": 1}, method="GET", path="/api/v2/things")],
}


@pytest.mark.parametrize("line", DIFFERENCES)
def test_difference_is_reported_once_with_its_file(line: str) -> None:
    check = Check()
    found = [said for one in DIFFERENCES[line] * 2 for said in check.lines(one)]

    assert len(found) == 1, found
    assert found[0].startswith(line)
    assert found[0].endswith(f"(in {DIFFERENCES[line][0].file_name})")
    assert check.is_broken == (not line.startswith("new"))
    assert [said for said in check.summary() if said.startswith("differences from the contract: 1 ")]


@pytest.mark.parametrize("server", ["unitask-sandbox", "cloudflare"])
def test_remarks_of_the_sandbox_are_no_difference(server: str) -> None:
    headers = {"content-type": "application/json", "server": server}
    body = changed("data.meta.simulated", "no engine", changed("data.eta", 7))
    lines = [line.partition(" (")[0] for line in Check().lines(polled(body, response_headers=headers))]

    expected = [f"new field: get_task 200 /data/{name}: no field" for name in ("eta", "meta/simulated")]
    assert [line.partition(" of")[0] for line in lines] == expected[: 1 if server == "unitask-sandbox" else 2]


def test_lone_surrogates_are_checked() -> None:
    lines = Check().lines(polled({"data": "\ud800", "\udc00": 1}))

    assert [line for line in lines if line.startswith("broken: get_task 200 /data: type")]


def test_documented_exchanges_have_no_difference_that_breaks() -> None:
    check = Check()
    for example in examples("200").values():
        method, path = bundle.routes().get(example["x-operation"], ("", ""))
        if method:
            check.lines(recorded(b"", example["value"], method=method, path=path.replace("{task_id}", TASK_ID)))

    assert not check.is_broken


def test_request_of_a_task_that_fails_was_not_accepted() -> None:
    check = Check()
    lines = check.lines(created(changed("input.width", "wide", DRAWING)))

    assert (len(lines), check.is_broken) == (1, True)
    check.lines(polled(changed("data.status", "failed")))
    assert not check.is_broken
    check.lines(created(changed("input.width", "wide", DRAWING), "another"))
    assert check.is_broken


def test_tasks_that_are_forgotten_count_as_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "MOST_FORMS", 2)
    check = Check()
    for name in ("a", "b", "c"):
        check.lines(created(changed("input.width", "wide", DRAWING), name))
    for name in ("a", "b", "c"):
        check.lines(polled(changed("data", {"task_id": name, "status": "failed"})))

    assert check.is_broken


def test_other_violation_in_a_body_of_the_same_form_is_reported() -> None:
    check = Check()
    for field, value in (("code", 200.5), ("timestamp", 0.5)):
        body = {**SWAP, "code": 200.0, "timestamp": 1.0}
        lines = check.lines(polled({**body, field: value}))
        assert [line.partition(":")[2].partition(":")[0] for line in lines] == [f" get_task 200 /{field}"]


def test_bill_of_a_task_counts_once() -> None:
    check = Check()
    pending = changed("data.status", "pending")
    check.lines(polled(changed("data.meta.usage.consume", 10**400)))
    for body in (changed("data.meta.usage.consume", 50_000, pending), SWAP, SWAP):
        check.lines(polled(body))
    for number, body in enumerate((SWAP, pending, changed("data.meta.usage.consume", 0), pending)):
        check.lines(polled(changed("data.task_id", f"another {number}", body)))

    assert check.summary()[-2:] == [
        "billed: $0.02 for 2 tasks",
        "billed beforehand: $0.02 for 2 tasks of which no end was seen",
    ]


def test_summary_counts_by_family_and_status() -> None:
    check = Check()
    check.lines(created(DRAWING))
    check.lines(polled(SWAP))
    check.lines(recorded(DRAWING, b"", status=None, response_headers={}, lost="the connection closed"))

    assert check.summary() == [
        "3 exchanges",
        "  faceswap: 1 x 200",
        "  flux: 1 x 200, 1 x no answer",
        "no difference from the contract",
        "billed: $0.01 for 1 task",
        "lost: 1, without an answer or a whole one",
    ]


def test_whole_comparison_is_made_once_for_a_form() -> None:
    check = Check()
    for number in range(200):
        task_id = f"90efd2db-bcfc-413f-a0be-{number:012}"
        check.lines(created(changed("input.prompt", f"fox {number}", DRAWING), task_id))
        body = changed("data.output.image_url", f"https://a.test/{number}.png")
        check.lines(polled(changed("data.task_id", task_id, body)))
        check.lines(polled(changed("data.meta.usage.consume", f"{number} credits", body)))

    assert check.compared == 3


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MOST_FORMS", "MOST_TASKS", "MOST_DIFFERENCES"):
        monkeypatch.setattr(live, name, 5)
    check = Check()
    for number in range(20):
        body = changed(f"data.field_{'abcdefghijklmnopqrst'[number]}", 1)
        check.lines(polled(changed("data.task_id", f"task {number}", body)))
        check.lines(created(changed("input.width", [{}] * number, DRAWING), f"task {number}"))
    kept = {name: len(value) for name, value in vars(check).items() if hasattr(value, "__len__") and name != "_counts"}

    assert len(kept) == 7
    assert all(number <= 5 for number in kept.values()), kept
    assert "1 broken, 4 new field or more" in json.dumps(check.summary())
