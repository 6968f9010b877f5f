"""What the user learns is what the provider's records say, whatever is lost on the way; and the machine finds faults.

Each planted fault is one that a client or a provider could have.
"""

from typing import Any

import httpx
import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from unitask import _base_client
from unitask._core import recovery
from unitask._core.effects import Flow
from unitask_sandbox import store

from .support import Plant, replaced, task_state_machine, tries
from .support.defective_provider import defective
from .support.task_state_machine import LATE_HISTORY, WELL, LifeCycle

TestLifeCycle = LifeCycle.TestCase
TestLifeCycle.settings = settings(max_examples=tries(10), stateful_step_count=25)


def absent_too_early(monkeypatch: pytest.MonkeyPatch) -> None:
    def not_again(_search: object, _rows: object, _wanted: object) -> Flow[str]:
        yield from ()
        return ""

    monkeypatch.setattr(recovery, "SETTLED", -60.0)
    monkeypatch.setattr(recovery, "OWN_POLLS", 0)
    monkeypatch.setattr(recovery._Search, "_add_newest", not_again)


# What is planted, the promise that it breaks, and the troubles meanwhile; none for any.
FAULTS: dict[str, tuple[Plant, str, tuple[str, ...]]] = {
    "a submission is sent again after a read timeout": (
        replaced(_base_client, "NEVER_LEFT", (httpx.RequestError,)),
        "a call makes one task at most|what may have been accepted is not sent again",
        (),
    ),
    "a task is called absent too early": (
        absent_too_early,
        "no task is called absent that exists",
        ("the answer is lost", LATE_HISTORY),
    ),
    "a cancelled task is not paid back": (
        replaced(store, "_settle", lambda *_: None),
        "what was not made is paid back|the balance is what was not taken",
        (WELL,),
    ),
    "a cancel does nothing": (
        replaced(task_state_machine, "create_app", defective("idle-cancel")),
        "what is reported as cancelled is cancelled",
        (WELL,),
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_fault_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plant, promise, troubles = FAULTS[name]
    plant(monkeypatch)
    machine: Any = type("Planted", (LifeCycle,), {"troubles": troubles})
    few = settings(max_examples=60, stateful_step_count=25, derandomize=True, phases=[Phase.generate])

    with pytest.raises(AssertionError, match=promise):
        run_state_machine_as_test(machine, settings=few)
