"""Real messages from a real database to real servers."""

import logging
import time
import uuid
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, text

from cutout.network import Timeouts
from cutout.queue.snapshot import read_snapshot
from cutout.settings import Settings
from cutout.webhooks import INSTALLATION, announce, rotate, secret_of
from tests.support.machine import scaled
from tests.support.receiver import Receiver
from tests.support.system import wait_until
from tests.worker.wire import serving, silent
from worker.webhooks import Notifier, post
from worker.webhooks import notifier as module

MASTER = SecretStr("m" * 40)
SECRET = secret_of(MASTER, INSTALLATION, 1)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"webhook_secret": MASTER, "webhook_private_hosts": ("127.0.0.1",)})


class Running:
    """A notifier whose tick is called as the dispatcher calls it."""

    def __init__(self, settings: Settings, engine: Engine) -> None:
        self._notifier = Notifier(settings)
        self._engine = engine
        with engine.connect() as connection:
            self._snapshot = read_snapshot(connection, [])

    def tick(self) -> None:
        with self._engine.connect() as connection:
            self._notifier.tick(connection, self._snapshot)

    def until(self, condition: Callable[[], bool], *, within_s: float = 20.0) -> None:
        def holds() -> bool:
            self.tick()
            return condition()

        wait_until(holds, "the notifier", within_s=within_s)

    def end(self) -> None:
        for task in (self._notifier._searching, *self._notifier._sending):
            wait_until(lambda task=task: not task.running, "a sender")  # type: ignore[misc]
        for sender in self._notifier._senders:
            sender.close()
        self._notifier._engine.dispose()


@pytest.fixture
def running(settings: Settings, engine: Engine) -> Iterator[Running]:
    made = Running(settings, engine)
    yield made
    made.end()


def tell(engine: Engine, url: str, count: int = 1) -> list[uuid.UUID]:
    with engine.begin() as connection:
        return [announce(connection, url=url, kind="x", data={"n": n}) for n in range(count)]


def counts(engine: Engine) -> dict[str, int]:
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT state, count(*) FROM deliveries GROUP BY state"))
        return {state: count for state, count in rows}  # noqa: C416 - dict() would not type-check on rows


def all_delivered(engine: Engine) -> bool:
    return set(counts(engine)) == {"delivered"}


class TestTheNotifier:
    def test_delivers_what_waits(self, running: Running, engine: Engine, receiver: Receiver) -> None:
        """Each message arrives once, under its delivery's id, signed with the installation's secret."""
        ids = tell(engine, receiver.url(), 30)
        running.until(lambda: all_delivered(engine))
        assert sorted(message.id for message in receiver.messages) == sorted(map(str, ids))
        for message in receiver.messages:
            message.verify(SECRET)

    def test_signs_with_both_secrets_while_they_change(
        self, running: Running, engine: Engine, receiver: Receiver
    ) -> None:
        """A receiver may switch to the new secret at any time within the day."""
        with engine.begin() as connection:
            rotate(connection, INSTALLATION)
        tell(engine, receiver.url())
        running.until(lambda: all_delivered(engine))
        (message,) = receiver.messages
        message.verify(SECRET)
        message.verify(secret_of(MASTER, INSTALLATION, 2))

    def test_tries_again_with_the_same_bytes(
        self, running: Running, engine: Engine, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """After an error id and payload are the same, time and signature are new."""
        monkeypatch.setattr("worker.webhooks.responses.DELAYS_S", (1.2,))
        receiver.answers = [500, 404]
        tell(engine, receiver.url())
        running.until(lambda: all_delivered(engine))
        first, second, third = receiver.messages
        assert first.id == second.id == third.id
        assert first.body == second.body == third.body
        assert int(third.headers["webhook-timestamp"]) > int(first.headers["webhook-timestamp"])
        third.verify(SECRET)

    def test_gives_up_what_leads_inside(
        self, settings: Settings, engine: Engine, receiver: Receiver, caplog: pytest.LogCaptureFixture
    ) -> None:
        """It is given up at once with the reason; the log has only the host."""
        running = Running(settings.model_copy(update={"webhook_private_hosts": ()}), engine)
        url = f"https://127.0.0.1:{receiver.host.split(':')[1]}/hook?token=secret"
        tell(engine, url)
        with caplog.at_level(logging.WARNING):
            running.until(lambda: counts(engine) == {"given_up": 1})
            running.end()
        assert receiver.messages == []
        assert "leads to an address that is not public" in caplog.text
        assert "secret" not in caplog.text

    def test_gives_up_at_410(self, running: Running, engine: Engine, receiver: Receiver) -> None:
        """The receiver does not want the message."""
        receiver.always = 410
        tell(engine, receiver.url())
        running.until(lambda: counts(engine) == {"given_up": 1})
        assert len(receiver.messages) == 1

    @pytest.mark.parametrize("date", ["1 Jan 9999999999 0:0:0", "1 Jan 2000 0:0:0 +99999999999999"])
    def test_ignores_a_date_beyond_all_times(
        self, running: Running, engine: Engine, receiver: Receiver, date: str
    ) -> None:
        """A date in an answer may be any text."""
        receiver.always = (503, {"Retry-After": date})
        tell(engine, receiver.url())
        error = text("SELECT last_error FROM deliveries")
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            running.until(lambda: connection.scalar(error) == "answered 503")

    def test_records_an_unexpected_error(self, running: Running, engine: Engine) -> None:
        """An unreadable message is retried like any other, and given up after a day."""
        with engine.begin() as connection:
            connection.execute(
                text(
                    "WITH p AS (INSERT INTO producers (name) VALUES ('p') RETURNING id)"
                    " INSERT INTO deliveries (producer_id, url, type, payload)"
                    " SELECT id, 'https://a.example', 'x', 'CUTOUT_X' FROM p"
                )
            )
        errors = text("SELECT count(*) FROM deliveries WHERE last_error LIKE '%unexpected error (JSON%'")
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            running.until(lambda: connection.scalar(errors) == 1)

    def test_lets_no_dead_receiver_hold_up_another(
        self, settings: Settings, engine: Engine, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Nine dead receivers with twenty messages each do not delay a hundred of a live one."""
        patience_s = scaled(5)
        patience = Timeouts(connect=patience_s, write=patience_s, read=patience_s, total=patience_s)
        monkeypatch.setattr(post, "TIMEOUTS", patience)
        running = Running(settings, engine)
        with serving(silent) as dead:
            port = int(dead.rpartition(":")[2])
            for n in range(9):
                tell(engine, f"http://127.0.0.{n + 2}:{port}/", 20)
            tell(engine, receiver.url(), 100)
            began = time.monotonic()
            running.until(lambda: counts(engine).get("delivered") == 100)
            took = time.monotonic() - began
        running.end()
        assert took < patience_s

    def test_sends_again_what_was_not_recorded(
        self, running: Running, engine: Engine, receiver: Receiver
    ) -> None:
        """A message taken by a dispatcher that died is due again after its lease."""
        (its_id,) = tell(engine, receiver.url())
        with engine.begin() as connection:
            connection.execute(text("UPDATE deliveries SET tries = 1, due_at = now() + interval '1.5 s'"))
        running.until(lambda: all_delivered(engine))
        assert [message.id for message in receiver.messages] == [str(its_id)]

    def test_finishes_what_is_under_way_and_begins_nothing(
        self, running: Running, engine: Engine, receiver: Receiver
    ) -> None:
        """A regular end sends nothing twice; waiting messages are left to the next leader."""

        def slowly(handler: BaseHTTPRequestHandler) -> None:
            time.sleep(0.5)
            handler.send_response(204)
            handler.end_headers()

        receiver.always = slowly
        tell(engine, receiver.url(), 10)
        running.until(lambda: len(receiver.messages) > 0)
        running._notifier.finish(5.0)
        out = len(receiver.messages)
        assert counts(engine) == {"delivered": out, "waiting": 10 - out}
        began = time.monotonic()
        running._notifier.finish(5.0)
        assert time.monotonic() - began < scaled(0.5)

    def test_does_not_wait_for_a_dead_receiver(self, running: Running, engine: Engine) -> None:
        """The end takes no longer than allowed."""
        with serving(silent) as dead:
            tell(engine, f"{dead}/")
            running.until(lambda: any(task.running for task in running._notifier._sending))
            time.sleep(0.2)
            began = time.monotonic()
            running._notifier.finish(0.3)
            assert 0.2 < time.monotonic() - began < scaled(1)

    def test_says_that_it_cannot_sign(
        self, settings: Settings, engine: Engine, receiver: Receiver, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Without the secret nothing is sent, and the log says so once in five minutes."""
        running = Running(settings.model_copy(update={"webhook_secret": None}), engine)
        tell(engine, receiver.url())
        with caplog.at_level(logging.WARNING):
            running.until(lambda: "CUTOUT_WEBHOOK_SECRET" in caplog.text)
            for _ in range(3):
                time.sleep(module.SEARCH_EVERY_S)
                running.tick()
            running.end()
        assert caplog.text.count("CUTOUT_WEBHOOK_SECRET") == 1
        assert counts(engine) == {"waiting": 1}
        assert receiver.messages == []

    def test_forgets_what_ended_long_ago(self, running: Running, engine: Engine, receiver: Receiver) -> None:
        """Ended deliveries are deleted after CUTOUT_WEBHOOK_KEEP_DAYS."""
        tell(engine, receiver.url())
        running.until(lambda: all_delivered(engine))
        with engine.begin() as connection:
            connection.execute(text("UPDATE deliveries SET finished_at = now() - interval '31 days'"))
        running._notifier._prune_at = 0.0
        running.until(lambda: counts(engine) == {})
