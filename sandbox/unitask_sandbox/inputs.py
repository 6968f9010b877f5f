"""Media of inputs and uploads: from text to bytes.

The provider takes a URL, plain base64 or a data URI in the same field. A medium that cannot be read fails the task with
the provider's words, "failed to get valid image". http_client.py decides which addresses may be fetched.
"""

import base64
import string
from collections.abc import Callable, Mapping
from typing import Any

from unitask_sandbox import bundle
from unitask_sandbox.failures import Refusal, unusable
from unitask_sandbox.http_client import ERRORS, NotFetched
from unitask_sandbox.http_client import LARGEST as LARGEST

# The upload service has a form of refusal of its own: {code, message} without data, and one message for every problem
# (piapi.ai, ephemeral-resource page, 2025). The sandbox adds the reason.
INVALID = "Invalid request parameters"
EXTENSIONS = ("jpg", "jpeg", "png", "webp", "mp4", "wav", "mp3")


def read_upload(body: bytes) -> tuple[bytes, str]:
    """Return the content and the extension of an uploaded file; refuse in the words of the upload service."""
    try:
        value = bundle.read("UploadRequest", body)
        _, dot, extension = value["file_name"].lower().rpartition(".")
        if not dot or extension not in EXTENSIONS:
            raise ValueError(f"file_name must end in one of {', '.join(EXTENSIONS)}")
        content = decoded(value["file_data"])
        if not content or len(content) > LARGEST:
            raise ValueError(f"file_data holds {len(content)} bytes, the limit is {LARGEST}")
    except (Refusal, ValueError) as error:
        reason = error.message.removeprefix("invalid request: ") if isinstance(error, Refusal) else str(error)
        raise Refusal(400, f"{INVALID}: {reason}") from None
    return content, extension


def read_media(given: Mapping[str, Any], media: Mapping[str, str], fetch: Callable[[str], bytes]) -> dict[str, Any]:
    """Return the input with every medium as bytes."""
    read = {field: _read(field, given[field], kind, fetch) for field, kind in media.items() if field in given}
    return {**given, **read}


def _read(field: str, text: str, kind: str, fetch: Callable[[str], bytes]) -> bytes:
    try:
        data = fetch(text) if is_address(text) else decoded(text)
    except ERRORS as error:
        reason = "the address cannot be fetched" if is_address(text) else str(error)
        reason += f": {error}" if isinstance(error, NotFetched) else ""
        raise unusable(kind, field, reason) from error
    if not data or len(data) > LARGEST:
        raise unusable(kind, field, f"{len(data)} bytes, the limit is {LARGEST}")
    return data


def is_address(text: str) -> bool:
    """Return whether a medium is given by its address."""
    return text[:8].lower().startswith(("http://", "https://"))


def decoded(text: str) -> bytes:
    """Return the bytes of base64, or of a data URI of base64."""
    if text[:5].lower() == "data:":
        head, _, text = text.partition(",")
        if not head.lower().endswith(";base64"):
            raise ValueError("the data URI is not base64")
    try:
        return base64.b64decode(text.encode("ascii").translate(None, string.whitespace.encode()), validate=True)
    except ValueError:
        raise ValueError("neither an address nor base64") from None
