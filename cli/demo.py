"""The whole path on real photos: upload over HTTP, watch, fetch, and look at the result."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import httpx
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column, Table

from cli.console import Exit, fail, out
from cli.contact_sheet import draw_sheet
from cli.demo_scene import NAME, draw_detail, draw_scene
from cli.numbers import counted
from cli.stack import Stack, StackError, StackOptions, run_stack
from cli.up import announce_console, keep_running, stop_on_signals
from cutout.enums import FINAL_STATES, OutputState, ReturnForm, State
from local import LocalServiceError

PHOTOS = Path(__file__).parent.parent / "photos"
UPLOADS_AT_ONCE = 8
LOOK_EVERY_S = 0.25
GIVE_UP_AFTER_S = 180.0
SANDBOX_LATENCY_S = 0.4
# The demo's own pace; the sandbox has no limit.
PACE = {"CUTOUT_CALLS_PER_SECOND": "40", "CUTOUT_CALLS_IN_FLIGHT": "12"}
SHEET = "contact-sheet.png"
DETAIL = "full-size.png"
# The other forms, and two renditions: all are made of the one RGBA that is bought.
FORMS = (ReturnForm.MASK, ReturnForm.WHITE_BACKGROUND, ReturnForm.CROP)
# Smaller than a marketplace's, since the photos are small.
RENDITIONS = {"shop": "canvas=800x800 enlarge=4", "web": "web canvas=800x800 enlarge=4"}
OUTPUTS = (*FORMS, *RENDITIONS)
BOUGHT = "bought"


@dataclass(frozen=True, slots=True)
class DemoJob:
    """One photo, and its job as the API last showed it."""

    photo: Path
    view: dict[str, Any]

    @property
    def succeeded(self) -> bool:
        return bool(self.view["state"] == State.SUCCEEDED)

    @property
    def delivered(self) -> bool:
        """Whether all its outputs are made."""
        return self.succeeded and all(each["state"] == OutputState.MADE for each in self.view["outputs"])


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
    *,
    keep: Annotated[
        bool,
        typer.Option(
            "--keep", help="Leave everything running until Ctrl-C, and print a link to the console."
        ),
    ] = False,
) -> None:
    """Cut out sample photos, and draw a contact sheet of them.

    Each photo is bought once. Its four forms and two files for marketplaces are made of that, through the
    whole system, started on this machine for it. A scene of 24 megapixels shows the full size.
    """
    options = StackOptions(data_dir.resolve(), sandbox_latency_s=SANDBOX_LATENCY_S, defaults=PACE)
    began = time.monotonic()
    try:
        with run_stack(options) as stack, TemporaryDirectory() as drawn:
            headers = {"Authorization": f"Bearer {stack.api_key}"}
            scene = Path(drawn) / f"{NAME}.jpg"
            scene.write_bytes(draw_scene())
            with httpx.Client(base_url=stack.api_url, headers=headers, timeout=60.0) as client:
                jobs = run_jobs(client, [*sorted(photos.glob("*.jpg")), scene], stack)
                files = save(client, jobs, output)
            seconds = time.monotonic() - began
            done = _finish(jobs, files, output, seconds)
            if keep and done:
                stopping = stop_on_signals()
                announce_console(stack)
                out.print("Ctrl-C stops everything")
                keep_running(stack, stopping)
    except (StackError, LocalServiceError) as error:
        fail(str(error), Exit.FAILED)
    if not done:
        raise typer.Exit(Exit.FAILED)


def _finish(jobs: list[DemoJob], files: dict[tuple[Path, str], Path], output: Path, seconds: float) -> bool:
    """Print what was made and draw it; whether all of it succeeded."""
    out.print(_table(jobs))
    *of_photos, of_scene = jobs
    draw_sheet([job.photo for job in of_photos], files, [ReturnForm.RGBA, *OUTPUTS], output / SHEET)
    if of_scene.delivered:
        at = of_scene.photo
        draw_detail(files[at, BOUGHT], files[at, ReturnForm.RGBA], output / DETAIL)
    return _report(jobs, seconds, output)


def _report(jobs: list[DemoJob], seconds: float, output: Path) -> bool:
    done = sum(job.delivered for job in jobs)
    files = sum(1 + len(job.view["outputs"]) for job in jobs if job.succeeded)
    credits_ = sum(job.view["credits"] for job in jobs)
    out.print(
        f"{done} of {len(jobs)} pictures succeeded, {files} files of {counted(credits_, 'credit')},"
        f" in {seconds:.1f} s; see {output / SHEET} and {output / DETAIL}"
    )
    return bool(jobs) and done == len(jobs)


def run_jobs(client: httpx.Client, photos: list[Path], stack: Stack) -> list[DemoJob]:
    """Enqueue every photo with its outputs, and watch until all are final or held."""
    asked = [*FORMS, *(f"{name}: {recipe}" for name, recipe in RENDITIONS.items())]
    batch = _expect(client.post("/v1/batches", json={"name": "demo", "outputs": asked}))

    def upload(photo: Path) -> DemoJob:
        fields = {"external_id": photo.stem, "batch_id": batch["id"]}
        with photo.open("rb") as file:
            view = _expect(client.post("/v1/jobs", data=fields, files={"image": (photo.name, file)}))
        return DemoJob(photo, view)

    with ThreadPoolExecutor(UPLOADS_AT_ONCE) as pool:
        jobs = list(pool.map(upload, photos))
    _watch(client, batch["id"], len(jobs), stack)
    return [DemoJob(job.photo, _expect(client.get(f"/v1/jobs/{job.view['id']}"))) for job in jobs]


def save(client: httpx.Client, jobs: list[DemoJob], output: Path) -> dict[tuple[Path, str], Path]:
    """Download every file by its redirect; returns where each one lies, by photo and name."""
    output.mkdir(parents=True, exist_ok=True)
    files: dict[tuple[Path, str], Path] = {}
    for job in jobs:
        for name, made in _files_of(job):
            answer = client.get(made["url"], follow_redirects=True)
            answer.raise_for_status()
            suffix = "" if name == ReturnForm.RGBA else f".{name}"
            path = output / f"{job.photo.stem}{suffix}{Path(made['key']).suffix}"
            path.write_bytes(answer.content)
            files[job.photo, name] = path
    return files


def _files_of(job: DemoJob) -> Iterator[tuple[str, dict[str, Any]]]:
    """The files of a job by name: the cutout, what was bought for the scene, and the outputs."""
    if job.view["result"]:
        yield ReturnForm.RGBA, job.view["result"]
    if job.photo.stem == NAME and job.view["bought"]:
        yield BOUGHT, job.view["bought"]
    for made in job.view["outputs"]:
        if made["state"] == OutputState.MADE and made["name"] != ReturnForm.RGBA:
            yield made["name"], made


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
    """Numbers of jobs that have ended, with their outputs."""
    deadline = time.monotonic() + GIVE_UP_AFTER_S
    while time.monotonic() < deadline:
        batch = _expect(client.get(f"/v1/batches/{batch_id}"))
        ended = sum(batch["counts"][state] for state in FINAL_STATES | {State.HELD})
        waiting = batch["outputs"]["waiting"] + batch["scores"]["waiting"]
        # An ended job whose outputs wait has not ended here: six outputs and a score, at most.
        yield ended - -(-waiting // (len(OUTPUTS) + 2))
        time.sleep(LOOK_EVERY_S)


def _table(jobs: list[DemoJob]) -> Table:
    table = Table(
        "picture", "state", "seconds", "outputs", "suspicion", Column("remarks", overflow="fold"), box=None
    )
    for job in jobs:
        made = sum(each["state"] == OutputState.MADE for each in job.view["outputs"])
        score = job.view["score"]
        table.add_row(
            job.photo.stem,
            job.view["state"],
            _seconds(job.view),
            f"{made} of {len(job.view['outputs'])}",
            f"{score['score']:.2f}" if score else "",
            _reason(job.view),
        )
    return table


def _seconds(view: dict[str, Any]) -> str:
    if not view["finished_at"]:
        return ""
    took = datetime.fromisoformat(view["finished_at"]) - datetime.fromisoformat(view["created_at"])
    return f"{took.total_seconds():.1f}"


def _reason(view: dict[str, Any]) -> str:
    """The reason of a failure; else the rules that outputs do not meet, and why the cutout is suspicious."""
    if view["error"]:
        return f"{view['error']['code']}: {view['error']['message']}"
    problems = [f"{each['name']}: {problem}" for each in view["outputs"] for problem in each["problems"]]
    reasons = [each["text"] for each in view["score"]["reasons"]] if view["score"] else []
    return "; ".join((problems + reasons)[:2])


def _expect(answer: httpx.Response) -> Any:
    if not answer.is_success:
        fail(f"the API answered {answer.status_code}: {answer.text[:500]}", Exit.FAILED)
    return answer.json()
