"""What all commands share: the task that words describe, and how results and reports are written."""

import contextlib
import dataclasses
import difflib
import io
import json
import os
import re
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, TextIO

from unitask_api import contract
from unitask_api.json_types import is_list, printable

from . import errors, tasks


def kebab(name: str) -> str:
    """Return the name of a class or a field as it is written on the command line: face-swap, flux-dev-txt2img."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[0-9])(?<![tgo]2)(?=[A-Z][a-z])", "-", name).replace("_", "-").lower()


def find_task_type(name: str) -> contract.TaskType | None:
    """Return the entry of a task type in the catalogue: FaceSwap, face-swap and faceswap are the same."""
    return _task_types().get(_plain(name))


def task_type(name: str) -> contract.TaskType:
    """Return the entry of a task type in the catalogue; raise InvalidInput if there is none of this name."""
    entry = find_task_type(name)
    if entry is None:
        near = difflib.get_close_matches(_plain(name), _task_types(), n=1)
        hint = f"did you mean {kebab(_task_types()[near[0]].name)}? " if near else ""
        raise errors.InvalidInput(f"there is no task type {name!r:.80}: {hint}`unitask tasks` lists them")
    return entry


@cache
def _task_types() -> dict[str, contract.TaskType]:
    return {_plain(name): entry for name, entry in contract.task_types().items()}


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def task_of(name: str, words: Sequence[str]) -> Any:
    """Return the task that FIELD=VALUE and FIELD:=JSON describe.

    A text is taken as it is; for a list, FIELD=ITEM is repeated; everything else is JSON, such as 6 or true.
    """
    entry = task_type(name)
    kind = getattr(tasks, entry.name)
    known = {field.name: field for field in dataclasses.fields(kind) if field.name != "extra"}
    values: dict[str, Any] = {}
    problems: list[str] = []
    for word in words:
        field, _, text = word.partition("=")
        is_json, field = field.endswith(":"), field.removesuffix(":")
        if "=" not in word or field not in known:
            wrong = f"{word!r:.80}: " + (f"{name} has no such field" if "=" in word else "this is not FIELD=VALUE")
            problems.append(f"{wrong}; the fields of {name} are {', '.join(known)}")
            continue
        try:
            _add(values, field, text, {} if is_json else contract.field_rule(entry.input, field), is_json=is_json)
        except ValueError as error:
            problems.append(f"{field} is {text!r:.80}: {error}")
    missing = [field for field, rule in known.items() if rule.default is dataclasses.MISSING and field not in values]
    problems += (f"{name} needs {field}=..." for field in missing)
    if problems:
        raise errors.InvalidInput(*problems)
    return kind(**values)


def _add(values: dict[str, Any], field: str, text: str, rule: dict[str, Any], *, is_json: bool) -> None:
    """Add the value that a text stands for. For a list, each text is an item."""
    types, before = set(_types(rule)), values.get(field, [])
    is_item = "array" in types and "string" not in types and not text.lstrip().startswith("[")
    if field in values and not (is_item and is_list(before)):
        raise ValueError("the field is given twice")
    if is_item:
        types = set(_types(contract.resolve(rule).get("items", {})))
    value: Any = text
    if is_json or (types and "string" not in types):
        try:
            value = json.loads(text, parse_constant=_refuse)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"JSON is expected, such as 6 or true ({error!s:.200})") from None
    values[field] = [*before, value] if is_item else value


def _refuse(word: str) -> Any:
    raise ValueError(f"{word} is not JSON")


def _types(rule: dict[str, Any]) -> Iterator[str]:
    """Yield the JSON types that a rule allows."""
    resolved = contract.resolve(rule)
    named = resolved.get("type", ())
    yield from [named] if isinstance(named, str) else named
    for branch in resolved.get("anyOf", ()):
        yield from _types(branch)


def dollars(usd: float | None) -> str | None:
    """Return an amount of money as text, however small; None for one that is not known."""
    return None if usd is None else f"${usd:.7f}".rstrip("0").rstrip(".")


def take_every_character() -> None:
    """Make stdout and stderr escape what their encoding lacks."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def put(*lines: str) -> None:
    """Write results to stdout; raise BrokenPipeError if it is closed, UnitaskError if it cannot be written."""
    if sys.stdout is None:  # it was closed before the process began
        return
    try:
        sys.stdout.write("".join(f"{line}\n" for line in lines))
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        give_up(sys.stdout)
        raise errors.UnitaskError(f"stdout cannot be written: {error.strerror or error}") from None


def say(*lines: str) -> None:
    """Report on stderr. A closed stderr is ignored."""
    if sys.stderr is None:
        return
    try:
        sys.stderr.writelines(f"{printable(line)}\n" for line in lines)
        sys.stderr.flush()
    except OSError:
        give_up(sys.stderr)


def give_up(stream: TextIO) -> None:
    """Send what is left in a stream to nowhere: it would raise again at exit."""
    with contextlib.suppress(OSError):  # io.UnsupportedOperation: the stream is not a file
        place, nowhere = stream.fileno(), os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, place)
        os.close(nowhere)
