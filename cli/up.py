"""Everything on this machine, in the foreground."""

import shlex
import signal
import threading
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from cli.console import Exit, err, fail, out
from cli.stack import Stack, StackError, StackOptions, run_stack
from local import LocalServiceError

LOOK_EVERY_S = 1.0
ENV_FILE = "cutout.env"
# Of the processes that are started here: a command in another shell has another end and another port.
OF_PROCESSES = ("CUTOUT_API_DRAIN_SECONDS", "CUTOUT_METRICS_ADDRESS")


def up(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the API; 0 takes a free one.")] = 8000,
    data_dir: Annotated[
        Path,
        typer.Option(
            file_okay=False, help="Where the servers keep their data; the next start finds it again."
        ),
    ] = Path(".cutout/up"),
    workers: Annotated[int, typer.Option(min=1, max=64, help="Number of workers.")] = 1,
    *,
    sandbox: Annotated[
        bool, typer.Option(help="Call the sandbox, or the endpoint that the settings name.")
    ] = True,
) -> None:
    """Run everything on this machine until Ctrl-C.

    It starts Postgres, Redis, S3, the sandbox, the API, a dispatcher, an ingester, a renderer and workers.
    It is for development, not for production. If CUTOUT_DATABASE_URL, CUTOUT_REDIS_URL or
    CUTOUT_S3_ENDPOINT_URL is set, that service is used, and none is started.
    """
    stopping = stop_on_signals()
    options = StackOptions(data_dir.resolve(), port=port, workers=workers, copiers=1, sandbox=sandbox)
    try:
        with run_stack(options) as stack:
            _announce(stack)
            keep_running(stack, stopping)
    except (StackError, LocalServiceError) as error:
        fail(str(error), Exit.FAILED)


def keep_running(stack: Stack, stopping: threading.Event) -> None:
    """Start again what ends by itself, until the event is set."""
    while not stopping.wait(LOOK_EVERY_S):
        for name in stack.restart_dead():
            log = stack.options.data_dir / name
            err.print(f"{name} ended by itself and was started again; see {log}")
    out.print("stopping")


def _announce(stack: Stack) -> None:
    env_file = stack.options.data_dir / ENV_FILE
    env_file.touch(mode=0o600)
    exported = {name: value for name, value in stack.environment.items() if name not in OF_PROCESSES}
    lines = [f"export {name}={shlex.quote(value)}\n" for name, value in sorted(exported.items())]
    env_file.write_text("".join(lines))
    out.print(f"API          {stack.api_url}  (its routes: {stack.api_url}/docs)")
    out.print(f"API key      {stack.api_key}  (shown once)")
    announce_console(stack)
    out.print(
        f"endpoint     {stack.settings.endpoint_url}{'  (the sandbox)' if stack.options.sandbox else ''}"
    )
    out.print(f"logs, data   {stack.options.data_dir}")
    out.print(f"another shell: . {shlex.quote(str(env_file))} && cutout ingest DIR --wait")
    out.print("Ctrl-C stops everything")


def announce_console(stack: Stack) -> None:
    """Print the link that signs in at the console, if there is one."""
    links = import_module("cli.sign_in_link")
    link = links.sign_in_link(stack)
    if link is not None:
        # In one piece, however narrow the terminal: it is there to be clicked or copied.
        out.print(f"console      {link}  (signs in once, for {links.MINUTES} minutes)", soft_wrap=True)


def stop_on_signals() -> threading.Event:
    """An event that SIGTERM and SIGINT set."""
    stopping = threading.Event()

    def stop(_signal: int, _frame: FrameType | None) -> None:
        stopping.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    return stopping
