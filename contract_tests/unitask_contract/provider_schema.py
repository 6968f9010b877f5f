"""The contract as a provider must keep it, as a schema for generated requests."""

import copy
from typing import Any

from unitask_contract import bundle
from unitask_contract.bundle import fields

LONGEST_SECONDS = 10_000  # of a video or a song, so that a balance can pay for it


def provider_schema(*, legacy: bool = True, bounded: bool = True) -> dict[str, Any]:
    """Return the bundle with a submission of each task type, and uploads of known kinds, to the provider itself.

    The key is removed, because schemathesis would vary the header; a check of its own tests it. A live account may not
    have the legacy operations. Durations that are paid by the second can be bounded, and chats to those that need no
    valid JSON Schema and no function of a certain name.
    """
    view = copy.deepcopy(bundle.document())
    del view["security"], view["components"]["securitySchemes"], view["webhooks"]
    view["paths"] = {path: item for path, item in view["paths"].items() if legacy or not _is_legacy(item)}
    for item in view["paths"].values():
        item.pop("servers", None)
        for method in item.keys() & set(bundle.METHODS):
            item[method].pop("security", None)
    schemas = view["components"]["schemas"]
    schemas["TaskRequest"] = {"anyOf": [_submission(one) for one in view["x-tasks"] if one["protocol"] == "unified"]}
    schemas["LegacyToolkitRequest"] = _toolkit_request(view)
    if bounded:
        _bound(view)
    created = view["paths"]["/api/v1/task"]["post"]["requestBody"]["content"]["application/json"]
    families = tuple(f"{entry['family']}." for entry in view["x-tasks"])
    created["examples"] = {name: example for name, example in created["examples"].items() if name.startswith(families)}
    upload = schemas["UploadRequest"]["properties"]
    upload["file_name"]["pattern"] = r"\.(jpg|jpeg|png|webp|mp4|wav|mp3)$"
    upload["file_data"]["pattern"] = "^([A-Za-z0-9+/]{4})+$"
    return view


def _submission(entry: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["model", "task_type", "input"],
        "properties": {
            "model": {"const": entry["model"]},
            "task_type": {"const": entry["task_type"]},
            "input": {"$ref": f"#/components/schemas/{entry['input']}"},
            "config": {"$ref": "#/components/schemas/TaskConfig"},
        },
    }


def _toolkit_request(view: dict[str, Any]) -> dict[str, Any]:
    request = view["components"]["schemas"]["LegacyToolkitRequest"]
    inputs = {
        entry["task_type"].replace("-", "_"): {"$ref": f"#/components/schemas/{entry['input']}"}
        for entry in view["x-tasks"]
        if entry["model"] == "Qubico/image-toolkit"
    }
    branches = [
        {**request, "properties": {**request["properties"], "task_type": {"const": word}, "task_input": inputs[word]}}
        for word in request["properties"]["task_type"]["enum"]
    ]
    return {"anyOf": branches}


def _bound(view: dict[str, Any]) -> None:
    for entry in view["x-tasks"]:
        seconds = fields(fields(entry.get("price")).get("count")).get("seconds")
        rule = view["components"]["schemas"][entry["input"]]["properties"].get(seconds, {})
        if rule.get("type") in ("integer", "number"):
            rule.setdefault("maximum", LONGEST_SECONDS)
    chat = {name: view["components"]["schemas"][name]["properties"] for name in ("ChatRequest", "ChatFormat")}
    chat["ChatRequest"]["tool_choice"] = {"enum": ["none", None]}
    chat["ChatFormat"]["type"] = {"enum": ["text", "json_object"]}


def _is_legacy(item: dict[str, Any]) -> bool:
    return any("legacy" in item[method]["tags"] for method in item.keys() & set(bundle.METHODS))
