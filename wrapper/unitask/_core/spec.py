"""The spec at run time: the bundle that ships with the generated client, read once and only when it is needed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class TaskType:
    """One entry of the catalogue (x-tasks).

    Attributes:
        name: The class in `unitask.tasks`.
        family: The module it is in.
        model: First half of its name on the wire.
        task_type: Second half of its name on the wire.
        input: The schema of its input.
        output: The schema of its output.
        price_usd: The published price, None when there is none.
        price_per: What the price is for.
        typical_seconds: How long such a task usually takes.
        docs: The page that describes it, with its date.
    """

    name: str
    family: str
    model: str
    task_type: str
    input: str
    output: str
    price_usd: float | None
    price_per: str | None
    typical_seconds: float
    docs: str


@cache
def bundle() -> dict[str, Any]:
    """The whole OpenAPI document. Do not change it."""
    found = find_spec("unitask_api")
    if found is None or found.origin is None:
        raise ModuleNotFoundError("unitask_api is not installed; reinstall unitask")
    document: dict[str, Any] = json.loads(Path(found.origin).with_name("openapi.json").read_bytes())
    return document


@cache
def task_types() -> dict[tuple[str, str], TaskType]:
    """The catalogue, by (model, task_type)."""
    return {(entry["model"], entry["task_type"]): _task_type(entry) for entry in bundle()["x-tasks"]}


@cache
def properties(schema: str) -> dict[str, dict[str, Any]]:
    """The fields of a component, each with its rules."""
    fields: dict[str, dict[str, Any]] = bundle()["components"]["schemas"][schema]["properties"]
    return fields


def media_rule(schema: str, field: str) -> dict[str, Any]:
    """The `x-media` rule of a field: what kind of file it is; empty when it is none."""
    rule: dict[str, Any] = properties(schema).get(field, {}).get("x-media", {})
    return rule


def _task_type(entry: dict[str, Any]) -> TaskType:
    price: dict[str, Any] = entry.get("price") or {}
    return TaskType(
        **{field: entry[field] for field in ("name", "family", "model", "task_type", "input", "output")},
        price_usd=price.get("usd"),
        price_per=price.get("per"),
        typical_seconds=float(entry["typical_seconds"]["value"]),
        docs=f"{entry['docs']['page']} ({entry['docs']['date']})",
    )
