"""Cutouts that the bucket lacks: a person's word that they are to be bought anew."""

from sqlalchemy.orm import Session

from cli.actor import ReasonOption, asked
from cli.console import Exit, fail, out
from cli.database import open_database, plain_errors
from cli.numbers import counted
from cutout.actions.installation import forget_missing as forget


def forget_missing(reason: ReasonOption = None) -> None:
    """Let jobs buy cutouts again that are missing from the bucket.

    Each costs one credit. `cutout doctor` says how many are missing; if you restore the objects instead,
    nothing is bought.

    Exit code 1 if none is missing.
    """
    with plain_errors(), Session(open_database()) as session, session.begin():
        forgotten = forget(session, asked(reason))
    if not forgotten:
        fail("no cutout was seen to be missing", Exit.FAILED)
    out.print(f"{counted(forgotten, 'cutout')} will be bought anew by the jobs that ask for them")
