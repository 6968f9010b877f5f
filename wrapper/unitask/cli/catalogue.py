"""The catalogue of task types: `tasks`."""

import dataclasses
import json
from typing import Annotated, Any

from typer import Option
from unitask_api import contract

from .._terminal import dollars, put


def tasks(as_json: Annotated[bool, Option("--json", help="As a JSON list.")] = False) -> None:
    """List the task types."""
    entries = [dataclasses.asdict(entry) for entry in contract.task_types().values()]
    if as_json:
        put(json.dumps(entries, indent=2))
        return
    for entry in entries:
        put(f"{entry['name']:<20} {entry['model']} {entry['task_type']}, {_price(entry['price'])}. {entry['docs']}")


def _price(price: dict[str, Any] | None) -> str:
    if price is None:
        return "price unknown"
    usd = dollars(min(rate["usd"] for rate in (price, *price.get("more", []))))
    return f"{'from ' if 'more' in price else ''}{usd} per {price['per']}"
