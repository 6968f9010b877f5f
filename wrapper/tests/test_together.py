"""Many waits in one: each is looked at as it would be alone, and the end of one is not the end of another."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Collection
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unitask import Output, Task, errors
from unitask._core import envelope, flows, requests, retry
from unitask._core.effects import Flow, Reply, Response, Resumed, SendRequest, Sleep, TaskUpdated, TransportFailure
from unitask._model.timestamp import Timestamp

from .script import AT_SOME_TIME, CUT_OFF, UNIX, answer, limits, refused

Looks = list[Response | TransportFailure]


def look(task_id: str, status: str, **fields: Any) -> Response:
    data = {"task_id": task_id, "model": "m", "task_type": "t", "status": status, **fields}
    return answer(200, {"code": 200, "data": data, "message": "success"})


def waits(*task_ids: str, **changes: Any) -> Flow[list[Task[Output] | errors.UnitaskError]]:
    """Waits for tasks of kinds of their own, so that the end of one teaches the others nothing."""
    shared = limits(**changes)
    return flows.together([(each, flows.wait(each, Output, f"kind {each}", shared)) for each in task_ids])


@dataclasses.dataclass
class Trace:
    """What was done with each task, and when."""

    looks: list[tuple[str, float]] = dataclasses.field(default_factory=list[tuple[str, float]])
    sleeps: list[Sleep] = dataclasses.field(default_factory=list[Sleep])
    changes: list[tuple[str, object]] = dataclasses.field(default_factory=list[tuple[str, object]])
    ended_at: float = 0.0
    result: Any = None

    def of(self, task_id: str) -> list[float]:
        """When a task was looked at."""
        return [moment for looked, moment in self.looks if looked == task_id]


def drive(
    flow: Flow[Any],
    answers: Callable[[str, float], Response | TransportFailure | Exception],
    took: float | Callable[[str, float], float] = 0.0,
    news: Any = None,
) -> Trace:
    """Drive a flow over a provider whose answers depend on the task and the time."""
    trace, now = Trace(), 0.0
    try:
        step = next(flow)
        while True:
            reply: Reply = Resumed(AT_SOME_TIME)
            if isinstance(step, SendRequest):
                task_id = step.path.rpartition("/")[2]
                trace.looks.append((task_id, now))
                found = answers(task_id, now)
                now += took(task_id, step.timeout or 0.0) if callable(took) else took
                if isinstance(found, Exception):
                    step = flow.throw(found)
                    continue
                reply = found
            elif isinstance(step, Sleep):
                trace.sleeps.append(
                    dataclasses.replace(step, notification_of=tuple(step.notification_of))
                )  # as it is now: it changes
                heard = news(step, now) if news else None
                now += step.seconds if heard is None else heard[1]
                reply = Resumed(AT_SOME_TIME, None if heard is None else heard[0])
            elif isinstance(step, TaskUpdated):
                trace.changes.append((step.task.id, step.task.status))
            step = flow.send(dataclasses.replace(reply, at=Timestamp(now, UNIX + now)))
    except StopIteration as end:
        trace.result = end.value
    trace.ended_at = now
    return trace


def done_after(**seconds: float) -> Callable[[str, float], Response]:
    """A provider whose tasks are completed after this many seconds."""
    return lambda task_id, now: look(task_id, "completed" if now >= seconds[task_id] else "processing")


def test_results_are_in_the_order_given() -> None:
    """Whoever ends first."""
    trace = drive(waits("a", "b", "c"), done_after(a=30, b=3, c=9))

    assert [task.id for task in trace.result] == ["a", "b", "c"]
    assert {task.status for task in trace.result} == {"completed"}


def test_nothing_to_wait_for_is_an_empty_list() -> None:
    """And no request."""
    trace = drive(waits(), done_after())

    assert trace.result == []
    assert trace.looks == []


def test_each_task_is_looked_at_as_if_alone() -> None:
    """At the same ages; side by side they take no longer than the slowest."""
    ends = {"a": 30.0, "b": 3.0, "c": 9.0}
    trace = drive(waits(*ends), done_after(**ends))

    for task_id in ends:
        assert trace.of(task_id) == pytest.approx(drive(waits(task_id), done_after(**ends)).of(task_id))
    assert trace.ended_at == pytest.approx(max(trace.of("a")))


def test_failure_of_one_is_its_result() -> None:
    """The others go on."""

    def answers(task_id: str, now: float) -> Response | TransportFailure:
        return {
            "failed": look("failed", "failed", error={"message": "no face found"}),
            "gone": refused(404),
            "silent": CUT_OFF,
            "slow": look("slow", "processing"),
        }.get(task_id) or look(task_id, "completed")

    found = drive(waits("failed", "gone", "silent", "slow", "good", timeout=60.0), answers).result

    kinds = [errors.NoFaceFound, errors.NotFound, errors.Unreachable, errors.WaitTimeout, Task]
    assert [isinstance(end, kind) for end, kind in zip(found, kinds, strict=True)] == [True] * 5
    assert [error.task_id for error in found[:4]] == ["failed", "gone", "silent", "slow"]


def test_error_that_names_no_task_is_given_its_own() -> None:
    """Whatever went wrong, it is known which task it was about."""
    flow = flows.together([("a", retry.send_with_retry(requests.account(), envelope.read_account, limits()))])
    (error,) = drive(flow, lambda *_: refused(401)).result

    assert error.task_id == "a"


def test_changes_of_each_are_told() -> None:
    """As they are seen."""
    trace = drive(waits("a", "b"), done_after(a=0, b=5))

    assert trace.changes[:2] == [("a", "completed"), ("b", "processing")]
    assert trace.changes[-1] == ("b", "completed")


def test_time_that_requests_take_delays_no_deadline() -> None:
    """Each wait has its own; a look at the deadline is its last."""
    trace = drive(waits("a", "b", timeout=10.0), done_after(a=99, b=99), took=0.5)

    assert trace.ended_at <= 10.0 + 3 * 0.5
    assert all(isinstance(error, errors.WaitTimeout) for error in trace.result)


@pytest.mark.parametrize("count", [2, 40])
def test_requests_that_bring_nothing_take_the_time_of_no_other_wait(count: int) -> None:
    """One after another they would take a second each after the deadline; the good one among them is found."""
    names = [f"drips-{number}" for number in range(count)]
    flows_ = [(each, flows.wait(each, Output, f"kind {each}", limits(timeout=2.0))) for each in [*names, "good"]]

    def answers(task_id: str, _: float) -> Response | TransportFailure:
        return look("good", "completed") if task_id == "good" else CUT_OFF

    def took(task_id: str, allowed: float) -> float:
        return 0.05 if task_id == "good" else allowed

    trace = drive(flows.together(flows_, 2.0), answers, took=took)

    assert trace.ended_at <= 2.0 + 2.0 + 0.1 * (count + 1)
    assert trace.result[-1].id == "good"
    assert {type(end) for end in trace.result[:-1]} == {errors.WaitTimeout}


def test_many_requests_that_bring_nothing_end_without_a_deadline_too() -> None:
    """Each wait ends when its patience does, and not after the full time of every request of the others."""
    trace = drive(waits(*map(str, range(20)), timeout=None), lambda *_: CUT_OFF, took=lambda _, allowed: allowed)

    assert trace.ended_at <= 20 + 10 + 2 * 20 * flows.SLOW_CALL + 10
    assert {type(end) for end in trace.result} == {errors.Unreachable}


def test_untyped_error_of_one_is_its_result() -> None:
    """With the error as its cause; the others go on, and what is read wrong is no different."""
    broken = MemoryError("too large")

    def answers(task_id: str, now: float) -> Response | TransportFailure | Exception:
        return broken if task_id == "b" else look(task_id, "completed" if now > 1 else "processing")

    found = drive(waits("a", "b", "c"), answers).result

    assert [type(end) for end in found] == [Task, errors.Unreachable, Task]
    assert (found[1].task_id, found[1].__cause__) == ("b", broken)
    assert found[1].retry_advice is errors.Advice.RESUME
    assert "client.wait('b')" in str(found[1])


def calls_of(count: int) -> int:
    """How many functions are called for so many waits that end one after another."""
    names = [f"task-{number}" for number in range(count)]
    flow, answers = waits(*names, timeout=None), done_after(**{name: 5.0 + at % 20 for at, name in enumerate(names)})
    called = 0

    def count_call(_: object, event: str, __: object) -> None:
        nonlocal called
        called += event in ("call", "c_call")

    sys.setprofile(count_call)
    try:
        drive(flow, answers)
    finally:
        sys.setprofile(None)
    return called


def test_step_of_many_waits_does_not_read_all_of_them() -> None:
    """Twice as many waits, which each take as many looks, are about twice as much work."""
    calls_of(4)  # what is read once

    assert calls_of(400) < 2.5 * calls_of(200)


def test_many_waits_give_one_set_of_ids_in_every_step() -> None:
    """The set changes; it is not made anew for each sleep."""
    flow, sets = waits("a", "b"), list[Collection[str]]()

    def news(step: Sleep, _: float) -> None:
        sets.extend([step.notification_of] if step.seconds else [])

    drive(flow, done_after(a=5, b=50), news=news)

    assert len(sets) > 4
    assert all(each is sets[0] for each in sets)


def test_sleep_waits_for_news_of_everyone() -> None:
    """News of any of them ends it."""
    trace = drive(waits("a", "b"), done_after(a=5, b=50))

    long = [step.notification_of for step in trace.sleeps if step.seconds]
    assert set(long[0]) == {"a", "b"}
    assert long[-1] == ("b",)


def test_news_of_one_looks_at_that_one_now() -> None:
    """The other is looked at when it is due."""

    def news(step: Sleep, now: float) -> tuple[str, float] | None:
        return ("b", 0.25) if now == 0 and step.seconds else None

    alone = drive(waits("a"), done_after(a=20.0))
    trace = drive(waits("a", "b"), done_after(a=20.0, b=0.2), news=news)

    assert trace.of("b") == [0.0, 0.25]
    assert trace.of("a") == pytest.approx(alone.of("a"))


def test_pause_after_trouble_is_not_cut_by_news() -> None:
    """A server in trouble is left alone; the others still hear."""

    def answers(task_id: str, now: float) -> Response | TransportFailure:
        return CUT_OFF if task_id == "a" and now < 1 else look(task_id, "completed" if now > 1 else "processing")

    trace = drive(waits("a", "b"), answers)

    assert next(step.notification_of for step in trace.sleeps if step.seconds) == ("b",)


def test_news_of_somebody_else_changes_nothing() -> None:
    """Whoever is due is looked at; nobody earlier."""
    trace = drive(
        waits("a"), done_after(a=2.0), news=lambda step, _: ("stranger", step.seconds) if step.seconds else None
    )

    assert trace.of("a") == pytest.approx(drive(waits("a"), done_after(a=2.0)).of("a"))


@pytest.mark.parametrize("at", range(1, 8))
def test_interruption_names_every_task_that_goes_on(at: int) -> None:
    """Wherever it strikes."""
    flow, stop, now = waits("a", "b"), KeyboardInterrupt(), 0.0
    step = next(flow)
    for _ in range(at):
        now += step.seconds if isinstance(step, Sleep) else 0.0
        moment = Timestamp(now, UNIX + now)
        sent = isinstance(step, SendRequest) and look(step.path.rpartition("/")[2], "processing")
        step = flow.send(dataclasses.replace(sent, at=moment) if sent else Resumed(moment))
    with pytest.raises(KeyboardInterrupt):
        flow.throw(stop)

    notes = "".join(stop.__notes__)
    assert "client.wait('a')" in notes
    assert "client.wait('b')" in notes


@given(st.dictionaries(st.sampled_from("abcdefgh"), st.floats(0, 100), min_size=1), st.floats(0, 2))
def test_every_task_ends_once(ends: dict[str, float], took: float) -> None:
    """No look after the end, and none is forgotten."""
    trace = drive(waits(*ends, timeout=None), done_after(**ends), took=took)

    assert [task.id for task in trace.result] == list(ends)
    for task_id, end in ends.items():
        moments = trace.of(task_id)
        assert sum(moment >= end for moment in moments) == 1
        assert moments == sorted(moments)
