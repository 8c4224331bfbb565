"""Reading of a request in a child process, so that a file that kills its reader kills nothing else."""

import logging
import subprocess
import sys

from sqlalchemy import Connection

from cutout.ingest.pending import PendingIngest, release
from cutout.ingest.stop import Stop
from worker.ingester.child import POSTGRES_UNREACHABLE

log = logging.getLogger(__name__)

POLL_EVERY_S = 0.2
STOP_WITHIN_S = 3.0


def read_in_child(connection: Connection, request: PendingIngest, stop: Stop) -> None:
    """Carry out this session's request in a child process, to its end or until stopped.

    If the child dies, the request stays unchanged and the death counts. Raises if Postgres is unreachable.
    """
    child = subprocess.Popen(  # noqa: S603 - ourselves
        [sys.executable, "-m", "worker.ingester.child", str(request.batch_id)],
        stdin=subprocess.PIPE,
        # A signal to the process group must reach the ingester only.
        start_new_session=True,
    )
    try:
        while child.poll() is None and not stop.wait(POLL_EVERY_S):
            pass
        if child.poll() is None:
            _end(child)
    finally:
        if child.stdin:
            child.stdin.close()
        if child.poll() is None:
            child.kill()
            child.wait()
    if stop.is_set() or child.returncode == POSTGRES_UNREACHABLE:
        release(connection, request.batch_id, request.deaths)
    elif child.returncode:
        log.error(
            "the process that read batch %s ended with %d; it has ended %d",
            request.batch_id,
            child.returncode,
            request.deaths + 1,
        )


def _end(child: "subprocess.Popen[bytes]") -> None:
    """Close the child's input, which stops it; log if it does not end in time."""
    if child.stdin:
        child.stdin.close()
    try:
        child.wait(STOP_WITHIN_S)
    except subprocess.TimeoutExpired:
        log.warning("the process %d does not stop within %.0f s and is killed", child.pid, STOP_WITHIN_S)
