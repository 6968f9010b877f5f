"""Every public call with the type that a checker must infer; read by mypy and basedpyright, never run."""

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any, Literal, assert_type

import numpy as np
import numpy.typing as npt
import unitask
from PIL import Image
from starlette.types import ASGIApp
from unitask import (
    AsyncClient,
    Client,
    HistoryRow,
    Output,
    OutputFile,
    State,
    Task,
    UnitaskError,
    errors,
    tasks,
    webhooks,
)
from unitask.tasks import FaceSwapOutput
from unitask.testing import InstantClock, ReceivedTask, UnitaskProvider, documented_example, task_bodies

SWAP = tasks.FaceSwap(target_image="a", swap_image="b")


def pictures(array: npt.NDArray[np.uint8], image: Image.Image) -> list[unitask.Picture]:
    """Everything that is accepted as a picture."""
    tasks.FaceSwap(target_image=array, swap_image=image, extra={"strength": 0.5})
    with Path("a.png").open("rb") as file:
        tasks.FaceSwap(target_image=file, swap_image=BytesIO())
    return ["a.png", Path("a.png"), b"", bytearray(), memoryview(b""), BytesIO(), array, image]


def sync(client: Client) -> None:
    """All calls of the sync client."""
    assert_type(client.run(tasks.FaceSwap(target_image="a", swap_image="b")).output.image_url, str | None)
    done = client.run(SWAP, timeout=60, on_change=print, validate=False, webhook_url="https://me.test")
    task = client.submit(SWAP, webhook_secret="s", service_mode="public")
    assert_type(done, Task[FaceSwapOutput])
    assert_type(task, Task[FaceSwapOutput])
    assert_type(client.wait(task, timeout=0, on_change=lambda task: task.state), Task[FaceSwapOutput])
    assert_type(client.wait(task.token), Task[Output])
    assert_type(client.get(task), Task[FaceSwapOutput])
    assert_type(client.get("id"), Task[Output])
    assert_type(client.run(tasks.Raw("m", "t", {"prompt": "x"})), Task[Output])
    assert_type(client.watch(task, timeout=1.5), Iterator[Task[Output]])
    assert_type(client.download(task, "out/", overwrite=True), list[Path])
    assert_type(client.wait_all([task, "id"], timeout=5), list[Task[Any] | UnitaskError])
    assert_type(client.account(), unitask.Account)
    assert_type(client.active_tasks(), dict[str, unitask.ActiveTasks])
    assert_type(client.history(group="kling", start=1.7e9, end=datetime.now(UTC), page_size=5), Iterator[HistoryRow])
    assert_type(client.upload("a.png"), unitask.Upload)
    assert_type(client.download(done.output.files, "out/", previews=True, parallel=2), list[Path])
    assert_type(client.download(done.output.files[0], Path("a.png")), list[Path])
    client.cancel(task)
    client.cancel_many(created_before=datetime.now(UTC), group="kling")
    client.cancel_many(created_before=1.7e9)
    with Client("key", "https://provider.test", http_timeout=1, poll_patience=2.5) as other:
        assert_type(other, Client)


async def asynchronous(client: AsyncClient) -> None:
    """The calls of the async client, which is generated from the sync one."""
    task = await client.submit(SWAP)
    assert_type((await client.run(SWAP)).output.image_url, str | None)
    assert_type(await client.wait(task), Task[FaceSwapOutput])
    assert_type(client.watch("id"), AsyncIterator[Task[Output]])
    assert_type(client.history(), AsyncIterator[HistoryRow])
    assert_type(await client.wait_all([task, "id"]), list[Task[Any] | UnitaskError])
    tasks.FaceSwap(target_image=await client.upload(Path("a.png")), swap_image="b")
    async with AsyncClient() as other:
        assert_type(other, AsyncClient)


def values(task: Task[FaceSwapOutput]) -> None:
    """The fields of a task."""
    assert_type(task.state, State)
    assert_type(task.output, FaceSwapOutput)
    (file,) = task.output.files
    assert_type(file, OutputFile)
    assert_type(file.role, Literal["result", "preview", "variant", "input"])
    assert_type(file.kind, Literal["image", "video", "audio", "model", "file"] | None)


def failures(client: Client) -> None:
    """The fields of errors."""
    try:
        client.run(SWAP)
    except errors.WaitTimeout as error:
        assert_type(error.task.output if error.task else None, Output | None)
    except errors.DownloadFailed as error:
        assert_type(error.fetched, tuple[Path, ...])
        assert_type(error.missing, tuple[OutputFile, ...])
    except errors.SubmissionUncertain as error:
        assert_type(error.find(client), unitask.Recovery)
        assert_type(client.find(error, timeout=60).task, Task[Output] | None)


async def notifications(body: bytes, headers: dict[str, str]) -> ASGIApp:
    """Notifications of a webhook; frameworks take a receiver for an application."""
    found = webhooks.parse(body, headers, secret="s", tolerance=None)
    if isinstance(found, webhooks.TaskNotification):
        assert_type(found.task, Task[Output])
    else:
        assert_type(found, webhooks.AccountNotification)
    assert_type(webhooks.parse("{}", {}, secret=None), webhooks.Notification)
    received: list[webhooks.Notification] = []
    receiver = webhooks.Receiver(None, on_notification=received.append)
    assert_type(receiver.wait_for_notification("id", 1), str | None)
    assert_type(await receiver.wait_for_notification_async(["id", "other"], 1.5), str | None)
    return receiver


def tests(unitask_provider: UnitaskProvider) -> None:
    """The fixture in the tests of a program."""
    unitask_provider.completes(tasks.FaceSwap, image_url=b"", statuses=["pending", {"code": 200}], times=2)
    unitask_provider.fails("no face found in the image", tasks.FaceSwap)
    unitask_provider.refuses(status=429, headers={"retry-after": "1"})
    unitask_provider.loses_the_answer(accepted=False)
    unitask_provider.answers(documented_example("faceswap.face-swap.completed.200"), b"<html>", OSError())
    assert_type(unitask_provider.tasks, list[ReceivedTask])
    assert_type(unitask_provider.clock.sleeps, list[float])
    clock = InstantClock()
    Client(clock=clock, sleep=clock.sleep)
    AsyncClient(clock=clock, sleep=clock.sleep_async)
    task_bodies(tasks.FaceSwap).map(lambda body: body["data"])
