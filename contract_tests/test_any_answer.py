"""Any answer ends in a task or a typed error; a submission is sent once, and no task id is lost."""

from __future__ import annotations

import contextlib
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from unitask import errors
from unitask_contract.mutation import BODIES, changes, read

from .support import FACE_SWAP, TASK_ID, Trace, answer, json_values, perform, tries
from .support.schema_examples import component

GATEWAYS = (408, 499, 502, 503, 504, *range(520, 528))
bodies = st.one_of(json_values, st.binary(max_size=60), component("ErrorEnvelope"))


def submit(status: int, body: Any) -> Trace:
    return perform("sync", lambda client: client.submit(FACE_SWAP), creates=[answer(status, body)])


def named_task(body: Any) -> tuple[str | None, bool]:
    data = body.get("data") if isinstance(body, dict) else None
    task = data if isinstance(data, dict) else {}
    named, status = task.get("task_id"), task.get("status")
    is_id = isinstance(named, str) and bool(named.strip())
    return named if is_id else None, isinstance(status, str) and status.strip().casefold() == "failed"


@settings(max_examples=tries(100))
@given(status=st.integers(300, 599), body=bodies)
def test_refused_submission_is_typed_and_sent_once(status: int, body: Any) -> None:
    trace = submit(status, body)
    named, has_failed = named_task(body)
    kept = trace.result.id if trace.error is None else trace.error.task_id

    assert named in (None, kept)
    assert trace.creates() == (4 if status == 429 and kept is None else 1)
    if trace.error is None:
        assert (named, has_failed) == (kept, False)
    else:
        assert isinstance(trace.error, errors.ApiError | errors.SubmissionUncertain)
        assert named is None or has_failed or status in GATEWAYS


@st.composite
def damaged(draw: st.DrawFn) -> Any:
    body = draw(component("TaskEnvelope"))
    body["data"]["task_id"] = TASK_ID
    if draw(st.booleans()):
        _, _, changed = draw(st.sampled_from(list(changes(body))))
        return changed
    return BODIES[draw(st.sampled_from(sorted(BODIES)))](json.dumps(body).encode())


@settings(max_examples=tries(100))
@given(body=damaged())
def test_damaged_answer_to_a_submission_is_typed_and_keeps_the_id(body: Any) -> None:
    trace = submit(200, body)

    assert trace.creates() == 1
    if trace.error is None:
        assert trace.result.id == (named_task(body)[0] or TASK_ID)
        with contextlib.suppress(errors.UnitaskError):
            read(trace.result)
    else:
        assert isinstance(trace.error, errors.ApiError | errors.SubmissionUncertain)
        assert named_task(body)[0] in (None, trace.error.task_id)


@settings(max_examples=tries(100))
@given(status=st.integers(200, 599), body=bodies)
def test_any_answer_to_a_poll_is_typed_with_the_id(status: int, body: Any) -> None:
    trace = perform(
        "sync", lambda client: client.wait(TASK_ID, timeout=30), looks=[answer(status, body)], poll_patience=5
    )

    assert trace.error is not None
    assert trace.error.task_id == TASK_ID
