"""What is needed to go on with a task or an uncertain submission elsewhere, as text: versioned, without secrets.

ut1.<JSON in base64url, without padding>   a task
us1.<the same>                             an uncertain submission
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeAlias

from ..errors import InvalidInput, SubmissionUncertain
from ._json import is_id, is_list
from .timestamp import Timestamp

PREFIX = "ut"
UNCERTAIN = "us"
VERSION = 1
Between: TypeAlias = tuple[datetime, datetime]


@dataclass(frozen=True, slots=True)
class TaskToken:
    """What a token says.

    Attributes:
        task_id: Which task.
        model: Its model; empty when it was not known.
        task_type: Its task type; empty when it was not known.
        output: The class that reads its output, by name; empty when it was not known.
    """

    task_id: str
    model: str = ""
    task_type: str = ""
    output: str = ""


class SubmissionTime(NamedTuple):
    """When a submission was sent.

    Attributes:
        start: Before the first byte.
        end: When it was given up.
        process: Whose clocks these are.
        on_provider: The earliest and the latest unix time of it on the provider's clock; None if that was not known.
    """

    start: Timestamp
    end: Timestamp
    process: str = ""
    on_provider: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What an uncertain task can be recognised by; nothing of its content.

    Attributes:
        model: Its model.
        task_type: Its task type.
        fingerprint: SHA-256 over model, task type and input.
        correlation_id: The correlation id in its webhook endpoint; None when it has none.
        fields: SHA-256 of each field of its input.
        submission: A random text, of this submission alone; its mark too, if the client made it. Empty if not known.
        sent: When it was sent, on several clocks; None if not known.
        account: A digest of the key and the address of the client; empty if not known.
    """

    model: str
    task_type: str
    fingerprint: str
    correlation_id: str | None = None
    fields: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    submission: str = ""
    sent: SubmissionTime | None = None
    account: str = ""

    def token(self, task_id: str | None, sent_between: Between) -> str:
        """Return the token of the submission; its input is not in it."""
        between = [moment.timestamp() for moment in sent_between]
        names = [
            self.model,
            self.task_type,
            self.fingerprint,
            self.correlation_id,
            self.submission,
            self.account,
        ]
        return _packed(UNCERTAIN, [task_id, between, self.sent, *names])


def token(task_id: str, model: str, task_type: str, output: str) -> str:
    """The token of a task; `output` is the name of the class that reads its output, empty when it is not known."""
    return _packed(PREFIX, [task_id, model, task_type, output])


def read(text: str) -> TaskToken:
    """What a token says; any other text is the id of a task.

    Raises:
        InvalidInput: It is a token of another version, or it is cut off.
    """
    content = _unpacked(PREFIX, text)
    if content is None:
        return TaskToken(text)
    parts = [part if isinstance(part, str) else "" for part in content]
    task_id, model, task_type, output = parts if len(parts) == 4 else [""] * 4
    if not task_id:
        raise InvalidInput(f"the token {text!r:.80} is damaged: copy it again, or give the id of the task")
    return TaskToken(task_id, model, task_type, output)


def read_uncertain(text: str) -> SubmissionUncertain:
    """Return the error that a token of an uncertain submission stands for.

    Raises:
        InvalidInput: It is no such token, one of another version, or it is cut off.
    """
    content = _unpacked(UNCERTAIN, text)
    if content is None:
        raise InvalidInput(f"{text!r:.80} is no token of an uncertain submission: copy it from the log again")
    try:
        task_id, (start, end), sent, model, task_type, fingerprint, mark, submission, account = content
        words, when = [model, task_type, fingerprint, mark or "", submission, account], None
        if sent is not None:
            first, last, process, span = sent
            words.append(process)
            when = SubmissionTime(_moment(first), _moment(last), process, None if span is None else _moment(span))
        if not all(isinstance(word, str) for word in words):
            raise TypeError
        traces = Fingerprint(model, task_type, fingerprint, mark, {}, submission, when, account)
        between = datetime.fromtimestamp(start, UTC), datetime.fromtimestamp(end, UTC)
    except (TypeError, ValueError, OverflowError, OSError, AttributeError, IndexError):
        raise InvalidInput(f"the token {text!r:.80} is damaged: copy it from the log again") from None
    error = SubmissionUncertain("its token was read", identity=traces, sent_between=between)
    error.task_id = task_id if is_id(task_id) else None
    return error


def _moment(pair: Any) -> Timestamp:
    """Two numbers of seconds. Raises TypeError or ValueError for anything else."""
    first, second = map(float, pair)
    if not (math.isfinite(first) and math.isfinite(second)):
        raise ValueError
    return Timestamp(first, second)


def _packed(prefix: str, content: list[Any]) -> str:
    packed = base64.urlsafe_b64encode(json.dumps(content, separators=(",", ":")).encode()).decode().rstrip("=")
    return f"{prefix}{VERSION}.{packed}"


def _unpacked(prefix: str, text: str) -> Sequence[Any] | None:
    """What a token holds, nothing if it is damaged; None for a text that is no token of this kind."""
    head, dot, packed = text.partition(".")
    version = head.removeprefix(prefix)
    if not dot or head == version or not version.isdecimal():
        return None
    if version != str(VERSION):
        raise InvalidInput(f"the token is of version {version}, this unitask reads {VERSION}: update unitask")
    try:
        padded = packed + "=" * (-len(packed) % 4)
        content: Any = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError):
        return ()
    return content if is_list(content) else ()
