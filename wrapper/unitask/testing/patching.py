"""Replace the defaults of the clients during a test: environment, transport, clock and sleep."""

import asyncio
import time
from collections.abc import Generator
from contextlib import contextmanager

import pytest

from .._base_client import BaseClient, Defaults

SANDBOX_MISSING = "the fixture unitask_sandbox needs the local provider: pip install 'unitask[sandbox]' ({})"
LONGEST_SLEEP = 0.02  # seconds


def use(patch: pytest.MonkeyPatch, url: str, key: str, defaults: Defaults) -> None:
    """Make the clients use this provider."""
    patch.setenv("UNITASK_BASE_URL", url)
    patch.setenv("UNITASK_API_KEY", key)
    patch.setattr(BaseClient, "defaults", defaults)


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
        use(patch, url, "sandbox", Defaults(sleep=sleep, sleep_async=sleep_async))
        yield url
