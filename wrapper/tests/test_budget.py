"""The budget: what could exceed the limit is not sent, whoever sends it, and what is not paid comes back."""

from __future__ import annotations

import contextlib
import functools
import io
import itertools
import linecache
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule
from unitask import Budget, Output, Recovery, Task, errors, tasks
from unitask import budget as budget_module
from unitask._core import flows
from unitask._core.effects import Flow, Resumed, SendRequest, Sleep
from unitask._model.task import Outcome
from unitask._model.timestamp import Timestamp

from .pictures import encoded
from .script import (
    CUT_OFF,
    GATEWAY,
    MODEL,
    NEVER_LEFT,
    RESEND,
    TASK_ID,
    TASK_TYPE,
    Played,
    answer,
    play,
    refused,
    seen,
    task_data,
)
from .shells import FACE_SWAP, all_of, perform, provider

NUMBERS = itertools.count()
PRICE = 100_000  # credits of a face swap, $0.01
BODY = {"model": MODEL, "task_type": TASK_TYPE, "input": {}}
UNPRICED = tasks.Raw("a model", "of no price", {})


def task(status: str, consume: object = None, task_id: str = TASK_ID) -> Task[Output]:
    """A task as it is seen; `consume` is its bill in credits, None for an answer that does not say."""
    meta = {} if consume is None else {"usage": {"consume": consume}}
    return Task({**task_data(status, meta=meta), "task_id": task_id}, Output)


def amounts(budget: Budget) -> tuple[float, float, float]:
    """Spent, held and left."""
    return budget.spent_usd, budget.held_usd, budget.left_usd


def create(budget: Budget, *replies: Any, estimate: int | None = PRICE, **how: Any) -> Played:
    """Create a task within a budget."""
    return play(budgeted(budget, estimate), *replies, **how)


def budgeted(budget: Budget, estimate: int | None) -> Flow[Task[Output]]:
    """The steps of a create within a budget."""
    submission = flows.Submission(token=f"submission {next(NUMBERS)}")
    return budget.within(estimate, "a task", flows.submit(BODY, Output, RESEND, submission), submission)


# ---- through the clients


def test_completed_task_is_spent(shell: str) -> None:
    for consume, spent in ((100_000, 0.01), (150_000, 0.015), (5, 5e-7), (0, 0.0), (None, 0.01), (-7, 0.01)):
        budget = Budget(1)
        done = seen("completed", meta={"usage": {"consume": consume}})
        perform(shell, provider(seen("pending"), done), lambda client: client.run(FACE_SWAP), budget=budget)

        assert amounts(budget) == (spent, 0.0, pytest.approx(1 - spent))


@pytest.mark.parametrize("call", ["submit", "run"])
@pytest.mark.parametrize("validate", [True, False])
def test_create_beyond_the_limit_is_not_sent(shell: str, call: str, validate: bool) -> None:
    budget = Budget(0.015)
    perform(shell, provider(seen("pending")), lambda client: client.submit(FACE_SWAP), budget=budget)
    with pytest.raises(errors.BudgetExceeded) as caught:
        perform(shell, provider(), lambda client: getattr(client, call)(FACE_SWAP, validate=validate), budget=budget)

    error = caught.value
    assert (error.limit_usd, error.spent_usd, error.held_usd, error.estimate_usd) == (0.015, 0.0, 0.01, 0.01)
    assert str(error) == (
        "nothing was sent: Qubico/image-toolkit face-swap may cost $0.01, and of the budget of $0.015, $0 is spent and "
        "$0.01 put aside for tasks that may still be billed"
    )


def test_task_of_unknown_cost_needs_an_assumption(shell: str) -> None:
    with pytest.raises(errors.BudgetExceeded, match="what a model of no price costs is not known") as caught:
        perform(shell, provider(), lambda client: client.submit(UNPRICED), budget=Budget(100))
    budget = Budget(1, assume_usd=0.3)
    perform(shell, provider(seen("pending")), lambda client: client.submit(UNPRICED), budget=budget)

    assert caught.value.estimate_usd is None
    assert amounts(budget) == (0.0, 0.3, 0.7)


@pytest.mark.parametrize("call", ["get", "wait", "watch", "wait_all", "find"])
@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
def test_each_call_that_sees_the_end_settles(shell: str, call: str, status: str) -> None:
    budget, lost = Budget(1), None
    try:
        reply = GATEWAY if call == "find" else seen("pending")
        perform(shell, provider(reply), lambda client: client.submit(FACE_SWAP), budget=budget)
    except errors.SubmissionUncertain as error:
        lost = error
        lost.task_id = TASK_ID
    assert budget.held_usd == 0.01
    calls: dict[str, Callable[[Any], Any]] = {
        "get": lambda client: client.get(TASK_ID),
        "wait": lambda client: client.wait(TASK_ID),
        "watch": lambda client: all_of(client.watch(TASK_ID)),
        "wait_all": lambda client: client.wait_all([TASK_ID]),
        "find": lambda client: client.find(lost, timeout=0),
    }
    with contextlib.suppress(errors.TaskFailed):
        perform(shell, provider(seen(status)), calls[call], budget=budget)

    assert amounts(budget) == ((0.01, 0.0, 0.99) if status == "completed" else (0.0, 0.0, 1.0))


def test_budget_holds_the_estimate_of_what_is_sent(shell: str) -> None:
    budget, once = Budget(1), io.BytesIO(encoded(1250, 1000))
    once.seekable = lambda: False  # type: ignore[method-assign]
    segment = functools.partial(tasks.ImageSegment, prompt="a", negative_prompt="b", segment_factor=0)
    perform(shell, provider(seen("pending")), lambda client: client.submit(segment(image=once)), budget=budget)

    assert budget.held_usd == 0.0125
    with pytest.raises(errors.BudgetExceeded, match="segment costs is not known"):  # how large that picture is
        perform(shell, provider(), lambda client: client.submit(segment(image="https://me.test/a.png")), budget=budget)


# ---- what becomes of the amount that is put aside


@pytest.mark.parametrize(
    "reply", [NEVER_LEFT, answer(500, {"code": 500, "data": task_data("failed"), "message": "no"})]
)
def test_create_that_was_not_accepted_is_released(reply: Any) -> None:
    budget = Budget(1)

    assert isinstance(create(budget, reply).error, errors.Unreachable | errors.ProviderBroken)
    assert amounts(budget) == (0.0, 0.0, 1.0)


@pytest.mark.parametrize(("step", "held"), [(0, 0.0), (1, 0.01), (2, 0.0), (3, 0.01)])
def test_interrupted_create_is_held_if_a_request_was_under_way(step: int, held: float) -> None:
    budget = Budget(1)
    with pytest.raises(KeyboardInterrupt):
        create(budget, NEVER_LEFT, interrupted=(step, KeyboardInterrupt()))

    assert budget.held_usd == held


def test_interruption_of_what_comes_before_the_create_is_released() -> None:
    budget = Budget(1)

    def uploading() -> Flow[Task[Output]]:
        yield SendRequest("POST", "/upload")
        raise AssertionError

    flow = budget.within(PRICE, "a task", uploading(), flows.Submission(token="a"))
    next(flow)
    assert budget.held_usd == 0.01
    with pytest.raises(KeyboardInterrupt):
        flow.throw(KeyboardInterrupt())

    assert budget.held_usd == 0.0


FINDINGS = {
    "absent": (Recovery(Outcome.ABSENT, "no row"), (0.0, 0.0, 1.0)),
    "unclear": (Recovery(Outcome.UNCLEAR, "no history"), (0.0, 0.01, 0.99)),
    "running": (Recovery(Outcome.FOUND, "its mark", task("processing")), (0.0, 0.01, 0.99)),
    "done": (Recovery(Outcome.FOUND, "its mark", task("completed", 7)), (7e-7, 0.0, 1 - 7e-7)),
    "failed": (Recovery(Outcome.FOUND, "its mark", task("failed")), (0.0, 0.0, 1.0)),
}


@pytest.mark.parametrize(("finding", "expected"), FINDINGS.values(), ids=FINDINGS.keys())
def test_finding_settles_an_uncertain_create(finding: Recovery, expected: tuple[float, float, float]) -> None:
    budget = Budget(1)
    error = create(budget, CUT_OFF).error
    assert isinstance(error, errors.SubmissionUncertain)
    for _ in range(2):
        budget.see_finding(error, finding)

    assert amounts(budget) == pytest.approx(expected)
    budget.see(task("completed", 7))
    assert budget.spent_usd == (7e-7 if finding.task and finding.task.status != "failed" else 0.0)


def test_task_is_settled_once() -> None:
    budget = Budget(1)
    create(budget, seen("pending"))
    for status in ("pending", "processing", "a new word", "completed", "completed", "failed"):
        budget.see(task(status, PRICE))
    budget.see(task("completed", PRICE, "another task"))

    assert amounts(budget) == (0.01, 0.0, 0.99)


def test_two_creates_that_look_alike_are_held_and_settled_each() -> None:
    same_id, lost = Budget(1), Budget(1)
    for _ in range(2):
        create(same_id, seen("pending"))
        error = create(lost, CUT_OFF).error
    assert (same_id.held_usd, lost.held_usd) == (0.02, 0.02)
    assert isinstance(error, errors.SubmissionUncertain)
    same_id.see(task("failed"))  # the provider gave both creates one id: nothing stays held
    for _ in range(2):
        lost.see_finding(error, Recovery(Outcome.ABSENT, "no row"))  # which of the two it is, cannot be told

    assert amounts(same_id) == (0.0, 0.0, 1.0)
    assert amounts(lost) == (0.0, 0.01, 0.99)


def test_budget_shows_its_amounts() -> None:
    budget = Budget(2.5)
    create(budget, seen("pending"))

    assert repr(budget) == "Budget(usd=2.5, spent_usd=0, held_usd=0.01, left_usd=2.49)"
    assert budget.limit_usd == 2.5
    assert repr(Budget(1, assume_usd=0.3)).endswith(", left_usd=1, assume_usd=0.3)")


@pytest.mark.parametrize("amount", [-0.01, float("nan"), float("inf"), "1", True])
def test_amount_that_is_none_is_refused(amount: Any) -> None:
    with pytest.raises(errors.InvalidInput, match=r"usd is .*: give an amount in USD, 0 or more"):
        Budget(amount)
    with pytest.raises(errors.InvalidInput, match="assume_usd is"):
        Budget(1, assume_usd=amount)


# ---- an interruption between any two lines


class At:
    """A trace function that raises KeyboardInterrupt at the given line event of budget.py, counted from 0.

    `try:` is no such line: it is no instruction, so that no signal arrives there, and CPython gives it no handler.
    """

    def __init__(self, line: int) -> None:
        self.left = line

    def __call__(self, frame: Any, event: str, _argument: object) -> Any:
        if frame.f_code.co_filename != budget_module.__file__:
            return None
        if event == "line" and linecache.getline(budget_module.__file__, frame.f_lineno).strip() != "try:":
            self.left -= 1
            if self.left == -1:
                raise KeyboardInterrupt
        return self


def interrupted(line: int, call: Callable[[], Any]) -> bool:
    """Make the call and interrupt it there; whether that line was reached."""
    at, before = At(line), sys.gettrace()
    sys.settrace(at)
    with contextlib.suppress(KeyboardInterrupt, errors.UnitaskError, StopIteration):
        call()
    sys.settrace(before)
    return at.left < 0


def under_way(budget: Budget) -> Any:
    """A create within a budget whose request was sent just now."""
    flow = budgeted(budget, PRICE)
    step = next(flow)
    while not isinstance(step, SendRequest):
        step = flow.send(WOKE)
    return flow


WOKE = Resumed(Timestamp(0.0, 0.0))
ACCEPTED = answer(200, {"code": 200, "data": task_data("pending")})


def answered(reply: Any) -> Callable[[Budget], Callable[[], Any]]:
    """Prepares a create that goes on with this answer up to its end."""

    def prepared(budget: Budget) -> Callable[[], Any]:
        flow = under_way(budget)

        def go_on() -> None:
            flow.send(reply)
            while True:
                flow.send(WOKE)

        return go_on

    return prepared


def complete(budget: Budget) -> Callable[[], Any]:
    create(budget, ACCEPTED)
    return lambda: budget.see(task("completed", PRICE))


def find(budget: Budget) -> Callable[[], Any]:
    error = create(budget, CUT_OFF).error
    assert isinstance(error, errors.SubmissionUncertain)
    return lambda: budget.see_finding(error, Recovery(Outcome.FOUND, "its mark", task("completed", PRICE)))


@pytest.mark.parametrize(
    "prepared", [answered(ACCEPTED), answered(CUT_OFF), complete, find], ids=["accept", "lose", "complete", "find"]
)
def test_interruption_at_any_line_keeps_what_may_be_billed(prepared: Callable[[Budget], Callable[[], Any]]) -> None:
    line, reached = 0, True
    while reached:
        budget = Budget(1)
        call = prepared(budget)
        reached = interrupted(line, call)
        line += 1

        assert budget.spent_usd + budget.held_usd == 0.01, line
        if prepared is complete:
            budget.see(task("completed", PRICE))
            assert amounts(budget) == (0.01, 0.0, 0.99), line
        assert create(budget, answer(200, {"code": 200, "data": {**task_data(), "task_id": "next"}})).error is None
        assert budget.spent_usd + budget.held_usd == 0.02, line
    assert line > 2


def test_interruption_before_the_request_leaves_nothing_put_aside() -> None:
    line, reached = 0, True
    while reached:
        budget = Budget(1)
        flow = budgeted(budget, PRICE)
        reached = interrupted(line, lambda flow=flow: next(flow))
        line += 1

        assert budget.held_usd == (0.0 if reached else 0.01), line
    assert line > 5


def test_create_that_was_overtaken_is_judged_again(monkeypatch: pytest.MonkeyPatch) -> None:
    budget = Budget(0.015)
    current, overtaken = budget._current, iter([True])

    def outdated() -> Any:
        amounts = current()
        if next(overtaken, False):
            create(budget, seen("pending"))
        return amounts

    monkeypatch.setattr(budget, "_current", outdated)

    assert isinstance(create(budget, seen("pending")).error, errors.BudgetExceeded)
    assert budget.held_usd == 0.01


class Spending(RuleBasedStateMachine):
    """Creates with any outcome, and ends of tasks in any order, within a budget of 100 credits."""

    waiting = Bundle("waiting")
    under_way = Bundle("under_way")

    def __init__(self) -> None:
        super().__init__()
        self.budget = Budget(1e-5)
        self.names: Iterator[int] = itertools.count()
        self.held = self.uncertain = self.spent = self.over = 0

    @rule(target=under_way, estimate=st.integers(0, 60))
    def begin(self, estimate: int) -> Any:
        flow = budgeted(self.budget, estimate)
        fits = self.held + self.spent + estimate <= 100
        try:
            next(flow)
        except errors.BudgetExceeded:
            assert not fits
            return None
        assert fits
        self.held += estimate
        return flow, estimate

    @rule(target=waiting, begun=consumes(under_way), outcome=st.sampled_from(["accepted", "refused", "lost"]))
    def answered(self, begun: Any, outcome: str) -> Any:
        if begun is None:
            return None
        flow, estimate = begun
        name = f"task {next(self.names)}"
        reply = {
            "accepted": answer(200, {"code": 200, "data": {**task_data(), "task_id": name}}),
            "refused": refused(400),
            "lost": CUT_OFF,
        }[outcome]
        played = play(_resumed(flow), reply)
        self.held -= estimate if outcome == "refused" else 0
        self.uncertain += estimate if outcome == "lost" else 0
        assert (played.error is None) == (outcome == "accepted")
        return (name, estimate) if outcome == "accepted" else None

    @rule(
        accepted=consumes(waiting),
        status=st.sampled_from(["completed", "failed", "cancelled"]),
        bill=st.none() | st.integers(0, 80),
    )
    def ended(self, accepted: Any, status: str, bill: int | None) -> None:
        if accepted is None:
            return
        name, estimate = accepted
        self.budget.see(task(status, bill, name))
        self.held -= estimate
        if status == "completed":
            billed = estimate if bill is None else bill
            self.spent += billed
            self.over += max(0, billed - estimate)

    @invariant()
    def adds_up(self) -> None:
        found = [round(amount * 1e7) for amount in amounts(self.budget)]

        assert found == [self.spent, self.held, 100 - self.spent - self.held]
        assert self.spent + self.held <= 100 + self.over
        assert self.held >= self.uncertain


def _resumed(flow: Any) -> Any:
    """A flow whose first step, a pause of 0 seconds, was taken already."""
    step = flow.send((yield Sleep(0)))
    with contextlib.suppress(StopIteration):
        while True:
            step = flow.send((yield step))


TestSpending = Spending.TestCase
TestSpending.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, database=None, derandomize=True
)
