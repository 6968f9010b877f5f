"""docs/faults.md lists every named fault, evidence and kind, and its example of an order is valid."""

import json
import re
from typing import get_args

from unitask_sandbox.faults import EVIDENCE, Kind, library, read_orders

from scripts.pages import DOCS, faults, page

TEXT = (DOCS / "faults.md").read_text(encoding="utf-8")


def test_page_is_current() -> None:
    assert page("faults.md", faults()) == TEXT


def test_page_has_every_name() -> None:
    assert sorted(re.findall(r"^\| `([a-z0-9-]+)` \|", TEXT, re.MULTILINE)) == sorted(library())
    assert set(re.findall(r"^- `([a-z]+)`: ", TEXT, re.MULTILINE)) == {*EVIDENCE, *get_args(Kind)}


def test_orders_of_the_page_are_valid() -> None:
    (shown,) = re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL)

    assert len(read_orders(json.loads(shown))) == 3
