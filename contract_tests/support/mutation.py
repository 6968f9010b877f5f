"""Wrong answers: every documented body, changed in one step, and what a client makes of it.

A mutant that the spec still allows must be understood. Any other must end in a typed error, when the call is made or
when the broken part is read, or in a tolerance of `tolerances.yaml`, which has a name and a reason. Anything else is a
finding: an exception of another type ("untyped"), or no error ("silent").
"""

import copy
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from functools import cache
from importlib import import_module
from pathlib import Path as FilePath
from typing import Any, cast

import httpx
import unitask_api
import unitask_api.errors
import yaml
from unitask import Client, errors, tasks
from unitask_api import contract
from unitask_contract import bundle
from unitask_contract.bundle import fields
from unitask_contract.schema_paths import Path, parts, pointer

from .scenario_runner import BASE_URL, KEY, Time

HUGE = 10**400
DEEP = 20_000  # levels; json reads a thousand in Python 3.11, ten thousand in 3.13
UNREADABLE = ("surrogate", "huge")  # a schema cannot forbid them
DROPPED = object()


class Verdict(StrEnum):
    """What became of a mutant."""

    UNDERSTOOD = "understood"  # the spec allows it, and it was read
    TYPED = "typed"
    TOLERATED = "tolerated"
    REFUSED = "refused"  # the spec allows it, and it was not read
    UNTYPED = "untyped"
    SILENT = "silent"


BAD = (Verdict.REFUSED, Verdict.UNTYPED, Verdict.SILENT)


@dataclass(frozen=True, slots=True)
class Mutant:
    """A documented body with one change."""

    example: str
    operation: str
    operator: str
    path: str  # with a star for each index
    content: bytes
    valid: bool  # the spec allows it
    refusal: bool  # the documented body is a refusal

    def __str__(self) -> str:
        return f"{self.example} {self.path or '/'} {self.operator}"


EMPTY: Mapping[type, Any] = {str: "", list: [], dict: {}}
NUMBERS = (int, float)  # not bool
# What takes the place of a value; nothing when the operator does not apply.
VALUES: Mapping[str, Callable[[Any], list[Any]]] = {
    "null": lambda value: [] if value is None else [None],
    "text": lambda value: [] if isinstance(value, str) else ["a text"],
    "number": lambda value: [] if isinstance(value, int | float) else [7],
    "spelled": lambda value: [json.dumps(value)] if isinstance(value, bool | int | float) else [],
    "flag": lambda value: [] if isinstance(value, bool) else [True],
    "list": lambda value: [[value]],
    "object": lambda value: [] if isinstance(value, dict) else [{"value": value}],
    "empty": lambda value: [EMPTY[type(value)]] if value and type(value) in EMPTY else [],
    "recased": lambda value: [value.swapcase()] if isinstance(value, str) and value.swapcase() != value else [],
    "suffixed": lambda value: [f"{value}~"] if isinstance(value, str) else [],
    "blank around": lambda value: [f" {value}\n"] if isinstance(value, str) else [],
    "surrogate": lambda value: ["\ud800"] if isinstance(value, str) else [],
    "negative": lambda value: [-abs(value) - 1] if type(value) in NUMBERS else [],
    "fraction": lambda value: [value + 0.5] if type(value) in NUMBERS else [],
    "huge": lambda value: [HUGE] if type(value) in NUMBERS else [],
}
# What a whole body becomes.
BODIES: Mapping[str, Callable[[bytes], bytes]] = {
    "cut in half": lambda body: body[: len(body) // 2],
    "cut at the end": lambda body: body[:-1],
    "nothing": lambda _: b"",
    "a page": lambda _: b"<!DOCTYPE html><title>Just a moment...</title>",
    "a list": lambda body: b"[" + body + b"]",
    "twice": lambda body: body + body,
    "in another envelope": lambda body: b'{"code": 200, "data": ' + body + b', "message": "success"}',
    "without its envelope": lambda body: json.dumps(json.loads(body).get("data")).encode(),
    "as a text": lambda body: json.dumps(body.decode()).encode(),
    "UTF-16": lambda body: body.decode().encode("utf-16"),
    "a byte order mark": lambda body: b"\xef\xbb\xbf" + body,
    "no UTF-8": lambda body: body.replace(b'"', b'"\xff', 1),
    "nested deep": lambda _: b'{"data": ' * DEEP + b"1" + b"}" * DEEP,
}


@cache
def mutants() -> tuple[Mutant, ...]:
    """Return the mutants of all documented answers that the client reads; each kind of change once for each schema."""
    found: dict[tuple[object, ...], Mutant] = {}
    for name, example in bundle.examples().items():
        if example["x-operation"] in CALLS and example["x-part"] != "request":
            task = fields(example["value"].get("data"))
            schema = (str(task.get("model")), str(task.get("task_type")), str(task.get("status")))
            for mutant in _of_example(name, example):
                found.setdefault((schema, mutant.operation, mutant.path, mutant.operator), mutant)
    return tuple(found.values())


def _of_example(name: str, example: Mapping[str, Any]) -> Iterator[Mutant]:
    operation, value = example["x-operation"], example["value"]
    component, refusal = bundle.components_of(operation)[example["x-part"]], example["x-part"] == "default"
    for path, operator, changed in changes(value):
        where = pointer(path)
        valid = operator not in UNREADABLE and where != "/data/task_id" and _is_allowed(component, changed)
        yield Mutant(name, operation, operator, where, json.dumps(changed).encode(), valid, refusal)
    for path, doubled in _doubled(value):
        yield Mutant(name, operation, "key twice", pointer(path), doubled, valid=False, refusal=refusal)
    for operator, change in BODIES.items():
        yield Mutant(name, operation, operator, "", change(json.dumps(value).encode()), valid=False, refusal=refusal)


def _is_allowed(component: str, value: Any) -> bool:
    """Return whether the spec allows an answer, and the output of the task in it."""
    if not bundle.allows(component, value):
        return False
    task = fields(value.get("data"))
    outputs = bundle.outputs_of(task.get("model"), task.get("task_type")) if task.get("output") is not None else ()
    return not outputs or any(bundle.allows(name, task["output"]) for name in outputs)


def changes(value: Any) -> Iterator[tuple[Path, str, Any]]:
    """Yield place, operator and whole value for every change of one part. The values share the other parts."""
    for path, part in _parts(value):
        if isinstance(path[-1], str):
            yield path, "dropped", _with(value, path, DROPPED)
        for operator, change in VALUES.items():
            for new in change(part):
                yield path, operator, _with(value, path, new)
        if isinstance(part, dict):
            yield path, "another field", _with(value, path, {**part, "x_unknown": {"a": [1]}})


def _parts(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    if path:
        yield path, value
    for step, part in parts(value):
        yield from _parts(part, (*path, step))


def _with(value: Any, path: Path, new: Any) -> Any:
    changed, (step, *rest) = copy.copy(value), path
    if rest:
        changed[step] = _with(value[step], tuple(rest), new)
    elif new is DROPPED:
        del changed[step]
    else:
        changed[step] = new
    return changed


def _doubled(value: Any) -> Iterator[tuple[Path, bytes]]:
    """Yield the body with a key written twice, the second time with null, for each key."""
    for path, part in _parts(value):
        if isinstance(path[-1], str):
            marked = json.dumps(_with(value, path, "\0here"))
            yield path, marked.replace('"\\u0000here"', f"{json.dumps(part)}, {json.dumps(path[-1])}: null").encode()


# The call of a client that an operation answers.
CALLS: Mapping[str, Callable[[Client, str], Any]] = {
    "create_task": lambda client, _: client.submit(tasks.Raw("m", "t")),
    "get_task": lambda client, task_id: client.get(task_id),
    "cancel_task": lambda client, task_id: client.cancel(task_id),
    "get_account_info": lambda client, _: client.account(),
    "list_active_tasks": lambda client, _: client.active_tasks(),
    "list_task_history": lambda client, _: list(client.history()),
    "upload_file": lambda client, _: client.upload(b"ID3"),
}


def ask(mutant: Mutant) -> Any:
    """Make the call that a mutant answers, with the wrapper."""
    time, transport = Time([]), _transport(mutant)
    with Client(KEY, BASE_URL, transport=transport, clock=time.clock, sleep=time.sleep, poll_patience=1.0) as client:
        return CALLS[mutant.operation](client, _task_id(mutant))


def ask_generated(mutant: Mutant) -> Any:
    """Make the call that a mutant answers, with the generated client."""
    operation = contract.operation(mutant.operation)
    call = import_module(f"unitask_api.api.{operation.tag}.{operation.id}").sync
    given: dict[str, Any] = {"task_id": _task_id(mutant)} if "{task_id}" in operation.path else {}
    given |= {"body": {}} if "request" in operation.components else {}
    with httpx.Client(base_url=BASE_URL, transport=_transport(mutant)) as http:
        return call(client=unitask_api.Client(BASE_URL).set_httpx_client(http), **given)


def _transport(mutant: Mutant) -> httpx.MockTransport:
    status = bundle.examples()[mutant.example]["value"]["code"] if mutant.refusal else 200
    headers = {"content-type": "application/json"}
    return httpx.MockTransport(lambda _: httpx.Response(status, content=mutant.content, headers=headers))


def _task_id(mutant: Mutant) -> str:
    task_id: str = fields(bundle.examples()[mutant.example]["value"].get("data")).get("task_id") or "some-task"
    return task_id


def judged(mutant: Mutant, call: Callable[[Mutant], Any] = ask) -> tuple[Verdict, str]:
    """Return the verdict on a mutant of `ask` or `ask_generated`, and the error or the name of the tolerance."""
    typed = errors.UnitaskError if call is ask else unitask_api.errors.ApiError
    try:
        read(call(mutant))
    except typed as error:
        expected = mutant.refusal or not mutant.valid
        return (Verdict.TYPED if expected else Verdict.REFUSED), f"{type(error).__name__}: {error}"
    except Exception as error:
        return Verdict.UNTYPED, f"{type(error).__name__}: {error}"
    if mutant.valid:
        return Verdict.UNDERSTOOD, ""
    name = next((name for name, one in tolerances().items() if _covers(one, mutant)), "")
    return (Verdict.TOLERATED, name) if name else (Verdict.SILENT, "")


def read(result: Any) -> None:
    """Read everything that a result has; what is not as documented raises."""
    if isinstance(result, dict | list | tuple):
        values = cast("dict[str, Any]", result).values() if isinstance(result, dict) else cast("list[Any]", result)
        for value in values:
            read(value)
    elif hasattr(result, "raw"):
        for name in _properties(result.__class__):
            read(getattr(result, name))
        repr(result)


@cache
def _properties(kind: type[Any]) -> tuple[str, ...]:
    public = (name for name in dir(kind) if not name.startswith("_"))
    return tuple(name for name in public if isinstance(getattr(kind, name), property))


def _covers(tolerance: Mapping[str, Any], mutant: Mutant) -> bool:
    """Return whether a tolerance has a wrong answer; a star in one of its paths stands for everything below."""
    return (
        mutant.operation in tolerance.get("operations", [mutant.operation])
        and mutant.operator in tolerance.get("operators", [mutant.operator])
        and any(fnmatchcase(mutant.path, path.replace("/*/", "/[*]/")) for path in tolerance["paths"])
    )


@cache
def tolerances() -> Mapping[str, Mapping[str, Any]]:
    """Return the tolerances of tolerances.yaml by name: reason, paths, and operations and operators if not all."""
    text = FilePath(__file__).with_name("tolerances.yaml").read_text(encoding="utf-8")
    found: dict[str, dict[str, Any]] = yaml.safe_load(text)
    return found
