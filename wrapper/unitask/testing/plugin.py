"""The pytest plugin: fixtures, whose modules are imported when a test uses one of them."""

from __future__ import annotations  # the annotations name classes that are imported late

from collections.abc import Callable, Iterator
from contextlib import ExitStack

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


@pytest.fixture
def unitask_recording(request: pytest.FixtureRequest) -> Iterator[Callable[..., testing.UnitaskRecording]]:
    """A function that answers every unitask client of the test from a folder of `unitask record`.

    Its arguments are those of `unitask.testing.UnitaskRecording`; a relative folder is beside the test module.
    """
    failed = request.session.testsfailed
    with ExitStack() as stack:

        def play(folder: str, *, all_used: bool = False) -> testing.UnitaskRecording:
            recording = testing.UnitaskRecording(request.path.parent / folder, all_used=all_used)
            # a test that has failed is not reported twice
            stack.callback(lambda: recording.__exit__(request.session.testsfailed > failed or None))
            return recording.__enter__()

        yield play
