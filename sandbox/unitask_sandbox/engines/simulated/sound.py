"""A sound that says SIMULATED: the word in Morse code, as a soft tone, repeated to the length."""

import numpy as np

from unitask_sandbox.audio import encode_audio
from unitask_sandbox.faces.arrays import as_floats

UNIT = 0.072  # seconds of a dot
RATE = 8000  # hertz

_MORSE = {"S": "...", "I": "..", "M": "--", "U": "..-", "L": ".-..", "A": ".-", "T": "-", "E": ".", "D": "-.."}
_LOUDNESS = 0.12  # of the loudest
_TONES = (361, 375, 611, 625, 861)  # hertz


def sound(seed: int, seconds: float, extension: str, mark: str) -> bytes:
    """Return a sound as a file."""
    hard = np.repeat(np.array(_units(), np.float64), round(UNIT * RATE))
    loudness = np.convolve(hard, np.hanning(80) / np.hanning(80).sum(), "same")  # soft edges do not click
    phase = np.arange(len(loudness)) * (2 * np.pi * _TONES[seed % len(_TONES)] / RATE)
    word = as_floats(np.sin(phase) * loudness * _LOUDNESS)
    return encode_audio(np.resize(word, round(seconds * RATE)), RATE, extension, mark)


def _units() -> list[bool]:
    """Return the word, unit by unit: a dot is one unit, a dash three, the gaps one, three and seven."""
    letters = ("0".join({".": "1", "-": "111"}[sign] for sign in _MORSE[letter]) for letter in "SIMULATED")
    return [unit == "1" for unit in "000".join(letters) + "0000000"]
