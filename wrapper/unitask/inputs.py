"""Build and validate the request body of a task: files are read, and all problems are reported at once."""

from __future__ import annotations

import inspect
import json
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, NamedTuple, TypedDict, TypeVar, cast

from unitask_api import contract

from . import media
from ._core import pricing
from ._core.validation import problems
from ._model._json import as_object
from ._model.secret import Secret, fits_a_header
from ._model.task import Output
from .errors import InvalidInput

__all__ = ["AdvisoryWarning", "Options", "Raw", "TaskInput"]

_PACKAGE = str(Path(__file__).parent) + os.sep
OutputT_co = TypeVar("OutputT_co", bound=Output, covariant=True)


class AdvisoryWarning(UserWarning):
    """A value that one document rules out and another does not. It is sent all the same."""


class Options(TypedDict, total=False):
    """How the provider shall treat a task (`config` of the request; Image Faceswap, 2025-04-03).

    Attributes:
        webhook_url: Where the provider shall report the end.
        webhook_secret: What it shall send along, in the header x-webhook-secret.
        service_mode: "public" bills by use, "private" uses your connected account; absent: as the workspace is set.
    """

    webhook_url: str
    webhook_secret: str
    service_mode: Literal["public", "private"]


NOTHING_SENT = "nothing was sent"
_UNREADABLE = "unreadable"  # stands where a problem was found, so it is never sent
OPTIONS = sorted(Options.__optional_keys__)


class TaskInput(Generic[OutputT_co]):
    """What to make: a plain value, a class a task type. `unitask.tasks` has them."""

    MODEL: ClassVar[str]
    TASK_TYPE: ClassVar[str]
    FIXED: ClassVar[Mapping[str, object]] = {}  # fields whose value is part of the task type

    def operation(self) -> tuple[str, str]:
        """Model and task type, which together name the operation."""
        return self.MODEL, self.TASK_TYPE

    def output_type(self) -> type[OutputT_co]:
        """What reads its output."""
        raise NotImplementedError(type(self).__name__)

    def values(self) -> dict[str, Any]:
        """The fields of its input that are given, as they were given."""
        declared = fields(cast("Any", self))  # every subclass is a dataclass
        given = {item.name: getattr(self, item.name) for item in declared}
        extra = given.pop("extra", {})
        return {**self.FIXED, **{name: value for name, value in given.items() if value is not None}, **extra}

    def estimate_usd(self) -> float | None:
        """What it will cost in USD, by the published prices; None when that cannot be known before it is sent.

        That is: there is no published price, or a quantity or a condition that it depends on is not given and no page
        says what is then taken, or is inside a file that is not here (a URL). Nothing is asked of the provider; a file
        is read when its size decides.
        """
        model, task_type = self.operation()
        body = {"model": model, "task_type": task_type, "input": self.values()}
        try:
            credits_ = pricing.estimate(body, media.measured)
        except Exception:  # an object of the caller's may raise anything when it is compared; submit says what is wrong
            return None
        return None if credits_ is None else credits_ / pricing.CREDITS_PER_USD

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={_short(value)}" for name, value in self.values().items())
        return f"{type(self).__name__}({shown})"


@dataclass(frozen=True, slots=True, repr=False)
class Raw(TaskInput[Output]):
    """A task of a type that unitask does not know.

    Attributes:
        model: First half of its name.
        task_type: Second half of its name.
        input: The input, sent as it is.
    """

    model: str
    task_type: str
    input: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def operation(self) -> tuple[str, str]:
        """Model and task type, which together name the operation."""
        return self.model, self.task_type

    def output_type(self) -> type[Output]:
        """What reads its output."""
        return Output

    def values(self) -> dict[str, Any]:
        """The input."""
        return dict(self.input)


class _Caller(NamedTuple):
    """A line of the program that uses unitask: where a warning points to."""

    filename: str
    lineno: int
    module: str
    registry: dict[Any, Any]  # of its module: which warnings were shown already


def caller() -> _Caller | None:
    """The line that called into this package, past asyncio too; None when there is none."""
    frame = inspect.currentframe()
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))
        if not (frame.f_code.co_filename.startswith(_PACKAGE) or module.partition(".")[0] == "asyncio"):
            registry: dict[Any, Any] = frame.f_globals.setdefault("__warningregistry__", {})
            return _Caller(frame.f_code.co_filename, frame.f_lineno, module, registry)
        frame = frame.f_back
    return None


def request_body(
    task: TaskInput[Any],
    options: Options | None = None,
    *,
    validate: bool = True,
    uploads: bool = False,
    called_by: _Caller | None = None,
) -> dict[str, Any]:
    """The body of the submission for a task. Reads the files that it names; they stand in it as `Attachment`s.

    Args:
        task: What to make.
        options: How the provider shall treat it. The secret in it is replaced by one that no repr shows.
        validate: Whether to check it; what cannot be read, or sent, is a problem in any case.
        uploads: Whether files can be uploaded before it is sent.
        called_by: Where warnings point to; None for the line that called into this package. In another thread, that
            line cannot be seen.

    Raises:
        InvalidInput: With all problems found.
    """
    if not isinstance(cast("object", task), TaskInput):
        wrong = f"{task!r:.80} is not a task: give one of unitask.tasks, such as tasks.FaceSwap(...)"
        raise InvalidInput(wrong, undone=NOTHING_SENT)
    model, task_type = task.operation()
    entry = contract.task_types().get(type(task).__name__)
    found: list[str] = []
    if options and entry and entry.protocol != "unified":
        found.append(f"{entry.name} takes no {', '.join(options)}: its endpoint has no config; see its own fields")
    values = task.values()
    if entry:
        values = {
            name: _field(name, value, contract.field_rule(entry.input, name), _Checks(validate, uploads, found))
            for name, value in values.items()
        }
    body = {"model": model, "task_type": task_type, "input": values}
    if options:
        body["config"] = _config(options)
        unknown = sorted(options.keys() - OPTIONS)
        found += (f"there is no option {name!r}; there are {', '.join(OPTIONS)}" for name in unknown)
    found += _webhook_problems(body)
    schemas = (("TaskRequest", ""), *([(entry.input, "input")] if entry else [])) if validate else ()
    found += _body_problems(body, schemas, called_by or caller())
    if found:
        raise InvalidInput(*found, undone=NOTHING_SENT)
    return body


def _config(options: Options) -> dict[str, Any]:
    if isinstance(secret := options.get("webhook_secret"), str):
        options["webhook_secret"] = Secret(secret)
    webhook = {"endpoint": options.get("webhook_url"), "secret": options.get("webhook_secret")}
    config = {"webhook_config": _given(webhook), "service_mode": options.get("service_mode")}
    return _given(config)


def _webhook_problems(body: dict[str, Any]) -> Iterator[str]:
    """What is wrong with the webhook of a submission. The input of some legacy tasks holds the secret, too."""
    config = as_object(as_object(body.get("config")).get("webhook_config"))
    url, secret = config.get("endpoint"), config.get("secret")
    if isinstance(url, str) and url and (problem := media.url_problem(url, "a URL of http:// or https://")):
        yield f"webhook_url: {problem}"
    if secret == "":
        yield "webhook_secret: the webhook secret is empty: leave it out to send none"
    given = as_object(body["input"])
    legacy = as_object(given.get("webhook_config"))
    for where, text in (
        ("webhook_secret", secret),
        ("webhook_config.secret", legacy.get("secret")),
        ("webhook_secret", given.get("webhook_secret")),
    ):
        if isinstance(text, str) and not fits_a_header(text):
            yield f"{where}: the webhook secret has a space at an end or a line break, which no header can carry"


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None and value != {}}


@dataclass(frozen=True, slots=True)
class _Checks:
    """How files are checked, and what was found wrong with them."""

    validate: bool
    uploads: bool
    found: list[str]


def _field(name: str, value: Any, rule: dict[str, Any], checks: _Checks) -> Any:
    """What to send for a field; an object of the caller's that raises is a problem of the field."""
    try:
        return _wire(name, value, rule, checks)
    except Exception as error:
        checks.found.append(
            f"{name}: the {type(value).__name__} cannot be used: {type(error).__name__}: {error!s:.200}"
        )
        return _UNREADABLE


def _wire(name: str, value: Any, rule: dict[str, Any], checks: _Checks) -> Any:
    """What to send for a value: files become attachments, wherever in it they are."""
    rule = contract.resolve(rule)
    if media_rule := rule.get("x-media"):
        return _media(name, value, media_rule, checks)
    if isinstance(value, list | tuple) and "items" in rule:
        items = enumerate(cast("Sequence[Any]", value))
        return [_wire(f"{name}[{place}]", item, rule["items"], checks) for place, item in items]
    if isinstance(value, Mapping) and "properties" in rule:
        fields_of = cast("Mapping[str, Any]", value).items()
        rules = rule["properties"]
        return {key: _wire(f"{name}.{key}", item, rules.get(key, {}), checks) for key, item in fields_of}
    return cast("object", value)


def _media(name: str, value: Any, rule: Mapping[str, Any], checks: _Checks) -> Any:
    """What to send for a file."""
    if isinstance(value, str) and not value and rule.get("may_be_empty"):
        return value
    try:
        sent, content = media.wire_form(value)
    except ValueError as error:
        checks.found.append(f"{name}: {error}")
        return _UNREADABLE
    if checks.validate:
        wrong = media.problems(sent, content, rule, uploads=checks.uploads)
        checks.found.extend(f"{name}: {problem}" for problem in wrong)
    return sent if content is None else media.attachment(sent, content, rule)


def _body_problems(
    body: dict[str, Any], schemas: Iterable[tuple[str, str]], called_by: _Caller | None
) -> Iterator[str]:
    """Yield what is wrong with a body: it has no form in JSON, or it breaks a schema.

    No frame of the error that follows holds the text, which has the webhook secret.

    Args:
        body: The body of a create request.
        schemas: Pairs of a component and the field that it describes; "" is the whole body.
        called_by: The frame that warnings name.
    """
    try:
        text = json.dumps(body, allow_nan=False, ensure_ascii=False, sort_keys=True)
        text.encode()
    except Exception as error:  # mostly TypeError or ValueError, but an object of the caller's may raise anything
        yield f"input: it cannot be written as JSON: {error!s:.200}"
        return
    plain = json.loads(text)
    for schema, name in schemas:
        value, given = (plain[name], body[name]) if name else (plain, body)
        yield from _check(schema, value, given, f"{name}." if name else "", called_by)


def _check(schema: str, value: object, given: object, prefix: str, called_by: _Caller | None = None) -> Iterator[str]:
    """What is wrong with a value; the messages show it as it was given, since a file is shown by its size."""
    try:
        found = list(problems(schema, value))
    except ValueError as error:
        yield f"input: it cannot be checked: {error!s:.200}"
        return
    for problem in found:
        where = prefix + ".".join(map(str, problem.path))
        message = "it is not text" if where.endswith(".secret") else problem.about(_shown(given, problem.path))
        sentence = f"{where.rstrip('.') or 'input'}: {message:.200}"
        if problem.advisory:
            _advise(sentence, called_by)
        else:
            yield sentence


def _shown(given: Any, path: Sequence[str | int]) -> str:
    try:
        for step in path:
            given = given[step]
    except LookupError:  # a key that is no text becomes one in JSON
        return "the value"
    return _short(given)


def _advise(sentence: str, called_by: _Caller | None) -> None:
    if called_by is None:
        warnings.warn(sentence, AdvisoryWarning, stacklevel=2)
    else:
        filename, lineno, module, registry = called_by
        warnings.warn_explicit(sentence, AdvisoryWarning, filename, lineno, module, registry)


def _short(value: Any) -> str:
    if isinstance(value, bytes | bytearray):
        return f"<{len(value)} bytes>"
    if (shape := getattr(value, "shape", None)) is not None:
        return f"<array of shape {shape}>"
    if isinstance(value, list | tuple):
        text = f"[{', '.join(_short(item) for item in cast('Sequence[Any]', value))}]"
    else:
        text = repr(value)
    return text if len(text) <= 80 else f"{text[:60]}... ({len(text)} characters)"
