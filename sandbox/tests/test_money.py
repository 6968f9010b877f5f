"""Balance and ledger: they always add up, and only what was made is paid."""

import hashlib
import itertools
import uuid
from types import SimpleNamespace
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
from unitask_sandbox.store import Ending

from .local import (
    MODEL,
    NO_FACE,
    PRICE,
    TASK_TYPE,
    Clock,
    HttpWith,
    SandboxWith,
    base64_of,
    encoded,
    face_swap,
    fake_swap,
)

ACCOUNT = hashlib.sha256(b"sandbox").hexdigest()
RECORDED = contract.document()["components"]["examples"]["core.no-credit.create.500"]["value"]["data"]


SONG = ("music-u", "generate_music")
SONG_PRICE = 500_000
BAD_SONG = "a song that cannot be made"


def song(prompt: str = "a song") -> dict[str, Any]:
    given = {"gpt_description_prompt": prompt, "lyrics_type": "instrumental"}
    return {"model": SONG[0], "task_type": SONG[1], "input": given}


def fake_song(given: Any) -> EngineResult:
    if given["gpt_description_prompt"] == BAD_SONG:
        raise TaskFailure("no song came of it")
    return EngineResult({})


def usage(sandbox: Sandbox, task_id: str) -> dict[str, Any]:
    shown: dict[str, Any] = sandbox.get("sandbox", task_id).body("")["meta"]["usage"]
    return shown


def purse(sandbox: Sandbox) -> tuple[int, int]:
    account = sandbox._store.account(ACCOUNT)
    return account.balance, account.frozen


@pytest.mark.parametrize(
    ("ending", "kept", "reasons"),
    [
        ("completed", SONG_PRICE, ["freeze", "release", "charge"]),
        ("failed", 0, ["freeze", "release"]),
        ("cancelled", 0, ["freeze", "release"]),
    ],
)
def test_points_are_frozen_and_taken_at_the_end(
    sandbox_with: SandboxWith, monkeypatch: pytest.MonkeyPatch, ending: str, kept: int, reasons: list[str]
) -> None:
    monkeypatch.setitem(ENGINES, SONG, fake_song)
    sandbox = sandbox_with()
    task_id = sandbox.accept("sandbox", encoded(song(BAD_SONG if ending == "failed" else "a song"))).task_id
    before = usage(sandbox, task_id), purse(sandbox)
    sandbox.cancel("sandbox", task_id) if ending == "cancelled" else sandbox.advance()

    assert before == ({"type": "point", "frozen": SONG_PRICE, "consume": 0}, (99_500_000, SONG_PRICE))
    assert usage(sandbox, task_id) == {"type": "point", "frozen": SONG_PRICE, "consume": kept}
    assert (sandbox.get("sandbox", task_id).status, purse(sandbox)) == (ending, (100_000_000 - kept, 0))
    assert [reason for _, reason, _ in sandbox._store.ledger(ACCOUNT)] == reasons


def test_points_of_a_task_that_has_ended_are_not_released_again(
    sandbox_with: SandboxWith, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ENGINES, SONG, fake_song)
    sandbox = sandbox_with()
    task_id = sandbox.accept("sandbox", encoded(song())).task_id
    sandbox.advance()
    for _ in range(2):
        sandbox._store.end(task_id, Ending(status="cancelled", at=0), before={"completed", "cancelled"})

    assert purse(sandbox) == (100_000_000, 0)


def test_documented_bodies_are_paid_as_here() -> None:
    bodies = [example["value"].get("data") for example in contract.document()["components"]["examples"].values()]
    shown = {
        (task["model"], usage["type"])
        for task in bodies
        if isinstance(task, dict) and (usage := task.get("meta", {}).get("usage", {}))
    }
    known = {(model, kind) for model, kind in shown if kind in ("llm", "point")}

    assert len(known) >= 12
    assert {(model, "point" if model in POINT_MODELS else "llm") for model, _ in known} == known


def test_uploaded_file_has_a_price_and_a_foreign_one_has_not(http_with: HttpWith) -> None:
    http = http_with(fetch=lambda url: pytest.fail(f"{url} was fetched"))
    picture = simulated_picture(1024, 1024)
    file = {"file_name": "a.png", "file_data": base64_of(picture)}
    url = http("POST", "/api/ephemeral_resource", json=file).json()["data"]["url"]
    bills = []
    for image in (base64_of(picture), url, "https://elsewhere.test/files/a.png"):
        body = {"model": MODEL, "task_type": "segment", "input": {"image": image, "prompt": "hat"}}
        bills.append(http("POST", "/api/v1/task", json=body).json()["data"]["meta"]["usage"]["consume"])

    assert bills == [104_858, 104_858, 0]


def test_field_without_a_name_changes_no_price(sandbox_with: SandboxWith) -> None:
    given = {"prompt": "a fox", "duration": 5, "version": "2.5", "mode": "std"}
    body = {"model": "kling", "task_type": "video_generation"}
    sandbox = sandbox_with()
    tasks = [sandbox.accept("sandbox", encoded({**body, "input": {**given, **more}})) for more in ({}, {"": 7})]

    assert tasks[0].frozen == tasks[1].frozen > 0


def test_create_without_credit_fails_like_the_recorded_one(sandbox_with: SandboxWith) -> None:
    sandbox = sandbox_with(keys={"sandbox": 0.01})
    sandbox.accept("sandbox", encoded(face_swap()))
    with pytest.raises(Refusal) as caught:
        sandbox.accept("sandbox", encoded(face_swap()))
    assert caught.value.task is not None
    body = caught.value.task.body("")

    assert (caught.value.status, caught.value.message) == (500, "failed to pre-process task runtime")
    assert body.keys() == RECORDED.keys()
    assert body["meta"].keys() == RECORDED["meta"].keys()
    same = ("status", "config", "input", "detail", "logs", "error")
    assert {name: body[name] for name in same} == {name: RECORDED[name] for name in same}
    assert body["meta"]["usage"] == {"type": "", "frozen": PRICE, "consume": 0}
    assert body["meta"]["started_at"] == RECORDED["meta"]["started_at"]
    assert sandbox.get("sandbox", body["task_id"]) == caught.value.task
    assert sandbox.balance("sandbox") == 0


class Money(RuleBasedStateMachine):
    """Random operations on one account that can pay for a few tasks at a time, and have four of them under way."""

    tasks = Bundle("tasks")

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        numbers = itertools.count(1)
        ids = SimpleNamespace(
            uuid4=lambda: uuid.UUID(int=next(numbers), version=4)
        )  # an id decides how long a task takes
        self.ids = patch("unitask_sandbox.create_request.uuid", ids)
        self.ids.start()
        self.engines = patch.dict(ENGINES, {(MODEL, TASK_TYPE): fake_swap, SONG: fake_song})
        self.engines.start()
        settings = {"autorun": False, "engine_process": False, "clock": self.clock, "speed": "real", "concurrency": 4}
        self.sandbox = Sandbox(Settings(keys={"sandbox": 0.17}, **settings))

    def teardown(self) -> None:
        self.sandbox.close()
        self.engines.stop()
        self.ids.stop()

    @rule(target=tasks, body=st.sampled_from([face_swap(b"a face"), face_swap(NO_FACE), song(), song(BAD_SONG)]))
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

    @rule(back=st.sampled_from([0, 5]))
    def cancel_many(self, back: int) -> None:
        self.sandbox.cancel_many("sandbox", self.clock.now - back)

    @rule(seconds=st.sampled_from([0.5, 2, 30, 300]))
    def advance(self, seconds: float) -> None:
        self.clock.now += seconds
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

    @invariant()
    def only_what_was_made_is_paid(self) -> None:
        for task in self.sandbox._store.of_account(ACCOUNT, {"completed", "failed", "cancelled"}, 1e12):
            price = SONG_PRICE if task.model == SONG[0] else PRICE
            paid = price if task.status == "completed" else 0
            assert task.consume == (0 if task.usage_type == "" else paid)


TestMoney = Money.TestCase
TestMoney.settings = settings(max_examples=40, stateful_step_count=25, deadline=None, database=None, derandomize=True)
