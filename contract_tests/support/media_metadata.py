"""What a file says of itself in its metadata, without its pixels and samples: that it is synthetic, or simulated."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable, Iterator

MARK = re.compile(rb"synthetic|simulated", re.IGNORECASE)


def png_texts(data: bytes) -> bytes:
    return b"".join(body for name, body in png_chunks(data) if name in (b"tEXt", b"iTXt", b"eXIf"))


def png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 8
    while at + 8 <= len(data):
        length, name = struct.unpack_from(">I4s", data, at)
        yield name, data[at + 8 : at + 8 + length]
        at += 12 + length


def jpeg_segments(data: bytes) -> bytes:
    at, found = 2, b""
    while data[at : at + 1] == b"\xff" and data[at + 1] != 0xDA:
        marker, length = struct.unpack_from(">xBH", data, at)
        if marker == 0xFE or 0xE0 <= marker <= 0xEF:
            found += data[at + 4 : at + 2 + length]
        at += 2 + length
    return found


def riff_chunks(data: bytes) -> bytes:
    at, found = 12, b""
    while at + 8 <= len(data):
        name, length = struct.unpack_from("<4sI", data, at)
        if name in (b"EXIF", b"XMP ", b"LIST", b"id3 ", b"bext"):
            found += data[at + 8 : at + 8 + length]
        at += 8 + length + length % 2
    return found


def mp4_boxes(data: bytes) -> bytes:
    at, found = 0, b""
    while at + 8 <= len(data):
        length, name = struct.unpack_from(">I4s", data, at)
        if length == 1:
            length = struct.unpack_from(">Q", data, at + 8)[0]
        end = at + length if length else len(data)
        if name != b"mdat":
            found += data[at + 8 : end]
        at = max(end, at + 8)
    return found


def gltf_json(data: bytes) -> bytes:
    return json.dumps(json.loads(data[20 : 20 + struct.unpack_from("<I", data, 12)[0]])["asset"]).encode()


def gif_comments(data: bytes) -> bytes:
    return b"".join(re.findall(rb"\x21\xfe(.*?)\0", data, re.DOTALL))


def first_kilobytes(data: bytes) -> bytes:
    return data[:8192]


METADATA: dict[str, Callable[[bytes], bytes]] = {
    "png": png_texts,
    "jpg": jpeg_segments,
    "jpeg": jpeg_segments,
    "webp": riff_chunks,
    "wav": riff_chunks,
    "gif": gif_comments,
    "mp4": mp4_boxes,
    "mov": mp4_boxes,
    "m4a": mp4_boxes,
    "glb": gltf_json,
    "mp3": first_kilobytes,
    "webm": first_kilobytes,
    "txt": first_kilobytes,
    "json": first_kilobytes,
    "srt": first_kilobytes,
    "vtt": first_kilobytes,
}


def unmarked(files: list[tuple[str, bytes]]) -> list[str]:
    return [extension for extension, data in files if not MARK.search(METADATA[extension](data))]
