"""The account and its past tasks, as the provider describes them.

Field names are the provider's own, as a connector lists them (2026-08-08); the account page, and the history page of
2025-04-15, name some of them. No real value was ever seen, so every field may be None, and `raw` holds them all. The
provider's answer about the account has the key in it; here it is replaced by "***".
"""

from __future__ import annotations

from datetime import datetime

from ._json import as_object, is_id
from .record import Record
from .state import State, state_of

__all__ = ["Account", "ActiveTasks", "CreditPack", "HistoryRow", "Wallet"]


class CreditPack(Record):
    """Credits bought in one pack."""

    @property
    def active(self) -> bool | None:
        """Whether it can be used."""
        return self._flag("active")

    @property
    def capacity(self) -> float | None:
        """Credits in it when bought."""
        return self._float("capacity")

    @property
    def expired_at(self) -> datetime | None:
        """When it ends, in UTC."""
        return self._time("expired_at")


class Wallet(Record):
    """Balances, in credits by kind."""

    @property
    def point_remain(self) -> float | None:
        """Points left."""
        return self._float("point_remain")

    @property
    def point_frozen(self) -> float | None:
        """Points put aside for running tasks."""
        return self._float("point_frozen")

    @property
    def point_used(self) -> float | None:
        """Points used."""
        return self._float("point_used")

    @property
    def llm_remain(self) -> float | None:
        """LLM credits left."""
        return self._float("llm_remain")

    @property
    def llm_used(self) -> float | None:
        """LLM credits used."""
        return self._float("llm_used")

    @property
    def auto_recharge_enabled(self) -> bool | None:
        """Whether it tops up by itself."""
        return self._flag("auto_recharge_enabled")


class Account(Record):
    """Account, balance and limits."""

    @property
    def name(self) -> str | None:
        """Name of the account."""
        return self._text("name")

    @property
    def plan(self) -> str | None:
        """The plan, such as Free, Creator or Pro."""
        return self._text("plan")

    @property
    def balance_usd(self) -> float | None:
        """The balance that can be used, in USD (`equivalent_in_usd`)."""
        return self._float("equivalent_in_usd")

    @property
    def max_concurrent_task_count(self) -> int | None:
        """Tasks that may be pending or processing at once."""
        return self._int("max_concurrent_task_count")

    @property
    def wallet(self) -> Wallet | None:
        """Balances by kind of credit."""
        return self._object("wallet", Wallet)

    @property
    def credit_packs(self) -> list[CreditPack]:
        """Credits bought in packs."""
        info = self._object("credit_pack_info", _CreditPackInfo)
        return info.credit_packs if info else []

    @property
    def notification_hook_url(self) -> str | None:
        """Where account notifications go."""
        return self._text("notification_hook_url")


class _CreditPackInfo(Record):
    @property
    def credit_packs(self) -> list[CreditPack]:
        return self._objects("credit_packs", CreditPack)


class ActiveTasks(Record):
    """What a group of models has in hand."""

    @property
    def staged_count(self) -> int | None:
        """Tasks over the concurrency limit, waiting; Midjourney only."""
        return self._int("staged_count")

    @property
    def pending_count(self) -> int | None:
        """Tasks accepted."""
        return self._int("pending_count")

    @property
    def processing_count(self) -> int | None:
        """Tasks running."""
        return self._int("processing_count")


class HistoryRow(Record):
    """A past task, as the history lists it. `client.get(row.task_id)` has the whole task."""

    @property
    def task_id(self) -> str | None:
        """The id to get it by; None when the row has none.

        `id` is documented as the number of the row; it is taken for the task's when it is a text that is no number and
        the row has no other.
        """
        number = self.raw.get("id")
        is_number = isinstance(number, str) and number.strip().isdecimal()
        ids = (self.raw.get("task_id"), as_object(self.raw.get("detail")).get("task_id"), "" if is_number else number)
        return next((text for text in ids if is_id(text)), None)

    @property
    def status(self) -> object:
        """The status word as written: not always a task's ("finished" was recorded for completed)."""
        return self.raw.get("status")

    @property
    def state(self) -> State:
        """What the status word stands for."""
        return state_of(self.status)

    @property
    def group(self) -> str | None:
        """The group of models (`task_model`), such as image_toolkit: what `history(model=...)` asks for."""
        return self._text("task_model")

    @property
    def model(self) -> str | None:
        """The model, when the row says it."""
        detail = self._object("detail", _HistoryDetail)
        return (detail and detail.model) or None

    @property
    def task_type(self) -> str | None:
        """The task type (`workflow_type`), when the row says it."""
        detail = self._object("detail", _HistoryDetail)
        return (detail and detail.workflow_type) or None

    @property
    def created_at(self) -> datetime | None:
        """When it was submitted, in UTC."""
        return self._time("created_at")

    @property
    def usage_type(self) -> str | None:
        """Kind of credits."""
        return self._text("usage_type")


class _HistoryDetail(Record):
    @property
    def model(self) -> str | None:
        return self._text("model")

    @property
    def workflow_type(self) -> str | None:
        return self._text("workflow_type")
