"""Replace the defaults of the clients during a test: environment, transport, clock and sleep.

Every client that is made during the test uses them; explicit arguments still win.
"""

import asyncio
import time
from collections.abc import Generator
from contextlib import contextmanager

import httpx
import pytest

from .._base_client import BaseClient, Defaults
from .clock import InstantClock

SANDBOX_MISSING = "the fixture unitask_sandbox needs the local provider: pip install 'unitask[sandbox]' ({})"
LONGEST_SLEEP = 0.02  # seconds


def set_environment(patch: pytest.MonkeyPatch, url: str, key: str) -> None:
    """Set base URL and key of the provider."""
    patch.setenv("UNITASK_BASE_URL", url)
    patch.setenv("UNITASK_API_KEY", key)


def use_transport(patch: pytest.MonkeyPatch, transport: httpx.MockTransport, clock: InstantClock) -> None:
    """Make the clients use this transport and this clock."""
    patch.setattr(BaseClient, "defaults", Defaults(transport, clock, clock.sleep, clock.sleep_async))


@contextmanager
def running_sandbox() -> Generator[str]:
    """Run the local provider, and make it the default of all clients."""
    try:
        from unitask_sandbox import Settings, running
    except ImportError as error:
        raise pytest.fail.Exception(SANDBOX_MISSING.format(error), pytrace=False) from None

    def sleep(seconds: float) -> None:
        time.sleep(min(seconds, LONGEST_SLEEP))

    async def sleep_async(seconds: float) -> None:
        await asyncio.sleep(min(seconds, LONGEST_SLEEP))

    with running(Settings()) as url, pytest.MonkeyPatch.context() as patch:
        set_environment(patch, url, "sandbox")
        patch.setattr(BaseClient, "defaults", Defaults(sleep=sleep, sleep_async=sleep_async))
        yield url
