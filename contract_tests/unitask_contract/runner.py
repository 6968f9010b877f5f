"""Every check against one provider, and what came of each."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, cast

import httpx
from hypothesis.errors import Flaky
from unitask_contract import bundle
from unitask_contract.bundle import fields
from unitask_contract.checks import account, fuzz, task_types, tasks, uploads_llm
from unitask_contract.exchange import Exchange, shortened
from unitask_contract.hiding import scrubbed
from unitask_contract.provider import LeftOut, Limited, Provider

GENERAL = "general"
LONGEST = 1200  # letters of a detail
ANSWERED = 300  # letters of an answer in it
FORGOTTEN = 3  # created tasks that a provider does not know, from which on that is taken for the cause
ASSERTED = "assert "
_BROKEN = (AssertionError, LookupError, TypeError, ValueError, AttributeError)
"""What a check raises when an answer is not what was promised; the last four come of reading one that is not."""
_UNUSABLE = (httpx.UnsupportedProtocol, httpx.InvalidURL, httpx.DecodingError, httpx.TooManyRedirects)
"""What httpx raises for an answer that cannot be decoded, and for an address in one that is none."""
_NO_ANSWER = (httpx.TransportError, OSError, Limited)  # what the checks that draw raise is an OSError


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
    for function in (*tasks.CHECKS, *account.CHECKS, *uploads_llm.CHECKS, *fuzz.CHECKS)
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
    yield from (made(provider, check) for check in of_provider if check.run not in fuzz.CHECKS)
    for check in only:
        if check.of_task_types:
            yield from (made(provider, check, name) for name in names)
    yield from (made(provider, check) for check in of_provider if check.run in fuzz.CHECKS)


def made(provider: Provider, check: Check, name: str = "") -> Result:
    """What comes of one check, for a task type or for the whole provider."""
    started, before = time.perf_counter(), len(provider.exchanges)
    outcome, detail = _outcome(provider, check, name)
    if outcome is Outcome.BROKEN and not detail.startswith(ASSERTED):
        detail += _last_answer(provider.exchanges[before:], provider.key)
    family = bundle.entries()[name]["family"] if name else GENERAL
    detail = shortened(scrubbed(detail, provider.key), LONGEST)
    return Result(check, family, name, outcome, detail, time.perf_counter() - started)


def _outcome(provider: Provider, check: Check, name: str) -> tuple[Outcome, str]:
    try:
        check.run(provider, *([name] if name else []))
    except LeftOut as reason:
        return Outcome.LEFT_OUT, str(reason)
    except (Exception, BaseExceptionGroup) as raised:
        return _failure(_first(raised))
    return Outcome.KEPT, ""


def _first(raised: BaseException) -> BaseException:
    """Of random requests, what came of the first that was answered wrongly."""
    while isinstance(raised, BaseExceptionGroup):
        raised = cast("BaseExceptionGroup[BaseException]", raised).exceptions[0]
    return raised


def _failure(error: BaseException) -> tuple[Outcome, str]:
    if isinstance(error, _UNUSABLE):
        return Outcome.BROKEN, _asked(error)
    if isinstance(error, _NO_ANSWER):
        return Outcome.NOT_RUN, _asked(error)
    if isinstance(error, Flaky):
        return Outcome.NOT_RUN, "the same requests were answered otherwise the second time, so nothing can be said"
    if isinstance(error, _BROKEN):
        return Outcome.BROKEN, _told(error)
    return Outcome.NOT_RUN, f"a fault of unitask, which says nothing of the provider: {_told(error)}"


def _asked(error: BaseException) -> str:
    """What was raised, and for which request."""
    try:
        request: Any = getattr(error, "request", None)
    except RuntimeError:  # httpx knows of none
        request = None
    asked = f" ({request.method} {request.url})" if request is not None else ""
    return f"{type(error).__name__}: {error}{asked}"


def _told(error: BaseException) -> str:
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _CHECKS in Path(frame.filename).parents]
    line = str(frames[-1].line) if frames else ""
    if type(error) is AssertionError:
        return f"{line if line.startswith(ASSERTED) else ''}\n{error}".strip()
    return f"{'' if isinstance(error, AssertionError) else line}\n{type(error).__name__}: {error}".strip()


def _last_answer(exchanges: Sequence[Exchange], key: str) -> str:
    """The last answer, since it mostly is the one that could not be read."""
    if not exchanges:
        return ""
    last = exchanges[-1]
    text = shortened(scrubbed(last.content.decode(errors="replace"), key), ANSWERED) or "an empty body"
    kind = f", {last.content_type}" if last.content_type else ""
    return f"\nthe last answer, to {last.method} {last.path}: HTTP {last.status}{kind}: {text}"


def common_cause(exchanges: Iterable[Exchange]) -> str:
    """What would explain everything that is broken; empty when nothing is known that would."""
    created: set[str] = set()
    asked: set[str] = set()
    for exchange in exchanges:
        shown = fields(fields(exchange.answer).get("data")).get("task_id")
        if exchange.operation == "create_task" and exchange.status == 200 and isinstance(shown, str):
            created.add(shown)
        elif exchange.operation == "get_task" and (wanted := exchange.path.rpartition("/")[2]) in created:
            asked.add(wanted)
            if shown == wanted:
                return ""
    if len(asked) < FORGOTTEN:
        return ""
    return (
        f"one cause explains what is broken: {len(asked)} tasks were created, and GET knows none of them afterwards."
        " A provider that keeps no tasks, such as a mock server that makes answers up, cannot keep the contract;"
        " no change of the spec is proposed from what it answers"
    )


_CHECKS = Path(__file__).with_name("checks")
