"""A producer whose receivers hang, and another's messages beside it, over many real sockets."""

import contextlib
import socket
import threading
import time
import uuid
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, insert, text
from sqlalchemy.orm import Session

from cutout.models import RECEIVERS
from cutout.network import Timeouts
from cutout.producers.producers import create_producer
from cutout.settings import Settings
from cutout.webhooks import announce
from tests.support.machine import scaled
from tests.support.receiver import Receiver
from tests.support.system import wait_until
from tests.worker.webhooks.test_notifier import MASTER, Running
from worker.webhooks import post
from worker.webhooks.fair_queue import SENDERS

HANGING = 1000
DRIPPING = 60
# Of a message that nothing stands in the way of: found within half a second.
AT_ONCE_S = 2.0


@pytest.fixture
def settings(settings: Settings) -> Settings:
    hosts = tuple(f"127.0.0.{n}" for n in range(1, DRIPPING + 1))
    return settings.model_copy(update={"webhook_secret": MASTER, "webhook_private_hosts": hosts})


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


@contextlib.contextmanager
def silent_ports() -> Iterator[list[str]]:
    """A thousand servers that accept a connection and send nothing; yields each one's `host:port`."""
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(HANGING)]
        yield [f"127.0.0.1:{server.getsockname()[1]}" for server in servers]


@contextlib.contextmanager
def dripping() -> Iterator[str]:
    """A server at every address of this machine that sends a byte at a time; yields its port."""
    with socket.create_server(("0.0.0.0", 0)) as listener:  # noqa: S104 - loopback's other addresses
        ended = threading.Event()
        listener.settimeout(0.1)
        threads = []

        def drip(connection: socket.socket) -> None:
            with connection, contextlib.suppress(OSError):
                while not ended.wait(0.05):
                    connection.sendall(b"H")

        def accept() -> None:
            while not ended.is_set():
                with contextlib.suppress(TimeoutError):
                    connection, _ = listener.accept()
                    threads.append(threading.Thread(target=drip, args=(connection,)))
                    threads[-1].start()

        acceptor = threading.Thread(target=accept)
        acceptor.start()
        yield str(listener.getsockname()[1])
        ended.set()
        for thread in (acceptor, *threads):
            thread.join()


def producers(engine: Engine) -> tuple[uuid.UUID, uuid.UUID]:
    with Session(engine) as session, session.begin():
        a, b = (create_producer(session, name)[0].id for name in ("a", "b"))
        return a, b


def tell(engine: Engine, owner: uuid.UUID, *hosts: str) -> None:
    with engine.begin() as connection:
        for host in hosts:
            announce(connection, url=f"http://{host}/hook", kind="x", data={}, producer_id=owner)


def sending(running: Running) -> int:
    return running._notifier._queue._sending


def seconds_to_arrive(running: Running, engine: Engine, owner: uuid.UUID, receiver: Receiver) -> float:
    """Seconds until the owner's next message arrives."""
    before = len(receiver.messages)
    tell(engine, owner, receiver.host)
    began = time.monotonic()
    running.until(lambda: len(receiver.messages) > before)
    return time.monotonic() - began


class TestAnotherProducersMessage:
    def test_arrives_beside_a_thousand_silent_receivers(
        self, settings: Settings, engine: Engine, receiver: Receiver
    ) -> None:
        """The receiver never answered before: its first message arrives, and the later ones."""
        a, b = producers(engine)
        running = Running(settings, engine)
        with silent_ports() as ports:
            tell(engine, a, *ports)
            running.until(lambda: sending(running) > 0 and len(running._notifier._queue) >= 500)
            took = [seconds_to_arrive(running, engine, b, receiver) for _ in range(3)]
            held = running._notifier._queue._owners[a].unproven
            running._notifier._queue.stop()
        running.end()
        assert 0 < held <= 4
        assert max(took) < scaled(AT_ONCE_S)

    def test_arrives_beside_receivers_that_answered_once(
        self, settings: Settings, engine: Engine, receiver: Receiver
    ) -> None:
        """All of them hang at once now: half of the senders are left."""
        a, b = producers(engine)
        running = Running(settings, engine)
        with silent_ports() as ports:
            with engine.begin() as connection:
                known_before = [{"owner": a, "host": host} for host in ports]
                connection.execute(insert(RECEIVERS), known_before)
            tell(engine, a, *ports)
            running.until(lambda: sending(running) == SENDERS // 2)
            took = [seconds_to_arrive(running, engine, b, receiver) for _ in range(3)]
            running._notifier._queue.stop()
        running.end()
        assert max(took) < scaled(AT_ONCE_S)

    def test_arrives_beside_receivers_that_drip(
        self, settings: Settings, engine: Engine, receiver: Receiver
    ) -> None:
        """No single read of theirs ever times out."""
        a, b = producers(engine)
        running = Running(settings, engine)
        with dripping() as port:
            tell(engine, a, *[f"127.0.0.{1 + n}:{port}" for n in range(DRIPPING)])
            running.until(lambda: sending(running) > 0)
            took = seconds_to_arrive(running, engine, b, receiver)
            running._notifier._queue.stop()
        running.end()
        assert took < scaled(AT_ONCE_S)


class TestWhatIsKnownOfAReceiver:
    def test_outlives_the_leader(self, settings: Settings, engine: Engine, receiver: Receiver) -> None:
        """A receiver that answered needs no proof under the next leader."""
        _, b = producers(engine)
        first = Running(settings, engine)
        seconds_to_arrive(first, engine, b, receiver)
        first.end()
        second = Running(settings, engine)
        tell(engine, b, receiver.host)
        second.until(lambda: len(receiver.messages) == 2)
        (host,) = second._notifier._queue._owners[b].hosts.values()
        second.end()
        assert host.proven

    def test_is_forgotten_when_it_falls_silent(
        self, settings: Settings, engine: Engine, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It must answer again before it may use the other senders."""
        monkeypatch.setattr(post, "TIMEOUTS", Timeouts(connect=0.5, write=0.5, read=0.5, total=0.5))
        _, b = producers(engine)
        running = Running(settings, engine)
        seconds_to_arrive(running, engine, b, receiver)
        query = text("SELECT count(*) FROM receivers")

        def proven() -> int:
            with engine.connect() as connection:
                return int(connection.execute(query).scalar_one())

        wait_until(lambda: proven() == 1, "proof")
        receiver.always = lambda _handler: time.sleep(1.0)
        tell(engine, b, receiver.host)
        running.until(lambda: proven() == 0)
        running.end()
