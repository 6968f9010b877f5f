"""Files of tasks and uploads on the disk. A file is served while the store lists it.

A file gets its name when it is complete and synced to the disk, and is listed after that. The next start removes files
that were not listed before the process was killed.
"""

import logging
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from unitask_sandbox import bundle
from unitask_sandbox.clock import id_within
from unitask_sandbox.failures import Refusal, TaskFailure
from unitask_sandbox.inputs import decoded, is_address
from unitask_sandbox.store import UPLOADS_KEPT, Store
from unitask_sandbox.task import FILE, file_name

_log = logging.getLogger("unitask_sandbox")
_ASSET = re.compile(r"asset://[\w-]{1,100}")
OURS = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\.\w+(\.part)?")


@dataclass(eq=False)
class Files:
    """The files of a sandbox."""

    folder: Path
    store: Store
    clock: Callable[[], float]
    elsewhere: Callable[[str], bytes]  # fetches what is behind an address of another server
    durable: bool

    def __post_init__(self) -> None:
        """Make the folder, and remove files that were not listed before the process was killed."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.remove_unlisted()

    def remove_unlisted(self) -> None:
        """Remove files that the store does not list; other names stay."""
        listed = self.store.files()
        for path in [*self.folder.glob("*"), *self.folder.glob("ephemeral/*")]:
            if OURS.fullmatch(path.name) and path.relative_to(self.folder).as_posix() not in listed:
                path.unlink()

    def path(self, name: str) -> Path:
        """Return the path of a file."""
        if not self.store.file_is_kept(name, self.clock()):
            raise Refusal(404, "file not found; outputs are kept for 3 days, uploads for 24 hours")
        return self.folder / name

    def fetch(self, url: str) -> bytes:
        """Return what is behind an address; a file of this sandbox is read from the disk."""
        kept = self.own(url)
        return self.elsewhere(url) if kept is None else kept

    def own(self, url: str) -> bytes | None:
        """Return what is behind an address of this sandbox; None for another address."""
        name = file_name(url)
        if name and self.store.file_is_kept(name, self.clock()):
            return (self.folder / name).read_bytes()
        return None

    def at_hand(self, medium: str) -> bytes:
        """Return the bytes of a medium that needs no request: base64, or a file of this sandbox."""
        kept = self.own(medium)
        return decoded(medium) if kept is None else kept

    def with_assets(self, given: Any, account: str) -> Any:
        """Return an input with the address of each asset that it names."""
        return bundle.with_texts(given, lambda text: self._address(text, account) if _ASSET.fullmatch(text) else text)

    def _address(self, asset: str, account: str) -> str:
        for asset_id, url, active_at in self.store.assets(account):
            if asset == f"asset://{asset_id}" and active_at <= self.clock() and is_address(url):
                return url
        raise TaskFailure(f"failed to get valid asset: {asset}: GET /api/v1/asset/list shows none that is Active")

    def keep(self, file_id: str, content: bytes, extension: str) -> str:
        """Write a file without a task, for 24 hours, and return its name."""
        name = f"ephemeral/{file_id}.{extension}"
        self._write(name, content)
        self.store.keep_file(name, self.clock() + UPLOADS_KEPT)
        return name

    def written(self, task_id: str, output: Any, names: list[str]) -> Any:
        """Write the files of a task's output; return it with their names in place, and add these to `names`."""
        if isinstance(output, tuple):
            data, extension = cast("tuple[bytes, str]", output)
            names.append(f"{id_within(task_id, len(names))}.{extension}")
            self._write(names[-1], data)
            return {FILE: names[-1]}
        if isinstance(output, dict):
            return {name: self.written(task_id, value, names) for name, value in cast("dict[str, Any]", output).items()}
        if isinstance(output, list):
            return [self.written(task_id, item, names) for item in cast("list[object]", output)]
        return output

    def install(self, folder: Path, listed: set[str]) -> set[str]:
        """Copy the listed files that are in a folder, and return their names."""
        found = {name for name in listed if (folder / name).is_file()}
        for name in found:
            self._write(name, (folder / name).read_bytes())
        return found

    def forget_expired(self) -> None:
        """Remove what has expired."""
        for name in self.store.forget_expired_files(self.clock()):
            try:
                (self.folder / name).unlink(missing_ok=True)
            except OSError as error:  # it is not listed any more; the next start removes it
                _log.warning("the expired file %s could not be removed: %s", name, error)

    def _write(self, name: str, content: bytes) -> None:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        begun = path.with_name(f"{path.name}.part")
        try:
            with begun.open("wb") as file:
                file.write(content)
                if self.durable:
                    file.flush()
                    os.fsync(file.fileno())
            begun.replace(path)
        except BaseException:
            begun.unlink(missing_ok=True)  # a full disk
            raise
        if self.durable and os.name == "posix":  # elsewhere a folder cannot be opened
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
