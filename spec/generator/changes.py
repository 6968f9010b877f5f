"""`python -m generator.changes --base REF`: list the changes of the contract for a caller, with their semver level.

Requests: the new schema must cover what old clients send. Responses: the old schema must cover what new responses hold.
Webhook bodies: the other way round. containment.py proves whether a schema covers another. What is not proven counts as
a break, unless spec/waivers.yaml explains why it is not one.
"""

import argparse
import json
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .bundle import Document, load_yaml, resolved
from .containment import Schema, counterexample, covers, field_paths, inlined

ROOT = Path(__file__).resolve().parents[2]
BUNDLE = "generated/unitask_api/openapi.json"
LEVELS = ("none", "patch", "minor", "major")
METHODS = ("get", "put", "post", "delete", "patch", "head", "options")


@dataclass(frozen=True, slots=True)
class Change:
    """One difference for a caller.

    Attributes:
        level: major (a caller can break), minor (an addition), patch (text only).
        where: The operation or task type, and the part of it.
        what: What is different.
        schemas: For a break that a value could show: a schema that allows the value, and one that does not.
    """

    level: str
    where: str
    what: str
    schemas: tuple[Schema, Schema] | None = None

    def example(self) -> Any:
        """Return a value that shows the break: no longer allowed, or new in a response; None without one."""
        return counterexample(self.schemas[1], self.schemas[0]) if self.schemas else None


Compare = Callable[[Document, Any, Document, Any, str], Iterator[Change]]


def changes(old: Document, new: Document) -> list[Change]:
    """Return every change between two bundles, major ones first."""
    found = [*_operations(old, new), *_task_types(old, new), *_open_words(old, new)]
    if not found and old != new:
        found = [Change("patch", "the document", "text, examples or advice only")]
    return sorted(found, key=lambda change: (-LEVELS.index(change.level), change.where))


def verdict(found: Iterable[Change]) -> str:
    """Return the semver level of all changes together."""
    return max((change.level for change in found), key=LEVELS.index, default="none")


def waived(found: list[Change], waivers: list[dict[str, str]]) -> list[Change]:
    """Return the changes; a break that a waiver explains becomes a minor change."""
    reasons = {waiver["where"]: waiver["why"] for waiver in waivers}
    return [
        Change("minor", change.where, f"{change.what} (waived: {reasons[change.where]})")
        if change.level == "major" and change.where in reasons
        else change
        for change in found
    ]


def bump_is_enough(old: str, new: str, level: str) -> bool:
    """Return whether a version was raised enough. Before 1.0 a break raises the second number (semver, 4)."""
    before, after = ([int(part) for part in version.split(".")] for version in (old, new))
    needed = {"major": 0, "minor": 1, "patch": 2} if before[0] else {"major": 1, "minor": 2, "patch": 2}
    place = needed.get(level)
    return place is None or after[: place + 1] > before[: place + 1]


# --- operations


def _operations(old: Document, new: Document) -> Iterator[Change]:
    before, after = dict(_each(old)), dict(_each(new))
    yield from _set(before, after, lambda key: key, "operation")
    for key in sorted(before.keys() & after.keys()):
        yield from _operation(old, before[key], new, after[key], key)


def _each(document: Document) -> Iterator[tuple[str, Document]]:
    for group in ("paths", "webhooks"):
        for path, item in document.get(group, {}).items():
            shared = item.get("parameters", [])
            for method in METHODS:
                if method in item:
                    operation = item[method]
                    parameters = [*shared, *operation.get("parameters", [])]
                    yield f"{group} {method.upper()} {path}", {**operation, "parameters": parameters}


def _operation(old: Document, before: Document, new: Document, after: Document, where: str) -> Iterator[Change]:
    sent, received = (_answer, _request) if where.startswith("webhooks") else (_request, _answer)
    if before.get("operationId") != after.get("operationId"):
        yield Change("major", where, f"operationId {before.get('operationId')!r} is now {after.get('operationId')!r}")
    if _security(old, before) != _security(new, after):
        yield Change("major", where, "security is not the same")
    yield from _parameters(old, before, new, after, where)
    yield from _bodies(old, before, new, after, where, sent)
    answers = (before["responses"], after["responses"])
    yield from _set(*answers, lambda status: f"{where} {status}", "answer")
    for status in sorted(answers[0].keys() & answers[1].keys()):
        contents = [_content(document, part[status]) for document, part in ((old, answers[0]), (new, answers[1]))]
        yield from _contents(old, contents[0], new, contents[1], f"{where} {status}", received)


def _parameters(old: Document, before: Document, new: Document, after: Document, where: str) -> Iterator[Change]:
    named = [
        {f"{where} {item['in']} {item['name']}": item for item in (resolved(document, part) for part in parts)}
        for document, parts in ((old, before["parameters"]), (new, after["parameters"]))
    ]
    for key in sorted(named[0].keys() - named[1].keys()):
        yield Change("major", key, "parameter is gone")
    for key in sorted(named[1].keys() - named[0].keys()):
        required = named[1][key].get("required", False)
        yield Change(
            "major" if required else "minor", key, f"{'required' if required else 'optional'} parameter is new"
        )
    for key in sorted(named[0].keys() & named[1].keys()):
        one, other = named[0][key], named[1][key]
        if other.get("required") and not one.get("required"):
            yield Change("major", key, "parameter is required now")
        elif one.get("required") and not other.get("required"):
            yield Change("minor", key, "parameter is optional now")
        yield from _request(old, one.get("schema", {}), new, other.get("schema", {}), key)


def _bodies(
    old: Document, before: Document, new: Document, after: Document, where: str, compare: Compare
) -> Iterator[Change]:
    one, other = resolved(old, before.get("requestBody", {})), resolved(new, after.get("requestBody", {}))
    if other.get("required") and not one.get("required"):
        yield Change("major", f"{where} request", "body is required now")
    elif one.get("required") and not other.get("required"):
        yield Change("minor", f"{where} request", "body is optional now")
    yield from _contents(old, one.get("content", {}), new, other.get("content", {}), f"{where} request", compare)


def _contents(
    old: Document, before: Document, new: Document, after: Document, where: str, compare: Compare
) -> Iterator[Change]:
    yield from _set(before, after, lambda media: f"{where} {media}", "media type")
    for media in sorted(before.keys() & after.keys()):
        yield from compare(old, before[media].get("schema", {}), new, after[media].get("schema", {}), where)


def _set(before: Iterable[str], after: Iterable[str], name: Callable[[str], str], kind: str) -> Iterator[Change]:
    for key in sorted(set(before) - set(after)):
        yield Change("major", name(key), f"{kind} is gone")
    for key in sorted(set(after) - set(before)):
        yield Change("minor", name(key), f"{kind} is new")


# --- task types: the classes of `unitask.tasks`


def _task_types(old: Document, new: Document) -> Iterator[Change]:
    before, after = ({task["name"]: task for task in document.get("x-tasks", [])} for document in (old, new))
    yield from _set(before, after, lambda name: f"task {name}", "task type")
    for name in sorted(before.keys() & after.keys()):
        one, other, where = before[name], after[name], f"task {name}"
        for key in ("model", "task_type", "family", "match", "output"):
            if one.get(key) != other.get(key):
                yield Change("major", where, f"{key} {one.get(key)!r} is now {other.get(key)!r}")
        yield from _request(old, _component(old, one["input"]), new, _component(new, other["input"]), f"{where} input")
        yield from _answer(
            old, _component(old, one["output"]), new, _component(new, other["output"]), f"{where} output"
        )


def _component(document: Document, name: str) -> Document:
    schema: Document = document["components"]["schemas"][name]
    return schema


# --- schemas


def _request(old: Document, before: Any, new: Document, after: Any, where: str) -> Iterator[Change]:
    """The caller sends it: allowed values must stay allowed."""
    one, other = inlined(old, before), inlined(new, after)
    if one == other:
        return
    sent = inlined(old, before, closed=True)
    gone = sorted(set(field_paths(one)) - set(field_paths(other)))
    if not covers(other, sent):
        yield Change("major", where, "a value that was allowed is refused", (sent, other))
    elif gone:
        yield Change("major", where, f"no longer documented: {', '.join(gone)}")
    else:
        yield Change("minor", where, "more is allowed")


def _answer(old: Document, before: Any, new: Document, after: Any, where: str) -> Iterator[Change]:
    """The caller receives it: new values must have been allowed before."""
    one, other = inlined(old, before), inlined(new, after)
    if one == other:
        return
    received = inlined(new, after, closed=True)
    gone = sorted(set(field_paths(one)) - set(field_paths(other)))
    if gone:
        yield Change("major", where, f"no longer documented: {', '.join(gone)}")
    elif not covers(one, received):
        yield Change("major", where, "a value can come that was excluded", (received, one))
    else:
        yield Change("minor", where, "fewer values can come, or more is documented")


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


def _content(document: Document, part: Document) -> Document:
    content: Document = resolved(document, part).get("content", {})
    return content


def _security(document: Document, operation: Document) -> list[Any]:
    schemes: Document = document["components"].get("securitySchemes", {})
    owner = operation if "security" in operation else document  # an empty list of its own: no key is needed
    asked: list[Document] = owner.get("security", [])
    return [
        [{key: value for key, value in schemes.get(name, {}).items() if key != "description"} for name in needed]
        for needed in asked
    ]


# --- the command


def main(arguments: list[str] | None = None) -> int:
    """Print the changes since a git ref. Exit code 1: the version was not raised enough; 2: nothing to compare with."""
    parser = argparse.ArgumentParser(prog="generator.changes", description=__doc__)
    parser.add_argument("--base", required=True, help="a git ref")
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.add_argument("--require-bump", action="store_true", help="fail if the version was not raised enough")
    options = parser.parse_args(arguments)
    try:
        old = json.loads(_at_ref(options.base, BUNDLE))
        old_version = tomllib.loads(_at_ref(options.base, "pyproject.toml"))["project"]["version"]
    except subprocess.CalledProcessError as error:
        print(f"{options.base} has no bundle to compare with: {error.stderr.strip()}", file=sys.stderr)
        return 2
    new = json.loads((ROOT / BUNDLE).read_text(encoding="utf-8"))
    new_version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    found = waived(changes(old, new), load_yaml(ROOT / "spec" / "waivers.yaml") or [])
    level = verdict(found)
    if options.json:
        print(json.dumps({"verdict": level, "changes": [_as_json(change) for change in found]}, indent=1))
    else:
        for change in found:
            example = change.example()
            shown = "" if example is None else f", for example {json.dumps(example)[:200]}"
            print(f"{change.level:<6} {change.where}: {change.what}{shown}")
        print(f"verdict: {level} (version {old_version} -> {new_version})")
    if options.require_bump and not bump_is_enough(old_version, new_version, level):
        print(f"raise version {new_version}: the contract has a {level} change since {old_version}", file=sys.stderr)
        return 1
    return 0


def _as_json(change: Change) -> dict[str, Any]:
    return {"level": change.level, "where": change.where, "what": change.what, "example": change.example()}


def _at_ref(ref: str, path: str) -> str:
    command = ["git", "show", f"{ref}:{path}"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


if __name__ == "__main__":
    sys.exit(main())
