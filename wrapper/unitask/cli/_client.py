"""The client of the commands: its key, and a record of each submission."""

import os

from .. import errors
from ..budget import Budget
from ..client import Client

NO_KEY = (
    "there is no API key: set UNITASK_API_KEY. Without an account, `unitask sandbox` starts the local provider, and "
    "prints the settings for it"
)


def connect(base_url: str | None, *, budget: Budget | None = None) -> Client:
    """Return a client for the provider of a command.

    Raises:
        InvalidInput: There is no key, or the base URL cannot be used.
    """
    key = os.environ.get("UNITASK_API_KEY") or os.environ.get("PIAPI_API_KEY")
    if not key:
        raise errors.InvalidInput(NO_KEY)
    return Client(key, base_url, budget=budget)
