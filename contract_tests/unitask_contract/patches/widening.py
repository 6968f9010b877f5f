"""Edit the hand-written spec until it allows a body: one edit for each difference, where the keyword stands.

Only components are edited: `spec/schemas/*.yaml`, and `schemas:` in `spec/tasks/*.yaml`. The edited rule gets the
source OBSERVED, and each contradiction an entry in the drift ledger: what the source said, what was observed, what the
spec says now. A test fails when the entry is kept and the edit is reverted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, cast

from unitask_contract.bundle import items
from unitask_contract.patches import yaml_edit
from unitask_contract.patches.contradictions import NEW_FIELD, Finding
from unitask_contract.patches.yaml_edit import Node
from unitask_contract.schema_paths import BRANCHING, Place, type_of
from unitask_contract.schema_paths import Path as Steps

OBSERVED = "observed"
SOURCES, LEDGER = "sources.yaml", "drift.yaml"
NO_SOURCE = "inferred"
SHOWN = 200  # characters of what the source says
WHY = "A provider answered so. The change that came with this entry allows it beside what was allowed before."
ABOUT = "Not named by any page; seen in an answer."
_MEDIA = {
    "image": r"\.(png|jpe?g|webp|gif)$",
    "video": r"\.(mp4|webm|mov)$",
    "audio": r"\.(mp3|wav|ogg|flac)$",
    "model": r"\.(glb|ply|obj)$",
}


class Unchangeable(Exception):
    """No edit would make the spec allow this."""


@cache
def _read(text: str) -> Any:
    return yaml_edit.read(text)


class Spec:
    """The files of the spec that hold components, and their text after some edits.

    Attributes:
        texts: Each file by its path below spec/.
    """

    def __init__(self, folder: Path) -> None:
        paths = [folder / SOURCES, folder / LEDGER]
        paths += [*sorted(folder.glob("schemas/**/*.yaml")), *sorted(folder.glob("tasks/**/*.yaml"))]
        self.texts = {path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8") for path in paths}

    def schemas(self) -> dict[str, Any]:
        """Return every component by its name. Do not change them."""
        found: dict[str, Any] = {}
        for file in self.texts:
            found |= self._components(file)
        return found

    def _components(self, file: str) -> dict[str, Any]:
        content: dict[str, Any] = {} if file in (SOURCES, LEDGER) else _read(self.texts[file])
        return content["schemas"] if file.startswith("tasks/") else content

    def change(self, place: Place, edit: Callable[[str, Node], str], *, credit: bool = True) -> None:
        """Edit the text at a place, and add the source OBSERVED to the schema there or around it."""
        file, nodes = self._nodes(place)
        if len(nodes) <= len(place.steps):
            raise Unchangeable(f"{place} was not found in spec/{file}")
        self.texts[file] = edit(self.texts[file], nodes[-1])
        if credit and (source := _source(self._nodes(place)[1])) and OBSERVED not in _values(source):
            self.texts[file] = yaml_edit.add_item(self.texts[file], source, OBSERVED)

    def _nodes(self, place: Place) -> tuple[str, list[Node]]:
        """Return the file of a component, and the nodes from the component to a place, as far as they exist."""
        file = next((file for file in self.texts if place.component in self._components(file)), None)
        if file is None:
            raise Unchangeable(f"{place} stands in no file of the spec")
        node: Node = yaml_edit.compose(self.texts[file])
        if file.startswith("tasks/"):
            node = yaml_edit.get(node, "schemas")
        node = yaml_edit.get(node, place.component)
        found = [node]
        for step in place.steps:
            node = node.value[step] if isinstance(step, int) else yaml_edit.get(node, step)
            if node is None:
                break
            found.append(node)
        return file, found

    def add_contradiction(self, found: Finding, example: str, number: int) -> None:
        """Write the ledger entry of an edit that was made.

        Args:
            found: The difference, as the example shows it.
            example: The name of the example.
            number: The number of the difference in the example, from 1.
        """
        source = _source(self._nodes(found.edited)[1])
        rule = {found.keyword: found.rule}
        entry = {
            "id": f"{example}{'' if number == 1 else f'-{number}'}".replace(".", "-"),
            "where": ".".join(map(str, found.where)) or "the body",
            "documented": {
                "source": _values(source)[0] if source else NO_SOURCE,
                "says": json.dumps(rule)[:SHOWN],
                "schema": rule,
            },
            "seen": {"source": OBSERVED, "example": example, "at": _pointer(found.where)},
            "ours": f"#/components/schemas/{found.edited.component}{_pointer(found.edited.steps)}",
            "why": WHY,
        }
        self.texts[LEDGER] = f"{self.texts[LEDGER].rstrip()}\n\n{yaml_edit.dump([entry], one_line=False)}\n"

    def add_source(self, date: str) -> None:
        """Name the source OBSERVED, once."""
        text = self.texts[SOURCES]
        if OBSERVED not in _read(text):
            page = "an answer of a provider, recorded by unitask contract"
            about = yaml_edit.dump({"evidence": "recorded", "page": page, "date": date}, one_line=True)
            self.texts[SOURCES] = f"{text.rstrip()}\n{OBSERVED}: {about}\n"


def _source(nodes: list[Node]) -> Node | None:
    """Return the list of sources of the last of some nodes that has one."""
    sources = [yaml_edit.get(node, "x-source") for node in nodes if yaml_edit.is_mapping(node)]
    return next((source for source in reversed(sources) if source is not None and yaml_edit.is_list(source)), None)


def _values(source: Node) -> list[str]:
    return [item.value for item in source.value]


def _pointer(path: Steps) -> str:
    return "".join(f"/{str(step).replace('~', '~0').replace('/', '~1')}" for step in path)


def widen(spec: Spec, found: Finding) -> None:
    """Edit the spec so that it allows, or names, what was found.

    Raises:
        Unchangeable: No edit would do so.
    """
    if not found.place.component:
        raise Unchangeable("the difference is about the body as a whole")
    if found.keyword == "type" and not found.where:
        raise Unchangeable("the body as a whole is of another type")
    if found.keyword == NEW_FIELD:
        (name,) = found.names
        place = found.place.below("properties")
        spec.change(place, lambda text, node: yaml_edit.set_key(text, node, name, _rule_of(found.value)), credit=False)
    else:
        spec.change(found.edited, lambda text, node: _widened(text, node, found))
        if found.keyword == "type" and isinstance(found.value, list) and found.edited == found.place:
            spec.change(found.place, _describe_items, credit=False)


def _widened(text: str, node: Node, found: Finding) -> str:
    keyword, kind = found.keyword, type_of(found.value)
    if keyword == "type" and found.edited == found.reference:
        reference = {"$ref": yaml_edit.get(node, "$ref").value}
        return yaml_edit.set_key(text, node, "anyOf", [reference, {"type": kind}], instead_of="$ref")
    if keyword == "type":
        return yaml_edit.set_key(text, node, "type", _types(found.rule, kind))
    if keyword == "enum":
        return yaml_edit.add_item(text, yaml_edit.get(node, "enum"), found.value)
    if keyword in BRANCHING:
        return yaml_edit.add_item(text, yaml_edit.get(node, keyword), {"type": kind})
    required = [name for name in items(found.rule) if name not in found.names]
    if keyword == "required" and required:
        return yaml_edit.set_key(text, node, "required", required)
    return yaml_edit.remove_key(text, node, keyword)


def _types(rule: Any, kind: str) -> Any:
    """Return the types of a rule with one more; "number" includes "integer"."""
    known: list[str] = items(rule) or [rule]
    if kind == "number" and "integer" in known:
        known = [one for one in known if one != "integer"]
    return [*known, kind] if known else kind


def _describe_items(text: str, node: Node) -> str:
    """Allow any items: the generator of the client refuses a list without a schema for them."""
    return text if yaml_edit.find(node, "items") else yaml_edit.set_key(text, node, "items", {})


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
