"""Functions of the core that a worker runs on Postgres, repeated while Postgres is unreachable.

`context.store.claim(job_id, fence, worker_id)` is `queue.claim(connection, job_id, fence, worker_id)`.
"""

import threading
from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection, Engine

from cutout import queue
from cutout.billing import accounts, doubted_refusals
from cutout.models.database import A_DAY_S, POSTGRES_ERRORS, Patience, patiently
from cutout.queue import claims, workers
from cutout.queue.attempts import unsaved_results
from worker.pipeline.call_record import write_call

P = ParamSpec("P")
T = TypeVar("T")


def patient(function: Callable[Concatenate[Connection, P], T]) -> Callable[Concatenate["Store", P], T]:
    """A method that runs `function` on a connection, with the same parameters but the connection."""

    @wraps(function)
    def method(store: "Store", /, *args: P.args, **kwargs: P.kwargs) -> T:
        patience = Patience(store.give_up_after_s, store.stopping)
        while True:
            try:
                with store.engine.connect() as connection:
                    return function(connection, *args, **kwargs)
            except POSTGRES_ERRORS as error:
                patience.wait_after(error)

    return method


class Store:
    """Postgres, as the threads of a worker use it. Safe to share between threads.

    Each statement commits by itself and may run twice, since its answer may be lost with the connection.
    Methods raise PostgresAwayError after `give_up_after_s` seconds, by default a day, and soon after
    `stopping` is set.
    """

    __slots__ = ("engine", "give_up_after_s", "stopping")

    def __init__(
        self, engine: Engine, stopping: threading.Event, *, give_up_after_s: float = A_DAY_S
    ) -> None:
        self.engine = engine
        self.stopping = stopping
        self.give_up_after_s = give_up_after_s

    def within(self, give_up_after_s: float) -> "Store":
        """A store with another patience."""
        return Store(self.engine, self.stopping, give_up_after_s=give_up_after_s)

    def run(self, work: Callable[[Connection], T]) -> T:
        """Run work of several statements on one connection."""
        return patiently(self.engine, work, give_up_after_s=self.give_up_after_s, stopping=self.stopping)

    register = patient(workers.register)

    claim = patient(claims.claim)
    hand_back = patient(claims.hand_back)
    settle = patient(queue.settle)
    seconds_left = patient(claims.seconds_left)

    begin_attempt = patient(queue.begin_attempt)
    withdraw_attempt = patient(queue.withdraw_attempt)
    write_call = patient(write_call)
    save_in_lifeboat = patient(queue.save_in_lifeboat)
    save_unexpected = patient(queue.save_unexpected)
    count_failed_result = patient(unsaved_results.failed)

    ensure_account = patient(accounts.ensure)
    pause_account = patient(accounts.pause)
    doubt_refusal = patient(doubted_refusals.doubt)

    find_validator = patient(queue.find_validator)
    save_validator = patient(queue.save_validator)
    find_held_picture = patient(queue.find_held_picture)
    acquire_result = patient(queue.acquire_result)
    find_made_otherwise = patient(queue.find_made_otherwise)
    adopt_result = patient(queue.adopt_result)
    miss_result = patient(queue.miss_result)
    find_again = patient(queue.find_again)

    find_bought = patient(queue.find_bought)
    find_it_again = patient(queue.find_it_again)
    miss = patient(queue.miss)
    complete_reused = patient(queue.complete_reused)
    requeue = patient(queue.requeue)
    fetch_sources = patient(queue.fetch_sources)
    delay = patient(queue.delay)
