"""`unitask tasks` and `show`: the task types, from the contract alone, so that they start at once."""

import difflib
import json
import shlex
from collections.abc import Iterator
from dataclasses import asdict
from typing import Annotated, Any

from typer import Argument, Context, Option
from unitask_api import contract
from unitask_api.json_types import as_object, is_list

from .. import errors
from .._terminal import dollars, find_task_type, kebab, put, task_type


def tasks_like(incomplete: str) -> list[tuple[str, str]]:
    """Return the task types that a word can become, for completion in a shell."""
    named = ((kebab(name), _texts(name)["summary"]) for name in contract.task_types())
    return [(name, summary) for name, summary in named if name.startswith(incomplete)]


def _fields_like(ctx: Context, incomplete: str) -> list[str]:
    """Return the fields that a word can become."""
    entry = find_task_type(str(ctx.params.get("task")))
    fields = (f"{name.replace('_', '-')}=" for name in (_rules(entry) if entry else ()))
    return [field for field in fields if field.startswith(incomplete)]


TaskName = Annotated[
    str,
    Argument(
        metavar="TASK", help="A task type, such as face-swap; `unitask tasks` lists them.", autocompletion=tasks_like
    ),
]
Fields = Annotated[
    list[str] | None,
    Argument(
        metavar="FIELD=VALUE...",
        help="The input. Repeat the FIELD of a list. FIELD:=JSON gives any value, FIELD=@FILE the text of a file, "
        "FIELD=- what is on stdin.",
        autocompletion=_fields_like,
    ),
]
AsJson = Annotated[bool, Option("--json", help="Print JSON.")]
_FILES = {"image": "picture.png", "video": "film.mp4", "audio": "sound.mp3"}  # of an example without a documented one
_NAMED = {"origin_task_id": "90efd2db-bcfc-413f-a0be-c893850c9d68", "mask": "https://example.org/mask.png"}
_TEXT = "a paper boat on a lake"
_PLACEHOLDERS = ("x", "y", "p", "string")  # of documented requests
_TYPES = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false", "object": "JSON"}
_LIMITS = {
    "maxLength": "at most {:,} characters",
    "minimum": "at least {}",
    "exclusiveMinimum": "over {}",
    "maximum": "at most {}",
    "minItems": "at least {} of them",
    "maxItems": "at most {} of them",
}


def tasks(
    words: Annotated[list[str] | None, Argument(metavar="[WORD]...", help="Only those with all these words.")] = None,
    family: Annotated[str | None, Option("--family", help="Only this family, such as kling.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the task types, with price and description."""
    families = sorted({entry.family for entry in contract.task_types().values()})
    if family is not None and family.lower() not in families:
        near = difflib.get_close_matches(family.lower(), families, n=1)
        hint = f"did you mean {near[0]}? They are" if near else "they are"
        raise errors.InvalidInput(f"there is no family {family!r:.80}: {hint} {', '.join(families)}")
    found = [
        entry
        for entry in map(_entry, contract.task_types())
        if (family is None or family.lower() == entry["family"])
        and all(word.lower() in _searched(entry) for word in words or ())
    ]
    if not found:
        raise errors.InvalidInput(
            f"no task type has the words {' '.join(words or ())!r:.80}: `unitask tasks` lists all"
        )
    if as_json:
        put(json.dumps(found, indent=2))
        return
    prices = [price_words(contract.task_types()[entry["name"]]) for entry in found]
    rows = [(entry["command"], price, entry["summary"]) for entry, price in zip(found, prices, strict=True)]
    first, second = (max(len(row[column]) for row in rows) for column in (0, 1))
    put(*(f"{name:<{first}}  {price:<{second}}  {summary}" for name, price, summary in rows))


def _entry(name: str) -> dict[str, Any]:
    """Return what the catalogue says about a task type, with its name in a command and its description."""
    entry = asdict(contract.task_types()[name])
    return {"command": kebab(name), **entry, **_texts(name)}


def _texts(name: str) -> dict[str, str]:
    listed = next(entry for entry in contract.document()["x-tasks"] if entry["name"] == name)
    return {key: " ".join(listed.get(key, "").split()) for key in ("summary", "description")}


def _searched(entry: dict[str, Any]) -> str:
    names = ("command", "name", "family", "model", "task_type", "summary", "description")
    return " ".join(entry[name] for name in names).lower()


def show(task: TaskName, as_json: AsJson = False) -> None:
    """Show fields, limits and price of a task type, and an example."""
    entry = task_type(task)
    if as_json:
        shown = _entry(entry.name) | {"fields": contract.component(entry.input), "example": example(entry)}
        put(json.dumps(shown, indent=2))
    else:
        put(*description(entry))


def description(entry: contract.TaskType) -> Iterator[str]:
    """Yield the lines that describe a task type."""
    texts = _texts(entry.name)
    yield f"{kebab(entry.name)}: {texts['summary']}"
    if texts["description"]:
        yield texts["description"]
    yield f"Price: {price_words(entry)}. Usual duration: {entry.typical_seconds:g} s. Source: {entry.docs}."
    yield f"In Python: unitask.tasks.{entry.name}. On the wire: {entry.model} {entry.task_type}."
    rules = {name: rule for name, rule in _rules(entry).items() if "const" not in rule}
    required = contract.component(entry.input).get("required", ())
    width = max(map(len, rules), default=0)
    yield ""
    yield "Fields:"
    for name, rule in sorted(rules.items(), key=lambda item: item[0] not in required):
        about = contract.resolve(rule).get("description", "") if "description" not in rule else rule["description"]
        words = [type_words(rule), *(["required"] if name in required else []), *limits(rule)]
        yield f"  {name.replace('_', '-'):<{width}}  {'; '.join(words)}"
        if about:
            yield f"  {'':<{width}}  {' '.join(about.split())}"
    yield ""
    yield "Example:"
    yield f"  {example(entry)}"


def price_words(entry: contract.TaskType) -> str:
    """Return the published price; the lowest one, if it depends on the input."""
    if entry.price is None:
        return "price unknown"
    usd = dollars(min(rate["usd"] for rate in (entry.price, *entry.price.get("more", ()))))
    return f"{'from ' if 'more' in entry.price else ''}{usd} per {entry.price['per']}"


def _rules(entry: contract.TaskType) -> dict[str, Any]:
    rules: dict[str, Any] = contract.component(entry.input).get("properties", {})
    return {name: rule for name, rule in rules.items() if name not in entry.match}


def type_words(rule: dict[str, Any]) -> str:
    """Return the type of a field, as one writes it in a command."""
    if media := rule.get("x-media"):
        return "URL" if media.get("accepts") == ["url"] else f"{media['kind']}: file or URL"
    rule = contract.resolve(rule)
    if "anyOf" in rule:
        return " or ".join(dict.fromkeys(map(type_words, rule["anyOf"])))
    if inner := rule.get("properties"):
        return f"JSON object: {', '.join(inner)}"
    named = rule.get("type", "JSON")
    if named == "array":
        return f"{type_words(rule.get('items', {}))}; repeat the field for several"
    return " or ".join(_TYPES.get(one, one) for one in ([named] if isinstance(named, str) else named))


def limits(rule: dict[str, Any]) -> list[str]:
    """Return the limits of a field in words."""
    media = rule.get("x-media", {})
    words = [text.format(rule[key]) for key, text in _LIMITS.items() if key in rule]
    words += [f"one of {', '.join(map(str, rule['enum']))}"] if "enum" in rule else []
    words += [" or ".join(media["formats"])] if "formats" in media else []
    words += [f"both sides under {media['exclusive_max_side']} pixels"] if "exclusive_max_side" in media else []
    words += [f"default {rule['x-default']}"] if "x-default" in rule else []
    if advised := limits(rule.get("x-advisory", {})) if "x-advisory" in rule else []:
        words.append(f"advised: {', '.join(advised)}")
    return words


def example(entry: contract.TaskType) -> str:
    """Return a command that runs a task of this type, with its documented input if there is one."""
    rules = _rules(entry)
    words = [word for name, value in documented_input(entry).items() for word in _words(name, value, rules[name])]
    return " ".join(["unitask run", kebab(entry.name), *words, "--to out/"])


def documented_input(entry: contract.TaskType) -> dict[str, Any]:
    """Return the input of the first documented request, else plausible values for the required fields.

    Some documented texts are placeholders of one letter: those that are needed become readable.
    """
    rules, required = _rules(entry), contract.component(entry.input).get("required", ())
    for documented in contract.document()["components"]["examples"].values():
        body = as_object(documented.get("value"))
        given = body.get("input")
        is_it = entry is contract.find(body.get("model"), body.get("task_type"), given)
        if documented["x-operation"] == entry.create != "create_task" and documented["x-part"] == "request":
            is_it, given = True, body  # of an older protocol
        values = {name: value for name, value in as_object(given).items() if name in rules and value != ""}
        if is_it and values and all(name in values for name in required):
            used = {
                name: value
                for name, value in values.items()
                if name in (*required, "prompt") or value not in _PLACEHOLDERS
            }
            return {name: _TEXT if value in _PLACEHOLDERS else value for name, value in used.items()}
    needed = required or ("prompt",)
    return {name: _NAMED.get(name) or _plausible(rules[name]) for name in needed if name in rules}


def _plausible(rule: dict[str, Any]) -> Any:
    rule = contract.resolve(rule)
    if media := rule.get("x-media"):
        return f"https://example.org/{_FILES.get(media['kind'], 'file')}"
    if choice := rule.get("enum") or rule.get("x-advisory", {}).get("enum"):
        return choice[0]
    if rule.get("type") == "array":
        return [_plausible(rule["items"])]
    if rule.get("type") == "object":
        return {name: _plausible(rule["properties"][name]) for name in rule.get("required", ())}
    return rule.get("minimum", 1) if rule.get("type") in ("integer", "number") else _TEXT


def _words(name: str, value: Any, rule: dict[str, Any]) -> Iterator[str]:
    """Yield the words of a command that give a field this value, quoted for a shell."""
    field = name.replace("_", "-")
    if is_list(value) and value and all(isinstance(item, str) for item in value):
        for item in value:
            yield from _words(name, item, rule)
    elif isinstance(value, str) and value and value[0] not in "@-":
        yield f"{field}={shlex.quote(value)}"
    elif isinstance(value, int | float) and contract.resolve(rule).get("type") in ("boolean", "integer", "number"):
        yield f"{field}={json.dumps(value)}"
    else:
        yield f"{field}:={shlex.quote(json.dumps(value))}"
