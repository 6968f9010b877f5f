"""The pytest plugin: two fixtures. Whatever they need is imported when a test asks for one of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .provider import UnitaskProvider

SANDBOX_MISSING = "the fixture unitask_sandbox needs the local provider: pip install 'unitask[sandbox]' ({})"
LONGEST_PAUSE = 0.02  # seconds


@pytest.fixture
def unitask_provider() -> Iterator[UnitaskProvider]:
    """A provider in memory that every unitask client of the test talks to: no network, no waiting, answers as scripted.

    By default each task is completed at the first look. See `unitask.testing.UnitaskProvider`.
    """
    from .provider import UnitaskProvider

    with UnitaskProvider() as provider:
        yield provider


@pytest.fixture
def unitask_sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The local provider on a free port, empty, and UNITASK_BASE_URL and UNITASK_API_KEY set for it; yields its URL.

    It really swaps faces; other tasks end with a small file marked SIMULATED. Clients look every 20 ms.
    """
    try:
        from unitask_sandbox import Settings, running
    except ImportError as error:
        raise pytest.fail.Exception(SANDBOX_MISSING.format(error), pytrace=False) from None
    from .patching import look_often, set_environment

    with running(Settings()) as url:
        set_environment(monkeypatch, url, "sandbox")
        look_often(monkeypatch, LONGEST_PAUSE)
        yield url
