"""Pictures for the tests, made of the two portraits that come with the sandbox."""

import struct
import zlib

import cv2
import numpy as np
from numpy.typing import NDArray
from unitask_sandbox import samples

from .local import Http, base64_of

ASTRONAUT = samples.ASTRONAUT.read_bytes()
HOPPER = samples.GRACE_HOPPER.read_bytes()
SIDE = 512

Picture = NDArray[np.uint8]


def pixels(data: bytes) -> Picture:
    """A decoded picture, with its alpha if it has one."""
    return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED), np.uint8)


def encoded(picture: Picture, kind: str = ".png", *options: int) -> bytes:
    return cv2.imencode(kind, picture, options)[1].tobytes()


def resized(data: bytes, width: int, height: int) -> Picture:
    return np.asarray(cv2.resize(pixels(data), (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def png_of_size(width: int, height: int) -> bytes:
    """A PNG that says that it is of this size, and has no pixels."""
    parts = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0), b"IDAT", b"IEND"
    chunks = (struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part)) for part in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def side_by_side(*portraits: bytes) -> bytes:
    """Portraits from left to right, each cut to a square."""
    return encoded(np.hstack([pixels(portrait)[:SIDE, :SIDE] for portrait in portraits]))


def part(picture: bytes, number: int) -> bytes:
    """One of the squares of such a picture, from the left."""
    return encoded(pixels(picture)[:, number * SIDE : (number + 1) * SIDE])


def done(http: Http, task_type: str, **given: object) -> dict[str, object]:
    """Create a task of the image toolkit, let it run, and get it; pictures may be given as bytes."""
    fields = {name: base64_of(value) if isinstance(value, bytes) else value for name, value in given.items()}
    body = {"model": "Qubico/image-toolkit", "task_type": task_type, "input": fields}
    task_id = http("POST", "/api/v1/task", json=body).json()["data"]["task_id"]
    http.sandbox.advance()
    return http.task(task_id)


def result(http: Http, task: dict[str, object]) -> bytes:
    """The picture that a task made, as it is served."""
    output = task["output"]
    assert task["status"] == "completed", task["error"]
    assert isinstance(output, dict)
    return http.unchecked("GET", output["image_url"]).content
