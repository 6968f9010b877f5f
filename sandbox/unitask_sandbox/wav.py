"""WAV files with a comment in their INFO list, which Python's `wave` does not write."""

from __future__ import annotations

import io
import struct
import wave


def wav(samples: bytes, rate: int, comment: str) -> bytes:
    """A WAV file of one channel.

    Args:
        samples: 16 bits each, little-endian.
        rate: Samples a second.
        comment: Stands in the file as ICMT.
    """
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(rate)
        sound.writeframes(samples)
    text = comment.encode() + bytes(len(comment.encode()) % 2)
    info = b"INFO" + struct.pack("<4sI", b"ICMT", len(text)) + text
    plain = buffer.getvalue() + struct.pack("<4sI", b"LIST", len(info)) + info
    return plain[:4] + struct.pack("<I", len(plain) - 8) + plain[8:]
