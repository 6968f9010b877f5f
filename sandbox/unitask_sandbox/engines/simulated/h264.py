"""H.264 in an MP4 file, for pictures of which little changes: what browsers and players play, and OpenCV cannot write.

Nothing is compressed but what stays: a macroblock of 16 x 16 pixels is either written as it is (I_PCM) or skipped, so
that the one before it is shown on. ITU-T H.264 (the clauses are those of 08/2021) for the stream, ISO/IEC 14496-12 and
-15 for the file.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence

import cv2
import numpy as np

from unitask_sandbox.faces.arrays import Flags, Pixels, as_pixels

_BLOCK = 16
_TICKS = 1000  # a second
_LEVEL = 30
_SPS, _PPS, _IDR, _P = 0x67, 0x68, 0x65, 0x41  # the first byte of each kind of unit (7.3.1)
_PCM_IN_I, _PCM_IN_P = 25, 30  # mb_type (tables 7-11 and 7-13)
_AVC = b"\x01\x42\xc0\x1e\xff\xe1"  # configuration: version, baseline profile, level, 4 bytes of length, one SPS
_MATRIX = struct.pack(">9I", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)


def mp4(frames: Sequence[Pixels], seconds: float, comment: str) -> bytes:
    """BGR frames of one size, both sides even, shown for equal times, as a file whose metadata has a comment."""
    height, width = frames[0].shape[:2]
    samples: list[bytes] = []
    before: Pixels | None = None
    for number, frame in enumerate(frames):
        blocks = _blocks(frame)
        changed = None if before is None else (blocks != before).any(axis=1)
        samples.append(_unit(_slice(blocks, changed, number)))
        before = blocks
    start = _box(b"ftyp", b"isom", struct.pack(">I", 512), b"isomavc1mp41")
    length = len(_movie(samples, (width, height), seconds, comment, 0))
    movie = _movie(samples, (width, height), seconds, comment, len(start) + length + 8)
    return start + movie + _box(b"mdat", *samples)


# The stream.


def _blocks(frame: Pixels) -> Pixels:
    """The macroblocks row by row: 256 bytes of light and twice 64 of colour each."""
    height, width = frame.shape[:2]
    below, right = -height % _BLOCK, -width % _BLOCK
    whole = cv2.copyMakeBorder(frame, 0, below, 0, right, cv2.BORDER_REPLICATE)
    planes = as_pixels(cv2.cvtColor(whole, cv2.COLOR_BGR2YUV_I420))
    tall, wide = height + below, width + right
    light, rest = planes[:tall], planes[tall:].reshape(2, tall // 2, wide // 2)
    return as_pixels(np.hstack([_cut(light, _BLOCK), _cut(rest[0], _BLOCK // 2), _cut(rest[1], _BLOCK // 2)]))


def _cut(plane: Pixels, side: int) -> Pixels:
    height, width = plane.shape
    cut = plane.reshape(height // side, side, width // side, side).swapaxes(1, 2)
    return as_pixels(cut.reshape(-1, side * side))


def _slice(blocks: Pixels, changed: Flags | None, number: int) -> bytes:
    """A picture (7.3.3 and 7.3.4): the first has every macroblock, a later one those that changed."""
    first = changed is None
    head = _ue(0) + _ue(7 if first else 5) + _ue(0) + f"{number % 256:08b}"
    head += _ue(0) + "00" if first else "000"  # idr_pic_id and marking, or two lists and the marking left alone
    head += _ue(0) + _ue(1)  # slice_qp_delta; no deblocking
    data = bytearray()
    bits, shown = head, 0
    for at in range(len(blocks)) if changed is None else np.flatnonzero(changed).tolist():
        bits += _ue(_PCM_IN_I) if first else _ue(at - shown) + _ue(_PCM_IN_P)
        data += _bytes(bits) + blocks[at].tobytes()
        bits, shown = "", at + 1
    if shown < len(blocks):
        bits += _ue(len(blocks) - shown)
    return bytes((_IDR if first else _P,)) + bytes(data) + _bytes(bits + "1")


def _sps(size: tuple[int, int]) -> bytes:
    """The sequence (7.3.2.1.1), with what is to be cut off of the last macroblocks."""
    wide, tall = (-(-side // _BLOCK) for side in size)
    bits = _ue(0) + _ue(4) + _ue(2) + _ue(1) + "0"  # id, 8 bits of frame_num, order as sent, one reference
    bits += _ue(wide - 1) + _ue(tall - 1) + "11"  # frames, no fields
    cut = [(blocks * _BLOCK - side) // 2 for blocks, side in zip((wide, tall), size, strict=True)]
    bits += "1" + _ue(0) + _ue(cut[0]) + _ue(0) + _ue(cut[1]) + "0"
    return bytes((_SPS, 66, 0xC0, _LEVEL)) + _bytes(bits + "1")


def _pps() -> bytes:
    """The pictures (7.3.2.2): ids, no arithmetic coding, one reference, and deblocking said in each slice."""
    return bytes((_PPS,)) + _bytes("11" + "00" + "111" + "000" + "111" + "100" + "1")


def _ue(value: int) -> str:
    """An unsigned Exp-Golomb number (9.1)."""
    bits = f"{value + 1:b}"
    return "0" * (len(bits) - 1) + bits


def _bytes(bits: str) -> bytes:
    """Bits, filled up with zeros."""
    length = -(-len(bits) // 8)
    return int(bits.ljust(8 * length, "0") or "0", 2).to_bytes(length, "big")


def _unit(content: bytes) -> bytes:
    """A unit with its length, without what would look like a start code (7.4.1)."""
    escaped = re.sub(rb"\0\0(?=[\0-\3])", b"\0\0\3", content)
    return struct.pack(">I", len(escaped)) + escaped


# The file.


def _movie(samples: list[bytes], size: tuple[int, int], seconds: float, comment: str, offset: int) -> bytes:
    """The box that describes the film, whose first sample lies at an offset in the file."""
    width, height = size
    ticks = round(seconds * _TICKS)
    header = struct.pack(">5I", 0, 0, 0, _TICKS, ticks) + struct.pack(">IH10x", 1 << 16, 1 << 8)
    track = (
        struct.pack(">6I", 3, 0, 0, 1, 0, ticks) + bytes(16) + _MATRIX + struct.pack(">II", width << 16, height << 16)
    )
    media = (
        _box(b"mdhd", struct.pack(">5IHH", 0, 0, 0, _TICKS, ticks, 0x55C4, 0)),
        _box(b"hdlr", bytes(8), b"vide", bytes(12), b"SIMULATED\0"),
        _box(
            b"minf",
            _box(b"vmhd", struct.pack(">I8x", 1)),
            _box(b"dinf", _box(b"dref", struct.pack(">II", 0, 1), _box(b"url ", struct.pack(">I", 1)))),
            _samples(samples, size, ticks, offset),
        ),
    )
    return _box(
        b"moov",
        _box(b"mvhd", header, _MATRIX, bytes(24), struct.pack(">I", 2)),
        _box(b"trak", _box(b"tkhd", track), _box(b"mdia", *media)),
        _said(comment),
    )


def _samples(samples: list[bytes], size: tuple[int, int], ticks: int, offset: int) -> bytes:
    """The box that says how the samples are coded, how long each is shown, and where it lies."""
    width, height = size
    sps, pps = _sps(size), _pps()
    coding = _AVC + struct.pack(">H", len(sps)) + sps + b"\x01" + struct.pack(">H", len(pps)) + pps
    entry = struct.pack(">6xH16xHHII4xH32xHh", 1, width, height, 72 << 16, 72 << 16, 1, 24, -1)
    count, each = len(samples), ticks // len(samples)
    last = ticks - each * (count - 1)
    return _box(
        b"stbl",
        _box(b"stsd", struct.pack(">II", 0, 1), _box(b"avc1", entry, _box(b"avcC", coding))),
        _box(b"stts", struct.pack(">6I", 0, 2, count - 1, each, 1, last)),
        _box(b"stss", struct.pack(">3I", 0, 1, 1)),
        _box(b"stsc", struct.pack(">5I", 0, 1, 1, count, 1)),
        _box(b"stsz", struct.pack(f">{3 + count}I", 0, 0, count, *map(len, samples))),
        _box(b"stco", struct.pack(">3I", 0, 1, offset)),
    )


def _said(comment: str) -> bytes:
    """A comment, where players look for it."""
    value = _box(b"data", struct.pack(">II", 1, 0), comment.encode())
    handler = _box(b"hdlr", bytes(8), b"mdirappl", bytes(9))
    return _box(b"udta", _box(b"meta", bytes(4), handler, _box(b"ilst", _box(b"\xa9cmt", value))))


def _box(name: bytes, *content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + sum(map(len, content)), name) + b"".join(content)
