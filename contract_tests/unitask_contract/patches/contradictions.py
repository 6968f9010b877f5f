"""Where a body is not what the spec says, and which schema says so.

Two kinds: what the spec does not allow, and fields that it does not name ("news"), which it allows, since answers are
open. The validator names the first; for the second, value and schema are walked side by side. Of several branches the
nearest one counts: whoever sent null where an object or a text may be meant none of them, whoever sent an object with
one wrong field meant the object.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, cast

from jsonschema_rs import Draft202012Validator, ValidationError
from unitask_contract import bundle
from unitask_contract.bundle import fields
from unitask_contract.schema_paths import BRANCHING, Path, Place, Placed, Schemas, below, is_named, parts, rules, target

NEWS = "properties"
MOST = 100  # differences of a kind that are told of one body: the work grows with the square of their number


@dataclass(frozen=True, slots=True)
class Finding:
    """One difference between a body and the schemas.

    Attributes:
        where: In the body.
        place: The schema that has the keyword.
        keyword: What is not kept; NEWS for a field that is not named.
        rule: The keyword's value.
        value: What stands in the body.
        names: The fields that are missing, or that are not named.
        reference: Where the reference stands that leads to the schema, when the schema is a component of its own.
    """

    where: Path
    place: Place
    keyword: str
    rule: Any
    value: Any
    names: tuple[str, ...] = ()
    reference: Place | None = None

    @property
    def edited(self) -> Place:
        """Where the spec is to be changed: another type at the reference, so that the component stays what it is."""
        if self.keyword == "type" and self.reference and self.reference.component:
            return self.reference
        return self.place  # the catalogue refers to outputs by their names


def schema_of(component: str, body: Any, schemas: Schemas) -> dict[str, Any]:
    """What a body has to keep: the component, and of the task in it the output that the catalogue names."""
    envelope: dict[str, Any] = {"$ref": f"#/components/schemas/{component}"}
    if places := bundle.places_of(component):
        return {"allOf": [*(_with_part(*place, schemas) for place in places), envelope]}
    task = fields(fields(body).get("data"))
    if task.get("output") is None:
        return envelope
    outputs = [name for name in bundle.outputs_of(task.get("model"), task.get("task_type")) if name in schemas]
    choices = [_with_output(envelope, name) for name in outputs]
    if len(choices) == 1:
        return choices[0]
    return min(choices, key=lambda schema: len(findings(body, schema, schemas)), default=envelope)


def _with_output(envelope: dict[str, Any], output: str) -> dict[str, Any]:
    rule = {"$ref": f"#/components/schemas/{output}"}
    return {"allOf": [envelope, {"properties": {"data": {"properties": {"output": rule}}}}]}


def _with_part(place: str, output: str, schemas: Schemas) -> dict[str, Any]:
    """The rule for one part of an output; what stands beside it in the answer is none of the output's."""
    *above, name = place.split("/")[1:]
    known = name in schemas.get(output, {}).get("properties", {})
    rule: dict[str, Any] = {"$ref": f"#/components/schemas/{output}/properties/{name}"} if known else {}
    for step in (name, *reversed(above)):
        rule = {"properties": {step: rule}}
    return rule


def findings(body: Any, schema: dict[str, Any], schemas: Schemas) -> list[Finding]:
    """Every difference, what is not allowed first; of each kind the first MOST."""
    held = bundle.whole(body)
    validator = Draft202012Validator({**schema, "components": {"schemas": schemas}})
    broken = (found for error in validator.iter_errors(held) for found in _of_error(error, held, schema, schemas))
    news = _news(body, rules(schema, Place(""), body, schemas), schemas)
    return [*islice(broken, MOST), *islice(news, MOST)]


# --- what is not allowed


def _of_error(error: ValidationError, body: Any, schema: dict[str, Any], schemas: Schemas) -> Iterator[Finding]:
    keyword = str(error.evaluation_path[-1])
    if keyword in BRANCHING and (nearest := _nearest(error)):
        for inner in nearest:
            yield from _of_error(inner, body, schema, schemas)
        return
    node, place, reference = located(error.evaluation_path[:-1], schema, schemas)
    value = body
    for step in error.instance_path:
        value = value[step]
    names: list[str] = []
    if keyword == "required":
        names = [cast("Any", error.kind).property]
    elif keyword == "additionalProperties":
        names = [name for name in value if name not in node.get("properties", {})]
    yield Finding(tuple(error.instance_path), place, keyword, node[keyword], value, tuple(names), reference)


def _nearest(error: ValidationError) -> list[ValidationError]:
    """The errors of the branch that was meant; none when no branch is of the value's type."""
    branches: list[list[ValidationError]] = cast("Any", error.kind).context
    fitting = [errors for errors in branches if errors and not any(_is_of_another_type(one, error) for one in errors)]
    return min(fitting, key=len) if fitting else []


def _is_of_another_type(inner: ValidationError, error: ValidationError) -> bool:
    return inner.kind.name == "type" and inner.instance_path == error.instance_path


def located(steps: list[str | int], schema: Any, schemas: Schemas) -> tuple[Any, Place, Place | None]:
    """What the steps of a validator lead to, its place, and that of the last reference if it is a whole component."""
    node, place, reference = schema, Place(""), None
    for step in steps:
        if step == "$ref":
            before = place
            place, node = target(node["$ref"], schemas)
            reference = None if place.steps else before
        else:
            node, place, reference = node[step], place.below(step), None
    return node, place, reference


# --- what is not named


def _news(value: Any, found: list[Placed], schemas: Schemas, where: Path = ()) -> Iterator[Finding]:
    if not found:
        return
    closed = [
        place
        for place, schema in found
        if place.component and schema.get("properties") and "additionalProperties" not in schema
    ]
    for step, part in parts(value):
        if closed and isinstance(step, str) and not is_named(found, step):
            yield Finding((*where, step), closed[-1], NEWS, None, part, (step,))
        else:
            yield from _news(part, below(found, part, step, schemas), schemas, (*where, step))
