"""Errors of the local servers.

LocalServiceError
├── DirectoryInUseError   another process runs its servers on this data
├── MissingServerError    no program to start: the extra is not installed, or a setting names a wrong place
└── ServerStartError      the program ended, or did not get ready in time
"""

from pathlib import Path


class LocalServiceError(RuntimeError):
    """A local server cannot be used; the text says why and what to do."""


class DirectoryInUseError(LocalServiceError):
    """Another living process runs its servers on this data."""

    def __init__(self, directory: Path, pid: int | None) -> None:
        if pid is None:
            holder, remedy = "another process", "Stop it"
        else:
            holder, remedy = f"process {pid}", f"Stop it (kill {pid})"
        super().__init__(f"{directory} is in use by {holder}. {remedy}, or choose another data directory.")
        self.directory = directory
        self.pid = pid


class MissingServerError(LocalServiceError):
    """The program of a server was not found."""


class ServerStartError(LocalServiceError):
    """A server ended while starting, or did not answer in time; the text ends with its last log lines."""
