"""The rate of sending: a receiver that keeps up gets all messages; one that does not keeps few senders."""

import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler

import pytest
from sqlalchemy import Engine

from cutout.settings import Settings
from tests.support.machine import scaled
from tests.support.receiver import Receiver
from tests.worker.webhooks.test_notifier import MASTER, Running, counts, tell

TAKES_S = 0.1
MESSAGES = 300


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Answers each message after 100 ms, however many come at once."""

    def slowly(handler: BaseHTTPRequestHandler) -> None:
        time.sleep(TAKES_S)
        handler.close_connection = False
        handler.send_response(204)
        handler.end_headers()

    with Receiver() as running:
        running.always = slowly
        yield running


def test_a_receiver_that_takes_100_ms_is_sent_100_a_second(
    settings: Settings, engine: Engine, receiver: Receiver
) -> None:
    """Two at a time would take 15 s for as many."""
    known = settings.model_copy(update={"webhook_secret": MASTER, "webhook_private_hosts": ("127.0.0.1",)})
    tell(engine, receiver.url(), MESSAGES)
    running = Running(known, engine)
    began = time.monotonic()
    running.until(lambda: counts(engine).get("delivered") == MESSAGES)
    took = time.monotonic() - began
    running.end()
    assert took < scaled(MESSAGES / 100), f"{MESSAGES / took:.0f} a second"
