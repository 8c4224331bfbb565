"""The receiver of docs/how-to/webhooks.md, run as it stands there."""

import os
import re
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime

import pytest

from cutout.network import HostList, Unreachable
from cutout.webhooks.outbox import Taken
from tests.docs.pages import ROOT
from tests.support.system import wait_until
from worker.webhooks.post import WebhookPoster

EXAMPLE = re.compile(r"<!-- tested -->\n```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"


@pytest.fixture
def receiver() -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """The example as a process, and its address."""
    (program,) = EXAMPLE.findall((ROOT / "docs" / "how-to" / "webhooks.md").read_text())
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        env={**os.environ, "WEBHOOK_SECRET": SECRET, "PORT": port},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    yield f"http://127.0.0.1:{port}/", process
    process.kill()
    process.communicate()


def test_the_example_takes_what_is_signed_once(receiver: tuple[str, "subprocess.Popen[str]"]) -> None:
    """It answers 204 to a signed message and 401 to one that is not, and prints what came twice once."""
    url, process = receiver
    now = datetime.now(UTC)
    payload = '{"type": "job.succeeded", "data": {"id": "7"}}'
    first, second = (
        Taken(uuid.uuid4(), None, url, "h", "x", text, 1, now, now)
        for text in (payload, payload.replace("7", "8"))
    )
    with closing(WebhookPoster(HostList.parse(["127.0.0.1"]))) as postman:

        def answered(taken: Taken, secret: str) -> int | None:
            try:
                return postman.post(taken, [secret]).status
            except Unreachable:
                return None

        wait_until(lambda: answered(first, SECRET) == 204, "the receiver")
        assert [answered(first, SECRET), answered(first, OTHER), answered(second, SECRET)] == [204, 401, 204]
    assert process.stdout is not None
    assert [process.stdout.readline() for _ in range(2)] == ["job.succeeded 7\n", "job.succeeded 8\n"]
