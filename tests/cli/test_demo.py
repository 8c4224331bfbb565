"""`cutout demo` as its user runs it, with one photo."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cutout.settings import PREFIX
from tests.support.machine import scaled


@pytest.mark.long("starts every server and process once more; tests/cli/test_startup.py has the lines")
def test_says_what_it_starts_and_cuts_a_photo_out(photo: bytes, tmp_path: Path) -> None:
    """A line for each part with its seconds, then each picture, the contact sheet, an edge at full size."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(photo)
    clean = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    ran = subprocess.run(
        [sys.executable, "-m", "cli", "demo", "--photos", "photos"],
        env=clean,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=scaled(100),
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    first, *lines = ran.stdout.splitlines()
    assert first == "starting Postgres, Redis, S3, sandbox, API, dispatcher, ingester, renderer, worker-1"
    ready = {name.strip() for line in lines if (name := re.split(r"ready after \d+\.\d s$", line)[0]) != line}
    assert ready == {"Postgres", "Redis", "S3", "sandbox", "tables, bucket", "API", ""}
    assert {f"  {name:16}started" for name in ("dispatcher", "ingester", "renderer", "worker-1")} <= set(
        lines
    )
    assert lines[-1].startswith("2 of 2 pictures succeeded, 13 files of 2 credits, in ")
    for name in ("contact-sheet.png", "full-size.png"):
        assert (tmp_path / "demo-output" / name).exists()
