"""Where the servers' programs are found."""

import importlib.metadata
import importlib.util
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from local import MissingServerError, PostgresServer, binaries
from local.postgres_account import OLDEST_FOR_ROOT


def not_installed(*_: object) -> None:
    raise importlib.metadata.PackageNotFoundError


@pytest.mark.parametrize(
    ("find", "variable"),
    [
        (binaries.postgres_bin, "CUTOUT_DATABASE_URL"),
        (binaries.valkey_server, "CUTOUT_REDIS_URL"),
        (binaries.weed, "CUTOUT_S3_ENDPOINT_URL"),
    ],
)
def test_a_missing_wheel(find: Callable[[], Path], variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra the error names it, and the setting that names a server of one's own instead."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    monkeypatch.setattr(importlib.metadata, "files", not_installed)
    with pytest.raises(MissingServerError, match=r"pip install 'cutout\[local\]'") as caught:
        find()
    assert variable in str(caught.value)


def test_a_directory_without_postgres(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A directory that was named and holds no Postgres is not passed over in silence."""
    monkeypatch.setenv("CUTOUT_LOCAL_POSTGRES_BIN", str(tmp_path))
    with pytest.raises(MissingServerError, match=f"CUTOUT_LOCAL_POSTGRES_BIN={tmp_path} holds no program"):
        PostgresServer(tmp_path / "postgres").start()


def test_another_postgres(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The system's own PostgreSQL serves as well, when its directory is named."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        pytest.skip("no PostgreSQL of Debian's here")
    directory = found[-1].parent
    if os.geteuid() == 0 and int(directory.parent.name) < OLDEST_FOR_ROOT:
        pytest.skip(f"root cannot run the one in {directory}")
    monkeypatch.setenv("CUTOUT_LOCAL_POSTGRES_BIN", str(directory))
    with PostgresServer(tmp_path, durable=False) as server:
        assert server.pid
