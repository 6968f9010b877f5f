"""The older protocols, as data (`x-protocols` of the spec): how a task is submitted and polled, where its parts are.

An answer of another protocol is converted to the unified form as soon as it is read.
"""

from typing import Any
from urllib.parse import quote

from unitask_api import contract

from .._model._json import as_object, is_list
from ..errors import InvalidInput
from .effects import SendRequest

UNIFIED = "unified"
LEGACY = "legacy"  # the model of all of them in the catalogue


def create(body: dict[str, Any]) -> SendRequest:
    entry = contract.find(body["model"], body["task_type"])
    if entry is None:
        problem = f"the catalogue has no task {body['model']} {body['task_type']!r:.80}"
        raise InvalidInput(problem, undone="nothing was sent")
    operation = contract.operation(entry.create)
    return SendRequest(operation.method, operation.path, body["input"])


def get_task(task_id: str, protocol: str, timeout: float | None) -> SendRequest:
    """Poll a task of another protocol, by its path or with its id in a body."""
    operation = contract.operation(_rules(protocol)["poll"])
    if "{task_id}" in operation.path:
        path = operation.path.replace("{task_id}", quote(task_id, safe=""))
        return SendRequest(operation.method, path, timeout=timeout)
    return SendRequest(operation.method, operation.path, {"task_id": task_id}, timeout=timeout)


def unified(body: dict[str, Any] | None, protocol: str, *, created: bool) -> dict[str, Any] | None:
    """Convert an answer of another protocol to the unified form; `legacy` has the original."""
    if body is None or protocol == UNIFIED:
        return body
    rules = _rules(protocol)
    reasons: object = _at(body, rules.get("reasons", "")) or []
    message = "; ".join(map(str, reasons)) if is_list(reasons) else str(reasons)
    task = {
        "task_id": _at(body, rules["task_id"]),
        "model": LEGACY,
        "task_type": protocol,
        # The answer to a submission shows only that it was accepted.
        "status": "pending" if created else _at(body, rules["status"]),
        "output": {name: _at(body, pointer) for name, pointer in rules["output"].items()},
        "error": {"code": 1 if message else 0, "message": message},
        "legacy": body,
    }
    return {**body, "data": task}


def _rules(protocol: str) -> dict[str, Any]:
    rules: dict[str, Any] = contract.document()["x-protocols"][protocol]
    return rules


def _at(body: dict[str, Any], pointer: str) -> Any:
    node: Any = body
    for key in pointer.split("/")[1:]:
        node = as_object(node).get(key)
    return node if pointer else None
