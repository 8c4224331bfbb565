"""Programs of Debian's packages that tests drive."""

import os
import shutil

import pytest

# Some are where only root looks.
PATH = "/usr/bin:/usr/sbin:/usr/local/bin:/usr/local/sbin"


def debian_program(name: str, package: str) -> str:
    """The path of a program. Without it a test fails in CI, and is skipped elsewhere."""
    program = shutil.which(name, path=PATH)
    if program is None:
        without = pytest.fail if os.environ.get("CI") else pytest.skip
        without(f"there is no program {name}: install Debian's package {package}")
    return program
