"""Commands for one task: `run`, `submit`, `wait`, `get`, `download`, `cancel`, `upload`."""

import warnings
from collections.abc import Generator
from contextlib import contextmanager
from typing import Annotated, Any

from typer import Argument, Context, Option

from .. import errors
from .._model.task import Task
from .._terminal import put, say, task_of
from ..client import Client
from ..download import check_destination
from ..inputs import AdvisoryWarning
from ..media import from_home
from ._client import connect
from ._output import progress, put_json
from ._report import Place

TaskName = Annotated[str, Argument(metavar="TASK", help="A task type, such as face-swap; `unitask tasks` lists them.")]
Fields = Annotated[
    list[str] | None,
    Argument(metavar="FIELD=VALUE", help="The input; repeat the FIELD of a list; FIELD:=JSON for any value."),
]
TaskId = Annotated[str, Argument(metavar="ID", help="The id of a task; of a legacy task, the token that is shown.")]
To = Annotated[str | None, Option(metavar="PLACE", help="Save the output as FILE, or in FOLDER/.")]
Overwrite = Annotated[bool, Option("--overwrite", help="Replace a file that exists.")]
Timeout = Annotated[float | None, Option(metavar="SECONDS", help="Stop waiting after this time; the task goes on.")]
BaseUrl = Annotated[
    str | None, Option(metavar="URL", help="The provider (default: UNITASK_BASE_URL, or the live API).")
]


def run(
    ctx: Context,
    task: TaskName,
    fields: Fields = None,
    to: To = None,
    overwrite: Overwrite = False,
    timeout: Timeout = None,
    base_url: BaseUrl = None,
) -> None:
    """Run a task, and fetch its result."""
    place = _place(ctx, to, base_url, overwrite=overwrite)
    given = task_of(task, fields or ())
    with connect(base_url) as client, _advice():
        done = client.run(given, timeout=timeout, on_change=progress(place))
        _deliver(client, done, place)


def submit(ctx: Context, task: TaskName, fields: Fields = None, base_url: BaseUrl = None) -> None:
    """Submit a task without waiting for it."""
    place = _place(ctx, None, base_url)
    given = task_of(task, fields or ())
    with connect(base_url) as client, _advice():
        place.task = client.submit(given)
        put(place.task.id)


def wait(
    ctx: Context,
    task_id: TaskId,
    to: To = None,
    overwrite: Overwrite = False,
    timeout: Timeout = None,
    base_url: BaseUrl = None,
) -> None:
    """Wait for a task, and fetch its result."""
    place = _place(ctx, to, base_url, overwrite=overwrite, handle=task_id)
    with connect(base_url) as client:
        done = client.wait(task_id, timeout=timeout, on_change=progress(place))
        _deliver(client, done, place)


def get(task_id: TaskId, base_url: BaseUrl = None) -> None:
    """Show a task as it is now."""
    with connect(base_url) as client:
        put_json(client.get(task_id).raw)


def download(
    ctx: Context, task_id: TaskId, to: To = None, overwrite: Overwrite = False, base_url: BaseUrl = None
) -> None:
    """Fetch the files of a task that is done."""
    place = _place(ctx, to or "./", base_url, overwrite=overwrite, handle=task_id)
    with connect(base_url) as client:
        _deliver(client, client.get(task_id), place)


def cancel(task_id: TaskId, base_url: BaseUrl = None) -> None:
    """Cancel a task that has not begun."""
    with connect(base_url) as client:
        client.cancel(task_id)


def upload(
    file: Annotated[str, Argument(metavar="FILE", help="jpg, png, webp, mp4, wav or mp3, at most 10 MB.")],
    base_url: BaseUrl = None,
) -> None:
    """Upload a file for 24 hours, and print its URL."""
    with connect(base_url) as client:
        put(client.upload(from_home(file)).url)


def _place(
    ctx: Context, to: str | None, base_url: str | None, *, overwrite: bool = False, handle: str | None = None
) -> Place:
    """Check where the results go; keep it for the last words of the command."""
    if to == "":
        raise errors.InvalidInput("--to is empty: give the name of a file, or a folder with a slash at its end")
    if to is not None:
        to = from_home(to)
        check_destination(to, overwrite=overwrite)
    place = Place(to, overwrite, base_url, handle=handle)
    ctx.obj = place
    return place


@contextmanager
def _advice() -> Generator[None]:
    """Report each advice on stderr."""

    def warn(message: Warning | str, *_: object, **__: object) -> None:
        say(f"unitask: warning: {message}")

    with warnings.catch_warnings():
        warnings.simplefilter("always", AdvisoryWarning)
        warnings.showwarning = warn
        yield


def _deliver(client: Client, task: Task[Any], place: Place) -> None:
    place.task = task
    if place.to is None:
        put_json(task.raw)
    else:
        put(*(str(path) for path in client.download(task, place.to, overwrite=place.overwrite)))
