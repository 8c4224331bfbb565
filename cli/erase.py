"""Erasing all that is kept of a picture."""

import re
from collections import Counter
from typing import Annotated

import typer

from cli.actor import ReasonOption, asked
from cli.console import Exit, fail, out
from cli.database import open_database, plain_errors
from cutout.actions.installation import begin_erasure
from cutout.administration.erase import erase as erase_all
from cutout.administration.erase import find
from cutout.settings import read_settings
from cutout.storage import Bucket, StorageError

SHA256 = re.compile(r"[0-9a-f]{64}")


def erase(
    source_sha256: Annotated[
        str,
        typer.Option(
            "--source-sha256",
            metavar="HEX",
            help="SHA-256 of the picture's bytes, as `sha256sum FILE` prints it.",
        ),
    ],
    *,
    yes: Annotated[
        bool, typer.Option("--yes", help="Erase it. Without this option, only print what would be erased.")
    ] = False,
    reason: ReasonOption = None,
) -> None:
    """Erase a picture and everything made of it.

    For all producers, its cutouts, sources, jobs, messages and rows in results are erased. The cost of its
    calls stays in the ledger. It is safe to interrupt and to repeat this command.

    Exit code 1 if nothing is stored about the picture, 3 if jobs for it must end first: then repeat it.
    """
    digits = source_sha256.strip().lower()
    if not SHA256.fullmatch(digits):
        fail(f"{source_sha256!r} is no SHA-256; give 64 hexadecimal digits, as `sha256sum FILE` prints them")
    sha256, bucket = bytes.fromhex(digits), Bucket(read_settings(), connections=1)
    try:
        with plain_errors():
            engine = open_database()
            found = find(engine, bucket, sha256)
            if not found:
                fail(f"nothing is kept of {digits}", Exit.FAILED)
            if not yes:
                _say("would erase", found.counted())
                out.print("nothing is changed; the same with --yes erases it")
                return
            action = begin_erasure(engine, asked(reason))
            erased = erase_all(engine, bucket, sha256)
            with engine.begin() as connection:
                action.add(connection, sum(erased.removed.values()))
            if not erased.unfinished:
                action.finish(engine)
    except StorageError as error:
        fail(f"{error}; what is left is erased by the same command", Exit.FAILED)
    finally:
        bucket.close()
    _say("erased", erased.removed)
    for line in dict.fromkeys(erased.kept):
        out.print(f"kept    {line}", markup=False)
    if erased.unfinished:
        for job_id in erased.unfinished:
            out.print(f"waits   job {job_id}: a worker has it, or its paid result is copied first")
        raise typer.Exit(Exit.UNFINISHED)


def _say(word: str, counts: Counter[str]) -> None:
    for what, count in counts.items():
        if count:
            out.print(f"{word}  {count:,} {what}")
