"""The price of a task type as data: checked here, and described for people.

    usd: 0.1                                     for one unit
    per: second                                  the unit, in words
    count: {seconds: duration}                   how many units a task takes: a key of KINDS and the field that says it
    when: {mode: std}                            for which inputs; the first rate whose `when` holds is taken
    more: [{usd: 0.15, when: {mode: pro}}]       further rates
    absent: {mode: std}                          documented values of fields that are not given
    unless: [preset_motion]                      fields that make the cost unknown

Without `count` a task is one unit. `count: unknown` says that no field gives the number. `count` may have `of` (units
in one price unit), `items` (a list of objects that have the field, counted before the field itself), `plus` (a list of
videos that also count), `whole` (rounded up), `at_least` and `at_most` (units). `pixels` takes a picture and `frames` a
video; `seconds` takes a number, a text such as "8s" or a video. A condition is a value, a list of values or
{at_most: number}, for a field, a product of fields ("width * height") or the first of several names that is given
("model or model_name").
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jsonschema_rs import Draft202012Validator

from .bundle import Document, load_yaml

KINDS = ("pictures", "seconds", "characters", "pixels", "frames")
_SCHEMA = Draft202012Validator(load_yaml(Path(__file__).parents[1] / "price.schema.yaml"))


def price_faults(document: Document, task: Document) -> Iterator[str]:
    """Yield what is wrong with the price of a task type."""
    price, schemas = task.get("price"), document["components"]["schemas"]
    if price is None or task["input"] not in schemas:
        return
    faults = [f"/{'/'.join(map(str, error.instance_path))}: {error.message}" for error in _SCHEMA.iter_errors(price)]
    for fault in faults or _field_faults(price, schemas[task["input"]].get("properties", {}), schemas):
        yield f"x-tasks: the price of {task['name']}: {fault}"


def _field_faults(price: Document, properties: Document, schemas: Document) -> Iterator[str]:
    """Yield fields that the input does not have, or that cannot have the value of a condition."""
    conditions = [item for rate in (price, *price.get("more", [])) for item in rate.get("when", {}).items()]
    count: Document = price["count"] if isinstance(price.get("count"), dict) else {}
    used = {name for key, _ in conditions for name in _names(key)} | _counted_fields(count)
    for name in sorted({*price.get("unless", []), *used}):
        if _rule(name, properties, schemas) is None:
            yield f"the input has no field {name!r}"
    for kind in sorted({"pixels", "frames"} & count.keys()):
        if "x-media" not in properties.get(count[kind], {}):
            yield f"count: {count[kind]!r} is not a file and has no {kind}"
    if "plus" in count and properties.get(count["plus"], {}).get("items", {}).get("x-media", {}).get("kind") != "video":
        yield f"count: {count['plus']!r} is not a list of videos"
    values = [
        (name, value)
        for key, wanted in conditions
        for name in _names(key)
        for value in (wanted if isinstance(wanted, list) else [wanted])
    ]
    for name, value in [*values, *price.get("absent", {}).items()]:
        rule = _rule(name, properties, schemas)
        if rule is not None and not isinstance(value, dict) and not _fits(rule, value):
            yield f"{name} cannot be {value!r}"
    for name in price.get("absent", {}).keys() - used:
        yield f"absent: no condition or count uses {name!r}"


def _names(key: str) -> list[str]:
    return re.split(r" \* | or ", key)


def _counted_fields(count: Document) -> set[str]:
    if not count:
        return set()
    field = count[_kind(count)]
    used = {field, count["plus"]} if "plus" in count else {field}
    return used | {f"{count['items']}.{field}"} if "items" in count else used


def _rule(name: str, properties: Document, schemas: Document) -> Document | None:
    """Return the rule of a field, also of the objects in a list ("multi_shots.duration")."""
    outer, dot, inner = name.partition(".")
    rule: Document | None = properties.get(outer)
    if rule is None or not dot:
        return rule
    component = rule.get("items", {}).get("$ref", "").rpartition("/")[2]
    found: Document | None = schemas.get(component, {}).get("properties", {}).get(inner)
    return found


def _fits(rule: Document, value: Any) -> bool:
    """Return whether a field may have a value; limits that are advice do not count."""
    plain: Document = {key: rule[key] for key in ("type", "enum", "const") if key in rule}
    return Draft202012Validator(plain).is_valid(value)


def _kind(count: Document) -> str:
    return next(kind for kind in KINDS if kind in count)


# --- in words


def price_words(task: Document) -> str:
    """Return the rates: "$0.1 per second (mode std); $0.15 (mode pro)"."""
    price = task.get("price")
    if not price:
        return "not published"
    first = _rate(price, f" per {price['per']}")
    return "; ".join([first, *(_rate(rate, "") for rate in price.get("more", []))])


def count_words(task: Document) -> str:
    """Return sentences on how units are counted and what is not known; empty without a price."""
    price = task.get("price") or {}
    sentences = [_counted(price["count"]) if "count" in price else ""]
    if absent := price.get("absent"):
        taken = ", ".join(f"{name} {_value(value)}" for name, value in absent.items())
        sentences.append(f"A field that is not given counts as {taken}.")
    if unless := price.get("unless"):
        sentences.append(f"What it costs when {' or '.join(unless)} is given is not published.")
    return " ".join(sentence for sentence in sentences if sentence)


def _rate(rate: Document, unit: str) -> str:
    asked = ", ".join(f"{name} {_wanted(wanted)}" for name, wanted in rate.get("when", {}).items())
    usd = f"{rate['usd']:.7f}".rstrip("0")
    return f"${usd}{unit}" + (f" ({asked})" if asked else "")


def _wanted(wanted: Any) -> str:
    if isinstance(wanted, dict):
        return f"at most {wanted['at_most']}"
    return " or ".join(map(_value, wanted)) if isinstance(wanted, list) else _value(wanted)


def _value(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _counted(count: Any) -> str:
    if count == "unknown":
        return "How many it takes cannot be known before."
    kind = _kind(count)
    source = count[kind]
    if "items" in count:
        source += f", or by {count['items']} together"
    if "plus" in count:
        source += f" plus the length of each of {count['plus']}"
    changes = [
        "rounded up" if count.get("whole") else "",
        f"the price of {count['at_least']} is the least" if "at_least" in count else "",
        f"that of {count['at_most']} the most" if "at_most" in count else "",
    ]
    said = ", ".join(change for change in changes if change)
    return f"{kind.capitalize()} are counted by {source}{f'; {said}' if said else ''}."
