"""The long-running processes, each in the foreground until SIGTERM. A supervisor or `cutout up` runs them."""

import runpy
import sys
import uuid
from typing import Annotated

import typer

from cutout.enums import Step
from cutout.settings import settings


def api(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8000,
) -> None:
    """Serve the HTTP API."""
    settings()
    _become("api", host, str(port))


def dispatcher() -> None:
    """Hand out due jobs. Run two: one leads, the other takes over when it dies."""
    settings().require_endpoint_api_keys()
    _become("worker.dispatcher")


def worker(
    threads: Annotated[
        int | None,
        typer.Option(min=1, max=1000, help="Jobs carried at once [default: CUTOUT_WORKER_THREADS]."),
    ] = None,
    step: Annotated[
        Step | None, typer.Option(help="Take jobs at this step alone [default: at either].")
    ] = None,
) -> None:
    """Carry jobs out. Run as many as you like: the limit is shared by all.

    With `--step copy` no call keeps it from saving what is paid for: run one such beside the others.
    """
    known = settings()
    known.require_endpoint_api_keys()
    _become(
        "celery",
        "--app=worker.app",
        # Without Celery's banner: every line is of the log.
        "--quiet",
        "worker",
        "--pool=threads",
        f"--concurrency={threads or known.worker_threads}",
        f"--queues={step or ','.join(Step)}",
        f"--hostname=cutout-{uuid.uuid4().hex[:8]}@%h",
        "--without-gossip",
        "--without-mingle",
        "--loglevel=INFO",
    )


def ingester() -> None:
    """Read the manifests that the API and schedules ask for. Run one or more: each request is one's alone."""
    settings()
    _become("worker.ingester")


def sandbox(context: typer.Context) -> None:
    """Serve a stand-in for the endpoint; `cutout sandbox --help` lists its options."""
    _become("sandbox", *context.args)


def _become(module: str, *arguments: str) -> None:
    # In this process, whose signals a supervisor sends: what is imported already need not be again.
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
