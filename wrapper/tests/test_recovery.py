"""What became of a create that brought no answer: found, absent or unclear, and never a guess."""

from __future__ import annotations

import pickle
from dataclasses import replace
from datetime import timedelta
from email.utils import formatdate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unitask import Outcome, Output, Recovery, errors
from unitask._core import flows, recovery
from unitask._core.effects import Flow, Response, Resumed, SendRequest, TransportFailure
from unitask._model.timestamp import Timestamp

from .script import (
    CUT_OFF,
    GATEWAY,
    MODEL,
    RESEND,
    TASK_ID,
    TASK_TYPE,
    TICKS,
    UNIX,
    Played,
    answer,
    limits,
    play,
    refused,
    task_data,
)

INPUT = {"prompt": "a red fox", "steps": 4, "image": "https://me.test/a.jpg"}
BODY = {"model": MODEL, "task_type": TASK_TYPE, "input": INPUT}
WEBHOOK = {"webhook_config": {"endpoint": "https://me.test/hook?user=7"}}
MARKED = recovery.with_correlation_id({**BODY, "config": WEBHOOK}, "abc123")
LEGACY = {"model": "legacy", "task_type": "mj_v2_imagine", "input": {"prompt": "a red fox"}}
LATE = recovery.SETTLED + 2.0  # seconds after the create, when a history without it means something


def uncertain(body: dict[str, Any] | None = None) -> errors.SubmissionUncertain:
    """The error of a create that brought no answer."""
    error = play(flows.submit(body or BODY, Output, RESEND), CUT_OFF).error
    assert isinstance(error, errors.SubmissionUncertain)
    return error


def history(*task_ids: str, total: int | None = None, **detail: str) -> Response:
    """A page of the history with these tasks."""
    rows = [{"task_id": task_id, "detail": detail} for task_id in task_ids]
    page = {"data": rows, "page": 1, "size": 100, "total": len(rows) if total is None else total}
    return answer(200, {"code": 200, "data": page, "message": "success"})


def look(task_id: str = TASK_ID, **fields: Any) -> Response:
    """A look at a task of the history."""
    data = {**task_data("processing"), "task_id": task_id, **fields}
    return answer(200, {"code": 200, "data": data, "message": "success"})


def search(
    *replies: Response | TransportFailure, body: dict[str, Any] | None = None, own: tuple[str, ...] = ()
) -> Recovery:
    """Look once, so late that the history has settled."""
    error = uncertain(body)
    put_back(error, LATE)
    result = play(recovery.find(error, dict.fromkeys(own, "another"), limits(timeout=0.0)), *replies, dated=True).result
    assert isinstance(result, Recovery)
    return result


def put_back(error: errors.SubmissionUncertain, seconds: float) -> None:
    """Let the create have been so long ago, on all clocks."""
    start, end = (moment - timedelta(seconds=seconds) for moment in error.sent_between)
    sent = error.identity.sent
    assert sent
    earlier = [Timestamp(moment.monotonic - seconds, moment.unix - seconds) for moment in (sent.start, sent.end)]
    error.sent_between = start, end
    error.identity = replace(error.identity, sent=sent._replace(start=earlier[0], end=earlier[1]))


# ---- the mark


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        ("https://me.test/hook?user=7", "https://me.test/hook?user=7&unitask=m"),
        ("https://me.test", "https://me.test?unitask=m"),
        ("https://me.test/a?b=%2F#part", "https://me.test/a?b=%2F&unitask=m#part"),
    ],
)
def test_mark_is_put_into_the_query_of_the_webhook_alone(endpoint: str, expected: str) -> None:
    body = {**BODY, "config": {"webhook_config": {"endpoint": endpoint}, "service_mode": "public"}}
    marked = recovery.with_correlation_id(body, "m")

    assert marked["config"] == {"webhook_config": {"endpoint": expected}, "service_mode": "public"}
    assert marked["input"] is INPUT
    assert body["config"]["webhook_config"] == {"endpoint": endpoint}
    for config in (None, {"webhook_config": {}}, {"webhook_config": {"endpoint": ""}}):
        without = {**BODY, "config": config}
        assert recovery.with_correlation_id(without, "m") is without


# ---- found


@pytest.mark.parametrize(
    ("endpoint", "outcome"),
    [
        ("https://me.test/hook?user=7&unitask=abc123", Outcome.FOUND),
        ("https://me.test/hook?user=7&unitask=other", Outcome.ABSENT),
        ("https://me.test/hook?user=7&unitask=abc", Outcome.UNCLEAR),
        ("https://me.test/hook?user=7&unitask=***", Outcome.UNCLEAR),
        ("https://me.test/hook?unitask=abc123&unitask=other", Outcome.UNCLEAR),
        ("https://me.test/hook?user=7", Outcome.UNCLEAR),
    ],
    ids=["ours", "another", "cut short", "hidden", "ours and another", "none"],
)
def test_only_another_whole_mark_says_that_a_task_is_another(endpoint: str, outcome: Outcome) -> None:
    twin = look("twin", input=INPUT, config={"webhook_config": {"endpoint": endpoint}})

    found = search(history("twin"), twin, history(), body=MARKED)

    assert found.outcome is outcome
    assert outcome is not Outcome.FOUND or found.reason == "task twin has the correlation id of this submission"


def test_mark_that_the_caller_put_in_the_address_is_no_proof() -> None:
    error = uncertain(MARKED)
    error.identity = replace(error.identity, submission="0123456789abcdef")
    task = look(config=MARKED["config"])
    found = play(recovery.find(error, {}, limits(timeout=0.0)), history(TASK_ID), task, dated=True).result

    assert found.outcome is Outcome.UNCLEAR
    assert [task.id for task in found.candidates] == [TASK_ID]


def test_named_task_is_polled_first_by_its_own_protocol() -> None:
    error, legacy = uncertain(), uncertain(LEGACY)
    unnamed = search(body=LEGACY)
    error.task_id = legacy.task_id = TASK_ID
    played = play(recovery.find(error, {}, limits(timeout=0.0)), look(input=None))
    shown = answer(200, {"task_id": TASK_ID, "status": "processing"})
    legacy_played = play(recovery.find(legacy, {}, limits(timeout=0.0)), shown)

    assert played.result.outcome is legacy_played.result.outcome is Outcome.FOUND
    assert played.result.reason == f"an answer to the submission named task {TASK_ID}"
    assert played.sent == ["GET"]
    assert [step.path for step in legacy_played.steps if isinstance(step, SendRequest)] == ["/mj/v2/fetch"]
    assert unnamed.outcome is Outcome.UNCLEAR
    assert unnamed.reason == "how the task history lists a task of the legacy endpoints is not documented"


# ---- absent


@pytest.mark.parametrize(
    ("fields", "outcome"),
    [
        ({"model": "kling"}, Outcome.ABSENT),
        ({"task_type": "txt2img"}, Outcome.ABSENT),
        *(({"model": alias}, Outcome.UNCLEAR) for alias in ("QUBICO/image_toolkit", "toolkit", "a new name")),
    ],
)
def test_task_of_another_model_or_task_type_is_another(fields: dict[str, Any], outcome: Outcome) -> None:
    others = [look(task_id, input=INPUT, **fields) for task_id in ("x", "y", "z")]
    found = search(history("x", "y", "own", total=4), history("z", total=4), *others, history(), own=("own",))

    assert found.outcome is outcome
    assert found.task is None
    assert outcome is Outcome.UNCLEAR or found.reason == "each of the 4 tasks of that time is another one"
    assert search(history()).outcome is Outcome.ABSENT


@pytest.mark.parametrize(
    ("row", "outcome"),
    [
        ({"task_id": TASK_ID, "detail": {"model": "another", "workflow_type": "another"}}, Outcome.FOUND),
        ({"id": TASK_ID}, Outcome.FOUND),
        ({"id": 7, "detail": {"task_id": TASK_ID}}, Outcome.FOUND),
        ({"id": 7}, Outcome.UNCLEAR),
        ({"task_id": TASK_ID, "detail": {"task_id": "b"}}, Outcome.UNCLEAR),
        ({"task_id": " "}, Outcome.UNCLEAR),
    ],
)
def test_row_without_the_usual_id_is_not_passed_over(row: dict[str, Any], outcome: Outcome) -> None:
    page = answer(200, {"code": 200, "data": {"data": [row], "total": 1}})
    found = search(page, look(config=MARKED["config"]), history(), body=MARKED)

    assert found.outcome is outcome
    assert outcome is Outcome.FOUND or "could not be polled: 1" in found.reason


# ---- unclear


def test_task_with_this_input_is_unclear() -> None:
    found = search(history("a", "b"), look("a", input={}), look("b", input=INPUT))

    assert found.outcome is Outcome.UNCLEAR
    assert [task.id for task in found.candidates] == ["b", "a"]
    assert found.reason == (
        "tasks with this input: 1; another submission can have had it too; tasks that may or may not be the one: 1"
    )


FULL = [f"t{number}" for number in range(100)]


@pytest.mark.parametrize(
    ("replies", "words"),
    [
        *(
            ([history("x"), trouble], "could not be polled: 1")
            for trouble in (refused(404), look("another id"), GATEWAY)
        ),
        *(
            ([trouble], "the task history cannot be read")
            for trouble in (refused(401), CUT_OFF, answer(200, b"<html>"))
        ),
        ([history(total=7)], "the history has 7 tasks of that time, and its pages bring 0"),
        ([history(*FULL, total=100), history("late", total=100)], "the history has 100 tasks of that time"),
        ([history(*FULL, total=100), history("late", total=1)], "could not be polled"),
        ([history("a", total=3), history("b", total=3), history(total=3)], "the history has 3 tasks of that time"),
        ([history("a", total=0)], "its pages bring 1"),
        ([answer(200, {"code": 200, "data": {"data": []}})], "does not say how many"),
        ([answer(200, {"code": 500, "data": {"data": [], "total": 0}})], "code 500 came in place of a page"),
        ([answer(200, b'{"code": 200, "data": {"data": [], "total": 0}} <!-- cut -->')], "no page of the history"),
        ([history(*FULL, total=100)], "page after page of the history brings the same 100 tasks"),
        ([history(*FULL, total=300)], "and page after page brings the same 100"),
    ],
)
def test_history_that_does_not_add_up_is_unclear(replies: list[Response | TransportFailure], words: str) -> None:
    found = search(*replies, own=("a", "b", *FULL))

    assert found.outcome is Outcome.UNCLEAR
    assert words in found.reason


@pytest.mark.parametrize(("apart", "outcome"), [(-LATE, Outcome.FOUND), (3600.0, Outcome.UNCLEAR)])
def test_row_that_only_the_history_of_all_times_lists_counts_if_its_clock_is_that_of_the_date(
    apart: float, outcome: Outcome
) -> None:
    created = Timestamp(0.0, UNIX + apart).utc.isoformat()
    all_times = answer(200, {"code": 200, "data": {"data": [{"task_id": TASK_ID, "created_at": created}], "total": 1}})
    found = search(history(), all_times, look(config=MARKED["config"]), body=MARKED)

    assert found.outcome is outcome
    assert outcome is Outcome.FOUND or "are not those of the provider's Date header" in found.reason


# ---- clocks


@pytest.mark.parametrize(
    "headers",
    [{}, {"date": "Thu, 01 Jan 1970 00:00:00 GMT"}, {"date": formatdate(UNIX, usegmt=True), "age": "90"}],
    ids=str,
)
def test_history_without_a_time_is_unclear(headers: dict[str, str]) -> None:
    error = uncertain()
    put_back(error, LATE)
    found = play(recovery.find(error, {}, limits(timeout=0.0)), replace(history(), headers=headers)).result

    assert found.outcome is Outcome.UNCLEAR
    assert "have no Date header" in found.reason


# ---- how it is asked


def played(*replies: Response | TransportFailure, timeout: float | None, took: float = 0.0) -> Played:
    """A search that begins right after the create."""
    error = uncertain(MARKED)
    return play(recovery.find(error, {}, limits(timeout=timeout)), *replies, took=took, dated=True)


def test_history_is_read_again_until_the_task_is_there_or_it_has_settled() -> None:
    search = played(history(), timeout=None)
    found = played(history(), history(TASK_ID), look(config=MARKED["config"]), timeout=None)
    send = next(step for step in search.steps if isinstance(step, SendRequest))

    assert (send.method, send.path) == ("GET", "/api/open/tasks/histories")
    assert send.params == {"page": 1, "page_size": 100, "start_time": int(UNIX) - 360, "end_time": int(UNIX) + 360}
    assert search.result.outcome is Outcome.ABSENT
    assert search.ended_at == pytest.approx(recovery.SETTLED + 1)
    assert search.sleeps == [recovery.PAUSE] * 6 + [1.0]
    assert (found.result.outcome, found.sleeps) == (Outcome.FOUND, [recovery.PAUSE])


def test_search_ends_when_time_is_up() -> None:
    search = played(history(), timeout=25.0)
    hanging = played(history(*FULL, total=100), *[history()] * 3, timeout=0.0, took=19.0)

    assert search.result.outcome is hanging.result.outcome is Outcome.UNCLEAR
    assert search.sleeps == [10.0, 10.0, 5.0]
    assert "search again in 36 s" in search.result.reason
    assert hanging.ended_at < recovery.LONGEST_READING + 60.0


def test_search_ends_though_the_clocks_stand_still() -> None:
    flow, page = recovery.find(uncertain(), {}, limits(timeout=None)), history()
    now, step = Timestamp(TICKS, UNIX), next(flow)
    try:
        for _ in range(1000):
            step = flow.send(replace(page, at=now) if isinstance(step, SendRequest) else Resumed(now))
    except StopIteration as end:
        found = end.value

    assert found.outcome is Outcome.UNCLEAR


# ---- what the error carries


def test_error_holds_nothing_of_the_content_and_finds_in_another_process() -> None:
    error = uncertain(MARKED)
    pickled = pickle.dumps(error)
    shown = repr(error) + str(error) + repr(vars(error)) + repr(pickled)
    flow: Flow[Recovery] = recovery.find(
        pickle.loads(pickled), {}, limits(timeout=0.0), recovery.ClientIdentity("another")
    )
    found = play(flow, history(TASK_ID), look(config=MARKED["config"])).result

    assert "red fox" not in shown
    assert "me.test" not in shown
    assert error.identity.correlation_id == "abc123"
    assert found.outcome is Outcome.FOUND


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "prompt", "data"]), inner),
    max_leaves=6,
)


@given(body=json_values, task=st.dictionaries(st.sampled_from(["input", "config", "model", "status"]), json_values))
def test_any_history_ends_in_a_finding(body: Any, task: dict[str, Any]) -> None:
    found = search(answer(200, {"data": body}), look(**task))
    other = search(history(TASK_ID), look(**task))

    assert {type(found), type(other)} == {Recovery}
