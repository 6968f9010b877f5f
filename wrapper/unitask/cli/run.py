"""Commands for one task: `run`, `submit`, `wait`, `get`, `download`, `cancel`, `upload`."""

import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Context, Option
from unitask_api.json_types import as_object, is_list, is_object, printable

from .. import errors
from .._core import requests
from .._core.uploads import Attachment
from .._model.task import Task
from .._terminal import is_terminal, put, put_file, say, task_type
from ..budget import Budget
from ..client import Client
from ..download import check_destination, names_folder
from ..inputs import AdvisoryWarning, Options, TaskInput, request_body
from ..media import from_home
from . import _config
from ._client import connect
from ._fields import in_words_of, read_stdin, task_from
from ._output import preview, progress, put_json, summary, wrong_ending
from ._report import Place
from ._state import handle, settle
from .catalogue import Fields, TaskName

STDOUT = "-"

TaskId = Annotated[str, Argument(metavar="ID", help="The id of a task; of a legacy task, the token that is shown.")]
To = Annotated[
    str | None,
    Option(
        metavar="PLACE", help="Save the output as FILE, several as FILE-1, ..., or in FOLDER/; - writes it to stdout."
    ),
]
Overwrite = Annotated[bool, Option("--overwrite", help="Replace a file that exists.")]
Timeout = Annotated[
    float | None, Option(metavar="SECONDS", min=0, help="End after this time; a task that was accepted goes on.")
]
BaseUrl = Annotated[str | None, Option(metavar="URL", help="The provider (default: the one of `unitask config`).")]
MaxUsd = Annotated[float | None, Option(metavar="USD", min=0, help="Send nothing if it may cost more.")]
WebhookUrl = Annotated[str | None, Option(metavar="URL", help="Where the provider reports the end of the task.")]
DryRun = Annotated[bool, Option("--dry-run", help="Print the request and its price, and send nothing.")]
AsJson = Annotated[bool, Option("--json", help="Print the task as JSON, as in a pipe; and the paths of its files.")]
Quiet = Annotated[bool, Option("--quiet", "-q", help="Report only errors.")]
Preview = Annotated[
    bool | None, Option("--preview/--no-preview", help="Show a picture, if the terminal can (default: except in CI).")
]


def run(
    ctx: Context,
    task: TaskName,
    fields: Fields = None,
    to: To = None,
    overwrite: Overwrite = False,
    no_wait: Annotated[bool, Option("--no-wait", help="Submit it, and print its id.")] = False,
    timeout: Timeout = None,
    max_usd: MaxUsd = None,
    webhook_url: WebhookUrl = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    show: Preview = None,
    base_url: BaseUrl = None,
) -> None:
    """Run a task, and fetch its result."""
    place = _place(ctx, Place(to, overwrite, base_url, None, as_json, quiet, show))
    options: Options = {} if webhook_url is None else {"webhook_url": webhook_url}
    given = task_from(task, fields or ())
    _check_number(given, to)
    with in_words_of(task_type(task)) as spelled, _advice(spelled, quiet=quiet):
        if dry_run:
            _print_request(given, options, base_url)
            return
        budget = None if max_usd is None else Budget(max_usd)
        with connect(base_url, budget=budget) as client:
            if no_wait:
                place.task = client.submit(given, **options)
                _print_submitted(place)
                return
            started = time.monotonic()
            with progress(place, quiet=quiet) as on_change:
                done = client.run(given, timeout=timeout, on_change=on_change, **options)
            _deliver(client, done, place, time.monotonic() - started)


def submit(
    ctx: Context,
    task: TaskName,
    fields: Fields = None,
    max_usd: MaxUsd = None,
    webhook_url: WebhookUrl = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    base_url: BaseUrl = None,
) -> None:
    """Submit a task without waiting for it: `run --no-wait`."""
    given: dict[str, Any] = {"max_usd": max_usd, "webhook_url": webhook_url, "dry_run": dry_run, "base_url": base_url}
    run(ctx, task, fields, no_wait=True, as_json=as_json, quiet=quiet, **given)


def wait(
    ctx: Context,
    task_id: TaskId,
    to: To = None,
    overwrite: Overwrite = False,
    timeout: Timeout = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    show: Preview = None,
    base_url: BaseUrl = None,
) -> None:
    """Wait for a task, and fetch its result."""
    place = _place(ctx, Place(to, overwrite, base_url, task_id, as_json, quiet, show))
    with connect(base_url) as client:
        with progress(place, quiet=quiet) as on_change:
            done = client.wait(task_id, timeout=timeout, on_change=on_change)
        _deliver(client, done, place)


def get(task_id: TaskId, as_json: AsJson = False, base_url: BaseUrl = None) -> None:
    """Show a task as it is now."""
    with connect(base_url) as client:
        task = client.get(task_id)
    if as_json or not is_terminal(sys.stdout):
        put_json(task.raw)
    else:
        put(*summary(task, ()))


def download(
    ctx: Context,
    task_id: TaskId,
    to: To = None,
    overwrite: Overwrite = False,
    previews: Annotated[bool, Option("--previews", help="Fetch covers and thumbnails, too.")] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    show: Preview = None,
    base_url: BaseUrl = None,
) -> None:
    """Fetch the files of a task that is done; without --to, into this folder."""
    to = "./" if to is None else to
    place = _place(ctx, Place(to, overwrite, base_url, task_id, as_json, quiet, show))
    with connect(base_url) as client:
        _deliver(client, client.get(task_id), place, previews=previews)


def cancel(task_id: TaskId, base_url: BaseUrl = None) -> None:
    """Cancel a task that has not begun."""
    with connect(base_url) as client:
        client.cancel(task_id)
    say(f"task {task_id} is cancelled")


def upload(
    file: Annotated[
        str, Argument(metavar="FILE", help="jpg, png, webp, mp4, wav or mp3, at most 10 MB; - reads stdin.")
    ],
    base_url: BaseUrl = None,
) -> None:
    """Upload a file for 24 hours, and print its URL."""
    with connect(base_url) as client:
        put(printable(client.upload(read_stdin() if file == STDOUT else from_home(file)).url))


def _place(ctx: Context, place: Place) -> Place:
    """Check where the results go; keep it for the last words of the command."""
    if place.to == "":
        raise errors.InvalidInput("--to is empty: give the name of a file, or a folder with a slash at its end")
    if place.to == STDOUT and is_terminal(sys.stdout):
        raise errors.InvalidInput("--to - writes a file to stdout, which is a terminal: pipe it, or give a name")
    if place.to == STDOUT and place.as_json:
        raise errors.InvalidInput("--to - and --json both write to stdout: name a file, or leave out --json")
    if place.to is not None and place.to != STDOUT:
        place.to = from_home(place.to)
        check_destination(place.to, overwrite=place.overwrite)
    ctx.obj = place
    return place


def _check_number(given: TaskInput[Any], to: str | None) -> None:
    """Refuse the name of one file for a task whose input asks for several, before it is paid."""
    number = getattr(given, "batch_size", None)
    if to is not None and isinstance(number, int | float) and number > 1 and not names_folder(to):
        folder = "DIR/" if to == STDOUT else f"{Path(to).with_suffix('')}/"
        raise errors.InvalidInput(
            f"batch-size={number:g} makes {number:g} files, and --to {to} takes one: name a folder, as in --to {folder}"
        )


@contextmanager
def _advice(spelled: Callable[[str], str], *, quiet: bool) -> Generator[None]:
    """Report each advice on stderr, in the words of a command; none if `quiet`."""

    def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        if issubclass(category, AdvisoryWarning):
            say(f"unitask: warning: {spelled(str(message))}")
        else:
            usual(message, category, *where, **more)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore" if quiet else "always", AdvisoryWarning)
        usual, warnings.showwarning = warnings.showwarning, show
        yield


def _print_request(given: TaskInput[Any], options: Options, base_url: str | None) -> None:
    """Print the request of a submission as JSON, with files as their size."""
    usd = given.estimate_usd()
    send = requests.create(request_body(given, options, uploads=True))
    url = f"{_config.base_url(base_url).value}{send.path}"
    put_json({"method": send.method, "url": url, "json": _without_files(send.json), "estimate_usd": usd})


def _without_files(value: Any) -> Any:
    if isinstance(value, Attachment):
        return repr(value)
    if is_object(value):
        return {key: _without_files(item) for key, item in value.items()}
    return [_without_files(item) for item in value] if is_list(value) else value


def _print_submitted(place: Place) -> None:
    task = place.task
    _check_stdout()
    if place.as_json:
        put_json(task.raw)
    else:
        put(printable(handle(task)))
    settle(task.id)
    if not place.quiet:
        say(f"unitask: `{place.command(task.id)}` waits for it")


def _deliver(
    client: Client, task: Task[Any], place: Place, seconds: float | None = None, *, previews: bool = False
) -> None:
    """Fetch the files of a task, and print what became of it."""
    place.task = task
    simulated = as_object(task.raw.get("meta")).get("simulated")  # by the local provider
    if simulated and not place.quiet:
        say(f"unitask: {simulated!s:.200}")
    _put_result(client, task, place, seconds, previews=previews)
    settle(task.id)


def _put_result(client: Client, task: Task[Any], place: Place, seconds: float | None, *, previews: bool) -> None:
    if place.to == STDOUT:
        _check_stdout()
        _put_file(client, task)
        return
    paths = list[Path]()
    if place.to is not None:
        paths = client.download(task, place.to, overwrite=place.overwrite, previews=previews)
        if not place.quiet:
            if len(paths) > 1 and not names_folder(place.to):
                say(f"unitask: there are {len(paths)} output files, so their names have numbers")
            say(*(f"unitask: warning: {problem}" for path in paths if (problem := wrong_ending(path))))
    _check_stdout()
    if place.as_json:
        put_json({**task.raw, "files": [str(path) for path in paths]} if place.to is not None else task.raw)
    elif place.quiet or not is_terminal(sys.stdout):
        put(*map(str, paths)) if place.to is not None else put_json(task.raw)
    else:
        put(*summary(task, paths, seconds))
        if place.preview is not False and paths:
            preview(paths[0])


def _check_stdout() -> None:
    if sys.stdout is None:  # it was closed before the process began: the task stays open for `unitask find`
        raise BrokenPipeError


def _put_file(client: Client, task: Task[Any]) -> None:
    """Write the only file of a task to stdout."""
    with tempfile.TemporaryDirectory() as folder:
        paths = client.download(task, f"{folder}/")
        if len(paths) > 1:
            raise errors.InvalidInput(f"there are {len(paths)} output files, and --to - writes one: name a folder")
        put_file(paths[0])
