"""Is everything there that a job needs? One line each."""

import typer

from cli.console import Exit, out
from cli.database import open_database
from cutout.monitoring.check import Check
from cutout.monitoring.doctor import all_checks
from cutout.settings import read_settings
from cutout.storage import Bucket
from migrations.run import pending


def doctor() -> None:
    """Check all that a job needs, and say what to do.

    It checks database, Redis, clocks, bucket, formats, endpoint, credits, schedules, keys and outputs.
    """
    known, engine = read_settings(), open_database()
    bucket = Bucket(known, connections=1, patient=False)
    well = True
    for check in all_checks(known, engine, bucket, pending=pending):
        _show(check)
        well = well and check.ok
    if not well:
        raise typer.Exit(Exit.FAILED)


def _show(check: Check) -> None:
    mark = "[green]ok[/]   " if check.ok else "[red]wrong[/]"
    out.print(f"{mark}  {check.name:12}", end="  ")
    out.print(check.found, markup=False)
    if check.remedy:
        out.print(f"{'':21}next: {check.remedy}", markup=False)
    out.file.flush()
