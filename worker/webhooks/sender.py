"""The work of one sender thread: take a message, send it, record the result."""

import logging
import time
import uuid
from collections.abc import Callable
from functools import partial
from http import HTTPStatus

from sqlalchemy import Connection, Engine

from cutout.enums import DeliveryState
from cutout.models.database import is_away, patiently
from cutout.network import FetchError, HostList, Unreachable
from cutout.settings import Settings
from cutout.webhooks import secret_of, secret_state
from cutout.webhooks.endpoint_health import disable_gone, note_failure, note_success
from cutout.webhooks.outbox import LEASE, Taken, delivered, failed, take
from cutout.webhooks.receivers import Receiver, disprove, prove
from worker.webhooks import metrics
from worker.webhooks.fair_queue import FairQueue, Turn
from worker.webhooks.post import DEADLINE_S, WebhookPoster
from worker.webhooks.responses import DeliveryResult, classify

log = logging.getLogger(__name__)

# After that another dispatcher may have taken the message again.
RECORDED_WITHIN_S = LEASE.total_seconds() - 2 * DEADLINE_S


class Sender:
    """Sends messages until none may be sent now. All senders share the `queue`.

    `start_senders` starts others: a receiver that answers is sent several messages at a time.
    """

    def __init__(
        self, settings: Settings, engine: Engine, queue: FairQueue, start_senders: Callable[[], None]
    ) -> None:
        self._master = settings.webhook_secret
        self._engine = engine
        self._queue = queue
        self._start_senders = start_senders
        self._poster = WebhookPoster(HostList.parse(settings.webhook_private_hosts), proxy=settings.egress)

    def run(self) -> bool:
        """Send until the queue has no turn. Always True, since a background task reports success."""
        try:
            while turn := self._queue.next():
                self._turn(turn)
        except Exception as error:
            if not is_away(error):
                raise
            log.warning("Postgres is unreachable; webhooks wait, and the one being sent may be sent again")
        return True

    def close(self) -> None:
        """Close its connections to receivers; it must not be running."""
        self._poster.close()

    def _turn(self, turn: Turn) -> None:
        failing, more, took_s = None, False, 0.0
        try:
            with self._engine.connect() as connection:
                taken, secrets = self._take(connection, turn.receiver)
            if taken is not None:
                began = time.monotonic()
                result = self._send(taken, secrets)
                failing, more, took_s = result.failing, True, time.monotonic() - began
                self._record(taken, result, turn, took_s)
        finally:
            self._queue.done(turn.receiver, failing=failing, more=more, took_s=took_s)
        if more:
            self._start_senders()

    def _take(self, connection: Connection, receiver: Receiver) -> tuple[Taken | None, list[str]]:
        if self._master is None:
            return None, []
        taken = take(connection, receiver)
        if taken is None:
            return None, []
        owner = taken.endpoint_id or receiver.owner
        versions = secret_state(connection, owner).signing
        return taken, [secret_of(self._master, owner, version) for version in versions]

    def _send(self, taken: Taken, secrets: list[str]) -> DeliveryResult:
        try:
            return classify(self._poster.post(taken, secrets), taken.tries)
        except FetchError as error:
            return classify(error, taken.tries)
        except Exception as error:
            # One message or response must not stop the sender for all others again and again.
            log.exception("unexpected error in the webhook %s to %s", taken.id, taken.host)
            return classify(Unreachable(f"unexpected error ({type(error).__name__})"), taken.tries)

    def _record(self, taken: Taken, result: DeliveryResult, turn: Turn, took_s: float) -> None:
        state = patiently(
            self._engine,
            partial(_write, taken=taken, result=result, turn=turn),
            give_up_after_s=RECORDED_WITHIN_S,
        )
        metrics.DURATION.observe(took_s)
        given_up = state is DeliveryState.GIVEN_UP
        failed_as = metrics.GIVEN_UP if given_up else metrics.FAILED
        metrics.SENT.labels(metrics.DELIVERED if result.reason is None else failed_as).inc()
        if given_up:
            log.warning("the webhook %s to %s is given up: %s", taken.id, taken.host, result.reason)


def _write(connection: Connection, taken: Taken, result: DeliveryResult, turn: Turn) -> DeliveryState | None:
    if result.failing is not None and result.failing == turn.proven:
        (disprove if result.failing else prove)(connection, turn.receiver)
    if taken.endpoint_id is not None:
        # First: if the process ends in between, the message is tried again.
        _judge_endpoint(connection, taken.endpoint_id, taken.url, result)
    if result.reason is None:
        delivered(connection, taken, result.status or 0)
        return DeliveryState.DELIVERED
    return failed(
        connection,
        taken,
        result.reason,
        status=result.status,
        delay=result.delay,
        egress_away=result.egress_away,
    )


def _judge_endpoint(connection: Connection, endpoint_id: uuid.UUID, url: str, result: DeliveryResult) -> None:
    if result.egress_away:
        return
    if result.reason is None:
        note_success(connection, endpoint_id, url)
        return
    note_failure(connection, endpoint_id, url)
    if result.status == HTTPStatus.GONE and disable_gone(connection, endpoint_id, url):
        log.warning("the webhook endpoint %s is disabled: it answered 410", endpoint_id)
