"""Recorded bodies: what each of them answers, and whether it fits.

Rules of this file: what a body answers is guessed only where nothing else can be meant; a file that cannot be read or
checked keeps no other from being checked; how much of a file is read is bounded, and nothing is waited for.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unitask_contract import bundle
from unitask_contract.bundle import fields, items
from unitask_contract.connecting import CannotRun
from unitask_contract.exchange import DEEPEST, Exchange, depth_and_size, shortened, strictly
from unitask_contract.patches.contradictions import findings, schema_of
from unitask_contract.patches.proposals import Difference, differences, proposal
from unitask_contract.reports.report import Report
from unitask_contract.schema_paths import type_of

LOOK, CREATE, CHAT = "get_task", "create_task", "create_chat_completion"
NOTIFIED, NOTIFIED_OF_ACCOUNT = "receive_task", "receive_account_notification"
OF_TODAY = frozenset({"model", "config", "output", "meta"})  # what tasks of the API before have not
MOST = 3  # operations that are suggested
SHOWN = 80  # letters of what a file says
LARGEST = 20_000_000  # bytes of a file
MOST_VALUES = 100_000  # in a body
BARE = 'read as the "data" of an answer: it is a task without the envelope {"code", "data", "message"} around it'
# How a file begins that is no JSON, what that is, and what to do.
_FORMS = (
    (b"HTTP/", "it begins with the headers of an answer, as `curl -i` prints them; keep the body alone"),
    (b"<", "it is a page (HTML or XML) and no JSON: did a proxy answer in place of the provider?"),
    (b"data:", "it is a stream of server-sent events; only answers that are JSON can be checked"),
    (b"event:", "it is a stream of server-sent events; only answers that are JSON can be checked"),
)


class Unread(Exception):
    """A file that cannot be held to the contract; the message says why, and what to do."""


def report_of(paths: Sequence[Path], operation: str | None) -> Report:
    """What the bodies in files differ in.

    Args:
        paths: The files, a body each.
        operation: What they answer, or the notification that they are; None: it is guessed for each.

    Raises:
        CannotRun: There is no such operation.
    """
    if operation and operation not in bundle.operations():
        known = ", ".join(sorted(bundle.operations()))
        raise CannotRun(f"--operation {operation}: the contract has no operation of this name; there are {known}")
    exchanges: list[Exchange] = []
    notifications: list[tuple[str, Any]] = []
    files: dict[str, list[Difference]] = {}
    unread: dict[str, str] = {}
    notes: dict[str, str] = {}
    for path in paths:
        try:
            name, body, note = _read(path, operation)
            exchange = [_exchange(name, body)] if name in bundle.routes() else []
            told = [] if exchange else [(name, body)]
            files[str(path)] = differences(exchange, told)
            exchanges += exchange
            notifications += told
        except Unread as reason:
            unread[str(path)] = str(reason)
        except Exception as error:  # whatever it is, the other files have a result
            unread[str(path)] = f"a fault of unitask, which says nothing of the body: {type(error).__name__}: {error}"
        else:
            notes |= {str(path): note} if note else {}
    found = differences(exchanges, notifications)
    what = f"{len(paths)} recorded {'body' if len(paths) == 1 else 'bodies'}"
    patch = ""
    try:
        patch = proposal(found)
    except Exception as error:  # whatever it is, the files have their results
        notes["no change of the spec is proposed"] = f"a fault of unitask: {type(error).__name__}: {error}"
    return Report(what, None, differences=found, patch=patch, files=files, unread=unread, notes=notes)


def _read(path: Path, operation: str | None) -> tuple[str, Any, str]:
    """What the body in a file answers, the body, and how it was read if that needs a word.

    One of spec/examples says itself what it answers, and has the body as its value.
    """
    try:
        body = _json(_content(path))
    except OSError as error:
        raise Unread(str(error.strerror)) from None
    example = fields(body)
    if {"x-operation", "value"} <= example.keys():
        named = operation or str(example["x-operation"])
        if named not in bundle.operations():
            raise Unread(f"its x-operation {shortened(named, SHOWN)!r} is no operation of the contract")
        return named, example["value"], ""
    if operation in (None, LOOK, CREATE) and "data" not in example and "code" not in example and _is_task(example):
        return operation or LOOK, {"code": 200, "data": body, "message": "success"}, BARE
    return operation or _guessed(body), body, ""


def _content(path: Path) -> bytes:
    """The bytes of a file, of which there may be so many; a pipe or a device is not waited for."""
    file = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    try:
        kind = os.fstat(file)
        if stat.S_ISDIR(kind.st_mode):
            raise Unread("it is a folder; give the files in it")
        if not stat.S_ISREG(kind.st_mode):
            raise Unread("it is a pipe or a device and no file; write the body to a file first")
        if kind.st_size > LARGEST:
            raise Unread(f"it has {kind.st_size:,} bytes; at most {LARGEST:,} are read")
        with os.fdopen(file, "rb", closefd=False) as content:
            return content.read(LARGEST)
    finally:
        os.close(file)


def _json(content: bytes) -> Any:
    start = content.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not start:
        raise Unread("it is empty")
    if said := next((words for begins, words in _FORMS if start.startswith(begins)), None):
        raise Unread(said)
    try:
        body = strictly(content)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data":
            raise Unread("it holds several JSON values; give each a file of its own") from None
        raise Unread(f"it is no JSON ({error})") from None
    except ValueError as error:
        raise Unread(f"it is no JSON ({str(error).partition(';')[0]})") from None
    except RecursionError:
        raise Unread(f"it is nested too deep to be read: at most {DEEPEST} levels are") from None
    if (size := depth_and_size(body)[1]) > MOST_VALUES:
        raise Unread(f"it holds {size:,} values; at most {MOST_VALUES:,} are checked")
    return body


def _guessed(body: Any) -> str:
    if type_of(body) != "object":
        raise Unread(f"it is JSON of type {type_of(body)}; each answer of the API is an object")
    named, data = fields(body), fields(fields(body).get("data"))
    if items(fields(named.get("log")).get("entries")):
        raise Unread("it is a HAR export; give the body of each answer a file of its own")
    if {"model", "input"} <= named.keys() and "data" not in named:
        raise Unread("it is a request; only answers and notifications can be checked")
    if {"timestamp", "data"} <= named.keys():
        return NOTIFIED
    if "type" in named and {"time", "message", "detail"} & named.keys() and not {"data", "code"} & named.keys():
        return NOTIFIED_OF_ACCOUNT
    if _is_task(data) or (_refused(LOOK, body) and "message" in named):
        return LOOK
    if "message" in fields(named.get("error")) and "data" not in named:
        return CHAT
    told = ", ".join([name for name in bundle.routes() if _fits(name, body)][:MOST]) or "get_account_info"
    raise Unread(f"what it answers cannot be told from it; say it with --operation, such as {told}")


def _is_task(data: dict[str, Any]) -> bool:
    """Whether it is a task of today's API: those before it have answers that are much alike."""
    if "task_id" not in data:
        return False
    known: dict[str, Any] = bundle.component("Task")["properties"]
    return bool(OF_TODAY & data.keys()) or ("status" in data and data.keys() <= known.keys())


def _refused(operation: str, body: Any) -> int | None:
    """The status of a refusal, as its body says it; None if it is none."""
    if bundle.components_of(operation).get("default") == "LlmError":
        return 400 if "error" in fields(body) else None
    code: Any = fields(body).get("code")
    return code if isinstance(code, int) and 400 <= code < 600 else None


def _fits(operation: str, body: Any) -> bool:
    """Whether an operation can answer so, with no field that it does not name."""
    component, schemas = bundle.components_of(operation).get("200"), bundle.schemas()
    return component is not None and not findings(body, schema_of(component, body, schemas), schemas)


def _exchange(operation: str, body: Any) -> Exchange:
    method, place = bundle.route_of(operation)
    return Exchange(method, place, b"", _refused(operation, body) or 200, json.dumps(body).encode())
