"""Write docs/recordings/*.svg: commands in a terminal, against the local provider.

Each command runs in a pseudo-terminal. A picture shows the line of the progress as it was last, then what stays on the
terminal.
"""

import fcntl
import os
import pty
import re
import shlex
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from pathlib import Path

from rich.console import Console
from rich.text import Text
from unitask_sandbox import Settings, running, samples
from unitask_sandbox.faults import named

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs/recordings"
WIDTH, HEIGHT = 110, 40
SWAP = "unitask run face-swap target-image=astronaut.jpg swap-image=hopper.jpg --to swapped.png"


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    with running(Settings(speed=2.0)) as url:
        record("run", url, [SWAP])
        record("resumed-wait", url, [f"{SWAP} --overwrite"], interrupt=True)
    lost = Settings(speed=2.0, faults=tuple(named("answer-lost")), send_webhook=lambda *_: 200)
    with running(lost) as url:
        record("lost-answer", url, [f"{SWAP} --webhook-url https://me.example/hook", "unitask find"])


def record(name: str, url: str, commands: list[str], *, interrupt: bool = False) -> None:
    """Run commands, each with the command that the one before has printed for it at the end, and draw them."""
    console = Console(record=True, width=WIDTH, file=open(os.devnull, "w"))  # noqa: SIM115, PTH123
    with tempfile.TemporaryDirectory() as folder:
        for source, target in ((samples.ASTRONAUT, "astronaut.jpg"), (samples.GRACE_HOPPER, "hopper.jpg")):
            (Path(folder) / target).write_bytes(Path(source).read_bytes())
        while commands:
            command = commands.pop(0)
            text = typed(command, url, folder, interrupt=interrupt)
            interrupt = False
            console.print(Text("$ ", "bold green") + Text(command, "bold"))
            console.print(Text.from_ansi(text), "")
            if not commands and (then := re.search(r"`(unitask wait .*?)`", text.replace("\n", " "))):
                commands.append(then[1])
    svg = console.export_svg(title="unitask")
    (FOLDER / f"{name}.svg").write_text(re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL))


def typed(command: str, url: str, folder: str, *, interrupt: bool = False) -> str:
    """Run a command in a terminal; return what it shows."""
    main_end, end = pty.openpty()
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", HEIGHT, WIDTH, 0, 0))
    environment = {"UNITASK_BASE_URL": url, "UNITASK_API_KEY": "sandbox", "XDG_STATE_HOME": f"{folder}/state"}
    process = subprocess.Popen(
        [sys.executable, "-m", "unitask", *shlex.split(command)[1:]],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "TERM": "xterm-256color", "LANG": "C.UTF-8", "CI": "1", **environment},
        stdin=end,
        stdout=end,
        stderr=end,
        start_new_session=True,
    )
    os.close(end)
    if interrupt:
        threading.Thread(target=_interrupt, args=[process]).start()
    shown = b""
    while True:
        try:
            shown += os.read(main_end, 4096)
        except OSError:  # the terminal is closed
            break
    process.wait()
    os.close(main_end)
    return screen(shown.decode())


def _interrupt(process: "subprocess.Popen[bytes]") -> None:
    time.sleep(2.5)
    process.send_signal(signal.SIGINT)


def screen(output: str) -> str:
    """Return the lines of an output: of a line that was drawn again, the last drawing."""
    output = re.sub(r"\x1b\[\?25[lh]", "", output)  # hides and shows the cursor
    drawings = [part for part in re.split(r"[\r\n]|\x1b\[2K|\x1b\[1A", output) if " of about " in part]
    plain = re.sub(r"[^\n]*\x1b\[2K", "", output.replace("\r\n", "\n"))
    lines = [line.rpartition("\r")[2] for line in plain.splitlines()]
    lines = [line for line in lines if line.strip() and " of about " not in line]
    return "\n".join([*drawings[-1:], *lines])


if __name__ == "__main__":
    main()
