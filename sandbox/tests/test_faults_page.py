"""docs/faults.md is what the library gives, whole, and what it shows can be ordered."""

from __future__ import annotations

import json
import re

from unitask_sandbox.library import EVIDENCE, library, read_orders

from sandbox.faults_page import EVIDENCE_WORDS, PAGE, page

TEXT = PAGE.read_text(encoding="utf-8")


def test_page_is_current() -> None:
    """`make generate` writes it."""
    assert page() == TEXT


def test_page_has_every_name() -> None:
    """One row each."""
    assert sorted(re.findall(r"^\| `([a-z0-9-]+)` \|", TEXT, re.MULTILINE)) == sorted(library())
    assert EVIDENCE_WORDS.keys() == set(EVIDENCE)


def test_orders_of_the_page_are_good() -> None:
    """The JSON that it shows can be sent as it stands."""
    (shown,) = re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL)

    assert len(read_orders(json.loads(shown))) == 3
