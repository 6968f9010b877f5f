"""Any answer ends in a task or a typed error; a submission is sent once, and no task id is lost."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from unitask import errors

from .support import FACE_SWAP, TASK_ID, answer, json_values, perform, tries
from .support.schema_examples import component

GATEWAYS = (408, 499, 502, 503, 504, *range(520, 528))
bodies = st.one_of(json_values, st.binary(max_size=60), component("ErrorEnvelope"))


def named_task(body: Any) -> tuple[str | None, bool]:
    data = body.get("data") if isinstance(body, dict) else None
    task = data if isinstance(data, dict) else {}
    named, status = task.get("task_id"), task.get("status")
    is_id = isinstance(named, str) and bool(named.strip())
    return named if is_id else None, isinstance(status, str) and status.strip().casefold() == "failed"


@settings(max_examples=tries(100))
@given(status=st.integers(300, 599), body=bodies)
def test_refused_submission_is_typed_and_sent_once(status: int, body: Any) -> None:
    trace = perform("sync", lambda client: client.submit(FACE_SWAP), submissions=[answer(status, body)])
    named, has_failed = named_task(body)
    kept = trace.result.id if trace.error is None else trace.error.task_id

    assert named in (None, kept)
    assert trace.submissions() == (4 if status == 429 and kept is None else 1)
    if trace.error is None:
        assert (named, has_failed) == (kept, False)
    else:
        assert isinstance(trace.error, errors.ApiError | errors.SubmissionUncertain)
        assert named is None or has_failed or status in GATEWAYS


@settings(max_examples=tries(100))
@given(status=st.integers(200, 599), body=bodies)
def test_any_answer_to_a_poll_is_typed_with_the_id(status: int, body: Any) -> None:
    trace = perform(
        "sync", lambda client: client.wait(TASK_ID, timeout=30), polls=[answer(status, body)], poll_patience=5
    )

    assert trace.error is not None
    assert trace.error.task_id == TASK_ID
