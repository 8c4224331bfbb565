"""Output of the command: colour and progress on a terminal, plain lines elsewhere, errors on stderr."""

import sys
from enum import IntEnum
from typing import NoReturn

import typer
from rich.console import Console

# What is piped is read by programs or in editors: no table is squeezed into 80 columns there.
PIPED_WIDTH = 240

out = Console(
    soft_wrap=True, highlight=False, emoji=False, width=None if sys.stdout.isatty() else PIPED_WIDTH
)
err = Console(stderr=True, soft_wrap=True, highlight=False, emoji=False, markup=False)


class Exit(IntEnum):
    """Exit codes of all commands."""

    SUCCEEDED = 0
    FAILED = 1
    USAGE = 2
    UNFINISHED = 3


def fail(text: str, code: Exit = Exit.USAGE) -> NoReturn:
    """Say what is wrong and what to do, and end with `code`."""
    err.print(text)
    raise typer.Exit(code)
