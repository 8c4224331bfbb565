"""The long-running processes, each in the foreground until SIGTERM. A supervisor or `cutout up` runs them."""

import sys
import uuid
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated

import typer

from cutout.enums import Step
from cutout.imports import uncollected
from cutout.settings import read_settings


def api(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8000,
) -> None:
    """Serve the HTTP API."""
    read_settings()
    _become("api", host, str(port))


def dispatcher() -> None:
    """Dispatch due jobs to the workers.

    Run two: one leads, the other takes over if it dies.
    """
    read_settings().require_endpoint_api_keys()
    _become("worker.dispatcher")


def worker(
    threads: Annotated[
        int | None,
        typer.Option(min=1, max=1000, help="Jobs at the same time.", show_default="CUTOUT_WORKER_THREADS"),
    ] = None,
    step: Annotated[
        Step | None, typer.Option(help="Only jobs at this step.", show_default="both steps")
    ] = None,
) -> None:
    """Process jobs.

    Run as many as you like: they share one limit.

    With `--step copy` it only copies paid results, so that no call delays them: run one beside the others.
    """
    settings = read_settings()
    settings.require_endpoint_api_keys()
    _become(
        "celery",
        "--app=worker.app",
        # Without Celery's banner: every line is of the log.
        "--quiet",
        "worker",
        "--pool=threads",
        f"--concurrency={threads or settings.worker_threads}",
        f"--queues={step or ','.join(Step)}",
        f"--hostname=cutout-{uuid.uuid4().hex[:8]}@%h",
        "--without-gossip",
        "--without-mingle",
        "--loglevel=INFO",
        imports=["worker.app"],
    )


def ingester() -> None:
    """Read the manifests that the API and schedules request.

    Run one or more: each request is read by one of them.
    """
    read_settings()
    _become("worker.ingester")


def renderer(
    processes: Annotated[
        int | None,
        typer.Option(min=1, max=256, help="Pictures at the same time.", show_default="the number of cores"),
    ] = None,
) -> None:
    """Make outputs of what was bought: full size, forms, renditions, scores.

    Run as many as you like: none of them calls the endpoint. Outputs wait while no renderer runs.
    """
    read_settings()
    _become("worker.renderer", *([str(processes)] if processes else []))


def sandbox(context: typer.Context) -> None:
    """Serve a stand-in for the endpoint.

    `cutout sandbox --help` lists its options.
    """
    _become("sandbox", *context.args)


def _become(package: str, *arguments: str, imports: Sequence[str] = ()) -> None:
    """Run `python -m package` in this process, whose signals a supervisor sends.

    `imports` are modules that it imports only while it runs.
    """
    with uncollected():
        for name in imports:
            import_module(name)
        program = import_module(f"{package}.__main__")
    sys.argv = [package, *arguments]
    program.main()
