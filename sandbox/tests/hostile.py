"""Hostile inputs as data: requests with the answers that are right, and pictures, which no library would write."""

import gzip
import json
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from .local import face_swap

MB = 1 << 20
CREATE, UPLOAD, CHAT, EDIT = "/api/v1/task", "/api/ephemeral_resource", "/v1/chat/completions", "/v1/images/edits"


@dataclass(frozen=True)
class Request:
    """One request as it goes over the connection."""

    pieces: Callable[[], Iterable[bytes]]  # the rest is kept when the server answers before the end
    statuses: frozenset[int]  # the answers that are right
    words: str = ""  # what the refusal says
    method: str = "POST"
    path: str = CREATE  # whose answer it is


def head(method: str, path: str, *headers: str, host: str = "localhost") -> bytes:
    lines = [
        f"{method} {path} HTTP/1.1",
        f"host: {host}",
        "x-api-key: sandbox",
        "authorization: Bearer sandbox",
        *headers,
    ]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def request(
    body: bytes | Callable[[], Iterable[bytes]] = b"",
    statuses: int | tuple[int, ...] = 400,
    words: str = "",
    method: str = "POST",
    path: str = CREATE,
    *,
    headers: tuple[str, ...] = (),
    length: int | None = None,
) -> Request:
    """A well-formed request with a body; without a length, that of the body."""

    def pieces() -> Iterator[bytes]:
        size = len(body) if isinstance(body, bytes) else length
        yield head(method, path, *([f"content-length: {size}"] if size is not None else []), *headers)
        yield from ([body] if isinstance(body, bytes) else body())

    return Request(pieces, _all(statuses), words, method, path)


def raw(sent: bytes, statuses: int | tuple[int, ...] = 400, words: str = "", path: str = "/") -> Request:
    """What is no request, or a broken one."""
    return Request(lambda: [sent], _all(statuses), words, "GET", path)


def _all(statuses: int | tuple[int, ...]) -> frozenset[int]:
    return frozenset((statuses,) if isinstance(statuses, int) else statuses)


def megabytes(count: int) -> Callable[[], Iterable[bytes]]:
    return lambda: (b" " * MB for _ in range(count))


def chunked(pieces: Callable[[], Iterable[bytes]]) -> Callable[[], Iterable[bytes]]:
    return lambda: (f"{len(piece):x}\r\n".encode() + piece + b"\r\n" for piece in (*pieces(), b""))


def form(fields: bytes, boundary: str = "b", **more: Any) -> Request:
    return request(fields, headers=(f"content-type: multipart/form-data; boundary={boundary}",), path=EDIT, **more)


def create(**changes: Any) -> bytes:
    return json.dumps(face_swap(**changes)).encode()


NOT_JSON = "the body is not JSON"
PARTS = "the body has more than 100000 parts"
CHUNKED = ("transfer-encoding: chunked",)
FIELD = b'--b\r\ncontent-disposition: form-data; name="a"\r\n\r\n\r\n'
ZIPPED = gzip.compress(bytes(50 * MB), 1)

BODIES: dict[str, Request] = {
    "deep-objects": request(b'{"a":' * 30_000 + b"1" + b"}" * 30_000, words=NOT_JSON),
    "many-errors": request(b'{"model":"m","messages":[' + b"1," * 99_000 + b"1]}", path=CHAT, words="of type object"),
    "quotes": request(b'"' * (24 * MB), words=PARTS),
    "number-of-5000-digits": request(b'{"model": ' + b"1" * 5000 + b"}", words=NOT_JSON),
    "model-of-20-mb": request(create(model="m" * (20 * MB)), words="no such task"),
    "gzip-bomb": request(ZIPPED, 415, "compressed", headers=("content-encoding: gzip",)),
    "100-mb": request(megabytes(100), 413, "larger than", length=100 * MB),
    "100-mb-that-close": request(megabytes(100), 413, "larger than", length=100 * MB, headers=("connection: close",)),
    "100-mb-in-chunks": request(chunked(megabytes(100)), 413, "larger than", headers=CHUNKED),
    "form-of-a-million-fields": form(
        FIELD * 100_000 + b"--b--", words="too many fields. maximum number of fields is 100"
    ),
    "form-with-a-long-head": form(
        b"--b\r\n" + b"content-disposition:" * MB + b"\r\n\r\n--b--", words="invalid multipart data"
    ),
    "form-of-long-number": form(
        b'--b\r\ncontent-disposition: form-data; name="n"\r\n\r\n' + b"9" * 5000 + b"\r\n--b--",
        words="is a required property",
    ),
    "upload-with-blanks": request(
        lambda: [b'{"file_name":"a.png","file_data":"', *[b"AB  " * (MB // 4)] * 20, b'A"}'],
        length=20 * MB + 37,
        path=UPLOAD,
        words="neither base64",
    ),
}

HEADS: dict[str, Request] = {
    "tls": raw(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(32)),
    "header-of-1-mb": raw(b"GET / HTTP/1.1\r\nhost: localhost\r\nx: " + b"x" * MB),
    "length-and-chunks": raw(head("POST", CREATE, "content-length: 3", *CHUNKED) + b"0\r\n\r\n", words=NOT_JSON),
    "rebound-name": raw(head("GET", "/account/info", host="evil.example:8042"), 421, "is not one of this sandbox"),
    "proxied": raw(head("GET", "http://169.254.169.254/latest/meta-data/"), 404),
    "key-with-bytes": raw(b"GET /account/info HTTP/1.1\r\nhost: localhost\r\nx-api-key: \xff\xfe\r\n\r\n", 401),
    **{
        f"path {path[:30]}": raw(head("GET", path), 404)
        for path in (
            "/files/..%2f..%2f..%2f..%2fetc%2fpasswd",
            "/files//etc/passwd",
            "/files/..%5c..%5cwindows%5cwin.ini",
            "/files/a.png%00.txt",
            "/files/" + "../" * 2000 + "etc/passwd",
            "/../../etc/passwd",
            "/api/v1/task/" + "%ff" * 2000,
        )
    },
    "ten-thousand-parameters": raw(head("GET", "/api/open/tasks/histories?" + "page=1&" * 1500 + "page=x")),
}

# Pictures.

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, *more: bytes, data: bytes | None = None, depth: int = 8, colour: int = 0) -> bytes:
    """A PNG with a header of this size; without data, one of grey pixels of 64 x 64."""
    pixels = zlib.compress(b"".join(b"\0" + b"\x80" * 64 for _ in range(64))) if data is None else data
    ihdr = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return SIGNATURE + ihdr + b"".join(more) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def zeros(megabytes: int) -> bytes:
    """Many zeros in a few bytes: a megabyte is compressed, and its block repeated."""
    packer = zlib.compressobj(9)
    head, block = (packer.compress(bytes(MB)) + packer.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    checksum = (megabytes * MB % 65521) << 16 | 1  # Adler-32 of zeros
    return head + block * (megabytes - 1) + b"\x03\0" + struct.pack(">I", checksum)


def apng(width: int, height: int) -> bytes:
    """Two hundred frames of this size on a canvas of 64 x 64."""
    frames = (chunk(b"fcTL", struct.pack(">IIIIIHHBB", n, width, height, 0, 0, 1, 1, 0, 0)) for n in range(200))
    return png(64, 64, chunk(b"acTL", struct.pack(">II", 200, 0)), *frames)


def jpeg(*segments: tuple[int, bytes], rest: bytes = b"") -> bytes:
    parts = (b"\xff" + bytes([marker]) + struct.pack(">H", 2 + len(data)) + data for marker, data in segments)
    return b"\xff\xd8" + b"".join(parts) + rest + b"\xff\xd9"


def frame(width: int, height: int, marker: int = 0xC0, components: int = 1) -> tuple[int, bytes]:
    parts = b"".join(bytes([number, 0x11, 0]) for number in range(1, components + 1))
    return marker, struct.pack(">BHHB", 8, height, width, components) + parts


QUANTISATION = (0xDB, bytes([0]) + bytes([1]) * 64)
HUFFMAN = (0xC4, bytes([0x00, 1, *[0] * 15, 0]))  # one code: no difference
HUFFMAN_AC = (0xC4, bytes([0x10, 1, *[0] * 15, 0xE0]))  # one code: the band ends here, 16384 times
SCAN = b"\xff\xda\x00\x08\x01\x01\x00\x00\x00\x00"


def webp(*chunks: tuple[bytes, bytes]) -> bytes:
    body = b"".join(name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2) for name, data in chunks)
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


def vp8(width: int, height: int) -> tuple[bytes, bytes]:
    return b"VP8 ", b"\x10\x02\x00\x9d\x01\x2a" + struct.pack("<HH", width, height) + bytes(40)


def vp8x(width: int, height: int, flags: int = 0) -> tuple[bytes, bytes]:
    return b"VP8X", bytes([flags, 0, 0, 0]) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")


UNREADABLE = "failed to get valid image (target_image)"
TOO_LARGE = "image size too large (target_image)"
NO_FACE = "no face found in the image (target_image)"
ANY = ("failed to get valid image", "image size too large", "no face found")

PICTURES: dict[str, tuple[bytes, str | tuple[str, ...]]] = {
    "png-bomb-30000": (png(30_000, 30_000, data=zeros(100)), TOO_LARGE),
    "png-with-a-bomb-inside": (png(64, 64, data=zeros(300)), ANY),
    "png-truncated": (png(64, 64)[:-20], ANY),
    "png-with-a-text-bomb": (png(64, 64, chunk(b"zTXt", b"a\0\0" + zeros(200))), ANY),
    "png-that-moves-out-of-its-canvas": (apng(60_000, 60_000), ANY),
    "jpeg-of-four-colours": (jpeg(QUANTISATION, frame(64, 64, components=4), HUFFMAN, rest=SCAN), ANY),
    "jpeg-of-100000-scans": (
        jpeg(
            QUANTISATION,
            frame(2040, 2040, 0xC2),
            HUFFMAN_AC,
            rest=b"\xff\xda\x00\x08\x01\x01\x00\x01\x3f\x00\0" * 100_000,
        ),
        UNREADABLE,
    ),
    "webp-with-a-large-frame-on-a-small-canvas": (webp(vp8x(64, 64), vp8(16_383, 16_383)), UNREADABLE),
    "gif": (b"GIF89a\xff\xff\xff\xff\x80\0\0" + bytes(20), UNREADABLE),
    "svg-that-reads": (b'<!DOCTYPE s [<!ENTITY a SYSTEM "file:///etc/passwd">]><svg>&a;</svg>', UNREADABLE),
    "noise": (bytes(range(256)) * 1000, UNREADABLE),
}
