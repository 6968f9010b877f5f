"""Fixtures for the tests of the spec and of what is generated from it."""

import copy
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from generator import bundle as bundling

SPEC = Path(__file__).resolve().parents[1]


@cache
def bundled() -> dict[str, Any]:
    """The bundle of the spec as it is."""
    return bundling.bundle(SPEC)


@pytest.fixture
def document() -> dict[str, Any]:
    """The bundle, to be broken as a test likes."""
    return copy.deepcopy(bundled())
