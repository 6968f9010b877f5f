"""Money and limits: balance and ledger always add up, only what was made is paid, and an account sees its own tasks."""

import hashlib
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule
from unitask_api import contract
from unitask_sandbox import Sandbox, Settings
from unitask_sandbox.engines import ENGINES, EngineResult, simulated_picture
from unitask_sandbox.failures import Refusal, TaskFailure
from unitask_sandbox.pricing import POINT_MODELS
from unitask_sandbox.request_log import Rate

from .local import (
    CREATE,
    MODEL,
    NO_FACE,
    PRICE,
    SONG,
    SONG_PRICE,
    TASK_TYPE,
    Clock,
    Http,
    HttpWith,
    base64_of,
    encoded,
    face_swap,
    fake_swap,
    simulated,
)

INFO, ACTIVE, HISTORY = "/account/info", "/account/active_tasks", "/api/open/tasks/histories"
EXAMPLES = contract.document()["components"]["examples"]
ACCOUNT = hashlib.sha256(b"sandbox").hexdigest()
BAD_SONG = {**SONG, "input": {**SONG["input"], "gpt_description_prompt": "a song that cannot be made"}}
IMAGINE = simulated("midjourney", "imagine", prompt="a cat")


def fake_song(given: Any) -> EngineResult:
    if given == BAD_SONG["input"]:
        raise TaskFailure("no song came of it")
    return EngineResult({})


def info(http: Http) -> dict[str, Any]:
    account: dict[str, Any] = http("GET", INFO).json()["data"]
    return account


# Money.


def test_points_are_frozen_and_taken_at_the_end(http: Http, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENGINES, (SONG["model"], SONG["task_type"]), fake_song)
    good, bad, swap = http.create(SONG), http.create(BAD_SONG), http.create()
    before, account = http.task(good)["meta"]["usage"], info(http)
    http.sandbox.advance()
    usages = [http.task(task_id)["meta"]["usage"] for task_id in (good, bad, swap)]
    movements = [(task_id, reason) for task_id, reason, _ in http.sandbox._store.ledger(ACCOUNT)]

    assert before == {"type": "point", "frozen": SONG_PRICE, "consume": 0}
    assert (account["wallet"]["point_frozen"], account["wallet"]["llm_used"]) == (2 * SONG_PRICE, PRICE)
    assert [usage["consume"] for usage in usages] == [SONG_PRICE, 0, PRICE]
    assert [reason for task_id, reason in movements if task_id == good] == ["freeze", "release", "charge"]
    assert [reason for task_id, reason in movements if task_id == bad] == ["freeze", "release"]
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


def test_price_of_a_file_is_known_when_it_is_at_hand(http_with: HttpWith) -> None:
    http = http_with(fetch=lambda url: pytest.fail(f"{url} was fetched"))
    picture = base64_of(simulated_picture("", 1024, 1024))
    file = {"file_name": "a.png", "file_data": picture}
    url = http("POST", "/api/ephemeral_resource", json=file).json()["data"]["url"]
    tasks = [
        http.create(simulated(MODEL, "segment", image=image, prompt="hat"))
        for image in (picture, url, "https://elsewhere.test/files/a.png")
    ]

    assert [http.task(task_id)["meta"]["usage"]["consume"] for task_id in tasks] == [104_858, 104_858, 0]


def test_create_without_credit_fails_like_the_recorded_one(http_with: HttpWith) -> None:
    recorded = EXAMPLES["core.no-credit.create.500"]["value"]
    http = http_with(keys={"sandbox": 0.01})
    http.create()
    answer = http("POST", CREATE, json=face_swap()).json()
    task = answer["data"]

    assert (answer["code"], answer["message"]) == (500, recorded["message"])
    assert task.keys() == recorded["data"].keys()
    assert task["meta"].keys() == recorded["data"]["meta"].keys()
    for name in ("status", "config", "input", "detail", "logs", "error"):
        assert task[name] == recorded["data"][name]
    assert task["meta"]["usage"] == {"type": "", "frozen": PRICE, "consume": 0}
    assert http.task(task["task_id"]) == task
    assert http.usd == 0


class Money(RuleBasedStateMachine):
    """Random operations on one account that can pay for a few tasks at a time, and have four of them under way."""

    tasks = Bundle("tasks")

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.patch = patch.dict(ENGINES, {(MODEL, TASK_TYPE): fake_swap, (SONG["model"], SONG["task_type"]): fake_song})
        self.patch.start()
        settings = {"autorun": False, "engine_process": False, "clock": self.clock, "concurrency": 4}
        self.sandbox = Sandbox(Settings(keys={"sandbox": 0.17}, **settings))

    def teardown(self) -> None:
        self.sandbox.close()
        self.patch.stop()

    @rule(target=tasks, body=st.sampled_from([face_swap(b"a face"), face_swap(NO_FACE), SONG, BAD_SONG]))
    def create(self, body: dict[str, Any]) -> object:
        try:
            return self.sandbox.accept("sandbox", encoded(body)).task_id
        except Refusal as refusal:
            assert refusal.status in (429, 500)  # noqa: PT017
            return multiple()

    @rule(task_id=tasks)
    def cancel(self, task_id: str) -> None:
        try:
            self.sandbox.cancel("sandbox", task_id)
        except Refusal as refusal:
            assert refusal.status == 400  # noqa: PT017

    @rule()
    def advance(self) -> None:
        self.clock.now += 1
        self.sandbox.advance()

    @invariant()
    def adds_up(self) -> None:
        store = self.sandbox._store
        account = store.account(ACCOUNT)
        tasks = store.of_account(ACCOUNT, {"pending", "processing", "completed", "failed", "cancelled"}, 1e12)
        under_way = [task for task in tasks if task.status in ("pending", "processing")]
        moved = dict.fromkeys(("freeze", "release", "charge", "refund"), 0)
        for _, reason, credits_ in store.ledger(ACCOUNT):
            moved[reason] += credits_
        consumed = sum(task.consume for task in tasks)

        assert account.balance + account.frozen + consumed == account.starting
        assert min(account.balance, account.frozen, consumed) >= 0
        assert account.frozen == sum(task.frozen for task in under_way) == -moved["freeze"] - moved["release"]
        assert consumed == -moved["charge"] - moved["refund"]
        assert len(under_way) <= 4
        for task in tasks:
            price = SONG_PRICE if task.model == SONG["model"] else PRICE
            assert task in under_way or task.consume == (price if task.status == "completed" else 0)


TestMoney = Money.TestCase
TestMoney.settings = settings(max_examples=40, stateful_step_count=25, deadline=None, database=None, derandomize=True)


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
    assert [arrival.status for arrival in http.sandbox.arrivals][:3] == [200, 429, 200]


def test_history_includes_both_ends_of_its_time(http: Http, clock: Clock) -> None:
    start, tasks = 1_800_000_000, []
    for clock.now in (start, start + 10):
        tasks.append(http.create())
    for first, last, found in ((0, 10, [1, 0]), (1, 9, [])):
        times = {"start_time": start + first, "end_time": start + last}
        rows = http("GET", HISTORY, params=times).json()["data"]["data"]
        assert [row["task_id"] for row in rows] == [tasks[number] for number in found]
    assert http("GET", HISTORY, params={"page": 2**62, "page_size": 100}).json()["data"]["data"] == []
