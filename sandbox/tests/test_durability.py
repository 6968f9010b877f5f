"""What outlives the process, and who may use what it left."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from unitask_sandbox import Sandbox, Settings
from unitask_sandbox.folder import FolderInUse

from .local import SandboxWith, encoded, face_swap

FACE_SWAP = encoded(face_swap())
LEFT_BEHIND = "00000000-0000-4000-8000-000000000000.png"

HOLDER = """
import sys
from pathlib import Path
from unitask_sandbox import Sandbox, Settings
sandbox = Sandbox(Settings(data=Path(sys.argv[1]), autorun=False))
print("held", flush=True)
sys.stdin.read()
"""


def test_folder_in_use_is_refused_until_it_is_free(sandbox_with: SandboxWith, tmp_path: Path) -> None:
    """A second sandbox over a data folder would do each task twice; it is refused, and says what to do."""
    first = sandbox_with(data=tmp_path)
    with pytest.raises(FolderInUse, match=r"in use by another sandbox: stop that one, or give"):
        sandbox_with(data=tmp_path)
    first.close()

    assert sandbox_with(data=tmp_path).balance("sandbox") == 10.0


def test_killed_sandbox_holds_its_folder_no_longer(tmp_path: Path) -> None:
    """The folder is refused while another process uses it, and free as soon as that one was killed."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(FolderInUse):
            Sandbox(Settings(data=tmp_path))
        holder.kill()

    Sandbox(Settings(data=tmp_path)).close()


def test_files_that_nothing_lists_are_removed_at_the_start(sandbox_with: SandboxWith, tmp_path: Path) -> None:
    """What a sandbox left that was killed while it wrote is gone; outputs, and files with names of others, stay."""
    first = sandbox_with(data=tmp_path)
    task_id = first.accept("sandbox", FACE_SWAP).task_id
    first.advance()
    first.close()
    files = tmp_path / "files"
    (files / "ephemeral").mkdir()
    left = [files / LEFT_BEHIND, files / f"{LEFT_BEHIND}.part", files / "ephemeral" / LEFT_BEHIND]
    for path in (*left, files / "notes.txt"):
        path.write_bytes(b"half a")
    output = sandbox_with(data=tmp_path).get("sandbox", task_id).output

    assert not [path for path in left if path.exists()]
    assert output is not None
    assert {path.name for path in files.iterdir()} == {output["image_url"]["$file"], "notes.txt", "ephemeral"}


def test_file_that_could_not_be_written_whole_is_not_served(
    sandbox_with: SandboxWith, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk fails the task: half of a file never gets the name of a whole one."""

    def full(_: int) -> None:
        raise OSError("no space left on device")

    sandbox = sandbox_with(data=tmp_path)
    task_id = sandbox.accept("sandbox", FACE_SWAP).task_id
    monkeypatch.setattr("os.fsync", full)
    sandbox.advance()

    assert sandbox.get("sandbox", task_id).status == "failed"
    assert [path.suffix for path in (tmp_path / "files").iterdir()] == [".part"]
