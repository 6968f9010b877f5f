"""Every check against one provider, and what came of each."""

from __future__ import annotations

import re
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import cast

import httpx
from unitask_contract import bundle
from unitask_contract.checks import account, beside, drawn, task_types, tasks
from unitask_contract.provider import LeftOut, Provider

GENERAL = "general"
LONGEST = 600  # letters of a detail
_BROKEN = (AssertionError, BaseExceptionGroup, LookupError, TypeError, ValueError, AttributeError)
"""What a check raises when an answer is not what was promised; the last four come of reading one that is not."""


class Outcome(StrEnum):
    """What came of a check."""

    KEPT = "kept"
    BROKEN = "broken"
    LEFT_OUT = "left out"
    NOT_RUN = "could not run"


@dataclass(frozen=True, slots=True)
class Check:
    """A named check.

    Attributes:
        id: Its name.
        promise: What a provider promises.
        of_task_types: Whether it is made for every task type; else once.
    """

    id: str
    promise: str
    of_task_types: bool
    run: Callable[..., None]


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a check.

    Attributes:
        family: Of the task type; "general" for a check of the whole provider.
        subject: The class of the task type; empty for a check of the whole provider.
        detail: What was wrong, or why it was left out; empty when the promise is kept.
    """

    check: Check
    family: str
    subject: str
    outcome: Outcome
    detail: str = ""
    seconds: float = 0.0


def _check(function: Callable[..., None], *, of_task_types: bool) -> Check:
    promise = " ".join((function.__doc__ or "").split())
    return Check(function.__name__.removeprefix("check_"), promise, of_task_types, function)


OF_TASK_TYPES = tuple(_check(function, of_task_types=True) for function in task_types.CHECKS)
OF_PROVIDER = tuple(
    _check(function, of_task_types=False)
    for function in (*tasks.CHECKS, *account.CHECKS, *beside.CHECKS, *drawn.CHECKS)
)


def chosen(ids: Iterable[str] = ()) -> tuple[Check, ...]:
    """The checks with these ids; all if none is given.

    Raises:
        LookupError: There is no such check.
    """
    known = {check.id: check for check in (*OF_TASK_TYPES, *OF_PROVIDER)}
    wanted = list(ids) or list(known)
    if unknown := [name for name in wanted if name not in known]:
        raise LookupError(f"no check {', '.join(unknown)}; there are {', '.join(known)}")
    return tuple(known[name] for name in wanted)


def run(provider: Provider, families: tuple[str, ...] = (), only: tuple[Check, ...] = ()) -> Iterator[Result]:
    """Make every check, first those of the whole provider; random requests come last.

    Args:
        provider: The one under test.
        families: Only the task types of these; "general" for the checks of the whole provider. Empty: everything.
        only: Only these checks; empty: all.
    """
    only = only or chosen()
    names = task_types.task_types(families)
    of_provider = [check for check in only if not check.of_task_types and (not families or GENERAL in families)]
    yield from (made(provider, check) for check in of_provider if check.run not in drawn.CHECKS)
    for check in only:
        if check.of_task_types:
            yield from (made(provider, check, name) for name in names)
    yield from (made(provider, check) for check in of_provider if check.run in drawn.CHECKS)


def made(provider: Provider, check: Check, name: str = "") -> Result:
    """What comes of one check, for a task type or for the whole provider."""
    started = time.perf_counter()
    outcome, detail = _outcome(provider, check, name)
    family = bundle.entries()[name]["family"] if name else GENERAL
    detail = _scrubbed(detail, provider.key)[:LONGEST]
    return Result(check, family, name, outcome, detail, time.perf_counter() - started)


def _outcome(provider: Provider, check: Check, name: str) -> tuple[Outcome, str]:
    try:
        check.run(provider, *([name] if name else []))
    except LeftOut as reason:
        return Outcome.LEFT_OUT, str(reason)
    except httpx.TransportError as error:
        return Outcome.NOT_RUN, f"{type(error).__name__}: {error}"
    except _BROKEN as error:
        return Outcome.BROKEN, _told(error)
    return Outcome.KEPT, ""


def _told(raised: BaseException) -> str:
    """What was asserted and what was seen; of random requests, the first that was answered wrongly."""
    error = raised
    while isinstance(error, BaseExceptionGroup):
        error = cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
    if type(error) is not AssertionError:
        return f"{type(error).__name__}: {error}"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).parent == _CHECKS]
    line = str(frames[-1].line) if frames else ""
    return f"{line if line.startswith('assert') else ''}\n{error}".strip()


def _scrubbed(text: str, key: str) -> str:
    """A text without the key, e-mail addresses, and what an address is signed with."""
    return _SIGNATURE.sub("?...", _EMAIL.sub("(e-mail)", text.replace(key, "(the key)")))


_CHECKS = Path(tasks.__file__).parent
_EMAIL = re.compile(r"[\w.+-]+@[\w-]+\.[\w.-]+")
_SIGNATURE = re.compile(r"\?[^\s'\"<>]*=[^\s'\"<>]*")
