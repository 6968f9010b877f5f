"""The command line: results go to stdout, reports to stderr.

Exit codes: 0 success, 1 failure (the reason is on stderr), 2 wrong use, 130 interrupted, 141 stdout was closed.
`contract` has its own: 0 kept, 1 broken, 2 could not be run.

Rules of this file: text of a provider is escaped; once a task was accepted, every message about an end names the id,
the cost, and the command that continues with it.
"""

import argparse
import dataclasses
import errno
import json
import logging
import re
import shlex
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from unitask_api import contract
from unitask_api.json_types import printable

from . import errors
from ._model.task import Output, Task
from ._terminal import dollars, give_up, put, say, take_every_character, task_of
from .bulk import command as bulk
from .client import Client
from .download import check_destination, names_folder
from .inputs import AdvisoryWarning
from .media import from_home

REAL_CONCURRENCY = 5  # of the Creator plan, by a public client (2025); no page gives a rate
OPEN = "warning: everyone who can reach {} can use this sandbox; its key is not a secret, and nothing is encrypted"
CONTRACT_MISSING = "the contract checks are not installed: pip install 'unitask[testing]'"
SEARCH = (
    "unitask: search the task history on the provider's site before you run this again, since it may be paid; "
    "`unitask wait ID` fetches the result of a task by its id"
)
SANDBOX_MISSING = "the local provider is not installed: pip install 'unitask[sandbox]'"
CLOSED_PIPE = 141  # 128 + SIGPIPE, as a shell has it
_NO_LOG = logging.NullHandler()  # the command line reports these events itself


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    take_every_character()
    logging.getLogger("unitask").addHandler(_NO_LOG)
    try:
        try:
            return _main(sys.argv[1:] if arguments is None else arguments)
        finally:
            put()  # flush what argparse or the harness has written
    except BrokenPipeError:  # as of `| head`, when it has enough
        give_up(sys.stdout)
        return CLOSED_PIPE
    except errors.UnitaskError as error:  # of the flush
        say(f"unitask: {error}")
        return 1


def _main(arguments: list[str]) -> int:
    if arguments[:1] == ["contract"]:
        return _contract(arguments[1:])
    if arguments[:1] == ["bulk"]:
        return bulk.main(arguments[1:])
    options = _options(arguments)
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        return command(options)
    except BrokenPipeError:
        raise
    except errors.UnitaskError as error:
        say(*_report(error, options))
    except KeyboardInterrupt as interruption:
        say(*_report(interruption, options))
        return 130
    except Exception as error:
        if options.seen is None:
            raise
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(place.filename).name}, line {place.lineno}"
        say(f"unitask: {type(error).__name__}: {error} ({where}); please report it")
        say(*_continue(options, options.seen.id))
    return 1


def _options(arguments: list[str]) -> argparse.Namespace:
    parser, run = _parser()
    if arguments[:1] == ["run"]:  # of a parser with commands, argparse cannot intermix them
        return run.parse_intermixed_args(arguments[1:])
    return parser.parse_args(arguments)


def _parser() -> tuple[argparse.ArgumentParser, argparse.ArgumentParser]:
    parser = argparse.ArgumentParser(
        prog="unitask", description="Client and local provider for the unified generation-task API (PiAPI, Qubico)."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    catalogue = commands.add_parser("tasks", help="list the task types")
    catalogue.add_argument("--json", action="store_true", help="as a JSON list")
    catalogue.set_defaults(command=_tasks)

    run = commands.add_parser("run", help="run a task, and fetch its result")
    run.add_argument("name", help="a class of unitask.tasks, such as FaceSwap")
    run.add_argument("fields", nargs="*", metavar="FIELD=VALUE", help="its input; repeat a list's FIELD; FIELD:=JSON")
    run.set_defaults(command=_run)

    wait = commands.add_parser("wait", help="wait for a task, and fetch its result")
    wait.add_argument("task_id", help="the id that `run` or `client.submit` has shown; of a legacy task, task.token")
    wait.set_defaults(command=_wait)
    for command in (run, wait):
        to_help = "save the output as FILE, or in FOLDER/; without it, print the task"
        command.add_argument("--to", type=from_home, metavar="FILE", help=to_help)
        command.add_argument("--overwrite", action="store_true", help="replace the file if it exists")
        command.add_argument("--timeout", type=float, metavar="SECONDS", help="stop waiting; the task goes on")
        command.add_argument("--base-url", help="the provider (default: UNITASK_BASE_URL, or the live API)")

    sandbox = commands.add_parser("sandbox", help="run the local provider")
    sandbox.add_argument("--port", type=int, default=8042, help="0 takes a free one (default: 8042)")
    sandbox.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    sandbox.add_argument("--allow-host", action="append", default=[], metavar="NAME", help="accept this host name too")
    origin_help = "let web pages of this origin call the API (https://app.example); repeat it; * for all"
    sandbox.add_argument("--allow-origin", action="append", default=[], metavar="ORIGIN", help=origin_help)
    public_help = "what addresses of files begin with, behind a proxy or in a container"
    sandbox.add_argument("--public-url", metavar="URL", help=public_help)
    unknown_help = "accept task types that the spec does not have; they are SIMULATED and free"
    sandbox.add_argument("--accept-unknown", action="store_true", help=unknown_help)
    sandbox.add_argument("--seed", type=int, metavar="N", help="give the same ids in each run (default: random ones)")
    private = sandbox.add_argument("--private-addresses", choices=("none", "loopback", "all"))
    private.help = "private addresses that inputs and webhooks may name (default: loopback; none with another --host)"
    sandbox.add_argument("--speed", default="instant", type=_speed, help="instant (default), real, or a factor")
    sandbox.add_argument("--data", type=_path, metavar="FOLDER", help="store tasks and files here")
    sandbox.add_argument("--concurrency", type=int, metavar="N", help="concurrent tasks of a key (5 at --speed real)")
    sandbox.add_argument("--rate", type=float, metavar="N", help="requests a second of a key (default: no limit)")
    key_help = "accept this key too; USD is its balance"
    sandbox.add_argument("--key", action="append", default=[], type=_key, metavar="KEY=USD", help=key_help)
    sandbox.add_argument("--faults", type=_path, metavar="FILE", help="faults to play, in JSON: docs/faults.md")
    sandbox.set_defaults(command=_sandbox)

    commands.add_parser("contract", help="check a provider, or recorded bodies, against the contract")

    commands.add_parser("bulk", help="run the tasks of a JSONL or CSV file, with a journal")

    demo = commands.add_parser("demo", help="swap two faces with the local provider")
    demo.add_argument("--out", type=_path, default=Path("out/demo"), metavar="FOLDER", help="default: out/demo")
    demo.set_defaults(command=_demo)
    for command in commands.choices.values():
        command.set_defaults(seen=None)  # the task, as it was last seen
    return parser, run


def _path(text: str) -> Path:
    return Path(from_home(text))


def _speed(text: str) -> str | float:
    try:
        return text if text in ("instant", "real") else float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not instant, real or a number") from None


def _key(text: str) -> tuple[str, float]:
    key, _, balance = text.partition("=")
    try:
        return key, float(balance or 10.0)
    except ValueError:
        raise argparse.ArgumentTypeError(f"the balance {balance!r} is not a number of dollars") from None


def _tasks(options: argparse.Namespace) -> int:
    entries = [dataclasses.asdict(entry) for entry in contract.task_types().values()]
    if options.json:
        put(json.dumps(entries, indent=2))
        return 0
    for entry in entries:
        put(f"{entry['name']:<20} {entry['model']} {entry['task_type']}, {_price(entry['price'])}. {entry['docs']}")
    return 0


def _price(price: dict[str, Any] | None) -> str:
    if price is None:
        return "price unknown"
    usd = dollars(min(rate["usd"] for rate in (price, *price.get("more", []))))
    return f"{'from ' if 'more' in price else ''}{usd} per {price['per']}"


def _run(options: argparse.Namespace) -> int:
    _check_place(options)
    task = task_of(options.name, options.fields)
    with Client(base_url=options.base_url) as client, warnings.catch_warnings():
        warnings.simplefilter("always", AdvisoryWarning)
        warnings.showwarning = _warn
        return _deliver(client, client.run(task, timeout=options.timeout, on_change=_progress(options)), options)


def _warn(message: Warning | str, *_: object, **__: object) -> None:
    say(f"unitask: warning: {message}")


def _wait(options: argparse.Namespace) -> int:
    _check_place(options)
    with Client(base_url=options.base_url) as client:
        done = client.wait(options.task_id, timeout=options.timeout, on_change=_progress(options))
        return _deliver(client, done, options)


def _sandbox(options: argparse.Namespace) -> int:
    try:
        from unitask_sandbox import Settings, read_faults, serve
    except ImportError:
        raise errors.InvalidInput(SANDBOX_MISSING) from None
    concurrency = options.concurrency
    if concurrency is None and options.speed == "real":
        concurrency = REAL_CONCURRENCY
    keys = {"sandbox": 10.0, **dict(options.key)}
    if options.host not in ("localhost", "::1") and not options.host.startswith("127."):
        say(OPEN.format(options.host))
    try:
        settings = Settings(
            keys=keys,
            speed=options.speed,
            data=options.data,
            concurrency=concurrency,
            rate=options.rate,
            allowed_hosts=tuple(options.allow_host),
            allowed_origins=tuple(options.allow_origin),
            public_url=options.public_url,
            accept_unknown=options.accept_unknown,
            seed=options.seed,
            private_addresses=options.private_addresses,
            faults=read_faults(options.faults) if options.faults else (),
        )
        serve(settings, host=options.host, port=options.port, on_ready=lambda url: _announce(url, options.public_url))
    except BrokenPipeError:
        raise
    except (OSError, ValueError, OverflowError) as error:
        reason: object = error
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            reason = f"port {options.port} is taken: give another one with --port, or 0 for a free one"
        raise errors.InvalidInput(f"the sandbox cannot start: {reason}") from error
    return 0


def _announce(url: str, public_url: str | None) -> None:
    place = f"{public_url}, and listens at {url}" if public_url else url
    put(f"The local provider is at {place}. It swaps real faces: have the consent of the persons shown.")
    put(f"export UNITASK_BASE_URL={public_url or url} UNITASK_API_KEY=sandbox")


def _contract(arguments: list[str]) -> int:
    try:
        from unitask_contract import command
    except ImportError as error:
        say(f"unitask: {CONTRACT_MISSING} ({error})")
        return 2
    return command.main(arguments)


def _demo(options: argparse.Namespace) -> int:
    try:
        from .demo import demo
    except ImportError:
        raise errors.InvalidInput(SANDBOX_MISSING) from None
    demo(options.out, say=lambda text: put(printable(text)))
    return 0


def _check_place(options: argparse.Namespace) -> None:
    if options.to == "":
        raise errors.InvalidInput("--to is empty: give the name of a file, or a folder with a slash at its end")
    if options.to is not None:
        check_destination(options.to, overwrite=options.overwrite)


def _deliver(client: Client, task: Task[Output], options: argparse.Namespace) -> int:
    options.seen = task
    if options.to is None:
        put(_json(task.raw))
    else:
        put(*(str(path) for path in client.download(task, options.to, overwrite=options.overwrite)))
    return 0


def _json(value: object) -> str:
    """Write a value as JSON in ASCII, without control characters; NaN and infinity become text."""
    value = json.loads(json.dumps(value), parse_constant=str)
    return json.dumps(value, indent=2).replace("\x7f", "\\u007f")


def _progress(options: argparse.Namespace) -> Callable[[Task[Output]], None]:
    def note(task: Task[Output]) -> None:
        options.seen = task
        say(f"task {task.id}: {task.status!s:.200}")

    return note


def _report(error: errors.UnitaskError | KeyboardInterrupt, options: argparse.Namespace) -> Iterator[str]:
    """Yield what went wrong, what is known of the task, and what to do next."""
    notes: list[str] = []
    match error:
        case KeyboardInterrupt():
            yield "unitask: interrupted"
            notes = getattr(error, "__notes__", [])
        case errors.InvalidInput():
            yield f"unitask: {'; '.join(error.problems)}"
        case errors.DownloadFailed():
            yield f"unitask: {error.reason}"
        case _:
            yield f"unitask: {error}"
    task_id = options.seen.id if options.seen else getattr(error, "task_id", None)
    if accepted := re.search(r"client\.wait\((['\"])(.+?)\1\)", " ".join(notes)):
        task_id = accepted[2]
    if task_id and not isinstance(error, errors.NotFound):
        yield from _continue(options, task_id, error)
    elif notes or isinstance(error, errors.SubmissionUncertain):
        yield from (*notes, SEARCH)


def _continue(options: argparse.Namespace, task_id: str, error: BaseException | None = None) -> Iterator[str]:
    """Yield what is known of an accepted task, and the command that continues with it."""
    if options.command is _demo:  # its provider ends with it
        return
    seen: Task[Output] | None = options.seen
    cost = seen.cost_usd if seen else None  # 0 until the provider fills it in
    yield f"unitask: task {task_id}: {seen.state if seen else 'accepted'}; paid: {dollars(cost or None) or 'unknown'}"
    if isinstance(error, errors.TaskFailed):
        return
    to = options.to
    if to and isinstance(error, errors.InvalidInput) and not names_folder(to):  # as for several files
        to = f"{Path(to).parent}/"
    words = ["--to", to] if to else []
    is_begun = isinstance(error, errors.DownloadFailed) and error.fetched
    words += ["--overwrite"] if options.overwrite or is_begun else []
    words += ["--base-url", options.base_url] if options.base_url else []
    handle = task_id
    if options.command is _wait:
        handle = options.task_id
    elif seen and seen.output_type.PROTOCOL != "unified":  # its id alone does not say how to poll it
        handle = seen.token
    words = [*words, "--", handle] if handle.startswith("-") else [handle, *words]
    yield f"unitask: `unitask wait {shlex.join(words)}` continues with it"
