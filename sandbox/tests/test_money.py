"""Balance and ledger: they always add up, and only what was made is paid."""

from __future__ import annotations

import hashlib
from unittest.mock import patch

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule
from unitask_sandbox import Sandbox, Settings, bundle
from unitask_sandbox.engines import ENGINES
from unitask_sandbox.failures import Refusal

from .local import MODEL, NO_FACE, PRICE, TASK_TYPE, Clock, SandboxWith, encoded, face_swap, fake_swap

ACCOUNT = hashlib.sha256(b"sandbox").hexdigest()
RECORDED = bundle.document()["components"]["examples"]["core.no-credit.create.500"]["value"]["data"]


def test_create_charges_and_completion_keeps_the_charge(sandbox_with: SandboxWith) -> None:
    """The price is taken when the task is accepted: usage "llm", nothing frozen."""
    sandbox = sandbox_with()
    task = sandbox.accept("sandbox", encoded(face_swap()))
    sandbox.advance()
    usage = sandbox.get("sandbox", task.task_id).body("")["meta"]["usage"]

    assert task.body("")["meta"]["usage"] == usage == {"type": "llm", "frozen": 0, "consume": PRICE}
    assert sandbox.balance("sandbox") == 9.99


@pytest.mark.parametrize("ending", ["failed", "cancelled"])
def test_task_that_is_not_completed_is_paid_back(sandbox_with: SandboxWith, ending: str) -> None:
    """A failed or cancelled task costs nothing in the end, and the ledger tells both movements."""
    sandbox = sandbox_with()
    task_id = sandbox.accept("sandbox", encoded(face_swap(NO_FACE))).task_id
    sandbox.cancel("sandbox", task_id) if ending == "cancelled" else sandbox.advance()
    task = sandbox.get("sandbox", task_id)

    assert (task.status, task.consume, sandbox.balance("sandbox")) == (ending, 0, 10.0)
    assert sandbox._store.ledger(ACCOUNT) == [(task_id, "charge", -PRICE), (task_id, "refund", PRICE)]


def test_create_without_credit_fails_like_the_recorded_one(sandbox_with: SandboxWith) -> None:
    """The last cent buys a task; the next create is HTTP 500 with a failed task, which can be looked at later."""
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


def must_be(refusal: Refusal, status: int) -> None:
    assert refusal.status == status


class Money(RuleBasedStateMachine):
    """Random operations on one account that can pay for five tasks at a time."""

    tasks = Bundle("tasks")

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.engines = patch.dict(ENGINES, {(MODEL, TASK_TYPE): fake_swap})
        self.engines.start()
        self.sandbox = Sandbox(
            Settings(keys={"sandbox": 0.05}, autorun=False, engine_process=False, clock=self.clock, speed="real")
        )

    def teardown(self) -> None:
        self.sandbox.close()
        self.engines.stop()

    @rule(target=tasks, picture=st.sampled_from([b"a face", NO_FACE]))
    def create(self, picture: bytes) -> object:
        try:
            return self.sandbox.accept("sandbox", encoded(face_swap(picture))).task_id
        except Refusal as refusal:
            must_be(refusal, 500)
            return multiple()

    @rule(task_id=tasks)
    def cancel(self, task_id: str) -> None:
        try:
            self.sandbox.cancel("sandbox", task_id)
        except Refusal as refusal:
            must_be(refusal, 400)

    @rule(back=st.sampled_from([0, 5]))
    def cancel_many(self, back: int) -> None:
        self.sandbox.cancel_many("sandbox", self.clock.now - back)

    @rule(seconds=st.sampled_from([0.5, 2, 30]))
    def advance(self, seconds: float) -> None:
        self.clock.now += seconds
        self.sandbox.advance()

    @invariant()
    def adds_up(self) -> None:
        store = self.sandbox._store
        account = store.account(ACCOUNT)
        tasks = store.of_account(ACCOUNT, {"pending", "processing", "completed", "failed", "cancelled"}, 1e12)

        assert account.balance == account.starting + sum(credits_ for _, _, credits_ in store.ledger(ACCOUNT))
        assert account.balance == account.starting - sum(task.consume for task in tasks) >= 0
        kept = {"pending": PRICE, "processing": PRICE, "completed": PRICE, "failed": 0, "cancelled": 0}
        assert all(task.consume == kept[task.status] for task in tasks)


TestMoney = Money.TestCase
TestMoney.settings = settings(max_examples=40, stateful_step_count=25, deadline=None, database=None, derandomize=True)
