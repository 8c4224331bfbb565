"""Signals save waiting, and cost none: a Redis that is away or frozen keeps nobody."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from cutout.queue.signals import Signal, SignalListener, SignalSender
from cutout.settings import Settings
from local import ValkeyServer
from tests.support.machine import scaled

WITHIN_S = 10.0


class Heard:
    """A listener that counts; the first call is that it listens."""

    def __init__(self, settings: Settings, signal: Signal = Signal.QUEUED) -> None:
        self._calls = threading.Semaphore(0)
        self.listener = SignalListener(settings, signal, self._calls.release)
        self.listener.start()

    def one(self, within_s: float = WITHIN_S) -> bool:
        return self._calls.acquire(timeout=scaled(within_s))


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[ValkeyServer]:
    """A Redis of this test's own, to be frozen and ended."""
    with ValkeyServer(tmp_path / "valkey", durable=False) as server:
        yield server


def at(valkey: ValkeyServer, settings: Settings) -> Settings:
    return settings.model_copy(update={"redis_url": SecretStr(valkey.redis_url)})


class TestASignal:
    def test_is_heard_by_who_listens_for_it(self, settings: Settings) -> None:
        queued, ended = Heard(settings), Heard(settings, Signal.ENDED)
        assert queued.one()
        assert ended.one()
        sender = SignalSender(settings)
        sender.send(Signal.QUEUED)
        assert queued.one()
        assert not ended.one(within_s=0.2)
        for each in (queued.listener, ended.listener, sender):
            each.stop() if isinstance(each, SignalListener) else each.close()

    def test_of_another_installation_is_not_heard(self, settings: Settings) -> None:
        heard = Heard(settings)
        assert heard.one()
        other = SignalSender(settings.model_copy(update={"redis_prefix": "other:"}))
        other.send(Signal.QUEUED)
        assert not heard.one(within_s=0.2)
        other.close()
        heard.listener.stop()


class TestARedisThatIsGone:
    def test_is_found_again_and_what_was_missed_is_looked_for(
        self, valkey: ValkeyServer, settings: Settings
    ) -> None:
        """A listener that connects again calls once: signals may have been lost meanwhile."""
        heard = Heard(at(valkey, settings))
        assert heard.one()
        valkey.stop()
        valkey.start()
        assert heard.one()
        heard.listener.stop()

    def test_delays_no_sender(self, valkey: ValkeyServer, settings: Settings) -> None:
        sender = SignalSender(at(valkey, settings))
        valkey.stop()
        began = time.monotonic()
        for _ in range(100):
            sender.send(Signal.QUEUED)
        assert time.monotonic() - began < scaled(1.0)
        sender.close()

    def test_that_is_frozen_delays_a_sender_once(self, valkey: ValkeyServer, settings: Settings) -> None:
        sender = SignalSender(at(valkey, settings))
        sender.send(Signal.QUEUED)
        assert valkey.pid is not None
        os.kill(valkey.pid, signal.SIGSTOP)
        try:
            began = time.monotonic()
            for _ in range(100):
                sender.send(Signal.QUEUED)
            assert time.monotonic() - began < scaled(1.0)
        finally:
            os.kill(valkey.pid, signal.SIGCONT)
        sender.close()
