"""Small edits of YAML text at the positions of its nodes: comments and the order of everything else stay.

A function takes the text and a mapping that was composed from it, and returns the new text; the nodes are stale then.
"""

from __future__ import annotations

import math
import re
from typing import Any, cast

import yaml

Node = Any  # of PyYAML: its stubs leave the pairs of a mapping open


class _Loader(yaml.CSafeLoader):
    """Reads YAML as JSON: a date stays text."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in cast("dict[str, list[tuple[str, Any]]]", yaml.CSafeLoader.yaml_implicit_resolvers).items()
}


class _Dumper(yaml.SafeDumper):
    """Indents lists, as the files of the spec do."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, indentless=False)


def read(text: str) -> Any:
    """Return the content of a text, with types of JSON only."""
    return yaml.load(text, _Loader)


def compose(text: str) -> Node:
    """Return the nodes of a text, with their positions."""
    return cast("Any", yaml).compose(text, _Loader)


def dump(value: Any, *, one_line: bool) -> str:
    """Return a value as YAML; in blocks only lists and objects that hold others have lines of their own."""
    text: str = yaml.dump(
        value,
        Dumper=_Dumper,
        default_flow_style=True if one_line else None,
        width=math.inf,
        sort_keys=False,
        allow_unicode=True,
    )
    return text.removesuffix("...\n").rstrip("\n")


def dump_pair(key: str, value: Any, column: int, *, one_line: bool) -> str:
    """Return a key and its value, as they stand in a mapping at a column."""
    text = dump(value, one_line=one_line)
    if one_line or text[0] in "{[" or not isinstance(value, dict | list):
        return f"{key}: {text}"
    return f"{key}:" + "".join(f"\n{' ' * (column + 2)}{line}" for line in text.splitlines())


def is_mapping(node: Node) -> bool:
    return isinstance(node, yaml.MappingNode)


def is_list(node: Node) -> bool:
    return isinstance(node, yaml.SequenceNode)


def find(mapping: Node, key: str) -> tuple[Node, int] | None:
    """Return the mapping that has a key, this one or one merged into it, and the number of the key there."""
    merged: list[Node] = []
    for number, (name, value) in enumerate(mapping.value):
        if name.value == key:
            return mapping, number
        if name.tag == "tag:yaml.org,2002:merge":
            merged += value.value if is_list(value) else [value]
    return next((found for one in merged if (found := find(one, key))), None)


def get(mapping: Node, key: str) -> Node:
    """Return the value of a key, merged ones included; None when there is none."""
    found = find(mapping, key)
    return found[0].value[found[1]][1] if found else None


def set_key(text: str, mapping: Node, key: str, value: Any, *, instead_of: str | None = None) -> str:
    """Write a key in the place of itself or of another one, or at the end of the mapping."""
    found = find(mapping, instead_of or key)
    if found is None:
        return _add_key(text, mapping, key, value)
    owner, number = found
    name, old = owner.value[number]
    one_line = owner.flow_style or (is_list(old) and old.flow_style)
    pair = dump_pair(key, value, name.start_mark.column, one_line=one_line)
    return text[: name.start_mark.index] + pair + text[_end(text, name, old) :]


def _add_key(text: str, mapping: Node, key: str, value: Any) -> str:
    if mapping.flow_style or not mapping.value:
        at = _end(text, *mapping.value[-1]) if mapping.value else mapping.end_mark.index - 1
        return f"{text[:at]}{', ' if mapping.value else ''}{dump_pair(key, value, 0, one_line=True)}{text[at:]}"
    name, last = mapping.value[-1]
    column = mapping.value[0][0].start_mark.column
    at = _end_of_line(text, _end(text, name, last))
    pair = dump_pair(key, value, column, one_line=is_mapping(last) and last.flow_style)
    return f"{text[:at]}\n{' ' * column}{pair}{text[at:]}"


def remove_key(text: str, mapping: Node, key: str) -> str:
    """Remove a key and its value; in a block with its lines, and the comment on them.

    Raises:
        KeyError: There is no such key.
    """
    found = find(mapping, key)
    if found is None:
        raise KeyError(key)
    owner, number = found
    pairs = owner.value
    start, stop = pairs[number][0].start_mark.index, _end(text, *pairs[number])
    if owner.flow_style and number:
        return text[: _end(text, *pairs[number - 1])] + text[stop:]
    if len(pairs) == 1:
        return f"{text[:start]}{'' if owner.flow_style else '{}'}{text[stop:]}"
    line = text.rfind("\n", 0, start) + 1
    if owner.flow_style or text[line:start].strip():  # beside a brace, or the dash of a list
        return text[:start] + text[pairs[1][0].start_mark.index :]
    return text[:line] + text[_end_of_line(text, stop) + 1 :]


def add_item(text: str, items: Node, value: Any) -> str:
    """Add an item at the end of a list."""
    if items.flow_style or not items.value:
        at = _end(text, None, items.value[-1]) if items.value else items.end_mark.index - 1
        return f"{text[:at]}{', ' if items.value else ''}{dump(value, one_line=True)}{text[at:]}"
    at = _end_of_line(text, _end(text, None, items.value[-1]))
    return f"{text[:at]}\n{' ' * items.start_mark.column}- {dump(value, one_line=True)}{text[at:]}"


def _end(text: str, name: Node | None, value: Node) -> int:
    """Return where a value ends; an alias ends with its name, since its node is that of the anchor."""
    if name is not None and value.start_mark.index < name.start_mark.index:
        alias = re.compile(r"\s*:\s*\*[\w-]+").match(text, name.end_mark.index)
        assert alias
        return alias.end()
    if not (is_mapping(value) or is_list(value)) or value.flow_style or not value.value:
        return len(text[: value.end_mark.index].rstrip())
    return _end(text, *value.value[-1]) if is_mapping(value) else _end(text, None, value.value[-1])


def _end_of_line(text: str, index: int) -> int:
    found = text.find("\n", index)
    return len(text) if found < 0 else found
