"""`unitask demo`: the whole way of one call over real HTTP, with the local provider and two public-domain portraits."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from unitask_sandbox import Settings, running, samples

from . import tasks
from ._model.task import Output, Task
from ._terminal import dollars
from .client import Client
from .download import check_destination

Picture = cv2.typing.MatLike


def demo(out: Path, say: Callable[[str], object]) -> Path:
    """Swap a face, report the steps, and write ``swapped.png`` and ``sheet.png``; return the latter's path."""
    for name in ("swapped.png", "sheet.png"):
        check_destination(out / name, overwrite=True)
    target, source = samples.ASTRONAUT, samples.GRACE_HOPPER
    say(f"Putting the face of {source.name} onto {target.name}. Real people: have their consent outside of demos.")
    with running(Settings(speed=3.0)) as url, Client("sandbox", url) as client:
        say(f"The local provider is at {url}.")
        started = time.monotonic()

        def progress(task: Task[Output]) -> None:
            say(f"  {time.monotonic() - started:5.1f} s  task {task.id} is {task.status}")

        task = client.run(tasks.FaceSwap(target_image=target, swap_image=source), on_change=progress)
        (swapped,) = client.download(task, out / "swapped.png", overwrite=True)
    for name in ("created_at", "started_at", "ended_at"):
        moment = getattr(task, name)
        say(f"  {name:<11} {f'{moment:%Y-%m-%d %H:%M:%S.%f} UTC' if moment else 'unknown'}")
    cost = dollars(task.cost_usd or None)
    say(f"  cost        {f'{cost} of the play money of the sandbox' if cost else 'unknown'}")
    sheet = out / "sheet.png"
    write_sheet(sheet, {"target": target, "source": source, "result": swapped})
    say(f"Look at {swapped} and {sheet}.")
    return sheet


def write_sheet(path: Path, pictures: dict[str, Path], height: int = 512) -> None:
    """Write pictures side by side, each under its name."""
    columns: list[Picture] = []
    for name, file in pictures.items():
        picture = cv2.imread(str(file))
        if picture is None:
            raise ValueError(f"{file} cannot be read as a picture")
        width = round(picture.shape[1] * height / picture.shape[0])
        column = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
        column = cv2.copyMakeBorder(column, 40, 8, 8, 8, cv2.BORDER_CONSTANT, value=(255, 255, 255))
        cv2.putText(column, name, (8, 28), cv2.FONT_HERSHEY_SIMPLEX, 0.8, (0, 0, 0), 1, cv2.LINE_AA)
        columns.append(column)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), np.hstack(columns)):
        raise OSError(f"{path} cannot be written")
