"""A sound that says SIMULATED: the word in Morse code, as a soft tone, again and again, as WAV or as MP3.

The MP3 is written here, since OpenCV has no encoder for sound. Its frames are of two kinds only, silence and a tone of
one coefficient (ISO/IEC 11172-3 and 13818-3, layer III): 8 kbit/s, 16 kHz, mono, 36 ms a frame, and no frame refers to
another one, so any order of them is a file.
"""

from __future__ import annotations

import struct
from itertools import cycle, islice

import numpy as np

from unitask_sandbox.faces.arrays import Doubles
from unitask_sandbox.wav import wav as wav_file

UNIT = 0.072  # seconds of a dot

_MORSE = {"S": "...", "I": "..", "M": "--", "U": "..-", "L": ".-..", "A": ".-", "T": "-", "E": ".", "D": "-.."}
_RATE = 8000  # of the WAV, in hertz
_LOUDNESS = 0.12  # of the loudest
_TONES = (26, 27, 44, 45, 62)  # coefficients in the middle of a subband, which its neighbours leave alone

_FRAME = 36  # bytes
_FRAME_SECONDS = 0.036
_HEADER = bytes((0xFF, 0xF3, 0x18, 0xC0))  # MPEG-2, layer III, no checksum, 8 kbit/s, 16 kHz, mono
_GAIN = 196  # 210 is the loudest


def _units() -> list[bool]:
    """The word, unit by unit: a dot is one, a dash three, the gaps one, three and seven."""
    letters = ("0".join({".": "1", "-": "111"}[sign] for sign in _MORSE[letter]) for letter in "SIMULATED")
    return [unit == "1" for unit in "000".join(letters) + "0000000"]


def wav(seed: int, seconds: float, mark: str) -> bytes:
    """A WAV of 16 bits at 8 kHz with the mark in its INFO list."""
    hertz = _TONES[seed % len(_TONES)] * 8000 / 576
    hard = np.repeat(np.array(_units(), np.float64), round(UNIT * _RATE))
    loud: Doubles = np.convolve(hard, np.hanning(80) / np.hanning(80).sum(), "same").real  # no clicks
    wave_form: Doubles = np.sin(np.arange(len(loud)) * (2 * np.pi * hertz / _RATE)) * loud
    word = (wave_form * (32767 * _LOUDNESS)).astype(np.dtype("<i2"))
    tone = np.resize(word, round(seconds * _RATE))
    return wav_file(tone.tobytes(), _RATE, mark)


def mp3(seed: int, seconds: float, mark: str) -> bytes:
    """An MP3 whose length is right to a frame of 36 ms, with the mark as title and comment (ID3v2.3)."""
    silence, tone = _frame(None), _frame(_TONES[seed % len(_TONES)])
    a_unit = round(UNIT / _FRAME_SECONDS)
    word = [tone if unit else silence for unit in _units() for _ in range(a_unit)]
    frames = islice(cycle(word), max(1, round(seconds / _FRAME_SECONDS)))
    return _tag(mark) + b"".join(frames)


def _frame(coefficient: int | None) -> bytes:
    """A frame with one coefficient of 576 that is not zero, or with none."""
    pairs = 0 if coefficient is None else coefficient // 2 + 1
    # Huffman table 1: a pair of zeros is 1; (1, 0) is 01, (0, 1) is 001, then the sign.
    last = "" if coefficient is None else ("0010" if coefficient % 2 else "010")
    data = "1" * max(0, pairs - 1) + last
    fields = (
        (0, 8),  # main_data_begin: nothing from earlier frames
        (0, 1),  # private_bits
        (len(data), 12),  # part2_3_length: there are no scale factors
        (pairs, 9),  # big_values
        (_GAIN, 8),  # global_gain
        (0, 9),  # scalefac_compress
        (0, 1),  # window_switching_flag
        *((1, 5),) * 3,  # table_select
        (0, 4),  # region0_count
        (0, 3),  # region1_count
        (0, 1),  # scalefac_scale
        (0, 1),  # count1table_select
    )
    bits = "".join(f"{value:0{width}b}" for value, width in fields) + data
    body = bits.ljust(8 * (_FRAME - len(_HEADER)), "0")
    return _HEADER + int(body, 2).to_bytes(len(body) // 8, "big")


def _tag(mark: str) -> bytes:
    """An ID3v2.3 tag; its sizes have seven bits a byte."""
    text = mark.encode("ascii")
    frames = b"".join(
        struct.pack(">4sIH", name, len(content), 0) + content
        for name, content in ((b"TIT2", b"\0" + text), (b"COMM", b"\0eng\0" + text))
    )
    size = bytes(len(frames) >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\x03\x00\x00" + size + frames
