"""Changes of the spec that allow what an answer shows, as entries of spec/observed.yaml, and the drift ledger.

The bundler applies the entries to the components, so the hand-written fragments keep what the pages say. Each
contradiction gets an entry in the ledger, too: what the source says, what was observed, what the spec says now.
"""

import copy
import json
import re
from dataclasses import dataclass
from typing import Any, cast

from unitask_contract.bundle import fields, items
from unitask_contract.patches.contradictions import NEW_FIELD, Finding
from unitask_contract.schema_paths import Path as Steps
from unitask_contract.schema_paths import Place, Schemas, type_of

OBSERVED = "observed"  # the source of what an answer shows
SHOWN = 200  # characters of what the source says
ABOUT = "Not named by any page; seen in an answer."
WHY = "A provider answered so. The change that came with this entry allows it beside what was allowed before."
_MEDIA = {
    "image": r"\.(png|jpe?g|webp|gif)$",
    "video": r"\.(mp4|webm|mov)$",
    "audio": r"\.(mp3|wav|ogg|flac)$",
    "model": r"\.(glb|ply|obj)$",
}


class Unchangeable(Exception):
    """No change would make the spec allow this."""


@dataclass(frozen=True, slots=True)
class Change:
    """A change of one schema: keywords with their new values; None removes one, as in a JSON Merge Patch."""

    place: Place
    merge: dict[str, Any]

    def applied(self, schemas: Schemas) -> Schemas:
        """Return the components after the change."""
        component = copy.deepcopy(schemas[self.place.component])
        node = _at(component, self.place.steps)
        for keyword, value in self.merge.items():
            if value is None:
                node.pop(keyword)
            else:
                node[keyword] = value
        return {**schemas, self.place.component: component}

    def entry(self, example: str) -> dict[str, Any]:
        """Return the entry of spec/observed.yaml."""
        return {"place": _reference(self.place), "merge": self.merge, "example": example}


def widening(found: Finding, schemas: Schemas) -> Change:
    """Return the change that allows, or names, what was found.

    Raises:
        Unchangeable: There is none.
    """
    place = found.edited
    if not place.component or (found.keyword == "type" and not found.where):
        raise Unchangeable("the difference is about the body as a whole")
    if found.keyword == NEW_FIELD:
        (name,) = found.names
        return Change(place.below("properties"), {name: _rule_of(found.value)})
    node = fields(_at(schemas[place.component], place.steps))
    return Change(place, {**_widened(node, found), "x-source": [*node.get("x-source", ()), OBSERVED]})


def _widened(node: dict[str, Any], found: Finding) -> dict[str, Any]:
    keyword, kind = found.keyword, type_of(found.value)
    match keyword:
        case "type" if found.edited == found.reference:
            return {"anyOf": [{"$ref": node["$ref"]}, {"type": kind}], "$ref": None}
        case "type" if kind == "array":  # the generator of the client needs a schema for the items
            return {"type": _types(found.rule, kind), "items": node.get("items", {})}
        case "type":
            return {"type": _types(found.rule, kind)}
        case "anyOf":
            return {"anyOf": [*found.rule, {"type": kind}]}
        case "required" if left := [name for name in found.rule if name not in found.names]:
            return {"required": left}
        case _:
            return {keyword: None}


def _types(rule: Any, kind: str) -> Any:
    """Return the types of a schema with one more; "number" includes "integer"."""
    known: list[str] = items(rule) or [rule]
    if kind == "number":
        known = [one for one in known if one != "integer"]
    return [*known, kind] if known else kind


def _rule_of(value: Any) -> dict[str, Any]:
    """Return the schema of a new field, of which one value is known."""
    return {**_type_rule(value), "description": ABOUT, "x-source": [OBSERVED]}


def _type_rule(value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    if isinstance(value, list):
        kinds = [_type_rule(part) for part in cast("list[object]", value)]
        return {"type": "array", "items": kinds[0] if kinds and all(part == kinds[0] for part in kinds) else {}}
    if isinstance(value, str) and re.match(r"https?://", value):
        kind = next((kind for kind, pattern in _MEDIA.items() if re.search(pattern, value)), "file")
        return {"type": "string", "x-media": {"kind": kind}}
    return {"type": type_of(value), **({"additionalProperties": True} if isinstance(value, dict) else {})}


def contradiction(found: Finding, schemas: Schemas, example: str, number: int) -> dict[str, Any]:
    """Return the entry of the drift ledger for a difference.

    Args:
        found: The difference, as the example shows it.
        schemas: The components before the change.
        example: The name of the example.
        number: The number of the difference in the example, from 1.
    """
    rule = {found.keyword: found.rule}
    return {
        "id": f"{example}{'' if number == 1 else f'-{number}'}".replace(".", "-"),
        "where": ".".join(map(str, found.where)) or "the body",
        "documented": {
            "source": _source(schemas[found.edited.component], found.edited.steps),
            "says": json.dumps(rule)[:SHOWN],
            "schema": rule,
        },
        "seen": {"source": OBSERVED, "example": example, "at": _pointer(found.where)},
        "ours": _reference(found.edited),
        "why": WHY,
    }


def _source(component: Any, steps: Steps) -> str:
    """Return the first source of the schema at a path, or of the nearest one around it."""
    for length in range(len(steps), -1, -1):
        sources = items(fields(_at(component, steps[:length])).get("x-source"))
        if sources and sources[0] != OBSERVED:
            return str(sources[0])
    return "inferred"


def _at(node: Any, steps: Steps) -> Any:
    for step in steps:
        node = node[step]
    return node


def _reference(place: Place) -> str:
    return f"#/components/schemas/{place.component}{_pointer(place.steps)}"


def _pointer(path: Steps) -> str:
    return "".join(f"/{str(step).replace('~', '~0').replace('/', '~1')}" for step in path)
