"""Speech: what comes out, how it is pulled towards a recording, and which recordings are refused."""

from __future__ import annotations

import io
import re
import wave
from functools import cache
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from unitask_sandbox import speech
from unitask_sandbox.engines import run
from unitask_sandbox.engines.speech import zero_shot
from unitask_sandbox.failures import TaskFailure
from unitask_sandbox.wav import wav

from .local import SandboxWith, base64_of, encoded

TEXT = "Hi there, this is a sample generated with the F5-TTS API."
Samples = NDArray[np.float32]


def hum(pitch: float, seconds: float = 1.0) -> Samples:
    """A dull voice: a tone whose partials become weak soon."""
    times = np.arange(int(seconds * speech.RATE)) / speech.RATE
    partials = [np.sin(2 * np.pi * pitch * number * times) / number**3 for number in range(1, 12)]
    return np.asarray(0.5 * np.sum(partials, axis=0), np.float32)


def file_of(samples: Samples) -> bytes:
    return wav((samples * 32767).astype("<i2").tobytes(), speech.RATE, "for a test")


def packed(samples: Samples, kind: str, codec: str) -> bytes:
    """A recording in another format."""
    target = io.BytesIO()
    with av.open(target, "w", format=kind) as made:
        stream: Any = made.add_stream(codec, rate=speech.RATE, layout="mono")
        frame = av.AudioFrame.from_ndarray((samples * 32767).astype("<i2")[None], format="s16", layout="mono")
        frame.sample_rate = speech.RATE
        made.mux(stream.encode(frame))
        made.mux(stream.encode(None))
    return target.getvalue()


def read(text: str, recording: bytes) -> bytes:
    made = run(zero_shot, {"gen_text": text, "ref_audio": recording})
    data, extension = made.output["audio_url"]
    assert extension == "wav"
    assert made.meta["voice_cloned"] is False
    return bytes(data)


@cache
def spoken(pitch: float) -> Samples:
    return speech.speak(TEXT, hum(pitch))


def test_speech_is_a_wav_that_says_that_it_is_synthetic() -> None:
    """Some five seconds of sound, 24 kHz and 16 bits, with the mark in its INFO list; the same bytes each time."""
    data = read(TEXT, file_of(hum(160)))
    with wave.open(io.BytesIO(data)) as sound:
        seconds = sound.getnframes() / sound.getframerate()
        samples = np.frombuffer(sound.readframes(sound.getnframes()), "<i2")

    assert (sound.getframerate(), sound.getsampwidth(), sound.getnchannels()) == (24_000, 2, 1)
    assert 3 < seconds < 8
    assert np.abs(samples).max() > 5_000
    assert b"ICMT" in data
    assert b"synthetic: speech made by the unitask sandbox" in data
    again = read(TEXT, file_of(hum(160))) == data  # outside of the assert: pytest would compare them for minutes
    assert again


def test_longer_text_takes_longer() -> None:
    """The text is read, whole."""
    once, twice = (len(read(text, file_of(hum(190)))) for text in (TEXT, f"{TEXT} {TEXT}"))

    assert 1.9 < twice / once < 2.1


@pytest.mark.parametrize(("wanted", "lowest", "highest"), [(160, 150, 175), (230, 215, 245), (80, 130, 165)])
def test_pitch_is_pulled_towards_the_recording(wanted: float, lowest: float, highest: float) -> None:
    """As far as a voice can go: a very low recording makes it lower, but no giant's."""
    pitch = speech.median_pitch(spoken(wanted))

    assert pitch is not None
    assert lowest < pitch < highest


def test_tone_is_pulled_towards_the_recording() -> None:
    """The long-term spectrum is nearer to the recording's than the voice's own is."""
    recording = hum(190)
    own = speech.speak(TEXT, np.zeros(2400, np.float32))

    def apart(samples: Samples) -> float:
        return float(np.sqrt(np.mean((speech.spectrum(samples) - speech.spectrum(recording)) ** 2)))

    assert apart(spoken(190)) < 0.8 * apart(own)


@pytest.mark.parametrize("pitch", [80, 110, 160, 240, 330])
def test_pitch_of_a_tone_is_measured(pitch: float) -> None:
    """Whatever its partials, the lowest one counts."""
    assert speech.median_pitch(hum(pitch)) == pytest.approx(pitch, rel=0.01)


@pytest.mark.parametrize("samples", [np.zeros(5000), np.zeros(3), np.random.default_rng(1).normal(0, 0.1, 24_000)])
def test_silence_and_noise_have_no_pitch(samples: Any) -> None:
    """So they do not pull the voice anywhere."""
    assert speech.median_pitch(samples.astype(np.float32)) is None


@pytest.mark.parametrize(
    ("kind", "codec"),
    [("wav", "pcm_s16le"), ("flac", "flac"), ("mp3", "libmp3lame"), ("ogg", "libopus"), ("mp4", "aac")],
)
def test_recordings_of_every_usual_format_are_read(kind: str, codec: str) -> None:
    """The pitch of the recording is found in each."""
    found = speech.read_recording(packed(hum(200), kind, codec), "ref_audio")

    assert speech.median_pitch(found) == pytest.approx(200, rel=0.02)


def test_half_a_minute_of_a_recording_is_enough() -> None:
    """What comes after is not read."""
    assert len(speech.read_recording(file_of(hum(200, seconds=40)), "ref_audio")) == 30 * speech.RATE


@pytest.mark.parametrize(
    ("text", "recording", "words"),
    [
        (TEXT, b"no sound", r"failed to get valid audio \(ref_audio\): not a WAV, FLAC, Ogg, MP3 or MP4 file"),
        (TEXT, b"#EXTM3U\nfile:///etc/passwd", r"failed to get valid audio \(ref_audio\): not a WAV"),
        (TEXT, b"\xff\xfb" + bytes(99), r"failed to get valid audio \(ref_audio\): it cannot be decoded as mp3"),
        (TEXT, file_of(hum(200))[:44], r"failed to get valid audio \(ref_audio\): there is no sound in it"),
        ("", file_of(hum(200)), "no speech can be made of the text: the sandbox's voice reads English words"),
        ("日本語", file_of(hum(200)), "no speech can be made of the text"),
    ],
    ids=["nothing", "playlist", "damaged", "empty", "no-text", "not-english"],
)
def test_speech_that_cannot_be_made_fails_in_words(text: str, recording: bytes, words: str) -> None:
    """Whatever is wrong, the task's error says it."""
    with pytest.raises(TaskFailure) as caught:
        read(text, recording)

    assert re.match(words, caught.value.raw_message)


def test_task_makes_speech(sandbox_with: SandboxWith) -> None:
    """Through the provider and its worker process; the documented sample, with config and an empty ref_text."""
    sandbox = sandbox_with(engine_process=True)
    given = {"gen_text": TEXT, "ref_text": "", "ref_audio": base64_of(file_of(hum(160)))}
    body = {"model": "Qubico/tts", "task_type": "zero-shot", "input": given, "config": {"service_mode": "public"}}
    task_id = sandbox.accept("sandbox", encoded(body)).task_id
    sandbox.advance()
    task = sandbox.get("sandbox", task_id)

    assert task.status == "completed", task.error
    assert task.output is not None
    assert task.meta["voice_cloned"] is False
    assert sandbox.file(task.output["audio_url"]["$file"]).suffix == ".wav"
