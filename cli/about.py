"""The option `--version`."""

from typing import Annotated

import typer

from cli.console import out
from cutout import __version__


def _print_version(wanted: bool) -> None:
    if wanted:
        out.print(f"cutout {__version__}")
        raise typer.Exit


VersionOption = Annotated[
    bool,
    typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
]
