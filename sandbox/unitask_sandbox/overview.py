"""What the page at / shows of one account. Equal states give equal bytes, so a digest can stand for an answer."""

from dataclasses import asdict, dataclass
from typing import Any

from unitask_sandbox.bundle import CREDITS_PER_USD
from unitask_sandbox.failures import TASK_NOT_FOUND, Refusal
from unitask_sandbox.store import Store
from unitask_sandbox.task import Task
from unitask_sandbox.webhooks import ATTEMPTS


@dataclass(frozen=True, slots=True)
class Overview:
    """The tasks of one account."""

    store: Store
    account: str
    base_url: str  # of files

    def tasks(self, limit: int) -> dict[str, Any]:
        """Return the newest tasks, how many there are in all, and the money of the account in USD."""
        total, found = self.store.history(self.account, float("-inf"), float("inf"), None, limit, 0)
        account = self.store.account(self.account)
        return {
            "tasks": [_row(task, self.base_url) for _, task in found],
            "total": total,
            "balance_usd": _usd(account.balance),
            "spent_usd": _usd(account.starting - account.balance),
        }

    def task(self, task_id: str) -> dict[str, Any]:
        """Return one task: its row, the answer to a poll, its movements of money and the attempts of its webhook."""
        task = self._found(task_id)
        return {
            "task": _row(task, self.base_url),
            "data": task.body(self.base_url),
            "ledger": [
                {"at": at, "reason": reason, "usd": _usd(credits_)}
                for at, reason, credits_ in self.store.movements(task_id)
            ],
            "webhook": {"attempts": [asdict(attempt) for attempt in self.store.attempts(task_id)], "at_most": ATTEMPTS},
        }

    def given(self, task_id: str) -> dict[str, Any]:
        """Return the input of a task as it was sent; None once the task has ended."""
        return {"input": self.store.given(task_id) if self._found(task_id).ended_at is None else None}

    def _found(self, task_id: str) -> Task:
        task = self.store.task(task_id)
        if task is None or task.account != self.account:
            raise Refusal(404, TASK_NOT_FOUND)
        return task


def _row(task: Task, base_url: str) -> dict[str, Any]:
    # nothing is taken for a task whose price no source says
    is_priced = bool(task.consume or task.frozen) or task.status in ("failed", "cancelled")
    return {
        "task_id": task.task_id,
        "model": task.model,
        "task_type": task.task_type,
        "status": task.status,
        "created_at": task.created_at,
        "started_at": task.started_at,
        "ended_at": task.ended_at,
        "cost_usd": _usd(task.consume) if is_priced else None,
        "error": task.error.get("raw_message") or task.error.get("message") or "",
        "simulated": "simulated" in task.meta,
        "output": task.shown_output(base_url),
    }


def _usd(credits_: int) -> float:
    return credits_ / CREDITS_PER_USD
