"""`unitask demo`: one call over real HTTP, with the local provider and two public-domain portraits."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path

from unitask_sandbox import Settings, running, samples

from . import tasks
from ._model.task import Output, Task
from .client import Client
from .download import check_destination


def demo(out: Path, say: Callable[[str], object]) -> Path:
    """Swap a face, report the steps, and put both portraits and ``swapped.png`` into a folder; return its path."""
    swapped = out / "swapped.png"
    check_destination(swapped, overwrite=True)
    target, source = samples.ASTRONAUT, samples.GRACE_HOPPER
    say(f"Putting the face of {source} onto {target}. Real people: have their consent outside of demos.")
    with running(Settings(speed=3.0)) as url, Client("sandbox", url) as client:
        say(f"The local provider is at {url}.")
        started = time.monotonic()

        def progress(task: Task[Output]) -> None:
            say(f"  {time.monotonic() - started:5.1f} s  task {task.id} is {task.status}")

        task = client.run(tasks.FaceSwap(target_image=target, swap_image=source), on_change=progress)
        client.download(task, swapped, overwrite=True)
    for portrait in (target, source):
        shutil.copy(portrait, out)
    say(f"  cost: ${task.cost_usd or 0:g} of the play money of the sandbox")
    say(f"The result is {swapped}.")
    return swapped
