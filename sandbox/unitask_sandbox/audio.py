"""Audio files, encoded by PyAV."""

import io
from typing import Any, Final

import av
from av.audio.frame import AudioFrame

from unitask_sandbox.faces.arrays import Floats

CODECS: Final[dict[str, tuple[str, str, dict[str, str]]]] = {
    "wav": ("pcm_s16le", "s16", {}),
    "mp3": ("libmp3lame", "s16p", {"compression_level": "9", "reservoir": "0"}),  # the fastest settings
}


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
