"""A 3D model that says SIMULATED: a plaque with a picture on its faces, as binary glTF 2.0 (Khronos, 4.4)."""

import base64
import json
import struct
from pathlib import Path
from typing import Any

from unitask_sandbox.engines.simulated.pictures import Scene, picture

_PLAQUE = Path(__file__).with_name("plaque.gltf")  # a box of 1 x 1 x 0.25 m with an empty texture
_TEXTURE = (256, 256)


def plaque(scene: Scene) -> bytes:
    """Return a GLB of one chunk: the model of plaque.gltf with a texture and the mark inside."""
    model: dict[str, Any] = json.loads(_PLAQUE.read_bytes())
    model["asset"]["generator"] = scene.mark
    model["images"][0]["uri"] += base64.b64encode(picture(scene, _TEXTURE, "png")).decode()
    text = json.dumps(model, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    return struct.pack("<4sIII4s", b"glTF", 2, 20 + len(text), len(text), b"JSON") + text
