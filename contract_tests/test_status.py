"""Status handling: every word that is documented, in any letter case, and every other thing that can stand there."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from unitask import State, errors
from unitask._model.state import STATES

from .support import TASK_ID, answer, component, envelope, json_values, perform, tries

# The words below are from pages and clients (2026-11), not from the table that the client is generated from.
MEANINGS = {
    **{word: State(STATES[word]) for word in STATES},
    "pending": State.PENDING,
    "staged": State.STAGED,
    "processing": State.PROCESSING,
    "completed": State.COMPLETED,
    "failed": State.FAILED,
    "running": State.PROCESSING,
    "in_progress": State.PROCESSING,
    "cancelled": State.CANCELLED,
    "canceled": State.CANCELLED,
    "success": State.COMPLETED,
    "starting": State.PROCESSING,
    "finished": State.COMPLETED,
    "": State.UNKNOWN,
    "queued": State.UNKNOWN,
    "error": State.UNKNOWN,
    "insufficient_credits": State.UNKNOWN,
}
ENDS = {word for word, state in MEANINGS.items() if state in (State.COMPLETED, State.FAILED, State.CANCELLED)}


def spelled(word: str) -> st.SearchStrategy[str]:
    return st.tuples(*(st.sampled_from([sign.lower(), sign.upper()]) for sign in word)).map("".join)


unknown_words = st.text(max_size=12).filter(lambda word: word.strip().casefold() not in MEANINGS) | st.sampled_from(
    [word for word, state in MEANINGS.items() if state is State.UNKNOWN]
)
no_words = json_values.filter(lambda value: not isinstance(value, str))


@settings(max_examples=tries(60))
@given(data=st.data())
def test_word_means_what_its_sources_say(data: st.DataObject) -> None:
    word = data.draw(st.sampled_from(sorted(MEANINGS)))
    looks = [answer(200, envelope(data.draw(spelled(word)))), answer(200, envelope("completed"))]
    trace = perform("sync", lambda client: client.wait(TASK_ID), looks=looks)
    seen = trace.result if trace.error is None else trace.error.task

    assert len(trace.requests) == (1 if word in ENDS else 2)
    assert seen.state is (MEANINGS[word] if word in ENDS else State.COMPLETED)


def test_table_of_the_client_agrees_with_the_sources() -> None:
    assert {word: STATES.get(word, State.UNKNOWN) for word in MEANINGS} == MEANINGS


@settings(max_examples=tries(60))
@given(status=unknown_words | no_words)
def test_unknown_status_keeps_waiting(status: object) -> None:
    end = envelope("completed", output={"image_url": "https://out.test/x.png"})
    trace = perform(
        "sync", lambda client: client.wait(TASK_ID), looks=[answer(200, envelope(status)), answer(200, end)]
    )

    assert trace.error is None
    assert trace.result.state is State.COMPLETED
    assert len(trace.requests) == 2


@settings(max_examples=tries(40))
@given(status=unknown_words | no_words)
def test_unknown_status_at_the_deadline_loses_nothing(status: object) -> None:
    trace = perform("sync", lambda client: client.wait(TASK_ID, timeout=0), looks=[answer(200, envelope(status))])

    assert isinstance(trace.error, errors.WaitTimeout)
    assert trace.error.task_id == TASK_ID
    assert trace.error.task is not None
    assert trace.error.task.status == status


@settings(max_examples=tries(30))
@given(sent=st.sampled_from(["failed", "cancelled"]).flatmap(spelled), said=st.text(max_size=20))
def test_failed_task_raises_with_the_task(sent: str, said: str) -> None:
    """A task that ended otherwise is an error that has the task and the provider's words."""
    end = envelope(sent, error={"code": 10000, "message": said, "raw_message": "no face found in the image"})
    trace = perform("sync", lambda client: client.wait(TASK_ID), looks=[answer(200, end)])

    assert isinstance(trace.error, errors.TaskFailed)
    assert trace.error.task_id == TASK_ID
    assert "no face found in the image" in str(trace.error)


@settings(max_examples=tries(60))
@given(body=component("TaskEnvelope"))
def test_any_documented_answer_is_understood(body: dict[str, Any]) -> None:
    body["data"]["task_id"] = TASK_ID
    trace = perform("sync", lambda client: client.get(TASK_ID), looks=[answer(200, body)])

    assert trace.error is None
    assert _without_secret(trace.result.raw) == _without_secret(body["data"])


def _without_secret(task: dict[str, Any]) -> dict[str, Any]:
    config = task.get("config", {})
    webhook = {**config.get("webhook_config", {}), "secret": None} if "webhook_config" in config else None
    return {**task, "config": {**config, "webhook_config": webhook}}
