"""The account and its past tasks. No real value was ever seen, so every field may be None, and `raw` holds them all."""

from unitask_api.models import account as models
from unitask_api.models.account import ActiveTasks, CreditPack, Wallet
from unitask_api.states import State, state_of

from ._json import as_object, broken_field, is_id

__all__ = ["Account", "ActiveTasks", "CreditPack", "HistoryRow", "Wallet"]


class _Own:
    """A reader whose errors are ours."""

    @staticmethod
    def field_error(owner: str, name: str, value: object, expected: str, task_id: str | None) -> Exception:
        """Return the error of a field that is not as documented."""
        return broken_field(owner, name, value, expected, task_id)


class Account(_Own, models.Account):
    """Account, balance and limits."""

    @property
    def balance_usd(self) -> float | None:
        """The balance that can be used, in USD (`equivalent_in_usd`)."""
        return self.equivalent_in_usd


class HistoryRow(_Own, models.HistoryRow):
    """A past task, as the history lists it; `client.get(row.task_id)` returns the whole task."""

    @property
    def task_id(self) -> str | None:
        """The id of the task; None when the row has none. `id`, documented as the number of the row, counts last."""
        number = self.raw.get("id")
        is_number = isinstance(number, str) and number.strip().isdecimal()
        ids = (self.raw.get("task_id"), as_object(self.raw.get("detail")).get("task_id"), "" if is_number else number)
        return next((text for text in ids if is_id(text)), None)

    @property
    def state(self) -> State:
        """The state that the status word stands for; "finished" was recorded for completed."""
        return state_of(self.raw.get("status"))

    @property
    def group(self) -> str | None:
        """The group of models (`task_model`), such as image_toolkit, as `history(group=...)` takes it."""
        return self.task_model

    @property
    def model(self) -> str | None:
        """The model, when the row says it."""
        detail = self.detail
        return (detail and detail.model) or None

    @property
    def task_type(self) -> str | None:
        """The task type (`workflow_type`), when the row says it."""
        detail = self.detail
        return (detail and detail.workflow_type) or None
