"""Write `unitask.tasks`: a module for each family, with a class for each task type and one for its output.

Inputs become dataclasses, objects inside them TypedDicts, outputs readers over the raw body. An unknown shape stops the
generation, so no field is left out by accident.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from .bundle import Document, families
from .emit import add_headers, tidy
from .models import check_name, description, not_null, python_type, reachable, wrapped
from .prices import count_words, price_words
from .reference import limits

_RESERVED = {"MODEL", "TASK_TYPE", "extra", "fixed", "operation", "output_type", "values"}


def emit_catalogue(document: Document, folder: Path) -> None:
    """Replace the package of task classes."""
    modules = {family: _Module(document, family, tasks) for family, tasks in families(document).items()}
    texts = {family: module.text() for family, module in modules.items()}
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for family, text in texts.items():
        (folder / f"{family}.py").write_text(text, encoding="utf-8")
    (folder / "__init__.py").write_text(_package(modules), encoding="utf-8")
    add_headers(folder)
    tidy(folder)


def _package(modules: dict[str, _Module]) -> str:
    where = {name: family for family, module in modules.items() for name in module.names}
    imports = "\n".join(f"    from .{family} import {name}" for name, family in where.items())
    return f'''"""A class for each task type. Modules load on first use (PEP 562)."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ..inputs import Raw

if TYPE_CHECKING:
{imports}

__all__ = {sorted([*where, "Raw"])!r}

_FAMILIES = {where!r}


def __getattr__(name: str) -> Any:
    if name not in _FAMILIES:
        raise AttributeError(f"module {{__name__!r}} has no attribute {{name!r}}")
    return getattr(import_module(f"{{__name__}}.{{_FAMILIES[name]}}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
'''


class _Module:
    """The module of one family."""

    def __init__(self, document: Document, family: str, tasks: list[Document]) -> None:
        self._schemas = document["components"]["schemas"]
        self._family, self._tasks = family, tasks
        self._document = document
        self._outputs: set[str] = set()
        self.names: list[str] = []
        self._classes: list[str] = []

    def text(self) -> str:
        """Return the source of the module."""
        for task in self._tasks:
            self._outputs |= reachable(self._document, [task["output"]])
            self._task(task)
        self.names += sorted(self._outputs)
        return f'''"""The {self._family} family."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Required, TypedDict

from unitask_api.models import {", ".join(sorted(self._outputs))}

from ..inputs import TaskInput
from ..media import Media, Picture

__all__ = {sorted(self.names)!r}
''' + "".join(self._classes)

    def _add(self, name: str, text: str) -> None:
        self.names.append(name)
        self._classes.append(text)

    def _task(self, task: Document) -> None:
        schema, name = self._schemas[task["input"]], task["name"]
        required = schema.get("required", [])
        rules = sorted(schema["properties"].items(), key=lambda item: item[0] not in required)
        fixed = {field: rule["const"] for field, rule in rules if "const" in rule}
        open_rules = [(field, rule) for field, rule in rules if field not in fixed]
        lines = [self._field(name, field, rule, field in required) for field, rule in open_rules]
        described = [(field, self._about(rule, field in required)) for field, rule in open_rules]
        described.append(("extra", "Fields that are not listed here; sent as they are."))
        price = f"Price: {price_words(task)}. {count_words(task)}"
        source = f"Source: {task['docs']['page']} ({task['docs']['date']})."
        paragraphs = [task["summary"], task.get("description", ""), price, source]
        constants = f"    FIXED: ClassVar[Mapping[str, object]] = {fixed!r}\n" if fixed else ""
        self._add(
            name,
            f'''

@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class {name}(TaskInput[{task["output"]}]):
{_docstring(paragraphs, described)}

    MODEL: ClassVar[str] = {task["model"]!r}
    TASK_TYPE: ClassVar[str] = {task["task_type"]!r}
{constants}
{chr(10).join(lines)}
    extra: Mapping[str, object] = field(default_factory=dict[str, object])

    def output_type(self) -> type[{task["output"]}]:
        """Return the output class of this task."""
        return {task["output"]}
''',
        )

    def _field(self, task: str, name: str, rule: Document, required: bool) -> str:
        check_name(task, name, _RESERVED)
        kind = self._type(f"{task}.{name}", rule)
        return f"    {name}: {kind}" if required else f"    {name}: {kind} | None = None"

    def _type(self, where: str, rule: Document) -> str:
        """Return the Python type of an input field; None is not one, because the field is not sent then."""
        if media := not_null(rule).get("x-media"):
            return "Picture" if media["kind"] == "image" else "Media"
        if not_null(rule).get("type") == "array":
            return f"Sequence[{self._type(where, not_null(rule)['items'])}]"
        return python_type(where, not_null(rule), self._typed_dict).removesuffix(" | None")

    def _typed_dict(self, name: str) -> str:
        if name not in self.names:
            schema = self._schemas[name]
            required = schema.get("required", [])
            lines: list[str] = []
            for field, rule in schema["properties"].items():
                kind = self._type(f"{name}.{field}", rule)
                lines.append(f"    {field}: {f'Required[{kind}]' if field in required else kind}")
            described = [(field, self._about(rule, field in required)) for field, rule in schema["properties"].items()]
            body = "\n".join(lines)
            docstring = _docstring([schema["description"]], described)
            self._add(name, f"\n\nclass {name}(TypedDict, total=False):\n{docstring}\n\n{body}\n")
        return name

    def _about(self, rule: Document, required: bool) -> str:
        said = "; ".join(limits(not_null(rule)))
        sentence = f" {said[0].upper()}{said[1:]}." if said else ""
        return f"{description(self._schemas, rule)}{sentence}{'' if required else ' Optional.'}"


def _docstring(paragraphs: list[str], attributes: list[tuple[str, str]]) -> str:
    body = "\n\n    ".join(wrapped(paragraph, 4) for paragraph in paragraphs if paragraph)
    listed = "\n".join(f"        {name}: {wrapped(text, 12)}" for name, text in attributes)
    return f'    """{body}\n\n    Attributes:\n{listed}\n    """'
