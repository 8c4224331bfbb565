"""The simplest thing that does the same work: post, download, put. It keeps no state and survives nothing.

Run as a process of its own by bench.cpu_per_job, with the settings in its environment; prints the CPU seconds
of its jobs, without its start.
"""

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench.plain_steps import PlainSteps
from cutout.settings import read_settings


def main(file: str, fits: str, jobs: int, threads: int) -> None:
    """Do `jobs` jobs for the picture in `file` with `threads` threads, after as many to warm up."""
    picture, steps = Path(file).read_bytes(), PlainSteps(read_settings(), threads, fits=fits == "True")

    def work(number: int) -> None:
        steps.cut_out(picture, f"bare/{number}.png")

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, range(threads)))
        before = os.times()
        list(pool.map(work, range(jobs)))
        after = os.times()
    print(after.user + after.system - before.user - before.system)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:]))
