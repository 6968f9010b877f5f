"""Small changes to YAML text at the places of its nodes: comments, order and form of everything else stay as they are.

A function takes the text and nodes that were composed from it, and gives the new text; after that the nodes are stale.
Rules of this file: nothing is dumped. What is written is written in the form of what stands beside it.
"""

from __future__ import annotations

import json
import re
from typing import Any, cast

import yaml

Node = Any  # of PyYAML: its stubs leave the pairs of a mapping open
_PLAIN = re.compile(r"[A-Za-z$][A-Za-z0-9_ ;.-]*")


class Loader(yaml.CSafeLoader):
    """YAML as JSON: a date stays the text that it is written as."""


Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in cast("dict[str, list[tuple[str, Any]]]", yaml.CSafeLoader.yaml_implicit_resolvers).items()
}


def read(text: str) -> Any:
    """What a text says, with JSON's types only."""
    return yaml.load(text, Loader)


def compose(text: str) -> Node:
    """The nodes of a text, each with the place where it stands."""
    return cast("Any", yaml).compose(text, Loader)


def flow(value: Any) -> str:
    """A value on one line."""
    if isinstance(value, dict):
        pairs = cast("dict[str, Any]", value).items()
        return "{" + ", ".join(f"{flow(key)}: {flow(part)}" for key, part in pairs) + "}"
    if isinstance(value, list):
        return f"[{', '.join(map(flow, cast('list[object]', value)))}]"
    if not isinstance(value, str):
        return json.dumps(value)
    if _PLAIN.fullmatch(value) and read(value) == value:
        return value
    if not value.isprintable():
        return json.dumps(value)
    return "'" + value.replace("'", "''") + "'"


def block(value: Any, indent: int) -> str:
    """A value below its key: objects and lists of objects on lines of their own, anything else on one line."""
    margin = "\n" + " " * indent
    if isinstance(value, dict) and value:
        pairs = cast("dict[str, Any]", value).items()
        return "".join(f"{margin}{flow(key)}:{_after(part, indent)}" for key, part in pairs)
    listed = cast("list[object]", value) if isinstance(value, list) else []
    if any(isinstance(part, dict) for part in listed):
        return "".join(f"{margin}- {block(part, indent + 2).lstrip()}" for part in listed)
    return flow(value)


def _is_small(value: Any) -> bool:
    """Whether it is an object without objects and lists in it: these stand on one line."""
    parts = cast("dict[str, object]", value).values() if isinstance(value, dict) else [value]
    return isinstance(value, dict) and not any(isinstance(part, dict | list) for part in parts)


def _after(value: Any, indent: int) -> str:
    text = flow(value) if _is_small(value) else block(value, indent + 2)
    return text if text.startswith("\n") else f" {text}"


def is_mapping(node: Node) -> bool:
    """Whether a node is an object."""
    return isinstance(node, yaml.MappingNode)


def is_list(node: Node) -> bool:
    """Whether a node is a list."""
    return isinstance(node, yaml.SequenceNode)


def holder(mapping: Node, key: str) -> Node:
    """The mapping that has a key: this one, or one that is merged into it; None when none has it."""
    merged: list[Node] = []
    for name, value in mapping.value:
        if name.value == key:
            return mapping
        if name.tag == "tag:yaml.org,2002:merge":
            merged += value.value if is_list(value) else [value]
    return next((found for part in merged if (found := holder(part, key))), None)


def pair(mapping: Node, key: str) -> tuple[Node, Node] | None:
    """A key of a mapping and its value, what is merged into it included; None when it has none."""
    owner = holder(mapping, key)
    return next((both for both in owner.value if both[0].value == key), None) if owner else None


def replace(text: str, node: Node, new: str) -> str:
    """The text with another one in the place of a scalar, or of a list or an object on one line."""
    return text[: node.start_mark.index] + new + text[node.end_mark.index :]


def replace_key(text: str, key: Node, new: str) -> str:
    """The text with another key."""
    return text[: key.start_mark.index] + new + text[key.end_mark.index :]


def end(text: str, name: Node | None, value: Node) -> int:
    """Where what stands at a key, or in a list, ends; a reference to an anchor ends with its name."""
    if name is not None and value.start_mark.index < name.start_mark.index:
        alias = re.compile(r"\s*:\s*\*[\w-]+").match(text, name.end_mark.index)
        assert alias
        return alias.end()
    if not (is_mapping(value) or is_list(value)) or value.flow_style or not value.value:
        return len(text[: value.end_mark.index].rstrip())
    return end(text, *value.value[-1]) if is_mapping(value) else end(text, None, value.value[-1])


def add_key(text: str, mapping: Node, key: str, value: Any) -> str:
    """The text with one more key at the end of a mapping."""
    if not mapping.value or mapping.flow_style:
        at = end(text, *mapping.value[-1]) if mapping.value else mapping.end_mark.index - 1
        return f"{text[:at]}{', ' if mapping.value else ''}{flow(key)}: {flow(value)}{text[at:]}"
    name, last = mapping.value[-1]
    indent = mapping.value[0][0].start_mark.column
    on_one_line = is_mapping(last) and last.flow_style
    said = f" {flow(value)}" if on_one_line else _after(value, indent)
    at = _end_of_line(text, end(text, name, last))
    return f"{text[:at]}\n{' ' * indent}{flow(key)}:{said}{text[at:]}"


def replace_pair(text: str, mapping: Node, key: str, new: str, value: Any) -> str:
    """The text with another key and value in the place of a key and its value."""
    mapping = holder(mapping, key)
    name, old = next(both for both in mapping.value if both[0].value == key)
    said = f" {flow(value)}" if mapping.flow_style else _after(value, name.start_mark.column)
    return f"{text[: name.start_mark.index]}{new}:{said}{text[end(text, name, old) :]}"


def remove_key(text: str, mapping: Node, key: str) -> str:
    """The text without a key and its value."""
    mapping = holder(mapping, key)
    number = next(number for number, (name, _) in enumerate(mapping.value) if name.value == key)
    name, value = mapping.value[number]
    start, stop = name.start_mark.index, end(text, name, value)
    if mapping.flow_style:
        return _cut(text, [(one.start_mark.index, end(text, one, other)) for one, other in mapping.value], number)
    line = text.rfind("\n", 0, start) + 1
    if len(mapping.value) == 1:
        return f"{text[:start]}{{}}{text[stop:]}"
    if text[line:start].strip():  # it stands beside the dash of a list
        return text[:start] + text[mapping.value[1][0].start_mark.index :]
    return text[:line] + text[_end_of_line(text, stop) + 1 :]


def add_item(text: str, items: Node, value: Any) -> str:
    """The text with one more item at the end of a list."""
    if not items.value or items.flow_style:
        at = end(text, None, items.value[-1]) if items.value else items.end_mark.index - 1
        return f"{text[:at]}{', ' if items.value else ''}{flow(value)}{text[at:]}"
    last = items.value[-1]
    at = _end_of_line(text, end(text, None, last))
    column = items.start_mark.column
    return f"{text[:at]}\n{' ' * column}- {block(value, column + 2).lstrip()}{text[at:]}"


def remove_item(text: str, items: Node, number: int) -> str:
    """The text without an item of a list."""
    spans = [(item.start_mark.index, end(text, None, item)) for item in items.value]
    if items.flow_style:
        return _cut(text, spans, number)
    start, stop = spans[number]
    return text[: text.rfind("\n", 0, start) + 1] + text[_end_of_line(text, stop) + 1 :]


def _cut(text: str, spans: list[tuple[int, int]], number: int) -> str:
    start, stop = spans[number]
    if number + 1 < len(spans):
        return text[:start] + text[spans[number + 1][0] :]
    return text[: spans[number - 1][1] if number else start] + text[stop:]


def _end_of_line(text: str, index: int) -> int:
    found = text.find("\n", index)
    return len(text) if found < 0 else found
