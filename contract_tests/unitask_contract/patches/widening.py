"""Changes of the spec that allow what an answer shows, as entries of spec/observed.yaml, and the drift ledger.

The bundler applies the entries to the components, so the hand-written fragments keep what the pages say. Each
contradiction gets an entry in the ledger, too: what the source says, what was observed, what the spec says now.
"""

import copy
import json
from dataclasses import dataclass
from typing import Any, cast

from unitask_api.output_files import ending_of, kind_of_ending
from unitask_contract.bundle import fields, items
from unitask_contract.patches.contradictions import NEW_FIELD, NEW_WORD, Finding
from unitask_contract.schema_paths import Path as Steps
from unitask_contract.schema_paths import Place, Schemas, form_of, type_of

OBSERVED = "observed"  # the source of what an answer shows
SHOWN = 200  # characters of what the source says
ABOUT = "Not named by any page; seen in an answer."
WHY = "A provider answered so. The change that came with this entry allows it beside what was allowed before."


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
        node.update(self.merge)
        for keyword in [keyword for keyword, value in self.merge.items() if value is None]:
            del node[keyword]
        return {**schemas, self.place.component: component}

    def entry(self, example: str) -> dict[str, Any]:
        """Return the entry of spec/observed.yaml."""
        return {"place": str(self.place), "merge": self.merge, "example": example}


def widening(found: Finding, schemas: Schemas) -> Change:
    """Return the change that allows, or names, what was found; raise Unchangeable if there is none."""
    place = found.place
    if not place.component or (found.keyword == "type" and not found.where):
        raise Unchangeable("the difference is about the body as a whole")
    if found.keyword == NEW_FIELD:
        rule = {**_rule_of(found.value), "description": ABOUT, "x-source": [OBSERVED]}
        return Change(place.below("properties"), {found.names[0]: rule})
    node = _at(schemas[place.component], place.steps)
    if found.keyword == NEW_WORD and "x-states" in node:  # a client treats an unknown word as "not done yet", too
        return Change(place.below("x-states", "processing", "words"), {str(found.value).casefold(): [OBSERVED]})
    if found.keyword == NEW_WORD:
        return Change(place, {"enum": [*found.rule, found.value]})
    return Change(place, {**_widened(node, found), "x-source": [*node.get("x-source", ()), OBSERVED]})


def _widened(node: dict[str, Any], found: Finding) -> dict[str, Any]:
    kind = type_of(found.value)
    match found.keyword:
        case "type" if "$ref" in node:
            return {"anyOf": [{"$ref": node["$ref"]}, {"type": kind}], "$ref": None}
        case "type":
            known = [one for one in items(found.rule) or [found.rule] if (one, kind) != ("integer", "number")]
            types = [*known, kind] if known else kind
            # the generator of the client needs a schema for the items
            return {"type": types, "items": node.get("items", {})} if kind == "array" else {"type": types}
        case "anyOf":
            return {"anyOf": [*found.rule, {"type": kind}]}
        case "required" if left := [name for name in found.rule if name not in found.names]:
            return {"required": left}
        case "enum":
            return {"enum": [*found.rule, found.value]}
        case "minimum" | "maximum" as limit:
            return {limit: found.value}
        case keyword:
            return {keyword: None}


def _rule_of(value: Any) -> dict[str, Any]:
    """Return the schema of a new field, of which one value is known."""
    if value is None:
        return {}
    rule: dict[str, Any] = {"type": type_of(value)}
    if isinstance(value, list):
        listed = cast("list[object]", value)
        rule["items"] = _rule_of(listed[0]) if len({*map(form_of, listed)}) == 1 else {}
    elif isinstance(value, dict):
        rule["additionalProperties"] = True
    elif isinstance(value, str) and value.startswith(("http://", "https://")):
        rule["x-media"] = {"kind": kind_of_ending(ending_of(value)) or "file"}
    return rule


def contradiction(found: Finding, schemas: Schemas, example: str, number: int) -> dict[str, Any]:
    """Return the entry of the drift ledger for a difference of an example, given the components before the change."""
    rule = {found.keyword: found.rule}
    return {
        "id": f"{example}{'' if number == 1 else f'-{number}'}".replace(".", "-"),
        "where": ".".join(map(str, found.where)) or "the body",
        "documented": {
            "source": _source(schemas[found.place.component], found.place.steps),
            "says": json.dumps(rule)[:SHOWN],
            "schema": rule,
        },
        "seen": {"source": OBSERVED, "example": example, "at": "".join(f"/{step}" for step in found.where)},
        "ours": str(found.place),
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
