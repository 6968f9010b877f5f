"""The files of a submission: each is sent in base64, or uploaded first and its URL is sent.

Bodies with 2 to 5 MB of base64 were refused with "task input is too large" (one client, 2025). Uploads need a paid plan
(upload page); where the provider refuses them, files are sent in base64 if the field takes that.
"""

import base64
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from .. import errors
from .._model._json import is_list, is_object
from . import envelope, requests, retry
from .effects import Flow, Sleep
from .retry import Timeouts

T = TypeVar("T")
KEPT = 24 * 3600.0  # seconds; upload page
MARGIN = 3600.0  # seconds; an upload that expires sooner is useless to a task that has to wait
LARGE = 1_500_000  # bytes, which are 2 MB of base64
# What uploads take, by the first bytes (clients, 2025); the order matters only for RIFF
UPLOADABLE: tuple[tuple[bytes, str], ...] = (
    (rb"\x89PNG\r\n\x1a\n", "png"),
    (rb"\xff\xd8\xff", "jpg"),
    (rb"RIFF....WEBP", "webp"),
    (rb"RIFF....WAVE", "wav"),
    (rb"....ftyp(?!heic|heix|mif1|avif)", "mp4"),
    (rb"ID3|\xff[\xe2-\xe7\xf2-\xf7\xfa-\xfb]", "mp3"),
)


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that the provider stores until `expires_at`, in UTC; give it wherever a file is taken."""

    url: str
    expires_at: datetime
    sha256: str


class Attachment(str):
    """A file in base64, or in a data URI, as it is sent; it holds the file, too."""

    content: bytes
    only_url: bool  # the field takes nothing but a URL, so it must be uploaded

    def __repr__(self) -> str:
        return f"<file of {len(self.content)} bytes>"


def upload_ending(content: bytes) -> str | None:
    """Return the file name ending for an upload; None when uploads do not take such files."""
    return next((ending for magic, ending in UPLOADABLE if re.match(magic, content, re.DOTALL)), None)


@dataclass(slots=True)
class Uploads:
    """The uploads of a client."""

    origin: str  # scheme and host of the server that takes them
    wanted: bool = True  # whether files of a submission may be uploaded
    known: dict[str, Upload] = field(default_factory=dict[str, Upload])  # by the SHA-256 of the content
    refused: bool = False  # whether the provider refuses uploads to this account


def with_uploads(body: dict[str, Any], uploads: Uploads, limits: Timeouts) -> Flow[dict[str, Any]]:
    """Upload files of a request body; return it with their URLs."""
    addresses: dict[str, str] = {}
    files: list[Attachment] = []
    mapped(body["input"], Attachment, files.append)
    for file in files:
        if not uploads.wanted or not (file.only_url or (len(file.content) > LARGE and not uploads.refused)):
            continue
        ending = upload_ending(file.content)
        if ending is None:
            continue
        try:
            sent = yield from upload(file.content, ending, uploads, limits)
        except errors.PermissionDenied:
            if file.only_url:
                raise
            uploads.refused = True
        else:
            addresses[sent.sha256] = sent.url
    if not addresses:
        return body

    def sent_form(file: Attachment) -> str:
        return addresses.get(hashlib.sha256(file.content).hexdigest(), file)

    return {**body, "input": mapped(body["input"], Attachment, sent_form)}


def upload(content: bytes, ending: str, uploads: Uploads, limits: Timeouts) -> Flow[Upload]:
    """Upload a file, unless the provider stores it already."""
    now = (yield Sleep(0)).at
    digest = hashlib.sha256(content).hexdigest()
    known = uploads.known.get(digest)
    if known and known.expires_at.timestamp() - MARGIN > now.unix:
        return known
    send = requests.upload(uploads.origin, f"{digest[:32]}.{ending}", base64.b64encode(content).decode())
    url = yield from retry.send_with_retry(send, envelope.read_upload, limits)
    made = Upload(url, now._replace(unix=now.unix + KEPT).utc, digest)
    uploads.known[digest] = made
    return made


def mapped(node: Any, kind: type[T], change: Callable[[T], object]) -> Any:
    """Replace each object of a class in a JSON value."""
    if isinstance(node, kind):
        return change(node)
    if is_object(node):
        return {name: mapped(value, kind, change) for name, value in node.items()}
    return [mapped(item, kind, change) for item in node] if is_list(node) else node
