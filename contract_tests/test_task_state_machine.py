"""The life of tasks: what the user is told is what the provider's records say, whatever is lost on the way.

The machine is in life_cycle.py. What is planted here is a fault that a client, or a provider, could have: the machine
finds it, and for what it is.
"""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from unitask import _base_client, errors
from unitask._core import envelope, flows, recovery, requests, retry
from unitask._core.effects import Flow
from unitask._core.retry_policy import Timeouts

from .support import Plant, replaced, restartable_provider, tries
from .support.defective_provider import defective
from .support.task_state_machine import LATE_HISTORY, WELL, LifeCycle

TestLifeCycle = LifeCycle.TestCase
TestLifeCycle.settings = settings(max_examples=tries(10), stateful_step_count=25)


def _cancel_without_a_look(task_id: str, limits: Timeouts) -> Flow[str]:
    return retry.send_with_retry(requests.cancel(task_id), envelope.read_acknowledgement, limits, task_id)


def _facts_lost(parts: Any, message: str, _facts: object) -> errors.UnitaskError:
    error: errors.UnitaskError = parts[0].__new__(parts[0], message)
    error.args = (message,)
    return error


def _absent_too_early(monkeypatch: pytest.MonkeyPatch) -> None:
    def not_again(_search: object, _rows: object) -> Flow[str]:
        yield from ()
        return ""

    monkeypatch.setattr(recovery, "SETTLED", -60.0)
    monkeypatch.setattr(recovery._Search, "_add_newest", not_again)


NOTHING = property(lambda _: None, lambda _, __: None)
# What is planted, the promise that it breaks, and what happens to requests meanwhile; nothing said is anything.
PLANTS: dict[str, tuple[Plant, str, tuple[str, ...]]] = {
    "a create is sent again after a read timeout": (
        replaced(_base_client, "NEVER_LEFT", (httpx.RequestError,)),
        "a call makes one task at most|what may have been accepted is not sent again",
        (),
    ),
    "an error loses the id": (
        replaced(errors.UnitaskError, "task_id", NOTHING),
        "an error names its task|the task that was made is named",
        (),
    ),
    "an error loses its facts in a pickle": (
        replaced(errors, "_rebuild", _facts_lost),
        "an error survives pickle",
        (),
    ),
    "a gateway's page is taken for a refusal": (
        replaced(envelope, "_unreadable", lambda answer, _: envelope.refusal(answer)),
        "the task that was made is named",
        ("a gateway answers",),
    ),
    "a task is called absent too early": (
        _absent_too_early,
        "no task is called absent that exists",
        ("the answer is lost", LATE_HISTORY),
    ),
    "a create is not marked": (
        replaced(recovery, "with_correlation_id", lambda body, _: body),
        "what has a mark is found",
        ("the answer is lost", WELL),
    ),
    "one bad look ends a wait": (
        replaced(flows, "is_retryable", lambda _: False),
        "a trouble that passes is borne",
        ("the answer is cut", WELL),
    ),
    "a failed task is returned as if it were fine": (
        replaced(flows, "wait", flows.watch),
        "a wait returns what is completed",
        (WELL,),
    ),
    "a cancel whose answer was lost is told to be refused": (
        replaced(retry, "cancel", _cancel_without_a_look),
        "what was cancelled is told",
        (WELL, WELL, "the answer is late"),
    ),
}
DEFECTS = {
    "kept-after-cancel": "what was not made is paid back",
    "idle-cancel": "what is told to be cancelled is|those of before are cancelled",
    "lost-task": "a trouble that passes is borne|what is told to be refused is not paid",
}


def _hold(**changes: Any) -> None:
    phases = [Phase.generate]
    few = settings(max_examples=60, stateful_step_count=25, derandomize=True, phases=phases)
    run_state_machine_as_test(type("Planted", (LifeCycle,), changes), settings=few)


@pytest.mark.parametrize(("plant", "promise", "happens"), PLANTS.values(), ids=PLANTS.keys())
def test_fault_of_a_client_is_found(
    plant: Plant, promise: str, happens: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch)

    with pytest.raises(AssertionError, match=promise):
        _hold(happens=happens)


@pytest.mark.parametrize(("defect", "promise"), DEFECTS.items())
def test_defect_of_a_provider_is_found(defect: str, promise: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restartable_provider, "create_app", defective(defect))

    with pytest.raises(AssertionError, match=promise):
        _hold(happens=(WELL,))
