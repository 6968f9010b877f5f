"""Redact single texts and names: what stands for a text does not depend on the exchange.

What is kept is listed. A text stays if the spec lists it, if it is a time, or one word in a field for words, such as a
status. Of the messages of errors, the words stay that occur in the spec or in WORDS, because clients branch on them.
Ids, URLs and other texts get pseudonyms from their SHA-256: the same text has the same pseudonym everywhere, and a
pseudonym stays itself.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from functools import cache, lru_cache
from typing import Any

from unitask_api import contract
from unitask_api.output_files import content_of, ending_of, ending_of_type, is_ending, type_of_base64
from unitask_contract import bundle
from unitask_contract.bundle import error_rows, fields, items
from unitask_contract.patches.redaction import REMOVED, name_of, names, words

EMAIL, CUT = "(e-mail)", "(...)"
MOST_MEMOS = 8192
LONGEST_WORD = 40
MOST_BLANKS = 4  # around a word or an id
LEAST_BASE64 = 200  # characters
_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_OURS = (  # what this module writes in place of something else
    r"[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-8000-[0-9a-f]{12}"
    r"|https://removed\.test/[0-9a-f]{12}(?:\.[a-z0-9]{1,5})?"
    r"|removed-[0-9a-f]{12}(?:\.[a-z0-9]{1,5})?|\((?:e-mail|secret|the[ ]key|\.\.\.)\)"
    r"|\(\d{1,9}[ ]characters(?:,[ ]sha256[ ][0-9a-f]{12})?\)\.*"
    r"|\([a-z]{4,11}/[a-z0-9.+-]{1,40},[ ]\d{1,12}[ ]bytes,[ ]sha256[ ][0-9a-f]{12}\)"
)
_TIME = r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:?\d\d)?"
_FORM = re.compile(
    rf"(?P<kept>{_OURS}|{_TIME})|(?P<id>{_UUID})|(?P<data>data:\S*)|(?P<url>(?:[a-z][a-z0-9+.-]{{0,20}}:)?//\S+)"
    r"|(?P<email>[^\s@]{1,200}@[^\s@]{1,200}\.[^\s@]{1,200})",
    re.IGNORECASE,
)
_PART = re.compile(  # of the message of an error
    rf"""(?P<kept>{_OURS}|{_TIME.replace(" ", "[ ]")})
    |(?P<id>{_UUID})
    |(?P<url>(?:[a-z][a-z0-9+.-]{{0,20}}:|(?<![\w)]))//[^\s"'<>]+)
    |(?P<email>[^\s@"'<>()]{{1,200}}@[^\s@"'<>()]{{1,200}}\.\w+)
    |(?P<escape>(?:%[0-9a-f]{{2}}|&\#x?[0-9a-f]+;|\\{{1,16}}[ux][0-9a-f]{{2,}})+)
    |(?P<digits>\+?\d(?:[ ()./:-]{{0,3}}\d){{6,}})
    |(?P<word>[\w\x80-\U0010ffff]+)""",
    re.IGNORECASE | re.VERBOSE,
)
_CUTS = re.compile(r"\(\.\.\.\)(?:[\W_]{0,3}\(\.\.\.\))+")
_SIZE = re.compile(r"\d{1,6}|\d{1,5}[a-z]{1,3}|\d{1,5}x\d{1,5}")
_PIECE = r"(?:[A-Za-z]{1,20}(?:\d{1,4}(?:[A-Za-z]{1,12}\d{0,3})?)?|\d{1,4}[A-Za-z]{0,12})"
_WORD = re.compile(rf"{_PIECE}(?:(?:[:/_+-]|\.(?=\d)){_PIECE}){{0,7}}_?")
_BASE64 = re.compile(r"[A-Za-z0-9+/_\r\n-]+={0,2}\s*")
MESSAGE_NAMES = frozenset({
    "message", "raw_message", "detail", "error", "errors", "error_message", "error_messages", "msg", "reason",
    "simulated",  # what the local provider says
})  # fmt: skip
# Fields for one word, beside those for which the spec lists words.
_WORD_NAMES = frozenset({
    "action", "code", "finish_reason", "model", "model_name", "object", "process_mode", "role", "service_mode",
    "task_model", "type", "usage_type"
})  # fmt: skip
WORDS = """
    abort aborted access accessdenied array attempt bad been billing boolean br busy bytes center character
    characters combination conflict contact corrupt database deadline decode denied detected disabled div doctype
    during entity exceed exceeded exceeds existing expected flagged forbidden h1 head hr inappropriate incorrect
    integer interrupted invalidates limited load lost maintenance malformed media memory method minimum missing
    monthly occurred offline ok organization overloaded parse parsing payment per permission permitted please
    policies policy position queue range rate reached reading received reset retry retrying returning revoked script
    sensitive should simulated slow submit support supported suspended temporarily timed timeout unable unauthorized
    unavailable unexpected unreachable upgrade upstream validation violated violates violation wait web will within
    worker xml
"""  # of the messages of errors, beside those that the spec has


def pseudonym(text: str) -> str:
    """Return the id in place of an id: a UUID of version 8; the UUID of an id that is one of these is itself."""
    if re.fullmatch(_OURS, text):
        return text
    digest = _sha256(text.lower() if re.fullmatch(_UUID, text, re.IGNORECASE) else text)
    return f"{digest[:8]}-{digest[8:12]}-8{digest[12:15]}-8000-{digest[15:27]}"


def url(text: str) -> str:
    """Return the URL in place of a URL, with the same ending."""
    if re.fullmatch(_OURS, text):
        return text
    ending = ending_of(text)
    return f"https://removed.test/{_sha256(text)[:12]}{ending if is_ending(ending) else ''}"


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def shown(text: str, name: str, has_digest: bool) -> str:
    """Return what is shown of a text in a field that is neither a secret nor the message of an error."""
    return (_short if len(text) < LEAST_BASE64 else _shown)(text, name, has_digest)


def _shown(text: str, name: str, has_digest: bool) -> str:
    plain = text.strip()
    if not 0 < len(text) - len(plain) <= MOST_BLANKS:
        return _of_plain(text, name, has_digest)
    within = _of_plain(plain, name, has_digest) if plain else ""
    return placeholder(text, has_digest=has_digest) if " characters" in within else text.replace(plain, within)


_short = lru_cache(MOST_MEMOS)(_shown)


def _of_plain(text: str, name: str, has_digest: bool) -> str:
    if text in words():
        return text
    found = _FORM.fullmatch(text)
    match found and found.lastgroup:
        case "kept":
            return text
        case "id":
            return pseudonym(text)
        case "data":
            return _file(text) or placeholder(text, has_digest=has_digest)
        case "url":
            return url(text)
        case "email":
            return EMAIL
        case _ if is_id(name):
            return pseudonym(text)
        case _ if name in _word_names() and is_word(text):
            return text
        case _:
            return _file(text) or placeholder(text, has_digest=has_digest)


def placeholder(text: str, *, has_digest: bool) -> str:
    """Return what stands for a text; it is longer than each limit of the spec (maxLength) that the text exceeds."""
    digest = f", sha256 {_sha256(text)[:12]}" if has_digest else ""
    exceeded = max((limit for limit in _limits() if limit < len(text)), default=-1)
    return f"({len(text)} characters{digest})".ljust(exceeded + 1, ".")


def is_media(text: str) -> bool:
    return text[:5].lower() == "data:" or (len(text) >= LEAST_BASE64 and _BASE64.fullmatch(text) is not None)


def _file(text: str) -> str:
    """Return what stands for a file in base64 or a data URI; empty for any other text."""
    if not is_media(text):
        return ""
    if text[:5].lower() != "data:":
        plain = text.replace("-", "+").replace("_", "/").rstrip("= \r\n")
        text = f"data:{type_of_base64(plain)};base64,{plain}{'=' * (-len(''.join(plain.split())) % 4)}"
    found = content_of(text)
    return file_of(found[1], found[0]) if found else ""


def file_of(content: bytes, kind: str) -> str:
    media = kind if ending_of_type(kind) else "application/octet-stream"
    return f"({media}, {len(content)} bytes, sha256 {hashlib.sha256(content).hexdigest()[:12]})"


def is_placeholder(text: str) -> bool:
    """Return whether a text stands in place of another one."""
    return re.fullmatch(_OURS, text) is not None


def is_word(text: str) -> bool:
    if "." in text and all(map(_is_usual, text.lower().split("."))):  # such as chat.completion
        return True
    is_short = len(text) <= LONGEST_WORD and _WORD.fullmatch(text) is not None
    return is_short and len(re.findall("[a-z][A-Z]", text)) <= 3


@lru_cache(MOST_MEMOS)
def field(name: str, *, is_listed: bool) -> str:
    """Return the name of a field; one that is data is removed. `is_listed`: only names of the spec stay."""
    if re.fullmatch(_UUID, name, re.IGNORECASE):
        return pseudonym(name)
    is_known = name in words() or re.fullmatch(_OURS, name)
    if is_known or (not is_listed and name_of(name) == name != REMOVED and not re.search(r"\.[A-Za-z]", name)):
        return name
    return f"{REMOVED}-{_sha256(name)[:12]}"


@lru_cache(MOST_MEMOS)
def segment(text: str) -> str:
    """Return a segment of a path that the contract does not have."""
    if not text or is_word(text) or re.fullmatch(_OURS, text):
        return text
    ending = ending_of(f"x://x/{text}")
    return f"{REMOVED}-{_sha256(text)[:12]}{ending if is_ending(ending) else ''}"


@lru_cache(MOST_MEMOS)
def is_id(name: str) -> bool:
    return re.fullmatch(r"(?:.*_)?ids?|.*[a-z]Ids?", name) is not None


def without_quotes(text: str, sent: Iterable[str]) -> str:
    """Return the message of an error without what it quotes of texts: three words in a row, or a text of two."""
    found = list(re.finditer(r"\w+", text))
    quoted: set[int] = set()
    for one in sent:
        length = min(3, len(_row(one)))
        known = _rows(one, length) - _documented_rows(length) if length > 1 else frozenset[tuple[str, ...]]()
        for start in range(len(found) - length + 1 if known else 0):
            if tuple(word[0].lower() for word in found[start : start + length]) in known:
                quoted.update(range(start, start + length))
    for number in sorted(quoted, reverse=True):
        text = text[: found[number].start()] + CUT + text[found[number].end() :]
    return text


def _row(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def _rows(text: str, length: int) -> frozenset[tuple[str, ...]]:
    words_of = _row(text)
    return frozenset(tuple(words_of[start : start + length]) for start in range(len(words_of) - length + 1))


@cache
def _documented_rows(length: int) -> frozenset[tuple[str, ...]]:
    return frozenset(row for message in messages() for row in _rows(message, length))


@lru_cache(MOST_MEMOS)
def masked(text: str) -> str:
    return _CUTS.sub(CUT, _PART.sub(_part, text))


def _part(found: re.Match[str]) -> str:
    text = found[0]
    match found.lastgroup:
        case "kept":
            return text
        case "id":
            return pseudonym(text)
        case "url":
            return url(text)
        case "email":
            return EMAIL
        case "word" if _is_usual(text.lower()) or text in names() or _SIZE.fullmatch(text.lower()):
            return text
        case _:
            return CUT


def _is_usual(word: str) -> bool:
    return word in _vocabulary() or f"{word}s" in _vocabulary() or word.removesuffix("s") in _vocabulary()


# What the spec lists.


@cache
def _word_names() -> frozenset[str]:
    schemas = bundle.schemas()

    def has_words(rule: Any) -> bool:
        node = fields(rule)
        if reference := node.get("$ref"):
            return has_words(schemas[reference.rpartition("/")[2]])
        branches = [branch for key in ("anyOf", "oneOf", "allOf") for branch in items(node.get(key))]
        branches += [node["items"]] if "items" in node else []
        return "enum" in node or "const" in node or any(map(has_words, branches))

    named = [pair for rule in schemas.values() for pair in fields(rule.get("properties")).items()]
    return _WORD_NAMES | {name for name, rule in named if has_words(rule)}


@cache
def _limits() -> tuple[int, ...]:
    return tuple(sorted({int(found) for found in re.findall(r'"maxLength": (\d+)', json.dumps(bundle.schemas()))}))


@cache
def whole_numbers() -> frozenset[str]:
    """Return the fields that are whole numbers: a form has their digits."""
    rules = [pair for one in bundle.schemas().values() for pair in fields(one.get("properties")).items()]
    return frozenset(name for name, rule in rules if rule.get("type") == "integer")


@cache
def parameters() -> frozenset[str]:
    return frozenset(one["name"] for operation in contract.operations().values() for one in operation.parameters)


@cache
def messages() -> frozenset[str]:
    """Return the documented messages of errors."""
    rows = [str(row["words"]) for row in error_rows().values() if "words" in row]
    said = [
        text for one in bundle.examples().values() if one["x-part"] != "request" for text in _said(one["value"], "")
    ]
    return frozenset(["", *rows, *said])


def _said(value: Any, name: str) -> Iterator[str]:
    if isinstance(value, str) and name in MESSAGE_NAMES:
        yield value
    for step, part in fields(value).items():
        yield from _said(part, step)
    for part in items(value):
        yield from _said(part, name)


@cache
def _vocabulary() -> frozenset[str]:
    described = re.findall(r'"(?:description|summary|title)": "((?:[^"\\]|\\.)*)"', json.dumps(bundle.document()))
    texts = [WORDS, *described, *messages(), *words(), *names()]
    return frozenset(word.lower() for text in texts for word in re.findall(r"[^\W\d_]+", text.replace("\\n", " ")))
