"""The pytest plugin: two fixtures, whose modules are imported when a test uses one of them."""

from __future__ import annotations  # the annotations name classes that are imported late

from collections.abc import Iterator

import pytest

from unitask import testing


@pytest.fixture
def unitask_provider() -> Iterator[testing.UnitaskProvider]:
    """A provider in memory for every unitask client of the test: no network, no waiting, scripted answers.

    By default each task is completed at the first poll. See `unitask.testing.UnitaskProvider`.
    """
    with testing.UnitaskProvider() as provider:
        yield provider


@pytest.fixture
def unitask_sandbox() -> Iterator[str]:
    """The local provider on a free port, empty, and UNITASK_BASE_URL and UNITASK_API_KEY set for it; yields its URL.

    It really swaps faces; other tasks end with a small file marked SIMULATED. Clients poll every 20 ms.
    """
    with testing.running_sandbox() as url:
        yield url
