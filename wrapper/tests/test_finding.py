"""What became of a create that brought no answer: found, absent or unclear, and never a guess."""

from __future__ import annotations

import json
import pickle
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unitask import Finding, Outcome, Output, errors
from unitask._core import finding, flows
from unitask._core.messages import Answer, Failure, Flow, Send

from .script import (
    CUT_OFF,
    GATEWAY,
    MODEL,
    RESEND,
    TASK_ID,
    TASK_TYPE,
    UNIX,
    answer,
    limits,
    play,
    refused,
    task_data,
)

INPUT = {"prompt": "a red fox", "steps": 4, "image": "https://me.test/a.jpg"}
BODY = {"model": MODEL, "task_type": TASK_TYPE, "input": INPUT}
WEBHOOK = {"webhook_config": {"endpoint": "https://me.test/hook?user=7"}}
MARKED = finding.marked({**BODY, "config": WEBHOOK}, "abc123")
LATE = timedelta(seconds=finding.SETTLED + 1.0)  # after the create, when a history without it means something


def uncertain(body: dict[str, Any] | None = None) -> errors.SubmissionUncertain:
    """The error of a create that brought no answer."""
    error = play(flows.submit(body or BODY, Output, RESEND), CUT_OFF).error
    assert isinstance(error, errors.SubmissionUncertain)
    return error


def history(*task_ids: str, total: int | None = None, **detail: str) -> Answer:
    """A page of the history with these tasks."""
    rows = [{"task_id": task_id, "detail": detail} for task_id in task_ids]
    page = {"data": rows, "page": 1, "size": 100, "total": len(rows) if total is None else total}
    return answer(200, {"code": 200, "data": page, "message": "success"})


def look(task_id: str = TASK_ID, **fields: Any) -> Answer:
    """A look at a task of the history."""
    data = {**task_data("processing"), "task_id": task_id, **fields}
    return answer(200, {"code": 200, "data": data, "message": "success"})


def search(
    *replies: Answer | Failure,
    body: dict[str, Any] | None = None,
    own: tuple[str, ...] = (),
    timeout: float | None = 0.0,
    late: bool = True,
) -> Finding:
    """Look once, by default so late that the history has settled."""
    error = uncertain(body)
    if late:
        start, end = error.sent_between
        error.sent_between = start - LATE, end - LATE
    result = play(finding.find(error, own, limits(timeout=timeout)), *replies).result
    assert isinstance(result, Finding)
    return result


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
    marked = finding.marked(body, "abc123")

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
    body = finding.marked({**BODY, "config": {"webhook_config": {"endpoint": endpoint}}}, "m")

    assert body["config"]["webhook_config"]["endpoint"] == marked


@pytest.mark.parametrize("config", [None, {}, {"webhook_config": {}}, {"webhook_config": {"endpoint": ""}}])
def test_body_without_a_webhook_is_sent_as_it_is(config: Any) -> None:
    """There is nothing to put a mark into."""
    body = {**BODY, "config": config}

    assert finding.marked(body, "m") is body


# ---- found


def test_task_with_the_mark_is_the_one() -> None:
    """Even if another task of that time has the same input."""
    twin = look("twin", input=INPUT, config=finding.marked({"config": WEBHOOK}, "other")["config"])
    mine = look(config=MARKED["config"])
    found = search(history("twin", TASK_ID), twin, mine, body=MARKED)

    assert found.outcome is Outcome.FOUND
    assert found.task is not None
    assert found.task.id == TASK_ID
    assert found.reason == f"task {TASK_ID} carries the mark of this create"


def test_task_with_another_mark_is_not_the_one() -> None:
    """However alike it is."""
    twin = look("twin", input=INPUT, config=finding.marked({"config": WEBHOOK}, "other")["config"])

    assert search(history("twin"), twin, body=MARKED).outcome is Outcome.ABSENT


@pytest.mark.parametrize(
    "echo",
    [
        INPUT,
        {"prompt": "a red fox"},
        {**INPUT, "steps": 4.0},
        {**INPUT, "negative_prompt": "", "width": 0, "images": None, "flag": False, "lora": [], "more": {}},
        dict(reversed(INPUT.items())),
        {**INPUT, "steps": 0},
    ],
    ids=["all", "a part", "4 as 4.0", "zero fields added", "reordered", "a field zeroed"],
)
def test_only_task_with_the_echoed_input_is_the_one(echo: dict[str, Any]) -> None:
    """The echo may drop fields and add empty ones (facts of 2026-11)."""
    found = search(history(TASK_ID), look(input=echo))

    assert found.outcome is Outcome.FOUND
    assert found.task is not None
    assert found.task.id == TASK_ID
    assert "the only one of that time with this input" in found.reason


def test_task_on_a_later_page_is_found() -> None:
    """The history is read to its end."""
    other = look("other", input={"prompt": "a blue cat"})
    found = search(history("other", total=2), other, history(TASK_ID, total=2), look(input=INPUT))

    assert found.outcome is Outcome.FOUND


def test_task_behind_others_of_its_page_is_found() -> None:
    """Behind one that is of another create, and one that was another task already when it was looked at."""
    pages = [history("own", "x"), history("own", "x", TASK_ID)]
    replies = [pages[0], look("x", model="another"), pages[1], look(input=INPUT)]
    played = play(finding.find(uncertain(), ("own",), limits(timeout=None)), *replies)

    assert played.result.outcome is Outcome.FOUND


def test_look_that_fails_once_is_repeated() -> None:
    """One lost answer does not make it unclear."""
    assert search(history(TASK_ID), CUT_OFF, look(input=INPUT)).outcome is Outcome.FOUND


@pytest.mark.parametrize(
    "sent",
    [{"size": {"width": 4, "height": [3, 2]}}, {"shots": [{"seconds": 2}, {"seconds": 3}]}],
    ids=["an object", "a list"],
)
def test_values_with_parts_are_compared_by_their_parts(sent: dict[str, Any]) -> None:
    """The order of fields and the form of a number play no part, every other difference does."""
    body = {**BODY, "input": sent}
    echo = json.loads(json.dumps(sent), parse_int=float, object_pairs_hook=lambda pairs: dict(reversed(pairs)))
    other = json.loads(json.dumps(sent).replace("2", "9"))

    assert search(history(TASK_ID), look(input=echo), body=body).outcome is Outcome.FOUND
    assert search(history(TASK_ID), look(input=other), body=body).outcome is Outcome.ABSENT


# ---- absent


@pytest.mark.parametrize(
    "other",
    [
        look("x", input={"prompt": "a blue cat"}),
        look("x", input=INPUT, model="another"),
        look("x", input=INPUT, task_type="another"),
    ],
    ids=["other input", "other model", "other task type"],
)
def test_history_without_the_task_says_absent(other: Answer) -> None:
    """It may be created again."""
    found = search(history("x"), other)

    assert found.outcome is Outcome.ABSENT
    assert found.reason == "none of the 1 tasks of that time is the one"
    assert found.task is None


def test_all_tasks_of_that_time_are_counted() -> None:
    """On every page."""
    others = [look(task_id, model="another") for task_id in ("x", "y", "z")]
    found = search(history("x", "y", total=3), *others[:2], history("z", total=3), others[2])

    assert found.reason == "none of the 3 tasks of that time is the one"


def test_empty_history_says_absent() -> None:
    """Once it has settled."""
    assert search(history()).outcome is Outcome.ABSENT


def test_own_tasks_are_not_looked_at() -> None:
    """What another create made cannot be the one."""
    assert search(history(TASK_ID), own=(TASK_ID,)).outcome is Outcome.ABSENT


@pytest.mark.parametrize("detail", [{"model": "another"}, {"workflow_type": "another"}])
def test_rows_of_another_kind_are_not_looked_at(detail: dict[str, str]) -> None:
    """The row says it already."""
    assert search(history(TASK_ID, **detail)).outcome is Outcome.ABSENT


@pytest.mark.parametrize(("model", "task_type"), [(MODEL, TASK_TYPE), (MODEL, ""), ("", TASK_TYPE), ("", "")])
def test_rows_of_this_kind_are_looked_at(model: str, task_type: str) -> None:
    """Whether the row says it or not."""
    page = history(TASK_ID, model=model, workflow_type=task_type)

    assert search(page, look(input=INPUT)).outcome is Outcome.FOUND


@pytest.mark.parametrize("endpoint", [7, None, [], "http://[", ""])
def test_endpoint_that_is_none_carries_no_mark(endpoint: Any) -> None:
    """The echo of the input decides then."""
    echo = look(input=INPUT, config={"webhook_config": {"endpoint": endpoint}})

    assert search(history(TASK_ID), echo).outcome is Outcome.FOUND


# ---- unclear


def test_echo_that_says_nothing_is_unclear() -> None:
    """Face swap echoes an empty input: the task may be the one, and is shown."""
    found = search(history(TASK_ID), look(input={}))

    assert found.outcome is Outcome.UNCLEAR
    assert [task.id for task in found.candidates] == [TASK_ID]
    assert "1 whose answer does not show the input" in found.reason


@pytest.mark.parametrize(
    "echo",
    [
        None,
        {"unknown": 1},
        {"image": "https://img.test/stored.jpg"},
        {"image": "http://img.test/stored.jpg"},
        {"prompt": "a red fox", "image": "https://img.test/stored.jpg"},
        {"steps": 0},
    ],
)
def test_echo_that_can_be_ours_is_unclear(echo: Any) -> None:
    """A picture may have been stored elsewhere before it was echoed."""
    assert search(history(TASK_ID), look(input=echo)).outcome is Outcome.UNCLEAR


def test_two_tasks_with_the_input_are_unclear() -> None:
    """Somebody created it twice, and which one was ours cannot be told."""
    found = search(history("a", "b"), look("a", input=INPUT), look("b", input=INPUT))

    assert found.outcome is Outcome.UNCLEAR
    assert [task.id for task in found.candidates] == ["a", "b"]
    assert found.reason == "of the tasks of that time, model and task type, there are 2 with this input"


def test_one_that_fits_beside_one_that_does_not_say_is_unclear() -> None:
    """The other may be it as well."""
    found = search(history("a", "b"), look("a", input=INPUT), look("b", input={}))

    assert found.outcome is Outcome.UNCLEAR
    assert found.reason.endswith("there are 1 with this input, 1 whose answer does not show the input")
    assert [task.id for task in found.candidates] == ["a", "b"]


@pytest.mark.parametrize("trouble", [refused(404), refused(401), look("another id"), answer(200, b"<html>"), GATEWAY])
def test_task_that_cannot_be_looked_at_is_unclear(trouble: Answer) -> None:
    """It may be the one."""
    found = search(history(TASK_ID), trouble)

    assert found.outcome is Outcome.UNCLEAR
    assert found.reason.endswith("there are 1 that could not be looked at")


@pytest.mark.parametrize("trouble", [refused(401), refused(404), GATEWAY, CUT_OFF, answer(200, b"<html>")])
def test_history_that_cannot_be_read_is_unclear(trouble: Answer | Failure) -> None:
    """The error of the create is not replaced by another one."""
    found = search(trouble)

    assert found.outcome is Outcome.UNCLEAR
    assert "the task history cannot be read" in found.reason


def test_history_that_may_lag_behind_is_unclear() -> None:
    """Just after the create, that it is not there means nothing."""
    found = search(history(), late=False)

    assert found.outcome is Outcome.UNCLEAR
    assert "look again in 60 s" in found.reason


# ---- how it is asked


def test_history_is_asked_for_the_time_of_the_create() -> None:
    """With room for clocks that differ."""
    played = play(finding.find(uncertain(), (), limits(timeout=0.0)), history())
    send = next(step for step in played.steps if isinstance(step, Send))

    assert (send.method, send.path) == ("GET", "/api/open/tasks/histories")
    assert send.params == {
        "page": 1,
        "page_size": 100,
        "start_time": int(UNIX) - 300,
        "end_time": int(UNIX) + 301,
    }


def test_history_is_read_again_until_it_has_settled() -> None:
    """Without a limit of time: about a minute."""
    played = play(finding.find(uncertain(), (), limits(timeout=None)), history())

    assert played.result.outcome is Outcome.ABSENT
    assert played.ended_at == pytest.approx(finding.SETTLED)
    assert played.sleeps == [finding.PAUSE] * 6


def test_search_ends_as_soon_as_the_task_is_there() -> None:
    """It came into the history with the second reading."""
    played = play(finding.find(uncertain(), (), limits(timeout=None)), history(), history(TASK_ID), look(input=INPUT))

    assert played.result.outcome is Outcome.FOUND
    assert played.sleeps == [finding.PAUSE]


def test_search_ends_when_time_is_up() -> None:
    """And says when to look again."""
    played = play(finding.find(uncertain(), (), limits(timeout=25.0)), history())

    assert played.result.outcome is Outcome.UNCLEAR
    assert played.ended_at == pytest.approx(25.0)
    assert "look again in 35 s" in played.result.reason


def test_last_reading_is_at_the_time_limit() -> None:
    """However little of it is left."""
    played = play(finding.find(uncertain(), (), limits(timeout=10.5)), history())

    assert played.sleeps == [10.0, 0.5]


def test_last_reading_is_no_later_than_the_history_has_settled() -> None:
    """Readings that take time shorten the last pause."""
    played = play(finding.find(uncertain(), (), limits(timeout=None)), history(), took=1.0)

    assert played.sent_at[-1] == pytest.approx(finding.SETTLED)
    assert played.result.outcome is Outcome.ABSENT


def test_task_that_is_another_is_looked_at_once() -> None:
    """Readings of the history repeat, looks at others do not."""
    flow: Flow[Finding] = finding.find(uncertain(), (), limits(timeout=15.0))
    played = play(flow, history("x"), look("x", model="another"), history("x"))

    paths = [step.path for step in played.steps if isinstance(step, Send)]
    assert paths.count("/api/v1/task/x") == 1
    assert paths.count("/api/open/tasks/histories") == 3


def test_many_tasks_are_not_all_looked_at() -> None:
    """A busy account would be asked for ever."""
    crowd = [f"t{number}" for number in range(finding.MOST_LOOKS + 5)]
    others = [look(task_id, model="another") for task_id in crowd[: finding.MOST_LOOKS]]
    mine = look(crowd[finding.MOST_LOOKS], input=INPUT)
    found = search(history(*crowd), *others, mine)

    assert found.outcome is Outcome.UNCLEAR
    assert found.reason.endswith("there are 5 that could not be looked at")


# ---- what the error carries


def test_traces_hold_nothing_of_the_content() -> None:
    """The error may be logged and pickled."""
    error = uncertain(MARKED)
    shown = repr(error) + str(error) + repr(vars(error)) + repr(pickle.dumps(error))

    assert "red fox" not in shown
    assert "me.test" not in shown
    assert error.traces.mark == "abc123"


def test_error_that_was_pickled_finds_as_well() -> None:
    """In another process, later."""
    error = pickle.loads(pickle.dumps(uncertain()))
    played = play(finding.find(error, (), limits(timeout=0.0)), history(TASK_ID), look(input=INPUT))

    assert played.result.outcome is Outcome.FOUND


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

    assert {type(found), type(other)} == {Finding}
