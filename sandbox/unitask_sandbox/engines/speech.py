"""Text to speech: real speech in English, though not in the voice of the recording."""

from collections.abc import Mapping
from typing import Any

from unitask_sandbox.engines.registry import EngineResult, Needs, engine

MARK = "synthetic: speech made by the unitask sandbox"
META = {"voice_cloned": False, "voice": "hibari-tts, heart; pitch and tone pulled towards ref_audio"}


@engine("Qubico/tts", "zero-shot", Needs(extra="sandbox-tts", seconds=300.0))
def zero_shot(given: Mapping[str, Any]) -> EngineResult:
    """Read gen_text. What is said in ref_audio, ref_text, is not needed for that."""
    from unitask_sandbox import audio, speech  # lazy: FFmpeg and the voice, which only the worker needs

    samples = speech.speak(given["gen_text"], speech.read_recording(given["ref_audio"], "ref_audio"))
    return EngineResult({"audio_url": (audio.encode_audio(samples, speech.RATE, "wav", MARK), "wav")}, META)
