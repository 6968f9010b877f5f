"""Write `unitask_api.models`: a reader for each object of an answer, a TypedDict for each object of a request.

An unknown shape stops the generation, so no field is left out by accident. A module holds the models of one family or
tag, and imports from earlier modules only.
"""

from __future__ import annotations

import json
import keyword
import re
import textwrap
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from .bundle import Document, SpecError, operations, resolved

TAGS = ("task", "account", "upload", "llm", "legacy")  # modules, in the order in which they may import each other
_SCALARS = {"string": "str", "integer": "int", "number": "float", "boolean": "bool"}
_READERS = {
    "string": ("str", "_text"),
    "integer": ("int", "_int"),
    "number": ("float", "_float"),
    "boolean": ("bool", "_bool"),
}
_EXPECTED = {"str": "text", "int": "a whole number", "float": "a number", "bool": "true or false"}
_OF_READERS = {"check", "field_error", "raw"}
_OF_OUTPUTS = {*_OF_READERS, "PROTOCOL", "files"}


def emit_models(document: Document, package: Path) -> None:
    """Write the folder `models` of the generated package.

    Raises:
        SpecError: There is no reader or type for a shape, or a name cannot be used.
    """
    texts = _Models(document).texts()
    folder = package / "models"
    folder.mkdir()
    for module, text in texts.items():
        (folder / f"{module}.py").write_text(text, encoding="utf-8")


def used_by_answers(document: Document) -> set[str]:
    """Return the schemas of answers, notifications and outputs."""
    parts = [
        part
        for name, _, operation in operations(document)
        for part in (
            *(resolved(document, response) for response in operation["responses"].values()),
            operation.get("requestBody", {}) if name in document["webhooks"] else {},
        )
    ]
    return reachable(document, [*references(parts), *(task["output"] for task in document["x-tasks"])])


def used_by_requests(document: Document) -> set[str]:
    """Return the schemas of request bodies and inputs."""
    bodies = [
        operation.get("requestBody", {})
        for name, _, operation in operations(document)
        if name not in document["webhooks"]
    ]
    return reachable(document, [*references(bodies), *(task["input"] for task in document["x-tasks"])])


def reachable(document: Document, names: Iterable[str]) -> set[str]:
    """Return the named schemas and those that they refer to."""
    schemas, found, new = document["components"]["schemas"], set[str](), set(names)
    while new:
        found |= new
        new = references([schemas[name] for name in new]) - found
    return found


class _Models:
    """Makes the models of a document, by module."""

    def __init__(self, document: Document) -> None:
        self._schemas: dict[str, Document] = document["components"]["schemas"]
        self._answers, self._requests = used_by_answers(document), used_by_requests(document)
        self._outputs = reachable(document, (task["output"] for task in document["x-tasks"]))
        self._module_of = _modules(document)
        self._protocols = {task["output"]: task["protocol"] for task in document["x-tasks"]}

    def texts(self) -> dict[str, str]:
        """Return the source of each module, and of the package."""
        classes: dict[str, dict[str, str]] = {}
        for name, module in self._module_of.items():
            made = classes.setdefault(module, {})
            if name in self._answers and "properties" in self._schemas[name]:
                made[name] = self._reader(name)
            if name in self._requests and "properties" in self._schemas[name]:
                made[self._params_name(name)] = self._params(name)
        where = {name: module for module, made in classes.items() for name in made}
        texts = {module: self._module(module, made, where) for module, made in classes.items()}
        return {**texts, "__init__": _package(where)}

    def _module(self, module: str, classes: Mapping[str, str], where: Mapping[str, str]) -> str:
        body = "".join(classes.values())
        used = {name for name in re.findall(r"\b[A-Z]\w+", body) if where.get(name, module) != module}
        imports = "\n".join(f"from .{where[name]} import {name}" for name in sorted(used))
        return f'''"""Readers for answers and types for requests: {module}."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar, Literal, Required, TypedDict

from ..outputs import output_type
from ..reader import Output, Reader
from ..types import FileTypes
{imports}

__all__ = {sorted(classes)!r}
{body}'''

    # --- answers

    def _reader(self, name: str) -> str:
        schema = self._schemas[name]
        is_output = name in self._outputs
        required = schema.get("required", [])
        taken = _OF_OUTPUTS if is_output else _OF_READERS
        fields = "".join(
            self._field(name, field, rule, field in required, taken) for field, rule in schema["properties"].items()
        )
        needed = f"\n    REQUIRED: ClassVar[tuple[str, ...]] = {tuple(required)!r}\n" if required else ""
        if (protocol := self._protocols.get(name, "unified")) != "unified":
            needed += f"\n    PROTOCOL: ClassVar[str] = {protocol!r}\n"
        base = "Output" if is_output else "Reader"
        return f'\n\nclass {name}({base}):\n    """{wrapped(schema["description"], 4)}"""\n{needed}{fields}'

    def _field(self, owner: str, name: str, rule: Document, required: bool, taken: set[str]) -> str:
        check_name(owner, name, taken)
        kind, call, expected = self._read(f"{owner}.{name}", name, rule)
        if required and kind.endswith(" | None"):
            kind, call = kind.removesuffix(" | None"), f"_given({name!r}, self.{call}, {expected!r})"
        return f'''
    @property
    def {name}(self) -> {kind}:
        """{wrapped(description(self._schemas, rule) or "The items.", 8)}"""
        return self.{call}
'''

    def _read(self, where: str, name: str, rule: Document) -> tuple[str, str, str]:
        """Return the type of a field, the call that reads it, and the expected type in words."""
        if rule.get("x-catalogue") == "output":
            named = ", ".join(f"self.raw.get({key!r})" for key in ("model", "task_type", "input"))
            return "Output | None", f"_reader({name!r}, output_type({named}))", "an object"
        if rule.get("x-time"):
            return "datetime | None", f"_time({name!r})", "a time"
        rule = self._followed(not_null(rule))
        if words := open_words(rule):
            return "str | None", f"_word({name!r}, {words!r})", "text"
        if "$ref" in rule:
            kind = rule["$ref"].rpartition("/")[2]
            return f"{kind} | None", f"_reader({name!r}, {kind})", "an object"
        if rule.get("type") == "array":
            return self._read_list(name, self._followed(rule["items"]))
        if rule.get("type") == "object":
            return self._read_object(name, rule.get("additionalProperties"))
        if str(rule.get("type")) in _READERS:
            kind, reader = _READERS[rule["type"]]
            least = f", {rule['minLength']}" if rule.get("minLength") else ""
            return f"{kind} | None", f"{reader}({name!r}{least})", _EXPECTED[kind]
        if isinstance(rule.get("type"), list) or "anyOf" in rule or set(rule) <= {"description", "x-source"}:
            return "Any", f"raw.get({name!r})", "a value"
        raise SpecError(f"{where}: no reader for {rule!r:.80}; add a rule to spec/generator/models.py")

    def _read_object(self, name: str, values: object) -> tuple[str, str, str]:
        if isinstance(values, dict) and "$ref" in values:
            kind = values["$ref"].rpartition("/")[2]
            return f"dict[str, {kind}]", f"_reader_map({name!r}, {kind})", "an object"
        return "dict[str, Any] | None", f"_object({name!r})", "an object"

    def _read_list(self, name: str, items: Document) -> tuple[str, str, str]:
        if "$ref" in items:
            kind = items["$ref"].rpartition("/")[2]
            return f"list[{kind}]", f"_readers({name!r}, {kind})", "a list"
        if items.get("type") == "string":
            return "list[str]", f"_texts({name!r})", "a list"
        if items.get("type") == "object":
            return "list[dict[str, Any]]", f"_objects({name!r})", "a list"
        return "list[Any]", f"_list({name!r})", "a list"

    def _followed(self, rule: Document) -> Document:
        """Return the rule, or the schema that it refers to if that is not an object."""
        named = self._schemas[rule["$ref"].rpartition("/")[2]] if "$ref" in rule else rule
        return rule if named.get("type") == "object" else named

    # --- requests

    def _params_name(self, name: str) -> str:
        return f"{name}Params" if name in self._answers else name

    def _params(self, name: str) -> str:
        schema = self._schemas[name]
        required = schema.get("required", [])
        lines: list[str] = []
        for field, rule in schema["properties"].items():
            check_name(name, field, set())
            kind = self._type(f"{name}.{field}", rule)
            lines.append(f"    {field}: {f'Required[{kind}]' if field in required else kind}")
            lines.append(f'    """{wrapped(description(self._schemas, rule), 4)}"""')
        head = (
            f'class {self._params_name(name)}(TypedDict, total=False):\n    """{wrapped(schema["description"], 4)}"""'
        )
        return f"\n\n{head}\n\n{chr(10).join(lines)}\n"

    def _type(self, where: str, rule: Document) -> str:
        """Return the type of a field of a request."""
        return python_type(where, rule, self._named)

    def _named(self, name: str) -> str:
        schema = self._schemas[name]
        return self._params_name(name) if "properties" in schema else self._type(name, schema)


def python_type(where: str, rule: Document, named: Callable[[str], str]) -> str:
    """Return the Python type of a field of a request.

    Args:
        where: The field, for the error.
        rule: Its schema.
        named: Returns the type of a component.

    Raises:
        SpecError: There is no type for the schema.
    """
    if "anyOf" in rule:
        kinds = [python_type(where, branch, named) for branch in rule["anyOf"]]
        return " | ".join(
            dict.fromkeys("str" if "str" in kinds and kind.startswith("Literal") else kind for kind in kinds)
        )
    if "$ref" in rule:
        return named(rule["$ref"].rpartition("/")[2])
    if "enum" in rule or "const" in rule:
        return f"Literal[{', '.join(map(repr, rule.get('enum') or [rule['const']]))}]"
    if isinstance(rule.get("type"), list):
        return " | ".join(python_type(where, {**rule, "type": kind}, named) for kind in rule["type"])
    if rule.get("format") == "binary":
        return "FileTypes"
    if rule.get("type") == "array":
        return f"Sequence[{python_type(where, rule.get('items', {}), named)}]"
    known = {**_SCALARS, "null": "None", "object": "Mapping[str, Any]", "None": "Any"}
    if str(rule.get("type")) not in known:
        raise SpecError(f"{where}: no type for {rule!r:.80}; add a rule to spec/generator/models.py")
    return known[str(rule.get("type"))]


def check_name(owner: str, name: str, taken: set[str]) -> None:
    """Raise SpecError if a field cannot be an attribute in Python."""
    if keyword.iskeyword(name) or not name.isidentifier() or name in taken or name.startswith("_"):
        raise SpecError(f"{owner}: a field cannot be called {name!r}; give it another name in the generator")


def open_words(rule: Document) -> tuple[str, ...]:
    """Return the known words of an open enumeration, `anyOf: [an enum, any text]`; else nothing."""
    branches = rule.get("anyOf", [])
    is_open = [branch.get("type") for branch in branches] == ["string", "string"]
    return tuple(branches[0].get("enum", ())) if is_open else ()


def description(schemas: Document, rule: Document) -> str:
    """Return the description of a field, or of the schema that it refers to; empty if there is none."""
    rule = not_null(rule)
    if "description" not in rule and "$ref" in rule:
        rule = schemas[rule["$ref"].rpartition("/")[2]]
    return str(rule.get("description", ""))


def not_null(rule: Document) -> Document:
    """Return the rule without null."""
    if "anyOf" in rule:
        branches = [branch for branch in rule["anyOf"] if branch != {"type": "null"}]
        rest = {key: value for key, value in rule.items() if key != "anyOf"}
        return rest | branches[0] if len(branches) == 1 else rule
    if isinstance(rule.get("type"), list):
        kinds = [kind for kind in rule["type"] if kind != "null"]
        return {**rule, "type": kinds[0]} if len(kinds) == 1 else rule
    return rule


def wrapped(text: str, indent: int) -> str:
    """Return a text as lines of a docstring."""
    text = " ".join(text.replace("\\", "\\\\").split())
    return textwrap.fill(text, 108, subsequent_indent=" " * indent, break_on_hyphens=False, break_long_words=False)


def references(node: object) -> set[str]:
    """Return the names of the components that a node refers to."""
    return set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(node)))


def _modules(document: Document) -> dict[str, str]:
    """Return the module of each schema: the first tag or family that uses it."""
    roots: dict[str, list[Any]] = {tag: [] for tag in TAGS}
    for name, _, operation in operations(document):
        bodies = [resolved(document, response) for response in operation["responses"].values()]
        tag = "webhook" if name in document["webhooks"] else operation["tags"][0]
        roots.setdefault(tag, []).extend(references([*bodies, operation.get("requestBody", {})]))
    for task in document["x-tasks"]:
        roots.setdefault(task["family"], []).extend([task["input"], task["output"]])
    found: dict[str, str] = {}
    for module, names in roots.items():
        found |= dict.fromkeys(sorted(reachable(document, names) - found.keys()), module)
    return found


def _package(where: Mapping[str, str]) -> str:
    imports = "\n".join(f"    from .{module} import {name}" for name, module in sorted(where.items()))
    return f'''"""Readers for answers and types for requests. Modules load on first use (PEP 562)."""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING as _TYPE_CHECKING, Any as _Any

if _TYPE_CHECKING:
{imports}

_MODULES = {dict(sorted(where.items()))!r}

__all__ = {sorted(where)!r}


def __getattr__(name: str) -> _Any:
    if name not in _MODULES:
        raise AttributeError(f"module {{__name__!r}} has no attribute {{name!r}}")
    return getattr(_import_module(f".{{_MODULES[name]}}", __name__), name)
'''
