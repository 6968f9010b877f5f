"""Prove whether a schema allows every value of another one. What is not proven counts as "no".

The proof uses the canonical form of jsonschema-rs; the strategies of schemathesis draw a counterexample. Both need
schemas without references, so those are inlined first.
"""

from collections.abc import Callable, Iterator
from typing import Any, cast

import jsonschema_rs
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings

from .bundle import Document, at

Schema = dict[str, Any] | bool

_TEXT = {"description", "title", "example", "examples", "default", "deprecated", "externalDocs", "discriminator", "xml"}
_MAPS, _LISTS = ("properties", "patternProperties", "$defs"), ("oneOf", "anyOf", "allOf", "prefixItems")
_SINGLES = ("items", "not", "additionalProperties")
_YES = jsonschema_rs.canonical.Containment.YES


def inlined(document: Document, schema: Schema, *, closed: bool = False, within: tuple[str, ...] = ()) -> Schema:
    """Return the schema without references and without descriptive keywords.

    Args:
        document: The document of its references.
        schema: The schema.
        closed: Whether to allow documented fields only: clients send no others, and a new optional field of a response
            is not a break.
        within: The references that led here; a recursive one becomes a schema that allows anything.
    """
    if isinstance(schema, bool):
        return schema
    if reference := schema.get("$ref"):
        if reference in within:
            return {}
        return inlined(document, at(document, reference), closed=closed, within=(*within, reference))

    def inner(part: Any) -> Any:
        return inlined(document, part, closed=closed, within=within)

    kept = {key: value for key, value in schema.items() if key not in _TEXT and not key.startswith("x-")}
    out = {key: _each(key, value, inner) for key, value in kept.items()}
    if closed and "properties" in out and "allOf" not in out:
        out.setdefault("additionalProperties", False)
    return out


def _each(key: str, value: Any, inner: Callable[[Any], Any]) -> Any:
    """Return the value of a keyword with each schema in it inlined."""
    if key in _MAPS:
        return {name: inner(part) for name, part in value.items()}
    if key in _LISTS:
        return [inner(part) for part in value]
    return inner(value) if key in _SINGLES and isinstance(value, dict) else value


def covers(wide: Schema, narrow: Schema) -> bool:
    """Return whether `wide` provably allows every value that `narrow` allows."""
    if wide == narrow:
        return True
    try:
        one, other = (_canonical(schema) for schema in (wide, narrow))
        return cast("bool", one.covers(other) == _YES)
    except (ValueError, jsonschema_rs.ReferencingError):
        return False


def counterexample(wide: Schema, narrow: Schema, tries: int = 200) -> Any:
    """Return a value that `narrow` allows and `wide` does not; None if none was drawn, which is not a proof."""
    refuses = jsonschema_rs.Draft202012Validator(wide)
    for value in _drawn(narrow, tries):
        if not refuses.is_valid(value):
            return value
    return None


def field_paths(schema: Schema, path: str = "") -> Iterator[str]:
    """Yield every documented field of a schema, such as ``/data/meta/usage``."""
    if isinstance(schema, bool):
        return
    for name, part in schema.get("properties", {}).items():
        yield f"{path}/{name}"
        yield from field_paths(part, f"{path}/{name}")
    for key in _LISTS:
        for part in schema.get(key, []):
            yield from field_paths(part, path)
    if isinstance(schema.get("items"), dict):
        yield from field_paths(schema["items"], f"{path}/*")


def _canonical(schema: Schema) -> Any:
    return jsonschema_rs.canonicalize(schema, draft=jsonschema_rs.Draft202012, validate_formats=True)


def _drawn(schema: Schema, tries: int) -> list[Any]:
    body = {"required": True, "content": {"application/json": {"schema": schema}}}
    operation = {"post": {"requestBody": body, "responses": {"200": {"description": ""}}}}
    view = {"openapi": "3.1.0", "info": {"title": "", "version": ""}, "paths": {"/": operation}}
    drawn: list[Any] = []

    @settings(
        max_examples=tries, deadline=None, database=None, derandomize=True, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(case=schemathesis.openapi.from_dict(view)["/"]["POST"].as_strategy())
    def draw(case: Any) -> None:
        drawn.append(case.body)

    draw()
    return drawn
