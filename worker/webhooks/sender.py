"""One thread's work: take a message, send it, write down what came of it."""

import logging
import time
from collections.abc import Callable
from functools import partial

from sqlalchemy import Connection, Engine

from cutout.enums import DeliveryState
from cutout.models.database import is_away, patiently
from cutout.network import FetchError, HostList, Unreachable
from cutout.settings import Settings
from cutout.webhooks import secret_of, standing_of
from cutout.webhooks.outbox import LEASE, Taken, delivered, failed, take
from cutout.webhooks.receivers import Receiver, disprove, prove
from worker.webhooks.fair_queue import Turn, Turns
from worker.webhooks.post import DEADLINE_S, Postman
from worker.webhooks.responses import Verdict, judge

log = logging.getLogger(__name__)

# After that somebody else may have taken it anew.
WRITTEN_WITHIN_S = LEASE.total_seconds() - 2 * DEADLINE_S


class Sender:
    """Sends until there is nothing that may go now. `turns` are shared with the others.

    `ask_for_more` sets others to work: a receiver that answers is sent more at a time.
    """

    def __init__(
        self, known: Settings, engine: Engine, turns: Turns, ask_for_more: Callable[[], None]
    ) -> None:
        self._master = known.webhook_secret
        self._engine = engine
        self._turns = turns
        self._ask_for_more = ask_for_more
        self._postman = Postman(HostList.parse(known.webhook_private_hosts))

    def run(self) -> bool:
        """Always True, as a question's answer."""
        try:
            while turn := self._turns.next():
                self._turn(turn)
        except Exception as error:
            if not is_away(error):
                raise
            log.warning("Postgres is away; webhooks wait, and one that was out may be sent again")
        return True

    def close(self) -> None:
        """Close its connections to receivers; it must not be running."""
        self._postman.close()

    def _turn(self, turn: Turn) -> None:
        ill, more, took_s = None, False, 0.0
        try:
            with self._engine.connect() as connection:
                taken, secrets = self._take(connection, turn.receiver)
            if taken is not None:
                began = time.monotonic()
                verdict = self._send(taken, secrets)
                ill, more, took_s = verdict.ill, True, time.monotonic() - began
                self._write_down(taken, verdict, turn)
        finally:
            self._turns.done(turn.receiver, ill=ill, more=more, took_s=took_s)
        if more:
            self._ask_for_more()

    def _take(self, connection: Connection, receiver: Receiver) -> tuple[Taken | None, list[str]]:
        if self._master is None:
            return None, []
        taken = take(connection, receiver)
        if taken is None:
            return None, []
        versions = standing_of(connection, receiver.owner).signing
        return taken, [secret_of(self._master, receiver.owner, version) for version in versions]

    def _send(self, taken: Taken, secrets: list[str]) -> Verdict:
        try:
            return judge(self._postman.post(taken, secrets), taken.tries)
        except FetchError as error:
            return judge(error, taken.tries)
        except Exception as error:
            # One message or answer must not take the sender from all the others, again and again.
            log.exception("the webhook %s to %s met an error that nobody expected", taken.id, taken.host)
            return judge(Unreachable(f"an error that nobody expected ({type(error).__name__})"), taken.tries)

    def _write_down(self, taken: Taken, verdict: Verdict, turn: Turn) -> None:
        state = patiently(
            self._engine,
            partial(_write, taken=taken, verdict=verdict, turn=turn),
            give_up_after_s=WRITTEN_WITHIN_S,
        )
        if state is DeliveryState.GIVEN_UP:
            log.warning("the webhook %s to %s is given up: %s", taken.id, taken.host, verdict.reason)


def _write(connection: Connection, taken: Taken, verdict: Verdict, turn: Turn) -> DeliveryState | None:
    if verdict.ill is not None and verdict.ill == turn.proven:
        (disprove if verdict.ill else prove)(connection, turn.receiver)
    if verdict.reason is None:
        delivered(connection, taken, verdict.status or 0)
        return DeliveryState.DELIVERED
    return failed(connection, taken, verdict.reason, status=verdict.status, rest=verdict.rest)
