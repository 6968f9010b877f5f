"""What a submission costs by the price list of the contract, computed with code of the harness alone.

A wrong price of the client or of a provider shows only if it is compared with one of neither. Amounts are whole
credits, rounded up. A field that is null counts as absent, and files are not measured. What cannot be known, and every
form of a price that this module does not know, is None, and never 0.
"""

import math
import re
from collections.abc import Mapping
from fractions import Fraction
from functools import cache
from typing import Any, cast

from unitask_api.json_types import same
from unitask_contract import bundle
from unitask_contract.bundle import fields, items

_PRICE_KEYS = frozenset({"usd", "per", "count", "when", "more", "absent", "unless", "x-source"})
_COUNT_KEYS = frozenset({"of", "items", "plus", "whole", "at_least", "at_most"})
MOST_CREDITS = 2**53
_SECONDS = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)s")


class _Unknown(Exception):
    """The price is not known from the input."""


@cache
def credits_per_usd() -> int:
    """Return the credits in one US dollar (x-resources of the contract)."""
    return round(1 / Fraction(str(bundle.document()["x-resources"]["credit_usd"]["value"])))


def billed(task: Mapping[str, Any]) -> int | None:
    """Return what a task was billed, in credits; None without a bill, or for one that no sum of money can be."""
    credit = bundle.at(task, "/meta/usage/consume")
    is_bill = isinstance(credit, int) and not isinstance(credit, bool) and 0 <= credit < MOST_CREDITS
    return credit if is_bill else None


def usd_of(body: Mapping[str, Any]) -> float | None:
    """Return the price of a submission in USD; None when it is not known."""
    credit = credits_of(body)
    return None if credit is None else credit / credits_per_usd()


def credits_of(body: Mapping[str, Any]) -> int | None:
    """Return the price of a submission (its body) in credits; None when it is not known."""
    given = {name: value for name, value in fields(body.get("input")).items() if value is not None}
    entry = bundle.entry_of(body.get("model"), body.get("task_type"), given) or {}
    price = fields(entry.get("price"))
    if not price or price.keys() - _PRICE_KEYS or given.keys() & set(items(price.get("unless"))):
        return None
    known = {**fields(price.get("absent")), **given}
    try:
        usd = _usd([price, *items(price.get("more"))], known)
        units = _units(price.get("count"), known, bundle.component(entry["input"]).get("properties", {}))
    except _Unknown:
        return None
    return math.ceil(usd * units * credits_per_usd())


def _usd(rates: list[dict[str, Any]], known: Mapping[str, Any]) -> Fraction:
    """Return the first rate whose conditions hold; an unknown condition before it makes the price unknown."""
    for rate in rates:
        holds = [_holds(name, wanted, known) for name, wanted in fields(rate.get("when")).items()]
        if False not in holds:
            if None in holds:
                break
            return Fraction(str(rate["usd"]))
    raise _Unknown


def _holds(name: str, wanted: object, known: Mapping[str, Any]) -> bool | None:
    if isinstance(wanted, dict):
        limits = fields(cast("object", wanted))
        try:
            product = math.prod((_number(known.get(one)) for one in name.split(" * ")), start=Fraction(1))
            return product <= Fraction(str(limits["at_most"])) if len(limits) == 1 else None
        except (_Unknown, KeyError):
            return None
    given = [known[one] for one in name.split(" or ") if one in known]
    return any(same(given[0], one) for one in items(wanted) or [wanted]) if given else None


def _units(count: Any, known: Mapping[str, Any], properties: Mapping[str, Any]) -> Fraction:
    """Return the number of units that the input asks for."""
    if count is None:
        return Fraction(1)
    kinds = set(fields(count)) - _COUNT_KEYS
    if len(kinds) != 1 or ("plus" in count and known.get(count["plus"])):  # `plus` is the length of a file
        raise _Unknown
    amount = _amount(kinds.pop(), count, known, properties)
    if amount <= 0:
        raise _Unknown
    units = amount / Fraction(str(count.get("of", 1)))
    units = Fraction(math.ceil(units)) if count.get("whole") else units
    least, most = (Fraction(str(count[name])) if name in count else units for name in ("at_least", "at_most"))
    return min(max(units, least), most)


def _amount(kind: str, count: Mapping[str, Any], known: Mapping[str, Any], properties: Mapping[str, Any]) -> Fraction:
    named: Any = count[kind]
    if not isinstance(named, str) or ("x-media" in fields(properties.get(named)) and "items" not in count):
        raise _Unknown
    if kind == "seconds" and (parts := items(known.get(str(count.get("items"))))):
        usual: Any = known.get(f"{count['items']}.{named}")
        return sum((_seconds(fields(part).get(named, usual)) for part in parts), Fraction(0))
    value: Any = known.get(named)
    match kind:
        case "seconds":
            return _seconds(value)
        case "characters" if isinstance(value, str):
            return Fraction(len(value))
        case "pictures" if (number := _number(value)).denominator == 1:
            return number
        case _:
            raise _Unknown


def _seconds(value: Any) -> Fraction:
    if isinstance(value, str) and (found := _SECONDS.fullmatch(value)):
        return Fraction(found[1])
    return _number(value)


def _number(value: Any) -> Fraction:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _Unknown
    return Fraction(str(value))  # as it is written: 10.3 is 103/10
