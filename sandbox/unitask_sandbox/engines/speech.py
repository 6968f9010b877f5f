"""Text to speech: real speech in English, though not in the voice of the recording."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unitask_sandbox.engines.registry import EngineResult, Needs, engine
from unitask_sandbox.engines.wording import told
from unitask_sandbox.wav import wav

MARK = "synthetic: speech made by the unitask sandbox"
META = {"voice_cloned": False, "voice": "hibari-tts, heart; pitch and tone pulled towards ref_audio"}


@engine("Qubico/tts", "zero-shot", Needs(extra="sandbox-tts", seconds=300.0))
def zero_shot(given: Mapping[str, Any]) -> EngineResult:
    """Read gen_text. What is said in ref_audio, ref_text, is not needed for that."""
    from unitask_sandbox import speech  # loads FFmpeg and the voice, which only the worker needs

    with told(speech.UnreadableSound, speech.NothingToSay):
        samples = speech.speak(given["gen_text"], speech.read_recording(given["ref_audio"], "ref_audio"))
    pcm = (samples * 32767).astype("<i2").tobytes()
    return EngineResult({"audio_url": (wav(pcm, speech.RATE, MARK), "wav")}, META)
