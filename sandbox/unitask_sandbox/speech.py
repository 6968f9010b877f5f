"""Speech: the one English voice of hibari-tts, pulled towards a recording. It is not a clone of the recorded voice.

The text is read faster or slower, and then resampled to its right length, which moves the pitch, and the whole voice
with it, as a larger or smaller speaker does, and only as far as the voice stays intelligible. The same input gives the
same samples.
"""

import io
from functools import cache
from importlib import import_module
from typing import Any, Final

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.error import FFmpegError

from unitask_sandbox.faces.arrays import Floats, as_floats
from unitask_sandbox.failures import TaskFailure, unusable

RATE: Final = 24_000  # samples a second, of the voice
LONGEST_RECORDING: Final = 30  # seconds; what comes after is not read

PITCHES: Final = 60.0, 400.0  # Hz: what is taken for the pitch of a voice
OWN_PITCH: Final = 191.2  # Hz: `median_pitch` of the voice
MOST_SHIFT: Final = 1.3  # a factor, either way: beyond it no speaker sounds so
LOUDEST: Final = 0.9

_FORMATS: Final = "wav,flac,ogg,mov,mp3"  # FFmpeg's names: nothing else is opened, least of all playlists
CODECS: Final[dict[str, tuple[str, str, dict[str, str]]]] = {
    "wav": ("pcm_s16le", "s16", {}),
    "mp3": ("libmp3lame", "s16p", {"compression_level": "9", "reservoir": "0"}),  # the fastest settings
}


def speak(text: str, recording: Floats | None = None) -> Floats:
    """Return a text as speech, pulled towards a recording: samples from -1 to 1, ``RATE`` a second.

    A recording without a voice changes nothing.
    """
    pitch = None if recording is None else median_pitch(recording)
    shift = float(np.clip((pitch or OWN_PITCH) / OWN_PITCH, 1 / MOST_SHIFT, MOST_SHIFT))
    read = np.concatenate([np.empty(0, np.float32), *_voice().stream(text, speed=1 / shift, seed=0)])
    if not read.size:
        raise TaskFailure("no speech can be made of the text: the sandbox's voice reads English words")
    speech = np.interp(np.arange(0, len(read) - 1, shift), np.arange(len(read)), read)
    return as_floats(speech * (LOUDEST / max(LOUDEST, float(np.abs(speech).max()))))


def read_recording(data: bytes, field: str) -> Floats:
    """Return the first half minute of a WAV, FLAC, Ogg, MP3 or MP4 file: samples, ``RATE`` a second."""
    parts: list[Floats] = []
    resampler = AudioResampler(format="flt", layout="mono", rate=RATE)
    try:
        with av.open(
            io.BytesIO(data), "r", options={"format_whitelist": _FORMATS}, metadata_errors="replace"
        ) as source:
            for frame in source.decode(audio=0):
                parts += [part.to_ndarray()[0] for part in resampler.resample(frame)]
                if sum(map(len, parts)) > LONGEST_RECORDING * RATE:
                    break
    except (FFmpegError, IndexError) as error:  # IndexError: no stream of sound
        raise unusable("audio", field, "not a readable WAV, FLAC, Ogg, MP3 or MP4 file") from error
    if not parts:
        raise unusable("audio", field, "there is no sound in it")
    return np.concatenate(parts)[: LONGEST_RECORDING * RATE]


def median_pitch(samples: Floats) -> float | None:
    """Return the median pitch of speech in Hz, None where nothing sounds like a voice.

    The period of a frame is the first top of its autocorrelation that is nearly as high as the highest: after two
    periods it is as like itself as after one. Frames without a high top, or far below the loudest, are no voice.
    """
    window = np.hanning(2048)
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(samples, (0, 2047)), 2048)[::480]
    power = np.abs(np.fft.rfft(frames * window, 4096)) ** 2
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


@cache
def _voice() -> Any:
    """Return hibari-tts (it has no type stubs) with the voice that is in its wheel; others would be downloaded."""
    return import_module("hibari").Hibari(voice="heart")


def encode_audio(samples: Floats, rate: int, extension: str, mark: str) -> bytes:
    """Encode one channel of samples from -1 to 1, `rate` a second, as "wav" or "mp3"; the bytes follow from them."""
    codec, layout, options = CODECS[extension]
    target = io.BytesIO()
    file: Any = av.open(target, "w", format=extension, options={"fflags": "+bitexact"})  # without FFmpeg's version
    with file:
        file.metadata.update(title=mark, comment=mark)
        stream = file.add_stream(codec, rate=rate, layout="mono", options=options)
        stream.bit_rate = rate  # a bit a sample, where the codec compresses
        frame = AudioFrame.from_ndarray((samples * 32767).astype("<i2")[None], format=layout, layout="mono")
        frame.sample_rate = rate
        file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return target.getvalue()
