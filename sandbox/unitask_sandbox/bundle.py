"""Read the contract as the sandbox needs it, and refuse what does not fit it."""

import json
import re
from collections.abc import Callable, Mapping
from functools import cache
from itertools import islice
from typing import Any, TypeAlias, cast

import jsonschema_rs
from jsonschema_rs import Draft202012Validator
from unitask_api import contract
from unitask_api.contract import TaskType

from unitask_sandbox.failures import Refusal

CREDITS_PER_USD = 10_000_000  # inferred from five published prices
MOST_PROBLEMS = 100  # that are searched, to report the first three: a body can have as many as it has parts
MAX_NESTING = 64
LARGEST_EXACT = 2**53  # what a float holds to the unit
MAX_PARTS = 100_000  # refusing each can cost a kilobyte, and no request has so many
_PART = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[,:\[{]', re.DOTALL)
IT = "it"  # stands for a value in the description of a problem: values may be long
_CONTRACT = "urn:contract"
_INT64 = 2**63 - 1
UNIFIED = "unified"
UNKNOWN_SECONDS = 10.0  # a guess: how long a task of an unknown task type takes
HOW_TO_ACCEPT = "`unitask sandbox --accept-unknown` or Settings(accept_unknown=True)"

Json: TypeAlias = "dict[str, Json] | list[Json] | str | float | bool | None"


@cache
def task_types() -> tuple[TaskType, ...]:
    """Return the task types of the unified protocol."""
    return tuple(one for one in contract.task_types().values() if one.protocol == UNIFIED)


def find(model: str, task_type: str, given: Mapping[str, Any]) -> TaskType | None:
    """Return the entry of the catalogue for a create request; None when there is none."""
    found = contract.find(model, task_type, given)
    return found if found and found.protocol == UNIFIED else None


def task_type(model: str, task_type: str, given: Mapping[str, Any]) -> TaskType:
    """Return the entry of the catalogue for a create request, or refuse it."""
    if found := find(model, task_type, given):
        return found
    unknown = f"invalid request: no such task type: model {model[:100]!r}, task_type {task_type[:100]!r}"
    raise Refusal(400, f"{unknown}; to get it SIMULATED: {HOW_TO_ACCEPT}")


def family_of(model: str, task_type: str) -> str | None:
    """Return the family of a task; None when the catalogue does not have its task type."""
    found = find(model, task_type, {})
    return found.family if found else None


def unknown(model: str, task_type: str) -> TaskType:
    """Return an entry for a task type that the catalogue does not have: it has no schemas and no price."""
    return TaskType(
        name=task_type,
        family=model,
        model=model,
        task_type=task_type,
        input="",
        output="",
        price_usd=None,
        price_per=None,
        price=None,
        typical_seconds=UNKNOWN_SECONDS,
        docs="",
        protocol=UNIFIED,
        create="create_task",
        match={},
    )


def check(component: str, value: Any, at: str = "") -> Any:
    """Return a value that matches a component schema; refuse another one."""
    _refuse_problems(_validator(component), value, at)
    return value


def read(component: str, body: bytes) -> dict[str, Any]:
    """Return the body of a request, which matches a component schema; refuse another one."""
    value: dict[str, Any] = check(component, read_json(body))
    return value


@cache
def _validator(component: str) -> Draft202012Validator:
    reference = {"$ref": f"{_CONTRACT}#/components/schemas/{component}"}
    return Draft202012Validator(reference, registry=_registry(), keywords=_KEYWORDS, mask=IT)


@cache
def _registry() -> jsonschema_rs.Registry:
    return jsonschema_rs.Registry([(_CONTRACT, {"components": {"schemas": contract.components()}})])


class _Format:
    """format: int64 is checked; the library checks formats of text alone."""

    def __init__(self, _parent: Any, name: str, _path: Any) -> None:
        self._is_int64 = name == "int64"

    def validate(self, value: Any) -> None:
        if self._is_int64 and isinstance(value, int) and not -_INT64 - 1 <= value <= _INT64:
            raise ValueError("it is not an int64")


_KEYWORDS: dict[str, type[Any]] = {"format": _Format}


def query(operation: str, given: Mapping[str, str]) -> dict[str, Any]:
    """Return the query parameters of an operation, as their schemas say."""
    declared = [part for part in contract.operations()[operation].parameters if part["in"] == "query"]
    read = {part["name"]: _typed(given[part["name"]], part["schema"]) for part in declared if part["name"] in given}
    schema = {
        "required": [part["name"] for part in declared if part.get("required")],
        "properties": {part["name"]: part["schema"] for part in declared},
    }
    _refuse_problems(Draft202012Validator(schema, mask=IT), read, "")
    return read


def _typed(text: str, schema: dict[str, Any]) -> int | str:
    """Return the value that a query parameter spells; the text itself when it spells none of its type."""
    if schema.get("type") == "integer" and re.fullmatch(r"-?[0-9]{1,19}", text) and abs(int(text)) <= _INT64:
        return int(text)
    return text


def _refuse_problems(validator: Draft202012Validator, value: Any, at: str) -> None:
    if found := problems(validator, value, at):
        raise Refusal(400, f"invalid request: {found}")


def problems(validator: Draft202012Validator, value: Any, at: str = "") -> str:
    """Return the first three problems of a value in words; empty when it is valid."""
    found = [
        (at + _path(each.instance_path), each.message) for each in islice(validator.iter_errors(value), MOST_PROBLEMS)
    ]
    found.sort(key=lambda each: each[0])
    return "; ".join(f"{path.lstrip('.')[:100] or 'the body'}: {message[:100]}" for path, message in found[:3])


def form_problems(component: str, value: Any) -> list[dict[str, Any]]:
    """Return each problem of a value for a form: the path of the field, and what it must be, in words."""
    found: list[dict[str, Any]] = []
    for error in islice(_validator(component).iter_errors(value), MOST_PROBLEMS):
        kind = error.kind.as_dict()
        missing = [kind["property"]] if "property" in kind else []
        found.append({"path": [*error.instance_path, *missing], "words": _rule(error.kind.name, kind)})
    return found


def _rule(keyword: str, kind: Mapping[str, Any]) -> str:
    if keyword == "type":
        return f"must be {' or '.join(_TYPES[each] for each in kind['types'] if each != 'null')}"
    if keyword == "enum":
        return f"must be one of {', '.join(map(str, kind['options']))}"
    if keyword in ("minLength", "minItems") and kind["limit"] == 1:
        return "must not be empty"
    return _RULES.get(keyword, "has a value that the API does not accept").format_map(kind)


_TYPES = {
    "array": "a list",
    "boolean": "true or false",
    "integer": "a whole number",
    "number": "a number",
    "object": "a JSON object",
    "string": "a text",
}
_RULES = {
    "required": "is required",
    "minimum": "must be at least {limit}",
    "maximum": "must be at most {limit}",
    "exclusiveMinimum": "must be more than {limit}",
    "exclusiveMaximum": "must be less than {limit}",
    "minLength": "must have at least {limit} characters",
    "maxLength": "must have at most {limit} characters",
    "minItems": "must have at least {limit} entries",
    "maxItems": "must have at most {limit} entries",
    "const": "must be {expected_value}",
}


def _path(steps: list[str | int]) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)


def read_json(body: bytes) -> Any:
    """Return the JSON value of a body: as strict as RFC 8259, and free of what could not be written again.

    A whole number that is written as 7.0 is an integer, as it is to JSON Schema.
    """
    if sum(1 for _ in islice(_PART.finditer(body), MAX_PARTS)) == MAX_PARTS:
        raise Refusal(400, f"invalid request: the body has more than {MAX_PARTS} parts")
    try:
        # json would guess other encodings, in which parts cannot be counted
        value = json.loads(body.decode(), parse_float=_number)
        # Python reads NaN and infinite numbers, which are not JSON, and lone surrogates, which are not text.
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        raise Refusal(400, "invalid request: the body is not JSON") from None
    if _is_deeper(value, MAX_NESTING):
        raise Refusal(400, f"invalid request: the body is nested more than {MAX_NESTING} levels deep")
    return value


def _number(text: str) -> float:
    number = float(text)
    return int(number) if number.is_integer() and abs(number) < LARGEST_EXACT else number


def _is_deeper(value: Json, levels: int) -> bool:
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(not levels or _is_deeper(part, levels - 1) for part in parts)


def with_texts(value: Any, change: Callable[[str], str]) -> Any:
    """Return a JSON value with each of its texts changed, but for the names of fields."""
    if isinstance(value, dict):
        return {name: with_texts(part, change) for name, part in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        return [with_texts(part, change) for part in cast("list[object]", value)]
    return change(value) if isinstance(value, str) else value


@cache
def echoes(model: str, task_type: str) -> bool:
    """Return whether answers show the input of a task; False where every real sample shows an empty object."""
    shown: list[object] = []
    for name, example in contract.document()["components"]["examples"].items():
        value: Any = example["value"]
        task: dict[str, Any] = (isinstance(value, dict) and cast("dict[str, Any]", value).get("data")) or {}
        if example["x-evidence"] == "reconstructed" or task.get("model") != model:
            continue
        # the sample of the page of multi-face-swap says "face-swap"
        if task_type in (task.get("task_type"), name.split(".")[1]):
            shown.append(task.get("input"))
    return not shown or any(shown)
