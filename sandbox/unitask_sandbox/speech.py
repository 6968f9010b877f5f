"""Speech: the one English voice of hibari-tts, pulled towards a recording. It is not a clone of the recorded voice.

1. Pitch: the text is read faster or slower, and then resampled to its right length, which moves the pitch, and the
   whole voice with it, as a larger or smaller speaker does.
2. Tone: the long-term spectrum is filtered towards the recording's, in broad bands.

Both only as far as the voice stays intelligible. What the voice itself is like is measured on a sentence of ours, so
that the text decides nothing of it. The same input gives the same samples.
"""

import io
import math
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from typing import Any, Final

import av
import numpy as np
from av.audio.resampler import AudioResampler
from av.error import FFmpegError

from unitask_sandbox.faces.arrays import Doubles, Floats, as_floats
from unitask_sandbox.failures import TaskFailure

RATE: Final = 24_000  # samples a second, of the voice
LONGEST_RECORDING: Final = 30  # seconds; what comes after is not looked at

PITCHES: Final = 60.0, 400.0  # Hz: what is taken for the pitch of a voice
MOST_SHIFT: Final = 1.3  # a factor, either way: beyond it no speaker sounds so
MOST_GAIN: Final = 9.0  # dB, either way
LOUDEST: Final = 0.9
BANDS: Final = 20  # of the spectrum, from 100 Hz to 10 kHz, equally wide to the ear
FILTER_TAPS: Final = 1025

CALIBRATION: Final = "The quick brown fox jumps over the lazy dog, and five wizards boxed in the quiet morning."

_FORMATS: Final = (  # first bytes, where they stand, FFmpeg's name: nothing else is opened, least of all playlists
    (b"WAVE", 8, "wav"),
    (b"fLaC", 0, "flac"),
    (b"OggS", 0, "ogg"),
    (b"ftyp", 4, "mp4"),
    (b"ID3", 0, "mp3"),
    (b"\xff", 0, "mp3"),
)


def speak(text: str, recording: Floats) -> Floats:
    """Return a text as speech, pulled towards a recording: samples from -1 to 1, ``RATE`` a second.

    A recording without a voice changes nothing.
    """
    wanted = median_pitch(recording)
    parts = list(_read(text, 1.0)) if wanted is None else list(_pulled(text, wanted, spectrum(recording)))
    if not parts:
        raise TaskFailure("no speech can be made of the text: the sandbox's voice reads English words")
    speech = np.concatenate(parts)
    return as_floats(speech * (LOUDEST / max(LOUDEST, float(np.abs(speech).max()))))


def _pulled(text: str, pitch: float, tone: Doubles) -> Iterator[Floats]:
    own_pitch, own_spectrum = _own()
    shift = float(np.clip(pitch / own_pitch, 1 / MOST_SHIFT, MOST_SHIFT))
    taps = _taps(tone - own_spectrum)
    for sentence in _read(text, shift):
        length = len(sentence) + FILTER_TAPS - 1
        filtered = np.fft.irfft(np.fft.rfft(sentence, length) * np.fft.rfft(taps, length), length)
        yield as_floats(filtered[FILTER_TAPS // 2 :][: len(sentence)])


def read_recording(data: bytes, field: str) -> Floats:
    """Return the first half minute of a WAV, FLAC, Ogg, MP3 or MP4 file: samples, ``RATE`` a second."""
    kind = next((name for magic, at, name in _FORMATS if data.startswith(magic, at)), None)
    if kind is None:
        raise _unreadable(field, "not a WAV, FLAC, Ogg, MP3 or MP4 file")
    try:
        parts = list(_decoded(data, kind))
    except (FFmpegError, IndexError) as error:  # IndexError: no stream of sound
        raise _unreadable(field, f"it cannot be decoded as {kind}") from error
    if not parts:
        raise _unreadable(field, "there is no sound in it")
    return np.concatenate(parts)[: LONGEST_RECORDING * RATE]


def _unreadable(field: str, reason: str) -> TaskFailure:
    return TaskFailure(f"failed to get valid audio ({field}): {reason}")


def _decoded(data: bytes, kind: str) -> Iterator[Floats]:
    found = 0
    resampler = AudioResampler(format="flt", layout="mono", rate=RATE)
    with av.open(io.BytesIO(data), "r", format=kind, metadata_errors="replace") as source:
        for frame in source.decode(audio=0):
            for part in resampler.resample(frame):
                yield as_floats(part.to_ndarray())[0]
                found += part.samples
            if found > LONGEST_RECORDING * RATE:
                return


def median_pitch(samples: Floats) -> float | None:
    """Return the median pitch of speech in Hz, None where nothing sounds like a voice.

    The period of a frame is the first top of its autocorrelation that is nearly as high as the highest: after two
    periods it is as like itself as after one. Frames without a high top, or far below the loudest, are no voice.
    """
    window = np.hanning(2048)
    power = np.abs(np.fft.rfft(_frames(samples, 2048, 480) * window, 4096)) ** 2
    likeness = np.fft.irfft(power)[:, :2048] / np.fft.irfft(np.abs(np.fft.rfft(window, 4096)) ** 2)[:2048]
    first, last = (round(RATE / pitch) for pitch in reversed(PITCHES))
    inside, before, after = (likeness[:, first + by : last + by] for by in (0, -1, 1))
    tops = np.where((inside > before) & (inside >= after), inside, 0.0)
    energy, highest = likeness[:, 0], tops.max(1)
    voiced = (highest > 0.5 * energy) & (energy > 0.01 * energy.max()) & (energy > 1e-7)
    if not voiced.any():
        return None
    periods = first + (tops[voiced] > 0.9 * highest[voiced, None]).argmax(1)
    return float(RATE / np.median(periods))


def spectrum(samples: Floats) -> Doubles:
    """Return the long-term spectrum of speech in ``BANDS`` bands, in dB around a mean of 0."""
    frames = _frames(samples, 1024, 512)
    power = np.abs(np.fft.rfft(frames * np.hanning(1024))) ** 2
    loud = power.sum(1) > 0.01 * power.sum(1).max()
    mean = power[loud].mean(0) if loud.any() else np.ones(513)
    places = np.clip(np.searchsorted(_edges(), np.fft.rfftfreq(1024, 1 / RATE)) - 1, 0, BANDS - 1)
    bands = np.array([mean[places == band].mean() for band in range(BANDS)])
    level = 10 * np.log10(bands + 1e-9 * bands.max() + 1e-12)
    return np.asarray(level - level.mean(), np.float64)


def _edges() -> Doubles:
    """Return the edges of the bands in Hz; mel-spaced, so that the lowest ones are not empty."""
    mel = np.linspace(1127 * math.log1p(100 / 700), 1127 * math.log1p(10_000 / 700), BANDS + 1)
    return np.asarray(700 * np.expm1(mel / 1127), np.float64)


def _frames(samples: Floats, length: int, step: int) -> Floats:
    padded = np.pad(samples, (0, max(0, length - len(samples))))
    return np.lib.stride_tricks.sliding_window_view(padded, length)[::step]


def _taps(gain: Doubles) -> Doubles:
    """Return a filter of linear phase that has a gain in dB in each band, limited to what sounds natural."""
    edges = _edges()
    frequencies = np.fft.rfftfreq(FILTER_TAPS - 1, 1 / RATE)
    curve = np.interp(frequencies, (edges[:-1] + edges[1:]) / 2, np.clip(gain, -MOST_GAIN, MOST_GAIN))
    response = np.fft.fftshift(np.fft.irfft(10 ** (curve / 20)))
    return np.asarray(np.append(response, 0.0) * np.hanning(FILTER_TAPS), np.float64)


def _read(text: str, shift: float) -> Iterator[Floats]:
    """Yield each sentence of a text, with the pitch multiplied by ``shift`` and the pace as it was."""
    for sentence in _voice().stream(text, speed=1 / shift, seed=0):
        length = round(len(sentence) / shift)
        if length == len(sentence) and length:
            yield sentence
        elif length:  # stretched by way of its spectrum
            stretched = np.fft.irfft(np.fft.rfft(sentence)[: length // 2 + 1], length)
            yield as_floats(stretched * (length / len(sentence)))


@cache
def _voice() -> Any:
    """Return hibari-tts (it has no type stubs) with the voice that is in its wheel; others would be downloaded."""
    return import_module("hibari").Hibari(voice="heart")


@cache
def _own() -> tuple[float, Doubles]:
    """Return pitch and spectrum of the voice itself."""
    speech = np.concatenate(list(_read(CALIBRATION, 1.0)))
    pitch = median_pitch(speech)
    assert pitch is not None
    return pitch, spectrum(speech)
