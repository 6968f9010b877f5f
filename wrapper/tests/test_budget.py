"""The budget: what could exceed the limit is not sent, whoever sends it, and what is not paid comes back."""

from __future__ import annotations

import asyncio
import io
import itertools
import linecache
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule
from unitask import AsyncClient, Budget, Client, Output, Recovery, Task, TaskInput, errors, tasks
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
from .shells import BASE_URL, FACE_SWAP, KEY, empty_histories, perform, provider

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
    return budget.within(estimate, "a task", unprepared(), lambda body: flows.submit(body, Output, RESEND))


def unprepared() -> Flow[dict[str, Any]]:
    """A body that needs no steps before it."""
    yield from ()
    return BODY


# ---- through the clients


def test_completed_task_is_spent(shell: str) -> None:
    """What the provider says it cost, be it more or less than was put aside; without a word, what was."""
    for consume, spent in ((100_000, 0.01), (150_000, 0.015), (5, 5e-7), (0, 0.0), (None, 0.01), (-7, 0.01)):
        budget = Budget(1)
        done = seen("completed", meta={"usage": {"consume": consume}})
        perform(shell, provider(seen("pending"), done), lambda client: client.run(FACE_SWAP), budget=budget)

        assert amounts(budget) == (spent, 0.0, pytest.approx(1 - spent))


def test_create_beyond_the_limit_is_not_sent(shell: str) -> None:
    """Without a request, validated or not; the error says all amounts."""
    budget = Budget(0.015)
    for call in ("submit", "run"):
        script = provider(*[seen("pending")] * (call == "submit"))
        if call == "submit":
            perform(shell, script, lambda client: client.submit(FACE_SWAP), budget=budget)
        for validate in (True, False):
            with pytest.raises(errors.BudgetExceeded) as caught:
                perform(
                    shell,
                    script,
                    lambda client, call=call, validate=validate: getattr(client, call)(FACE_SWAP, validate=validate),
                    budget=budget,
                )
        assert len(script.requests) == (call == "submit")

    error = caught.value
    assert (error.limit_usd, error.spent_usd, error.held_usd, error.estimate_usd) == (0.015, 0.0, 0.01, 0.01)
    assert str(error) == (
        "nothing was sent: Qubico/image-toolkit face-swap may cost $0.01, and of the budget of $0.015, $0 is spent and "
        "$0.01 put aside for tasks that may still be billed"
    )


def test_task_of_unknown_cost_needs_an_assumption(shell: str) -> None:
    """It is refused, or counted as said."""
    with pytest.raises(errors.BudgetExceeded, match="what a model of no price costs is not known") as caught:
        perform(shell, provider(), lambda client: client.submit(UNPRICED), budget=Budget(100))
    budget = Budget(1, assume_usd=0.3)
    perform(shell, provider(seen("pending")), lambda client: client.submit(UNPRICED), budget=budget)

    assert caught.value.estimate_usd is None
    assert amounts(budget) == (0.0, 0.3, 0.7)


@pytest.mark.parametrize("look", ["get", "wait", "events"])
@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
def test_later_client_settles(shell: str, look: str, status: str) -> None:
    """A task that one client submitted is settled when another one sees its end."""
    budget = Budget(1)
    perform(shell, provider(seen("pending")), lambda client: client.submit(FACE_SWAP), budget=budget)
    assert budget.held_usd == 0.01

    def call(client: Any) -> Any:
        found = getattr(client, look)(TASK_ID)
        return found if look != "events" else _drained(found)

    try:
        perform(shell, provider(seen(status)), call, budget=budget)
    except errors.TaskFailed:
        assert look == "wait"

    assert amounts(budget) == ((0.01, 0.0, 0.99) if status == "completed" else (0.0, 0.0, 1.0))


def _drained(events: Any) -> Any:
    if hasattr(events, "__aiter__"):

        async def drain() -> None:
            async for _ in events:
                pass

        return drain()
    return list(events)


def test_find_releases_what_was_never_accepted(shell: str) -> None:
    """A client with the budget that finds no trace of the create."""
    budget = Budget(1)
    with pytest.raises(errors.SubmissionUncertain) as lost:
        perform(shell, provider(GATEWAY), lambda client: client.submit(FACE_SWAP), budget=budget)
    assert budget.held_usd == 0.01
    perform(shell, provider(*empty_histories()), lambda client: client.find(lost.value), budget=budget)

    assert amounts(budget) == (0.0, 0.0, 1.0)


def segment(image: Any) -> TaskInput[Any]:
    """All fields, so that there is no advice."""
    return tasks.ImageSegment(image=image, prompt="a", negative_prompt="b", segment_factor=0)


def test_budget_holds_the_estimate_of_what_is_sent(shell: str) -> None:
    """A file that can be read once is read once, and counts with its size."""
    budget = Budget(1)
    once = io.BytesIO(encoded(1250, 1000))
    once.seekable = lambda: False  # type: ignore[method-assign]
    task = segment(once)
    perform(shell, provider(seen("pending")), lambda client: client.submit(task), budget=budget)

    assert budget.held_usd == 0.0125


def test_url_does_not_fit_into_a_budget_without_an_assumption(shell: str) -> None:
    """How large a picture elsewhere is cannot be known."""
    with pytest.raises(errors.BudgetExceeded, match="segment costs is not known"):
        perform(
            shell,
            provider(),
            lambda client: client.submit(segment("https://me.test/a.png")),
            budget=Budget(1),
        )


def test_threads_race_for_the_last_dollar() -> None:
    """Of 24 clients that create at the same moment, as many as the budget covers get through, and no more."""
    budget, ids, barrier = Budget(0.07), itertools.count(), threading.Barrier(24)
    arrived: list[object] = []
    refusals: list[errors.BudgetExceeded] = []

    def provide(request: httpx.Request) -> httpx.Response:
        arrived.append(request)
        return httpx.Response(200, json={"code": 200, "data": {**task_data(), "task_id": f"task-{next(ids)}"}})

    def race() -> None:
        with Client(KEY, BASE_URL, transport=httpx.MockTransport(provide), budget=budget) as client:
            barrier.wait()
            try:
                client.submit(FACE_SWAP)
            except errors.BudgetExceeded as refusal:
                refusals.append(refusal)

    threads = [threading.Thread(target=race) for _ in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (len(arrived), len(refusals)) == (7, 17)
    assert amounts(budget) == (0.0, 0.07, 0.0)


def test_coroutines_race_for_the_last_dollar() -> None:
    """No create is sent while others that are under way hold the rest."""
    budget, ids = Budget(0.07), itertools.count()
    arrived: list[object] = []

    async def provide(request: httpx.Request) -> httpx.Response:
        arrived.append(request)
        for _ in range(50):
            await asyncio.sleep(0)  # the others go on
        return httpx.Response(200, json={"code": 200, "data": {**task_data(), "task_id": f"task-{next(ids)}"}})

    async def main() -> list[Any]:
        async with AsyncClient(KEY, BASE_URL, transport=httpx.MockTransport(provide), budget=budget) as client:
            return await asyncio.gather(*(client.submit(FACE_SWAP) for _ in range(24)), return_exceptions=True)

    results = asyncio.run(main())

    assert len(arrived) == 7
    assert sum(isinstance(result, errors.BudgetExceeded) for result in results) == 17
    assert amounts(budget) == (0.0, 0.07, 0.0)


# ---- what becomes of the amount that is put aside


@pytest.mark.parametrize(
    ("replies", "error"),
    [
        ([refused(400)], errors.InvalidRequest),
        ([refused(401)], errors.AuthenticationFailed),
        ([refused(429)], errors.RateLimited),
        ([NEVER_LEFT], errors.Unreachable),
        ([answer(500, {"code": 500, "data": task_data("failed"), "message": "no"})], errors.ProviderBroken),
    ],
)
def test_create_that_was_not_accepted_is_released(replies: list[Any], error: type[Exception]) -> None:
    """A refusal, and a create that never left."""
    budget = Budget(1)
    played = create(budget, *replies)

    assert type(played.error) is error
    assert amounts(budget) == (0.0, 0.0, 1.0)


@pytest.mark.parametrize("reply", [CUT_OFF, GATEWAY, answer(200, {"code": 200})])
def test_uncertain_create_stays_held(reply: Any) -> None:
    """It may be billed, and nothing can tell."""
    budget = Budget(1)
    played = create(budget, reply)

    assert isinstance(played.error, errors.SubmissionUncertain)
    assert amounts(budget) == (0.0, 0.01, 0.99)


@pytest.mark.parametrize(("step", "held"), [(0, 0.0), (1, 0.01), (2, 0.0), (3, 0.01)])
def test_interrupted_create_is_held_if_a_request_was_under_way(step: int, held: float) -> None:
    """Steps 1 and 3 are requests; between them the first is known not to have left."""
    budget = Budget(1)
    with pytest.raises(KeyboardInterrupt):
        create(budget, NEVER_LEFT, interrupted=(step, KeyboardInterrupt()))

    assert budget.held_usd == held


def test_interruption_of_what_comes_before_the_create_is_released() -> None:
    """An upload costs nothing."""
    budget = Budget(1)

    def uploading() -> Flow[dict[str, Any]]:
        yield SendRequest("POST", "/upload")
        return BODY

    flow = budget.within(PRICE, "a task", uploading(), lambda body: flows.submit(body, Output, RESEND))
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
    """Once: an absent one is released, and one that is found is a task like any other."""
    budget = Budget(1)
    error = create(budget, CUT_OFF).error
    assert isinstance(error, errors.SubmissionUncertain)
    for _ in range(2):
        budget.see_finding(error, finding)

    assert amounts(budget) == pytest.approx(expected)
    budget.see(task("completed", 7))
    assert budget.spent_usd == (7e-7 if finding.task and finding.task.status != "failed" else 0.0)


def test_interruption_after_acceptance_does_not_lose_the_task() -> None:
    """Whoever sees the task later settles it."""
    budget = Budget(1)
    with pytest.raises(KeyboardInterrupt):
        create(budget, seen("pending"), interrupted=(2, KeyboardInterrupt()))
    assert budget.held_usd == 0.01
    budget.see(task("completed", PRICE))

    assert amounts(budget) == (0.01, 0.0, 0.99)


def test_task_is_settled_once() -> None:
    """Whoever looks again, or at a task of somebody else, changes nothing."""
    budget = Budget(1)
    create(budget, seen("pending"))
    for status in ("pending", "processing", "a new word", "completed", "completed", "failed"):
        budget.see(task(status, PRICE))
    budget.see(task("completed", PRICE, "another task"))

    assert amounts(budget) == (0.01, 0.0, 0.99)


def test_bill_above_the_estimate_leaves_less_than_nothing() -> None:
    """And nothing more is sent."""
    budget = Budget(0.01)
    create(budget, seen("pending"))
    budget.see(task("completed", 3 * PRICE))

    assert amounts(budget) == (0.03, 0.0, -0.02)
    assert isinstance(create(budget, estimate=0).error, errors.BudgetExceeded)


def test_amounts_do_not_drift() -> None:
    """Ten thousand tasks of $0.0007 are $7 exactly, and the last one just fits."""
    budget = Budget(7)
    for number in range(10_000):
        name = str(number)
        create(budget, answer(200, {"code": 200, "data": {**task_data(), "task_id": name}}), estimate=7_000)
        if number % 2:
            budget.see(task("completed", 7_000, name))

    assert amounts(budget) == (3.5, 3.5, 0.0)
    assert isinstance(create(budget, estimate=1).error, errors.BudgetExceeded)


def test_budget_shows_its_amounts() -> None:
    """In a log, and in a notebook."""
    budget = Budget(2.5)
    create(budget, seen("pending"))

    assert repr(budget) == "Budget(usd=2.5, spent_usd=0, held_usd=0.01, left_usd=2.49)"
    assert budget.limit_usd == 2.5
    assert repr(Budget(1, assume_usd=0.3)).endswith(", left_usd=1, assume_usd=0.3)")


@pytest.mark.parametrize("amount", [-0.01, float("nan"), float("inf"), "1", None, True])
def test_amount_that_is_none_is_refused(amount: Any) -> None:
    """When the budget is made."""
    with pytest.raises(errors.InvalidInput, match=r"usd is .*: give an amount in USD, 0 or more"):
        Budget(amount)
    if amount is not None:
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

    @property
    def reached(self) -> bool:
        return self.left < 0


def interrupted(line: int, call: Callable[[], Any]) -> bool:
    """Make the call and interrupt it there; whether that line was reached."""
    at, before = At(line), sys.gettrace()
    sys.settrace(at)
    try:
        call()
    except (KeyboardInterrupt, errors.UnitaskError, StopIteration):
        pass
    finally:
        sys.settrace(before)
    return at.reached


def under_way(budget: Budget) -> Any:
    """A create within a budget whose request was sent just now."""
    flow = budgeted(budget, PRICE)
    step = next(flow)
    while not isinstance(step, SendRequest):
        step = flow.send(WOKE)
    return flow


WOKE = Resumed(Timestamp(0.0, 0.0))
ACCEPTED = answer(200, {"code": 200, "data": task_data("pending")})


def answered(flow: Any, reply: Any) -> Any:
    """The create goes on with this answer up to its end."""
    flow.send(reply)
    while True:
        flow.send(WOKE)


def accept(budget: Budget) -> Callable[[], Any]:
    flow = under_way(budget)
    return lambda: answered(flow, ACCEPTED)


def lose(budget: Budget) -> Callable[[], Any]:
    flow = under_way(budget)
    return lambda: answered(flow, CUT_OFF)


def complete(budget: Budget) -> Callable[[], Any]:
    create(budget, ACCEPTED)
    return lambda: budget.see(task("completed", PRICE))


def find(budget: Budget) -> Callable[[], Any]:
    error = create(budget, CUT_OFF).error
    assert isinstance(error, errors.SubmissionUncertain)
    return lambda: budget.see_finding(error, Recovery(Outcome.FOUND, "its mark", task("completed", PRICE)))


@pytest.mark.parametrize("prepared", [accept, lose, complete, find])
def test_interruption_at_any_line_keeps_what_may_be_billed(prepared: Callable[[Budget], Callable[[], Any]]) -> None:
    """The task stays put aside, or is spent, once; the budget goes on working, and a finished task is settled later."""
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
    assert line > 5


def test_interruption_before_the_request_leaves_nothing_put_aside() -> None:
    """At every line up to the first step: nothing was sent, so nothing may be billed."""
    line, reached = 0, True
    while reached:
        budget = Budget(1)
        flow = budgeted(budget, PRICE)
        reached = interrupted(line, lambda flow=flow: next(flow))
        line += 1

        assert budget.held_usd == (0.0 if reached else 0.01), line
    assert line > 5


def test_create_that_was_overtaken_is_judged_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another thread takes the last dollar between the look at what is left and the hold."""
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


def test_one_finding_does_not_release_two_creates() -> None:
    """Two uncertain creates of one input at one time look the same; one of them may still be billed."""
    budget = Budget(1)
    found = [create(budget, CUT_OFF).error for _ in range(2)]
    assert isinstance(found[0], errors.SubmissionUncertain)
    for _ in range(2):
        budget.see_finding(found[0], Recovery(Outcome.ABSENT, "no row"))

    assert amounts(budget) == (0.0, 0.01, 0.99)


def test_id_that_comes_twice_is_settled_whole() -> None:
    """A provider that gives two creates one id: nothing stays put aside for a task that is over."""
    budget = Budget(1)
    for _ in range(2):
        create(budget, seen("pending"))
    assert budget.held_usd == 0.02
    budget.see(task("failed"))

    assert amounts(budget) == (0.0, 0.0, 1.0)


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
    reply = yield Sleep(0)
    step = flow.send(reply)
    try:
        while True:
            step = flow.send((yield step))
    except StopIteration as end:
        return end.value


TestSpending = Spending.TestCase
TestSpending.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, database=None, derandomize=True
)
