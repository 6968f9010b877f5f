"""Hostile inputs as data: what is sent, and which answers are right. `test_hostile.py` sends them to a real server.

A `Request` is refused at once; a `Medium` is accepted as the input of a task, which then ends failed. The pictures are
written here byte by byte, since no library would write them.
"""

from __future__ import annotations

import base64
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
    """One request as it goes over the connection.

    Attributes:
        pieces: What is sent; the rest is kept when the server answers before the end.
        statuses: The answers that are right.
        words: What the refusal says.
        path: Which operation's answer it is.
    """

    pieces: Callable[[], Iterable[bytes]]
    statuses: frozenset[int]
    words: str = ""
    method: str = "POST"
    path: str = CREATE


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
    "many-lists": request(b"[" + b"[]," * (8 * MB) + b"[]]", words=PARTS),
    "many-errors": request(b'{"model":"m","messages":[' + b"1," * 99_000 + b"1]}", path=CHAT, words="of type object"),
    "quotes": request(b'"' * (24 * MB), words=PARTS),
    "escapes": request(b'"' + b"\\" * (24 * MB), words=NOT_JSON),
    "number-of-5000-digits": request(b'{"model": ' + b"1" * 5000 + b"}", words=NOT_JSON),
    "fraction-of-20-mb": request(b"0." + b"1" * (20 * MB), words="must be of type object"),
    "name-twice": request(b'{"model": "a", ' + create()[1:-1] + b', "model": 5}', words="model must be of type string"),
    "utf-16": request(create().decode().encode("utf-16"), words=NOT_JSON),
    "byte-order-mark": request(b"\xef\xbb\xbf" + create(), words=NOT_JSON),
    "model-of-20-mb": request(create(model="m" * (20 * MB)), words="no such task"),
    "model-with-sql": request(create(model="'; DROP TABLE tasks; --"), words="no such task"),
    "gzip-bomb": request(ZIPPED, 415, "compressed", headers=("content-encoding: gzip",)),
    "100-mb": request(megabytes(100), 413, "larger than", length=100 * MB),
    "100-mb-that-close": request(megabytes(100), 413, "larger than", length=100 * MB, headers=("connection: close",)),
    "100-mb-in-chunks": request(chunked(megabytes(100)), 413, "larger than", headers=CHUNKED),
    "100-mb-without-a-key": raw(
        b"POST /api/v1/task HTTP/1.1\r\nhost: localhost\r\ncontent-length: 104857600\r\n\r\n", 413
    ),
    "small-chunks": request(chunked(lambda: [b"["] * 20_000), headers=CHUNKED, words=NOT_JSON),
    "slow-body": request(lambda: [b"{"], 408, "the body took longer", length=100),
    "form-of-a-million-fields": form(
        FIELD * 100_000 + b"--b--", words="too many fields. maximum number of fields is 100"
    ),
    "form-without-an-end": form(
        b'--b\r\ncontent-disposition: form-data; name="image"\r\n\r\nx', words="is a required property"
    ),
    "form-without-names": form(b"--b\r\n\r\n\r\n\r\n--b--", words='"name" must be provided'),
    "form-with-a-long-head": form(
        b"--b\r\n" + b"content-disposition:" * MB + b"\r\n\r\n--b--", words="invalid multipart data"
    ),
    "form-of-long-number": form(
        b'--b\r\ncontent-disposition: form-data; name="n"\r\n\r\n' + b"9" * 5000 + b"\r\n--b--",
        words="is a required property",
    ),
    "upload-of-html": request(b'{"file_name": "a.html", "file_data": "PHA+"}', path=UPLOAD, words="must end in one of"),
    "upload-of-11-mb": request(
        lambda: [b'{"file_name":"a.png","file_data":"', *[b"A" * MB] * 15, b'"}'],
        length=15 * MB + 36,
        path=UPLOAD,
        words="the limit is",
    ),
    "upload-with-blanks": request(
        lambda: [b'{"file_name":"a.png","file_data":"', *[b"AB  " * (MB // 4)] * 20, b'A"}'],
        length=20 * MB + 37,
        path=UPLOAD,
        words="neither base64",
    ),
}

HEADS: dict[str, Request] = {
    "words": raw(b"no http at all\r\n\r\n"),
    "tls": raw(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(32)),
    "header-of-1-mb": raw(b"GET / HTTP/1.1\r\nhost: localhost\r\nx: " + b"x" * MB),
    "length-and-chunks": raw(head("POST", CREATE, "content-length: 3", *CHUNKED) + b"0\r\n\r\n", words=NOT_JSON),
    "rebound-name": raw(head("GET", "/account/info", host="evil.example:8042"), 421, "is not one of this sandbox"),
    "connect": raw(head("CONNECT", "169.254.169.254:80"), (404, 405)),
    "no-such-method": raw(head("X" * 1000, CREATE), 405),
    "proxied": raw(head("GET", "http://169.254.169.254/latest/meta-data/"), 404),
    "web-socket": raw(
        head(
            "GET",
            "/nothing",
            "connection: upgrade",
            "upgrade: websocket",
            "sec-websocket-key: eA==",
            "sec-websocket-version: 13",
        ),
        404,
    ),
    "key-with-bytes": raw(b"GET /account/info HTTP/1.1\r\nhost: localhost\r\nx-api-key: \xff\xfe\r\n\r\n", 401),
    **{
        f"path {path[:30]}": raw(head("GET", path), 404)
        for path in (
            "/files/../sandbox.sqlite3",
            "/files/..%2f..%2f..%2f..%2fetc%2fpasswd",
            "/files/%2e%2e/%2e%2e/etc/passwd",
            "/files//etc/passwd",
            "/files/..%5c..%5cwindows%5cwin.ini",
            "/files/%00",
            "/files/a.png%00.txt",
            "/files/%c0%ae%c0%ae/etc/passwd",
            "/files/" + "../" * 2000 + "etc/passwd",
            "/../../etc/passwd",
            "/api/v1/task/..%2f..%2fetc%2fpasswd",
            "/api/v1/task/%27%20OR%201=1",
            "/api/v1/task/" + "%ff" * 2000,
        )
    },
    "page-of-20-digits": raw(
        head("GET", "/api/open/tasks/histories?page=99999999999999999999"), path="/api/open/tasks/histories"
    ),
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
PICTURE = (QUANTISATION, frame(64, 64), HUFFMAN)
LOOPING_EXIF = b"Exif\0\0MM\0*\0\0\0\x08" + b"\0\x01\x01\x12\0\x03\0\0\0\x01\0\x63\0\0" + b"\0\0\0\x08"


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
    "plain": (png(64, 64), NO_FACE),
    "png-of-2-gigapixels-a-side": (png(2**31 - 1, 2**31 - 1), TOO_LARGE),
    "png-bomb-30000": (png(30_000, 30_000, data=zeros(100)), TOO_LARGE),
    "png-with-a-bomb-inside": (png(64, 64, data=zeros(300)), ANY),
    "png-truncated": (png(64, 64)[:-20], ANY),
    "png-of-wrong-sums": (png(64, 64).replace(b"IDAT", b"IDAX"), UNREADABLE),
    "png-with-a-text-bomb": (png(64, 64, chunk(b"zTXt", b"a\0\0" + zeros(200))), ANY),
    "png-with-two-headers": (
        png(64, 64, chunk(b"IHDR", struct.pack(">IIBBBBB", 30_000, 30_000, 8, 0, 0, 0, 0))),
        ANY,
    ),
    "png-that-moves-out-of-its-canvas": (apng(60_000, 60_000), ANY),
    "png-and-zip-and-html": (png(64, 64) + b"PK\x03\x04<script>alert(1)</script>", NO_FACE),
    "jpeg-of-65500": (jpeg(QUANTISATION, frame(65_500, 65_500), rest=SCAN), TOO_LARGE),
    "jpeg-without-height": (jpeg(QUANTISATION, frame(64, 0), rest=SCAN), UNREADABLE),
    "jpeg-with-two-frames": (jpeg(frame(64, 64), QUANTISATION, frame(60_000, 60_000), rest=SCAN), UNREADABLE),
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
    "jpeg-with-a-loop-in-its-exif": (jpeg((0xE1, LOOPING_EXIF), *PICTURE, rest=SCAN + b"\0" * 64), ANY),
    "jpeg-of-empty-segments": (b"\xff\xd8" + b"\xff\xe0\x00\x02" * 500_000, UNREADABLE),
    "jpeg-of-fill-bytes": (b"\xff\xd8" + b"\xff" * 5_000_000, UNREADABLE),
    "webp-of-16383": (webp(vp8(16_383, 16_383)), TOO_LARGE),
    "webp-with-a-large-frame-on-a-small-canvas": (webp(vp8x(64, 64), vp8(16_383, 16_383)), UNREADABLE),
    "webp-that-moves": (webp(vp8x(64, 64, 2), (b"ANIM", bytes(6)), *[(b"ANMF", bytes(16))] * 1000), UNREADABLE),
    "gif": (b"GIF89a\xff\xff\xff\xff\x80\0\0" + bytes(20), UNREADABLE),
    "bmp-of-2-gigapixels": (
        b"BM" + struct.pack("<IIIIiiHHI", 54, 0, 54, 40, 2**31 - 1, 2**31 - 1, 1, 24, 0),
        UNREADABLE,
    ),
    "svg-that-reads": (b'<!DOCTYPE s [<!ENTITY a SYSTEM "file:///etc/passwd">]><svg>&a;</svg>', UNREADABLE),
    "zip-bomb": (b"PK\x03\x04" + zeros(100), UNREADABLE),
    "pickle-of-a-command": (b"cos\nsystem\n(S'touch /tmp/owned'\ntR.", UNREADABLE),
    "noise": (bytes(range(256)) * 1000, UNREADABLE),
}


def base64_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


LINKS: dict[str, tuple[str, str]] = {
    "own-file": ("file:///etc/passwd", "neither an address nor base64"),
    "ftp": ("ftp://127.0.0.1/a.png", "neither an address nor base64"),
    "metadata": ("http://169.254.169.254/latest/meta-data/", "which is not allowed"),
    "metadata-in-ipv6": ("http://[::ffff:169.254.169.254]/", "which is not allowed"),
    "private": ("http://10.255.255.1/", "--private-addresses all"),
    "nobody-there": ("http://127.0.0.1:1/", "the address cannot be fetched"),
    "user-name": ("http://me:secret@127.0.0.1/", "a user name or a password"),
    "no-address": ("http://[", "the address cannot be fetched"),
    "port-of-many-digits": ("http://127.0.0.1:99999999999999999999/", "the address cannot be fetched"),
    "data-that-is-no-base64": ("data:text/html,<script>", "not base64"),
    "data-without-an-end": ("data:" + ";a=b" * 100_000, "not base64"),
    "base64-of-11-mb": (base64_of(bytes(11 * MB)), "the limit is"),
    "base64-of-blanks": ("\t" * (9 * MB), "0 bytes"),
    "words-of-20-mb": ("ab? " * (5 * MB), "neither an address nor base64"),
}
