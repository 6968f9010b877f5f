"""How much hypothesis tries: a profile multiplies what each test says, and none says it without the profile."""

from __future__ import annotations

import re
from pathlib import Path

from hypothesis import settings

from .support import tries


def test_nightly_profile_tries_many_more() -> None:
    usual, nightly = settings.get_profile("ci"), settings.get_profile("nightly")
    name = settings.get_current_profile_name()
    try:
        settings.load_profile("ci")
        tried = tries(60)
        settings.load_profile("nightly")
        tried_at_night = tries(60)
    finally:
        settings.load_profile(name)

    assert (tried, tried_at_night) == (60, 1200)
    assert (usual.derandomize, nightly.derandomize, nightly.print_blob) == (True, False, True)


def test_every_test_heeds_the_profile() -> None:
    """A number of its own would be the same at night."""
    own = re.compile(r"^(@settings|Test\w+\.settings = settings)\(max_examples=\d", re.MULTILINE)
    assert not [path.name for path in Path(__file__).parent.glob("test_*.py") if own.search(path.read_text("utf-8"))]
