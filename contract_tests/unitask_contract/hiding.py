"""Hide the key, in every spelling, e-mail addresses, signatures and control characters from a report.

A key of LONG characters is hidden everywhere. A shorter one could be any word, so it is hidden only as the value of a
field or header for keys.
"""

import base64
import re
from functools import lru_cache

HIDDEN = "(the key)"
LONG = 8  # characters
_FIELD = r"(?i:api[_-]?key|authorization)"
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&apos;"}
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")  # bidi, too
_EMAIL = re.compile(r"[\w.+-]{1,64}@[\w-]{1,64}\.[\w.-]+")
_USER = re.compile(r"//[^/?#@\s'\"<>]+@")
_SIGNATURE = re.compile(r"\?[^\s'\"<>?=]*=[^\s'\"<>]*")


def scrubbed(text: str, key: str) -> str:
    """Return a text without the key, e-mail addresses, and user names and signatures in addresses."""
    return _SIGNATURE.sub("?...", _EMAIL.sub("(e-mail)", _USER.sub("//", hidden(text, key))))


def visible(text: str) -> str:
    """Return a text for a terminal, with control characters as their numbers."""
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}" if ord(found[0]) < 256 else ascii(found[0])[1:-1], text)


def hidden(text: str, key: str) -> str:
    """Return a text without the key, as it is, in base64, or escaped as in JSON, URLs, HTML or Python."""
    return _pattern(key).sub(rf"\g<before>{HIDDEN}", text) if key else text


def hidden_in(content: bytes, key: str) -> bytes:
    """Return the body of an answer without the key."""
    return hidden(content.decode("utf-8", "surrogateescape"), key).encode("utf-8", "surrogateescape")


@lru_cache(maxsize=8)
def _pattern(key: str) -> re.Pattern[str]:
    spelled = "".join(map(_spellings, key))
    if len(key) >= LONG:
        return re.compile(
            rf"(?P<before>)(?:{spelled}|{'|'.join(_packed(key))})", re.IGNORECASE
        )  # the checks compare words in lower case
    return re.compile(rf"(?P<before>{_FIELD}[\"'\\\s:=]*(?:Bearer )?){spelled}(?![0-9A-Za-z])")


def _packed(key: str) -> list[str]:
    """Return patterns for the key inside of base64, where it begins at the first, second or third byte of a group."""
    raw = key.encode()
    packed = (base64.b64encode(bytes(before) + raw).decode() for before in range(3))
    whole = (text[-(-before * 8 // 6) : (before + len(raw)) * 8 // 6] for before, text in enumerate(packed))
    return [re.escape(text).replace(r"\+", "[+-]").replace("/", "[/_]") for text in whole]


def _spellings(letter: str) -> str:
    """Return a pattern for a character: itself, after backslashes, or its number."""
    number = ord(letter)
    units = letter.encode("utf-16-be")
    pairs = [units[at : at + 2].hex() for at in range(0, len(units), 2)]
    forms = [
        "".join(rf"\\{{1,16}}u(?i:{pair})" for pair in pairs),
        "".join(f"(?i:%{byte:02x})" for byte in letter.encode()),
        f"&#0*{number};",
        f"&#[xX]0*(?i:{number:x});",
    ]
    forms += [rf"\\{{1,16}}x(?i:{number:02x})"] if number < 256 else []
    forms += [_ENTITIES[letter]] if letter in _ENTITIES else []
    return f"(?:{'|'.join(forms)}|\\\\{{0,16}}{re.escape(letter)})"  # itself last: u and x begin escapes, too
