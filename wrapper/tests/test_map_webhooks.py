"""`map` with webhooks: a notification brings the poll of its task, and other polls are the safety net."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
import uvicorn
from unitask import MapProgress, tasks
from unitask._core.pool import SAFETY_NET
from unitask.mapping import MapRun
from unitask.testing import UnitaskProvider
from unitask.webhooks import Receiver
from unitask_sandbox import Settings, running

from .shells import all_of, instant_clock, perform
from .test_map import a_pool, accepted, at, begun, ended, swaps

TASKS = 40
SECRET = "a webhook secret"


@contextmanager
def serving(receiver: Receiver) -> Iterator[str]:
    """Serve a receiver on a free port; yield its URL."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(receiver, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/hook"
    finally:
        server.should_exit = True
        thread.join()


def test_each_task_is_polled_once_when_its_end_is_notified(shell: str) -> None:
    inputs = [tasks.FluxSchnellTxt2Img(prompt=f"{number}") for number in range(TASKS)]
    receiver, running_tasks = Receiver(SECRET), list[int]()
    with running(Settings(speed="real")) as url, serving(receiver) as hook:

        def end_all(progress: MapProgress) -> None:
            running_tasks.append(progress.running)
            if progress.running == TASKS:  # they go on while the clock of the provider is not moved
                httpx.post(f"{url}/_sandbox/clock", json={"advance": 200}).raise_for_status()

        options: dict[str, Any] = {"webhook_url": hook, "webhook_secret": SECRET, "on_progress": end_all}
        results = perform(
            shell, url, lambda client: all_of(client.map(inputs, **options)), api_key="sandbox", webhooks=receiver
        )
        polls = httpx.get(f"{url}/_sandbox/arrivals", params={"operation": "get_task"}).json()["arrivals"]

    assert sorted(result.index for result in results if result.task) == list(range(TASKS))
    assert TASKS in running_tasks
    assert len(polls) == TASKS


class Notified(Receiver):
    """A receiver of one notification for each task but one, as soon as the client waits for it."""

    def __init__(self, lost: int) -> None:
        super().__init__(None)
        self.lost, self.came = lost, list[str]()

    def wait_for_notification(self, task_ids: Any, *_: Any) -> str | None:
        """Return the id of a task."""
        new = [task_id for task_id in task_ids if task_id not in self.came]
        if len(new) <= self.lost:
            return None
        self.came.append(new[-1])
        return new[-1]

    async def wait_for_notification_async(self, task_ids: Any, *_: Any) -> str | None:
        """Do the same."""
        return self.wait_for_notification(task_ids)


@pytest.mark.parametrize("lost", [0, 2])
def test_task_whose_notification_is_lost_is_polled_after_a_minute(shell: str, lost: int) -> None:
    made = UnitaskProvider(clock=instant_clock())
    made.completes(statuses=("pending", "completed"))
    options: dict[str, Any] = {"webhook_url": "https://me.test/hook"}
    results = perform(shell, made, lambda client: all_of(client.map(swaps(5), **options)), webhooks=Notified(lost=lost))

    assert all(result.task for result in results)
    assert len([line for line in made.lines if line.startswith("GET")]) == 5
    assert made.clock.passed == (SAFETY_NET if lost else 0)


def test_accepted_task_wakes_the_worker_that_waits_since_its_notification_may_have_come_before() -> None:
    run = MapRun(a_pool(2, has_webhook=True), None, {}, (), None)
    first, second = begun(run.pool, 0.0)
    run.finish(ended(first, task=accepted(0)), at(0.0))
    assert run.next(at(0.0)) == SAFETY_NET
    run.finish(ended(second, task=accepted(1)), at(1.0))

    assert run.brings_forward(second.job.due)
