"""`cutout audit`: the auditor by hand."""

import time
import uuid
from collections.abc import Iterator
from typing import Annotated

import typer
from sqlalchemy import Connection, Engine

from cli.actor import asked
from cli.console import Exit, err, out
from cli.database import open_database, plain_errors
from cutout.actions.installation import begin_repairs
from cutout.audit import CHECKS, EVERYTHING, AuditCheck, Audited
from cutout.audit import audit as audit_check
from cutout.queue.settle import RetryLimits
from cutout.settings import read_settings


def audit(
    repair: Annotated[bool, typer.Option("--repair", help="Repair what can be repaired.")] = False,
) -> None:
    """Compare records that must agree; repair them with --repair.

    These are running jobs and their workers, calls and the ledger, paid results and their copies, blocked
    jobs and the jobs that they wait for. The dispatcher does the same every minute.

    Exit code 1 if anything is wrong and not repaired.
    """
    with plain_errors():
        done = list(_repaired(open_database()) if repair else _found(open_database()))
    for one in done:
        _print(one)
    if any(one.left for one in done):
        raise typer.Exit(Exit.FAILED)


def _found(engine: Engine) -> Iterator[Audited]:
    with _connect(engine) as connection:
        seen = _seen_before(connection)
        for check in CHECKS:
            found = check.find(connection, EVERYTHING)
            yield Audited(check, 0, [each for each in found if each.id in seen.get(check.name, {each.id})])


def _repaired(engine: Engine) -> Iterator[Audited]:
    settings = read_settings()
    action = begin_repairs(engine, asked())
    with _connect(engine) as connection:
        seen = _seen_before(connection)
        for check in CHECKS:
            bounds = RetryLimits(settings.retry_unknown, settings.retry_lost)
            done = audit_check(connection, check, bounds, seen.get(check.name))
            action.add(connection, done.repaired)
            yield done
    action.finish(engine)


def _seen_before(connection: Connection) -> dict[str, set[uuid.UUID | int]]:
    """Findings of a first look, by check, for the checks that need a second one. Waits until that is due."""
    checks = [check for check in CHECKS if check.confirmed_after_s]
    seen = {check.name: {finding.id for finding in check.find(connection, EVERYTHING)} for check in checks}
    waits = [check.confirmed_after_s for check in checks if seen[check.name]]
    if waits:
        err.print(f"looking again in {max(waits):.0f} s: the dispatcher may be at it")
        time.sleep(max(waits))
    return seen


def _connect(engine: Engine) -> Connection:
    # Each statement for itself, as the dispatcher does it.
    return engine.connect().execution_options(isolation_level="AUTOCOMMIT")


def _print(done: Audited) -> None:
    mark = "[red]wrong[/]" if done.left else "[green]ok[/]   "
    out.print(f"{mark}  {done.check.name:16}", end="  ")
    out.print(_summary(done.check, done), markup=False)
    for finding in done.left:
        out.print(f"{'':7}{finding.subject} {finding.id}: {finding.text}", markup=False)
        out.print(f"{'':9}next: {finding.remedy}", markup=False)


def _summary(check: AuditCheck, done: Audited) -> str:
    words = f"{check.description}: {len(done.left)} do not" if done.left else check.description
    return f"{words}; {done.repaired} repaired" if done.repaired else words
