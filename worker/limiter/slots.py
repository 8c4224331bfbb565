"""Slots for calls: at the only account, or at the open account that has room first."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Protocol, TypeVar

import redis
from sqlalchemy import Connection

from cutout.billing import accounts, learned_limits
from cutout.endpoint.client import EndpointClient
from cutout.network import Timeouts
from cutout.settings import Settings
from worker.limiter.limiter import Ceilings, Learned, Limiter, LimitReached, Slot
from worker.per_thread import PerThread
from worker.stage import SLOT, Stage

T = TypeVar("T")


class Run(Protocol):
    """Runs work on a connection to Postgres, again while it is unreachable."""

    def __call__(self, work: Callable[[Connection], T], /) -> T: ...


# A pause by another worker is noticed within this time; Postgres refuses the calls in between.
OPEN_ACCOUNTS_CACHED_S = 1.0


class NoAccountOpenError(Exception):
    """Every account is paused."""


@dataclass(frozen=True, slots=True)
class EndpointAccount:
    """An account with its limit, and its client for each thread."""

    name: str
    limiter: Limiter
    clients: PerThread[EndpointClient]


class Slots:
    """The limits of all accounts. Safe to share between threads."""

    def __init__(self, settings: Settings, client: "redis.Redis", timeouts: Timeouts, run: Run) -> None:
        self._run = run
        self._accounts = {account.name: account for account in _accounts_of(settings, client, timeouts, run)}
        self._open: list[str] = []
        self._read_at = 0.0

    @property
    def names(self) -> list[str]:
        """The accounts' names."""
        return list(self._accounts)

    @contextmanager
    def slot(
        self, *, longest_wait_s: float, prepared_s: float = -1.0
    ) -> Iterator[tuple[EndpointAccount, Slot]]:
        """Wait for a slot and hold it while the context lasts; report the call's end in it.

        Raises NoAccountOpenError, LimitReached and LimiterAway.
        """
        with ExitStack() as held:
            with Stage(SLOT):
                account, slot = self._take(held, longest_wait_s, prepared_s)
            yield account, slot

    def close(self) -> None:
        """Close the clients of every thread and renew no slots any more."""
        for account in self._accounts.values():
            account.limiter.close()
            account.clients.close()

    def _take(
        self, held: ExitStack, longest_wait_s: float, prepared_s: float
    ) -> tuple[EndpointAccount, Slot]:
        candidates = self._candidates()
        soonest: tuple[float, EndpointAccount] | None = None
        for account in candidates if len(candidates) > 1 else []:
            try:
                taken = held.enter_context(account.limiter.slot(longest_wait_s=0.0, prepared_s=prepared_s))
            except LimitReached as reached:
                if soonest is None or reached.retry_in_s < soonest[0]:
                    soonest = reached.retry_in_s, account
            else:
                return account, taken
        account = soonest[1] if soonest else candidates[0]
        taken = held.enter_context(account.limiter.slot(longest_wait_s=longest_wait_s, prepared_s=prepared_s))
        return account, taken

    def _candidates(self) -> list[EndpointAccount]:
        """The open accounts, another one first each time. A single one is not checked: Postgres refuses."""
        if len(self._accounts) == 1:
            return list(self._accounts.values())
        now = time.monotonic()
        if now - self._read_at > OPEN_ACCOUNTS_CACHED_S:
            self._read_at = now
            self._open = self._run(lambda database: accounts.open_among(database, self.names))
        if not self._open:
            raise NoAccountOpenError
        self._open = [*self._open[1:], self._open[0]]
        return [self._accounts[name] for name in self._open]


def _accounts_of(
    settings: Settings, client: "redis.Redis", timeouts: Timeouts, run: Run
) -> Iterator[EndpointAccount]:
    for key in settings.require_endpoint_api_keys():
        secret = key.get_secret_value()
        name = accounts.account_name(secret)

        def recall(name: str = name) -> Learned | None:
            return run(lambda database: _recall(database, name))

        def make(secret: str = secret) -> EndpointClient:
            return EndpointClient(settings.endpoint_url, secret, timeouts, proxy=settings.egress_to_endpoint)

        yield EndpointAccount(name, limiter_of(settings, client, name, recall), PerThread(make))


def limiter_of(
    settings: Settings,
    client: "redis.Redis",
    account: str,
    recall: Callable[[], Learned | None] = lambda: None,
) -> Limiter:
    """Make the limit of one account, with the ceilings of the settings."""
    ceilings = Ceilings(settings.calls_per_second, settings.calls_in_flight)
    return Limiter(client, f"{settings.redis_prefix}limit:{account}", ceilings, recall)


def _recall(database: Connection, account: str) -> Learned | None:
    open_calls = learned_limits.calls_are_open(database, account)
    learned = learned_limits.find(database, account)
    if learned is None:
        return Learned(None, None, open_calls) if open_calls else None
    return Learned(*learned, open_calls)
