"""The command line: what you asked for goes to stdout, what happens meanwhile to stderr.

Exit codes: 0 done, 1 it failed (the reason is on stderr), 2 wrong use, 130 interrupted. `contract` has its own:
0 kept, 1 broken, 2 could not be run.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import errors, tasks
from ._core import spec
from .files import folder_problems, place_problems

if TYPE_CHECKING:
    from .client import Client
    from .task import Output, Task

REAL_CONCURRENCY = 5  # of the Creator plan, by a public client (2025); no page gives a rate
OPEN = "warning: everybody who can reach {} can use this sandbox; its key is no secret, and nothing is encrypted"
CONTRACT_MISSING = "the contract checks are not installed: pip install 'unitask[testing]'"
SANDBOX_MISSING = "the local provider is not installed: pip install 'unitask[sandbox]'"


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["contract"]:
        return _contract(arguments[1:])
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        return command(options)
    except errors.UnitaskError as error:
        _say(f"unitask: {error}")
        if error.task_id and not isinstance(error, errors.TaskFailed):
            _say(f"unitask: `unitask wait {error.task_id}` waits for the task")
        return 1
    except KeyboardInterrupt as interruption:
        _say("\n".join(["unitask: interrupted", *getattr(interruption, "__notes__", [])]))
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="unitask", description="Client and local provider for the unified generation-task API (PiAPI, Qubico)."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    catalogue = commands.add_parser("tasks", help="what can be made")
    catalogue.add_argument("--json", action="store_true", help="as a JSON list")
    catalogue.set_defaults(command=_tasks)

    run = commands.add_parser("run", help="make something, and fetch it")
    run.add_argument("name", help="a class of unitask.tasks, such as FaceSwap")
    run.add_argument("fields", nargs="*", metavar="FIELD=VALUE", help="its input; a file is given by its path")
    run.set_defaults(command=_run)

    wait = commands.add_parser("wait", help="wait for a task that is there, and fetch what it makes")
    wait.add_argument("task_id")
    wait.set_defaults(command=_wait)
    for command in (run, wait):
        command.add_argument("--to", metavar="FILE", help="where to put the output; a folder with a slash at its end")
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
    sandbox.add_argument("--data", type=Path, metavar="FOLDER", help="keep tasks and files here")
    sandbox.add_argument(
        "--concurrency",
        type=int,
        metavar="N",
        help=f"tasks that a key may have at once (default: no limit; {REAL_CONCURRENCY} at --speed real)",
    )
    sandbox.add_argument("--rate", type=float, metavar="N", help="requests a second of a key (default: no limit)")
    sandbox.add_argument("--key", action="append", default=[], metavar="KEY=USD", help="accept this key too")
    sandbox.add_argument("--faults", type=Path, metavar="FILE", help="what shall go wrong, in JSON: docs/faults.md")
    sandbox.set_defaults(command=_sandbox)

    commands.add_parser("contract", help="does a provider keep the contract? (unitask contract --help)")

    demo = commands.add_parser("demo", help="swap two faces with the local provider")
    demo.add_argument("--out", type=Path, default=Path("out/demo"), metavar="FOLDER")
    demo.set_defaults(command=_demo)
    return parser


def _tasks(options: argparse.Namespace) -> int:
    entries = [dataclasses.asdict(entry) for entry in spec.task_types().values()]
    if options.json:
        print(json.dumps(entries, indent=2))
        return 0
    for entry in entries:
        print(f"{entry['name']:<20} {entry['model']} {entry['task_type']}, {_price(entry['price'])}. {entry['docs']}")
    return 0


def _price(price: dict[str, Any] | None) -> str:
    if price is None:
        return "unknown price"
    usd = f"{min(rate['usd'] for rate in (price, *price.get('more', []))):.7f}".rstrip("0")
    return f"{'from ' if 'more' in price else ''}${usd} per {price['per']}"


def _run(options: argparse.Namespace) -> int:
    _check_place(options)
    task = _task_of(options.name, options.fields)
    with _client(options) as client:
        done = client.run(task, timeout=options.timeout, on_change=_progress)
        return _deliver(client, done, options)


def _wait(options: argparse.Namespace) -> int:
    _check_place(options)
    with _client(options) as client:
        done = client.wait(options.task_id, timeout=options.timeout, on_change=_progress)
        return _deliver(client, done, options)


def _sandbox(options: argparse.Namespace) -> int:
    try:
        from unitask_sandbox import Settings, serve
    except ImportError:
        raise errors.InvalidInput(SANDBOX_MISSING) from None
    keys = {"sandbox": 10.0, **dict(_key_and_balance(text) for text in options.key)}
    speed = _speed(options.speed)
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
        _say(OPEN.format(options.host))
    try:
        serve(settings, host=options.host, port=options.port, on_ready=lambda url: _announce(url, list(keys)))
    except OSError as error:
        raise errors.InvalidInput(f"the sandbox cannot start: {error}") from error
    return 0


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
        _say(f"unitask: {CONTRACT_MISSING} ({error})")
        return 2
    return command.main(arguments)


def _demo(options: argparse.Namespace) -> int:
    try:
        from .demo import demo
    except ImportError:
        raise errors.InvalidInput(SANDBOX_MISSING) from None
    demo(options.out, say=print)
    return 0


def _task_of(name: str, fields: list[str]) -> Any:
    if name not in spec.task_types():
        raise errors.InvalidInput(f"there is no task type {name!r}: `unitask tasks` lists them")
    kind = getattr(tasks, name)
    known = {field.name: field for field in dataclasses.fields(kind) if field.name != "extra"}
    given = {field: value for field, _, value in (text.partition("=") for text in fields)}
    missing = [field for field, rule in known.items() if rule.default is dataclasses.MISSING and field not in given]
    wrong = [f"{name} has no field {field!r}; it has {', '.join(known)}" for field in given if field not in known]
    wrong += [f"{name} needs {field}=..." for field in missing]
    if wrong:
        raise errors.InvalidInput(*wrong)
    return kind(**given)


def _check_place(options: argparse.Namespace) -> None:
    """Before anything is paid: can the output be put where it shall go?"""
    if not options.to:
        return
    place = Path(options.to)
    is_folder = options.to.endswith("/")
    if wrong := list(folder_problems(place) if is_folder else place_problems(place, overwrite=options.overwrite)):
        raise errors.InvalidInput(*(problem.replace("overwrite=True", "--overwrite") for problem in wrong))


def _deliver(client: Client, task: Task[Output], options: argparse.Namespace) -> int:
    if options.to:
        for path in client.download(task, options.to, overwrite=options.overwrite):
            print(path)
    else:
        print(json.dumps(task.raw, indent=2))
    return 0


def _client(options: argparse.Namespace) -> Client:
    from .client import Client

    return Client(base_url=options.base_url)


def _progress(task: Task[Output]) -> None:
    _say(f"task {task.id}: {task.status}")


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
        return key, float(balance or 10.0)
    except ValueError:
        raise errors.InvalidInput(f"--key: {balance!r} is no balance in USD") from None


def _announce(url: str, keys: list[str]) -> None:
    print(f"The local provider is at {url}. It swaps real faces: have the consent of the persons shown.")
    print(f"export UNITASK_BASE_URL={url} UNITASK_API_KEY={keys[0]}", flush=True)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
