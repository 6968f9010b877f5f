"""A 3D model that says SIMULATED: a plaque with a picture on its faces, as binary glTF 2.0 (Khronos, 4.4)."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np

from unitask_sandbox.engines.simulated.pictures import Scene, picture

_HALF = np.array((0.5, 0.5, 0.125), np.float32)  # half of each side, in metres
_TEXTURE = (256, 256)
_ARRAY, _ELEMENTS = 34962, 34963  # bufferView.target
_FLOAT, _SHORT = 5126, 5123  # accessor.componentType


def plaque(scene: Scene) -> bytes:
    """A GLB of one mesh with 24 corners and its texture inside."""
    points, normals, places, corners = _box()
    parts = (points, normals, places, corners, picture(scene, _TEXTURE, "png"))
    views: list[dict[str, Any]] = []
    content = b""
    for part, target in zip(parts, (_ARRAY, _ARRAY, _ARRAY, _ELEMENTS, None), strict=True):
        data = part if isinstance(part, bytes) else part.tobytes()
        views.append({"buffer": 0, "byteOffset": len(content), "byteLength": len(data)})
        if target:
            views[-1]["target"] = target
        content += data + bytes(-len(data) % 4)
    return _glb(_scene(scene, views, len(content)), content)


def _box() -> tuple[Any, ...]:
    """Corners, normals, places in the texture and triangles of a box; a face has its own four corners."""
    points: list[Any] = []
    normals: list[Any] = []
    for axis in range(3):
        for sign in (1.0, -1.0):
            normal = np.eye(3, dtype=np.float32)[axis] * sign
            upward = np.eye(3, dtype=np.float32)[2 if axis == 1 else 1]
            right = np.cross(upward, normal)
            for across, up in ((-1, -1), (1, -1), (1, 1), (-1, 1)):
                points.append((normal + right * across + upward * up) * _HALF)
                normals.append(normal)
    places = np.tile(np.array(((0, 1), (1, 1), (1, 0), (0, 0)), np.float32), (6, 1))
    corners = [4 * face + corner for face in range(6) for corner in (0, 1, 2, 0, 2, 3)]
    return np.array(points, np.float32), np.array(normals, np.float32), places, np.array(corners, np.uint16)


def _scene(scene: Scene, views: list[dict[str, Any]], length: int) -> dict[str, Any]:
    half: list[float] = _HALF.tolist()
    return {
        "asset": {"version": "2.0", "generator": scene.mark},
        "scene": 0,
        "scenes": [{"name": "SIMULATED", "nodes": [0]}],
        "nodes": [{"name": "SIMULATED", "mesh": 0}],
        "meshes": [
            {
                "primitives": [
                    {
                        "attributes": {"POSITION": 0, "NORMAL": 1, "TEXCOORD_0": 2},
                        "indices": 3,
                        "material": 0,
                    }
                ]
            }
        ],
        "materials": [
            {
                "pbrMetallicRoughness": {
                    "baseColorTexture": {"index": 0},
                    "metallicFactor": 0,
                    "roughnessFactor": 0.9,
                }
            }
        ],
        "textures": [{"source": 0}],
        "images": [{"bufferView": 4, "mimeType": "image/png"}],
        "accessors": [
            {
                "bufferView": 0,
                "componentType": _FLOAT,
                "count": 24,
                "type": "VEC3",
                "min": [-side for side in half],
                "max": half,
            },
            {"bufferView": 1, "componentType": _FLOAT, "count": 24, "type": "VEC3"},
            {"bufferView": 2, "componentType": _FLOAT, "count": 24, "type": "VEC2"},
            {"bufferView": 3, "componentType": _SHORT, "count": 36, "type": "SCALAR"},
        ],
        "bufferViews": views,
        "buffers": [{"byteLength": length}],
    }


def _glb(scene: dict[str, Any], content: bytes) -> bytes:
    """Header, the chunk of JSON, padded with spaces, and that of bytes."""
    text = json.dumps(scene, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    length = 12 + 8 + len(text) + 8 + len(content)
    head = struct.pack("<4sIII4s", b"glTF", 2, length, len(text), b"JSON")
    return head + text + struct.pack("<I4s", len(content), b"BIN\0") + content
