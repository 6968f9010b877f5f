"""Any answer that the spec allows, with one thing changed: a typed end, the id of the task, one paid request."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unitask import errors
from unitask_contract.mutation import BODIES, changes, read

from .support import FACE_SWAP, TASK_ID, Trace, answer, component, envelope, perform, tries


@st.composite
def corrupted(draw: st.DrawFn) -> tuple[Any, bool]:
    body = draw(component("TaskEnvelope"))
    body["data"]["task_id"] = TASK_ID
    _, _, changed = draw(st.sampled_from(list(changes(body))))
    data = changed.get("data")
    return changed, isinstance(data, dict) and data.get("task_id") == TASK_ID


def assert_typed(trace: Trace, *, named: bool) -> None:
    if trace.error is None:
        assert not named or trace.result.id == TASK_ID
        with contextlib.suppress(errors.UnitaskError):
            read(trace.result)
    else:
        assert not named or trace.error.task_id == TASK_ID


@settings(max_examples=tries(60))
@given(answered=corrupted())
def test_corrupted_answer_to_a_create_costs_one_request(answered: tuple[Any, bool]) -> None:
    body, named = answered
    trace = perform("sync", lambda client: client.submit(FACE_SWAP), creates=[answer(200, body)])

    assert trace.creates() == 1
    assert_typed(trace, named=named)


@settings(max_examples=tries(50))
@given(body=component("TaskEnvelope"), operator=st.sampled_from(sorted(BODIES)))
def test_garbled_answer_to_a_create_costs_one_request(body: Any, operator: str) -> None:
    body["data"]["task_id"] = TASK_ID
    garbled = BODIES[operator](json.dumps(body).encode())
    trace = perform("sync", lambda client: client.submit(FACE_SWAP), creates=[answer(200, garbled)])

    assert trace.creates() == 1
    assert trace.error is None or isinstance(trace.error, errors.SubmissionUncertain | errors.ApiError)
    assert_typed(trace, named=False)


def test_corruption_is_found_to_be_harmful(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that trusts a body would raise whatever Python raises."""
    monkeypatch.setattr("unitask._core.envelope.as_object", lambda value: value)

    with pytest.raises((AttributeError, TypeError)):
        perform(
            "sync", lambda client: client.submit(FACE_SWAP), creates=[answer(200, {**envelope("pending"), "data": 7})]
        )
