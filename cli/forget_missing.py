"""Cutouts that the bucket lacks: a person's word that they are to be bought anew."""

from sqlalchemy.orm import Session

from cli.console import Exit, fail, out
from cli.database import open_database, plain_errors
from cli.numbers import counted
from cutout.queue.reuse import missing_results


def forget_missing() -> None:
    """Let jobs buy cutouts again that are missing from the bucket.

    Each costs one credit. `cutout doctor` says how many are missing; if you restore the objects instead,
    nothing is bought.

    Exit code 1 if none is missing.
    """
    with plain_errors(), Session(open_database()) as session, session.begin():
        forgotten = missing_results.forget(session)
    if not forgotten:
        fail("no cutout was seen to be missing", Exit.FAILED)
    out.print(f"{counted(forgotten, 'cutout')} will be bought anew by the jobs that ask for them")
