"""The hand-written spec, changed until it allows a body: one edit a difference, where the failing keyword stands.

Only components are edited: `spec/schemas/*.yaml`, and `schemas:` in `spec/tasks/*.yaml`. A field that was seen gets the
source OBSERVED, and so does the rule that it broke; what it contradicts is written into the drift ledger.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, cast

from unitask_contract.bundle import fields
from unitask_contract.patches import yaml_edit
from unitask_contract.patches.contradictions import NEWS, Finding
from unitask_contract.patches.drift import LEDGER, entry
from unitask_contract.patches.yaml_edit import Node
from unitask_contract.schema_paths import BRANCHING, Place, kind_of

OBSERVED = "observed"
SOURCES = "sources.yaml"
UNSAID = "inferred"
ABOUT = "Not named by any page; seen in an answer."
_MEDIA = {
    "image": r"\.(png|jpe?g|webp|gif)$",
    "video": r"\.(mp4|webm|mov)$",
    "audio": r"\.(mp3|wav|ogg|flac)$",
    "model": r"\.(glb|ply|obj)$",
}


class Unchangeable(Exception):
    """No edit is known that would make the spec allow this."""


@cache
def _read(text: str) -> Any:
    return yaml_edit.read(text)


class Spec:
    """The files of the spec that hold components, as they would be after some edits.

    Attributes:
        texts: Each file by its path below spec/.

    Args:
        folder: The spec folder.
    """

    def __init__(self, folder: Path) -> None:
        paths = [folder / SOURCES, folder / LEDGER]
        paths += [*sorted(folder.glob("schemas/**/*.yaml")), *sorted(folder.glob("tasks/**/*.yaml"))]
        self.texts = {path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8") for path in paths}

    def schemas(self) -> dict[str, Any]:
        """Every component by its name. Do not change them."""
        found: dict[str, Any] = {}
        for file in self.texts:
            found |= self._of_file(file)
        return found

    def _of_file(self, file: str) -> dict[str, Any]:
        content: dict[str, Any] = {} if file in (SOURCES, LEDGER) else _read(self.texts[file])
        return content["schemas"] if file.startswith("tasks/") else content

    def change(self, place: Place, edit: Callable[[str, Node], str], *, credit: bool = True) -> None:
        """Edit the text at a place, and give the rule there, or the one around it, the source OBSERVED."""
        file = next((file for file in self.texts if place.component in self._of_file(file)), None)
        if file is None:
            raise Unchangeable(f"{place} stands in no file of the spec")
        text = edit(self.texts[file], self._nodes(file, self.texts[file], place)[-1])
        nodes = self._nodes(file, text, place, whole=False)[::-1] if credit else []
        credited = next((node for node in nodes if _source(node)), None)
        if credited is not None and OBSERVED not in [item.value for item in _source(credited).value]:
            text = yaml_edit.add_item(text, _source(credited), OBSERVED)
        self.texts[file] = text

    def _nodes(self, file: str, text: str, place: Place, *, whole: bool = True) -> list[Node]:
        """The nodes on the way to a place; of a place that an edit has removed, those that are left."""
        node: Node = yaml_edit.compose(text)
        start = ("schemas", place.component) if file.startswith("tasks/") else (place.component,)
        found: list[Node] = []
        for number, step in enumerate((*start, *place.steps)):
            if isinstance(step, int):
                node = node.value[step]
            elif both := yaml_edit.pair(node, step):
                node = both[1]
            elif whole:
                raise Unchangeable(f"{place} was not found in spec/{file}")
            else:
                break
            if number >= len(start) - 1:
                found.append(node)
        return found

    def source_of(self, place: Place) -> str:
        """The first source of what stands at a place, or around it."""
        file = next(file for file in self.texts if place.component in self._of_file(file))
        nodes = self._nodes(file, self.texts[file], place, whole=False)[::-1]
        named = (item.value for node in nodes if (source := _source(node)) for item in source.value)
        return next(named, UNSAID)

    def add_contradiction(self, found: Finding, example: str, number: int) -> None:
        """Write down what a difference contradicts, after the edit that allows it."""
        text = entry(found, self.source_of(found.edited), OBSERVED, example, number)
        self.texts[LEDGER] = f"{self.texts[LEDGER].rstrip()}\n{text}"

    def add_source(self, date: str) -> None:
        """Name the source of what was observed, once."""
        text = self.texts[SOURCES]
        if OBSERVED not in _read(text):
            about = {
                "evidence": "recorded",
                "page": "an answer of a provider, recorded by unitask contract",
                "date": date,
            }
            self.texts[SOURCES] = f"{text.rstrip()}\n{OBSERVED}: {yaml_edit.flow(about)}\n"


def _source(node: Node) -> Node:
    """The list of sources of a schema; None when it has none."""
    both = yaml_edit.pair(node, "x-source") if yaml_edit.is_mapping(node) else None
    return both[1] if both and yaml_edit.is_list(both[1]) else None


def widen(spec: Spec, found: Finding) -> None:
    """Edit the spec so that it allows, or names, what was found.

    Raises:
        Unchangeable: No edit is known for it.
    """
    if not found.place.component:
        raise Unchangeable("it is about the body as a whole")
    if found.keyword in (NEWS, "additionalProperties") and found.names:
        for name in found.names:
            value = found.value if found.keyword == NEWS else found.value[name]
            _name(spec, found.place, name, value)
    elif found.keyword == "type":
        _allow_type(spec, found)
    elif found.keyword in BRANCHING:
        spec.change(found.place, lambda text, node: _add_branch(text, node, found))
    else:
        edit = _EDITS.get(found.keyword, _remove)
        spec.change(found.place, lambda text, node: edit(text, node, found))


# --- edits of one keyword: each takes the text, the schema and what was found


def _allow_type(spec: Spec, found: Finding) -> None:
    """Another type, beside the reference if there is one."""
    kind = kind_of(found.value)
    if not found.where:
        raise Unchangeable("the body as a whole is of another type")
    if found.edited == found.reference:
        spec.change(found.edited, lambda text, node: _beside_reference(text, node, kind))
        return
    spec.change(found.place, lambda text, node: _add_type(text, node, kind))
    if kind == "array":
        spec.change(found.place, _say_items)


def _add_type(text: str, node: Node, kind: str) -> str:
    value = _value(node, "type")
    is_list = yaml_edit.is_list(value)
    named: list[str] = [item.value for item in value.value] if is_list else [value.value]
    if kind == "number" and "integer" in named:
        integer = value.value[named.index("integer")] if is_list else value
        return yaml_edit.replace(text, integer, "number")
    if is_list:
        return yaml_edit.add_item(text, value, kind)
    return yaml_edit.replace(text, value, yaml_edit.flow([*named, kind]))


def _say_items(text: str, node: Node) -> str:
    """A list of anything: without a word about its items, the generator of the client refuses the schema."""
    return text if yaml_edit.pair(node, "items") else yaml_edit.add_key(text, node, "items", {})


def _beside_reference(text: str, node: Node, kind: str) -> str:
    reference = {"$ref": _value(node, "$ref").value}
    return yaml_edit.replace_pair(text, node, "$ref", "anyOf", [reference, {"type": kind}])


def _add_branch(text: str, node: Node, found: Finding) -> str:
    """One more branch; of several that all fit, one is enough."""
    name, branches = _pair(node, found.keyword)
    kind = kind_of(found.value)
    known = [fields(branch).get("type") for branch in cast("list[object]", found.rule)]
    if found.keyword == "oneOf" and kind in known:
        return yaml_edit.replace_key(text, name, "anyOf")
    return yaml_edit.add_item(text, branches, {"type": kind})


def _add_word(text: str, node: Node, found: Finding) -> str:
    return yaml_edit.add_item(text, _value(node, "enum"), found.value)


def _const_to_enum(text: str, node: Node, found: Finding) -> str:
    return yaml_edit.replace_pair(text, node, "const", "enum", [found.rule, found.value])


def _not_required(text: str, node: Node, found: Finding) -> str:
    named = _value(node, "required")
    if len(named.value) == 1:
        return yaml_edit.remove_key(text, node, "required")
    number = next(number for number, item in enumerate(named.value) if item.value in found.names)
    return yaml_edit.remove_item(text, named, number)


def _to_value(text: str, node: Node, found: Finding) -> str:
    return yaml_edit.replace(text, _value(node, found.keyword), yaml_edit.flow(found.value))


def _to_length(text: str, node: Node, found: Finding) -> str:
    if found.value:
        return yaml_edit.replace(text, _value(node, found.keyword), str(len(found.value)))
    return _remove(text, node, found)


def _remove(text: str, node: Node, found: Finding) -> str:
    _pair(node, found.keyword)
    return yaml_edit.remove_key(text, node, found.keyword)


_EDITS: Mapping[str, Callable[[str, Node, Finding], str]] = {
    "enum": _add_word,
    "const": _const_to_enum,
    "required": _not_required,
    "minimum": _to_value,
    "maximum": _to_value,
    **dict.fromkeys(("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"), _to_length),
}


def _pair(node: Node, key: str) -> tuple[Node, Node]:
    both = yaml_edit.pair(node, key)
    if both is None:
        raise Unchangeable(f"there is no {key}")
    return both


def _value(node: Node, key: str) -> Node:
    return _pair(node, key)[1]


# --- a field that is not named


def _name(spec: Spec, place: Place, name: str, value: Any) -> None:
    spec.change(
        place.below("properties"), lambda text, node: yaml_edit.add_key(text, node, name, rule_of(value)), credit=False
    )


def rule_of(value: Any) -> dict[str, Any]:
    """The schema of a field of which one value is known; null says nothing of its type."""
    return {**_type_of(value), "description": ABOUT, "x-source": [OBSERVED]}


def _type_of(value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    if isinstance(value, list):
        kinds = [_type_of(part) for part in cast("list[object]", value)]
        return {"type": "array", "items": kinds[0] if kinds and all(part == kinds[0] for part in kinds) else {}}
    if isinstance(value, str) and re.match(r"https?://", value):
        kind = next((kind for kind, pattern in _MEDIA.items() if re.search(pattern, value)), "file")
        return {"type": "string", "x-media": {"kind": kind}}
    return {"type": kind_of(value), **({"additionalProperties": True} if isinstance(value, dict) else {})}
