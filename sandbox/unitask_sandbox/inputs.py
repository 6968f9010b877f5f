"""Media inputs: from the text in a task's input to the bytes it stands for.

The provider takes a URL, plain base64 or a data URI in the same field. Rules of this file: what cannot be read fails
the task with the provider's words, "failed to get valid image"; an address is fetched over http or https only.
"""

from __future__ import annotations

import base64
import time
import urllib.request
from collections.abc import Callable, Mapping
from http.client import HTTPException
from typing import Any

from unitask_sandbox.failures import TaskFailure

LARGEST = 10 * 1024 * 1024
"""Bytes of one medium; the figure that clients give for uploads and videos (facts of public clients, 2025)."""

FETCH_SECONDS = 10.0


def read_media(given: Mapping[str, Any], media: Mapping[str, str], fetch: Callable[[str], bytes]) -> dict[str, Any]:
    """The input with every medium as bytes.

    Args:
        given: The task's input as it was sent.
        media: The fields that hold media, with their kind ("image", "video", "audio").
        fetch: Gets what is behind an address.

    Raises:
        TaskFailure: One of the media cannot be read.
    """
    read = {field: _read(field, given[field], kind, fetch) for field, kind in media.items() if field in given}
    return {**given, **read}


def _read(field: str, text: str, kind: str, fetch: Callable[[str], bytes]) -> bytes:
    is_address = text[:8].lower().startswith(("http://", "https://"))
    try:
        data = fetch(text) if is_address else decoded(text)
    except (OSError, ValueError, HTTPException) as error:
        reason = "the address cannot be fetched" if is_address else str(error)
        raise TaskFailure(f"failed to get valid {kind} ({field}): {reason}") from error
    if not data or len(data) > LARGEST:
        raise TaskFailure(f"failed to get valid {kind} ({field}): {len(data)} bytes, the limit is {LARGEST}")
    return data


def decoded(text: str) -> bytes:
    """The bytes that base64, or a data URI of base64, stands for.

    Raises:
        ValueError: It is neither.
    """
    if text[:5].lower() == "data:":
        head, _, text = text.partition(",")
        if not head.lower().endswith(";base64"):
            raise ValueError("the data URI is not base64")
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except ValueError:
        raise ValueError("neither an address nor base64") from None


def fetch_url(url: str) -> bytes:
    """What is behind an http or https address: at most 10 MB, in about 10 seconds.

    Raises:
        OSError: It cannot be reached, answers with an error, is too large or too slow.
    """
    deadline = time.monotonic() + FETCH_SECONDS
    chunks: list[bytes] = []
    with opener(follow=True).open(url, timeout=FETCH_SECONDS) as answer:
        while chunk := answer.read(65536):
            chunks.append(chunk)
            if time.monotonic() > deadline:
                raise TimeoutError(f"{url!r} took longer than {FETCH_SECONDS:g} s")
            if len(chunks) * 65536 > LARGEST + 65536 and sum(map(len, chunks)) > LARGEST:
                raise OSError(f"{url!r} is larger than {LARGEST} bytes")
    return b"".join(chunks)


def opener(*, follow: bool) -> urllib.request.OpenerDirector:
    """An opener without the handlers for file: and ftp:, so that a redirect cannot lead there either.

    Args:
        follow: Whether redirects are followed, and refusals raised; if not, every answer is returned as it is.
    """
    made = urllib.request.OpenerDirector()
    handlers: list[type[urllib.request.BaseHandler]] = [
        urllib.request.ProxyHandler,
        urllib.request.UnknownHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
    ]
    if follow:
        handlers += [
            urllib.request.HTTPDefaultErrorHandler,
            urllib.request.HTTPRedirectHandler,
            urllib.request.HTTPErrorProcessor,
        ]
    for handler in handlers:
        made.add_handler(handler())
    return made
