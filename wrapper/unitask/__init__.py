"""Python client for the unified generation-task API of PiAPI and Qubico: submit once, wait, never lose a task.

    from unitask import Client, tasks

    with Client() as client:
        task = client.run(tasks.FaceSwap(target_image="group.jpg", swap_image="me.png"))
        client.download(task, "out/")

Importing this package imports neither httpx nor the models: each name is loaded when it is first used (PEP 562).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from . import errors
from ._version import __version__
from .errors import *  # noqa: F403

if TYPE_CHECKING:
    from . import tasks, webhooks
    from ._model.account import Account, ActiveTasks, CreditPack, HistoryRow, Wallet
    from ._model.state import State
    from ._model.task import Outcome, Output, OutputFile, Recovery, Task
    from ._model.timestamp import Timestamp
    from ._model.upload import Upload
    from .async_client import AsyncClient
    from .budget import Budget
    from .client import Client
    from .inputs import AdvisoryWarning, Options, TaskInput
    from .media import Media, Picture


__all__ = [
    "Account",
    "ActiveTasks",
    "AdvisoryWarning",
    "AsyncClient",
    "Budget",
    "Client",
    "CreditPack",
    "HistoryRow",
    "Media",
    "Options",
    "Outcome",
    "Output",
    "OutputFile",
    "Picture",
    "Recovery",
    "State",
    "Task",
    "TaskInput",
    "Timestamp",
    "Upload",
    "Wallet",
    "__version__",
    "errors",
    "tasks",
    "webhooks",
]
__all__ += errors.__all__

_WHERE = {
    "Account": "_model.account",
    "ActiveTasks": "_model.account",
    "CreditPack": "_model.account",
    "HistoryRow": "_model.account",
    "Wallet": "_model.account",
    "AsyncClient": "async_client",
    "Budget": "budget",
    "Client": "client",
    "AdvisoryWarning": "inputs",
    "Options": "inputs",
    "TaskInput": "inputs",
    "Media": "media",
    "Picture": "media",
    "Upload": "_model.upload",
    "Recovery": "_model.task",
    "Outcome": "_model.task",
    "Output": "_model.task",
    "OutputFile": "_model.task",
    "State": "_model.state",
    "Task": "_model.task",
    "Timestamp": "_model.timestamp",
}


def __getattr__(name: str) -> Any:
    if name not in (*_WHERE, "tasks", "webhooks"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name in ("tasks", "webhooks"):
        return import_module(f"{__name__}.{name}")
    value = getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
