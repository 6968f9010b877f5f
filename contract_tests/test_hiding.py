"""The key is hidden in reports where it is the key, in every spelling, and nothing else is hidden."""

import base64
import html
import json
import string
from urllib.parse import quote

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unitask_contract import provider, runner
from unitask_contract.hiding import HIDDEN, hidden, hidden_in

from .support import tries

LONG_KEY = "ab/cd-ef+12\"3é&<s>'😀xyz"
SPELLINGS = {
    "as it is": LONG_KEY,
    "upper case": LONG_KEY.upper(),
    "JSON": json.dumps(LONG_KEY)[1:-1],
    "JSON in JSON": json.dumps(json.dumps(LONG_KEY))[3:-3],
    "JSON of PHP": json.dumps(LONG_KEY)[1:-1].replace("/", "\\/"),
    "URL": quote(LONG_KEY, safe=""),
    "HTML": html.escape(LONG_KEY),
    "Python": repr(LONG_KEY)[1:-1],
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_key_is_hidden_in_every_spelling(name: str) -> None:
    text = f"before {SPELLINGS[name]} after"

    assert hidden(text, LONG_KEY) == f"before {HIDDEN} after"
    assert hidden_in(text.encode(), LONG_KEY) == f"before {HIDDEN} after".encode()


@settings(max_examples=tries(60))
@given(key=st.text(string.printable + "é😀", min_size=10, max_size=40), before=st.binary(max_size=9), after=st.binary())
def test_key_is_hidden_in_base64(key: str, before: bytes, after: bytes) -> None:
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        text = encode(before + key.encode() + after).decode()
        first, found, last = hidden(text, key).partition(HIDDEN)
        assert found
        assert len(text) - len(first) - len(last) >= len(key.encode()) * 4 // 3 - 2


FORMS = ["{0}", "\\{0}", "\\u{1:04x}", "\\\\u{1:04X}", "%{1:02X}", "&#{1};", "&#x{1:x};", "\\x{1:02x}"]
keys = st.text(string.ascii_letters + string.digits + "-_/+=.", min_size=16, max_size=40)


@settings(max_examples=tries(60))
@given(key=keys | st.text("uUxX", min_size=16, max_size=20), data=st.data())
def test_key_is_hidden_in_a_mix_of_spellings(key: str, data: st.DataObject) -> None:
    spelled = "".join(data.draw(st.sampled_from(FORMS)).format(letter, ord(letter)) for letter in key)

    assert hidden(f"x{spelled}x", key).endswith(f"{HIDDEN}x")


@pytest.mark.parametrize(
    ("key", "text", "shown"),
    [
        ("k", "a task is broken: k", "a task is broken: k"),
        ("k", '{"api_key": "k", "ok": "k"}', f'{{"api_key": "{HIDDEN}", "ok": "k"}}'),
        ("sandbox", "the sandbox; authorization: Bearer sandbox", f"the sandbox; authorization: Bearer {HIDDEN}"),
        ("pass-word", "a\\nPass-words", f"a\\n{HIDDEN}s"),
    ],
)
def test_short_key_is_hidden_only_where_it_is_the_key(key: str, text: str, shown: str) -> None:
    assert hidden(text, key) == shown


@pytest.mark.parametrize("error", [AssertionError, ValueError, httpx.ConnectError])
def test_detail_and_cause_of_a_check_are_without_key_and_personal_data(error: type[Exception]) -> None:
    text = f"{LONG_KEY} of jane.doe@example.test at https://me:pass-word@files.test/a.png?Expires=1&Signature=abc"

    def check(_: provider.Provider) -> None:
        raise error(text)

    with provider.sandbox() as subject:
        subject.key = LONG_KEY
        result = runner.made(subject, runner.Check("x", "x", False, check))
        detail = f"{result.detail} {result.cause}"

    assert not any(secret in detail for secret in (LONG_KEY, "jane", "Signature", "abc", "me:", "word"))
    assert "https://files.test/a.png" in detail
