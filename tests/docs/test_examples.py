"""The examples of README.md, run as they stand there."""

import csv
import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from cutout.storage import Bucket
from tests.docs.pages import README, ROOT
from tests.support.system import System
from tests.support.web import serve

EXAMPLE = re.compile(r"<!-- tested -->\n```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PICTURE = "/p/4472.jpg"


@pytest.fixture
def shop(photo: bytes) -> Iterator[str]:
    """A producer's web server with one picture; gives `host:port`."""
    with serve({PICTURE: photo}) as host:
        yield host


@pytest.fixture
def system(environment: dict[str, str], bucket: Bucket, shop: str, tmp_path: Path) -> Iterator[System]:
    """API, dispatcher and one worker, which may fetch from the shop."""
    with System(environment | {"CUTOUT_SOURCE_PRIVATE_HOSTS": shop}, tmp_path) as running:
        running.start("ingester", "ingester")
        yield running


@pytest.mark.long("runs everything once for the page")
def test_the_examples_with_curl_lead_to_a_cutout(system: System, shop: str, tmp_path: Path) -> None:
    """Typed in one after the other, they enqueue, poll, fetch and approve: three succeeded jobs and a PNG."""
    assert shutil.which("curl"), "this test runs README.md's examples: install curl"
    examples = EXAMPLE.findall(README.read_text())
    assert len(examples) > 1
    ran = _run(examples, system, shop, tmp_path)
    assert ran.returncode == 0, ran.stdout + ran.stderr + system.log("worker")
    uploaded, fetched, planned, approved = (
        json.loads(line) for line in ran.stdout.splitlines() if line.startswith("{")
    )
    assert (uploaded["state"], uploaded["external_id"]) == ("succeeded", "SKU-4471")
    assert (tmp_path / "cutout.png").read_bytes().startswith(b"\x89PNG")
    assert (fetched["return_form"], fetched["external_id"]) == ("whiteBK", "SKU-4472")
    assert (planned["counts"]["held"], planned["ingest"]["plan"]["calls"]) == (1, 1)
    assert "3,source,no address," in ran.stdout
    assert approved["id"] == planned["id"]
    system.until("SELECT bool_and(state = 'succeeded') AND count(*) = 3 FROM jobs")


@pytest.mark.long("runs everything once for the page")
def test_the_examples_of_the_api_lead_to_a_finished_batch(system: System, shop: str, tmp_path: Path) -> None:
    """Typed in one after the other, those of docs/api.md wait, poll, follow a batch to its end, list it."""
    ran = _run(EXAMPLE.findall((ROOT / "docs" / "api.md").read_text()), system, shop, tmp_path)
    assert ran.returncode == 0, ran.stdout + ran.stderr + system.log("worker")
    lines = ran.stdout.splitlines()
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
    assert "3,source,photos/local.jpg," in ran.stdout
    rows = csv.DictReader((tmp_path / "with-cutouts.csv").read_text().splitlines())
    assert [row["cutout_state"] for row in rows] == ["succeeded", "rejected"]
    nights, runs = (json.loads(line) for line in lines if line.startswith("["))
    assert (len(nights), runs) == (2, [])


def _run(
    examples: Sequence[str], system: System, shop: str, directory: Path
) -> subprocess.CompletedProcess[str]:
    """Output of the commands for a person who types them one after the other."""
    (directory / "photos").symlink_to(ROOT / "photos")
    return subprocess.run(
        ["bash", "-eu", "-o", "pipefail", "-c", "\n".join(examples)],  # noqa: S607
        cwd=directory,
        env=system.environment
        | {
            "CUTOUT_API_URL": str(system.client.base_url),
            "CUTOUT_API_KEY": system.client.headers["authorization"].split()[1],
            "PICTURE_URL": f"http://{shop}{PICTURE}",
            "no_proxy": "127.0.0.1",
        },
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
