"""Status handling: every word that is documented, in any letter case, and every other thing that can stand there."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unitask import State, errors
from unitask._model.state import STATES

from .support import FACE_SWAP, SHELLS, TASK_ID, answer, bundle, component, envelope, json_values, perform, tries

pytestmark = pytest.mark.parametrize("shell", SHELLS)

WORDS = bundle()["components"]["schemas"]["TaskStatus"]["anyOf"][0]["enum"]
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
    """The word in any letter case."""
    return st.tuples(*(st.sampled_from([sign.lower(), sign.upper()]) for sign in word)).map("".join)


unknown_words = st.text(max_size=12).filter(lambda word: word.strip().casefold() not in MEANINGS) | st.sampled_from(
    [word for word, state in MEANINGS.items() if state is State.UNKNOWN]
)
no_words = json_values.filter(lambda value: not isinstance(value, str))


@settings(max_examples=tries(60))
@given(data=st.data())
def test_documented_word_is_understood_in_any_case(shell: str, data: st.DataObject) -> None:
    """pending, Pending and PENDING are one state, and it is the documented one."""
    word = data.draw(st.sampled_from(WORDS))
    sent = data.draw(spelled(word))
    trace = perform(shell, lambda client: client.get(TASK_ID), looks=[answer(200, envelope(sent))])

    assert trace.result.state is MEANINGS[word]
    assert trace.result.status == sent


@settings(max_examples=tries(60))
@given(data=st.data())
def test_word_means_what_its_sources_say(shell: str, data: st.DataObject) -> None:
    """And it ends a wait exactly if it is an end."""
    word = data.draw(st.sampled_from(sorted(MEANINGS)))
    looks = [answer(200, envelope(data.draw(spelled(word)))), answer(200, envelope("completed"))]
    trace = perform(shell, lambda client: client.wait(TASK_ID), looks=looks)
    seen = trace.result if trace.error is None else trace.error.task

    assert len(trace.requests) == (1 if word in ENDS else 2)
    assert seen.state is (MEANINGS[word] if word in ENDS else State.COMPLETED)


def test_table_of_the_client_agrees_with_the_sources(shell: str) -> None:
    assert {word: STATES.get(word, State.UNKNOWN) for word in MEANINGS} == MEANINGS


@settings(max_examples=tries(60))
@given(status=unknown_words | no_words)
def test_unknown_status_keeps_waiting(shell: str, status: object) -> None:
    """A status that nobody knows ends no wait: the task may be running, and it is paid for."""
    end = envelope("completed", output={"image_url": "https://out.test/x.png"})
    trace = perform(shell, lambda client: client.wait(TASK_ID), looks=[answer(200, envelope(status)), answer(200, end)])

    assert trace.error is None
    assert trace.result.state is State.COMPLETED
    assert len(trace.requests) == 2


@settings(max_examples=tries(40))
@given(status=unknown_words | no_words)
def test_unknown_status_at_the_deadline_loses_nothing(shell: str, status: object) -> None:
    """When time is up the error has the id and the task with its raw status."""
    trace = perform(shell, lambda client: client.wait(TASK_ID, timeout=0), looks=[answer(200, envelope(status))])

    assert isinstance(trace.error, errors.WaitTimeout)
    assert trace.error.task_id == TASK_ID
    assert trace.error.task is not None
    assert trace.error.task.status == status


@settings(max_examples=tries(30))
@given(sent=st.sampled_from(["failed", "cancelled"]).flatmap(spelled), said=st.text(max_size=20))
def test_failed_task_raises_with_the_task(shell: str, sent: str, said: str) -> None:
    """A task that ended otherwise is an error that has the task and the provider's words."""
    end = envelope(sent, error={"code": 10000, "message": said, "raw_message": "no face found in the image"})
    trace = perform(shell, lambda client: client.wait(TASK_ID), looks=[answer(200, end)])

    assert isinstance(trace.error, errors.TaskFailed)
    assert trace.error.task_id == TASK_ID
    assert "no face found in the image" in str(trace.error)


@settings(max_examples=tries(60))
@given(body=component("TaskEnvelope"))
def test_any_documented_answer_is_understood(shell: str, body: dict[str, Any]) -> None:
    """Whatever the spec allows is read: the task comes back whole, apart from its webhook secret."""
    body["data"]["task_id"] = TASK_ID
    trace = perform(shell, lambda client: client.get(TASK_ID), looks=[answer(200, body)])

    assert trace.error is None
    assert _without_secret(trace.result.raw) == _without_secret(body["data"])


@settings(max_examples=tries(30))
@given(status=st.sampled_from(["completed", "Completed"]))
def test_create_that_is_answered_completed_needs_no_look(shell: str, status: str) -> None:
    """A task that is done when it is accepted is returned at once."""
    trace = perform(shell, lambda client: client.run(FACE_SWAP), creates=[answer(200, envelope(status))])

    assert trace.error is None
    assert [method for method, _, _ in trace.requests] == ["POST"]


def _without_secret(task: dict[str, Any]) -> dict[str, Any]:
    config = task.get("config", {})
    webhook = {**config.get("webhook_config", {}), "secret": None} if "webhook_config" in config else None
    return {**task, "config": {**config, "webhook_config": webhook}}
