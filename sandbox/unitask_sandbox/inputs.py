"""Media of inputs and uploads: from text to bytes.

The provider takes a URL, plain base64 or a data URI in the same field. A medium that cannot be read fails the task with
the provider's words, "failed to get valid image". http_client.py decides which addresses may be fetched.
"""

import base64
import string
from collections.abc import Callable, Mapping
from typing import Any

from unitask_sandbox.failures import TaskFailure
from unitask_sandbox.http_client import ERRORS, NotFetched
from unitask_sandbox.http_client import LARGEST as LARGEST


def read_media(given: Mapping[str, Any], media: Mapping[str, str], fetch: Callable[[str], bytes]) -> dict[str, Any]:
    """The input with every medium as bytes."""
    read = {field: _read(field, given[field], kind, fetch) for field, kind in media.items() if field in given}
    return {**given, **read}


def _read(field: str, text: str, kind: str, fetch: Callable[[str], bytes]) -> bytes:
    is_address = text[:8].lower().startswith(("http://", "https://"))
    try:
        data = fetch(text) if is_address else decoded(text)
    except ERRORS as error:
        reason = "the address cannot be fetched" if is_address else str(error)
        reason += f": {error}" if isinstance(error, NotFetched) else ""
        raise TaskFailure(f"failed to get valid {kind} ({field}): {reason}") from error
    if not data or len(data) > LARGEST:
        raise TaskFailure(f"failed to get valid {kind} ({field}): {len(data)} bytes, the limit is {LARGEST}")
    return data


def decoded(text: str) -> bytes:
    """The bytes that base64, or a data URI of base64, stands for."""
    if text[:5].lower() == "data:":
        head, _, text = text.partition(",")
        if not head.lower().endswith(";base64"):
            raise ValueError("the data URI is not base64")
    try:
        return base64.b64decode(text.encode("ascii").translate(None, string.whitespace.encode()), validate=True)
    except ValueError:
        raise ValueError("neither an address nor base64") from None
