"""Money and limits: how tasks are paid, and what an account may do at once.

A state machine of the contract tests checks after every step that balance and ledger add up.
"""

import hashlib
from typing import Any

import pytest
from unitask_api import contract
from unitask_sandbox.engines import ENGINES, EngineResult
from unitask_sandbox.pricing import POINT_MODELS
from unitask_sandbox.request_log import Rate

from .local import CREATE, PRICE, SONG, SONG_PRICE, Clock, Http, HttpWith, face_swap

INFO, HISTORY = "/account/info", "/api/open/tasks/histories"
EXAMPLES = contract.document()["components"]["examples"]
ACCOUNT = hashlib.sha256(b"sandbox").hexdigest()


def info(http: Http) -> dict[str, Any]:
    account: dict[str, Any] = http("GET", INFO).json()["data"]
    return account


# Money.


def test_points_are_frozen_and_taken_at_the_end(http: Http, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENGINES, (SONG["model"], SONG["task_type"]), lambda _given: EngineResult({}))
    song, swap = http.create(SONG), http.create()
    before, account = http.task(song)["meta"]["usage"], info(http)
    http.sandbox.advance()
    movements = http.sandbox._store.ledger(ACCOUNT)

    assert before == {"type": "point", "frozen": SONG_PRICE, "consume": 0}
    assert (account["wallet"]["point_frozen"], account["wallet"]["llm_used"]) == (SONG_PRICE, PRICE)
    assert [http.task(task_id)["meta"]["usage"]["consume"] for task_id in (song, swap)] == [SONG_PRICE, PRICE]
    assert [reason for task_id, reason, _ in movements if task_id == song] == ["freeze", "release", "charge"]
    assert (info(http)["equivalent_in_usd"], info(http)["wallet"]["point_frozen"]) == (9.94, 0)


def test_documented_bodies_are_paid_in_the_same_unit() -> None:
    bodies = [example["value"].get("data") for example in EXAMPLES.values()]
    shown = {
        (task["model"], usage["type"])
        for task in bodies
        if isinstance(task, dict) and (usage := task.get("meta", {}).get("usage")) and usage["type"] in ("llm", "point")
    }

    assert len(shown) >= 12
    assert {(model, "point" if model in POINT_MODELS else "llm") for model, _ in shown} == shown


# Limits.


def test_create_over_the_concurrency_limit_is_refused_until_a_task_has_ended(http_with: HttpWith, clock: Clock) -> None:
    http = http_with(speed="real", concurrency=2)
    planned = [http.sandbox.get("sandbox", http.create()) for _ in range(2)]
    first, second = sorted(planned, key=lambda task: task.due_at or 0)
    clock.now = first.due_at or 0
    http.sandbox.advance()
    refused = http("POST", CREATE, json=face_swap())
    left = http.usd, http("GET", HISTORY).json()["data"]["total"]
    http("DELETE", f"{CREATE}/{second.task_id}")

    assert refused.status_code == 429
    assert "the concurrency limit is reached: 2 concurrent tasks" in refused.json()["message"]
    assert left == (9.98, 2)
    assert http("POST", CREATE, json=face_swap()).status_code == 200
    assert info(http)["max_concurrent_task_count"] == info(http)["max_kling_concurrency"] == 2
    late = http("DELETE", f"{CREATE}/{first.task_id}").json()["message"]
    assert "is processing; only a pending task can be cancelled" in late


def test_rate_lets_pass_what_it_may(clock: Clock) -> None:
    rate, slow = Rate(4, clock), Rate(0.1, clock)
    taken = [rate.take("a") for _ in range(5)] + [slow.take("a")]
    clock.now += 0.25
    taken += [rate.take("a"), rate.take("a"), rate.take("b")]
    clock.now -= 100  # it was set back
    taken += [rate.take("a"), slow.take("a")]
    clock.now += 300
    taken += [rate.take("a") for _ in range(5)]

    assert taken == [0, 0, 0, 0, 0.25, 0, 0, 0.25, 0, 0.25, 10, 0, 0, 0, 0, 0.25]


def test_request_over_the_rate_does_nothing(http_with: HttpWith, clock: Clock) -> None:
    http = http_with(rate=0.4)
    accepted, refused = (http("POST", CREATE, json=face_swap()) for _ in range(2))
    clock.now += int(refused.headers["retry-after"])
    again = http("POST", CREATE, json=face_swap())

    assert [answer.status_code for answer in (accepted, refused, again)] == [200, 429, 200]
    assert (refused.headers["retry-after"], refused.json()["message"]) == ("3", "too many requests")
    assert {http("GET", INFO, headers={"x-api-key": "bad"}).status_code for _ in range(3)} == {401}
    assert http.sandbox.balance("sandbox") == 9.98


def test_history_includes_both_ends_of_its_time(http: Http, clock: Clock) -> None:
    start, tasks = 1_800_000_000, []
    for clock.now in (start, start + 10):
        tasks.append(http.create())
    for first, last, found in ((0, 10, [1, 0]), (1, 9, [])):
        times = {"start_time": start + first, "end_time": start + last}
        rows = http("GET", HISTORY, params=times).json()["data"]["data"]
        assert [row["task_id"] for row in rows] == [tasks[number] for number in found]
    assert http("GET", HISTORY, params={"page": 2**62, "page_size": 100}).json()["data"]["data"] == []
