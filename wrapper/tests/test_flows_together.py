"""Many waits in one flow: each is polled as if it were alone, and the failure of one does not end another."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unitask import Output, Task, errors
from unitask._core import flows
from unitask._core.effects import Flow, Reply, Response, Resumed, SendRequest, Sleep, Step, TaskUpdated

from .script import AT_SOME_TIME, CUT_OFF, Played, drive, limits, play, refused, seen

Found = Reply | BaseException


def done_after(**seconds: float) -> Callable[[str, float], Response]:
    """A provider whose tasks are completed after this many seconds."""
    return lambda task_id, now: seen("completed" if now >= seconds[task_id] else "processing", task_id=task_id)


def waits(*task_ids: str, **changes: Any) -> Flow[list[Task[Output] | errors.UnitaskError]]:
    """Wait for tasks of different kinds, so that the end of one does not change the polls of another."""
    shared = limits(**changes)
    one_by_one = [(each, flows.wait(each, Output, f"kind {each}", shared)) for each in task_ids]
    return flows.together(one_by_one, shared.timeout)


def polls_of(task_id: str, played: Played) -> list[float]:
    """Return when a task was polled."""
    steps = zip(played.steps, played.begun_at, strict=True)
    return [moment for step, moment in steps if isinstance(step, SendRequest) and step.path.endswith(f"/{task_id}")]


def run(
    flow: Flow[Any],
    answers: Callable[[str, float], Found],
    took: float | Callable[[str, float], float] = 0.0,
    notify: Callable[[Sleep, float], tuple[str, float] | None] = lambda *_: None,
) -> Played:
    """Drive a flow over a provider whose answers depend on the task and the time."""

    def respond(step: Step, now: float) -> tuple[Reply | BaseException | None, float]:
        if isinstance(step, SendRequest):
            task_id = step.path.rpartition("/")[2]
            return answers(task_id, now), took(task_id, step.timeout or 0.0) if callable(took) else took
        if not isinstance(step, Sleep):
            return None, 0.0
        heard = notify(step, now) if step.seconds else None
        return (Resumed(AT_SOME_TIME, heard[0]), heard[1]) if heard else (None, step.seconds)

    return drive(flow, respond)


def test_each_task_is_polled_and_reported_as_if_alone() -> None:
    ends = {"a": 30.0, "b": 3.0, "c": 9.0}
    played = run(waits(*ends), done_after(**ends))

    for task_id in ends:
        assert polls_of(task_id, played) == pytest.approx(polls_of(task_id, run(waits(task_id), done_after(**ends))))
    assert played.ended_at == pytest.approx(max(polls_of("a", played)))
    assert [step.seconds > 0 for step in played.steps if isinstance(step, Sleep)].count(False) == 1  # the first
    changes = [(step.task.id, step.task.status) for step in played.steps if isinstance(step, TaskUpdated)]
    assert changes == [*((name, "processing") for name in "abc"), *((name, "completed") for name in "bca")]


def test_failure_of_one_is_its_result() -> None:
    broken = MemoryError("too large")

    def answers(task_id: str, _: float) -> Found:
        return {
            "failed": seen("failed", task_id="failed", error={"message": "no face found"}),
            "gone": refused(404),
            "silent": CUT_OFF,
            "slow": seen("processing", task_id="slow"),
            "broken": broken,
        }.get(task_id) or seen("completed", task_id=task_id)

    *found, good = run(waits("failed", "gone", "silent", "slow", "broken", "good", timeout=60.0), answers).result

    kinds = [errors.NoFaceFound, errors.NotFound, errors.Unreachable, errors.WaitTimeout, errors.Unreachable]
    assert [isinstance(end, kind) for end, kind in zip(found, kinds, strict=True)] == [True] * 5
    assert [error.task_id for error in found] == ["failed", "gone", "silent", "slow", "broken"]
    assert good.id == "good"
    assert found[-1].__cause__ is broken
    assert "client.wait" in found[-1].next_step
    reason = "the wait for task broken ended with MemoryError, the cause of this error"
    assert str(found[-1]) == f"{reason}. client.wait('broken') waits for it again"


def test_requests_without_an_answer_take_the_time_of_no_other_wait() -> None:
    names = [*(f"drips-{number}" for number in range(40)), "good"]

    played = run(
        waits(*names, timeout=2.0),
        lambda task_id, _: seen("completed", task_id="good") if task_id == "good" else CUT_OFF,
        took=lambda task_id, allowed: 0.05 if task_id == "good" else allowed,
    )

    assert played.ended_at <= 2.0 + 2.0 + 0.1 * len(names)
    assert played.result[-1].id == "good"
    assert {type(end) for end in played.result[:-1]} == {errors.WaitTimeout}


@pytest.mark.parametrize(
    ("left", "slow", "others_due", "asked", "given"),
    [
        (20.0, 0, True, 20.0, 10.0),  # half of the time that is left
        (100.0, 2, True, 40.0, 10.0),  # halved for each slow one
        (100.0, 9, True, 20.0, 5.0),
        (100.0, 0, True, 3.0, 3.0),
        (1.0, 1, True, 20.0, 1.0),
        (10.0, 0, False, 20.0, 20.0),
        (1.0, 0, False, 20.0, 20.0),
        (0.0, 2, False, 20.0, 0.25),  # at the deadline
        (-1.0, 9, True, 20.0, 0.1),
    ],
)
def test_time_of_a_request(left: float, slow: int, others_due: bool, asked: float, given: float) -> None:
    calls = flows._Calls(left, slow, others_due)

    assert calls.bounded(SendRequest("GET", "/", timeout=asked), AT_SOME_TIME).timeout == given


@pytest.mark.parametrize(
    ("reply", "took", "before", "after"),
    [
        (seen("pending", task_id="a"), 20.0, 1, 0),
        (seen("pending", task_id="a"), 20.0, 3, 2),
        (CUT_OFF, 10.0, 0, 1),
        (CUT_OFF, 9.9, 1, 1),
        (dataclasses.replace(seen("pending", task_id="a"), broken="reset"), 20.0, 10, 10),
    ],
)
def test_unanswered_request_of_half_its_time_counts_as_slow(reply: Reply, took: float, before: int, after: int) -> None:
    calls = flows._Calls(100.0, before)
    calls.note(SendRequest("GET", "/", timeout=20.0), reply, took)

    assert calls.slow == after


@pytest.mark.parametrize(("timeout", "given"), [(40.0, [20, 10, 10, 10, 20]), (100.0, [20, 10, 20, 20, 20])])
def test_requests_are_limited_while_others_are_due_and_after_a_slow_one(timeout: float, given: list[float]) -> None:
    def answers(task_id: str, _: float) -> Found:
        return CUT_OFF if task_id in ("slow", "down") else seen("completed", task_id=task_id)

    played = run(
        waits("slow", "good", "down", "next", "last", timeout=timeout),
        answers,
        took=lambda task_id, allowed: allowed if task_id == "slow" else 0.0,
    )

    assert played.timeouts[:5] == given


def test_sleep_waits_for_notifications_of_all_that_still_run() -> None:
    waited_for: list[set[str]] = []
    run(waits("a", "b"), done_after(a=5, b=50), notify=lambda sleep, _: waited_for.append({*sleep.notification_of}))

    assert (waited_for[0], waited_for[-1]) == ({"a", "b"}, {"b"})


def test_notification_of_one_polls_that_one_now() -> None:
    played = run(waits("a", "b"), done_after(a=20.0, b=0.2), notify=lambda _, now: ("b", 0.25) if now == 0 else None)

    assert polls_of("b", played) == [0.0, 0.25]
    assert polls_of("a", played) == pytest.approx(polls_of("a", run(waits("a"), done_after(a=20.0))))


@pytest.mark.parametrize("at", range(1, 8))
def test_interruption_names_every_task_that_goes_on(at: int) -> None:
    stop = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        play(waits("a", "b"), seen("processing", task_id="a"), seen("processing", task_id="b"), interrupted=(at, stop))

    notes = "".join(stop.__notes__)
    assert "client.wait('a')" in notes
    assert "client.wait('b')" in notes


@given(st.dictionaries(st.sampled_from("abcdefgh"), st.floats(0, 100), min_size=1), st.floats(0, 2))
def test_every_task_ends_once(ends: dict[str, float], took: float) -> None:
    assert run(waits(), done_after()).result == []
    played = run(waits(*ends, timeout=None), done_after(**ends), took=took)

    assert [task.id for task in played.result] == list(ends)
    for task_id, end in ends.items():
        moments = polls_of(task_id, played)
        assert sum(moment >= end for moment in moments) == 1
        assert moments == sorted(moments)


def test_stop_iteration_of_the_callers_function_is_no_result() -> None:
    def respond(step: Step, _: float) -> tuple[Reply | BaseException | None, float]:
        if isinstance(step, SendRequest):
            return seen("completed", task_id="a"), 0.0
        return (StopIteration() if isinstance(step, TaskUpdated) else None), 0.0

    with pytest.raises(RuntimeError, match="StopIteration"):
        drive(waits("a"), respond)
