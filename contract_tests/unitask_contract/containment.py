"""Prove whether a schema allows every value of another one. What is not proven counts as "no".

The proof uses the canonical form of jsonschema-rs, which needs schemas without references.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial, reduce
from typing import Any, cast

import jsonschema_rs

Document = dict[str, Any]
Schema = dict[str, Any] | bool

_TEXT = {"description", "title", "example", "examples", "default", "deprecated", "externalDocs", "discriminator", "xml"}
_MAPS, _LISTS = ("properties", "patternProperties", "$defs"), ("oneOf", "anyOf", "allOf", "prefixItems")
_SINGLES = ("items", "not", "additionalProperties")
_OF_FIELDS = ("properties", "required", "items", "additionalProperties")
_YES = jsonschema_rs.canonical.Containment.YES


def dereferenced(document: Document, node: Any) -> Any:
    """Return a node of a document without references; the spec has no recursive ones."""
    if isinstance(node, list):
        return [dereferenced(document, part) for part in cast("list[object]", node)]
    if not isinstance(node, dict):
        return node
    parts = cast("dict[str, Any]", node)
    if "$ref" in parts:
        steps: list[str] = parts["$ref"].split("/")[1:]
        return dereferenced(document, reduce(lambda target, step: target[step], steps, cast("Any", document)))
    return {key: dereferenced(document, part) for key, part in parts.items()}


def plain(schema: Schema, *, closed: bool = False) -> Schema:
    """Return a schema without descriptive keywords.

    Args:
        schema: The schema, without references.
        closed: Whether to allow documented fields only: clients send no others, and a new optional field of a response
            is not a break.
    """
    if isinstance(schema, bool):
        return schema
    kept = {key: value for key, value in schema.items() if key not in _TEXT and not key.startswith("x-")}
    out = {key: _each(key, value, partial(plain, closed=closed)) for key, value in kept.items()}
    if closed and "properties" in out and "allOf" not in out:
        out.setdefault("additionalProperties", False)
    return out


def _each(key: str, value: Any, inner: Callable[[Any], Any]) -> Any:
    """Return the value of a keyword with a change of each schema in it."""
    if key in _MAPS:
        return {name: inner(part) for name, part in value.items()}
    if key in _LISTS:
        return [inner(part) for part in value]
    return inner(value) if key in _SINGLES and isinstance(value, dict) else value


def only(schema: Schema, steps: Sequence[str], without: Collection[str] = ()) -> Schema:
    """Return what a schema says of one field, and nothing of the fields beside it and in it.

    Args:
        schema: The schema, without references and descriptive keywords.
        steps: The names on the way to the field, with a star for the items of a list; none for the whole value.
        without: Keywords that are left out.
    """
    if isinstance(schema, bool):
        return schema
    out = {key: value for key, value in schema.items() if key not in (*_OF_FIELDS, *without)}
    for key in _LISTS:
        if key in schema:
            out[key] = [only(branch, steps, without) for branch in schema[key]]
    name, below = (steps[0], steps[1:]) if steps else ("", steps)
    if name in schema.get("properties", {}):
        out["properties"] = {name: only(schema["properties"][name], below, without)}
        out["required"] = [name] if name in schema.get("required", ()) else []
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict) and (not steps or (name == "*" and key == "items")):
            out[key] = only(schema[key], below, without)
    return out


def covers(wide: Schema, narrow: Schema) -> bool:
    """Return whether `wide` provably allows every value that `narrow` allows."""
    if wide == narrow:
        return True
    try:
        one, other = (
            jsonschema_rs.canonicalize(schema, draft=jsonschema_rs.Draft202012, validate_formats=True)
            for schema in (wide, narrow)
        )
        return one.covers(other) == _YES
    except (ValueError, jsonschema_rs.ReferencingError):
        return False


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
