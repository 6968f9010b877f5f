"""Every named fault ends as the library says, with a client of either kind over the sandbox, in simulated time.

Besides that a call makes at most one task, the id of a task that was given is never lost, and what became of an
uncertain submission is found out.
"""

import asyncio
import inspect
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from unitask import AsyncClient, Client, Outcome, Recovery, errors
from unitask_contract.checks._http import BLANK
from unitask_sandbox import Settings, create_app
from unitask_sandbox.engines import ENGINES
from unitask_sandbox.faults import EVIDENCE, library, named

from .support import BASE_URL, FACE_SWAP, KEY, SHELLS, rows
from .support.simulated_network import WEBHOOK, InstantReceiver, Wire, World, at_once, quick_swap

CASES = [(name, operation) for name, fault in library().items() for operation in fault.outcome]
Ending = tuple[Any, Recovery | None]  # a result or an error, and what was found of an uncertain submission


async def act(client: Any, operation: str, folder: Path) -> Any:
    if operation == "upload_file":
        return await of_either(client.upload(BLANK))
    if operation == "get_account_info":
        return await of_either(client.account())
    if operation in ("list_task_history", "cancel_task"):
        task = await of_either(client.submit(FACE_SWAP, **WEBHOOK))
        await of_either(client.cancel(task) if operation == "cancel_task" else rows(client.history()))
        return task
    task = await of_either(client.run(FACE_SWAP, **WEBHOOK))
    if operation == "get_file":
        await of_either(client.download(task, folder))
    return task


async def ending_of(client: Any, operation: str, folder: Path) -> Ending:
    try:
        return await act(client, operation, folder), None
    except errors.SubmissionUncertain as error:
        return error, await of_either(error.find(client))
    except errors.UnitaskError as error:
        return error, None


async def of_either(result: Any) -> Any:
    return await result if inspect.isawaitable(result) else result


def perform(world: World, receiver: InstantReceiver, shell: str, operation: str, folder: Path) -> Ending:
    made, sleep = (AsyncClient, world.sleep_async) if shell == "async" else (Client, world.sleep)
    settings: dict[str, Any] = {"transport": Wire(world), "clock": world.clock, "webhooks": receiver}
    ending = ending_of(made(KEY, BASE_URL, sleep=sleep, **settings), operation, folder)
    found: Ending = asyncio.run(ending) if shell == "async" else at_once(ending)
    return found


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(("name", "operation"), CASES)
def test_named_fault_ends_as_the_library_says(
    name: str, operation: str, shell: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ENGINES, ("Qubico/image-toolkit", "face-swap"), quick_swap)
    hold(World(), name, operation, shell, tmp_path)


def hold(world: World, name: str, operation: str, shell: str, folder: Path) -> None:
    faults = tuple(named(name, operation=operation))
    receiver = InstantReceiver(world)
    speed = 0.01 if operation == "cancel_task" else "instant"  # a task must be pending when it is cancelled
    settings = {**world.settings(), "send_webhook": partial(world.deliver, receiver)}
    world.app = create_app(Settings(keys={KEY: 1.0}, speed=speed, faults=faults, **settings))
    try:
        end, found = perform(world, receiver, shell, operation, folder)
        made = [row["task_id"] for row in world.sandbox.history(KEY)["data"]]
        submissions = [arrival.status for arrival in world.sandbox.arrivals if arrival.operation == "create_task"]
        left = [fault for fault in world.sandbox.faults.coming() if fault.times and fault in faults]
    finally:
        world.sandbox.close()

    is_error = isinstance(end, errors.UnitaskError)
    assert (type(end).__name__ if is_error else "done") == library()[name].outcome[operation], end
    assert left == []
    assert len(made) <= 1
    assert all(status and 400 <= status < 500 for status in submissions[:-1])
    if operation not in ("create_task", "list_task_history") or not is_error:
        task_id = end.task_id if is_error else getattr(end, "id", None)
        assert [task_id] == made or (made == [] and operation in ("upload_file", "get_account_info"))
    if found:
        is_listed = made and all(fault.operation != "list_task_history" for fault in faults)
        assert found.outcome is (Outcome.FOUND if is_listed else Outcome.ABSENT)
        assert not is_listed or [found.task.id if found.task else None] == made


def test_every_fault_says_where_it_is_from() -> None:
    for name, fault in library().items():
        assert fault.evidence in EVIDENCE, name
        assert fault.evidence != "plausible" or fault.source, name
