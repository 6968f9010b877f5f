"""What all commands share: the task that words describe, and how results and reports are written."""

import contextlib
import dataclasses
import difflib
import io
import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any, Final, TextIO

from unitask_api import contract
from unitask_api.json_types import is_list, printable

from . import errors, tasks

Read = Callable[[str, contract.Node], Any]  # from a text of a user, and the schema of its field, to a value
PYTHON_WORDS: Final = (  # of Python in messages, and those of the command line
    (r"client\.(wait|cancel)\('([^']*)'\)", r"`unitask \1 \2`"),
    (r",? or (pass )?api_key=", ""),
    (r"overwrite=True, --overwrite", "--overwrite"),
    (r"; task\.raw holds all that was sent", ""),
    (r", or validate=False", ""),
    (r"an object of type \w+ is not a picture: give a path,.* or a URL", "give a file or a URL"),
    (r", or another Journal of this one,", ""),
    (r"Close the journal, which writes the file again, and start", "The command writes it again; start"),
    (r"\bbase_url\b", "--base-url"),
    (r"^webhook_url\b", "--webhook-url"),
    (rf"\. {re.escape(errors.SubmissionUncertain.usual_next_step)}.*", ""),
    (r"nothing was sent: the cost of .* is not known: .*", "its price is not known, so --max-usd cannot count it"),
    (r"of the budget of (\S+), \S+ is spent and \S+ is held .*", r"--max-usd is \1"),
)


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


def task_of(name: str, words: Sequence[str], read: Read | None = None) -> Any:
    """Return the task that FIELD=VALUE and FIELD:=JSON describe.

    A text is taken as it is, or as `read` returns it; for a list, FIELD=ITEM is repeated; everything else is JSON, such
    as 6 or true.
    """
    entry, spelled = task_type(name), kebab if name == kebab(name) else str
    kind = getattr(tasks, entry.name)
    known = {field.name: field for field in dataclasses.fields(kind) if field.name != "extra"}
    values: dict[str, Any] = {}
    problems: list[str] = []
    for word in words:
        given, _, text = word.partition("=")
        is_json, field = given.endswith(":"), given.removesuffix(":").replace("-", "_")
        if "=" not in word or field not in known:
            fields = ", ".join(map(spelled, known))
            problems.append(f"{_unusable(word, name, list(known))}; the fields of {name} are {fields}")
            continue
        rule = {} if is_json else contract.field_rule(entry.input, field)
        try:
            _add(values, field, read(text, rule) if read else text, rule, is_json=is_json)
        except ValueError as error:
            problems.append(f"{given.removesuffix(':')} is {text!r:.80}: {error}")
    missing = [field for field, rule in known.items() if rule.default is dataclasses.MISSING and field not in values]
    problems += (f"{name} needs {spelled(field)}=..." for field in missing)
    if problems:
        raise errors.InvalidInput(*problems)
    return kind(**values)


def _unusable(word: str, name: str, known: list[str]) -> str:
    if "=" not in word:
        return f"{word!r:.80}: this is not FIELD=VALUE"
    given = word.partition("=")[0].removesuffix(":").replace("-", "_").lower()
    near = [one for one in known if given and (given in one or one in given)] or difflib.get_close_matches(given, known)
    hint = f": did you mean {kebab(near[0])}?" if near else ""
    return f"{word!r:.80}: {name} has no such field{hint}"


def _add(values: dict[str, Any], field: str, text: Any, rule: contract.Node, *, is_json: bool) -> None:
    """Add the value that a text stands for, or a value. For a list, each text is an item."""
    types, before = set(_types(rule)), values.get(field, [])
    is_text = isinstance(text, str)
    is_item = "array" in types and "string" not in types and not (is_text and text.lstrip().startswith("["))
    if field in values and not (is_item and is_list(before)):
        raise ValueError("the field is given twice")
    if is_item:
        types = set(_types(contract.resolve(rule).get("items", {})))
    value: Any = text
    if is_text and (is_json or (types and "string" not in types)):
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


def reason(error: BaseException) -> str:
    """Return what went wrong, in words of the command line."""
    match error:
        case errors.InvalidInput():
            text = "; ".join(error.problems)
        case errors.DownloadFailed():
            text = error.reason
        case _:
            text = str(error)
    for pattern, words in PYTHON_WORDS:
        text = re.sub(pattern, words, text, flags=re.DOTALL)
    return text


def dollars(usd: float | None) -> str | None:
    """Return an amount of money as text, however small; None for one that is not known."""
    return None if usd is None else f"${usd:.7f}".rstrip("0").rstrip(".")


def is_terminal(stream: TextIO | None) -> bool:
    """Whether a stream is a terminal."""
    return stream is not None and stream.isatty()


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
