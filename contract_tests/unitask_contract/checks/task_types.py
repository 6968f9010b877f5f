"""Checks of every task type of the catalogue.

A task type is submitted once, with the least input that the spec allows, and all checks use that task. Files that it
needs are uploaded to the provider first, and a task that it starts from is completed first.
"""

import base64
import json
import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from unitask_contract import bundle
from unitask_contract.bundle import fields
from unitask_contract.checks._http import (
    TASK,
    UPLOAD,
    create,
    data_in,
    poll,
    refusal_in,
    require_echo,
    require_ended_row,
    rows,
    status_of,
    until_done,
)
from unitask_contract.inputs import NAMES, file_of, least_object
from unitask_contract.prices import credits_of
from unitask_contract.provider import LeftOut, Provider
from unitask_contract.schema_paths import Place, Placed, below, parts, rules

MISSING_EXTRA = "pip install"  # in the error of the sandbox about an engine that is not installed
ORIGINS = {"kling": "KlingVideo", "midjourney": "MidjourneyImagine"}  # what the others of a family start from
MOST_PAGES = 20  # of the history


def task_types(families: tuple[str, ...] = ()) -> list[str]:
    """Return the task types of the unified protocol, of these families or of all."""
    return [
        name
        for name, entry in bundle.entries().items()
        if entry["protocol"] == "unified" and (not families or entry["family"] in families)
    ]


def check_refused(provider: Provider, name: str) -> None:
    """A submission without its first required field is refused, with a reason."""
    body, entry = _body(provider, name), bundle.entries()[name]
    required = [field for field in body["input"] if field not in entry.get("match", {})]
    if not required:
        raise LeftOut("nothing is required")
    rest = {field: value for field, value in body["input"].items() if field != required[0]}
    refusal_in(provider.request("POST", TASK, json={**body, "input": rest}))


def check_accepted(provider: Provider, name: str) -> None:
    """A submission of the least input is accepted, with an id."""
    _created(provider, name)


def check_echoed(provider: Provider, name: str) -> None:
    """The submission and a poll show the same task, with the model and task type that were sent."""
    created, body = _created(provider, name), _body(provider, name)
    for task in (created, poll(provider, created["task_id"])):
        require_echo(task, created["task_id"], body)


def check_ended(provider: Provider, name: str) -> None:
    """The task ends: completed without an error, or failed with a reason and without a price."""
    task = _ended(provider, name)
    error: dict[str, Any] = task["error"] or {}
    if status_of(task) == "completed":
        assert not error.get("code"), task
    else:
        assert error.get("message") or error.get("raw_message"), task
        assert not task["meta"]["usage"]["consume"], task


def check_output(provider: Provider, name: str) -> None:
    """The output of a completed task stays, has the schema of its type, and each of its files can be fetched."""
    task = _completed(provider, name)
    poll(provider, task["task_id"])  # others have ended meanwhile
    component = bundle.entries()[name]["output"]
    assert bundle.allows(component, task["output"]), f"the output does not fit {component}: {task['output']}"
    found = list(_media(task["output"], rules({"$ref": component}, Place(component), task["output"], bundle.schemas())))
    assert found or not _has_media(component), f"there is no file in {task['output']}"
    for url in (text for text in found if text.startswith("http")):
        answer = provider.fetch(url)
        assert answer.status_code == 200, f"HTTP {answer.status_code} for {url}"
        assert answer.content, f"the file at {url} is empty"


def check_charged(provider: Provider, name: str) -> None:
    """A completed task costs the price of the catalogue, if that is known."""
    price = credits_of(_body(provider, name))
    if price is None:
        raise LeftOut("the catalogue does not determine its price")
    usage = _completed(provider, name)["meta"]["usage"]
    assert usage["consume"] == price, f"{usage}, and the price is {price} credits"


def check_listed(provider: Provider, name: str) -> None:
    """The task is in the history, as ended when it has ended."""
    task_id = _created(provider, name)["task_id"]
    for page in range(1, MOST_PAGES):
        found = rows(provider, page=page, page_size=100)
        if own := [row for row in found if row["task_id"] == task_id]:
            require_ended_row(provider, own[0])
            return
        if len(found) < 100:
            break
    raise AssertionError(f"task {task_id} is not in the history")


Make = Callable[[Provider, str], Any]


def _once(make: Make) -> Make:
    """Share what a function makes between the checks; where it could not be made, every check is left out."""

    def made(provider: Provider, name: str) -> Any:
        key = make.__name__.removeprefix("_"), name
        if key not in provider.memo:
            provider.memo[key] = LeftOut(f"there is no {key[0]} task; an earlier check has the reason")
            try:
                provider.memo[key] = make(provider, name)
            except LeftOut as reason:
                provider.memo[key] = reason
        if isinstance(provider.memo[key], LeftOut):
            raise provider.memo[key]
        return provider.memo[key]

    return made


@_once
def _body(provider: Provider, name: str) -> dict[str, Any]:
    entry = bundle.entries()[name]
    given = least_object(bundle.component(entry["input"]), lambda kind: _file(provider, kind))
    if "origin_task_id" in given:
        given["origin_task_id"] = _completed(provider, ORIGINS[entry["family"]])["task_id"]
    return {"model": entry["model"], "task_type": entry["task_type"], "input": {**given, **entry.get("match", {})}}


@_once
def _file(provider: Provider, kind: str) -> str:
    encoded = base64.b64encode(file_of(kind)).decode()
    answer = provider.request("POST", UPLOAD, json={"file_name": NAMES[kind], "file_data": encoded})
    if answer.status_code != 200:
        raise LeftOut(f"it needs a file, and an upload is HTTP {answer.status_code} here: {answer.text}")
    return str(data_in(answer)["url"])


@_once
def _created(provider: Provider, name: str) -> dict[str, Any]:
    task = create(provider, _body(provider, name))
    assert task["task_id"], task
    return task


@_once
def _ended(provider: Provider, name: str) -> dict[str, Any]:
    task = until_done(provider, _created(provider, name)["task_id"])
    message = str(fields(task.get("error")).get("raw_message"))
    if provider.inside and MISSING_EXTRA in message:
        raise LeftOut(message)
    return task


def _completed(provider: Provider, name: str) -> dict[str, Any]:
    task: dict[str, Any] = _ended(provider, name)
    if status_of(task) != "completed":
        raise LeftOut(f"the task ended {task['status']}")
    return task


def _media(value: Any, found: list[Placed]) -> Iterator[str]:
    """Yield the files in a value, addresses or base64, as its schemas name them."""
    if value and isinstance(value, str) and any("x-media" in schema for _, schema in found):
        yield value
    for step, part in parts(value):
        yield from _media(part, below(found, part, step, bundle.schemas()))


@cache
def _has_media(component: str) -> bool:
    text = json.dumps(bundle.component(component))
    return '"x-media"' in text or any(map(_has_media, re.findall(r'"#/components/schemas/(\w+)"', text)))
