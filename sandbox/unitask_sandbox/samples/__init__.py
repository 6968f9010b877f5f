"""Two portraits in the public domain, to try things with; NOTICE says where they are from."""

from pathlib import Path

__all__ = ["ASTRONAUT", "GRACE_HOPPER"]

ASTRONAUT = Path(__file__).with_name("astronaut.png")  # Eileen Collins, NASA, 512 x 512
GRACE_HOPPER = Path(__file__).with_name("grace_hopper.jpg")  # US Navy, 512 x 600
