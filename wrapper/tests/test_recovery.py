"""What became of a submission without an answer: found, absent or unclear, and never a guess."""

import pickle
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from unitask import Outcome, Output, Recovery, Timestamp, errors
from unitask._core import flows, recovery
from unitask._core.effects import Flow, Response, SendRequest, TransportFailure

from .script import (
    CUT_OFF,
    GATEWAY,
    MODEL,
    RESEND,
    TASK_ID,
    TASK_TYPE,
    UNIX,
    Played,
    answer,
    history_page,
    limits,
    play,
    refused,
    task_data,
)

CLIENT = recovery.ClientIdentity()
FOUND, ABSENT, UNCLEAR = Outcome.FOUND, Outcome.ABSENT, Outcome.UNCLEAR
INPUT = {"prompt": "a red fox", "steps": 4, "image": "https://me.test/a.jpg"}
BODY = {"model": MODEL, "task_type": TASK_TYPE, "input": INPUT}
HOOK = "https://me.test/hook?user=7"
MARKED = recovery.with_correlation_id({**BODY, "config": {"webhook_config": {"endpoint": HOOK}}}, "abc123")
LEGACY = {"model": "legacy", "task_type": "mj_v2_imagine", "input": {"prompt": "a red fox"}}
LATE = recovery.SETTLED + 2.0  # seconds after the submission, when a history without it means something
FULL = [f"t{number}" for number in range(100)]


def uncertain(body: dict[str, Any] = MARKED, ago: float = 0.0) -> errors.SubmissionUncertain:
    """The error of a submission without an answer, so many seconds ago on all clocks."""
    error = play(flows.submit(body, Output, RESEND), CUT_OFF).error
    assert isinstance(error, errors.SubmissionUncertain)
    start, end = (moment - timedelta(seconds=ago) for moment in error.sent_between)
    sent = error.identity.sent
    assert sent
    earlier = [Timestamp(moment.monotonic - ago, moment.unix - ago) for moment in (sent.start, sent.end)]
    error.sent_between = start, end
    error.identity = replace(error.identity, sent=sent._replace(start=earlier[0], end=earlier[1]))
    return error


def rows(*found: dict[str, Any], total: int | None = None) -> Response:
    """A page of the history."""
    return history_page(*found, total=len(found) if total is None else total)


def history(*task_ids: str, total: int | None = None) -> Response:
    """A page of the history with these tasks."""
    return rows(*({"task_id": task_id, "detail": {}} for task_id in task_ids), total=total)


def task(task_id: str = TASK_ID, **fields: Any) -> Response:
    """The answer to a poll of a task of the history."""
    data = {**task_data("processing"), "task_id": task_id, **fields}
    return answer(200, {"code": 200, "data": data, "message": "success"})


def with_hook(endpoint: str, task_id: str = TASK_ID) -> Response:
    return task(task_id, input=INPUT, config={"webhook_config": {"endpoint": endpoint}})


def search(
    *pages: Any,  # of the history of that time; the last one repeats
    newest: Any = None,  # the first page of the history of all times, if it is another one
    polled: Any = None,  # the answer to the poll of a task, or a function of its id; None: it has another model
    own: tuple[str, ...] = (),  # ids of tasks of other submissions
    body: dict[str, Any] = MARKED,
    named: str | None = None,  # the id that an answer to the submission named
    **identity: Any,  # what its error has instead
) -> Recovery:
    """Read the history once, so late that it has settled."""
    error = uncertain(body, LATE)
    error.task_id, error.identity = named, replace(error.identity, **identity)

    def respond(step: SendRequest) -> Any:
        if "page" in step.params:
            page = pages[min(int(step.params["page"]), len(pages)) - 1]
            return newest if newest and "start_time" not in step.params else page
        task_id = step.path.rpartition("/")[2]
        return polled(task_id) if callable(polled) else polled or task(task_id, model="kling")

    flow = recovery.find(error, dict.fromkeys(own, "another"), limits(timeout=0.0), CLIENT)
    result = play(flow, respond, dated=True).result
    assert isinstance(result, Recovery)
    return result


OURS = with_hook(f"{HOOK}&unitask=abc123")
POLLED: dict[str, tuple[Any, Outcome]] = {  # the answer to the poll of the one task in the history
    "our id": (OURS, FOUND),
    "another id": (with_hook(f"{HOOK}&unitask=other"), ABSENT),
    "our id cut short": (with_hook(f"{HOOK}&unitask=abc"), UNCLEAR),
    "a hidden id": (with_hook(f"{HOOK}&unitask=***"), UNCLEAR),
    "our id and another": (with_hook(f"{HOOK}&unitask=abc123&unitask=other"), UNCLEAR),
    "no id in the query": (with_hook(HOOK), UNCLEAR),
    "another model": (task(input=INPUT, model="kling"), ABSENT),
    "another task type": (task(input=INPUT, task_type="txt2img"), ABSENT),
    "another spelling": (task(input=INPUT, model="QUBICO/image_toolkit"), UNCLEAR),
    "a part of the model": (task(input=INPUT, model="toolkit"), UNCLEAR),
    "an unknown model": (task(input=INPUT, model="a new name"), UNCLEAR),
    "another input": (task(input={"prompt": "a blue cat"}), UNCLEAR),  # the provider may have rewritten it
    "no input": (task(input={}), UNCLEAR),
    "404": (refused(404), UNCLEAR),
    "a gateway": (GATEWAY, UNCLEAR),
    "another task": (task("another id"), UNCLEAR),
}
ROWS: dict[str, tuple[dict[str, Any], Outcome]] = {  # the row of our task
    "of another model": ({"task_id": TASK_ID, "detail": {"model": "b", "workflow_type": "b"}}, FOUND),
    "id": ({"id": TASK_ID}, FOUND),
    "id in detail": ({"id": 7, "detail": {"task_id": TASK_ID}}, FOUND),
    "no id": ({"id": 7}, UNCLEAR),
    "two ids": ({"task_id": TASK_ID, "detail": {"task_id": "b"}}, UNCLEAR),
    "a blank id": ({"task_id": " "}, UNCLEAR),
}
CREATED = {"task_id": TASK_ID, "created_at": Timestamp(0.0, UNIX - LATE).utc.isoformat()}
LATER = {"task_id": TASK_ID, "created_at": Timestamp(0.0, UNIX + 3600.0).utc.isoformat()}
PAGES: dict[str, tuple[list[Any], Outcome]] = {  # a history without our task
    "nothing": ([history()], ABSENT),
    "own tasks": ([history("a", total=2), history("b", total=2)], ABSENT),
    "others": ([history("x", "y", total=3), history("z", total=3)], ABSENT),
    "401": ([refused(401)], UNCLEAR),
    "no answer": ([CUT_OFF], UNCLEAR),
    "a gateway": ([GATEWAY], UNCLEAR),
    "empty pages": ([history(total=7)], UNCLEAR),
    "a round total and a task more": ([history(*FULL, total=100), history("late", total=100)], UNCLEAR),
    "a smaller total": ([history(*FULL, total=100), history("late", total=1)], UNCLEAR),
    "a task is missing": ([history("x", total=3), history("y", total=3), history(total=3)], UNCLEAR),
    "more tasks than the total": ([history("x", total=0)], UNCLEAR),
    "no total": ([answer(200, {"code": 200, "data": {"data": []}})], UNCLEAR),
    "code 500": ([answer(200, {"code": 500, "data": {"data": [], "total": 0}})], UNCLEAR),
    "cut off": ([answer(200, b'{"code": 200, "data": {"data": [], "total": 0}} <!-- cut -->')], UNCLEAR),
    "the same page again": ([history(*FULL, total=100)], UNCLEAR),
    "the same page again, and a larger total": ([history(*FULL, total=300)], UNCLEAR),
    "no date": ([replace(history(), headers={"date": ""})], UNCLEAR),
    "the epoch": ([replace(history(), headers={"date": "Thu, 01 Jan 1970 00:00:00 GMT"})], UNCLEAR),
    "a cached page": ([replace(history(), headers={"age": "90"})], UNCLEAR),
}


@pytest.mark.parametrize(("polled", "outcome"), POLLED.values(), ids=POLLED)
def test_outcome_of_a_task_in_the_history(polled: Any, outcome: Outcome) -> None:
    found = search(history(TASK_ID), polled=polled)

    assert (found.outcome, found.task is not None) == (outcome, outcome is FOUND)
    assert found.reason


@pytest.mark.parametrize(("row", "outcome"), ROWS.values(), ids=ROWS)
def test_outcome_of_a_row(row: dict[str, Any], outcome: Outcome) -> None:
    assert search(rows(row), polled=OURS).outcome is outcome


@pytest.mark.parametrize(("pages", "outcome"), PAGES.values(), ids=PAGES)
def test_outcome_of_a_history_without_the_task(pages: list[Any], outcome: Outcome) -> None:
    found = search(*pages, own=("a", "b"))

    assert (found.outcome, found.task) == (outcome, None)


def test_task_of_another_submission_is_not_a_candidate() -> None:
    twin = task(input=INPUT)

    assert search(history(TASK_ID), polled=twin).outcome is UNCLEAR
    assert search(history(TASK_ID), polled=twin, own=(TASK_ID,)).outcome is ABSENT


def test_history_of_all_times_is_read_too() -> None:
    assert search(history(), newest=rows(CREATED), polled=OURS).outcome is FOUND
    assert search(history(), newest=rows(LATER)).outcome is UNCLEAR  # of another clock
    assert search(history(), newest=GATEWAY).outcome is UNCLEAR


def test_what_proves_nothing_is_unclear() -> None:
    id_of_the_caller = search(history(TASK_ID), polled=OURS, submission="0123456789abcdef")

    assert id_of_the_caller.outcome is UNCLEAR
    assert [each.id for each in id_of_the_caller.candidates] == [TASK_ID]
    assert search(history(), account="another key or base_url").outcome is UNCLEAR
    assert search(history(), named="a-task", polled=refused(404)).outcome is UNCLEAR


def test_tasks_with_the_same_input_are_candidates_and_come_first() -> None:
    inputs = {"a": {}, "b": INPUT}
    found = search(history("a", "b"), polled=lambda name: task(name, input=inputs[name]), body=BODY)

    assert found.outcome is UNCLEAR
    assert [each.id for each in found.candidates] == ["b", "a"]
    assert "tasks with this input: 1;" in found.reason


def test_named_task_is_polled_first_by_its_own_protocol() -> None:
    error, legacy = uncertain(BODY), uncertain(LEGACY)
    error.task_id = legacy.task_id = TASK_ID
    played = play(recovery.find(error, {}, limits(timeout=0.0), CLIENT), task(input=None))
    shown = answer(200, {"task_id": TASK_ID, "status": "processing"})
    legacy_played = play(recovery.find(legacy, {}, limits(timeout=0.0), CLIENT), shown)

    assert played.result.outcome is legacy_played.result.outcome is FOUND
    assert TASK_ID in played.result.reason
    assert played.sent == ["GET"]
    assert [step.path for step in legacy_played.steps if isinstance(step, SendRequest)] == ["/mj/v2/fetch"]
    assert search(body=LEGACY).outcome is UNCLEAR


def find_now(*replies: Response | TransportFailure, timeout: float | None, took: float = 0.0) -> Played:
    """A search that begins right after the submission."""
    return play(recovery.find(uncertain(), {}, limits(timeout=timeout), CLIENT), *replies, took=took, dated=True)


def test_history_is_read_again_until_the_task_is_there_or_it_has_settled() -> None:
    absent = find_now(history(), timeout=None)
    found = find_now(history(), history(TASK_ID), OURS, timeout=None)
    send = next(step for step in absent.steps if isinstance(step, SendRequest))

    assert (send.method, send.path) == ("GET", "/api/open/tasks/histories")
    assert send.params == {"page": 1, "page_size": 100, "start_time": int(UNIX) - 360, "end_time": int(UNIX) + 360}
    assert absent.result.outcome is ABSENT
    assert absent.ended_at == pytest.approx(recovery.SETTLED + 1)
    assert absent.sleeps == [recovery.PAUSE] * 6 + [1.0]
    assert (found.result.outcome, found.sleeps) == (FOUND, [recovery.PAUSE])


def test_search_ends_when_time_is_up() -> None:
    short = find_now(history(), timeout=25.0)
    hanging = find_now(history(*FULL, total=100), *[history()] * 3, timeout=0.0, took=19.0)

    assert short.result.outcome is hanging.result.outcome is UNCLEAR
    assert short.sleeps == [10.0, 10.0, 5.0]
    assert "again in 36 s" in short.result.reason
    assert hanging.ended_at < recovery.LONGEST_READING + 60.0


def test_error_holds_nothing_of_the_content_and_finds_in_another_process() -> None:
    error = uncertain()
    pickled = pickle.dumps(error)
    elsewhere = recovery.ClientIdentity("another")
    flow: Flow[Recovery] = recovery.find(pickle.loads(pickled), {}, limits(timeout=0.0), elsewhere)
    shown = repr(error) + str(error) + repr(vars(error)) + repr(pickled)

    assert not [part for part in ("red fox", "me.test") if part in shown]
    assert play(flow, history(TASK_ID), OURS).result.outcome is FOUND
