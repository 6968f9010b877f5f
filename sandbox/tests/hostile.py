"""Hostile pictures, which no library would write."""

import io
import struct
import zlib

from PIL import Image
from unitask_sandbox import samples

MB = 1 << 20


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, *more: bytes, data: bytes = zlib.compress((b"\0" + b"\x80" * 64) * 64)) -> bytes:
    """A grey PNG whose header says this size; by default it has the pixels of 64 x 64."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(more) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


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


def webp(canvas: int, frame: int) -> bytes:
    """A WebP whose frame and canvas are squares of these sides."""
    side = (canvas - 1).to_bytes(3, "little")
    picture = b"\x10\x02\x00\x9d\x01\x2a" + struct.pack("<HH", frame, frame) + bytes(40)
    chunks = ((b"VP8X", bytes(4) + side + side), (b"VP8 ", picture))
    body = b"WEBP" + b"".join(name + struct.pack("<I", len(data)) + data for name, data in chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def cmyk() -> bytes:
    Image.new("CMYK", (64, 64)).save(target := io.BytesIO(), "JPEG")
    return target.getvalue()


PICTURES = {
    "png-bomb-30000": png(30_000, 30_000, data=zeros(100)),
    "png-with-a-bomb-inside": png(64, 64, data=zeros(300)),
    "png-with-a-text-bomb": png(64, 64, chunk(b"zTXt", b"a\0\0" + zeros(200))),
    "png-truncated": png(64, 64)[:-20],
    "moving-png-larger-than-its-canvas": apng(60_000, 60_000),
    "jpeg-of-four-colours": cmyk(),
    "jpeg-of-100000-scans": samples.GRACE_HOPPER.read_bytes() + b"\xff\xda\x00\x08\x01\x01\x00\x01\x3f\x00\0" * 100_000,
    "webp-larger-than-its-canvas": webp(64, 16_383),
    "gif": b"GIF89a\xff\xff\xff\xff\x80\0\0" + bytes(20),
    "svg-that-reads-a-file": b'<!DOCTYPE s [<!ENTITY a SYSTEM "file:///etc/passwd">]><svg>&a;</svg>',
    "noise": bytes(range(256)) * 1000,
}
