"""Estimate the cost of a task by the prices of the catalogue.

spec/generator/prices.py describes the form of `price` in x-tasks. Rules of this file: amounts are whole credits,
rounded up; an unknown cost is None, never 0; a field that is null is not given.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction
from functools import lru_cache
from typing import Any, TypeAlias

from unitask_api import contract
from unitask_api.states import State

from .._model._json import is_list, is_object, same
from .._model.task import CREDITS_PER_USD as CREDITS_PER_USD
from .._model.task import Task

MOST_USD = 1e12  # of any amount: beyond it is a mistake
LARGEST = 10**12  # of any unit: beyond it is a mistake
ONE = Fraction(1)

Measure: TypeAlias = Callable[[str, Any], Fraction | None]  # reads pixels, seconds or frames of a file


def estimate(body: Mapping[str, Any], measure: Measure) -> int | None:
    """Return the cost of a task in credits; None when it cannot be known. Files may be in any form of `measure`."""
    given = {name: value for name, value in body["input"].items() if value is not None}
    entry = contract.find(body["model"], body["task_type"], given)
    price = entry.price if entry else None
    if entry is None or price is None or any(name in given for name in price.get("unless", ())):
        return None
    known = {**price.get("absent", {}), **given}
    rate = _rate((price, *price.get("more", ())), known)
    units = _units(price.get("count"), known, entry.input, measure)
    if rate is None or units is None:
        return None
    return _credits(rate["usd"], units)


def bill_of(task: Task[Any], estimate: int) -> int:
    """Return what a task that has ended costs, in credits; the estimate if the provider does not say."""
    cost = task.cost_usd
    if task.state is not State.COMPLETED:
        return 0
    return estimate if cost is None or cost < 0 else _credits(min(cost, MOST_USD))


@lru_cache(maxsize=256)  # many tasks have the same price
def _credits(usd: float, units: Fraction = ONE) -> int:
    return math.ceil(Fraction(str(usd)) * CREDITS_PER_USD * units)


def _rate(rates: Iterable[dict[str, Any]], known: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the first rate whose conditions hold; None for none, or if it is unknown which."""
    for rate in rates:
        holds = [_holds(name, wanted, known) for name, wanted in rate.get("when", {}).items()]
        if False not in holds:
            return None if None in holds else rate
    return None


def _holds(key: str, wanted: object, known: Mapping[str, Any]) -> bool | None:
    if is_object(wanted):
        size = _combined(math.prod, [_number(known.get(name)) for name in key.split(" * ")])
        return None if size is None else size <= wanted["at_most"]
    name = next((name for name in key.split(" or ") if name in known), None)
    if name is None:
        return None
    return any(same(known[name], value) for value in (wanted if is_list(wanted) else (wanted,)))


def _units(count: Any, known: Mapping[str, Any], schema: str, measure: Measure) -> Fraction | None:
    if count is None:
        return ONE
    if count == "unknown":
        return None
    kind: str = next(kind for kind in ("pixels", "frames", *_READERS) if kind in count)
    field: str = count[kind]
    if items := known.get(count.get("items")):
        absent, given = known.get(f"{count['items']}.{field}"), items if is_list(items) else [None]
        amount = _combined(sum, [_seconds(item.get(field, absent)) if is_object(item) else None for item in given])
    elif "x-media" in contract.field_rule(schema, field):
        amount = measure(kind, known[field]) if field in known else None
    else:
        amount = _READERS[kind](known.get(field))
    files = known.get(count.get("plus"), [])
    for file in files if is_list(files) else [None]:
        part = measure("seconds", file)
        # -1 stands for "as long as the video" in Seedance
        amount = None if amount is None or part is None or amount <= 0 else amount + part
    if amount is None or not 0 < amount <= LARGEST:
        return None
    units = amount / Fraction(str(count.get("of", 1)))
    units = Fraction(math.ceil(units)) if count.get("whole") else units
    return min(max(units, Fraction(count.get("at_least", 0))), Fraction(count.get("at_most", LARGEST)))


def _combined(combine: Callable[[list[Fraction]], Any], parts: list[Fraction | None]) -> Fraction | None:
    """Return the sum or the product of amounts; None if one of them is not known."""
    known = [part for part in parts if part is not None]
    return Fraction(combine(known)) if len(known) == len(parts) else None


def _number(value: Any) -> Fraction | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return Fraction(value)
    return Fraction(str(value)) if isinstance(value, float) and math.isfinite(value) else None  # 10.3 is 103/10


def _seconds(value: Any) -> Fraction | None:
    """Read a number, or a text such as "8s"."""
    if isinstance(value, str):
        found = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)s", value)
        return Fraction(found[1]) if found else None
    return _number(value)


def _whole(value: Any) -> Fraction | None:
    number = _number(value)
    return number if number is not None and number.denominator == 1 else None


_READERS: dict[str, Callable[[Any], Fraction | None]] = {
    "pictures": _whole,
    "seconds": _seconds,
    "characters": lambda value: Fraction(len(value)) if isinstance(value, str) else None,
}
