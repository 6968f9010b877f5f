"""Scenarios: calls of a client, the answers of a provider, and how each call must end. They are data, in scenarios/."""

import copy
import itertools
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, cast

import yaml
from jsonschema_rs import Draft202012Validator
from unitask_contract import bundle
from unitask_contract.bundle import fields

TASK_ID = "90efd2db-bcfc-413f-a0be-c893850c9d68"


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer to an operation, or the httpx error that is raised instead of it (`fails`)."""

    operation: str
    status: int = 200
    content: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    fails: str | None = None


@dataclass(frozen=True, slots=True)
class Scenario:
    """A call, its answers, and how it must end.

    `expect` has the `sent` operations in order. `raises` are classes of unitask.errors, with `says` (words of the
    message), `task_id` (false: none; absent: that of the scenario) and `next_step` (words of it). Otherwise, `returns`
    and `output` are attributes of the result, and of its output.
    """

    name: str  # unique; it begins with the family
    family: str
    about: str
    source: tuple[str, ...]  # where the answers were seen or documented: keys of spec/sources.yaml
    task: tuple[str, Mapping[str, Any]] | None  # its class, and its fields
    task_id: str  # of the call, and of answers without another one
    call: str  # the method of the client
    options: Mapping[str, Any]  # its keyword arguments
    answers: tuple[Answer, ...]
    expect: Mapping[str, Any]


@cache
def scenarios() -> tuple[Scenario, ...]:
    """Return every scenario, by family; raise ValueError if a file does not fit its schema, or a name occurs twice."""
    paths = sorted(Path(__file__).with_name("scenarios").glob("*.yaml"))
    found = [made for path in paths for made in _of_file(yaml.safe_load(path.read_text(encoding="utf-8")))]
    names = Counter(one.name for one in found)
    if twice := [name for name, number in names.items() if number > 1]:
        raise ValueError(f"two scenarios are called {', '.join(twice)}")
    return tuple(sorted(found, key=lambda one: one.family))


@cache
def _validator() -> Draft202012Validator:
    text = Path(__file__).with_name("scenario.schema.yaml").read_text(encoding="utf-8")
    return Draft202012Validator(yaml.safe_load(text))


def _of_file(file: dict[str, Any]) -> Iterator[Scenario]:
    filled = [one for written in file["scenarios"] for one in _each(written)]
    _validator().validate({**file, "scenarios": filled})
    yield from (_scenario(one, file["family"], one.get("task", file.get("task"))) for one in filled)


def _each(written: dict[str, Any]) -> Iterator[dict[str, Any]]:
    choices = written.get("each", {})
    for values in itertools.product(*choices.values()):
        plain = {key: value for key, value in written.items() if key != "each"}
        named = dict(zip(choices, values, strict=True))
        parts = {f"{name}.{key}": part for name, value in named.items() for key, part in fields(value).items()}
        longest_first = sorted({**named, **parts}.items(), key=lambda item: -len(item[0]))
        yield _filled(plain, dict(longest_first))


def _filled(node: Any, values: Mapping[str, Any]) -> Any:
    if isinstance(node, dict):
        return {key: _filled(value, values) for key, value in cast("dict[str, Any]", node).items()}
    if isinstance(node, list):
        return [_filled(item, values) for item in cast("list[object]", node)]
    if not isinstance(node, str):
        return node
    for name, value in values.items():
        if node == f"${name}":
            return copy.deepcopy(value)
        node = node.replace(f"${name}", str(value))
    return node


def _scenario(written: dict[str, Any], family: str, task: dict[str, Any] | None) -> Scenario:
    chosen = next(iter(task.items())) if task else None
    entry = bundle.entries()[chosen[0]] if chosen else None
    source: str | list[str] = written["source"]
    return Scenario(
        f"{family}: {written['name']}",
        family,
        written["about"],
        (source,) if isinstance(source, str) else tuple(source),
        chosen,
        written.get("id", TASK_ID),
        written["call"],
        written.get("with", {}),
        tuple(one for line in written["answers"] for one in _answers(line, entry)),
        written["expect"],
    )


def _answers(line: dict[str, Any], entry: dict[str, Any] | None) -> list[Answer]:
    ((operation, said),) = line.items()
    kind = "text/html" if "text" in said else "application/json"
    headers = {"content-type": kind, **{key: str(value) for key, value in said.get("headers", {}).items()}}
    answer = Answer(operation, said.get("status", 200), _content(said, entry), headers, said.get("fails"))
    return [answer] * said.get("times", 1)


def _content(said: dict[str, Any], entry: dict[str, Any] | None) -> bytes:
    if "text" in said:
        return str(said["text"]).encode()
    if "example" in said:
        return json.dumps(bundle.examples()[said["example"]]["value"]).encode()
    if "task" in said:
        named = {"model": entry["model"], "task_type": entry["task_type"]} if entry else {}
        task = {"task_id": TASK_ID, **named, **said["task"]}
        return json.dumps({"code": 200, "data": task, "message": "success"}).encode()
    return json.dumps(said["body"]).encode() if "body" in said else b""
