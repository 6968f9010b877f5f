"""Values of components, made by the coverage phase of schemathesis."""

import json
from functools import cache
from typing import Any

import schemathesis
from unitask_contract import bundle

MEDIA = {"image": "https://me.test/a.png"}
OTHER_MEDIA = "https://me.test/a.bin"


@cache
def instances(component: str) -> tuple[Any, ...]:
    operation = _operations()[f"/{component}"]["POST"]
    cases = operation.schema.iter_coverage_cases(
        operation,
        generation_modes=[schemathesis.GenerationMode.POSITIVE],
        generation_config=operation.schema.config.generation_for(operation=operation),
    )
    texts = {json.dumps(case.body, sort_keys=True, default=str) for case in cases}
    values = map(json.loads, sorted(texts, key=lambda text: (len(text), text)))
    return tuple(value for value in values if bundle.allows(component, value))


@cache
def _operations() -> Any:
    schemas = {name: _advised(rule) for name, rule in bundle.schemas().items()}
    bodies = {name: {"$ref": f"#/components/schemas/{name}"} for name in schemas}
    queries = filter(None, map(bundle.query_of, bundle.operations()))
    bodies |= {name: _advised(bundle.component(name)) for name in queries}
    paths = {f"/{name}": {"post": _operation(body)} for name, body in bodies.items()}
    document = {**bundle.document(), "paths": paths, "webhooks": {}, "components": {"schemas": schemas}}
    return schemathesis.openapi.from_dict(document)


def _operation(schema: Any) -> Any:
    body = {"required": True, "content": {"application/json": {"schema": schema}}}
    return {"requestBody": body, "responses": {"200": {"description": "any"}}}


def _advised(node: Any) -> Any:
    if isinstance(node, list):
        return [_advised(part) for part in node]
    if not isinstance(node, dict):
        return node
    rule = {key: _advised(part) for key, part in node.items()}
    if rule.get("format") == "int64":
        del rule["format"]  # the limits of the format are no times
    advice = rule.pop("x-advisory", None)
    if advice and rule.get("type") != "object":  # advice on several fields contradicts some of their values
        rule["allOf"] = [*rule.get("allOf", []), advice]
    if "x-media" in rule and "string" in rule.get("type", ()):
        rule = {"enum": [MEDIA.get(rule["x-media"].get("kind"), OTHER_MEDIA)]}
    return rule
