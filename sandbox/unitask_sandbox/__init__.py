"""The sandbox of unitask: a local provider that serves the provider's HTTP API and really swaps faces.

`serve` and `running` start it as a server, `create_app` is the ASGI application, `Sandbox` the provider without HTTP,
`Settings` its options, `Fault` something that goes wrong; `read_faults` reads faults from a file. A name is imported
when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from unitask_sandbox.app import create_app
    from unitask_sandbox.faults import Fault, read_faults
    from unitask_sandbox.provider import Sandbox
    from unitask_sandbox.server import running, serve
    from unitask_sandbox.settings import Settings

__all__ = ["Fault", "Sandbox", "Settings", "create_app", "read_faults", "running", "serve"]

_HOME = {
    "Fault": "faults",
    "Sandbox": "provider",
    "Settings": "settings",
    "create_app": "app",
    "read_faults": "faults",
    "running": "server",
    "serve": "server",
}


def __getattr__(name: str) -> object:
    """Import the module that defines a public name the first time the name is used (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value
