"""The whole path on real photos: upload over HTTP, watch, fetch, and look at the result."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column, Table

from cli.console import Exit, fail, out
from cli.contact_sheet import draw_sheet
from cli.database import plain_errors
from cli.stack import Stack, StackError, StackOptions, run_stack
from cutout.enums import FINAL_STATES, ReturnForm, State
from cutout.storage import StorageError
from local import LocalServiceError
from migrations.run import UnknownSchemaError

PHOTOS = Path(__file__).parent.parent / "photos"
UPLOADS_AT_ONCE = 8
LOOK_EVERY_S = 0.25
GIVE_UP_AFTER_S = 120.0
SANDBOX_LATENCY_S = 0.4
# The demo's own pace; the sandbox has no limit.
PACE = {"CUTOUT_CALLS_PER_SECOND": "40", "CUTOUT_CALLS_IN_FLIGHT": "12"}
SHEET = "contact-sheet.png"


@dataclass(frozen=True, slots=True)
class DemoJob:
    """One photo in one form, and its job as the API last showed it."""

    photo: Path
    form: ReturnForm
    view: dict[str, Any]

    @property
    def succeeded(self) -> bool:
        return bool(self.view["state"] == State.SUCCEEDED)


def demo(
    output: Annotated[
        Path, typer.Option(file_okay=False, help="Directory for the cutouts and the contact sheet.")
    ] = Path("demo-output"),
    photos: Annotated[
        Path,
        typer.Option(
            exists=True, file_okay=False, help="Directory of JPEG photos.", show_default="the sample photos"
        ),
    ] = PHOTOS,
    data_dir: Annotated[
        Path, typer.Option(file_okay=False, help="Where the servers keep their data.")
    ] = Path(".cutout/demo"),
) -> None:
    """Cut out sample photos, and draw a contact sheet of them.

    Each photo is cut out in all four forms, through the whole system, started on this machine for it.
    """
    options = StackOptions(data_dir.resolve(), sandbox_latency_s=SANDBOX_LATENCY_S, defaults=PACE)
    began = time.monotonic()
    try:
        with plain_errors(), run_stack(options) as stack:
            headers = {"Authorization": f"Bearer {stack.api_key}"}
            with httpx.Client(base_url=stack.api_url, headers=headers, timeout=30.0) as client:
                jobs = run_jobs(client, sorted(photos.glob("*.jpg")), stack)
                files = save(client, jobs, output)
    except (StackError, LocalServiceError, StorageError, UnknownSchemaError) as error:
        fail(str(error), Exit.FAILED)
    out.print(_table(jobs))
    draw_sheet(sorted({job.photo for job in jobs}), files, output / SHEET)
    done = sum(job.succeeded for job in jobs)
    out.print(f"{done} of {len(jobs)} succeeded in {time.monotonic() - began:.1f} s; see {output / SHEET}")
    if done < len(jobs) or not jobs:
        raise typer.Exit(Exit.FAILED)


def run_jobs(client: httpx.Client, photos: list[Path], stack: Stack) -> list[DemoJob]:
    """Enqueue every photo in every form and watch until all are final or held."""
    batch = _expect(client.post("/v1/batches", json={"name": "demo"}))
    pairs = [(photo, form) for photo in photos for form in ReturnForm]

    def upload(pair: tuple[Path, ReturnForm]) -> DemoJob:
        photo, form = pair
        fields = {"external_id": photo.stem, "return_form": form, "batch_id": batch["id"]}
        with photo.open("rb") as file:
            view = _expect(client.post("/v1/jobs", data=fields, files={"image": (photo.name, file)}))
        return DemoJob(photo, form, view)

    with ThreadPoolExecutor(UPLOADS_AT_ONCE) as pool:
        jobs = list(pool.map(upload, pairs))
    _watch(client, batch["id"], len(jobs), stack)
    return [DemoJob(job.photo, job.form, _expect(client.get(f"/v1/jobs/{job.view['id']}"))) for job in jobs]


def save(client: httpx.Client, jobs: list[DemoJob], output: Path) -> dict[tuple[Path, ReturnForm], Path]:
    """Download every cutout by its redirect; returns where each one lies."""
    output.mkdir(parents=True, exist_ok=True)
    files = {}
    for job in jobs:
        if job.succeeded:
            result = job.view["result"]
            answer = client.get(result["url"], follow_redirects=True)
            answer.raise_for_status()
            path = output / Path(result["key"]).name
            path.write_bytes(answer.content)
            files[job.photo, job.form] = path
    return files


def _watch(client: httpx.Client, batch_id: str, total: int, stack: Stack) -> None:
    columns = (TextColumn("cutting out"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=out, disable=not out.is_terminal) as progress:
        bar = progress.add_task("", total=total)
        for done in _counts(client, batch_id):
            progress.update(bar, completed=done)
            if dead := stack.dead():
                fail(f"{', '.join(dead)} ended; see {stack.options.data_dir / dead[0] / 'log'}", Exit.FAILED)
            if done == total:
                return


def _counts(client: httpx.Client, batch_id: str) -> Iterator[int]:
    deadline = time.monotonic() + GIVE_UP_AFTER_S
    while time.monotonic() < deadline:
        counts = _expect(client.get(f"/v1/batches/{batch_id}"))["counts"]
        yield sum(counts[state] for state in FINAL_STATES | {State.HELD})
        time.sleep(LOOK_EVERY_S)


def _table(jobs: list[DemoJob]) -> Table:
    table = Table("job", "form", "state", "seconds", Column("key", overflow="fold"), box=None)
    for job in jobs:
        result = job.view["result"]
        key = result["key"] if result else _reason(job.view)
        table.add_row(job.photo.stem, job.form, job.view["state"], _seconds(job.view), key)
    return table


def _seconds(view: dict[str, Any]) -> str:
    if not view["finished_at"]:
        return ""
    took = datetime.fromisoformat(view["finished_at"]) - datetime.fromisoformat(view["created_at"])
    return f"{took.total_seconds():.1f}"


def _reason(view: dict[str, Any]) -> str:
    return f"{view['error']['code']}: {view['error']['message']}" if view["error"] else ""


def _expect(answer: httpx.Response) -> Any:
    if not answer.is_success:
        fail(f"the API answered {answer.status_code}: {answer.text[:500]}", Exit.FAILED)
    return answer.json()
