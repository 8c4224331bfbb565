"""Examples of README.md, the tutorials and the API's page, run as they stand there."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cutout.storage import Bucket
from tests.docs.pages import README, ROOT
from tests.support.machine import scaled
from tests.support.system import System
from tests.support.web import serve

EXAMPLE = re.compile(r"<!-- tested -->\n```(sh|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TUTORIALS = ROOT / "docs" / "tutorials"
PICTURE = "/p/4472.jpg"


@pytest.fixture
def shop(photo: bytes) -> Iterator[str]:
    """A producer's web server with one picture; gives `host:port`."""
    with serve({PICTURE: photo}) as host:
        yield host


@pytest.fixture
def system(environment: dict[str, str], bucket: Bucket, shop: str, tmp_path: Path) -> Iterator[System]:
    """API, dispatcher and one worker, which may fetch from the shop and reuses as by default."""
    more = {"CUTOUT_SOURCE_PRIVATE_HOSTS": shop, "CUTOUT_REUSE": "producer"}
    with System(environment | more, tmp_path) as running:
        running.start("ingester", "ingester")
        yield running


@pytest.mark.long("runs everything once for the page")
def test_the_three_ways_of_the_readme_lead_to_cutouts(system: System, shop: str, tmp_path: Path) -> None:
    """The command, curl and the client, one after the other: 14 succeeded jobs, a CSV and two PNGs."""
    ran = _run(README, system, shop, tmp_path)
    assert "12 of 12 done; 12 succeeded" in ran
    assert [(tmp_path / name).read_bytes()[:4] for name in ("cutout.png", "SKU-4472.png")] == [b"\x89PNG"] * 2
    rows = list(csv.DictReader((tmp_path / "photos.csv").read_text().splitlines()))
    assert [row["state"] for row in rows] == ["succeeded"] * 12
    assert all(row["url"].startswith("http") for row in rows)
    assert system.scalar("SELECT bool_and(state = 'succeeded') AND count(*) = 14 FROM jobs")


@pytest.mark.long("runs everything once for the page")
def test_the_first_batch_costs_its_photos_once(system: System, shop: str, tmp_path: Path) -> None:
    """One after the other: a price, a batch, its results; then the same for nothing, and a reject."""
    ran = _run(TUTORIALS / "first-batch.md", system, shop, tmp_path)
    assert ran.count("12 of 12 done; 12 succeeded") == 3
    assert "1 enqueued, 1 rejected" in ran
    assert "exit code 1" in ran
    assert "no-such-file.jpg" in ran
    assert len((tmp_path / "photos.csv").read_text().splitlines()) == 13
    assert system.scalar("SELECT count(*) FROM attempts WHERE outcome = 'charged'") == 12
    assert system.scalar("SELECT count(*) FROM jobs WHERE reused") == 13


@pytest.mark.long("runs everything once for the page")
def test_the_nightly_catalog_is_run(system: System, shop: str, tmp_path: Path) -> None:
    """One after the other: a schedule with a window waits, one without it is run now and succeeds."""
    ran = _run(TUTORIALS / "nightly-catalog.md", system, shop, tmp_path)
    assert "15 1 * * * Europe/Paris" in ran
    assert "no run yet" in ran
    assert len(re.findall(r" 01:15:00 CES?T$", ran, re.MULTILINE)) >= 10
    assert system.scalar("SELECT bool_and(state = 'succeeded') AND count(*) = 12 FROM jobs")


@pytest.mark.long("runs everything once for the page")
def test_the_examples_with_curl_lead_to_a_cutout(system: System, shop: str, tmp_path: Path) -> None:
    """Typed in one after the other, they enqueue, poll, fetch and approve: three succeeded jobs and a PNG."""
    assert shutil.which("curl"), "this test runs the examples of docs/tutorials/over-http.md: install curl"
    ran = _run(TUTORIALS / "over-http.md", system, shop, tmp_path)
    uploaded, fetched, planned, approved = (
        json.loads(line) for line in ran.splitlines() if line.startswith("{")
    )
    assert (uploaded["state"], uploaded["external_id"]) == ("succeeded", "SKU-4471")
    assert (tmp_path / "cutout.png").read_bytes().startswith(b"\x89PNG")
    assert (fetched["return_form"], fetched["external_id"]) == ("whiteBK", "SKU-4472")
    assert (planned["counts"]["held"], planned["ingest"]["plan"]["calls"]) == (1, 1)
    assert "3,source,no address," in ran
    assert approved["id"] == planned["id"]
    system.until("SELECT bool_and(state = 'succeeded') AND count(*) = 3 FROM jobs")


@pytest.mark.long("runs everything once for the page")
def test_the_examples_in_python_enqueue_by_both_ways(system: System, shop: str, tmp_path: Path) -> None:
    """Over HTTP one picture and a batch, in a transaction a third: all succeed, one is downloaded."""
    ran = _run(TUTORIALS / "from-python.md", system, shop, tmp_path)
    assert ran.splitlines() == ["succeeded", "SKU-4476 succeeded", "queued"]
    assert (tmp_path / "SKU-4475.png").read_bytes().startswith(b"\x89PNG")
    system.until("SELECT bool_and(state = 'succeeded') AND count(*) = 3 FROM jobs")


@pytest.mark.long("runs everything once for the page")
def test_the_examples_of_the_api_lead_to_a_finished_batch(system: System, shop: str, tmp_path: Path) -> None:
    """Typed in one after the other, they wait, poll, follow a batch to its end, and list it."""
    ran = _run(ROOT / "docs" / "reference" / "api.md", system, shop, tmp_path)
    lines = ran.splitlines()
    assert "304" in lines
    waited, batch, of_batch, of_name, batches, planned = (
        json.loads(line) for line in lines if line.startswith("{")
    )
    assert (waited["external_id"], batch["counts"]["succeeded"]) == ("SKU-4480", 1)
    assert [line for line in lines if line.startswith("event: ")][-1] == "event: finished"
    assert [job["external_id"] for job in of_batch["data"]] == ["SKU-4481"]
    assert [job["id"] for job in of_name["data"]] == [waited["id"]]
    assert [each["name"] for each in batches["data"]] == ["spring"]
    assert (planned["ingest"]["rejects"], planned["ingest"]["plan"]["calls"]) == (1, 1)
    assert "3,source,photos/local.jpg," in ran
    rows = csv.DictReader((tmp_path / "with-cutouts.csv").read_text().splitlines())
    assert [row["cutout_state"] for row in rows] == ["succeeded", "rejected"]
    nights, runs = (json.loads(line) for line in lines if line.startswith("["))
    assert (len(nights), runs) == (2, [])


def _run(page: Path, system: System, shop: str, directory: Path) -> str:
    """Text that a person sees who types the examples of a page in, one after the other."""
    # A manifest may name no file outside its folder.
    shutil.copytree(ROOT / "photos", directory / "photos")
    programs = Path(sys.executable).parent
    ran = subprocess.run(
        ["bash", "-eu", "-o", "pipefail", "-c", _script(page.read_text())],  # noqa: S607
        cwd=directory,
        env=system.environment
        | {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "CUTOUT_API_URL": str(system.client.base_url),
            "CUTOUT_API_KEY": system.client.headers["authorization"].split()[1],
            "PICTURE_URL": f"http://{shop}{PICTURE}",
            "no_proxy": "127.0.0.1",
        },
        capture_output=True,
        text=True,
        timeout=scaled(100),
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr + system.log("worker")
    return ran.stdout


def _script(page: str) -> str:
    """The examples of a page: those for the shell as they stand, then those in Python as one program."""
    examples = EXAMPLE.findall(page)
    assert examples
    shell, python = ([body for named, body in examples if named == language] for language in ("sh", "python"))
    return "\n".join([*shell, *(["python - <<'END'", *python, "END"] if python else [])])
