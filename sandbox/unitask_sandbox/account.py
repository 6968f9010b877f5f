"""Bodies of the account operations: the account, the active tasks by group, and a page of the history.

The keys are those of the connector reference (MindCloud, 2025). Where no value was ever seen, it is a guess.
"""

from collections.abc import Iterable
from typing import Any

from unitask_sandbox import bundle
from unitask_sandbox.settings import Settings
from unitask_sandbox.store import Account
from unitask_sandbox.task import Task, rfc3339

ACTIVE_GROUPS = ("flux", "kling", "luma", "midjourney", "music-s", "music-u")  # no toolkit group was seen
UNLIMITED = 1000  # shown where there is no limit; a client that keeps to the number it reads shall not be slowed by it
FINISHED = {"completed": "finished"}  # recorded by a client, 2025; the other words are not known to differ

_GROUPS = {"midjourney": "mj", "wanx": "wan", "kling-turbo": "kling"}
_LIMITS = ("flux", "hailuo", "image_toolkit", "internal_proxy", "kling", "luma", "suno", "trellis", "udio")


def account_info(account: Account, key: str, settings: Settings) -> dict[str, Any]:
    """The account, with the key in clear, as the live answer has it."""
    used = account.starting - account.balance - account.frozen
    limit = settings.concurrency or UNLIMITED
    return {
        "id": account.number,
        "name": "sandbox",
        "api_key": key,
        "equivalent_in_usd": account.balance / bundle.CREDITS_PER_USD,
        "plan": settings.plan,
        "type": "user",
        "platform": "sandbox",
        "account_group": "",
        "account_tags": [],
        "is_enable": True,
        "is_verified": True,
        "notification_hook_url": "",
        "max_concurrent_task_count": limit,
        **{f"max_{name}_concurrency": limit for name in _LIMITS},
        "credit_pack_info": {
            "available_credits": account.balance,
            "total_credits": account.starting,
            "credit_packs_count": 1,
            "credit_packs": [{"id": 1, "active": True, "capacity": account.starting, "expired_at": None}],
        },
        "wallet": {
            "id": account.number,
            "auto_recharge_enabled": False,
            "point_remain": 0,
            "point_frozen": account.frozen,
            "point_used": 0,
            "llm_remain": account.balance,
            "llm_used": used,
            "gpts_remain": 0,
            "luma_remain": 0,
            "mj_remain": 0,
            "suno_remain": 0,
        },
        "created_at": None,
        "updated_at": None,
        "deleted_at": None,
    }


def active_tasks(tasks: Iterable[Task]) -> dict[str, Any]:
    """The tasks that have not ended, in the groups that were seen; tasks of other groups are in none."""
    by_group: dict[str, list[Task]] = {name: [] for name in ACTIVE_GROUPS}
    for task in tasks:
        group = "midjourney" if task.model == "midjourney" else group_of(task.model)
        by_group.get(group, []).append(task)
    return {
        group: {
            "staged_count": sum(task.status == "staged" for task in found),
            "pending_count": sum(task.status == "pending" for task in found),
            "processing_count": sum(task.status == "processing" for task in found),
            "active_tasks": [{"task_id": task.task_id, "status": task.status} for task in found],  # a guess
        }
        for group, found in by_group.items()
    }


def history_row(number: int, account: int, task: Task) -> dict[str, Any]:
    """One row of the history; its status words are its own."""
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
    """The group that the history files a model under: image_toolkit, flux, kling, mj, music-u and so on."""
    name = model.removeprefix("Qubico/")
    if name != model:
        name = name.replace("-", "_")
    for family in ("flux", "trellis"):
        if name.startswith(family):
            return family
    return _GROUPS.get(name, name.lower())


def models_of(group: str) -> list[str]:
    """The models of the catalogue that the history files under a group."""
    return sorted({entry.model for entry in bundle.task_types() if group_of(entry.model) == group})
