"""What an uncertain submission can be recognised by; nothing of its content."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from .timestamp import Timestamp


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
