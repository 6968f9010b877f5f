"""The key in reports: hidden where it is the key, however it is spelled, and nothing else is hidden."""

from __future__ import annotations

import html
import json
import string
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unitask_contract.hiding import HIDDEN, hidden, hidden_in, visible

from .support import tries

LONG_KEY = "ab/cd-ef+12\"3é&<s>'😀xyz"
SPELLINGS = {
    "as it is": str,
    "JSON": lambda text: json.dumps(text)[1:-1],
    "JSON in JSON": lambda text: json.dumps(json.dumps(text))[3:-3],
    "JSON of PHP": lambda text: json.dumps(text)[1:-1].replace("/", "\\/"),
    "every letter escaped": lambda text: "".join(
        f"\\u{text_unit:04X}" for text_unit in memoryview(text.encode("utf-16-le")).cast("H")
    ),
    "URL": lambda text: quote(text, safe=""),
    "HTML": html.escape,
    "HTML by number": lambda text: "".join(f"&#{ord(letter)};" for letter in text),
    "Python": lambda text: repr(text)[1:-1],
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_key_is_hidden_however_it_is_spelled(name: str) -> None:
    text = f"before {SPELLINGS[name](LONG_KEY)} after"

    assert hidden(text, LONG_KEY) == f"before {HIDDEN} after"
    assert hidden_in(text.encode(), LONG_KEY) == f"before {HIDDEN} after".encode()


keys = st.text(string.ascii_letters + string.digits + "-_/+=.", min_size=16, max_size=40)


@settings(max_examples=tries(60))
@given(key=keys, data=st.data())
def test_no_mix_of_spellings_shows_the_key(key: str, data: st.DataObject) -> None:
    forms = ["{0}", "\\{0}", "\\u{1:04x}", "\\\\u{1:04X}", "%{1:02X}", "&#{1};", "&#x{1:x};", "\\x{1:02x}"]
    spelled = "".join(data.draw(st.sampled_from(forms)).format(letter, ord(letter)) for letter in key)

    assert hidden(f"x{spelled}x", key).endswith(f"{HIDDEN}x")


@pytest.mark.parametrize(
    ("key", "text", "shown"),
    [
        ("k", "a task is broken: k", "a task is broken: k"),
        ("k", '{"api_key": "k", "ok": "k"}', f'{{"api_key": "{HIDDEN}", "ok": "k"}}'),
        ("k", "x-api-key: k; kept", f"x-api-key: {HIDDEN}; kept"),
        ("sandbox", "the sandbox in-process", "the sandbox in-process"),
        ("sandbox", "authorization: Bearer sandbox", f"authorization: Bearer {HIDDEN}"),
        ("pass-word", "his pass-words, and pass-word", f"his pass-words, and {HIDDEN}"),
        ("pass-word", "a\\npass-word", f"a\\n{HIDDEN}"),
        ("0123456789abcdef", "key0123456789abcdefkey", f"key{HIDDEN}key"),
    ],
)
def test_key_is_hidden_only_where_it_is_the_key(key: str, text: str, shown: str) -> None:
    """A key of a letter would take every such letter out of the report."""
    assert hidden(text, key) == shown


def test_what_would_control_a_terminal_is_shown_by_its_number() -> None:
    assert visible("a\x1b[2J\x9b2J\r\u202eb\tc\nd\u7d50") == "a\\x1b[2J\\x9b2J\\x0d\\u202eb\tc\nd\u7d50"
