"""Files on their way to the provider: in a request, or uploaded before it."""

import re
from dataclasses import dataclass
from datetime import datetime

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
    """A file that the provider stores for 24 hours; give it wherever a file is taken.

    Attributes:
        url: Its URL.
        expires_at: When it is deleted, in UTC.
        sha256: Of its content, as hexadecimal digits.
    """

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
