"""Calls that only read: the request, and what is read of the answer.

A new GET is a function here, with its reader, and a method in each client.
"""

from __future__ import annotations

from unitask_api.api.account import get_account_info, list_active_tasks

from .. import errors
from .._model._json import as_object, broken_field, is_object
from .._model.account import Account, ActiveTasks
from . import envelope, requests
from .effects import Flow, Response
from .retry import send_with_retry
from .retry_policy import Timeouts


def account(limits: Timeouts) -> Flow[Account]:
    """Read the account."""
    return send_with_retry(requests.sent(get_account_info.build_request()), _read_account, limits)


def active_tasks(limits: Timeouts) -> Flow[dict[str, ActiveTasks]]:
    """Read how many tasks each group of models has that are not done."""
    return send_with_retry(requests.sent(list_active_tasks.build_request()), _read_active_tasks, limits)


def _read_account(answer: Response) -> Account | errors.ApiError:
    """The account, without the key that is in the answer."""
    data = envelope.read_data(answer)
    if isinstance(data, errors.ApiError):
        return data
    if is_object(data.get("data")):  # an envelope in another one
        return envelope.broken(answer, "no account")
    return Account({**data, "api_key": "***"})


def _read_active_tasks(answer: Response) -> dict[str, ActiveTasks] | errors.ApiError:
    """What each group of models has in hand."""
    data = envelope.read_data(answer)
    if isinstance(data, errors.ApiError):
        return data
    if not all(counts is None or is_object(counts) for counts in data.values()):
        return envelope.broken(answer, "no counts of tasks")
    return {group: ActiveTasks(as_object(counts), error=broken_field) for group, counts in data.items()}
