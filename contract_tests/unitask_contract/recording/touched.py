"""Which changes of the contract touch an app, by a recording of its traffic.

A request was sent as it was, so its values are checked against the new contract. An answer can be another one next
time, so the schema of each field that was received is compared, as in changes.py. Of a text that was removed from the
recording the length is known at most; a change that depends on the rest of it may touch the app.
"""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache, reduce
from operator import getitem
from pathlib import Path as File
from typing import Any, cast

from jsonschema_rs import Draft202012Validator, ValidationError
from unitask_contract import bundle
from unitask_contract.bundle import fields, items
from unitask_contract.causes import Cause
from unitask_contract.changes import OF_TASK, Change, answer, changes, operation, request, values
from unitask_contract.connecting import CannotRun
from unitask_contract.containment import Schema, field_paths, only
from unitask_contract.exchange import read_strictly, shortened
from unitask_contract.hiding import visible
from unitask_contract.recording.folder import CONTRACT, Recording
from unitask_contract.recording.relied_on import (
    LENGTH,
    QUERY,
    UNKNOWN,
    WEBHOOK,
    Contract,
    Part,
    Seen,
    Use,
    paths,
    removed,
    uses,
    walk,
)
from unitask_contract.runner import GENERAL, Check, Outcome, Result
from unitask_contract.schema_paths import Path, parts, pointer

SHOWN = 100  # characters of a value or a rule
GONE = "is not documented any more"
REMOVED = "sent a value that is not in the recording"
LENGTHS = ("minLength", "maxLength")
OF_CONTENT = (*LENGTHS, "enum", "const", "pattern", "format", "anyOf", "oneOf", "not", "uniqueItems")
USED = Check("used", "The recorded app uses it.", False, lambda: None)
TOUCHED = Check("touched", "No change of the contract touches the recorded app.", False, lambda: None)


@dataclass(frozen=True, slots=True)
class Touch:
    """A change that touches the app.

    Attributes:
        where: The operation or task type, and the part of it, as in changes.py.
        path: Of the field; empty for the whole.
        what: What is different.
        evidence: What the app sent or received.
        seen: How often.
        is_certain: Whether it touches the app for certain; else the recording does not show enough of the value.
    """

    where: str
    path: str
    what: str
    evidence: str
    seen: Seen
    is_certain: bool = True

    @property
    def place(self) -> str:
        return f"{self.where.removeprefix('paths ')} {self.path}".strip()

    @property
    def title(self) -> str:
        return f"{'touched' if self.is_certain else 'may be touched'}: {self.place}: {self.what}"

    def __str__(self) -> str:
        return f"{self.title}; {self.evidence} ({self.seen})"


def touches(found: Mapping[str, Use], old: Contract, new: Contract) -> list[Touch]:
    """Return the changes that touch the app; those that certainly do come first."""
    each: dict[tuple[str, str, str], Touch] = {}
    for touch in (touch for use in found.values() for touch in _of_use(use, old, new)):
        key = touch.where, touch.path, touch.what
        known = each.get(key)
        if known is None or touch.is_certain > known.is_certain:
            each[key] = replace(touch, seen=replace(touch.seen))
        elif touch.is_certain == known.is_certain:
            known.seen.count += touch.seen.count
    return sorted(each.values(), key=lambda one: (not one.is_certain, one.where, one.path))


def _of_use(use: Use, old: Contract, new: Contract) -> Iterator[Touch]:
    is_task = use.name in old.tasks
    if use.name not in (new.tasks if is_task else new.operations):
        yield Touch(use.name, "", f"{'task type' if is_task else 'operation'} is gone", "used", use.seen)
        return
    if is_task:
        changed = values(old.tasks[use.name], new.tasks[use.name], OF_TASK, use.name)
    else:
        changed = operation(old.used(use), new.used(use), use.name)
    is_shown = use.name != WEBHOOK  # a recording has no notifications
    for change in _major(changed):
        yield Touch(change.where, "", change.what, "used" if is_shown else "registered", use.seen, is_shown)
    for part in use.parts.values():
        before, after = old.rule(use.name, part), new.rule(use.name, part)
        if before != after and before is not None and after is not None:
            yield from (_sent if part.sent else _received)(old.where(use, part), part, before, after)


def _major(changed: Iterable[Change]) -> list[Change]:
    return [one for one in changed if one.level == "major"]


def _received(where: str, part: Part, before: Schema, after: Schema) -> Iterator[Touch]:
    documented, left = ({"", *field_paths(schema)} for schema in (before, after))
    reported: list[str] = []
    for path, seen in sorted(part.received.items()):
        if path in documented and not _is_below(path, reported):
            one, other = _only(before, path), _only(after, path)
            if _major(answer(one, other, where)):
                reported.append(path)
                yield Touch(where, path, _difference(one, other) if path in left else GONE, "received", seen)


def _sent(where: str, part: Part, before: Schema, after: Schema) -> Iterator[Touch]:
    schemas = before, after
    validators = [Draft202012Validator(schema, validate_formats=True) for schema in schemas]
    gone = set(field_paths(before)) - set(field_paths(after))

    @cache
    def difference(path: str) -> str:
        return _difference(_only(before, path), _only(after, path))

    @cache
    def is_break(path: str, without: tuple[str, ...]) -> bool:
        return bool(_major(request(_only(before, path, without), _only(after, path, without), where)))

    for sent, seen in part.sent.items():
        if sent == UNKNOWN:
            yield from (Touch(where, "", one.what, REMOVED, seen, False) for one in _major(request(*schemas, where)))
            continue
        value = json.loads(sent)
        hidden = {path: length for path, text in walk(value) if (length := removed(text)) is not None}
        filled = bundle.whole(json.loads(LENGTH.sub(lambda found: "x" * int(found[1]), sent)))
        are_texts = part.label == QUERY or "form" in part.media
        given = [_typed(filled, schema) if are_texts else filled for schema in schemas]
        was = {_key(error) for error in validators[0].iter_errors(given[0])}
        found = [(path, GONE, "sent", True) for path in gone.intersection(paths(value)) if not _is_below(path, gone)]
        for error in validators[1].iter_errors(given[1]):
            found += _of_error(error, given[1], hidden, difference) if _key(error) not in was else []
        for path, length in {pointer(path): length for path, length in hidden.items()}.items():
            if path not in gone and not _is_below(path, gone) and is_break(path, LENGTHS if length else ()):
                found.append((path, difference(path), REMOVED, False))
        reasons = {one[:2]: one[2:] for one in sorted(found, key=lambda one: one[3])}
        yield from (Touch(where, *key, evidence, seen, sure) for key, (evidence, sure) in reasons.items())


def _of_error(
    error: ValidationError, value: Any, hidden: Mapping[Path, int], difference: Callable[[str], str]
) -> list[tuple[str, str, str, bool]]:
    """Return path, difference, evidence and certainty of a reason to refuse a value."""
    path, keyword = tuple(error.instance_path), error.kind.name
    where = pointer(path)
    if keyword == "required":
        return [(f"{where}/{_names(error)[0]}", "is required now", "left out", True)]
    if keyword == "additionalProperties":
        return [(f"{where}/{name}", GONE, "sent", True) for name in _names(error)]
    if keyword in LENGTHS and hidden.get(path):
        return [(where, difference(where), f"sent a text of {hidden[path]} characters", True)]
    if any(place[: len(path)] == path for place in hidden):
        is_certain = keyword not in OF_CONTENT
        return [(where, difference(where), "sent" if is_certain else REMOVED, is_certain)]
    return [(where, difference(where), f"sent {shortened(json.dumps(reduce(getitem, path, value)), SHOWN)}", True)]


def _key(error: ValidationError) -> object:
    return tuple(error.instance_path), error.kind.name, _names(error)


def _names(error: ValidationError) -> tuple[str, ...]:
    """Return the fields that are missing or not allowed."""
    kind = cast("Any", error.kind)
    return (kind.property,) if kind.name == "required" else tuple(getattr(kind, "unexpected", ()))


def _typed(given: Any, rule: Schema) -> dict[str, Any]:
    """Return the fields of a query or a form with the types of their schema; on the wire they are texts."""
    rules: Mapping[str, Any] = fields(rule).get("properties", {})
    found = dict(fields(given))
    for name, value in fields(given).items():
        if isinstance(value, str) and fields(rules.get(name)).get("type") in ("integer", "number", "boolean"):
            with suppress(ValueError):
                found[name] = read_strictly(value.encode())
    return found


def _is_below(path: str, others: Iterable[str]) -> bool:
    return any(path.startswith(f"{above}/") for above in others)


def _only(schema: Schema, path: str, without: Collection[str] = ()) -> Schema:
    return only(schema, path.split("/")[1:], without)


def _difference(one: Any, other: Any, keyword: str = "the schema") -> str:
    """Return the first keyword of two schemas that differs, with both values."""
    if _has_schemas(one) and _has_schemas(other):
        before, after = dict(parts(one)), dict(parts(other))
        for step in (*before, *after):
            if before.get(step) != after.get(step):
                name = step if isinstance(step, str) else keyword
                return _difference(before.get(step), after.get(step), name)
    was, now = ("absent" if part is None else shortened(json.dumps(part), SHOWN) for part in (one, other))
    return f"{keyword} was {was}, is {now}"


def _has_schemas(value: Any) -> bool:
    return isinstance(value, dict) or any(isinstance(part, dict) for part in items(value))


# The result.


@dataclass(frozen=True, slots=True)
class Comparison:
    """What an app relies on, and which changes touch that."""

    title: str
    uses: Mapping[str, Use]
    touched: list[Touch]
    others: list[Change]
    unknown: int  # exchanges of no operation of the contract

    @property
    def results(self) -> list[Result]:
        """What the app relies on, by operations and task types, and a broken check for each change that touches it."""
        found = [
            Result(USED, use.family, name.removeprefix("paths "), Outcome.KEPT, str(use))
            for name, use in self.uses.items()
        ]
        for one in self.touched:
            evidence = f"{one.evidence} ({one.seen})"
            found.append(Result(TOUCHED, GENERAL, one.place, Outcome.BROKEN, evidence, cause=Cause(one.title)))
        return found if self.touched else [*found, Result(TOUCHED, GENERAL, "", Outcome.KEPT)]

    @property
    def verdict(self) -> str:
        """The result in a line."""
        word = "not touched" if not self.touched else "touched" if self.touched[0].is_certain else "perhaps touched"
        certain = sum(one.is_certain for one in self.touched)
        return f"this app is {word} (changes: {certain} certain, {len(self.touched) - certain} possible)"

    @property
    def text(self) -> str:
        """The result for a terminal."""
        tasks = sum(name.startswith("task ") for name in self.uses)
        statuses = sorted({one.label for use in self.uses.values() for one in use.parts.values() if one.is_answer})
        lines = [
            f"{self.title}\nthis app uses: operations {len(self.uses) - tasks}, task types {tasks}, HTTP"
            f" {', '.join(statuses)}; each field of an answer counts, since a recording does not show which are read",
            *map(str, self.touched),
            *([f"exchanges that are not of the contract, and not compared: {self.unknown}"] if self.unknown else []),
            f"changes that do not touch this app: {len(self.others)}",
            self.verdict,
        ]
        return visible("\n\n".join(lines))


def compare(folder: File, spec: File | None = None) -> Comparison:
    """Compare the contract by which a recording was made with another one, for the app that was recorded.

    Args:
        folder: The recording.
        spec: The other contract, an openapi.json of unitask; None for the installed one.

    Raises:
        CannotRun: The recording or the other contract cannot be read.
    """
    recording = Recording.open(folder)
    try:
        old = Contract(recording.contract())
    except (OSError, EOFError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise CannotRun(f"{folder / CONTRACT} cannot be read ({error}); record the app again") from None
    try:
        new = Contract(bundle.document() if spec is None else json.loads(spec.read_bytes()))
    except OSError as error:
        raise CannotRun(f"--spec {spec} cannot be read ({error.strerror})") from None
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise CannotRun(
            f"--spec {spec} is not a contract with x-tasks ({error!r}); give unitask_api/openapi.json of a wheel, or"
            " generated/unitask_api/openapi.json of a checkout (docs/openapi.json has no x-tasks)"
        ) from None
    found = uses(recording.exchanges(), old)
    if not found:
        raise CannotRun(f"{folder} has no exchange of an operation of the contract; record the app first")
    touched = touches(found, old, new)
    where = {name for one in touched for name in (one.where, f"{one.where} {one.path[1:]}")}
    others = [one for one in changes(old.document, new.document) if one.level != "patch" and one.where not in where]
    versions = [one.document["info"]["version"] for one in (old, new)]
    unknown = sum(one.operation not in old.ids for one in recording.exchanges())
    return Comparison(f"{folder}, contract {versions[0]} to {versions[1]}", found, touched, others, unknown)
