"""Time the cutting alone: `python -m sandbox.matting photos/*.jpg`."""

import sys
import time

from PIL import Image

from sandbox.matting.cut_out import cut_out

SIZE = (1000, 1000)  # pixels
ROUNDS = 10


def _best_ms(picture: Image.Image) -> float:
    """Give the shortest of ten rounds, in milliseconds: the one the machine disturbed least."""
    shortest = float("inf")
    for _ in range(ROUNDS):
        began = time.perf_counter()
        cut_out(picture)
        shortest = min(shortest, time.perf_counter() - began)
    return shortest * 1000


if __name__ == "__main__":
    for path in sys.argv[1:]:
        with Image.open(path) as opened:
            print(f"{_best_ms(opened.convert('RGB').resize(SIZE)):6.1f} ms  {path}")  # noqa: T201 - its output
