"""Run the checks against one provider."""

import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import httpx
from hypothesis.errors import Flaky
from unitask_contract import bundle
from unitask_contract.bundle import fields
from unitask_contract.checks import account, fuzz, task_types, tasks
from unitask_contract.exchange import Exchange, shortened
from unitask_contract.hiding import scrubbed
from unitask_contract.provider import LeftOut, Limited, Provider

GENERAL = "general"
LONGEST_DETAIL = 1200  # characters
ANSWERED = 300  # characters of an answer in a detail
MOST_FORGOTTEN = 2  # tasks that GET does not find after they were created; more have one cause
ASSERTED = "assert "
_CHECKS = Path(__file__).with_name("checks")
# What a check raises when an answer breaks the promise; the last four come from reading an unexpected answer.
_BROKEN = (AssertionError, LookupError, TypeError, ValueError, AttributeError)
# What httpx raises for an answer that cannot be decoded, and for an invalid address in an answer.
_UNUSABLE = (httpx.UnsupportedProtocol, httpx.InvalidURL, httpx.DecodingError, httpx.TooManyRedirects)
_NO_ANSWER = (httpx.TransportError, OSError, Limited)  # requests' exceptions, which schemathesis raises, are OSErrors


class Outcome(StrEnum):
    """The outcome of a check."""

    KEPT = "kept"
    BROKEN = "broken"
    LEFT_OUT = "left out"
    NOT_RUN = "could not run"


@dataclass(frozen=True, slots=True)
class Check:
    """A named check."""

    id: str
    promise: str  # of a provider
    of_task_types: bool  # it is made for every task type; else once
    run: Callable[..., None]


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a check."""

    check: Check
    family: str  # of the task type; "general" for a check of the whole provider
    subject: str  # the class of the task type; empty for a check of the whole provider
    outcome: Outcome
    detail: str = ""  # what was wrong, or why the check was left out
    seconds: float = 0.0


def _checks_of(module: ModuleType, *, of_task_types: bool = False) -> tuple[Check, ...]:
    functions = {name: function for name, function in vars(module).items() if name.startswith("check_")}
    return tuple(
        Check(name.removeprefix("check_"), " ".join(function.__doc__.split()), of_task_types, function)
        for name, function in functions.items()
    )


OF_TASK_TYPES = _checks_of(task_types, of_task_types=True)
OF_PROVIDER = (*_checks_of(tasks), *_checks_of(account), *_checks_of(fuzz))
_ALL = {check.id: check for check in (*_checks_of(tasks), *_checks_of(account), *OF_TASK_TYPES, *_checks_of(fuzz))}


def chosen(ids: Iterable[str] = ()) -> tuple[Check, ...]:
    """Return the checks with these ids, in the order of a run, or all; raise LookupError for an unknown id."""
    wanted = set(ids) or _ALL.keys()
    if unknown := wanted - _ALL.keys():
        raise LookupError(f"no check {', '.join(sorted(unknown))}; there are {', '.join(_ALL)}")
    return tuple(check for name, check in _ALL.items() if name in wanted)


def run(provider: Provider, families: tuple[str, ...] = (), only: tuple[Check, ...] = ()) -> Iterator[Result]:
    """Run these checks, or all, of these families, or of all."""
    for check in only or chosen():
        if check.of_task_types:
            yield from (made(provider, check, name) for name in task_types.task_types(families))
        elif not families or GENERAL in families:
            yield made(provider, check)


def made(provider: Provider, check: Check, name: str = "") -> Result:
    """Run one check, for a task type or for the whole provider."""
    started, before = time.perf_counter(), len(provider.exchanges)
    outcome, detail = _outcome(provider, check, name)
    if outcome is Outcome.BROKEN and not detail.startswith(ASSERTED):
        detail += _last_answer(provider.exchanges[before:], provider.key)
    family = bundle.entries()[name]["family"] if name else GENERAL
    detail = shortened(scrubbed(detail, provider.key), LONGEST_DETAIL)
    return Result(check, family, name, outcome, detail, time.perf_counter() - started)


def _outcome(provider: Provider, check: Check, name: str) -> tuple[Outcome, str]:
    try:
        check.run(provider, *([name] if name else []))
    except LeftOut as reason:
        return Outcome.LEFT_OUT, str(reason)
    except (Exception, BaseExceptionGroup) as error:
        return _failure(error)
    return Outcome.KEPT, ""


def _failure(error: BaseException) -> tuple[Outcome, str]:
    if isinstance(error, BaseExceptionGroup):  # of generated requests
        return _failure(cast("BaseExceptionGroup[BaseException]", error).exceptions[0])
    if isinstance(error, _UNUSABLE):
        return Outcome.BROKEN, _with_request(error)
    if isinstance(error, _NO_ANSWER):
        return Outcome.NOT_RUN, _with_request(error)
    if isinstance(error, Flaky):
        return Outcome.NOT_RUN, "the same requests had other answers the second time, so the result is unknown"
    if isinstance(error, _BROKEN):
        return Outcome.BROKEN, _with_line(error)
    return Outcome.NOT_RUN, f"a bug of unitask, not of the provider: {_with_line(error)}"


def _with_request(error: BaseException) -> str:
    try:
        request: Any = getattr(error, "request", None)
    except RuntimeError:  # httpx has none
        request = None
    return f"{type(error).__name__}: {error}{f' ({request.method} {request.url})' if request is not None else ''}"


def _with_line(error: BaseException) -> str:
    """Return the line of the check that failed, and the error."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _CHECKS in Path(frame.filename).parents]
    line = str(frames[-1].line) if frames else ""
    if type(error) is AssertionError:
        return f"{line if line.startswith(ASSERTED) else ''}\n{error}".strip()
    return f"{'' if isinstance(error, AssertionError) else line}\n{type(error).__name__}: {error}".strip()


def _last_answer(exchanges: Sequence[Exchange], key: str) -> str:
    """Return the last answer, which usually is the one that could not be read."""
    if not exchanges:
        return ""
    last = exchanges[-1]
    text = shortened(scrubbed(last.content.decode(errors="replace"), key), ANSWERED) or "an empty body"
    kind = f", {last.content_type}" if last.content_type else ""
    return f"\nthe last answer, to {last.method} {last.path}: HTTP {last.status}{kind}: {text}"


def common_cause(exchanges: Iterable[Exchange]) -> str:
    """Return what would explain everything that is broken: the provider keeps no tasks. Empty when it keeps them."""
    created: set[str] = set()
    forgotten: set[str] = set()
    for exchange in exchanges:
        shown = fields(fields(exchange.answer).get("data")).get("task_id")
        if exchange.operation == "create_task" and exchange.status == 200 and isinstance(shown, str):
            created.add(shown)
        elif exchange.operation == "get_task" and (wanted := exchange.path.rpartition("/")[2]) in created:
            forgotten.add(wanted)
            if shown == wanted:
                return ""
    if len(forgotten) <= MOST_FORGOTTEN:
        return ""
    return (
        f"one cause explains what is broken: {len(forgotten)} tasks were created, and GET finds none of them."
        " A provider that keeps no tasks, such as a mock server that invents answers, cannot keep the contract."
        " No change of the spec is proposed from its answers"
    )
