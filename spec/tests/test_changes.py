"""The semver verdict on mutants of the real spec with one change each."""

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from generator.bundle import at, operations
from generator.changes import Change, bump_is_enough, changes, verdict, waived
from generator.containment import covers

from .conftest import bundled

Document = dict[str, Any]
Mutant = tuple[str, str, Callable[[Document], None]]  # level, what, the change

BASE = bundled()
# Objects that are sent, and objects that are received: (name here, pointer).
SENT = [("request", "#/components/schemas/TaskRequest"), ("config", "#/components/schemas/TaskConfig")]
RECEIVED = [
    ("envelope", "#/components/schemas/TaskEnvelope"),
    ("task", "#/components/schemas/Task"),
    ("usage", "#/components/schemas/TaskUsage"),
    ("error", "#/components/schemas/TaskError"),
    ("refusal", "#/components/schemas/ErrorEnvelope"),
]


def _drop(pointer: str, key: str) -> Callable[[Document], None]:
    return lambda document: at(document, pointer).pop(key)


def _put(pointer: str, **values: Any) -> Callable[[Document], None]:
    return lambda document: at(document, pointer).update(values)


def _escaped(path: str) -> str:
    return path.replace("~", "~0").replace("/", "~1")


def _of_operations() -> Iterator[Mutant]:
    for path, method, operation in operations(BASE):
        group = "paths" if path in BASE["paths"] else "webhooks"
        item, name = f"#/{group}/{_escaped(path)}", operation["operationId"]
        yield "major", f"{name} is removed", _drop(item, method)
        yield "major", f"{name} is renamed", _put(f"{item}/{method}", operationId=f"{name}_2")
        yield "major", f"{name} needs no key", _put(f"{item}/{method}", security=[])
        yield "major", f"{name} loses its 200", _drop(f"{item}/{method}/responses", "200")
        yield "minor", f"{name} has a 409", _put(f"{item}/{method}/responses", **{"409": {"description": "conflict"}})
        yield "patch", f"{name} is described otherwise", _put(f"{item}/{method}", summary="Otherwise")
        new = {"name": "x", "in": "query", "schema": {"type": "string"}}
        shared = operation.get("parameters", [])
        yield "minor", f"{name} has an optional parameter", _put(f"{item}/{method}", parameters=[*shared, new])
        required = {**new, "required": True}
        yield "major", f"{name} has a required parameter", _put(f"{item}/{method}", parameters=[*shared, required])
    yield "minor", "an operation is added", _put("#/paths", **{"/new": {"get": _operation("new")}})


def _operation(name: str) -> Document:
    return {"operationId": name, "responses": {"200": {"description": ""}}}


def _of_parameters() -> Iterator[Mutant]:
    many = "#/paths/~1api~1v1~1tasks/delete"
    yield "major", "created_before is removed", lambda document: at(document, many)["parameters"].pop(0)
    yield "minor", "created_before is optional", _put(f"{many}/parameters/0", required=False)
    yield "major", "model is required", _put(f"{many}/parameters/1", required=True)
    yield "major", "model is shorter", _put(f"{many}/parameters/1/schema", maxLength=5)
    yield "major", "created_before starts later", _put(f"{many}/parameters/0/schema", minimum=9)
    yield "minor", "created_before may be negative", _drop(f"{many}/parameters/0/schema", "minimum")
    yield "major", "created_before is text", _put(f"{many}/parameters/0/schema", type="string")
    yield "major", "the key has another name", _put("#/components/securitySchemes/ApiKey", name="x-key")


def _of_requests() -> Iterator[Mutant]:
    create = "#/paths/~1api~1v1~1task/post/requestBody"
    yield "minor", "the body is optional", _put(create, required=False)
    yield "major", "the body is another type", lambda document: _renamed(document, f"{create}/content")
    for name, pointer in SENT:
        properties = at(BASE, f"{pointer}/properties")
        yield "minor", f"{name} has an optional field", _put(f"{pointer}/properties", new={"type": "string"})
        yield (
            "major",
            f"{name} needs a new field",
            _put(pointer, required=[*at(BASE, pointer).get("required", []), "new"]),
        )
        for field, rule in properties.items():
            yield "major", f"{name}.{field} is not documented any more", _drop(f"{pointer}/properties", field)
            yield (
                "patch",
                f"{name}.{field} is described otherwise",
                _put(f"{pointer}/properties/{field}", **_words(rule)),
            )
            if rule.get("type") == "string":
                place = f"{pointer}/properties/{field}"
                yield "major", f"{name}.{field} is shorter", _put(place, maxLength=3)
                yield "major", f"{name}.{field} is a choice", _put(place, enum=["a", "b"])
                yield "major", f"{name}.{field} has a pattern", _put(place, pattern="^a+$")
                yield "major", f"{name}.{field} is a number", _put(place, type="number")
                level = "major" if name == "config" else "minor"  # config is echoed in answers, too
                yield level, f"{name}.{field} may be null", _put(place, type=["string", "null"])
    for field in at(BASE, "#/components/schemas/TaskRequest")["required"]:
        kept = [name for name in at(BASE, "#/components/schemas/TaskRequest")["required"] if name != field]
        yield "minor", f"{field} is optional", _put("#/components/schemas/TaskRequest", required=kept)


def _words(rule: Document) -> Document:
    return {"x-source": ["inferred"]} if "$ref" in rule else {"description": "Otherwise."}


def _renamed(document: Document, pointer: str) -> None:
    content = at(document, pointer)
    content["text/json"] = content.pop("application/json")


def _of_answers() -> Iterator[Mutant]:
    for name, pointer in RECEIVED:
        schema = at(BASE, pointer)
        yield "minor", f"{name} has another field", _put(f"{pointer}/properties", new={"type": "string"})
        for field, rule in schema["properties"].items():
            place = f"{pointer}/properties/{field}"
            yield "major", f"{name}.{field} does not come any more", _drop(f"{pointer}/properties", field)
            if rule.get("type") == "string":
                yield "major", f"{name}.{field} may be null", _put(place, type=["string", "null"])
                yield "major", f"{name}.{field} is a number", _put(place, type="number")
                yield "minor", f"{name}.{field} is one of two", _put(place, enum=["a", "b"])
            if rule.get("type") == "integer":
                yield "major", f"{name}.{field} may be a fraction", _put(place, type="number")
                yield "minor", f"{name}.{field} is never negative", _put(place, minimum=0)
        for field in schema.get("required", []):
            kept = [other for other in schema["required"] if other != field]
            yield "major", f"{name}.{field} may be absent", _put(pointer, required=kept)
    words = "#/components/schemas/TaskStatus/anyOf/0"
    yield "minor", "a status word is added", _put(words, enum=[*at(BASE, words)["enum"], "queued"])
    yield "major", "the status is a closed list", _put("#/components/schemas/TaskStatus", anyOf=[{"type": "integer"}])


def _of_task_types() -> Iterator[Mutant]:
    yield "major", "a task type is removed", lambda document: document["x-tasks"].pop(0)
    twin = {**BASE["x-tasks"][0], "name": "Twin", "task_type": "twin"}
    yield "minor", "a task type is added", lambda document: document["x-tasks"].append(twin)
    for key in ("name", "model", "task_type", "family"):
        yield "major", f"the {key} of a task type changes", _put("#/x-tasks/0", **{key: "other"})
    yield "patch", "a price changes", _put("#/x-tasks/0", price={"usd": 9})
    task = next(task for task in BASE["x-tasks"] if task["name"] == "FaceSwap")
    given, made = (f"#/components/schemas/{task[side]}" for side in ("input", "output"))
    yield "major", "an input needs a new field", _put(given, required=["target_image", "swap_image", "new"])
    yield "major", "an input field is not documented any more", _drop(f"{given}/properties", "swap_image")
    yield "minor", "an input field is optional", _put(given, required=["target_image"])
    yield "minor", "an input has an optional field", _put(f"{given}/properties", new={"type": "string"})
    yield "major", "an input field is shorter", _put(f"{given}/properties/swap_image", maxLength=9)
    yield "major", "an output field does not come any more", _drop(f"{made}/properties", "image_url")
    yield "minor", "an output field is never null", _put(f"{made}/properties/image_url", type="string")
    yield "major", "an output field is a list", _put(f"{made}/properties/image_url", type="array")


MUTANTS = [*_of_operations(), *_of_parameters(), *_of_requests(), *_of_answers(), *_of_task_types()]


def test_there_are_enough_mutants() -> None:
    assert sum(level == "major" for level, _, _ in MUTANTS) >= 60


@pytest.mark.parametrize(("level", "change"), [(m[0], m[2]) for m in MUTANTS], ids=[m[1] for m in MUTANTS])
def test_verdict_of_one_change(level: str, change: Callable[[Document], None]) -> None:
    new = copy.deepcopy(BASE)
    change(new)
    found = changes(BASE, new)

    assert verdict(found) == level, found


def test_verdict_of_no_change_is_none() -> None:
    assert changes(BASE, copy.deepcopy(BASE)) == []


def test_break_has_a_value_that_shows_it() -> None:
    new = copy.deepcopy(BASE)
    at(new, "#/components/schemas/TaskRequest/properties/model")["maxLength"] = 3
    (change,) = [change for change in changes(BASE, new) if change.level == "major"]

    assert len(change.example()["model"]) > 3


def test_webhook_body_is_compared_like_a_response() -> None:
    body = {"type": "object", "required": ["a"], "properties": {"a": {"type": "string"}}}
    post = {
        "requestBody": {"content": {"application/json": {"schema": body}}},
        "responses": {"200": {"description": ""}},
    }
    old = {**copy.deepcopy(BASE), "webhooks": {"done": {"post": post}}}
    fewer, more, gone = (copy.deepcopy(old) for _ in range(3))
    for document, kind in ((fewer, {"enum": ["x"]}), (more, {"type": ["string", "null"]})):
        place = at(document, "#/webhooks/done/post/requestBody/content/application~1json/schema/properties/a")
        place.update(kind)
    del gone["webhooks"]

    assert [verdict(changes(old, new)) for new in (fewer, more, gone)] == ["minor", "major", "major"]


def test_waiver_lowers_one_break_and_says_why() -> None:
    found = [Change("major", "a", "x"), Change("major", "b", "y")]

    after = waived(found, [{"where": "a", "why": "no client sends it"}])

    assert [change.level for change in after] == ["minor", "major"]
    assert "no client sends it" in after[0].what


@pytest.mark.parametrize(
    ("old", "new", "level", "enough"),
    [
        ("1.2.3", "2.0.0", "major", True),
        ("1.2.3", "1.3.0", "major", False),
        ("1.2.3", "1.3.0", "minor", True),
        ("1.2.3", "1.2.4", "minor", False),
        ("1.2.3", "1.2.4", "patch", True),
        ("1.2.3", "1.2.3", "patch", False),
        ("1.2.3", "1.2.3", "none", True),
        ("0.1.0", "0.2.0", "major", True),
        ("0.1.0", "0.1.1", "major", False),
        ("0.1.0", "0.1.1", "minor", True),
    ],
)
def test_bump_is_enough_for_its_level(old: str, new: str, level: str, enough: bool) -> None:
    assert bump_is_enough(old, new, level) is enough


@pytest.mark.parametrize(
    ("wide", "narrow", "expected"),
    [
        ({"type": "string"}, {"type": "string", "maxLength": 3}, True),
        ({"type": "string", "maxLength": 3}, {"type": "string"}, False),
        ({"type": "number"}, {"type": "integer"}, True),
        ({"enum": ["a", "b"]}, {"const": "a"}, True),
        ({"pattern": "^[ab]+$", "type": "string"}, {"pattern": "^a+$", "type": "string"}, False),
    ],
)
def test_covers_is_proven_or_no(wide: Document, narrow: Document, expected: bool) -> None:
    assert covers(wide, narrow) is expected
