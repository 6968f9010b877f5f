"""Check the bundle before code is generated from it. Each check yields a sentence for each fault."""

import json
from collections.abc import Iterator
from typing import Any

from jsonschema_rs import Draft202012Validator, Registry
from openapi_spec_validator import OpenAPIV31SpecValidator

from .bundle import Document, operations, resolved, task_of
from .prices import price_faults
from .states import PHASES

ROLES = ("preview", "input")  # a file without a role is a result
SIBLINGS = frozenset({"variant_of", "width", "height", "duration_ms", "duration_s"})
LONGEST_TYPICAL = 600  # seconds; the longest time that a source gives is 510


def faults(document: Document) -> list[str]:
    """Return every fault of the document."""
    errors = OpenAPIV31SpecValidator(document).iter_errors()
    found = [f"/{'/'.join(map(str, error.absolute_path))}: {error.message:.200}" for error in errors]
    return found or own_faults(document)


def own_faults(document: Document) -> list[str]:
    """Return the faults of a valid OpenAPI document by the rules of this project."""
    checks = (_schemas, _states, _media, _links, _protocols, _examples, _example_files, _sources)
    return list(_catalogue(document)) or [fault for check in checks for fault in check(document)]


def _schemas(document: Document) -> Iterator[str]:
    for pointer, node in _nodes(document["components"]["schemas"], "#/components/schemas"):
        if "default" in node and not pointer.endswith("/properties"):
            yield f"{pointer}: a default would be sent; say it in the description"
        if "title" in node and not pointer.endswith("/properties"):
            yield f"{pointer}: a title would rename the class; remove it"


def _states(document: Document) -> Iterator[str]:
    """Each status word has a source and stands for one state, and the words of the enum are among them."""
    status = document["components"]["schemas"]["TaskStatus"]
    found = [item for rule in status["x-states"].values() for item in rule["words"].items()]
    words = [word for word, _ in found]
    for word, sources in found:
        if word != word.casefold() or words.count(word) > 1:
            yield f"x-states: {word!r} must be in lower case and belong to one state"
        if not sources or set(sources) - document["x-sources"].keys():
            yield f"x-states: name the sources of {word!r}, from spec/sources.yaml"
    for name, rule in status["x-states"].items():
        if rule["phase"] not in PHASES:
            yield f"x-states: the phase of {name} is not one of {', '.join(PHASES)}"
    for word in status["anyOf"][0]["enum"]:
        if word not in words:
            yield f"x-states: {word!r} of the enum belongs to no state"


def _media(document: Document) -> Iterator[str]:
    """x-media uses known roles and names fields that exist (docs/adding-a-task-type.md)."""
    for name, schema in document["components"]["schemas"].items():
        fields = schema.get("properties", {})
        for field, rule in fields.items():
            each: list[Document] = [rule.get("x-media", {}), rule.get("items", {}).get("x-media", {})]
            for media in each:
                where = f"#/components/schemas/{name}/properties/{field}: x-media"
                if (role := media.get("role", ROLES[0])) not in ROLES:
                    yield f"{where}: the role {role!r} is not one of {', '.join(ROLES)}"
                for key in sorted(SIBLINGS & media.keys()):
                    named: str = media[key]
                    if named.partition(".")[0] not in fields.keys() - {field}:
                        yield f"{where}: {key} names {named!r}, which is not a field beside it"


def _links(document: Document) -> Iterator[str]:
    """Each link leads to an operation and fills its parameters from documented fields."""
    by_id = {operation["operationId"]: (path, operation) for path, _, operation in operations(document)}
    for path, method, operation in operations(document):
        for part, response in operation["responses"].items():
            for name, link in resolved(document, response).get("links", {}).items():
                where = f"{method} {path} {part}: link {name}"
                if link["operationId"] not in by_id:
                    yield f"{where} leads to {link['operationId']!r}, which is not an operation"
                    continue
                target, found = by_id[link["operationId"]]
                given = [*document["paths"][target].get("parameters", []), *found.get("parameters", [])]
                known = {resolved(document, one)["name"] for one in given}
                for parameter, expression in link["parameters"].items():
                    if parameter not in known:
                        yield f"{where} fills {parameter!r}, which is not a parameter of {link['operationId']}"
                    if not _is_documented(document, response, expression.removeprefix("$response.body#")):
                        yield f"{where} reads {expression!r}, which is not a documented field"


def _protocols(document: Document) -> Iterator[str]:
    """The pointers of a protocol lead to documented fields of the response."""
    by_id = {operation["operationId"]: operation for _, _, operation in operations(document)}
    for name, rules in document["x-protocols"].items():
        response = by_id[rules["poll"]]["responses"]["200"]
        pointers = (rules["task_id"], rules["status"], *rules["output"].values(), rules.get("reasons", ""))
        for pointer in pointers:
            if not _is_documented(document, response, pointer):
                yield f"x-protocols: {name} reads {pointer!r}, which is not a documented field"


def _is_documented(document: Document, response: Document, pointer: str) -> bool:
    """Return whether a pointer into the body of a response leads to a documented field."""
    rule = resolved(document, response)["content"]["application/json"]["schema"]
    for step in pointer.split("/")[1:]:
        rule = next((branch for branch in rule.get("anyOf", []) if branch != {"type": "null"}), rule)
        rule = resolved(document, rule)
        rule = rule.get("items") if step.isdecimal() else rule.get("properties", {}).get(step)
        if rule is None:
            return False
    return True


def _examples(document: Document) -> Iterator[str]:
    """Each example fits its operation, and the input or output of its task type."""
    examples = document["components"]["examples"]
    attached = [
        (f"example {name} does not fit {method} {path} {part}", content["schema"], name)
        for path, method, operation in operations(document)
        for part, content in _contents(document, operation)
        for name in content.get("examples", {})
    ]
    for name in examples.keys() - {name for _, _, name in attached}:
        yield f"example {name} belongs to no operation"
    # A registry: a validator with all components of its own takes some milliseconds each.
    registry = Registry([("urn:spec", {"components": {"schemas": document["components"]["schemas"]}})])
    bodies = [(label, schema, examples[name]["value"]) for label, schema, name in attached]
    for label, schema, value in [*bodies, *_inputs_and_outputs(document)]:
        shared = json.loads(json.dumps(schema).replace('"#/', '"urn:spec#/'))
        for error in Draft202012Validator(shared, registry=registry).iter_errors(value):
            yield f"{label}: /{'/'.join(map(str, error.instance_path))}: {error.message}"


def _inputs_and_outputs(document: Document) -> Iterator[tuple[str, Document, Any]]:
    """Yield the input or output of each example: a label, its schema and its value."""
    for name, example in document["components"]["examples"].items():
        value = example["value"]
        body = value if example["x-part"] == "request" else value.get("data")
        task = task_of(document, body) if isinstance(body, dict) else None
        side = "input" if example["x-part"] == "request" else "output"
        if task and body.get(side) is not None:
            schema = {"$ref": f"#/components/schemas/{task[side]}"}
            yield f"example {name}: its {side} does not fit {task[side]}", schema, body[side]


def _example_files(document: Document) -> Iterator[str]:
    """Each field whose examples hold a URL has an x-media, so that it is among the files of a task."""
    for name, example in document["components"]["examples"].items():
        body: Any = example["value"].get("data") if example["x-part"] != "request" else None
        if isinstance(body, dict) and (task := task_of(document, body)):
            rule = {"$ref": f"#/components/schemas/{task['output']}"}
            for place in _unclassified(document, body.get("output"), rule, task["output"]):
                yield f"example {name}: {place} holds a URL: give it an x-media"


def _unclassified(document: Document, value: Any, rule: Document, place: str) -> Iterator[str]:
    """Yield the places of URLs in fields that have no x-media with a kind."""
    rule = next((branch for branch in rule.get("anyOf", []) if "$ref" in branch), rule)
    rule = resolved(document, rule)
    if isinstance(value, str):
        if value.startswith(("http://", "https://")) and "kind" not in rule.get("x-media", {}):
            yield place
    elif isinstance(value, list):
        for item in value:
            yield from _unclassified(document, item, rule.get("items", {}), f"{place}[]")
    elif isinstance(value, dict):
        other = rule.get("additionalProperties")
        for key, item in value.items():
            part = rule.get("properties", {}).get(key, other if isinstance(other, dict) else {})
            yield from _unclassified(document, item, part, f"{place}.{key}")


def _catalogue(document: Document) -> Iterator[str]:
    seen: dict[tuple[str, ...], str] = {}
    for task in document["x-tasks"]:
        key = (task["model"], task["task_type"], str(sorted(task.get("match", {}).items())))
        if key in seen:
            yield f"x-tasks: {task['name']} and {seen[key]} have the same model, task_type and match"
        seen[key] = task["name"]
        for side in ("input", "output"):
            if task[side] not in document["components"]["schemas"]:
                yield f"x-tasks: {task['name']} has the {side} {task[side]!r}, which is not a schema"
        if not 0 < task.get("typical_seconds", {}).get("value", 1) <= LONGEST_TYPICAL:
            yield f"x-tasks: {task['name']} takes {task['typical_seconds']['value']} s: the first poll would be late"
        yield from price_faults(document, task)


def _sources(document: Document) -> Iterator[str]:
    known = document["x-sources"]
    for pointer, node in _nodes(document, "#"):
        named = node.get("x-source")
        for name in named if isinstance(named, list) else []:
            if name not in known:
                yield f"{pointer}: {name!r} is not in spec/sources.yaml"
    for name, schema in document["components"]["schemas"].items():
        for field, rule in schema.get("properties", {}).items():
            if "$ref" not in rule and "anyOf" not in rule and "x-source" not in rule:
                yield f"#/components/schemas/{name}/properties/{field}: name its sources (x-source)"


def _contents(document: Document, operation: Document) -> Iterator[tuple[str, Document]]:
    parts: dict[str, Document] = {"request": operation.get("requestBody", {}), **operation["responses"]}
    for part, holder in parts.items():
        for content in resolved(document, holder).get("content", {}).values():
            yield part, content


def _nodes(node: Any, pointer: str) -> Iterator[tuple[str, Document]]:
    if isinstance(node, dict):
        yield pointer, node
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        yield from _nodes(value, f"{pointer}/{key}")
