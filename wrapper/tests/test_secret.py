"""Keys and webhook secrets: values that work, and that nothing shows, however a provider writes them."""

import base64
import html
import json
import logging
from collections.abc import Callable

import httpcore
import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from unitask import Client
from unitask._model.secret import Hider, Secret

from .script import seen
from .shells import FACE_SWAP, KEY, perform, provider


def in_unicode_escapes(text: str) -> str:
    return "".join(f"\\u{unit:04x}" for unit in memoryview(text.encode("utf-16-le")).cast("H"))


ESCAPED: dict[str, Callable[[str], str]] = {
    "JSON": lambda text: json.dumps(text)[1:-1],
    "unicode escapes": in_unicode_escapes,
    "repr of bytes": lambda text: "".join(f"\\x{byte:02x}" for byte in text.encode()),
    "percent-encoded": lambda text: "".join(f"%{byte:02X}" for byte in text.encode()),
    "a page": html.escape,
    "decimal references": lambda text: "".join(f"&#{ord(letter)};" for letter in text),
}
PACKED: dict[str, Callable[[str], str]] = {  # applied first
    "as it is": str,
    "capitals": lambda text: text.upper() if text.isascii() else text,
    "hexadecimal digits": lambda text: text.encode().hex(),
    "base64": lambda text: base64.b64encode(text.encode()).decode().rstrip("="),
}
KEYS = st.sampled_from([KEY, "a/b+c-d_e.f~g!h&i<j>k'l%m;n", "ein-schlüssel-für-alles-\U0001f511"]) | st.text(
    st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="\\%&"), min_size=16, max_size=64
)


@example(key="ein-schlüssel-für-alles-\U0001f511", packed="as it is", escapes=["unicode escapes"], around="")
@given(
    key=KEYS,
    packed=st.sampled_from(sorted(PACKED)),
    escapes=st.lists(st.sampled_from(sorted(ESCAPED)), max_size=2),
    around=st.sampled_from(["", '{"code": 401, "message": "', "é \u2028 ", "https://a.test/?q="]),
)
def test_secret_is_hidden_in_any_escaping(key: str, packed: str, escapes: list[str], around: str) -> None:
    echo = PACKED[packed](key)
    for escape in escapes:
        echo = ESCAPED[escape](echo)
    hidden = Hider(key).text(f"{around}{echo}|task id-1234")
    # the last letters of base64 are not decided by the secret alone
    room = 8 * len(echo) / len(PACKED[packed](key)) if packed == "base64" else 0

    assert hidden.startswith(f"{around}***")
    assert hidden.endswith("|task id-1234")
    assert len(hidden) <= len(f"{around}***|task id-1234") + room


def test_secret_is_hidden_in_four_layers_of_escapes_and_in_a_text_that_is_not_unicode() -> None:
    escaped = KEY
    for _ in range(4):
        escaped = ESCAPED["percent-encoded"](escaped)

    assert Hider(KEY).text(f"{escaped} \ud800") == "*** \ud800"


@pytest.mark.parametrize(("before", "undecided"), [(0, 0), (1, 2), (2, 3)])
def test_each_of_several_secrets_is_hidden_in_either_alphabet_of_base64(before: int, undecided: int) -> None:
    secrets = [f"{number}>>>>>???????" * 2 for number in range(5)]  # with each odd letter of base64
    hider = Hider(secrets[0])
    for secret in secrets[1:]:
        hider.remember(secret)

    for secret in secrets:
        assert hider.text(secret.encode().hex()) == "***"
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            sent = encode(bytes(before) + secret.encode()).decode()
            assert hider.text(sent) == f"{sent[:undecided]}***{sent[(before + len(secret)) * 8 // 6 :]}"


def test_short_secret_is_hidden_where_it_is_a_word() -> None:
    hider = Hider(KEY)
    hider.remember("s3cret-1")

    assert hider.text("as3cret-1 Zs3cret-1 s3cret-1 s3cret-10") == "as3cret-1 Zs3cret-1 *** s3cret-10"


def test_secret_in_base64_is_hidden_wherever_it_begins() -> None:
    for before in (b"", b"a", b"ab", b"user:"):
        for encode in (base64.b64encode, base64.urlsafe_b64encode, base64.encodebytes):
            hidden = Hider(KEY).content(b"<" + encode(before + KEY.encode() + b" and more") + b">")
            assert b"***" in hidden
            assert len(hidden) < 50


@given(key=KEYS, text=st.text() | st.text("\\u0041%&#;x\r\n\"'/abc"))
def test_text_without_the_secret_stays(key: str, text: str) -> None:
    content = text.encode("utf-8", "surrogatepass")

    assert Hider(key).content(content) == content or key.lower() in text.lower()


SHORT = [  # secret, text and what is shown
    ("sandbox", "sandbox", "sandbox"),  # the local provider's key, a word that may stand in any text
    ("12345678", "task 12345678", "task 12345678"),
    ("k3y-1234", "the key k3y-1234 is wrong", "the key *** is wrong"),
    ("k3y-1234", "task k3y-12345", "task k3y-12345"),
    ("k3y-1234", '"k3y\\u002d1234"', '"***"'),
    ("k3y-1234", r'"\u003ck3y\u002d1234"', r'"\u003c***"'),  # after an escape
    (r"hush\nobody\u0041-knows", json.dumps(r"hush\nobody\u0041-knows"), '"***"'),
]


def test_short_secret_is_hidden_where_it_is_a_word_of_its_own() -> None:
    for secret, text, hidden in SHORT:
        assert Hider(secret).text(text) == hidden
        assert repr({"key": Secret(secret)}) == "{'key': '***'}"


SECRET = "5ecret/" * 5


def test_webhook_secret_is_hidden_in_later_answers_too(shell: str) -> None:
    script = provider(seen(), seen("completed", detail={"hook": SECRET}))
    task = perform(shell, script, lambda client: client.run(FACE_SWAP, webhook_secret=SECRET))

    assert task.raw["detail"] == {"hook": "***"}


@pytest.mark.parametrize("echo", [in_unicode_escapes(KEY), SECRET])
def test_httpcore_logs_no_echo_in_a_header(echo: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.NOTSET)
    content = seen("completed").body
    head = f"HTTP/1.1 200 OK\r\nx-echo: {echo}\r\nlocation: /{echo}\r\ncontent-length: {len(content)}\r\n\r\n"
    transport = httpx.HTTPTransport()
    transport._pool = httpcore.ConnectionPool(network_backend=httpcore.MockBackend([head.encode(), content]))
    with Client(KEY, "http://provider.test", transport=transport) as client:
        client.submit(FACE_SWAP, webhook_secret=SECRET)

    assert "b'x-echo', b'***" in caplog.text
    assert echo not in caplog.text
