"""Build and validate the request body of a task: files are read, and all problems are reported at once."""

import inspect
import json
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cache, partial
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, TypedDict, TypeVar, cast

from unitask_api import contract

from . import media
from ._core import pricing
from ._core.validation import VALUE, is_valid, problems
from ._model._json import as_object
from ._model.secret import Secret, secret_problem
from ._model.task import Output
from .errors import InvalidInput

__all__ = ["AdvisoryWarning", "Options", "Raw", "TaskInput"]

_PACKAGE = str(Path(__file__).parent) + os.sep
TaskT = TypeVar("TaskT", bound="TaskInput[Any]")
OutputT_co = TypeVar("OutputT_co", bound=Output, covariant=True)


class AdvisoryWarning(UserWarning):
    """A value that one document forbids and another allows. It is sent."""


class Options(TypedDict, total=False):
    """How the provider handles a task (`config` of the request; Image Faceswap, 2025-04-03).

    Attributes:
        webhook_url: Where the provider reports the end of the task.
        webhook_secret: What it sends in the header x-webhook-secret.
        service_mode: "public" bills by use, "private" uses your connected account; absent: as the workspace is set.
    """

    webhook_url: str
    webhook_secret: str
    service_mode: Literal["public", "private"]


NOTHING_SENT = "nothing was sent"
_JSON = json.JSONEncoder(allow_nan=False, ensure_ascii=False, sort_keys=True)
_UNREADABLE = "unreadable"  # stands where a problem was found, so it is never sent
OPTIONS = sorted(Options.__optional_keys__)


class TaskInput(Generic[OutputT_co]):
    """The input of a task. `unitask.tasks` has a class for each task type."""

    MODEL: ClassVar[str]
    TASK_TYPE: ClassVar[str]
    FIXED: ClassVar[Mapping[str, object]] = {}  # fields whose value is part of the task type

    def __post_init__(self) -> None:
        name = "input" if isinstance(self, Raw) else "extra"
        given = getattr(self, name, {})
        if not isinstance(given, Mapping):
            raise InvalidInput(f"{name} is {given!r:.80}: give names of fields with their values", undone=NOTHING_SENT)

    def operation(self) -> tuple[str, str]:
        """Return model and task type."""
        return self.MODEL, self.TASK_TYPE

    def output_type(self) -> type[OutputT_co]:
        """Return the class of its output."""
        raise NotImplementedError(type(self).__name__)

    def values(self) -> dict[str, Any]:
        """Return the fields that were given, as they were given."""
        given = {name: getattr(self, name) for name in _field_names(cast("Any", type(self)))}
        extra = given.pop("extra", {})
        return {**self.FIXED, **{name: value for name, value in given.items() if value is not None}, **extra}

    def estimate_usd(self) -> float | None:
        """Estimate the cost by the published prices. Nothing is sent; a file is read when its size decides.

        Returns:
            The cost in USD; None without a published price, or where a quantity on which it depends is not given, has
            no documented default, or is in a file behind a URL.
        """
        model, task_type = self.operation()
        body = {"model": model, "task_type": task_type, "input": self.values()}
        try:
            credits_ = pricing.estimate(body, media.measured)
        except Exception:  # an object of the caller's may raise anything when it is compared; submit reports it
            return None
        return None if credits_ is None else credits_ / pricing.CREDITS_PER_USD

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={_short(value)}" for name, value in self.values().items())
        return f"{type(self).__name__}({shown})"


@dataclass(frozen=True, slots=True, repr=False)
class Raw(TaskInput[Output]):
    """A task of a type that the catalogue does not have; the input is sent as it is."""

    model: str
    task_type: str
    input: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def operation(self) -> tuple[str, str]:
        """Return model and task type."""
        return self.model, self.task_type

    def output_type(self) -> type[Output]:
        """Return the class of its output."""
        return Output

    def values(self) -> dict[str, Any]:
        """Return the input."""
        return dict(self.input)


def reads_files(task: TaskInput[Any]) -> bool:
    """Whether the body of a task may take long to make: some of its media may be files, not URLs."""
    if not isinstance(cast("object", task), TaskInput):
        return False
    entry = contract.task_types().get(type(task).__name__)
    named = _media_rules(entry.input) if entry else {}
    return any(not _is_url(value) for name, value in task.values().items() if name in named)


@cache
def _field_names(kind: type[Any]) -> tuple[str, ...]:
    return tuple(item.name for item in fields(kind))  # every subclass is a dataclass


@cache
def _media_rules(component: str) -> dict[str, dict[str, Any]]:
    """Return the schemas of the fields of an input that take media, or hold fields that may, by their names."""
    rules = contract.components()[component].get("properties", {}).items()
    resolved = {name: contract.resolve(rule) for name, rule in rules}
    marks = {"x-media", "items", "properties", "anyOf"}
    return {name: rule for name, rule in resolved.items() if marks & rule.keys()}


def _is_url(value: object) -> bool:
    return isinstance(value, str) and value.startswith(("http://", "https://"))


def warner() -> Callable[[str], None]:
    """Return a function that warns at the line that called into this package, past asyncio."""
    frame = inspect.currentframe()
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))
        if not (frame.f_code.co_filename.startswith(_PACKAGE) or module.partition(".")[0] == "asyncio"):
            registry: dict[Any, Any] = frame.f_globals.setdefault("__warningregistry__", {})
            return partial(
                warnings.warn_explicit,
                category=AdvisoryWarning,
                filename=frame.f_code.co_filename,
                lineno=frame.f_lineno,
                module=module,
                registry=registry,
            )
        frame = frame.f_back
    return partial(warnings.warn, category=AdvisoryWarning, stacklevel=2)


def request_body(
    task: TaskInput[Any],
    options: Options | None = None,
    *,
    validate: bool = True,
    uploads: bool = False,
    warn: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Return the body of the submission of a task, with its files as `Attachment`s.

    The secret in `options` is replaced by one that no repr shows. Without `validate`, a problem is only what cannot be
    read or sent. `uploads`: files can be uploaded first. `warn` is called with each warning.
    """
    if not isinstance(cast("object", task), TaskInput):
        wrong = f"{task!r:.80} is not a task: give one of unitask.tasks, such as tasks.FaceSwap(...)"
        raise InvalidInput(wrong, undone=NOTHING_SENT)
    model, task_type = task.operation()
    entry = contract.task_types().get(type(task).__name__)
    reader = _Reader(partial(_attached, validate=validate, uploads=uploads))
    values = task.values()
    if entry:
        for name, rule in _media_rules(entry.input).items():
            if name in values:
                values[name] = reader.read(name, values[name], rule)
    found, body = reader.found, {"model": model, "task_type": task_type, "input": values}
    if options:
        body["config"] = _config(options)
        unknown = sorted(options.keys() - OPTIONS)
        found += (f"there is no option {name!r}; there are {', '.join(OPTIONS)}" for name in unknown)
        if entry and entry.protocol != "unified":
            found.append(f"{entry.name} takes no {', '.join(options)}: its endpoint has no config; see its own fields")
    found += _webhook_problems(body)
    schemas = [("TaskRequest", ""), *([(entry.input, "input")] if entry else [])] if validate else []
    found += _body_problems(body, schemas, warn)
    if found:
        raise InvalidInput(*found, undone=NOTHING_SENT)
    return body


def _config(options: Options) -> dict[str, Any]:
    if isinstance(secret := options.get("webhook_secret"), str):
        options["webhook_secret"] = Secret(secret)
    webhook = {"endpoint": options.get("webhook_url"), "secret": options.get("webhook_secret")}
    config = {"webhook_config": _given(webhook), "service_mode": options.get("service_mode")}
    return _given(config)


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None and value != {}}


_WITH_SECRETS = frozenset({"webhook_config", "webhook_secret"})  # of the input of legacy tasks


def _webhook_problems(body: dict[str, Any]) -> Iterator[str]:
    """Yield what is wrong with the webhook of a submission. The input of some legacy tasks has a secret, too."""
    if "config" not in body and _WITH_SECRETS.isdisjoint(body["input"]):
        return
    config = as_object(as_object(body.get("config")).get("webhook_config"))
    url = config.get("endpoint")
    if isinstance(url, str) and url and (problem := media.url_problem(url, "a URL of http:// or https://")):
        yield f"webhook_url: {problem}"
    given = as_object(body["input"])
    legacy = as_object(given.get("webhook_config")).get("secret"), given.get("webhook_secret")
    for secret in (config.get("secret"), *(one or None for one in legacy)):  # there an empty one means none
        if isinstance(secret, str) and (problem := secret_problem(secret)):
            yield f"webhook_secret: {problem}"


ReadFile = Callable[[Any, Mapping[str, Any]], Any]  # of a value and its `x-media` rule; it raises ValueError


@dataclass(slots=True)
class _Reader:
    """Replace the files in values, wherever in a value they are, and collect what is wrong."""

    file: ReadFile
    found: list[str] = field(default_factory=list[str])

    def read(self, name: str, value: Any, rule: dict[str, Any]) -> Any:
        """Return a field with its files replaced; an object of the caller's that raises is a problem of the field."""
        try:
            return self._replaced(name, value, rule)
        except Exception as error:
            kind = type(value).__name__
            self.found.append(f"{name}: the {kind} cannot be used: {type(error).__name__}: {error!s:.200}")
            return _UNREADABLE

    def _replaced(self, name: str, value: Any, rule: dict[str, Any]) -> Any:
        if media_rule := rule.get("x-media"):
            try:
                return self.file(value, media_rule)
            except ValueError as error:
                self.found += (f"{name}: {problem}" for problem in getattr(error, "problems", (error,)))
                return _UNREADABLE
        if isinstance(value, list | tuple) and "items" in rule:
            items = enumerate(cast("Sequence[Any]", value))
            item_rule = contract.resolve(rule["items"])
            return [self._replaced(f"{name}[{place}]", item, item_rule) for place, item in items]
        if isinstance(value, Mapping) and "properties" in rule:
            rules = {key: contract.resolve(one) for key, one in rule["properties"].items()}
            given = cast("Mapping[str, Any]", value).items()
            return {key: self._replaced(f"{name}.{key}", item, rules.get(key, {})) for key, item in given}
        return cast("object", value)


def _attached(value: Any, rule: Mapping[str, Any], *, validate: bool, uploads: bool) -> Any:
    """Return a file as an attachment, and a URL as it is."""
    if media.is_usual_url(value, rule) or (value == "" and rule.get("may_be_empty")):
        return value
    sent, content = media.wire_form(value)
    if validate and (wrong := [*media.problems(sent, content, rule, uploads=uploads)]):
        raise InvalidInput(*wrong)
    return sent if content is None else media.attachment(sent, content, rule)


def with_absolute_paths(task: TaskT) -> TaskT:
    """Return a task whose files do not depend on the working folder."""

    def absolute(value: Any, _: object) -> Any:
        path = media.from_home(value) if isinstance(value, str) else ""
        return os.path.abspath(path) if path and os.path.exists(path) else value  # noqa: PTH100, PTH110 - a NUL in it

    return _with_files(task, _Reader(absolute))


def with_files_inside(task: TaskT, folder: Path | None) -> TaskT:
    """Return a task that reads only files of a folder; raise InvalidInput if it names others.

    Args:
        task: A task made of JSON values, of a type in the catalogue.
        folder: The folder, without symbolic links; None to read no files.
    """
    reader = _Reader(lambda value, _: media.inside(value, folder) if isinstance(value, str) and value else value)
    read = _with_files(task, reader)
    if reader.found:
        raise InvalidInput(*reader.found, undone=NOTHING_SENT)
    return read


def _with_files(task: TaskT, reader: _Reader) -> TaskT:
    rules = _media_rules(contract.task_types()[type(task).__name__].input)
    given = {name: value for name, value in task.values().items() if name in rules}
    read = {name: reader.read(name, value, rules[name]) for name, value in given.items()}
    return cast("TaskT", replace(cast("Any", task), **read))


def _body_problems(
    body: dict[str, Any], schemas: Iterable[tuple[str, str]], warn: Callable[[str], None] | None
) -> Iterator[str]:
    """Yield what is wrong with a body; each schema comes with the field that it describes, "" for the whole body."""
    try:
        text = _JSON.encode(body)
        text.encode()
    except Exception as error:  # mostly TypeError or ValueError, but an object of the caller's may raise anything
        yield f"input: it cannot be written as JSON: {error!s:.200}"
        return
    unclear = [(schema, name) for schema, name in schemas if not is_valid(schema, body[name] if name else body)]
    plain: dict[str, Any] = json.loads(text) if unclear else {}
    for schema, name in unclear:
        value, given = (plain[name], body[name]) if name else (plain, body)
        try:
            found = list(problems(schema, value))
        except ValueError as error:
            yield f"input: it cannot be checked: {error!s:.200}"
            continue
        for path, message, is_advice in found:
            where = ".".join(map(str, path))
            where = f"{name}.{where}".strip(".") or "input"
            message = "it is not text" if where.endswith(".secret") else message.replace(VALUE, _shown(given, path))
            if is_advice:
                warn = warn or warner()
                warn(f"{where}: {message:.200}")
            else:
                yield f"{where}: {message:.200}"


def _shown(given: Any, path: Sequence[str | int]) -> str:
    """Return a value as it was given, since a file is shown by its size."""
    try:
        for step in path:
            given = given[step]
    except LookupError:  # a key that is not text becomes one in JSON
        return "the value"
    return _short(given)


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
