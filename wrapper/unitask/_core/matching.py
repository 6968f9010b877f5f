"""Compare a task of the history with an uncertain submission."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import Any
from urllib.parse import parse_qs, urlsplit

from unitask_api import contract

from .._model._json import as_object
from .._model.task import Output, Task
from .._model.task_token import Fingerprint

CORRELATION_PARAMETER = "unitask"  # the query parameter of a webhook endpoint that holds the correlation id


class Match(Enum):
    SAME = "same"
    ALIKE = "alike"  # its echoed input fits
    OPEN = "open"  # its answer does not decide
    OTHER = "other"


@dataclass(slots=True, eq=False)
class Seen:
    """A task of the history, and what it is compared by."""

    task: Task[Output]
    marks: Sequence[str]  # the correlation ids in its webhook endpoint
    fields: Mapping[str, str]  # digests of the fields of its input
    fits: frozenset[str]  # fingerprints of the submissions whose whole input it shows, of others too


def compare(seen: Seen, wanted: Fingerprint) -> Match:
    task, marks = seen.task, seen.marks
    is_unique = wanted.correlation_id is not None and wanted.submission in ("", wanted.correlation_id)
    if is_unique and list(marks[-1:]) == [wanted.correlation_id]:
        return Match.SAME
    if any(_is_another_mark(mark, wanted.correlation_id) for mark in marks) and wanted.correlation_id not in marks:
        return Match.OTHER
    if is_another(task.model, wanted.model) or is_another(task.task_type, wanted.task_type):
        return Match.OTHER
    known = echoed(seen, wanted)
    return Match.ALIKE if known and all(known) else Match.OPEN


def echoed(seen: Seen, wanted: Fingerprint) -> list[bool]:
    """Return for each field of the input that the answer shows whether it is the same."""
    return [digest == wanted.fields[name] for name, digest in seen.fields.items() if name in wanted.fields]


def has_whole_input(task: Task[Output], fields: Mapping[str, str], wanted: Fingerprint) -> bool:
    is_kind = (task.model, task.task_type) == (wanted.model, wanted.task_type)
    return is_kind and bool(wanted.fields) and wanted.fields.items() <= fields.items()


def is_another(said: str, wanted: str) -> bool:
    """Whether both names are in the catalogue, and neither is a part of the other."""
    first, second = _plain_name(said), _plain_name(wanted)
    return {first, second} <= _names() and first not in second and second not in first


def _plain_name(name: str) -> str:
    return re.sub(r"[\W_]", "", name.casefold())


@cache
def _names() -> frozenset[str]:
    return frozenset(
        _plain_name(name) for entry in contract.task_types().values() for name in (entry.model, entry.task_type)
    )


def _is_another_mark(mark: str, wanted: str | None) -> bool:
    """Whether a correlation id is of another submission, and not ours cut short or hidden."""
    return mark.isalnum() and not (wanted or "").casefold().startswith(mark.casefold())


def marks_in(task: Mapping[str, Any]) -> list[str]:
    endpoint = as_object(as_object(task.get("config")).get("webhook_config")).get("endpoint")
    try:
        return parse_qs(urlsplit(endpoint).query).get(CORRELATION_PARAMETER, []) if isinstance(endpoint, str) else []
    except ValueError:
        return []


def digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
