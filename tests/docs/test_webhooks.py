"""The receiver and the requests of docs/how-to/webhooks.md, run as they stand there."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from standardwebhooks import Webhook

from cutout.network import HostList, Unreachable
from cutout.storage import Bucket
from cutout.webhooks.outbox import Taken
from tests.docs.pages import ROOT
from tests.support.machine import scaled
from tests.support.receiver import Receiver
from tests.support.system import System, wait_until
from worker.webhooks.post import WebhookPoster

PAGE = ROOT / "docs" / "how-to" / "webhooks.md"
REQUESTS = re.compile(r"<!-- tested -->\n```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
EXAMPLE = re.compile(r"<!-- tested -->\n```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"


@pytest.fixture
def receiver() -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """The example as a process, and its address."""
    with _example(SECRET) as (url, process):
        yield url, process


@contextmanager
def _example(secret: str) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    (program,) = EXAMPLE.findall(PAGE.read_text())
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        env={**os.environ, "WEBHOOK_SECRET": secret, "PORT": port},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        yield f"http://127.0.0.1:{port}/", process
    finally:
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
    assert [process.stdout.readline() for _ in range(2)] == [
        "job.succeeded {'id': '7'}\n",
        "job.succeeded {'id': '8'}\n",
    ]


def test_the_example_takes_each_type_of_the_page(receiver: tuple[str, "subprocess.Popen[str]"]) -> None:
    """Whatever members its data has: none is in the data of all types."""
    url, process = receiver
    assert process.stdout is not None
    types = re.findall(r"^\| `([a-z.]+)` \|", PAGE.read_text(), re.MULTILINE)
    assert {"webhook.test", "jobs.digest", "ingest.failed", "schedule.skipped"} <= set(types)
    wait_until(lambda: _answers(url), "the receiver")
    for each in types:
        body = json.dumps({"type": each, "data": {"of": each}})
        now = datetime.now(UTC)
        signed = Webhook(SECRET).sign(each, now, body)
        headers = {
            "webhook-id": each,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": signed,
        }
        assert httpx.post(url, content=body, headers=headers).status_code == 204, each
        assert process.stdout.readline() == f"{each} {{'of': '{each}'}}\n"


@pytest.mark.long("runs everything once for the page")
def test_the_requests_register_test_change_and_remove_an_endpoint(
    environment: dict[str, str], bucket: Bucket, tmp_path: Path
) -> None:
    """Typed in one after the other; the test message verifies with the secret that was shown."""
    assert shutil.which("curl"), "this test runs the examples of docs/how-to/webhooks.md: install curl"
    assert bucket
    with Receiver() as receiver:
        settings = environment | {
            "CUTOUT_WEBHOOK_SECRET": "m" * 40,
            "CUTOUT_WEBHOOK_PRIVATE_HOSTS": receiver.host,
        }
        with System(settings, tmp_path) as system:
            first, second = REQUESTS.findall(PAGE.read_text())
            printed = _typed(first, system, receiver, tmp_path)
            (message,) = receiver.wait_for(1)
            system.until("SELECT bool_and(state = 'delivered') FROM deliveries")
            printed += _typed(f"{_SETUP}{second}", system, receiver, tmp_path)
    secret = (tmp_path / "webhook-secret").read_text().strip()
    message.verify(secret)
    with _example(secret) as (url, process):
        wait_until(lambda: _answers(url), "the receiver")
        assert httpx.post(url, content=message.body, headers=message.headers).status_code == 204
        assert process.stdout is not None
        assert process.stdout.readline().startswith("webhook.test {'endpoint_id': '")
    sent, listed, changed, deliveries = (json.loads(line) for line in printed.splitlines())
    assert (sent["type"], sent["state"]) == ("webhook.test", "waiting")
    (endpoint,) = listed["data"]
    assert (endpoint["events"], endpoint["has_path_or_query"], endpoint["enabled"]) == (
        ["*", "job.failed"],
        True,
        True,
    )
    assert changed["events"] == ["batch.finished"]
    assert json.loads((tmp_path / "rotated.json").read_text())["secret"].startswith("whsec_")
    assert sent["id"] in json.dumps(deliveries)


# What the first requests leave in the shell.
_SETUP = """
api="$CUTOUT_API_URL/v1"
auth="Authorization: Bearer $CUTOUT_API_KEY"
endpoint=$(cut -d '"' -f 4 endpoint.json)
"""


def _answers(url: str) -> bool:
    """Whether the example listens; it answers 501 to a GET."""
    try:
        return httpx.get(url).status_code == 501
    except httpx.TransportError:
        return False


def _typed(script: str, system: System, receiver: Receiver, directory: Path) -> str:
    ran = subprocess.run(
        ["bash", "-eu", "-o", "pipefail", "-c", script],  # noqa: S607
        cwd=directory,
        env=os.environ
        | {
            "CUTOUT_API_URL": str(system.client.base_url),
            "CUTOUT_API_KEY": system.client.headers["authorization"].split()[1],
            "RECEIVER_URL": receiver.url("/hook?token=quirk"),
            "no_proxy": "127.0.0.1",
        },
        capture_output=True,
        text=True,
        timeout=scaled(60),
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "quirk" not in ran.stdout
    return ran.stdout
