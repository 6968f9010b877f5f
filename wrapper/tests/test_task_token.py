"""Tokens: enough to go on with a task in another process, and no secret."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import json
import math
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unitask import Output, Task, errors
from unitask._model import task_token
from unitask._model.task_token import Fingerprint, SubmissionTime, TaskToken
from unitask._model.timestamp import Timestamp
from unitask.tasks import FaceSwapOutput, LegacyFaceSwapOutput

from .script import MODEL, TASK_ID, TASK_TYPE, UNIX, task_data


def packed(content: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(content, separators=(",", ":")).encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    ("task", "token"),
    [
        (Task(task_data(), FaceSwapOutput), TaskToken(TASK_ID, MODEL, TASK_TYPE, "FaceSwapOutput")),
        (Task(task_data(), LegacyFaceSwapOutput), TaskToken(TASK_ID, MODEL, TASK_TYPE, "LegacyFaceSwapOutput")),
        (Task(task_data(model=None), Output), TaskToken(TASK_ID, "", TASK_TYPE, "")),
    ],
)
def test_token_names_the_task_and_its_output_class(task: Task[Any], token: TaskToken) -> None:
    assert task.token == f"ut1.{packed(list(token))}"
    assert task_token.read(task.token) == token


def test_anything_else_is_an_id() -> None:
    for text in (TASK_ID, "", "ut1", "ut.abc", "utx.abc", "a.b", "out1.abc", "UT1.abc"):
        assert task_token.read(text) == TaskToken(text)


DAMAGED = ["%%%", "abc", f"%%%%{packed(['a', 'b', 'c', 'd'])}"]
DAMAGED += map(packed, ([], ["a", "b", "c", "d", "e"], ["", "b", "c", "d"], [7, "b", "c", "d"]))


@pytest.mark.parametrize("token", ["ut2.abc", *(f"ut1.{text}" for text in DAMAGED)])
def test_damaged_or_later_token_is_refused(token: str) -> None:
    with pytest.raises(errors.InvalidInput, match="update unitask" if token == "ut2.abc" else "is damaged"):
        task_token.read(token)


@given(st.text(min_size=1), st.text(), st.text())
def test_any_task_is_read_back(task_id: str, model: str, task_type: str) -> None:
    task = Task({"task_id": task_id, "model": model, "task_type": task_type}, Output)

    assert task_token.read(task.token) == TaskToken(task_id, model, task_type, "")
    with contextlib.suppress(errors.InvalidInput):
        assert task_token.read("ut1." + task_id).task_id


def uncertain(**changes: object) -> errors.SubmissionUncertain:
    sent = SubmissionTime(Timestamp(1.0, UNIX), Timestamp(2.5, UNIX + 1.5), "process", (UNIX, UNIX + 9.0))
    traces = Fingerprint(MODEL, TASK_TYPE, "f" * 64, "a-mark", {"prompt": "d" * 64}, "a-submission", sent, "account")
    between = datetime.fromtimestamp(UNIX, UTC), datetime.fromtimestamp(UNIX + 1.5, UTC)
    identity = dataclasses.replace(traces, **changes)
    error = errors.SubmissionUncertain("no answer", identity=identity, sent_between=between)
    error.task_id = TASK_ID
    return error


@pytest.mark.parametrize(
    "changes", [{}, {"correlation_id": None}, {"sent": None}, {"submission": "", "account": ""}], ids=repr
)
def test_token_of_an_uncertain_submission_has_what_find_needs(changes: dict[str, object]) -> None:
    error = uncertain(**changes)
    found = task_token.read_uncertain(error.token)

    assert found.identity == dataclasses.replace(error.identity, fields={})
    assert (found.task_id, found.sent_between) == (error.task_id, error.sent_between)


ODD = [((3,), None), ((4,), 1), ((2, 0, 0), "x"), ((2, 0, 1), math.nan), ((2, 1), [None, None]), ((2, 3), [1, "x"])]


@pytest.mark.parametrize(("place", "value"), ODD, ids=repr)
def test_token_with_a_value_of_another_type_is_damaged(place: tuple[int, ...], value: object) -> None:
    content = json.loads(base64.urlsafe_b64decode(uncertain().token[4:] + "=="))
    part = content
    for step in place[:-1]:
        part = part[step]
    part[place[-1]] = value

    with pytest.raises(errors.InvalidInput, match="is damaged"):
        task_token.read_uncertain(f"us1.{packed(content)}")


json_values = st.recursive(
    st.none() | st.floats() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=9), max_leaves=12
)


@given(text=st.text(max_size=30) | st.builds(lambda content: f"us1.{packed(content)}", json_values))
def test_any_other_text_is_not_a_token_of_a_submission(text: str) -> None:
    with pytest.raises(errors.InvalidInput):
        task_token.read_uncertain(text)
