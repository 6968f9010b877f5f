"""Read a create request: from the bytes of its body to a task, or to a refusal."""

import random
import re
from dataclasses import dataclass, field, replace
from typing import Any

from unitask_api.contract import TaskType

from unitask_sandbox import bundle, pricing
from unitask_sandbox.failures import GENERAL_FAILURE, NO_CREDIT, PREPARING_FAILED
from unitask_sandbox.inputs import decoded, is_address
from unitask_sandbox.settings import Settings
from unitask_sandbox.task import Task, task_error

QUEUE_SECONDS = 1.0  # a guess: how long a task typically stays pending
LONGEST_ECHO = 10_000  # characters of a text
SHOWN = 40  # characters of a longer one, and of a file
# A file in base64, which may be a picture of a person; a long word has not all of capitals, small letters and digits
_CONTENT = re.compile(r"(?i:data):.*|(?=.*[a-z])(?=.*[A-Z])(?=.*[0-9])[A-Za-z0-9+/\r\n]{200,}={0,2}[\r\n]*", re.DOTALL)
SPREAD = 0.5  # sigma of the log-normal factor on a typical time; a guess


@dataclass(frozen=True, slots=True)
class CreateRequest:
    """What a valid create request says."""

    task_type: TaskType
    input: dict[str, Any]
    config: dict[str, Any]
    legacy: dict[str, Any] = field(default_factory=dict[str, Any])

    def credits(self, read: pricing.Read = decoded) -> int:
        """Return what it costs; 0 when no source says what, or when a file decides that `read` does not return."""
        if not self.task_type.price:
            return 0
        return pricing.credits_of(self.task_type.price, self.input, self.task_type.media, read)

    def has_webhook(self) -> bool:
        """Return whether a webhook is to be sent, to an endpoint that can be reached."""
        return is_address(str(self.config.get("webhook_config", {}).get("endpoint", "")))

    def _echo(self) -> dict[str, Any]:
        """Return what an answer shows of the input: all of it but long texts and files in base64."""
        if self.legacy or not bundle.echoes(self.task_type.model, self.task_type.task_type):
            return {}
        echo: dict[str, Any] = bundle.with_texts(self.input, _shortened)
        return echo

    def task(self, task_id: str, account: str, settings: Settings, read: pricing.Read) -> Task:
        """Return the task, as it begins."""
        draw = random.Random(task_id)  # noqa: S311 - the same task takes the same time
        now = settings.clock()
        queued, seconds = (
            settings.seconds(typical * draw.lognormvariate(0, SPREAD))
            for typical in (QUEUE_SECONDS, self.task_type.typical_seconds)
        )
        in_points = self.task_type.model in pricing.POINT_MODELS
        credits_ = self.credits(read)
        webhook = {"endpoint": "", "secret": "", **self.config.get("webhook_config", {})}
        return Task(
            task_id=task_id,
            account=account,
            model=self.task_type.model,
            task_type=self.task_type.task_type,
            status="pending",
            config={"service_mode": "", **self.config, "webhook_config": webhook},  # the provider fills in defaults
            input=self._echo(),
            created_at=now,
            due_at=now + queued,
            seconds=seconds,
            usage_type="point" if in_points else "llm",
            frozen=credits_ if in_points else 0,
            consume=0 if in_points else credits_,
            legacy=self.legacy,
        )


def _shortened(text: str) -> str:
    return f"{text[:SHOWN]}..." if len(text) > LONGEST_ECHO or _CONTENT.fullmatch(text) else text


def read_create_request(body: bytes, *, accept_unknown: bool = False) -> CreateRequest:
    """Read the body of a create request."""
    value = bundle.read("TaskRequest", body)
    model, name, given = value["model"], value["task_type"], value["input"]
    if accept_unknown and not bundle.find(model, name, given):
        return CreateRequest(bundle.unknown(model, name), given, value.get("config", {}))
    task_type = bundle.task_type(model, name, given)
    bundle.check(task_type.input, given, at="input")
    return CreateRequest(task_type, given, value.get("config", {}))


def unpaid(task: Task) -> Task:
    """Return the task as a failed one, as recorded for a create request without credit."""
    return replace(
        task,
        status="failed",
        input=None,
        logs=None,
        error=task_error(GENERAL_FAILURE, PREPARING_FAILED, NO_CREDIT),
        ended_at=task.created_at,
        due_at=None,
        usage_type="",
        frozen=task.frozen + task.consume,
        consume=0,
    )
