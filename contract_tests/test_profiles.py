"""How much hypothesis tries: a profile multiplies what each test says, and none says it without the profile."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import settings

from .support import tries

ROOT = Path(__file__).resolve().parents[1]


def test_nightly_profile_tries_many_more() -> None:
    """Twenty times what a test usually tries, never the same, and a failure says how to play it again."""
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


@pytest.mark.parametrize("folder", ["wrapper/tests", "sandbox/tests", "spec/tests"])
def test_every_folder_of_tests_has_the_profiles(folder: str) -> None:
    """Each folder alone runs without a deadline: a busy machine fails no property."""
    code = f"""
import pytest
class Seen:
    def pytest_sessionfinish(self):
        from hypothesis import settings
        print("deadline", settings.default.deadline, "profile", settings.get_current_profile_name())
pytest.main(["-q", "-p", "no:cacheprovider", "--ignore-glob=*", {folder!r}], plugins=[Seen()])
"""
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)

    assert "deadline None profile " in run.stdout, run.stdout + run.stderr
