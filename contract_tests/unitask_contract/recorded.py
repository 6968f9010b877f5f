"""Recorded bodies: which operation each one answers, and whether it fits the contract.

The operation is guessed only where it is unambiguous. A file that cannot be read or checked does not keep the others
from being checked, and how much is read of a file is limited.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from unitask_contract import bundle
from unitask_contract.bundle import fields
from unitask_contract.connecting import CannotRun
from unitask_contract.exchange import DEEPEST, Exchange, depth_and_size, read_strictly, shortened
from unitask_contract.patches.proposals import Confirmed, Difference, differences
from unitask_contract.recording.folder import ABOUT, Recording
from unitask_contract.recording.learned import HEAD, learned
from unitask_contract.report import FileResult, Report
from unitask_contract.schema_paths import type_of

GET, CREATE, CHAT = "get_task", "create_task", "create_chat_completion"
TASK_WEBHOOK, ACCOUNT_WEBHOOK = "receive_task", "receive_account_notification"
UNIFIED_FIELDS = frozenset({"model", "config", "output", "meta"})  # of a task; legacy tasks do not have them
SHOWN = 30  # characters of what a file says
LARGEST = 20_000_000  # bytes of a file
MOST_VALUES = 100_000  # in a body
BARE = 'read as the "data" of an answer: it is a task without the envelope {"code", "data", "message"} around it'


class Unread(Exception):
    """A file that cannot be checked; the message says why, and what to do."""


def report_of(paths: Sequence[Path], operation: str | None) -> Report:
    """Check the bodies in files, which answer an operation, or are notifications; None: it is guessed for each."""
    if operation and operation not in bundle.operations():
        known = ", ".join(sorted(bundle.operations()))
        raise CannotRun(f"--operation {operation}: the contract has no such operation; choose from {known}")
    bodies: list[tuple[str, Any]] = []
    files: dict[str, FileResult] = {}
    for path in paths:
        try:
            name, body, note = _read(path, operation)
            files[str(path)] = FileResult(_differences([(name, body)]), note)
            bodies.append((name, body))
        except Unread as reason:
            files[str(path)] = FileResult(unread=str(reason))
        except Exception as error:  # the other files are checked all the same
            said = f"{type(error).__name__}: {error}"
            files[str(path)] = FileResult(unread=f"a bug of unitask, not of the body: {said}")
    subject = f"{len(paths)} recorded {'body' if len(paths) == 1 else 'bodies'}"
    return Report(subject, None, differences=_differences(bodies), files=files)


def of_recording(folder: Path) -> tuple[Report, Confirmed]:
    """Check a recording; return the facts that it confirms, too."""
    found = learned(Recording.open(folder))
    unread = "" if found.exchanges else "it has no exchanges"
    rows = [list(HEAD), *found.rows]
    return Report(
        found.subject,
        None,
        differences=[replace(one, file=(folder / one.file).as_posix()) for one in found.differences],
        files={str(folder): FileResult(note="\n".join(found.notes), unread=unread)},
        rows=rows,
    ), found.confirmed


def _differences(bodies: Sequence[tuple[str, Any]]) -> list[Difference]:
    exchanges = [
        Exchange(*bundle.routes()[operation], b"", _refused(operation, body) or 200, json.dumps(body).encode())
        for operation, body in bodies
        if operation in bundle.routes()
    ]
    return differences(exchanges, [one for one in bodies if one[0] not in bundle.routes()])


def _read(path: Path, operation: str | None) -> tuple[str, Any, str]:
    """Return the operation of the body in a file, the body, and a note on how it was read."""
    try:
        body = _json(_content(path))
    except OSError as error:
        raise Unread(str(error.strerror)) from None
    named = fields(body)
    if operation in (None, GET, CREATE) and "data" not in named and "code" not in named and _is_task(named):
        return operation or GET, {"code": 200, "data": body, "message": "success"}, BARE
    return operation or _guessed(body), body, ""


def _content(path: Path) -> bytes:
    if path.is_dir():
        raise Unread(f"it is a folder without {ABOUT}, so no recording; give the files in it")
    if path.exists() and not path.is_file():  # reading would block
        raise Unread("it is a pipe or a device; write the body to a file first")
    if (size := path.stat().st_size) > LARGEST:
        raise Unread(f"it has {size:,} bytes; at most {LARGEST:,} are read")
    return path.read_bytes()


def _json(content: bytes) -> Any:
    try:
        body = read_strictly(content)
    except ValueError as error:
        start = shortened(content.decode(errors="replace").strip(), SHOWN)
        raise Unread(f"it is not one JSON value ({error}); it begins with {start!r}") from None
    except RecursionError:
        raise Unread(f"it is nested too deep: at most {DEEPEST} levels are read") from None
    if (size := depth_and_size(body)[1]) > MOST_VALUES:
        raise Unread(f"it holds {size:,} values; at most {MOST_VALUES:,} are checked")
    return body


def _guessed(body: Any) -> str:
    if type_of(body) != "object":
        raise Unread(f"it is JSON of type {type_of(body)}; each answer of the API is an object")
    named, data = fields(body), fields(fields(body).get("data"))
    if {"model", "input"} <= named.keys() and "data" not in named:
        raise Unread("it is a request; only answers and notifications can be checked")
    if {"timestamp", "data"} <= named.keys():
        return TASK_WEBHOOK
    if "type" in named and {"time", "message", "detail"} & named.keys() and not {"data", "code"} & named.keys():
        return ACCOUNT_WEBHOOK
    if _is_task(data) or (_refused(GET, body) and "message" in named):
        return GET
    if "message" in fields(named.get("error")) and "data" not in named:
        return CHAT
    if {"operation", "request", "response"} <= named.keys():
        raise Unread(f"it is a part of a recording; give the folder that has {ABOUT}")
    raise Unread("its operation is ambiguous; name it with --operation, such as get_account_info")


def _is_task(data: dict[str, Any]) -> bool:
    """Return whether an object is a task of the unified protocol; legacy tasks resemble each other."""
    if "task_id" not in data:
        return False
    known: dict[str, Any] = bundle.component("Task")["properties"]
    return bool(UNIFIED_FIELDS & data.keys()) or ("status" in data and data.keys() <= known.keys())


def _refused(operation: str, body: Any) -> int | None:
    """Return the status of a refusal, by its body; None for any other body."""
    if bundle.components_of(operation).get("default") == "LlmError":
        return 400 if "error" in fields(body) else None
    code: Any = fields(body).get("code")
    return code if isinstance(code, int) and 400 <= code < 600 else None
