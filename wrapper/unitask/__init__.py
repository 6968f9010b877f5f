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
    from unitask_api.states import State

    from . import tasks, webhooks
    from ._core.uploads import Upload
    from ._model.account import Account, ActiveTasks, CreditPack, HistoryRow, Wallet
    from ._model.task import Outcome, Output, OutputFile, Recovery, Task
    from ._model.timestamp import Timestamp
    from .async_client import AsyncClient
    from .budget import Budget
    from .client import Client
    from .inputs import AdvisoryWarning, Options, TaskInput
    from .mapping import MapProgress, MapResult
    from .media import Media, Picture


__all__ = ["Account", "ActiveTasks", "AdvisoryWarning", "AsyncClient", "Budget", "Client", "CreditPack", "HistoryRow"]
__all__ += [
    "MapProgress",
    "MapResult",
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
]
__all__ += ["Timestamp", "Upload", "Wallet", "__version__", "errors", "tasks", "webhooks"]
__all__ += errors.__all__

_NAMES = {
    "_model.account": ("Account", "ActiveTasks", "CreditPack", "HistoryRow", "Wallet"),
    "_model.task": ("Outcome", "Output", "OutputFile", "Recovery", "State", "Task"),
    "_model.timestamp": ("Timestamp",),
    "_core.uploads": ("Upload",),
    "async_client": ("AsyncClient",),
    "budget": ("Budget",),
    "client": ("Client",),
    "inputs": ("AdvisoryWarning", "Options", "TaskInput"),
    "mapping": ("MapProgress", "MapResult"),
    "media": ("Media", "Picture"),
}
_MODULES = {name: module for module, names in _NAMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name in ("tasks", "webhooks"):
        return import_module(f"{__name__}.{name}")
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
