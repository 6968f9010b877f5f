"""The changes between two contracts for a caller, with their semver level.

Requests: the new schema must cover what old clients send. Responses: the old schema must cover what new responses hold.
Webhook bodies: the other way round. containment.py proves whether a schema covers another. What is not proven counts as
a break.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from unitask_contract.bundle import METHODS
from unitask_contract.containment import Document, covers, dereferenced, field_paths, plain

OF_TASK = ("model", "task_type", "family", "match", "output")  # each change is a break
LEVELS = ("none", "patch", "minor", "major")


@dataclass(frozen=True, slots=True)
class Change:
    """One difference for a caller.

    Attributes:
        level: major (a caller can break), minor (an addition), patch (text only).
        where: The operation or task type, and the part of it.
        what: What is different.
    """

    level: str
    where: str
    what: str


Compare = Callable[[Any, Any, str], Iterator[Change]]


def changes(old: Document, new: Document) -> list[Change]:
    """Return every change between two bundles, major ones first."""
    found = [*_operations(old, new), *_task_types(old, new), *_open_words(old, new)]
    if not found and old != new:
        found = [Change("patch", "the document", "text, examples or advice only")]
    return sorted(found, key=lambda change: (-LEVELS.index(change.level), change.where))


def verdict(found: Iterable[Change]) -> str:
    """Return the semver level of all changes together."""
    return max((change.level for change in found), key=LEVELS.index, default="none")


def _operations(old: Document, new: Document) -> Iterator[Change]:
    before, after = described(old), described(new)
    yield from _set(before, after, "", "operation")
    for where in sorted(before.keys() & after.keys()):
        yield from operation(before[where], after[where], where)


def described(document: Document) -> dict[str, Document]:
    """Return each operation without references, with its security and the parameters of its path.

    Returns:
        Operations and webhooks by a name such as ``paths GET /account/info``.
    """
    schemes: Document = document["components"].get("securitySchemes", {})
    found: dict[str, Document] = {}
    for group, path, item in [(g, *one) for g in ("paths", "webhooks") for one in document.get(g, {}).items()]:
        for method in METHODS:
            if method in item:
                operation: Document = item[method]
                owner = operation if "security" in operation else document  # an empty list of its own: no key is needed
                ways: list[Document] = owner.get("security", [])
                security = [[{**schemes.get(name, {}), "description": ""} for name in way] for way in ways]
                parameters = [*item.get("parameters", []), *operation.get("parameters", [])]
                whole = {**operation, "parameters": parameters, "security": security}
                found[f"{group} {method.upper()} {path}"] = dereferenced(document, whole)
    return found


def operation(before: Document, after: Document, where: str) -> Iterator[Change]:
    """Compare an operation, as `described` returns it."""
    sent, received = (answer, request) if where.startswith("webhooks") else (request, answer)
    yield from values(before, after, ("operationId",), where)
    yield from _security(before["security"], after["security"], where)
    yield from _parameters(before["parameters"], after["parameters"], where)
    one, other = before.get("requestBody", {}), after.get("requestBody", {})
    yield from _need(one, other, f"{where} request", "body")
    yield from _contents(one, other, f"{where} request", sent)
    one, other = before["responses"], after["responses"]
    yield from _set(one, other, where, "answer")
    for status in sorted(one.keys() & other.keys()):
        yield from _contents(one[status], other[status], f"{where} {status}", received)


def _security(before: list[Any], after: list[Any], where: str) -> Iterator[Change]:
    """Compare the ways to authorize: the caller's way must stay, or nothing must be needed any more."""
    if before == after:
        return
    is_kept = not after or [] in after or all(way in after for way in before)
    yield Change("minor" if is_kept else "major", where, f"security {before} is now {after}")


def _parameters(before: list[Document], after: list[Document], where: str) -> Iterator[Change]:
    one, other = ({f"{item['in']} {item['name']}": item for item in items} for items in (before, after))
    yield from _set(one, other, where, "parameter")
    for name in sorted(other):
        yield from _need(one.get(name, {}), other[name], f"{where} {name}", "parameter")
        if name in one:
            yield from request(one[name].get("schema", {}), other[name].get("schema", {}), f"{where} {name}")


def _contents(before: Document, after: Document, where: str, compare: Compare) -> Iterator[Change]:
    one, other = before.get("content", {}), after.get("content", {})
    yield from _set(one, other, where, "media type")
    for media in sorted(one.keys() & other.keys()):
        yield from compare(one[media].get("schema", {}), other[media].get("schema", {}), where)


def _set(before: Iterable[str], after: Iterable[str], where: str, kind: str) -> Iterator[Change]:
    for name in sorted(set(before) - set(after)):
        yield Change("major", f"{where} {name}".strip(), f"{kind} is gone")
    for name in sorted(set(after) - set(before)):
        yield Change("minor", f"{where} {name}".strip(), f"{kind} is new")


def _need(before: Document, after: Document, where: str, kind: str) -> Iterator[Change]:
    if after.get("required") and not before.get("required"):
        yield Change("major", where, f"{kind} is required now")
    elif before.get("required") and not after.get("required"):
        yield Change("minor", where, f"{kind} is optional now")


def values(before: Document, after: Document, keys: Iterable[str], where: str) -> Iterator[Change]:
    """Compare values of which each change is a break."""
    for key in keys:
        if before.get(key) != after.get(key):
            yield Change("major", where, f"{key} {before.get(key)!r} is now {after.get(key)!r}")


def _task_types(old: Document, new: Document) -> Iterator[Change]:
    before, after = ({task["name"]: task for task in document.get("x-tasks", [])} for document in (old, new))
    yield from _set(before, after, "task", "task type")
    for name in sorted(before.keys() & after.keys()):
        one, other, where = before[name], after[name], f"task {name}"
        yield from values(one, other, OF_TASK, where)
        for side, compare in (("input", request), ("output", answer)):
            yield from compare(_component(old, one[side]), _component(new, other[side]), f"{where} {side}")


def _component(document: Document, name: str) -> Any:
    return dereferenced(document, document["components"]["schemas"][name])


def request(before: Any, after: Any, where: str) -> Iterator[Change]:
    """The caller sends it: allowed values must stay allowed."""
    if before == after:  # most are, and to make them plain takes most of the time
        return
    one, other = plain(before), plain(after)
    if one == other:
        return
    gone = sorted(set(field_paths(one)) - set(field_paths(other)))
    if not covers(other, plain(before, closed=True)):
        yield Change("major", where, "a value that was allowed is refused")
    elif gone:
        yield Change("major", where, f"no longer documented: {', '.join(gone)}")
    else:
        yield Change("minor", where, f"more is allowed{_new(one, other)}")


def answer(before: Any, after: Any, where: str) -> Iterator[Change]:
    """The caller receives it: new values must have been allowed before."""
    if before == after:  # most are, and to make them plain takes most of the time
        return
    one, other = plain(before), plain(after)
    if one == other:
        return
    gone = sorted(set(field_paths(one)) - set(field_paths(other)))
    if gone:
        yield Change("major", where, f"no longer documented: {', '.join(gone)}")
    elif not covers(one, plain(after, closed=True)):
        yield Change("major", where, "a value can come that was excluded")
    else:
        yield Change("minor", where, f"fewer values can come, or more is documented{_new(one, other)}")


def _new(before: Any, after: Any) -> str:
    """Return the names of the fields that only the new schema documents."""
    fields = sorted(set(field_paths(after)) - set(field_paths(before)))
    return f": {', '.join(fields)}" if fields else ""


def _open_words(old: Document, new: Document) -> Iterator[Change]:
    """Compare the words of open enumerations: they are advice, so no change of them is a break."""
    before, after = (document["components"].get("schemas", {}) for document in (old, new))
    for name in sorted(before.keys() & after.keys()):
        one, other = _words(before[name]), _words(after[name])
        if one != other:
            yield Change("minor", f"words of {name}", f"were {sorted(one)}, are {sorted(other)}")


def _words(schema: Document) -> set[str]:
    branches = schema.get("anyOf", [])
    is_open = any(branch.get("type") == "string" and "enum" not in branch for branch in branches)
    return {word for branch in branches for word in branch.get("enum", [])} if is_open else set()
