"""Where a body differs from the spec, and which schema says so.

A body has two kinds of differences: what the spec does not allow, which the validator reports, and fields and words
that the spec does not name. Answers are open, so these are allowed. Of several branches the nearest one counts: an
object with one wrong field was meant as the object, not as null.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any, cast

from jsonschema_rs import Draft202012Validator, ValidationError
from unitask_contract import bundle
from unitask_contract.bundle import fields, items
from unitask_contract.schema_paths import BRANCHING, Path, Place, Placed, Schemas, below, is_named, parts, rules, target

NEW_FIELD = "properties"  # the keyword of a field that is not named
NEW_WORD = "words"  # the keyword of a word that is not among the listed ones of an open list
OF_TEXTS = ("pattern", "format")  # of a removed text; a word of the spec stays, and a length in comparison to limits
# Of a recording; a longer one breaks maxLength.
_REMOVED_TEXT = re.compile(r"\([^()]{1,80}\)|https://removed\.test/\S*")
MOST = 100  # findings of each kind; the work grows with the square of their number


@dataclass(frozen=True, slots=True)
class Finding:
    """One difference between a body and the schemas.

    The place is that of the schema to edit, which has the keyword. Another type is allowed at the reference to a
    component, so that the component stays what it is.
    """

    where: Path  # in the body
    place: Place
    keyword: str  # that is violated; NEW_FIELD or NEW_WORD for what is not named
    rule: Any  # the value of the keyword; of a new word the listed ones
    value: Any
    names: tuple[str, ...] = ()  # of the fields that are missing, or not named; the new word

    @property
    def is_new(self) -> bool:
        """Whether the spec allows it without a name."""
        return self.keyword in (NEW_FIELD, NEW_WORD)


def schema_of(component: str, body: Any, schemas: Schemas) -> dict[str, Any]:
    """Return the schema of a body: the component, with the output of its task as the catalogue names it."""
    envelope: dict[str, Any] = {"$ref": f"#/components/schemas/{component}"}
    if places := bundle.legacy_outputs(component):
        return {"allOf": [*(_with_part(*place, schemas) for place in places), envelope]}
    if component == bundle.components_of("create_task")["request"]:
        given = fields(body)
        entry = bundle.entry_of(given.get("model"), given.get("task_type"), given.get("input"))
        rule = {"properties": {"input": {"$ref": f"#/components/schemas/{entry['input']}"}}} if entry else {}
        return {"allOf": [envelope, rule]}
    task = fields(fields(body).get("data"))
    if task.get("output") is None:
        return envelope
    outputs = [name for name in bundle.outputs_of(task.get("model"), task.get("task_type")) if name in schemas]
    rules_of = [{"output": {"$ref": f"#/components/schemas/{name}"}} for name in outputs]
    choices = [{"allOf": [envelope, {"properties": {"data": {"properties": rule}}}]} for rule in rules_of]
    if len(choices) == 1:
        return choices[0]
    return min(choices, key=lambda schema: len(findings(body, schema, schemas)), default=envelope)


def _with_part(place: str, output: str, schemas: Schemas) -> dict[str, Any]:
    """Return the schema of one part of a legacy output; its parts lie apart in the answer."""
    *above, name = place.split("/")[1:]
    is_known = name in schemas.get(output, {}).get("properties", {})
    rule: dict[str, Any] = {"$ref": f"#/components/schemas/{output}/properties/{name}"} if is_known else {}
    for step in (name, *reversed(above)):
        rule = {"properties": {step: rule}}
    return rule


def findings(body: Any, schema: dict[str, Any], schemas: Schemas) -> list[Finding]:
    """Return the differences of a body, at most MOST of each kind; what is not allowed comes first."""
    checked = bundle.whole(body)
    is_usual = schemas is bundle.schemas()
    validator = _validator(json.dumps(schema)) if is_usual else _validator_of(schema, schemas)
    errors = validator.iter_errors(checked)
    broken = (found for error in errors for found in _of_error(error, checked, schema, schemas))
    new = _new(body, rules(schema, Place(""), body, schemas), schemas)
    return [*islice(broken, MOST), *islice(new, MOST)]


@lru_cache(maxsize=256)
def _validator(schema: str) -> Draft202012Validator:
    return _validator_of(json.loads(schema), bundle.schemas())


def _validator_of(schema: dict[str, Any], schemas: Schemas) -> Draft202012Validator:
    return Draft202012Validator({**schema, "components": {"schemas": schemas}})


def _of_error(error: ValidationError, body: Any, schema: dict[str, Any], schemas: Schemas) -> Iterator[Finding]:
    keyword = str(error.evaluation_path[-1])
    if keyword in BRANCHING and (nearest := _nearest(error)):
        for inner in nearest:
            yield from _of_error(inner, body, schema, schemas)
        return
    node: Any = schema
    place = reference = Place("")
    for step in error.evaluation_path[:-1]:
        if step == "$ref":
            before = place
            place, node = target(node["$ref"], schemas)
            reference = Place("") if place.steps else before
        else:
            node, place, reference = node[step], place.below(step), Place("")
    value = body
    for step in error.instance_path:
        value = value[step]
    if keyword in OF_TEXTS and isinstance(value, str) and _REMOVED_TEXT.fullmatch(value):
        return
    names = (cast("Any", error.kind).property,) if keyword == "required" else ()
    # The catalogue names outputs, so there is no reference to edit.
    edited = reference if keyword == "type" and reference.component else place
    yield Finding(tuple(error.instance_path), edited, keyword, node[keyword], value, names)


def _nearest(error: ValidationError) -> list[ValidationError]:
    """Return the errors of the nearest branch; none when no branch has the type of the value."""
    branches: list[list[ValidationError]] = cast("Any", error.kind).context
    other_type = "type", error.instance_path
    fitting = [
        errors
        for errors in branches
        if errors and other_type not in [(one.kind.name, one.instance_path) for one in errors]
    ]
    return min(fitting, key=len) if fitting else []


def _new(value: Any, found: list[Placed], schemas: Schemas, where: Path = ()) -> Iterator[Finding]:
    """Yield the fields and words that the spec does not name."""
    if not found:
        return
    if isinstance(value, str) and not _REMOVED_TEXT.fullmatch(value):
        for place, words, listed in open_lists(found):
            if value.casefold() not in words:
                yield Finding(where, place, NEW_WORD, listed, value, (value,))
    naming = [
        place
        for place, schema in found
        if place.component and schema.get("properties") and "additionalProperties" not in schema
    ]
    for step, part in parts(value):
        if naming and isinstance(step, str) and not is_named(found, step):
            yield Finding((*where, step), naming[-1], NEW_FIELD, None, part, (step,))
        else:
            yield from _new(part, below(found, part, step, schemas), schemas, (*where, step))


def open_lists(found: list[Placed]) -> Iterator[tuple[Place, frozenset[str], list[Any]]]:
    """Yield the lists of words beside which a text may be any other: where each is, its words in lower case, the list.

    The place of the list of states is the schema with `x-states`, which has more words.
    """
    for place, schema in found:
        branches: list[dict[str, Any]] = schema.get("anyOf", [])
        is_open = any(branch.get("type") == "string" and "enum" not in branch for branch in branches)
        lists = [(place.below("anyOf", number), one) for number, one in enumerate(branches) if is_open]
        lists.append((place.below("x-advisory"), schema.get("x-advisory", {})))
        states = [word for state in schema.get("x-states", {}).values() for word in state["words"]]
        for at, rule in lists:
            if listed := items(rule.get("enum")):
                words = frozenset(str(word).casefold() for word in (*listed, *states))
                yield place if states else at, words, listed
