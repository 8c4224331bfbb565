"""The command line of `python -m tests.soak`."""

import shutil
import sys
import tempfile
from pathlib import Path

from tests.soak.options import parse
from tests.soak.soak import run_soak


def main() -> int:
    """Run a soak and print its table; 1 if a promise was broken."""
    options = parse()
    directory = options.directory or Path(tempfile.mkdtemp(prefix="cutout-soak-"))
    directory.mkdir(parents=True, exist_ok=True)
    try:
        report = run_soak(options, directory.absolute())
    except BaseException:
        sys.stderr.write(f"data and logs are in {directory}\n")
        raise
    sys.stdout.write(f"{report.table()}\n")
    broken = report.broken()
    for line in broken:
        sys.stdout.write(f"\nBROKEN {line}\n")
    if broken:
        sys.stderr.write(f"data and logs are in {directory}\n")
    elif options.directory is None:
        shutil.rmtree(directory, ignore_errors=True)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
