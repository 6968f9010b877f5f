"""Speech: what comes out, how it is pulled towards a recording, and which recordings are refused."""

import io
import wave
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray
from unitask_sandbox import speech
from unitask_sandbox.engines import run
from unitask_sandbox.engines.real import zero_shot
from unitask_sandbox.failures import TaskFailure

from .local import HttpWith
from .media import recorded

TEXT = "Hi there, this is a sample generated with the F5-TTS API."
Samples = NDArray[np.float32]


def hum(pitch: float, seconds: float = 1.0) -> Samples:
    """A dull voice: a tone whose partials become weak soon; of pitch 0, silence."""
    times = np.arange(int(seconds * speech.RATE)) / speech.RATE
    partials = [np.sin(2 * np.pi * pitch * number * times) / number**3 for number in range(1, 12)]
    return np.asarray(0.5 * np.sum(partials, axis=0), np.float32)


@cache
def spoken(pitch: float) -> Samples:
    return speech.speak(TEXT, hum(pitch))


def test_task_makes_a_wav_that_says_that_it_is_synthetic(http_with: HttpWith) -> None:
    http = http_with(engine_process=True)
    given = {"gen_text": TEXT, "ref_text": "", "ref_audio": recorded(hum(160))}
    task, again = (http.done("Qubico/tts", "zero-shot", **given) for _ in range(2))
    data = http.file(task, "audio_url")
    with wave.open(io.BytesIO(data)) as sound:
        samples = np.frombuffer(sound.readframes(sound.getnframes()), "<i2")
    same = http.file(again, "audio_url") == data  # outside of the assert: pytest would compare them for minutes

    assert task["meta"]["voice_cloned"] is False
    assert (sound.getframerate(), sound.getsampwidth(), sound.getnchannels()) == (24_000, 2, 1)
    assert 3 < len(samples) / 24_000 < 8
    assert np.abs(samples).max() > 5_000
    assert b"synthetic: speech made by the unitask sandbox" in data
    assert same


@pytest.mark.parametrize(("wanted", "lowest", "highest"), [(230, 215, 245), (80, 130, 165), (0, 180, 200)])
def test_pitch_is_pulled_towards_the_recording_as_far_as_a_voice_can_go(
    wanted: float, lowest: float, highest: float
) -> None:
    assert lowest < (speech.median_pitch(spoken(wanted)) or 0) < highest
    assert len(spoken(wanted)) == pytest.approx(len(spoken(0)), rel=0.1)  # the pace is kept


@pytest.mark.parametrize(
    ("kind", "codec"),
    [("wav", "pcm_s16le"), ("flac", "flac"), ("mp3", "libmp3lame"), ("ogg", "libopus"), ("mp4", "aac")],
)
def test_recordings_of_every_usual_format_are_read(kind: str, codec: str) -> None:
    found = speech.read_recording(recorded(hum(200), kind, codec), "ref_audio")

    assert speech.median_pitch(found) == pytest.approx(200, rel=0.02)


def test_only_half_a_minute_of_a_recording_is_read() -> None:
    assert len(speech.read_recording(recorded(hum(200, seconds=40)), "ref_audio")) == 30 * speech.RATE


@pytest.mark.parametrize(
    ("text", "data", "words"),
    [
        (TEXT, b"no sound", "failed to get valid audio (ref_audio): not a readable WAV, FLAC, Ogg, MP3 or MP4 file"),
        (TEXT, b"#EXTM3U\nfile:///etc/passwd", "failed to get valid audio (ref_audio): not a readable WAV"),
        (TEXT, b"\xff\xfb" + bytes(99), "failed to get valid audio (ref_audio): not a readable WAV"),
        (TEXT, recorded(hum(200))[:78], "failed to get valid audio (ref_audio): there is no sound in it"),
        ("日本語", recorded(hum(200)), "no speech can be made of the text: the sandbox's voice reads English words"),
    ],
    ids=["nothing", "playlist", "damaged", "empty", "not-english"],
)
def test_speech_that_cannot_be_made_fails_the_task(text: str, data: bytes, words: str) -> None:
    with pytest.raises(TaskFailure) as caught:
        run(zero_shot, {"gen_text": text, "ref_audio": data})

    assert caught.value.raw_message.startswith(words)
