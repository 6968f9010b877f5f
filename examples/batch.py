"""Put one face into all pictures of a folder: python batch.py people/ me.png out/.

Start it again after an interruption: it goes on where it stopped, and nothing is paid twice.
"""

import sys
from pathlib import Path

from unitask import Client, MapProgress, tasks
from unitask.bulk import Journal


def show(progress: MapProgress) -> None:
    """Print how far the job is."""
    print(f"\r{progress.done} done, {progress.failed} failed, ${progress.spent_usd:.2f}", end="", file=sys.stderr)


def main(folder: str, face: str, to: str) -> int:
    """Swap the face into each picture, and return the number of failures."""
    pictures = sorted(Path(folder).glob("*.jpg"))
    swaps = [tasks.FaceSwap(target_image=picture, swap_image=face) for picture in pictures]
    failures = 0
    with Client() as client, Journal("batch.db") as journal:
        for result in client.map(swaps, journal=journal, max_usd=2, per_second=50, to=Path(to), on_progress=show):
            if result.error:
                failures += 1
                print(f"\n{pictures[result.index]}: {result.error}", file=sys.stderr)
            else:
                print(pictures[result.index], *result.files)
    return failures


if __name__ == "__main__":
    sys.exit(min(main(*sys.argv[1:4]), 1))
