"""A task as the sandbox stores it, and as the provider shows it."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, cast
from urllib.parse import urlsplit

FILE = "$file"
NOT_YET = "0001-01-01T00:00:00Z"  # recorded in started_at of a failed create, 2025-08-25


def task_error(code: int = 0, message: str = "", raw_message: str = "") -> dict[str, Any]:
    """Return a task's `error`; without arguments the one that says there is none."""
    return {"code": code, "raw_message": raw_message, "message": message, "detail": None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One task."""

    task_id: str
    account: str  # whose it is: the SHA-256 of the API key
    model: str
    task_type: str
    status: str  # a word of `unitask_api.states.State`
    config: dict[str, Any]  # as sent, with the provider's defaults
    # what is echoed of the input: an empty object, or None when the create failed
    input: dict[str, Any] | None = field(default_factory=dict[str, Any])
    # as JSON, with {"$file": name} in the place of the address of a file; None while there is none
    output: dict[str, Any] | None = None
    # what the engine has to say, joined to the provider's own meta
    meta: dict[str, Any] = field(default_factory=dict[str, Any])
    logs: list[dict[str, Any]] | None = field(default_factory=list[dict[str, Any]])
    error: dict[str, Any] = field(default_factory=task_error)
    created_at: float  # unix seconds; so are started_at and ended_at, None while that has not happened
    started_at: float | None = None
    ended_at: float | None = None
    due_at: float | None = None  # when it moves next; None when it has ended
    seconds: float = 0.0  # how long processing takes
    usage_type: str = "llm"  # "llm", "point", or "" when the credits could not be taken
    frozen: int = 0  # credits that were put aside, or were to be; they still are while the task has not ended
    consume: int = 0  # credits taken
    # for a task of the API before the unified one, how it is shown there (legacy.py); empty for any other
    legacy: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def fingerprint(self) -> str:
        """The fingerprint of its API key (`request_log.key_fingerprint`)."""
        return self.account[:8]

    def body(self, base_url: str) -> dict[str, Any]:
        """Return the `data` of an answer; the addresses of the files begin with `base_url`."""
        return {
            "task_id": self.task_id,
            "model": self.model,
            "task_type": self.task_type,
            "status": self.status,
            "config": self.config,
            "input": self.input,
            "output": self.shown_output(base_url),
            "meta": {
                **self.meta,
                "created_at": rfc3339(self.created_at),
                "started_at": rfc3339(self.started_at),
                "ended_at": rfc3339(self.ended_at),
                "usage": {"type": self.usage_type, "frozen": self.frozen, "consume": self.consume},
                "is_using_private_pool": False,
            },
            "detail": None,
            "logs": None if self.status == "failed" else self.logs,  # recorded, 2025-09
            "error": self.error,
        }

    def shown_output(self, base_url: str) -> Any:
        """Return the output with the addresses of its files."""
        return _with_addresses(self.output, base_url)


def _with_addresses(node: Any, base_url: str) -> Any:
    if isinstance(node, list):
        return [_with_addresses(item, base_url) for item in cast("list[object]", node)]
    if not isinstance(node, dict):
        return node
    fields = cast("dict[str, Any]", node)
    if FILE in fields:
        return file_url(base_url, fields[FILE])
    return {name: _with_addresses(value, base_url) for name, value in fields.items()}


def file_url(base_url: str, name: str) -> str:
    """Return the address of a file."""
    return f"{base_url.rstrip('/')}/files/{name}"


def file_name(url: str) -> str:
    """Return the name of the file that an address of the sandbox would be of; empty when it cannot be one."""
    return urlsplit(url).path.partition("/files/")[2]


def rfc3339(time: float | None) -> str:
    """Return unix seconds as the provider writes a time; None is its "not yet"."""
    if time is None:
        return NOT_YET
    return datetime.fromtimestamp(time, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
