"""Examples of README.md, the tutorials and the API's page, run as they stand there."""

import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from cutout.storage import Bucket
from tests.docs.pages import README, ROOT
from tests.support.machine import scaled
from tests.support.system import System
from tests.support.typescript import TypeScript, install
from tests.support.web import serve

EXAMPLE = re.compile(r"<!-- tested -->\n```(sh|python|ts)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TUTORIALS = ROOT / "docs" / "tutorials"
PICTURE = "/p/4472.jpg"
# Larger than what is sent to the endpoint: its cutout is an output that is made after the job has ended.
LARGE_PICTURE = "/p/4473.jpg"
EXPORT = "/export.csv"


@pytest.fixture
def shop(photo: bytes) -> Iterator[str]:
    """A producer's web server: a small picture, a large one, an export of the small; gives `host:port`."""
    pages: dict[str, bytes] = {PICTURE: photo, LARGE_PICTURE: _enlarged(photo)}
    with serve(pages) as host:
        pages[EXPORT] = f"external_id,source\nSKU-1,http://{host}{PICTURE}\n".encode()
        yield host


@pytest.fixture(scope="module")
def typescript(tmp_path_factory: pytest.TempPathFactory) -> TypeScript:
    """The compiler for examples in TypeScript."""
    return install(tmp_path_factory.mktemp("typescript") / "client")


@pytest.fixture
def system(environment: dict[str, str], bucket: Bucket, shop: str, tmp_path: Path) -> Iterator[System]:
    """API, dispatcher and one worker, which may fetch from the shop and reuses as by default."""
    more = {"CUTOUT_SOURCE_PRIVATE_HOSTS": shop, "CUTOUT_REUSE": "producer"}
    with System(environment | more, tmp_path) as running:
        running.start("ingester", "ingester")
        running.start("renderer", "renderer")
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
    """Over HTTP a picture, two lists and a manifest, in a transaction a fifth job: all succeed."""
    ran = _run(TUTORIALS / "from-python.md", system, shop, tmp_path)
    assert ran.splitlines() == ["succeeded", "SKU-4476 succeeded", "1", "SKU-4478 succeeded", "queued"]
    assert (tmp_path / "SKU-4475.png").read_bytes().startswith(b"\x89PNG")
    system.until("SELECT bool_and(state = 'succeeded') AND count(*) = 5 FROM jobs")


@pytest.mark.long("runs everything once for the page")
def test_the_examples_of_the_api_lead_to_a_finished_batch(system: System, shop: str, tmp_path: Path) -> None:
    """Typed in one after the other, they wait, poll, follow a batch to its end, and list it."""
    ran = _run(ROOT / "docs" / "reference" / "api.md", system, shop, tmp_path)
    lines = ran.splitlines()
    assert "304" in lines
    shown = [json.loads(line) for line in lines if line.startswith("{")]
    (
        waited,
        batch,
        of_batch,
        of_name,
        batches,
        made,
        exists,
        changed,
        stale,
        asked,
        actions,
        planned,
        nights,
        runs,
        identity,
    ) = shown
    assert (waited["external_id"], batch["counts"]["succeeded"]) == ("SKU-4480", 1)
    assert [line for line in lines if line.startswith("event: ")][-1] == "event: rendered"
    assert [job["external_id"] for job in of_batch["data"]] == ["SKU-4481"]
    assert [job["id"] for job in of_name["data"]] == [waited["id"]]
    assert [each["name"] for each in batches["data"]] == ["spring"]
    assert [each["id"] for each in actions["data"]] == [each["id"] for each in asked["actions"]]
    assert [each["kind"] for each in actions["data"]] == ["retry_outputs"]
    assert (planned["ingest"]["rejects"], planned["ingest"]["plan"]["calls"]) == (1, 1)
    assert set(identity) == {"producer", "key", "request_rate", "ceilings", "quota"}
    assert "3,source,photos/local.jpg," in ran
    rows = list(csv.DictReader((tmp_path / "with-cutouts.csv").read_text().splitlines()))
    assert [row["cutout_state"] for row in rows] == ["succeeded", "rejected"]
    assert _has_links(rows) == [True, False]
    assert (len(nights["data"]), runs["data"]) == (2, [])
    assert (made["metadata"], exists["job_id"]) == ({"order": "A-1207"}, made["id"])
    assert (changed["budget"], changed["metadata"], stale["status"]) == (100, {"season": "spring"}, 412)


@pytest.mark.long("runs everything once for the page")
def test_the_examples_of_renditions_make_files_for_marketplaces(
    system: System, shop: str, tmp_path: Path
) -> None:
    """By command, curl and client: files by ASIN, links in a catalog, problems and scores."""
    ran = _run(ROOT / "docs" / "how-to" / "renditions.md", system, shop, tmp_path)
    lines = ran.splitlines()
    assert [path.name for path in sorted((tmp_path / "amazon").iterdir())] == [
        "B0CUTOUT01.MAIN.jpg",
        "B0CUTOUT02.MAIN.jpg",
    ]
    for name, side in (("amazon/B0CUTOUT01.MAIN.jpg", 2000), ("hero.jpg", 1200)):
        with Image.open(tmp_path / name) as image:
            assert (image.format, image.size) == ("JPEG", (side, side))
    assert any(line.startswith("4471 fill: 0.377; at least 0.850; the source has too few") for line in lines)
    rows = list(csv.DictReader((tmp_path / "to-import.csv").read_text().splitlines()))
    assert all(".EBAY.jpg?" in row["picture"] for row in rows)
    assert {line.split()[0] for line in lines if re.match(r"447[12] [01]\b", line)} == {"4471", "4472"}
    assert [line.split()[:2] for line in lines[-2:]] == [["amazon", "made"], ["ebay", "made"]]
    system.until("SELECT count(*) >= 10 AND bool_and(state = 'made') FROM outputs WHERE name <> 'score'")


@pytest.mark.long("runs everything once for the page, and installs packages of npm")
def test_a_catalog_is_sent_in_three_ways(
    system: System, shop: str, tmp_path: Path, typescript: TypeScript
) -> None:
    """By curl, Python and TypeScript: priced, approved, finished, and a catalog with links each time."""
    page = TUTORIALS / "send-a-catalog.md"
    ran = _run(page, system, shop, tmp_path, typescript, picture=LARGE_PICTURE)
    assert '"calls":1' in ran
    # A picture at an address is known to be bought once it is fetched.
    assert ran.splitlines()[-2:] == ["1 calls, 1 rejects"] * 2
    for name in ("with-curl.csv", "with-python.csv", "with-typescript.csv"):
        rows = list(csv.DictReader((tmp_path / name).read_text().splitlines()))
        assert [row["cutout_state"] for row in rows] == ["succeeded", "rejected"]
        assert _has_links(rows) == [True, False], name
    assert system.scalar("SELECT count(*) FROM attempts WHERE outcome = 'charged'") == 1


@pytest.mark.long("runs everything once for the page, and installs packages of npm")
def test_nights_are_scheduled_in_three_ways(
    system: System, shop: str, tmp_path: Path, typescript: TypeScript
) -> None:
    """By curl, Python and TypeScript: a schedule, its coming runs, a run now, and its report."""
    _run(TUTORIALS / "nightly-over-http.md", system, shop, tmp_path, typescript)
    for name, schedule in (
        ("report.html", "shop-by-curl"),
        ("report-python.json", "shop-by-python"),
        ("report-typescript.json", "shop-by-typescript"),
    ):
        assert schedule in (tmp_path / name).read_text()
    assert system.scalar("SELECT count(*) FROM runs WHERE state = 'succeeded'") == 3


@pytest.mark.long("runs everything once for the page, and installs packages of npm")
def test_a_job_is_polled_in_three_ways(
    system: System, shop: str, tmp_path: Path, typescript: TypeScript
) -> None:
    """By curl, Python and TypeScript, and by the example beside the types: four pictures."""
    page = TUTORIALS / "poll-a-job.md"
    ran = _run(page, system, shop, tmp_path, typescript, also="node $TYPESCRIPT/example.js")
    assert ran.count("succeeded") == 4
    for name in ("SKU-4481.png", "SKU-4482.png", "SKU-4483.png", "SKU-4484.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


def _has_links(rows: list[dict[str, str]]) -> list[bool]:
    """Whether each row of a catalog that came back has the key of its cutout and a link to it."""
    return [bool(row["cutout_key"]) and row["cutout_url"].startswith("http") for row in rows]


def _enlarged(photo: bytes) -> bytes:
    """The photo with 3600 pixels on its longer side."""
    with Image.open(io.BytesIO(photo)) as image:
        factor = 3600 / max(image.size)
        size = (round(image.width * factor), round(image.height * factor))
        made = io.BytesIO()
        image.resize(size).save(made, "JPEG")
    return made.getvalue()


def _run(
    page: Path,
    system: System,
    shop: str,
    directory: Path,
    typescript: TypeScript | None = None,
    *,
    also: str = "",
    picture: str = PICTURE,
) -> str:
    """Text that a person sees who types the examples of a page in, one after the other, and `also`."""
    program = _typescript(page.read_text())
    built = typescript.compile(page=program) if typescript else directory
    # A manifest may name no file outside its folder.
    shutil.copytree(ROOT / "photos", directory / "photos")
    programs = Path(sys.executable).parent
    ran = subprocess.run(
        ["bash", "-eu", "-o", "pipefail", "-c", f"{_script(page.read_text())}\n{also}"],  # noqa: S607
        cwd=directory,
        env=system.environment
        | {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "CUTOUT_API_URL": str(system.client.base_url),
            "CUTOUT_API_KEY": system.client.headers["authorization"].split()[1],
            "PICTURE_URL": f"http://{shop}{picture}",
            "EXPORT_URL": f"http://{shop}{EXPORT}",
            "TYPESCRIPT": str(built),
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
    """The examples of a page: those for the shell as they stand, then those in Python as one program.

    Those in TypeScript come last; they are compiled before.
    """
    examples = EXAMPLE.findall(page)
    assert examples
    shell, python = ([body for named, body in examples if named == language] for language in ("sh", "python"))
    last = ["node $TYPESCRIPT/page.js"] if _typescript(page) else []
    return "\n".join([*shell, *(["python - <<'END'", *python, "END"] if python else []), *last])


def _typescript(page: str) -> str:
    """The examples of a page in TypeScript as one program."""
    return "\n".join(body for named, body in EXAMPLE.findall(page) if named == "ts")
