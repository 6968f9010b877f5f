"""The budget: a submission that could exceed the limit is not sent, and what is not billed comes back."""

import contextlib
import copy
import functools
import io
import itertools
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unitask import Budget, Output, Recovery, Task, Timestamp, errors, tasks
from unitask._core import flows
from unitask._core.effects import Flow, Resumed, SendRequest
from unitask._core.recovery import Submission
from unitask._model.task import Outcome

from .interruption import Interruption, at_each_line
from .pictures import encoded
from .script import BODY, CUT_OFF, MODEL, NEVER_LEFT, RESEND, TASK_ID, TASK_TYPE, Played, play, refused, seen, task_data
from .shells import FACE_SWAP, all_of, in_turn, perform, provider
from .shells import submit as send

NUMBERS = itertools.count()
PRICE = 100_000  # credits of a face swap, $0.01
UNPRICED = tasks.Raw("a model", "of no price", {})
RESUMED = Resumed(Timestamp(0.0, 0.0))


def task(status: str, consume: object = None, task_id: str = TASK_ID) -> Task[Output]:
    """A task in a status; `consume` is its bill in credits, or None for an answer without a bill."""
    meta = {} if consume is None else {"usage": {"consume": consume}}
    return Task(task_data(status, meta=meta, task_id=task_id), Output)


def amounts(budget: Budget) -> tuple[float, float, float]:
    """Spent, held and left."""
    return budget.spent_usd, budget.held_usd, budget.left_usd


def submission(budget: Budget, estimate: int = PRICE) -> Flow[Task[Output]]:
    submitted = Submission(token=f"submission {next(NUMBERS)}")
    return budget.within(estimate, "a task", flows.submit(BODY, Output, RESEND, submitted), submitted)


def submit(budget: Budget, *replies: Any, **how: Any) -> Played:
    return play(submission(budget), *replies, **how)


def test_completed_task_is_spent_with_its_bill_or_its_estimate(shell: str) -> None:
    for consume, spent in ((150_000, 0.015), (5, 5e-7), (0, 0.0), (None, 0.01), (-7, 0.01)):
        budget = Budget(1)
        done = seen("completed", meta={"usage": {"consume": consume}})
        perform(shell, provider(seen("pending"), done), lambda client: client.run(FACE_SWAP), budget=budget)

        assert amounts(budget) == (spent, 0.0, pytest.approx(1 - spent))


@pytest.mark.parametrize("call", ["submit", "run"])
@pytest.mark.parametrize("validate", [True, False])
def test_submission_beyond_the_limit_is_not_sent(shell: str, call: str, validate: bool) -> None:
    budget, beyond = Budget(0.015), lambda client: getattr(client, call)(FACE_SWAP, validate=validate)
    _, error = perform(shell, provider(seen("pending")), in_turn(send, beyond), budget=budget)

    assert isinstance(error, errors.BudgetExceeded)
    assert f"nothing was sent: {MODEL} {TASK_TYPE}" in str(error)
    assert (error.limit_usd, error.spent_usd, error.held_usd, error.estimate_usd) == (0.015, 0.0, 0.01, 0.01)


def test_task_of_unknown_price_needs_an_assumed_price() -> None:
    with pytest.raises(errors.BudgetExceeded, match="assume_usd=") as caught:
        perform("sync", provider(), lambda client: client.submit(UNPRICED), budget=Budget(100))
    budget = Budget(1, assume_usd=0.3)
    perform("sync", provider(seen("pending")), lambda client: client.submit(UNPRICED), budget=budget)

    assert caught.value.estimate_usd is None
    assert amounts(budget) == (0.0, 0.3, 0.7)


@pytest.mark.parametrize("call", ["get", "wait", "watch", "wait_all", "find"])
def test_each_call_that_sees_the_end_of_a_task_settles_it(shell: str, call: str) -> None:
    lost: Any = None
    calls: dict[str, Callable[[Any], Any]] = {
        "get": lambda client: client.get(TASK_ID),
        "wait": lambda client: client.wait(TASK_ID),
        "watch": lambda client: all_of(client.watch(TASK_ID)),
        "wait_all": lambda client: client.wait_all([TASK_ID]),
        "find": lambda client: client.find(lost, timeout=0),
    }
    for status, spent in (("completed", 0.01), ("failed", 0.0), ("cancelled", 0.0)):
        budget = Budget(1)
        first = refused(502, data=task_data()) if call == "find" else seen("pending")
        (lost,) = perform(shell, provider(first), in_turn(send), budget=budget)
        assert budget.held_usd == 0.01
        perform(shell, provider(seen(status)), in_turn(calls[call]), budget=budget)

        assert amounts(budget) == (spent, 0.0, 1 - spent)


def test_estimate_is_that_of_the_body_that_is_sent() -> None:
    budget, once = Budget(1), io.BytesIO(encoded(1250, 1000))
    once.seekable = lambda: False  # type: ignore[method-assign]  # a stream that cannot seek
    segment = functools.partial(tasks.ImageSegment, prompt="a", negative_prompt="b", segment_factor=0)
    perform("sync", provider(seen("pending")), lambda client: client.submit(segment(image=once)), budget=budget)

    assert budget.held_usd == 0.0125
    with pytest.raises(errors.BudgetExceeded, match="is not known"):  # the size of a remote picture
        perform("sync", provider(), lambda client: client.submit(segment(image="https://me.test/a")), budget=budget)


@pytest.mark.parametrize("reply", [NEVER_LEFT, refused(500, data=task_data("failed"))])
def test_submission_that_was_not_accepted_is_released(reply: Any) -> None:
    budget = Budget(1)

    assert isinstance(submit(budget, reply).error, errors.Unreachable | errors.ProviderBroken)
    assert amounts(budget) == (0.0, 0.0, 1.0)


UNDER_WAY = [(NEVER_LEFT, 0, 0.0), (NEVER_LEFT, 1, 0.01), (NEVER_LEFT, 2, 0.0), (NEVER_LEFT, 3, 0.01)]


@pytest.mark.parametrize(("reply", "step", "held"), [*UNDER_WAY, (seen("pending"), 2, 0.01)])
def test_interrupted_submission_is_held_if_it_was_under_way_or_accepted(reply: Any, step: int, held: float) -> None:
    budget = Budget(1)
    with pytest.raises(KeyboardInterrupt):
        submit(budget, reply, interrupted=(step, KeyboardInterrupt()))
    assert budget.held_usd == held

    budget.see(task("completed", PRICE))
    assert budget.spent_usd == (0.01 if reply is not NEVER_LEFT else 0.0)


def test_accepted_task_is_settled_though_its_call_ended_with_an_error_of_another_submission() -> None:
    budget, another = Budget(1), submit(Budget(1), CUT_OFF).error
    assert isinstance(another, errors.SubmissionUncertain)
    assert submit(budget, seen("pending"), interrupted=(2, another)).error is another

    budget.see(task("completed", PRICE))
    assert amounts(budget) == (0.01, 0.0, 0.99)


FINDINGS = {
    "absent": (Recovery(Outcome.ABSENT, "no row"), (0.0, 0.0, 1.0)),
    "unclear": (Recovery(Outcome.UNCLEAR, "no history"), (0.0, 0.01, 0.99)),
    "running": (Recovery(Outcome.FOUND, "its mark", task("processing")), (0.0, 0.01, 0.99)),
    "done": (Recovery(Outcome.FOUND, "its mark", task("completed", 7)), (7e-7, 0.0, 1 - 7e-7)),
    "failed": (Recovery(Outcome.FOUND, "its mark", task("failed")), (0.0, 0.0, 1.0)),
}


@pytest.mark.parametrize(("finding", "expected"), FINDINGS.values(), ids=FINDINGS.keys())
def test_finding_settles_an_uncertain_submission_once(finding: Recovery, expected: tuple[float, float, float]) -> None:
    budget = Budget(1)
    error = submit(budget, CUT_OFF).error
    assert isinstance(error, errors.SubmissionUncertain)
    for _ in range(2):
        budget.see_finding(error, finding)

    assert amounts(budget) == pytest.approx(expected)
    budget.see(task("completed", 7))
    assert budget.spent_usd == (7e-7 if finding.task and finding.task.status != "failed" else 0.0)


def test_two_equal_submissions_are_held_and_settled_each() -> None:
    same_id, lost = Budget(1), Budget(1)
    for _ in range(2):
        submit(same_id, seen("pending"))
        error = submit(lost, CUT_OFF).error
    assert (same_id.held_usd, lost.held_usd) == (0.02, 0.02)
    assert isinstance(error, errors.SubmissionUncertain)
    same_id.see(task("failed"))  # the provider gave both one id: nothing stays held
    for _ in range(2):
        lost.see_finding(error, Recovery(Outcome.ABSENT, "no row"))  # of the second submission alone

    assert amounts(same_id) == (0.0, 0.0, 1.0)
    assert amounts(lost) == (0.0, 0.01, 0.99)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, pickle.dumps])
def test_budget_is_not_copied_to_a_second_limit(copied: Callable[[Budget], object]) -> None:
    with pytest.raises(TypeError, match="one process"):
        copied(Budget(1))


def test_budget_shows_its_amounts() -> None:
    budget = Budget(2.5, assume_usd=0.3)
    submit(budget, seen("completed"))
    submit(budget, seen())

    assert repr(budget) == "Budget(usd=2.5, spent_usd=0.01, held_usd=0.01, left_usd=2.48, assume_usd=0.3)"
    assert [Budget(usd).limit_usd for usd in (0, 2.5, 1e12)] == [0, 2.5, 1e12]


@pytest.mark.parametrize("amount", [-0.01, float("nan"), float("inf"), "1", True])
def test_unusable_amount_is_refused(amount: Any) -> None:
    with pytest.raises(errors.InvalidInput, match=r"^usd is"):
        Budget(amount)
    with pytest.raises(errors.InvalidInput, match="assume_usd is"):
        Budget(1, assume_usd=amount)


def interrupted(prepared: Callable[[Budget], Callable[[], Any]], check: Callable[[Budget, bool], None]) -> None:
    """Interrupt a call before each line of budget.py; check its budget, and whether that line was reached."""

    def call(interruption: Interruption) -> None:
        budget = Budget(1)
        prepared_call = prepared(budget)
        with contextlib.suppress(KeyboardInterrupt, errors.UnitaskError, StopIteration), interruption:
            prepared_call()
        check(budget, interruption.reached)

    assert at_each_line(call, "unitask.budget") > 1


def answered(reply: Any) -> Callable[[Budget], Callable[[], Any]]:
    """Prepare a submission that was sent; return a function that answers it and drives it to its end."""

    def prepared(budget: Budget) -> Callable[[], Any]:
        flow: Any = submission(budget)
        next(flow)
        assert isinstance(flow.send(RESUMED), SendRequest)

        def go_on() -> None:
            flow.send(reply)
            while True:
                flow.send(RESUMED)

        return go_on

    return prepared


def complete(budget: Budget) -> Callable[[], Any]:
    submit(budget, seen())
    return lambda: budget.see(task("completed", PRICE))


def find(budget: Budget) -> Callable[[], Any]:
    error = submit(budget, CUT_OFF).error
    assert isinstance(error, errors.SubmissionUncertain)
    return lambda: budget.see_finding(error, Recovery(Outcome.FOUND, "its mark", task("completed", PRICE)))


@pytest.mark.parametrize(
    "prepared", [answered(seen()), answered(CUT_OFF), complete, find], ids=["accept", "lose", "complete", "find"]
)
def test_interruption_at_any_line_keeps_what_may_be_billed(prepared: Callable[[Budget], Callable[[], Any]]) -> None:
    def check(budget: Budget, _: bool) -> None:
        assert budget.spent_usd + budget.held_usd == 0.01
        if prepared is complete:
            budget.see(task("completed", PRICE))
            assert amounts(budget) == (0.01, 0.0, 0.99)
        assert submit(budget, seen(task_id="next")).error is None
        assert budget.spent_usd + budget.held_usd == 0.02

    interrupted(prepared, check)


def test_interruption_before_the_request_leaves_nothing_put_aside() -> None:
    def check(budget: Budget, is_interrupted: bool) -> None:
        assert budget.held_usd == (0.0 if is_interrupted else 0.01)

    interrupted(lambda budget: functools.partial(next, submission(budget)), check)


def test_submission_that_was_overtaken_by_another_is_judged_again(monkeypatch: pytest.MonkeyPatch) -> None:
    budget = Budget(0.015)
    current, overtaken = budget._current, iter([True])

    def outdated() -> Any:
        amounts = current()
        if next(overtaken, False):
            submit(budget, seen("pending"))
        return amounts

    monkeypatch.setattr(budget, "_current", outdated)

    assert isinstance(submit(budget, seen("pending")).error, errors.BudgetExceeded)
    assert budget.held_usd == 0.01


ENDS = st.sampled_from(["completed", "failed", "cancelled", "running", "refused", "lost", "under way"])


@given(st.lists(st.tuples(st.integers(0, 60), ENDS, st.none() | st.integers(0, 80))))
def test_amounts_add_up_whatever_becomes_of_each_submission(drawn: list[tuple[int, str, int | None]]) -> None:
    budget, spent, held = Budget(1e-5), 0, 0  # 100 credits
    for number, (estimate, end, bill) in enumerate(drawn):
        flow: Any = submission(budget, estimate)
        if spent + held + estimate > 100:
            with pytest.raises(errors.BudgetExceeded):
                next(flow)
            continue
        next(flow)
        flow.send(RESUMED)
        if end != "under way":
            with contextlib.suppress(StopIteration, errors.UnitaskError):
                flow.send({"refused": refused(400), "lost": CUT_OFF}.get(end, seen(task_id=str(number))))
                flow.send(RESUMED)
        if end in ("completed", "failed", "cancelled", "running"):
            for status in ("pending", "a new word", end, end):
                budget.see(task(status, bill, str(number)))
        spent += (estimate if bill is None else bill) if end == "completed" else 0
        held += estimate if end in ("running", "lost", "under way") else 0

        assert [round(amount * 1e7) for amount in amounts(budget)] == [spent, held, 100 - spent - held]
