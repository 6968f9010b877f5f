"""The command line: what you asked for goes to stdout, what happens meanwhile to stderr.

Exit codes: 0 done, 1 it failed (the reason is on stderr), 2 wrong use, 130 interrupted, 141 stdout was
closed. `contract` has its own: 0 kept, 1 broken, 2 could not be run.

Rules of this file: what a provider wrote is shown escaped; once a task was accepted, every message
about an end names the id, what was paid, and the command that goes on; each next step is a command.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import errno
import json
import logging
import math
import re
import shlex
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from unitask_api import contract
from unitask_api.output_files import text_of
from unitask_api.outputs import output_named

from . import errors
from ._arguments import task_of
from ._model.task import Output, Task
from ._paths import from_home
from ._terminal import dollars, give_up, put, reworded, say, shown, take_every_character
from .client import Client
from .download import check_destination, names_folder
from .inputs import AdvisoryWarning

REAL_CONCURRENCY = 5  # of the Creator plan, by a public client (2025); no page gives a rate
OPEN = "warning: everybody who can reach {} can use this sandbox; its key is no secret, and nothing is encrypted"
CONTRACT_MISSING = "the contract checks are not installed: pip install 'unitask[testing]'"
HISTORY = "the task history on the provider's site"
_NO_LOG = logging.NullHandler()  # the command line reports these events itself
CLOSED_PIPE = 141  # 128 + SIGPIPE, as a shell has it
HIGHEST_PORT = 65_535
SANDBOX_MISSING = "the local provider is not installed: pip install 'unitask[sandbox]'"


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    take_every_character()
    logging.getLogger("unitask").addHandler(_NO_LOG)
    try:
        try:
            return _main(sys.argv[1:] if arguments is None else arguments)
        finally:
            put()  # what argparse or the harness has written
    except BrokenPipeError:  # as of `| head`, when it has enough
        give_up(sys.stdout)
        return CLOSED_PIPE
    except errors.InvalidInput as error:  # of the line above
        say(f"unitask: {'; '.join(error.problems)}")
        return 1


def _main(arguments: list[str]) -> int:
    if arguments[:1] == ["contract"]:
        return _contract(arguments[1:])
    options = _options(arguments)
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        return command(options)
    except BrokenPipeError:
        raise
    except errors.UnitaskError as error:
        say(*_told(error, options))
    except KeyboardInterrupt as interruption:
        say(*_told_of_interruption(interruption, options))
        return 130
    except Exception as error:
        if options.seen is None:
            raise
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(place.filename).name}, line {place.lineno}"
        say(
            f"unitask: {type(error).__name__}: {error} ({where}); please report it", *_goes_on(options, options.seen.id)
        )
    return 1


def _options(arguments: list[str]) -> argparse.Namespace:
    """Parse a command line, with options anywhere between the other words."""
    parser, commands = _parser()
    if arguments[:1] == ["run"]:  # of a parser with commands, argparse cannot intermix them
        return commands["run"].parse_intermixed_args(arguments[1:])
    return parser.parse_args(arguments)


def _parser() -> tuple[argparse.ArgumentParser, Mapping[str, argparse.ArgumentParser]]:
    """The parser of the whole, and those of the commands by name."""
    parser = argparse.ArgumentParser(
        prog="unitask", description="Client and local provider for the unified generation-task API (PiAPI, Qubico)."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    catalogue = commands.add_parser("tasks", help="what can be made")
    catalogue.add_argument("--json", action="store_true", help="as a JSON list")
    catalogue.set_defaults(command=_tasks)

    run = commands.add_parser("run", help="make something, and fetch it")
    run.add_argument("name", help="a class of unitask.tasks, such as FaceSwap")
    run.add_argument(
        "fields",
        nargs="*",
        metavar="FIELD=VALUE",
        help="its input; a file is given by its path, a list by several FIELD=ITEM, JSON by FIELD:=JSON",
    )
    run.set_defaults(command=_run)

    wait = commands.add_parser("wait", help="wait for a task that is there, and fetch what it makes")
    wait.add_argument("task_id")
    wait.set_defaults(command=_wait)
    for command in (run, wait):
        command.add_argument(
            "--to", type=from_home, metavar="FILE", help="where to put the output; a folder with a slash at its end"
        )
        command.add_argument("--overwrite", action="store_true", help="replace the file if it is there")
        command.add_argument("--timeout", type=float, metavar="SECONDS", help="how long to wait")
        command.add_argument("--base-url", help="the provider (else UNITASK_BASE_URL, else PiAPI)")

    sandbox = commands.add_parser("sandbox", help="run the local provider")
    sandbox.add_argument("--port", type=int, default=8042, help="0 takes a free one (default: 8042)")
    sandbox.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    sandbox.add_argument("--allow-host", action="append", default=[], metavar="NAME", help="a name it is called by")
    sandbox.add_argument(
        "--private-addresses",
        choices=("none", "loopback", "all"),
        help="which private addresses inputs and webhooks may name (default: loopback; with another --host none)",
    )
    sandbox.add_argument("--speed", default="instant", help="instant, real, or a factor (default: instant)")
    sandbox.add_argument("--data", type=_path, metavar="FOLDER", help="keep tasks and files here")
    sandbox.add_argument(
        "--concurrency",
        type=int,
        metavar="N",
        help=f"tasks that a key may have at once (default: no limit; {REAL_CONCURRENCY} at --speed real)",
    )
    sandbox.add_argument("--rate", type=float, metavar="N", help="requests a second of a key (default: no limit)")
    sandbox.add_argument("--key", action="append", default=[], metavar="KEY=USD", help="accept this key too")
    sandbox.add_argument("--faults", type=_path, metavar="FILE", help="what shall go wrong, in JSON: docs/faults.md")
    sandbox.set_defaults(command=_sandbox)

    commands.add_parser("contract", help="does a provider keep the contract? (unitask contract --help)")

    demo = commands.add_parser("demo", help="swap two faces with the local provider")
    demo.add_argument("--out", type=_path, default=Path("out/demo"), metavar="FOLDER")
    demo.set_defaults(command=_demo)
    for command in commands.choices.values():
        command.set_defaults(seen=None)  # the task, as it was last seen
    return parser, commands.choices


def _path(text: str) -> Path:
    return Path(from_home(text))


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
    with _client(options) as client, warnings.catch_warnings():
        warnings.simplefilter("always", AdvisoryWarning)
        warnings.showwarning = _warn
        return _deliver(client, client.run(task, timeout=options.timeout, on_change=_progress(options)), options)


def _warn(message: Warning | str, *_: object, **__: object) -> None:
    say(f"unitask: warning: {message}")


def _wait(options: argparse.Namespace) -> int:
    _check_place(options)
    with _client(options) as client:
        done = client.wait(options.task_id, timeout=options.timeout, on_change=_progress(options))
        return _deliver(client, done, options)


def _sandbox(options: argparse.Namespace) -> int:
    try:
        from unitask_sandbox import Settings, serve
    except ImportError:
        raise errors.InvalidInput(SANDBOX_MISSING) from None
    keys = {"sandbox": 10.0, **dict(_key_and_balance(text) for text in options.key)}
    speed = _speed(options.speed)
    _check_numbers(options)
    usual = REAL_CONCURRENCY if speed == "real" else None
    concurrency = usual if options.concurrency is None else options.concurrency
    more: dict[str, Any] = {"faults": _faults(options.faults)} if options.faults else {}
    try:
        settings = Settings(
            keys=keys,
            speed=speed,
            data=options.data,
            concurrency=concurrency,
            rate=options.rate,
            allowed_hosts=tuple(options.allow_host),
            private_addresses=options.private_addresses,
            **more,
        )
    except ValueError as error:
        raise errors.InvalidInput(str(error)) from None
    if options.host not in ("localhost", "::1") and not options.host.startswith("127."):
        say(OPEN.format(options.host))
    try:
        serve(settings, host=options.host, port=options.port, on_ready=lambda url: _announce(url, list(keys)))
    except BrokenPipeError:
        raise
    except (OSError, ValueError) as error:
        reason: object = error
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            reason = f"port {options.port} is taken: give another one with --port, or 0 for a free one"
        raise errors.InvalidInput(f"the sandbox cannot start: {reason}") from error
    return 0


def _check_numbers(options: argparse.Namespace) -> None:
    if not 0 <= options.port <= HIGHEST_PORT:
        raise errors.InvalidInput(f"--port {options.port}: give a number from 1 to {HIGHEST_PORT}, or 0 for a free one")
    if options.concurrency is not None and options.concurrency < 1:
        raise errors.InvalidInput(
            f"--concurrency {options.concurrency}: give a number from 1 on, or leave it out for no limit"
        )
    if options.rate is not None and not 0 < options.rate < math.inf:
        raise errors.InvalidInput(
            f"--rate {options.rate}: give a number of requests a second above 0, or leave it out for no limit"
        )


def _faults(path: Path) -> Any:
    from unitask_sandbox import read_faults

    try:
        return read_faults(path)
    except ValueError as error:
        raise errors.InvalidInput(f"--faults: {error}") from None


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
    try:
        demo(options.out, say=lambda text: put(shown(text)))
    except BrokenPipeError:
        raise
    except OSError as error:
        raise errors.InvalidInput(f"--out {str(options.out)!r} cannot be written: {error.strerror or error}") from None
    return 0


def _check_place(options: argparse.Namespace) -> None:
    """Before anything is paid: can the output be put where it shall go?"""
    if options.to is None:
        return
    if not options.to:
        raise errors.InvalidInput("--to is empty: give the name of a file, or a folder with a slash at its end")
    check_destination(options.to, overwrite=options.overwrite)


def _deliver(client: Client, task: Task[Output], options: argparse.Namespace) -> int:
    options.seen = task
    if options.to is None:
        put(_json(task.raw))
        return 0
    put(*(str(path) for path in client.download(task, options.to, overwrite=options.overwrite)))
    return 0


def _json(value: object) -> str:
    """A value as JSON that a terminal can show: in ASCII, without control characters; NaN and infinity as text."""
    value = json.loads(json.dumps(value), parse_constant=str)
    return json.dumps(value, indent=2).replace("\x7f", "\\u007f")


def _client(options: argparse.Namespace) -> Client:
    return Client(base_url=options.base_url)


def _progress(options: argparse.Namespace) -> Callable[[Task[Output]], None]:
    def note(task: Task[Output]) -> None:
        options.seen = task
        say(f"task {task.id}: {task.status!s:.200}")

    return note


def _told(error: errors.UnitaskError, options: argparse.Namespace) -> Iterator[str]:
    """What went wrong, what is known of the task, and what to do next."""
    task_id = options.seen.id if options.seen else error.task_id
    may_be_paid = task_id is not None or options.command not in (_run, _wait)
    if isinstance(error, errors.InvalidInput) and may_be_paid:
        yield f"unitask: {reworded('; '.join(error.problems))}"
    elif isinstance(error, errors.SubmissionUncertain):
        yield from _told_of_uncertain(error)
    else:
        words = error.reason if isinstance(error, errors.DownloadFailed) else str(error)
        yield f"unitask: {reworded(words)}"
    if task_id:
        yield from _goes_on(options, task_id, error)


def _told_of_uncertain(error: errors.SubmissionUncertain) -> Iterator[str]:
    what, _, _ = str(error).partition(". It was sent between ")
    start, end = (f"{moment:%Y-%m-%d %H:%M:%S}" for moment in error.sent_between)
    yield f"unitask: {reworded(what)}"
    yield f"unitask: it was sent between {start} and {end} UTC, and may be paid"
    if not error.task_id:
        yield (
            f"unitask: look for a {error.model} {error.task_type} task of that time in {HISTORY} before you run this "
            "again; `unitask wait ID` fetches it by its id"
        )


def _told_of_interruption(interruption: KeyboardInterrupt, options: argparse.Namespace) -> Iterator[str]:
    yield "unitask: interrupted"
    if options.seen:
        yield from _goes_on(options, options.seen.id)
        return
    notes: list[str] = getattr(interruption, "__notes__", [])
    for note in notes:
        if accepted := re.search(r"client\.wait\((['\"])(.+?)\1\)", note):
            yield from _goes_on(options, accepted[2])
        else:
            yield reworded(note)
    if any("may have been accepted" in note for note in notes):
        yield f"unitask: look for it in {HISTORY} before you run this again"


def _goes_on(options: argparse.Namespace, task_id: str, error: Exception | None = None) -> Iterator[str]:
    """What is known of an accepted task, and the command that goes on with it."""
    seen: Task[Output] | None = options.seen
    if isinstance(error, errors.NotFound) and not seen:
        return
    state = f"is {seen.state}" if seen and seen.done else "goes on" if seen else "may go on"
    cost = seen.cost_usd if seen else None  # 0 is no price: it stands there until the provider fills it in
    yield f"unitask: task {task_id} {state}; paid: {dollars(cost or None) or 'unknown'}"
    if isinstance(error, errors.TaskFailed):
        return
    to, replaces = options.to, options.overwrite
    if isinstance(error, errors.DownloadFailed) and error.fetched:
        replaces = True
    files = _files(seen) if seen and seen.done else 1
    if not files:
        to, replaces = None, False
    elif to and files > 1 and not names_folder(to):
        to = f"{Path(to).with_suffix('')}/"
    words = ["--to", to] if to else []
    words += ["--overwrite"] if replaces else []
    words += ["--base-url", options.base_url] if options.base_url else []
    handle = _handle(options, task_id)
    words = [*words, "--", handle] if handle.startswith("-") else [handle, *words]
    does = "shows it" if seen and seen.done and not to else "fetches its result" if to else "waits for it"
    yield f"unitask: `unitask wait {shlex.join(words)}` {does}"


def _files(task: Task[Output]) -> int:
    """How many files `--to` has to fetch, a text among them."""
    with contextlib.suppress(errors.UnitaskError):  # an output that is no object
        results = [file for file in task.output.files if file.role == "result"]
        return len(results) or bool(text_of(task.output.raw, type(task.output).__name__))
    return 0


def _handle(options: argparse.Namespace, task_id: str) -> str:
    """What `unitask wait` takes for a task: its id, or its token if the id alone does not say how to poll it."""
    if options.command is _wait:
        given: str = options.task_id
        return given
    entry = contract.task_types()[options.name]
    if entry.protocol == "unified":
        return task_id
    known = {"task_id": task_id, "model": entry.model, "task_type": entry.task_type}
    return Task(known, output_named(entry.output)).token


def _speed(text: str) -> Any:
    if text in ("instant", "real"):
        return text
    try:
        return float(text)
    except ValueError:
        raise errors.InvalidInput(f"--speed is {text!r}: instant, real, or a factor such as 10") from None


def _key_and_balance(text: str) -> tuple[str, float]:
    key, _, balance = text.partition("=")
    try:
        usd = float(balance or 10.0)
    except ValueError:
        usd = math.nan
    if not 0 <= usd < math.inf:
        raise errors.InvalidInput(f"--key: {balance!r} is no balance in USD: give 0 or more")
    return key, usd


def _announce(url: str, keys: list[str]) -> None:
    put(f"The local provider is at {url}. It swaps real faces: have the consent of the persons shown.")
    put(f"export UNITASK_BASE_URL={url} UNITASK_API_KEY={keys[0]}")
