"""Bodies of the account operations: the account, the active tasks by group, and a page of the history.

The keys are those of the connector reference (MindCloud, 2025). Where no value was ever seen, it is a guess.
`Overview` is what the page shows beside them.
"""

import copy
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from unitask_api import contract

from unitask_sandbox import bundle
from unitask_sandbox.settings import Settings
from unitask_sandbox.store import Account, Store
from unitask_sandbox.task import Task, rfc3339
from unitask_sandbox.webhooks import ATTEMPTS

ACTIVE_GROUPS = ("flux", "kling", "luma", "midjourney", "music-s", "music-u")  # no toolkit group was seen
UNLIMITED = 1000  # shown where there is no limit; a client that obeys the number must not be slowed by it
FINISHED = {"completed": "finished"}  # recorded by a client, 2025; the other words are not known to differ

_GROUPS = {"midjourney": "mj", "wanx": "wan", "kling-turbo": "kling"}


def account_info(account: Account, key: str, settings: Settings) -> dict[str, Any]:
    """Return the account, with the key in clear, as the live answer has it."""
    info: dict[str, Any] = copy.deepcopy(
        contract.document()["components"]["examples"]["account.info.200"]["value"]["data"]
    )
    limits = [name for name in contract.component("Account")["properties"] if name.startswith("max_")]
    info |= {
        "id": account.number,
        "name": "sandbox",
        "api_key": key,
        "equivalent_in_usd": account.balance / bundle.CREDITS_PER_USD,
        "plan": "Creator",
        **dict.fromkeys(limits, settings.concurrency or UNLIMITED),
    }
    packs = info["credit_pack_info"]
    packs |= {"available_credits": account.balance, "total_credits": account.starting}
    packs["credit_packs"][0] |= {"capacity": account.starting, "expired_at": None}
    used = account.starting - account.balance - account.frozen
    info["wallet"] |= {"id": account.number, "point_frozen": account.frozen}
    info["wallet"] |= {"llm_remain": account.balance, "llm_used": used}
    return info


def active_tasks(tasks: Iterable[Task]) -> dict[str, Any]:
    """Return the tasks that have not ended, in the groups that were seen; tasks of other groups are in none."""
    groups: dict[str, dict[str, Any]] = {
        name: {"staged_count": 0, "pending_count": 0, "processing_count": 0, "active_tasks": []}
        for name in ACTIVE_GROUPS
    }
    for task in tasks:
        if group := groups.get("midjourney" if task.model == "midjourney" else group_of(task.model)):
            group[f"{task.status}_count"] += 1
            group["active_tasks"].append({"task_id": task.task_id, "status": task.status})  # a guess
    return groups


def history_row(number: int, account: int, task: Task) -> dict[str, Any]:
    """Return one row of the history; its status words are its own."""
    return {
        "id": number,
        "account_id": account,
        "api_key_id": account,
        "task_id": task.task_id,
        "task_model": group_of(task.model),
        "status": FINISHED.get(task.status, task.status),
        "service_mode": str(task.config.get("service_mode", "")),
        "usage": task.consume,
        "usage_type": task.usage_type,
        "action": task.task_type,
        "detail": {"model": task.model, "task_id": task.task_id, "workflow_type": task.task_type},
        "fixed": False,
        "created_at": rfc3339(task.created_at),
        "updated_at": rfc3339(task.ended_at or task.started_at or task.created_at),
        "deleted_at": None,
    }


def group_of(model: str) -> str:
    """Return the group of a model in the history: image_toolkit, flux, kling, mj, music-u and so on."""
    name = model.removeprefix("Qubico/")
    if name != model:
        name = name.replace("-", "_")
    for family in ("flux", "trellis"):
        if name.startswith(family):
            return family
    return _GROUPS.get(name, name.lower())


def models_of(group: str) -> list[str]:
    """Return the models of the catalogue that are in a group of the history."""
    return sorted({entry.model for entry in bundle.task_types() if group_of(entry.model) == group})


@dataclass(frozen=True, slots=True)
class Overview:
    """What the page at / shows of one account. Equal states give equal bytes, so a digest can stand for an answer."""

    store: Store
    account: str
    base_url: str  # of files

    def tasks(self, limit: int) -> dict[str, Any]:
        """Return the newest tasks, how many there are in all, and the money of the account in USD."""
        total, found = self.store.history(self.account, -math.inf, math.inf, None, limit, 0)
        account = self.store.account(self.account)
        return {
            "tasks": [self._row(task) for _, task in found],
            "total": total,
            "balance_usd": account.balance / bundle.CREDITS_PER_USD,
            "spent_usd": (account.starting - account.balance) / bundle.CREDITS_PER_USD,
        }

    def task(self, task: Task) -> dict[str, Any]:
        """Return one task: its row, the answer to a poll, its movements of money and the attempts of its webhook."""
        attempts = [asdict(attempt) for attempt in self.store.attempts(task.task_id)]
        return {
            "task": self._row(task),
            "data": task.body(self.base_url),
            "ledger": [
                {"at": at, "reason": reason, "usd": credits_ / bundle.CREDITS_PER_USD}
                for at, reason, credits_ in self.store.movements(task.task_id)
            ],
            "webhook": {"attempts": attempts, "at_most": ATTEMPTS},
        }

    def given(self, task: Task) -> dict[str, Any]:
        """Return the input of a task as it was sent; None when it is not kept any more."""
        return {"input": self.store.recent_input(task.task_id)}

    def _row(self, task: Task) -> dict[str, Any]:
        # nothing is taken for a task whose price no source says
        is_priced = bool(task.consume or task.frozen) or task.status in ("failed", "cancelled")
        shown = ("task_id", "model", "task_type", "status", "created_at", "started_at", "ended_at")
        return {
            **{name: getattr(task, name) for name in shown},
            "cost_usd": task.consume / bundle.CREDITS_PER_USD if is_priced else None,
            "error": task.error.get("raw_message") or task.error.get("message") or "",
            "simulated": "simulated" in task.meta,
            "output": task.shown_output(self.base_url),
        }
