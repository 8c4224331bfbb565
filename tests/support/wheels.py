"""Distributions built as pip builds them, without the network."""

import subprocess
import sys
from pathlib import Path


def build(project: Path, target: str, directory: Path) -> Path:
    """Build a `wheel` or an `sdist` into the directory, by the project's backend, and return its path."""
    hook = f"import hatchling.build as b, sys; print(b.build_{target}(sys.argv[1]))"
    built = subprocess.run(
        [sys.executable, "-I", "-c", hook, str(directory)],
        cwd=project,
        check=True,
        capture_output=True,
        text=True,
    )
    return directory / built.stdout.split()[-1]
