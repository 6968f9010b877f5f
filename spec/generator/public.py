"""Write docs/openapi.json: the same contract for any tool, with a request schema for each task type.

The bundle joins a task type with its input in `x-tasks`, which only our own code reads. Here the schemas say it, and
extensions are left out.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from .bundle import Document, as_text, operations, task_of
from .models import reachable, references
from .prices import price_words
from .reference import limits

CONTACT = {"name": "The issues of the repository", "url": "https://github.com/unitask/unitask/issues"}
TASKS = "create_task"
_FORMS = {"url": "a URL", "base64": "the file in base64"}


def emit_public(document: Document, path: Path) -> None:
    """Write the document for other tools."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(as_text(public(document)), encoding="utf-8")


def public(document: Document) -> Document:
    """Return the contract with a request schema for each task type, and without extensions of our own."""
    tasks = [task for task in document["x-tasks"] if "create" not in task]
    families: dict[str, list[Document]] = {}
    for task in tasks:
        families.setdefault(task["family"], []).append(task)
    made: Document = _plain(document)
    schemas = made["components"]["schemas"]
    schemas |= {task["input"]: _plain(document["components"]["schemas"][task["input"]], forms=True) for task in tasks}
    request = schemas["TaskRequest"]
    variants = {schema["title"]: schema for schema in _requests(document, request, tasks)}
    groups = _groups(variants)
    schemas |= {**variants, **groups}
    grouped = {name for group in groups.values() for name in references(group)}
    alone = [name for name in variants if name not in grouped]
    schemas["TaskRequest"] = {"description": request["description"], "oneOf": _refs([*groups, *alone])}
    output = schemas["Task"]["properties"]["output"]
    schemas["Task"]["properties"]["output"] = {
        "description": output["description"],
        "anyOf": [*_refs(dict.fromkeys(task["output"] for task in tasks)), {"type": ["object", "null"]}],
    }
    made["info"]["contact"] = CONTACT
    made["tags"] += [
        {"name": family, "description": ", ".join(one["summary"].rstrip(".") for one in several) + "."}
        for family, several in families.items()
    ]
    for _, _, operation in operations(made):
        operation.setdefault("description", f"{operation['summary']}.")
        if "default" in operation["responses"]:
            operation["responses"]["4XX"] = operation["responses"]["default"]
        if operation["operationId"] == TASKS:
            operation["tags"] += families
            del operation["requestBody"]["content"]["application/json"]["examples"]
    used = reachable(made, references([made["paths"], made["webhooks"], made["components"]["responses"]]))
    made["components"]["schemas"] = {name: schema for name, schema in schemas.items() if name in used}
    named = re.findall(r'"#/components/examples/([^"]+)"', as_text(made))
    made["components"]["examples"] = {name: made["components"]["examples"][name] for name in dict.fromkeys(named)}
    return made


def _requests(document: Document, request: Document, tasks: list[Document]) -> Iterator[Document]:
    """Yield the request schema of each model and task type; several classes of the same two share one."""
    pairs: dict[tuple[str, str], list[Document]] = {}
    for task in tasks:
        pairs.setdefault((task["model"], task["task_type"]), []).append(task)
    bodies = [one["value"] for one in document["components"]["examples"].values() if one["x-operation"] == TASKS]
    for (model, task_type), same in pairs.items():
        inputs = _refs(task["input"] for task in same)
        yield {
            "title": f"{same[0]['name']}Request",
            "type": "object",
            "description": "\n\n".join(
                f"{task['summary']} {task.get('description', '')} Price: {price_words(task)}." for task in same
            ),
            "required": request["required"],
            "properties": {
                **request["properties"],
                "model": {"type": "string", "const": model, "description": "The model group."},
                "task_type": {"type": "string", "const": task_type, "description": "The task of the model."},
                "input": inputs[0] if len(inputs) == 1 else {"anyOf": inputs},
            },
            "examples": [body for body in bodies if _is_of(document, body, same)],
        }


def _is_of(document: Document, body: Document, tasks: list[Document]) -> bool:
    """Return whether a body is a request of one of the task types, and has no field that its schema does not name."""
    task = task_of(document, body)
    fields = document["components"]["schemas"][task["input"]]["properties"] if task else {}
    return task in tasks and body["input"].keys() <= fields.keys()


def _groups(variants: Document) -> Document:
    """Return a schema for each model with several task types, which the task type tells apart."""
    models: dict[str, list[Document]] = {}
    for schema in variants.values():
        models.setdefault(schema["properties"]["model"]["const"], []).append(schema)
    return {
        f"{''.join(part.title() for part in re.split('[^A-Za-z0-9]+', model))}Requests": {
            "description": f"A task of the model {model}.",
            "oneOf": _refs(schema["title"] for schema in several),
            "discriminator": {
                "propertyName": "task_type",
                "mapping": {
                    schema["properties"]["task_type"]["const"]: f"#/components/schemas/{schema['title']}"
                    for schema in several
                },
            },
        }
        for model, several in models.items()
        if len(several) > 1
    }


def _refs(names: Iterable[str]) -> list[Document]:
    return [{"$ref": f"#/components/schemas/{name}"} for name in names]


def _plain(node: Any, *, forms: bool = False) -> Any:
    """Return a part of the document without extensions; with `forms`, the description of a file says what is sent."""
    if isinstance(node, list):
        return [_plain(item, forms=forms) for item in node]
    if not isinstance(node, dict):
        return node
    plain = {key: _plain(value, forms=forms) for key, value in node.items() if not key.startswith("x-")}
    if forms and (media := node.get("x-media")):
        accepted = " or ".join(_FORMS[form] for form in media.get("accepts", _FORMS))
        limited = [words for words in limits({"x-media": media}) if words != "a URL"]
        plain["description"] = f"{node.get('description', '')} Send {'; '.join([accepted, *limited])}.".strip()
    return plain
