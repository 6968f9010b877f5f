"""Run the checks against one provider."""

import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import httpx
from hypothesis.errors import Flaky
from unitask_contract import bundle, causes
from unitask_contract.causes import Broken, Cause
from unitask_contract.checks import account, fuzz, task_types, tasks
from unitask_contract.exchange import Exchange, shortened
from unitask_contract.hiding import scrubbed
from unitask_contract.provider import LeftOut, Limited, Provider

GENERAL = "general"
LONGEST_DETAIL = 1200  # characters
ANSWERED = 300  # characters of an answer in a detail
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
    cause: Cause | None = None  # of a check that is broken or could not run
    operation: str = ""  # of the last request


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
    outcome, detail, cause = _outcome(provider, check, name)
    sent = provider.exchanges[before:]
    if outcome is Outcome.BROKEN and not detail.startswith(ASSERTED) and "HTTP " not in detail:
        detail += _last_answer(sent, provider.key)
    family = bundle.entries()[name]["family"] if name else GENERAL
    detail = shortened(scrubbed(detail, provider.key), LONGEST_DETAIL)
    operation = sent[-1].operation if sent else ""
    if cause:
        cause = replace(cause, title=scrubbed(cause.title, provider.key), key=scrubbed(cause.key, provider.key))
    return Result(check, family, name, outcome, detail, time.perf_counter() - started, cause, operation)


def _outcome(provider: Provider, check: Check, name: str) -> tuple[Outcome, str, Cause | None]:
    try:
        check.run(provider, *([name] if name else []))
    except LeftOut as reason:
        return Outcome.LEFT_OUT, str(reason), None
    except (Exception, BaseExceptionGroup) as error:
        return _failure(error, check)
    return Outcome.KEPT, "", None


def _failure(error: BaseException, check: Check) -> tuple[Outcome, str, Cause]:
    if isinstance(error, BaseExceptionGroup):  # of generated requests
        return _failure(cast("BaseExceptionGroup[BaseException]", error).exceptions[0], check)
    if isinstance(error, Broken):
        return Outcome.BROKEN, str(error), error.cause
    cause = causes.of_error(error, check.id, check.promise, _line(error))
    if isinstance(error, _UNUSABLE):
        return Outcome.BROKEN, _with_request(error), cause
    if isinstance(error, _NO_ANSWER):
        return Outcome.NOT_RUN, _with_request(error), cause
    if isinstance(error, Flaky):
        said = "the same requests had other answers the second time, so the result is unknown"
        return Outcome.NOT_RUN, said, cause
    if isinstance(error, _BROKEN):
        return Outcome.BROKEN, _with_line(error), cause
    return Outcome.NOT_RUN, f"a bug of unitask, not of the provider: {_with_line(error)}", cause


def _with_request(error: BaseException) -> str:
    try:
        request: Any = getattr(error, "request", None)
    except RuntimeError:  # httpx has none
        request = None
    return f"{type(error).__name__}: {error}{f' ({request.method} {request.url})' if request is not None else ''}"


def _line(error: BaseException) -> str:
    """Return the line of the check that failed."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _CHECKS in Path(frame.filename).parents]
    return str(frames[-1].line) if frames else ""


def _with_line(error: BaseException) -> str:
    """Return the line of the check that failed, and the error."""
    line = _line(error)
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
