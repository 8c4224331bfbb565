"""Reading a request in a process of its own, which alone ends if its file is one that ends its reader."""

import logging
import subprocess
import sys

from sqlalchemy import Connection

from cutout.ingest.pending import Request, put_down
from cutout.ingest.stop import Stop
from worker.ingester.child import POSTGRES_AWAY

log = logging.getLogger(__name__)

LOOK_EVERY_S = 0.2
STOP_WITHIN_S = 3.0


def read_apart(connection: Connection, request: Request, stop: Stop) -> None:
    """Let a process carry out what this session holds, to its end or until stopped. Its death leaves the
    request as it is: counted as one more. Raises if Postgres is away.
    """
    child = subprocess.Popen(  # noqa: S603 - ourselves
        [sys.executable, "-m", "worker.ingester.child", str(request.batch_id)],
        stdin=subprocess.PIPE,
        # A signal that is meant to end the ingester in good order goes to it alone.
        start_new_session=True,
    )
    try:
        while child.poll() is None and not stop.wait(LOOK_EVERY_S):
            pass
        if child.poll() is None:
            _end(child)
    finally:
        if child.stdin:
            child.stdin.close()
        if child.poll() is None:
            child.kill()
            child.wait()
    if stop.is_set() or child.returncode == POSTGRES_AWAY:
        put_down(connection, request.batch_id, request.deaths)
    elif child.returncode:
        log.error(
            "the process that read batch %s ended with %d; it has ended %d",
            request.batch_id,
            child.returncode,
            request.deaths + 1,
        )


def _end(child: "subprocess.Popen[bytes]") -> None:
    """It stops where its input ends."""
    if child.stdin:
        child.stdin.close()
    try:
        child.wait(STOP_WITHIN_S)
    except subprocess.TimeoutExpired:
        log.warning("the process %d does not stop within %.0f s and is killed", child.pid, STOP_WITHIN_S)
