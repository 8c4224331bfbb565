"""The lines of `cutout up` and `cutout demo` while they start."""

import os
import re
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from cli.stack import StackError, StackOptions, _read_files, _require_free, announce
from cli.startup import Startup


class TestLines:
    def test_say_how_long_each_part_took(self, capsys: pytest.CaptureFixture[str]) -> None:
        """A part is named by its role, once it is ready; the last line has the seconds of all."""
        with Startup() as startup:
            with startup.part("PostgreSQL"):
                assert capsys.readouterr().out == ""
            startup.tell("dispatcher", "started")
            startup.finish()
        lines = [re.sub(r"\d+\.\d", "N.N", line) for line in capsys.readouterr().out.splitlines()]
        assert lines == [
            "  Postgres        ready after N.N s",
            "  dispatcher      started",
            "ready after N.N s",
        ]

    def test_of_parts_that_start_side_by_side_come_as_each_is_ready(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Parts that other threads start are told in the order in which they get ready."""
        first_is_ready = threading.Event()

        def start_second() -> None:
            with startup.part("Valkey"):
                first_is_ready.wait()

        with Startup() as startup:
            with startup.part("SeaweedFS"):
                other = threading.Thread(target=start_second)
                other.start()
            first_is_ready.set()
            other.join()
        assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["S3", "Redis"]

    def test_are_silent_of_what_fails(self, capsys: pytest.CaptureFixture[str]) -> None:
        """A part that does not start is not said to be ready; its error goes on."""
        with pytest.raises(OSError, match="no room"), Startup() as startup, startup.part("sandbox"):
            raise OSError("no room")
        assert capsys.readouterr().out == ""


class TestTheAnnouncement:
    def test_names_all_that_is_started(self, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        """The first line has the servers, the sandbox and each process."""
        announce(StackOptions(tmp_path, workers=2, copiers=1), Startup())
        assert capsys.readouterr().out == (
            "starting Postgres, Redis, S3, sandbox, API, dispatcher, ingester, renderer, worker-1, worker-2,"
            " copier-1\n"
        )

    def test_names_what_the_settings_give(
        self, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A server that a setting names is not started, and a line says so, without the password in it."""
        monkeypatch.setenv("CUTOUT_DATABASE_URL", "postgresql://cutout:secret@db.example/cutout")
        announce(StackOptions(tmp_path, sandbox=False), Startup())
        assert capsys.readouterr().out.splitlines() == [
            "starting Redis, S3, API, dispatcher, ingester, renderer, worker-1",
            "  Postgres        as CUTOUT_DATABASE_URL names it",
        ]


class TestAPortThatIsTaken:
    def test_is_not_taken_for_our_api(self) -> None:
        """Another installation may answer there."""
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            port = other.getsockname()[1]
            with pytest.raises(StackError, match=rf"port {port} .*--port"):
                _require_free(port)
        _require_free(port)


class TestSettingsInFiles:
    def test_are_read_before_anything_is_started(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """In the environment of our processes a setting and its file would contradict each other."""
        (tmp_path / "url").write_text("redis://:secret@redis:6379/0\n")
        monkeypatch.setenv("CUTOUT_REDIS_URL_FILE", str(tmp_path / "url"))
        monkeypatch.setenv("CUTOUT_DATABASE_URL_FILE", str(tmp_path / "none"))
        with pytest.raises(StackError, match=r"CUTOUT_DATABASE_URL_FILE names .*/none"):
            _read_files()
        monkeypatch.delenv("CUTOUT_DATABASE_URL_FILE", raising=False)
        _read_files()
        assert os.environ.pop("CUTOUT_REDIS_URL") == "redis://:secret@redis:6379/0"
        assert "CUTOUT_REDIS_URL_FILE" not in os.environ


class TestTheFirstLine:
    @pytest.mark.parametrize("command", ["up", "demo"])
    def test_needs_few_imports(self, command: str) -> None:
        """Modules that take seconds to import are imported while the servers start."""
        program = f"import sys, cli.{command}; print(*sorted(sys.modules))"
        ran = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True)
        imported = set(ran.stdout.split())
        assert not imported & {"sqlalchemy", "boto3", "fastapi", "celery", "alembic", "cutout.models"}
