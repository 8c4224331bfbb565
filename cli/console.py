"""How the command speaks: colour and progress on a terminal, plain lines elsewhere, errors on stderr."""

from enum import IntEnum
from typing import NoReturn

import typer
from rich.console import Console

out = Console(soft_wrap=True, highlight=False)
err = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)


class Exit(IntEnum):
    """What the exit codes tell."""

    SUCCEEDED = 0
    FAILED = 1
    USAGE = 2
    UNFINISHED = 3


def fail(text: str, code: Exit = Exit.USAGE) -> NoReturn:
    """Say what is wrong and what to do, and end with `code`."""
    err.print(text)
    raise typer.Exit(code)
