"""Write `unitask.tasks`: a class for each task type of the catalogue, and one for its output; a module a family."""

from __future__ import annotations

import keyword
import shutil
import textwrap
from pathlib import Path
from typing import Any

from .bundle import Document, SpecError
from .emit import add_headers, tidy

_TYPES = {"string": "str", "integer": "int", "number": "float", "boolean": "bool"}
_READERS = {"string": ("str", "_text")}
_RESERVED = {"MODEL", "TASK_TYPE", "extra", "operation", "output_type", "values"}


def emit_catalogue(document: Document, folder: Path) -> None:
    """Write the package of task classes anew."""
    families: dict[str, list[Document]] = {}
    for task in document["x-tasks"]:
        families.setdefault(task["family"], []).append(task)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for family, tasks in families.items():
        (folder / f"{family}.py").write_text(_module(document, family, tasks), encoding="utf-8")
    (folder / "__init__.py").write_text(_package(document["x-tasks"]), encoding="utf-8")
    add_headers(folder)
    tidy(folder)


def _package(tasks: list[Document]) -> str:
    where = {name: task["family"] for task in tasks for name in (task["name"], f"{task['name']}Output")}
    outputs = {(task["model"], task["task_type"]): f"{task['name']}Output" for task in tasks}
    imports = "\n".join(f"    from .{family} import {name}" for name, family in where.items())
    return f'''"""What can be made: a class for each task type. Modules load on first use (PEP 562)."""

from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from ..inputs import Raw
from ..task import Output

if TYPE_CHECKING:
{imports}

__all__ = {sorted([*where, "Raw"])!r}

_FAMILIES = {where!r}
_OUTPUTS = {outputs!r}


def output_type(model: str, task_type: str) -> type[Output]:
    """What reads the output of such a task: `Output` itself when the type is not in the catalogue."""
    name = _OUTPUTS.get((model, task_type))
    return cast("type[Output]", __getattr__(name)) if name else Output


def __getattr__(name: str) -> Any:
    if name not in _FAMILIES:
        raise AttributeError(f"module {{__name__!r}} has no attribute {{name!r}}")
    return getattr(import_module(f"{{__name__}}.{{_FAMILIES[name]}}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
'''


def _module(document: Document, family: str, tasks: list[Document]) -> str:
    schemas = document["components"]["schemas"]
    classes = [_output(task, schemas[task["output"]]) + _input(task, schemas[task["input"]]) for task in tasks]
    names = sorted(name for task in tasks for name in (task["name"], f"{task['name']}Output"))
    return f'''"""The {family} family."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from ..inputs import TaskInput
from ..media import Picture
from ..task import Output

__all__ = {names!r}
''' + "".join(classes)


def _input(task: Document, schema: Document) -> str:
    required = schema.get("required", [])
    properties = sorted(schema["properties"].items(), key=lambda item: item[0] not in required)
    lines = [_field(task["name"], name, rule, name in required) for name, rule in properties]
    documented = [(name, _field_text(rule, name in required)) for name, rule in properties]
    documented.append(("extra", "Fields that are not listed here; sent as they are."))
    return f'''

@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class {task["name"]}(TaskInput[{task["name"]}Output]):
{_docstring([task["summary"], task.get("description", ""), _price(task)], documented)}

    MODEL: ClassVar[str] = {task["model"]!r}
    TASK_TYPE: ClassVar[str] = {task["task_type"]!r}

{chr(10).join(lines)}
    extra: Mapping[str, object] = field(default_factory=dict[str, object])

    def output_type(self) -> type[{task["name"]}Output]:
        """What reads its output."""
        return {task["name"]}Output
'''


def _output(task: Document, schema: Document) -> str:
    readers = [_reader(task["name"], name, rule) for name, rule in schema["properties"].items()]
    return f'''

class {task["name"]}Output(Output):
    """What a `{task["name"]}` makes. {schema["description"]}"""
{"".join(readers)}'''


def _field(task: str, name: str, rule: Document, required: bool) -> str:
    if keyword.iskeyword(name) or not name.isidentifier() or name in _RESERVED:
        raise SpecError(
            f"{task}: an input field cannot be called {name!r} in Python; teach spec/generator/catalogue.py"
        )
    kind = _python_type(task, name, rule)
    return f"    {name}: {kind}" if required else f"    {name}: {kind} | None = None"


def _python_type(task: str, name: str, rule: Document) -> str:
    if rule.get("x-media", {}).get("kind") == "image":
        return "Picture"
    if "enum" in rule:
        return f"Literal[{', '.join(map(repr, rule['enum']))}]"
    if rule.get("type") not in _TYPES:
        raise SpecError(f"{task}.{name}: no Python type for {rule!r:.80}; teach spec/generator/catalogue.py")
    return _TYPES[rule["type"]]


def _reader(task: str, name: str, rule: Document) -> str:
    kinds: Any = rule.get("type")
    known = [_READERS[kind] for kind in (kinds if isinstance(kinds, list) else [kinds]) if kind in _READERS]
    if not known:
        raise SpecError(f"{task}Output.{name}: no reader for {rule!r:.80}; teach spec/generator/catalogue.py")
    kind, reader = known[0]
    return f'''
    @property
    def {name}(self) -> {kind} | None:
        """{_wrapped(rule["description"], 8)}"""
        return self.{reader}({name!r})
'''


def _field_text(rule: Document, required: bool) -> str:
    media = rule.get("x-media", {})
    limits = f" {', '.join(media['formats'])}." if "formats" in media else ""
    if "exclusive_max_side" in media:
        limits = f"{limits[:-1]}, both sides under {media['exclusive_max_side']} pixels."
    return f"{rule['description']}{limits}{'' if required else ' Optional.'}"


def _price(task: Document) -> str:
    price = task.get("price")
    cost = f"${price['usd']:g} per {price['per']}" if price else "unknown"
    return f"Price: {cost}. Source: {task['docs']['page']} ({task['docs']['date']})."


def _docstring(paragraphs: list[str], attributes: list[tuple[str, str]]) -> str:
    body = "\n\n    ".join(_wrapped(paragraph, 4) for paragraph in paragraphs if paragraph)
    listed = "\n".join(f"        {name}: {_wrapped(text, 12)}" for name, text in attributes)
    return f'    """{body}\n\n    Attributes:\n{listed}\n    """'


def _wrapped(text: str, indent: int) -> str:
    return textwrap.fill(" ".join(text.split()), 110, subsequent_indent=" " * indent)
