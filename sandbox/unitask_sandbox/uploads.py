"""Read an upload: from JSON to the bytes of a file, or the service's refusal.

The service has a form of refusal of its own: {code, message} without data, and one message for every problem (piapi.ai,
ephemeral-resource page, 2025). The sandbox adds the reason.
"""

from unitask_sandbox import bundle
from unitask_sandbox.create_request import read_json
from unitask_sandbox.failures import Refusal
from unitask_sandbox.inputs import LARGEST, decoded

INVALID = "Invalid request parameters"
TYPES = {  # extension: the media types that fit it; the first is the registered one
    "jpg": ("image/jpeg", "image/jpg"),
    "jpeg": ("image/jpeg", "image/jpg"),
    "png": ("image/png",),
    "webp": ("image/webp",),
    "mp4": ("video/mp4",),
    "wav": ("audio/wav", "audio/x-wav", "audio/wave", "audio/vnd.wave"),
    "mp3": ("audio/mpeg", "audio/mp3"),
}


def read_upload(body: bytes) -> tuple[bytes, str]:
    """The content and the extension of an uploaded file; a refusal is in the words of the upload service."""
    try:
        value = read_json(body)
        bundle.check("UploadRequest", value)
        return _file(value["file_name"], value["file_data"])
    except (Refusal, ValueError) as error:
        reason = error.message.removeprefix("invalid request: ") if isinstance(error, Refusal) else str(error)
        raise Refusal(400, f"{INVALID}: {reason}") from None


def _file(name: str, data: str) -> tuple[bytes, str]:
    extension = name.rpartition(".")[2].lower() if "." in name else ""
    if extension not in TYPES:
        raise ValueError(f"file_name must end in one of {', '.join(TYPES)}")
    media_type = data[5:].partition(",")[0].partition(";")[0].lower() if data[:5].lower() == "data:" else None
    if media_type is not None and media_type not in TYPES[extension]:
        raise ValueError(f"file_data is of type {media_type[:50]!r}, which does not fit the extension {extension}")
    try:
        content = decoded(data)
    except ValueError:
        raise ValueError("file_data is neither base64 nor a data URI of base64") from None
    if not content or len(content) > LARGEST:
        raise ValueError(f"file_data holds {len(content)} bytes, the limit is {LARGEST}")
    return content, extension
