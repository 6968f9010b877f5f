"""A task or an uncertain submission as text, for another process: versioned, without secrets.

ut1.<JSON in base64url, without padding>   a task
us1.<the same>                             an uncertain submission
"""

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


class TaskToken(NamedTuple):
    """The content of a token of a task; what is unknown is empty. `output` is the name of the class of its output."""

    task_id: str
    model: str = ""
    task_type: str = ""
    output: str = ""


class SubmissionTime(NamedTuple):
    """When a submission was sent."""

    start: Timestamp  # before the first byte
    end: Timestamp  # when it was given up
    process: str = ""  # the process whose clocks these are
    # The earliest and the latest unix time of it on the provider's clock; None if unknown.
    on_provider: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What the task of an uncertain submission can be recognised by; nothing of its content."""

    model: str
    task_type: str
    fingerprint: str  # SHA-256 over model, task type and input
    correlation_id: str | None = None  # the correlation id in its webhook endpoint; None when it has none
    fields: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)  # SHA-256 of each field of its input
    submission: str = ""  # a random text, of this submission alone; its correlation id too, if the client made it
    sent: SubmissionTime | None = None  # when it was sent; None if unknown
    account: str = ""  # a digest of the key and the address of the client; empty if unknown

    def token(self, task_id: str | None, sent_between: Between) -> str:
        """Return the token of the submission; its input is not in it."""
        between = [moment.timestamp() for moment in sent_between]
        names = [self.model, self.task_type, self.fingerprint, self.correlation_id, self.submission, self.account]
        return _packed(UNCERTAIN, [task_id, between, self.sent, *names])


def token(task_id: str, model: str, task_type: str, output: str) -> str:
    return _packed(PREFIX, [task_id, model, task_type, output])


def read(text: str) -> TaskToken:
    """Read the token of a task; any other text is the id of a task. Raise InvalidInput for a damaged token."""
    content = _unpacked(PREFIX, text)
    if content is None:
        if _unpacked(UNCERTAIN, text) is not None:
            raise InvalidInput(f"{text!r:.80} is the token of an uncertain submission: give it to client.find")
        return TaskToken(text)
    parts = [part if isinstance(part, str) else "" for part in content]
    task_id, model, task_type, output = parts if len(parts) == 4 else [""] * 4
    if not task_id:
        raise InvalidInput(f"the token {text!r:.80} is damaged: copy it again, or give the id of the task")
    return TaskToken(task_id, model, task_type, output)


def read_uncertain(text: str) -> SubmissionUncertain:
    """Return the error of the uncertain submission in a token; raise InvalidInput for any other text."""
    content = _unpacked(UNCERTAIN, text)
    if content is None:
        raise InvalidInput(f"{text!r:.80} is not the token of an uncertain submission: copy it from the log again")
    try:
        task_id, (start, end), sent, model, task_type, fingerprint, mark, submission, account = content
        when, process = None, ""
        if sent is not None:
            first, last, process, span = sent
            when = SubmissionTime(_moment(first), _moment(last), process, None if span is None else _moment(span))
        words = (model, task_type, fingerprint, mark or "", submission, account, process)
        if not all(isinstance(word, str) for word in words):
            raise TypeError
        between = datetime.fromtimestamp(start, UTC), datetime.fromtimestamp(end, UTC)
    except (TypeError, ValueError, OverflowError, OSError, AttributeError, IndexError):
        raise InvalidInput(f"the token {text!r:.80} is damaged: copy it from the log again") from None
    identity = Fingerprint(model, task_type, fingerprint, mark, {}, submission, when, account)
    error = SubmissionUncertain("its token was read", identity=identity, sent_between=between)
    error.task_id = task_id if is_id(task_id) else None
    return error


def _moment(pair: Any) -> Timestamp:
    first, second = map(float, pair)
    if not (math.isfinite(first) and math.isfinite(second)):
        raise ValueError
    return Timestamp(first, second)


def _packed(prefix: str, content: list[Any]) -> str:
    packed = base64.urlsafe_b64encode(json.dumps(content, separators=(",", ":")).encode()).decode().rstrip("=")
    return f"{prefix}{VERSION}.{packed}"


def _unpacked(prefix: str, text: str) -> Sequence[Any] | None:
    """Return the content of a token, empty if it is damaged; None for a text that is not a token of this kind."""
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
