"""`cutout COMMAND` on a host whose clock is wrong: `python -m tests.soak.off_clock SECONDS COMMAND ...`."""

import runpy
import sys

from tests.support.clock import off_by


def main() -> None:
    """Run the command by a clock that is so many seconds fast, or slow if fewer than none."""
    seconds = float(sys.argv[1])
    sys.argv = ["cutout", *sys.argv[2:]]
    with off_by(seconds):
        runpy.run_module("cli", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
