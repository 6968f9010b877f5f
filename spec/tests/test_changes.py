"""The semver verdict on mutants of the real spec with one change each."""

from collections.abc import Iterator
from typing import Any

import pytest
from generator.bundle import at, operations
from generator.changes import bump_is_enough, grouped, waived
from unitask_contract.changes import LEVELS, Change, changes, verdict

from .conftest import Document, Edit, bundled, copied, put

Mutant = tuple[str, str, Edit]  # level, what, the change

BASE = bundled()
CREATE, MANY = "#/paths/~1api~1v1~1task/post", "#/paths/~1api~1v1~1tasks/delete"
SCHEMAS = "#/components/schemas"
REQUEST, CONFIG, TASK = (f"{SCHEMAS}/{name}" for name in ("TaskRequest", "TaskConfig", "Task"))
GIVEN, MADE = f"{SCHEMAS}/FaceSwapInput/properties", f"{SCHEMAS}/FaceSwapOutput/properties"
NOTIFICATION = f"{SCHEMAS}/AccountNotification/properties"
WORDS = f"{SCHEMAS}/TaskStatus/anyOf/0"
TEXT, NULLABLE = {"type": "string"}, ["string", "null"]
NEW_PARAMETER: Document = {"name": "x", "in": "query", "schema": TEXT}
TWIN = {**BASE["x-tasks"][0], "name": "Twin", "task_type": "twin"}


def _drop(pointer: str, key: Any) -> Edit:
    return lambda document: at(document, pointer).pop(key)


def _add(pointer: str, item: Any) -> Edit:
    return lambda document: at(document, pointer).append(item)


def _of_operations() -> Iterator[Mutant]:
    for path, method, operation in operations(BASE):
        group, escaped = "paths" if path in BASE["paths"] else "webhooks", path.replace("/", "~1")
        item, name = f"#/{group}/{escaped}", operation["operationId"]
        place, shared = f"{item}/{method}", operation.get("parameters", [])
        yield "major", f"{name} is removed", _drop(item, method)
        yield "major", f"{name} is renamed", put(f"{place}/operationId", f"{name}_2")
        yield "minor", f"{name} needs no key", put(f"{place}/security", [])
        yield "major", f"{name} loses its 200", _drop(f"{place}/responses", "200")
        yield "minor", f"{name} has a 409", put(f"{place}/responses/409", {"description": "conflict"})
        yield "patch", f"{name} is described otherwise", put(f"{place}/summary", "Otherwise")
        yield "minor", f"{name} has an optional parameter", put(f"{place}/parameters", [*shared, NEW_PARAMETER])
        required = {**NEW_PARAMETER, "required": True}
        yield "major", f"{name} has a required parameter", put(f"{place}/parameters", [*shared, required])


NEW_OPERATION = {"get": {"operationId": "new", "responses": {"200": {"description": ""}}}}
MUTANTS: list[Mutant] = [
    *_of_operations(),
    ("minor", "an operation is added", put("#/paths/~1new", NEW_OPERATION)),
    ("minor", "the key is optional", put(f"{CREATE}/security", [{"ApiKey": []}, {}])),
    ("minor", "a bearer token is taken, too", put(f"{CREATE}/security", [{"ApiKey": []}, {"Bearer": []}])),
    ("major", "only a bearer token is taken", put(f"{CREATE}/security", [{"Bearer": []}])),
    ("major", "the key has another name", put("#/components/securitySchemes/ApiKey/name", "x-key")),
    # parameters
    ("major", "created_before is removed", _drop(f"{MANY}/parameters", 0)),
    ("minor", "created_before is optional", put(f"{MANY}/parameters/0/required", False)),
    ("major", "created_before starts later", put(f"{MANY}/parameters/0/schema/minimum", 9)),
    ("minor", "created_before may be negative", _drop(f"{MANY}/parameters/0/schema", "minimum")),
    ("major", "created_before is text", put(f"{MANY}/parameters/0/schema/type", "string")),
    ("major", "model is required", put(f"{MANY}/parameters/1/required", True)),
    # what is sent
    ("minor", "the body is optional", put(f"{CREATE}/requestBody/required", False)),
    ("major", "the body is another type", put(f"{CREATE}/requestBody/content", {"text/json": {}})),
    ("minor", "a request has an optional field", put(f"{REQUEST}/properties/new", TEXT)),
    ("minor", "an object in a request has an optional field", put(f"{CONFIG}/properties/new", TEXT)),
    ("major", "a request needs a new field", _add(f"{REQUEST}/required", "new")),
    ("minor", "a field of a request is optional", _drop(f"{REQUEST}/required", 0)),
    ("major", "a field of a request is not documented any more", _drop(f"{REQUEST}/properties", "config")),
    ("patch", "a field of a request is described otherwise", put(f"{REQUEST}/properties/model/description", "Else.")),
    ("major", "a text in a request is shorter", put(f"{REQUEST}/properties/model/maxLength", 3)),
    ("major", "a text in a request is a choice", put(f"{REQUEST}/properties/model/enum", ["a", "b"])),
    ("major", "a text in a request has a pattern", put(f"{REQUEST}/properties/model/pattern", "^a+$")),
    ("major", "a text in a request is a number", put(f"{REQUEST}/properties/model/type", "number")),
    ("minor", "a text in a request may be null", put(f"{REQUEST}/properties/model/type", NULLABLE)),
    ("major", "a text that is echoed, too, may be null", put(f"{CONFIG}/properties/service_mode/type", NULLABLE)),
    # what is received
    ("minor", "a task has another field", put(f"{TASK}/properties/new", TEXT)),
    ("major", "a field of a task does not come any more", _drop(f"{TASK}/properties", "model")),
    ("major", "a text in a task may be null", put(f"{SCHEMAS}/TaskUsage/properties/type/type", NULLABLE)),
    ("major", "a text in a task is a number", put(f"{TASK}/properties/task_id/type", "number")),
    ("minor", "a text in a task is one of two", put(f"{TASK}/properties/task_id/enum", ["a", "b"])),
    ("major", "a whole number may be a fraction", put(f"{SCHEMAS}/ErrorEnvelope/properties/code/type", "number")),
    ("minor", "a whole number is never negative", put(f"{SCHEMAS}/ErrorEnvelope/properties/code/minimum", 0)),
    ("major", "a field of a task may be absent", _drop(f"{TASK}/required", 0)),
    ("minor", "a status word is added", _add(f"{WORDS}/enum", "queued")),
    ("major", "the status is a closed list", put(f"{SCHEMAS}/TaskStatus/anyOf", [{"type": "integer"}])),
    # what a webhook receives
    ("major", "a number in a notification may be null", put(f"{NOTIFICATION}/time/type", ["integer", "null"])),
    ("minor", "a number in a notification is never negative", put(f"{NOTIFICATION}/time/minimum", 0)),
    # task types
    ("major", "a task type is removed", _drop("#/x-tasks", 0)),
    ("minor", "a task type is added", _add("#/x-tasks", TWIN)),
    *(
        ("major", f"the {key} of a task type changes", put(f"#/x-tasks/0/{key}", "other"))
        for key in ("name", "model", "task_type", "family")
    ),
    ("patch", "a price changes", put("#/x-tasks/0/price", {"usd": 9})),
    ("major", "an input needs a new field", _add(f"{SCHEMAS}/FaceSwapInput/required", "new")),
    ("major", "an input field is not documented any more", _drop(GIVEN, "swap_image")),
    ("minor", "an input field is optional", _drop(f"{SCHEMAS}/FaceSwapInput/required", 0)),
    ("minor", "an input has an optional field", put(f"{GIVEN}/new", TEXT)),
    ("major", "an input field is shorter", put(f"{GIVEN}/swap_image/maxLength", 9)),
    ("major", "an output field does not come any more", _drop(MADE, "image_url")),
    ("minor", "an output field is never null", put(f"{MADE}/image_url/type", "string")),
    ("major", "an output field is a list", put(f"{MADE}/image_url/type", "array")),
]


def _of_each_shape() -> list[Mutant]:
    """Return the mutants without those of an operation that is like another one; `make score` tries them all."""
    shapes: dict[object, str] = {}
    for path, _, operation in operations(BASE):
        shape = path in BASE["paths"], "requestBody" in operation, bool(operation.get("parameters"))
        shapes.setdefault(shape, operation["operationId"])
    others = {operation["operationId"] for _, _, operation in operations(BASE)}.difference(shapes.values())
    return [mutant for mutant in MUTANTS if mutant[1].partition(" ")[0] not in others]


TRIED = _of_each_shape()


@pytest.mark.parametrize(("level", "change"), [(m[0], m[2]) for m in TRIED], ids=[m[1] for m in TRIED])
def test_verdict_of_one_change(level: str, change: Edit) -> None:
    new = copied()
    change(new)
    found = changes(BASE, new)

    assert verdict(found) == level, found


def test_verdict_of_no_change_is_none() -> None:
    assert changes(BASE, copied()) == []


def test_changes_of_one_kind_are_printed_together_with_the_new_fields() -> None:
    new = copied()
    put(f"{REQUEST}/properties/new", TEXT)(new)
    put(f"{GIVEN}/new", TEXT)(new)

    assert list(grouped(changes(BASE, new))) == [
        "minor  more is allowed: /new",
        "       - paths POST /api/v1/task request",
        "       - task FaceSwap input",
    ]


def test_waiver_lowers_one_break_and_says_why() -> None:
    found = [Change("major", "a", "x"), Change("major", "b", "y")]

    after = waived(found, [{"where": "a", "why": "no client sends it"}])

    assert [change.level for change in after] == ["minor", "major"]
    assert "no client sends it" in after[0].what


BUMPS = {  # the old version and the new one, and for which levels that is enough
    ("1.2.3", "2.0.0"): ["none", "patch", "minor", "major"],
    ("1.2.3", "1.3.0"): ["none", "patch", "minor"],
    ("1.2.3", "1.2.4"): ["none", "patch"],
    ("1.2.3", "1.2.3"): ["none"],
    ("0.1.0", "0.2.0"): ["none", "patch", "minor", "major"],
    ("0.1.0", "0.1.1"): ["none", "patch", "minor"],
}


def test_bump_is_enough_for_its_level() -> None:
    assert {pair: [level for level in LEVELS if bump_is_enough(*pair, level)] for pair in BUMPS} == BUMPS
