"""Swap a face: python swap.py group.jpg me.png swapped.png."""

import sys

from unitask import Client, errors, tasks


def main(group: str, face: str, to: str) -> int:
    """Swap a face, save the picture, and return the exit code."""
    swap = tasks.FaceSwap(target_image=group, swap_image=face)
    print(f"estimate: ${swap.estimate_usd():.3f}")
    with Client() as client:
        try:
            task = client.run(swap, on_change=lambda task: print(task.id, task.status))
            (path,) = client.download(task, to)
        except errors.UnitaskError as error:
            print(f"{error}\nnext: {error.next_step}", file=sys.stderr)
            return 1
    print(f"{path}: ${task.cost_usd:.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:4]))
