"""docs/faults.md is what the library gives, whole, and what it shows can be ordered."""

import json
import re
from typing import get_args

from unitask_sandbox.faults import EVIDENCE, Kind, library, read_orders

from scripts.faults_page import EVIDENCE_WORDS, KIND_WORDS, PAGE, page

TEXT = PAGE.read_text(encoding="utf-8")


def test_page_is_current() -> None:
    assert page() == TEXT


def test_page_has_every_name() -> None:
    assert sorted(re.findall(r"^\| `([a-z0-9-]+)` \|", TEXT, re.MULTILINE)) == sorted(library())
    assert EVIDENCE_WORDS.keys() == set(EVIDENCE)
    assert KIND_WORDS.keys() == set(get_args(Kind))


def test_orders_of_the_page_are_good() -> None:
    (shown,) = re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL)

    assert len(read_orders(json.loads(shown))) == 3
