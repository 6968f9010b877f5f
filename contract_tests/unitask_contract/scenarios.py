import copy
import itertools
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any, cast

import httpx
import yaml
from unitask_contract import bundle
from unitask_contract.bundle import fields

TASK_ID = "90efd2db-bcfc-413f-a0be-c893850c9d68"
_FILE = {"family", "task", "scenarios"}
_SCENARIO = {"name", "about", "source", "each", "task", "id", "call", "with", "answers", "expect"}
_ANSWER = {"status", "headers", "task", "body", "text", "example", "fails", "times"}
_OF_A_RESULT, _OF_AN_ERROR = {"returns", "output"}, {"says", "task_id", "next_step"}
_EXPECT = {"sent", "raises", *_OF_A_RESULT, *_OF_AN_ERROR}


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer to an operation.

    Attributes:
        operation: The operationId that it answers.
        fails: The httpx error that is raised instead of an answer; None for an answer.
    """

    operation: str
    status: int = 200
    content: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    fails: str | None = None


@dataclass(frozen=True, slots=True)
class Scenario:
    """A call, its answers, and how it must end.

    Attributes:
        name: A unique name that begins with the family.
        source: Where the answers were seen or documented: keys of spec/sources.yaml.
        task: The class of the task, and its fields.
        task_id: The task of the call, and of answers without another one.
        call: The method of the client.
        options: Its keyword arguments.
        expect: How the call ends. `raises`: classes of unitask.errors, with `says` (words of the message), `task_id`
            (false: none; absent: that of the scenario) and `next_step` (words of it). Otherwise `returns` and `output`:
            attributes of the result, and of its output. `sent`: the operations, in order.
    """

    name: str
    family: str
    about: str
    source: tuple[str, ...]
    task: tuple[str, Mapping[str, Any]] | None
    task_id: str
    call: str
    options: Mapping[str, Any]
    answers: tuple[Answer, ...]
    expect: Mapping[str, Any]


@cache
def scenarios() -> tuple[Scenario, ...]:
    """Return every scenario, by family.

    Raises:
        ValueError: A file has an unknown key, or a name occurs twice.
    """
    folder = files("unitask_contract").joinpath("scenarios")
    paths = sorted((path for path in folder.iterdir() if path.name.endswith(".yaml")), key=lambda path: path.name)
    read = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in paths]
    found = [made for file in read for made in _of_file(file)]
    names = Counter(one.name for one in found)
    _refuse({name for name, number in names.items() if number > 1}, "two scenarios are called")
    return tuple(sorted(found, key=lambda one: one.family))


def _of_file(file: dict[str, Any]) -> Iterator[Scenario]:
    family: str = file["family"]
    _refuse(file.keys() - _FILE, f"{family}: there is no")
    for written in file["scenarios"]:
        for one in _each(written):
            yield _scenario(one, family, one.get("task", file.get("task")))


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
    name = f"{family}: {written['name']}"
    _refuse(written.keys() - _SCENARIO, f"{name}: there is no")
    expect = written["expect"]
    _refuse(expect.keys() - _EXPECT, f"{name}: expect has no")
    raises = "raises" in expect
    _refuse(expect.keys() & (_OF_A_RESULT if raises else _OF_AN_ERROR), f"{name}: {raises=}, so nothing reads")
    chosen = next(iter(task.items())) if task else None
    entry = bundle.entries()[chosen[0]] if chosen else None
    source: str | list[str] = written["source"]
    return Scenario(
        name,
        family,
        written["about"],
        (source,) if isinstance(source, str) else tuple(source),
        chosen,
        written.get("id", TASK_ID),
        written["call"],
        written.get("with", {}),
        tuple(one for line in written["answers"] for one in _answers(line, name, entry)),
        expect,
    )


def _answers(line: dict[str, Any], scenario: str, entry: dict[str, Any] | None) -> list[Answer]:
    ((operation, said),) = line.items()
    _refuse(said.keys() - _ANSWER, f"{scenario}: an answer has no")
    if "fails" in said:
        _refuse({said["fails"]} - vars(httpx).keys(), f"{scenario}: there is no failure")
        return [Answer(operation, fails=said["fails"])] * said.get("times", 1)
    kind = "text/html" if "text" in said else "application/json"
    headers = {"content-type": kind, **{key: str(value) for key, value in said.get("headers", {}).items()}}
    return [Answer(operation, said.get("status", 200), _content(said, entry), headers)] * said.get("times", 1)


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


def _refuse(names: set[str], because: str) -> None:
    if names:
        raise ValueError(f"{because} {', '.join(sorted(map(repr, names)))}")
