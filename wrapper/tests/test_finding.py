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
    *replies: Response | TransportFailure,
    body: dict[str, Any] | None = None,
    own: tuple[str, ...] = (),
    timeout: float | None = 0.0,
    late: bool = True,
) -> Recovery:
    """Look once, by default so late that the history has settled."""
    error = uncertain(body)
    if late:
        put_back(error, LATE)
    result = play(recovery.find(error, own, limits(timeout=timeout)), *replies, dated=True).result
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


def test_legacy_create_is_unclear() -> None:
    """The history may list it under any name, so nothing in it, and nothing missing from it, says what became of it."""
    body = {"model": "legacy", "task_type": "mj_v2_imagine", "input": {"prompt": "a red fox"}}

    found = search(body=body)

    assert found.outcome is Outcome.UNCLEAR
    assert found.reason == "no page says how the task history lists a task of the legacy endpoints"


# ---- the mark


def test_mark_is_put_into_the_query_of_the_webhook_alone() -> None:
    """Whatever else is in the body stays, and the caller's own is not touched."""
    body = {**BODY, "config": {**WEBHOOK, "service_mode": "public"}}
    marked = recovery.with_correlation_id(body, "abc123")

    assert marked["config"] == {
        "webhook_config": {"endpoint": "https://me.test/hook?user=7&unitask=abc123"},
        "service_mode": "public",
    }
    assert marked["input"] is INPUT
    assert body["config"]["webhook_config"] == {"endpoint": "https://me.test/hook?user=7"}


@pytest.mark.parametrize(
    ("endpoint", "marked"),
    [
        ("https://me.test", "https://me.test?unitask=m"),
        ("https://me.test/a#part", "https://me.test/a?unitask=m#part"),
        ("https://me.test/a?b=%2F", "https://me.test/a?b=%2F&unitask=m"),
    ],
)
def test_mark_leaves_the_rest_of_the_address(endpoint: str, marked: str) -> None:
    """Escapes, fragments and paths."""
    body = recovery.with_correlation_id({**BODY, "config": {"webhook_config": {"endpoint": endpoint}}}, "m")

    assert body["config"]["webhook_config"]["endpoint"] == marked


@pytest.mark.parametrize("config", [None, {}, {"webhook_config": {}}, {"webhook_config": {"endpoint": ""}}])
def test_body_without_a_webhook_is_sent_as_it_is(config: Any) -> None:
    """There is nothing to put a mark into."""
    body = {**BODY, "config": config}

    assert recovery.with_correlation_id(body, "m") is body


# ---- found


def test_task_with_the_mark_is_the_one() -> None:
    """Even if another task of that time has the same input."""
    twin = look("twin", input=INPUT, config=recovery.with_correlation_id({"config": WEBHOOK}, "other")["config"])
    mine = look(config=MARKED["config"])
    found = search(history("twin", TASK_ID), twin, mine, body=MARKED)

    assert found.outcome is Outcome.FOUND
    assert found.task is not None
    assert found.task.id == TASK_ID
    assert found.reason == f"task {TASK_ID} carries the mark of this create"


@pytest.mark.parametrize(
    ("endpoint", "outcome"),
    [
        ("https://me.test/hook?user=7&unitask=other", Outcome.ABSENT),
        ("https://me.test/hook?user=7&unitask=abc", Outcome.UNCLEAR),
        ("https://me.test/hook?user=7&unitask=***", Outcome.UNCLEAR),
        ("https://me.test/hook?unitask=abc123&unitask=other", Outcome.UNCLEAR),
        ("https://me.test/hook?user=7", Outcome.UNCLEAR),
    ],
    ids=["another", "cut short", "hidden", "ours and another", "none"],
)
def test_only_another_whole_mark_says_that_a_task_is_another(endpoint: str, outcome: Outcome) -> None:
    """However alike they are; the provider may rewrite the address."""
    twin = look("twin", input=INPUT, config={"webhook_config": {"endpoint": endpoint}})

    assert search(history("twin"), twin, history(), body=MARKED).outcome is outcome


def test_mark_that_the_caller_put_in_the_address_is_no_proof() -> None:
    """Each of his creates can have the same; the client made none (`mark_webhooks=False`)."""
    error = uncertain(MARKED)
    error.identity = recovery.with_client(error.identity, "0123456789abcdef", recovery.ANONYMOUS, None)
    task = look(config=MARKED["config"])
    found = play(recovery.find(error, (), limits(timeout=0.0)), history(TASK_ID), task, dated=True).result

    assert found.outcome is Outcome.UNCLEAR
    assert [task.id for task in found.candidates] == [TASK_ID]


def test_named_task_is_looked_at_first() -> None:
    """A damaged answer to the create told its id; the history is not needed."""
    error = uncertain()
    error.task_id = TASK_ID
    played = play(recovery.find(error, (), limits(timeout=0.0)), look(input=None))

    assert played.result.outcome is Outcome.FOUND
    assert played.result.reason == f"an answer to the create named task {TASK_ID}"
    assert played.sent == ["GET"]


@pytest.mark.parametrize(
    ("replies", "own"),
    [([refused(404)], ()), ([look(model="kling")], ()), ([], (TASK_ID,))],
    ids=["not there", "another task", "of another create"],
)
def test_create_with_a_named_task_is_never_absent(replies: list[Response], own: tuple[str, ...]) -> None:
    """It was accepted, or the answer was of another request."""
    error = uncertain()
    put_back(error, LATE)
    error.task_id = TASK_ID
    found = play(recovery.find(error, own, limits(timeout=0.0)), *replies, history(), dated=True).result

    assert found.outcome is Outcome.UNCLEAR
    assert f"an answer to the create named task {TASK_ID}" in found.reason


def test_named_legacy_task_is_found() -> None:
    """By its own endpoint, which is the only one that knows it."""
    error = uncertain({"model": "legacy", "task_type": "mj_v2_imagine", "input": {"prompt": "a red fox"}})
    error.task_id = TASK_ID
    shown = answer(200, {"task_id": TASK_ID, "status": "processing"})
    played = play(recovery.find(error, (), limits(timeout=0.0)), shown)

    assert played.result.outcome is Outcome.FOUND
    assert [step.path for step in played.steps if isinstance(step, SendRequest)] == ["/mj/v2/fetch"]


# ---- absent


@pytest.mark.parametrize(
    "other",
    [look("x", input=INPUT, model="kling"), look("x", input=INPUT, task_type="txt2img")],
    ids=["other model", "other task type"],
)
def test_history_without_the_task_says_absent(other: Response) -> None:
    """It may be created again."""
    found = search(history("x"), other, history())

    assert found.outcome is Outcome.ABSENT
    assert found.reason == "none of the 1 tasks of that time is the one"
    assert found.task is None


def test_all_tasks_of_that_time_are_counted() -> None:
    """On every page."""
    others = [look(task_id, model="kling") for task_id in ("x", "y", "z")]
    found = search(history("x", "y", total=3), history("z", total=3), *others, history())

    assert found.reason == "none of the 3 tasks of that time is the one"


def test_empty_history_says_absent() -> None:
    """Once it has settled."""
    assert search(history()).outcome is Outcome.ABSENT


def test_own_tasks_are_not_looked_at() -> None:
    """What another create made cannot be the one."""
    assert search(history(TASK_ID), history(), own=(TASK_ID,)).outcome is Outcome.ABSENT


@pytest.mark.parametrize(
    "detail",
    [{}, {"model": "another"}, {"workflow_type": "another"}, {"model": MODEL.upper(), "workflow_type": "Face Swap"}],
)
def test_each_row_is_looked_at(detail: dict[str, str]) -> None:
    """Whatever it says: rows have words of their own."""
    task = look(config=MARKED["config"])

    assert search(history(TASK_ID, **detail), task, body=MARKED).outcome is Outcome.FOUND


@pytest.mark.parametrize(
    ("row", "outcome"),
    [
        ({"id": TASK_ID}, Outcome.FOUND),
        ({"id": 7, "detail": {"task_id": TASK_ID}}, Outcome.FOUND),
        ({"id": 7}, Outcome.UNCLEAR),
        ({"id": "7"}, Outcome.UNCLEAR),
        ({"task_id": "a", "detail": {"task_id": "b"}}, Outcome.UNCLEAR),
        ({"task_id": " "}, Outcome.UNCLEAR),
        ({}, Outcome.UNCLEAR),
    ],
)
def test_row_without_the_usual_id_is_not_passed_over(row: dict[str, Any], outcome: Outcome) -> None:
    """Another id in it is looked at; without one it may be the task."""
    page = answer(200, {"code": 200, "data": {"data": [row], "total": 1}})
    found = search(page, look(config=MARKED["config"]), history(), body=MARKED)

    assert found.outcome is outcome
    assert outcome is Outcome.FOUND or "1 that could not be looked at" in found.reason


@pytest.mark.parametrize(
    ("said", "outcome"), [("QUBICO/image_toolkit", "unclear"), ("toolkit", "unclear"), ("a new name", "unclear")]
)
def test_model_in_another_spelling_is_not_another(said: str, outcome: str) -> None:
    """Nor is a part of the name, or a name that the catalogue does not have: it may be an alias."""
    assert search(history(TASK_ID), look(model=said), history()).outcome == outcome


# ---- unclear


def test_task_with_this_input_is_unclear() -> None:
    """Another program, or another create of this one, can have had the same."""
    found = search(history("a", "b"), look("a", input={}), look("b", input=INPUT))

    assert found.outcome is Outcome.UNCLEAR
    assert [task.id for task in found.candidates] == ["b", "a"]
    assert found.reason == (
        "of the tasks of that time, model and task type, there are 1 with this input, 1 whose answer does not show the "
        "input; another create can have had the same input, and only a mark (webhook_url) would tell"
    )


@pytest.mark.parametrize(
    ("echo", "shown"),
    [
        (INPUT, 1),
        ({"prompt": "a red fox"}, 1),
        ({**INPUT, "steps": 4.0}, 1),
        ({**INPUT, "negative_prompt": "", "width": 0, "images": None, "flag": False, "lora": [], "more": {}}, 1),
        (dict(reversed(INPUT.items())), 1),
        ({**INPUT, "steps": 0}, 1),
        ({}, 0),
        (None, 0),
        ({"unknown": 1}, 0),
        ({**INPUT, "image": "https://img.test/stored.jpg"}, 0),
        ({**INPUT, "image": "asset://asset-1"}, 0),
        ({**INPUT, "image": ["https://img.test/stored.jpg"]}, 0),
        ({**INPUT, "prompt": "a red"}, 0),
        ({**INPUT, "prompt": "a blue cat"}, 0),
        ({**INPUT, "steps": "4"}, 0),
        ({**INPUT, "steps": 50}, 0),
    ],
)
def test_no_echo_of_the_input_is_a_proof(echo: Any, shown: int) -> None:
    """What is the same may be another's, and what differs may be rewritten: stored, trimmed, filled in, limited."""
    found = search(history(TASK_ID), look(input=echo))

    assert found.outcome is Outcome.UNCLEAR
    assert [task.id for task in found.candidates] == [TASK_ID]
    assert f"{shown} with this input" in found.reason or (not shown and "does not show the input" in found.reason)


@pytest.mark.parametrize("trouble", [refused(404), refused(401), look("another id"), answer(200, b"<html>"), GATEWAY])
def test_task_that_cannot_be_looked_at_is_unclear(trouble: Response) -> None:
    """It may be the one."""
    found = search(history(TASK_ID), trouble)

    assert found.outcome is Outcome.UNCLEAR
    assert found.reason == "of the tasks of that time, model and task type, there are 1 that could not be looked at"


@pytest.mark.parametrize("trouble", [refused(401), refused(404), GATEWAY, CUT_OFF, answer(200, b"<html>")])
def test_history_that_cannot_be_read_is_unclear(trouble: Response | TransportFailure) -> None:
    """The error of the create is not replaced by another one."""
    found = search(trouble)

    assert found.outcome is Outcome.UNCLEAR
    assert "the task history cannot be read" in found.reason


def test_history_that_may_lag_behind_is_unclear() -> None:
    """Just after the create, that it is not there means nothing."""
    found = search(history(), late=False)

    assert found.outcome is Outcome.UNCLEAR
    assert "look again in 61 s" in found.reason


FULL = [f"t{number}" for number in range(100)]


@pytest.mark.parametrize(
    ("pages", "words"),
    [
        ([history(total=7)], "the history has 7 tasks of that time, and its pages bring 0"),
        ([history(*FULL, total=100), history("late", total=100)], "the history has 100 tasks of that time"),
        ([history(*FULL, total=100), history("late", total=1)], "could not be looked at"),
        ([history("a", total=3), history("b", total=3), history(total=3)], "the history has 3 tasks of that time"),
        ([history("a", total=0)], "its pages bring 1"),
        ([answer(200, {"code": 200, "data": {"data": []}})], "does not say how many"),
        ([answer(200, {"code": 500, "data": {"data": [], "total": 0}})], "code 500 came in place of a page"),
        ([answer(200, b'{"code": 200, "data": {"data": [], "total": 0}} <!-- cut -->')], "no page of the history"),
        ([history(*FULL, total=100)], "page after page of the history brings the same 100 tasks"),
        ([history(*FULL, total=300)], "and page after page brings the same 100"),
    ],
)
def test_history_that_does_not_add_up_is_unclear(pages: list[Response], words: str) -> None:
    """Though nothing in it is a candidate: all of it was created by others, as is known."""
    found = search(*pages, own=("a", "b", *FULL), timeout=0.0)

    assert found.outcome is Outcome.UNCLEAR
    assert words in found.reason


def test_rows_that_only_a_history_of_all_times_lists_are_looked_at() -> None:
    """A provider that reads the times of the filter otherwise shows them there."""
    created = Timestamp(0.0, UNIX - LATE).utc.isoformat()
    all_times = answer(200, {"code": 200, "data": {"data": [{"task_id": TASK_ID, "created_at": created}], "total": 1}})

    assert search(history(), all_times, look(config=MARKED["config"]), body=MARKED).outcome is Outcome.FOUND


def test_times_of_another_clock_than_the_date_are_unclear() -> None:
    """The filter is on the clock of the rows then, of which nothing is known."""
    ahead = Timestamp(0.0, UNIX + 3600.0).utc.isoformat()
    all_times = answer(200, {"code": 200, "data": {"data": [{"task_id": "x", "created_at": ahead}], "total": 1}})
    found = search(history(), all_times)

    assert found.outcome is Outcome.UNCLEAR
    assert found.reason == "the times in the history are not those of the provider's Date header"


# ---- clocks


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ({}, "does not tell its time"),
        ({"date": "soon"}, "does not tell its time"),
        ({"date": "Thu, 01 Jan 1970 00:00:00 GMT"}, "does not tell its time"),
        ({"date": formatdate(UNIX, usegmt=True), "age": "90"}, "does not tell its time"),
    ],
)
def test_history_without_a_time_is_unclear(headers: dict[str, str], words: str) -> None:
    """Of the provider: without it, the time of the create cannot be compared."""
    error = uncertain()
    put_back(error, LATE)
    found = play(recovery.find(error, (), limits(timeout=0.0)), replace(history(), headers=headers)).result

    assert found.outcome is Outcome.UNCLEAR
    assert words in found.reason


@pytest.mark.parametrize("apart", [0.0, 400.0, -3600.0, 86_400.0, -86_400.0, -UNIX])
def test_history_is_asked_on_the_clock_of_the_provider(apart: float) -> None:
    """However far the wall clock of this computer is from it, it is asked for the time of the create."""
    error = uncertain()
    put_back(error, LATE)
    theirs = formatdate(max(UNIX + apart, 1.6e9), usegmt=True)
    apart = max(UNIX + apart, 1.6e9) - UNIX
    played = play(recovery.find(error, (), limits(timeout=0.0)), replace(history(), headers={"date": theirs}))
    periods = [
        (step.params.get("start_time"), step.params.get("end_time"))
        for step in played.steps
        if isinstance(step, SendRequest)
    ]

    assert played.result.outcome is Outcome.ABSENT
    *_, (start, end), newest = periods
    assert newest == (None, None)
    assert start <= UNIX + apart - LATE - recovery.CLOCKS_APART
    assert UNIX + apart - LATE + recovery.CLOCKS_APART <= end <= UNIX + apart - LATE + 2 * recovery.CLOCKS_APART


@pytest.mark.parametrize("seconds", [400.0, -400.0, 86_400.0])
def test_wall_clock_that_was_set_after_the_create_is_not_believed(seconds: float) -> None:
    """The create is as long ago as one of the two clocks says, or anything between."""
    error = uncertain()
    sent = error.identity.sent
    assert sent
    moved = [Timestamp(moment.monotonic, moment.unix + seconds) for moment in (sent.start, sent.end)]
    error.identity = replace(error.identity, sent=sent._replace(start=moved[0], end=moved[1]))
    found = play(recovery.find(error, (), limits(timeout=0.0)), history(), dated=True).result

    assert found.outcome is Outcome.UNCLEAR
    assert "look again in" in found.reason


def test_create_of_another_process_is_placed_by_what_that_process_knew() -> None:
    """Its clocks say nothing here; with no time of the provider from there, nothing is absent."""
    error = uncertain()
    put_back(error, LATE)
    error.identity = recovery.with_client(error.identity, "", recovery.ClientIdentity("another"), None)
    unknown = play(recovery.find(error, (), limits(timeout=0.0)), history(), dated=True).result
    dated = (UNIX - 1000.0, Timestamp(-1000.0, UNIX + 86_400.0))
    error.identity = recovery.with_client(error.identity, "", recovery.ClientIdentity("another"), dated)
    start, end = (error.identity.sent and error.identity.sent.on_provider) or (0.0, 0.0)

    assert unknown.outcome is Outcome.UNCLEAR
    assert "another process sent it" in unknown.reason
    assert start < end


# ---- how it is asked


def played(*replies: Response | TransportFailure, timeout: float | None, took: float = 0.0) -> Played:
    """A search that begins right after the create."""
    error = uncertain(MARKED)
    return play(recovery.find(error, (), limits(timeout=timeout)), *replies, took=took, dated=True)


def test_history_is_asked_for_the_time_of_the_create() -> None:
    """With room for clocks that differ."""
    send = next(step for step in played(history(), timeout=0.0).steps if isinstance(step, SendRequest))

    assert (send.method, send.path) == ("GET", "/api/open/tasks/histories")
    assert send.params == {
        "page": 1,
        "page_size": 100,
        "start_time": int(UNIX) - 360,
        "end_time": int(UNIX) + 360,
    }


def test_history_is_read_again_until_it_has_settled() -> None:
    """Without a limit of time: about a minute."""
    search = played(history(), timeout=None)

    assert search.result.outcome is Outcome.ABSENT
    assert search.ended_at == pytest.approx(recovery.SETTLED + 1)
    assert search.sleeps == [recovery.PAUSE] * 6 + [1.0]


def test_search_ends_as_soon_as_the_task_is_there() -> None:
    """It came into the history with the second reading."""
    search = played(history(), history(TASK_ID), look(config=MARKED["config"]), timeout=None)

    assert search.result.outcome is Outcome.FOUND
    assert search.sleeps == [recovery.PAUSE]


def test_search_ends_when_time_is_up() -> None:
    """And says when to look again."""
    search = played(history(), timeout=25.0)

    assert search.result.outcome is Outcome.UNCLEAR
    assert search.ended_at == pytest.approx(25.0)
    assert "look again in 36 s" in search.result.reason


def test_last_reading_is_at_the_time_limit() -> None:
    """However little of it is left."""
    assert played(history(), timeout=10.5).sleeps == [10.0, 0.5]


def test_search_ends_when_the_provider_hangs() -> None:
    """Each answer takes as long as a call may."""
    search = played(history(*FULL, total=100), *[history()] * 3, timeout=0.0, took=19.0)

    assert search.result.outcome is Outcome.UNCLEAR
    assert search.ended_at < recovery.LONGEST_READING + 60.0


def test_search_ends_though_the_clocks_stand_still() -> None:
    """A test of somebody's that freezes the time would wait for ever."""
    flow, page = recovery.find(uncertain(), (), limits(timeout=None)), history()
    now, step = Timestamp(TICKS, UNIX), next(flow)
    try:
        for _ in range(1000):
            step = flow.send(replace(page, at=now) if isinstance(step, SendRequest) else Resumed(now))
    except StopIteration as end:
        found = end.value

    assert found.outcome is Outcome.UNCLEAR


def test_task_that_is_another_is_looked_at_once() -> None:
    """Readings of the history repeat, looks at others do not."""
    search = played(history("x"), look("x", model="kling"), history("x"), timeout=15.0)

    paths = [step.path for step in search.steps if isinstance(step, SendRequest)]
    assert paths.count("/api/v1/task/x") == 1
    assert paths.count("/api/open/tasks/histories") == 3


def test_many_tasks_are_not_all_looked_at() -> None:
    """A busy account would be asked for ever."""
    crowd = [f"t{number}" for number in range(recovery.MOST_LOOKS + 5)]
    others = [look(task_id, model="kling") for task_id in crowd[: recovery.MOST_LOOKS]]
    mine = look(crowd[recovery.MOST_LOOKS], input=INPUT)
    pages = [history(*crowd[start : start + 100], total=len(crowd)) for start in (0, 100, 200)]
    found = search(*pages, *others, mine)

    assert found.outcome is Outcome.UNCLEAR
    assert found.reason.endswith("there are 5 that could not be looked at")


# ---- what the error carries


def test_traces_hold_nothing_of_the_content() -> None:
    """The error may be logged and pickled."""
    error = uncertain(MARKED)
    shown = repr(error) + str(error) + repr(vars(error)) + repr(pickle.dumps(error))

    assert "red fox" not in shown
    assert "me.test" not in shown
    assert error.identity.correlation_id == "abc123"


def test_error_that_was_pickled_finds_as_well() -> None:
    """In another process, later."""
    error = pickle.loads(pickle.dumps(uncertain(MARKED)))
    flow: Flow[Recovery] = recovery.find(error, (), limits(timeout=0.0), recovery.ClientIdentity("another"))
    found = play(flow, history(TASK_ID), look(config=MARKED["config"])).result

    assert found.outcome is Outcome.FOUND


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "prompt", "data"]), inner),
    max_leaves=6,
)


@given(body=json_values, task=st.dictionaries(st.sampled_from(["input", "config", "model", "status"]), json_values))
def test_any_history_ends_in_a_finding(body: Any, task: dict[str, Any]) -> None:
    """Whatever the provider writes into it."""
    found = search(answer(200, {"data": body}), look(**task))
    other = search(history(TASK_ID), look(**task))

    assert {type(found), type(other)} == {Recovery}
