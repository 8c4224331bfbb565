"""One soak: start everything, let it be struck, wait until it is settled, audit."""

import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from sqlalchemy import Connection, text

from cutout.status.call_rate import CallSettings
from tests.soak.audit import Charge, audit
from tests.soak.doubts import Call
from tests.soak.killer import Killer
from tests.soak.operator import Operator
from tests.soak.options import Options
from tests.soak.orders import Orders
from tests.soak.plan import Plan, draw_plan
from tests.soak.producer import Producer
from tests.soak.reasons import silent_jobs
from tests.soak.report import Report
from tests.soak.system import System
from tests.support.machine import scaled

# Beyond the time of load and strikes, and for whatever time nothing more is done.
PATIENCE_S = 90.0
LOOK_S = 0.5
PROGRESS_EVERY_S = 5.0

PROGRESS = text(
    "SELECT count(*), count(*) FILTER (WHERE finished_at IS NOT NULL OR state = 'held'),"
    " (SELECT count(*) FROM attempts WHERE ended_at IS NULL),"
    " (SELECT count(*) FROM ingests WHERE finished_at IS NULL) FROM jobs"
)


@dataclass(frozen=True)
class _Progress:
    jobs: int
    done: int
    open_calls: int
    open_ingests: int


class Actors:
    """Whoever enqueues, strikes, acts and gives orders; `works` are theirs, the orders' the last."""

    def __init__(self, system: System, options: Options, plan: Plan) -> None:
        self.producer = Producer(system, options.jobs)
        self.killer = Killer(system, plan.strikes)
        self.operator = Operator(system, plan.acts, self.producer.batch_id, options.jobs)
        self.orders = Orders(system, plan.orders)
        self.works: list[Callable[[threading.Event], None]] = [
            self.producer.run,
            self.killer.run,
            self.operator.run,
            self.orders.run,
        ]


def run_soak(options: Options, directory: Path) -> Report:
    """Run it in an empty directory, where data, logs and `events.json` stay. Progress goes to stderr."""
    began = time.monotonic()
    plan = draw_plan(kills=options.kills, seconds=options.seconds, seed=options.seed)
    with System(directory, options) as system:
        actors = Actors(system, options, plan)
        try:
            silent = _follow(system, options, actors)
        finally:
            _write_events(directory, actors, system)
        findings = audit(
            system.engine,
            system.bucket,
            [
                Charge(line["at"], line["image_sha256"], line["request_id"])
                for line in system.control_json("/ledger")["charges"]
            ],
            calls=[Call(**line) for line in system.control_json("/calls")],
            struck=actors.killer.struck,
            batch_id=actors.producer.batch_id,
            external_ids=[str(number) for number in range(options.jobs)],
            lifetime_s=options.result_lifetime_s,
            held=actors.operator.held,
        )
        findings.silent = [*silent, *silent_jobs(system.engine, CallSettings.of(system.settings))]
        findings.began_outside += actors.operator.nights.calls_outside()
        most_in_flight = int(system.control_json("/stats?seconds=1")["max_in_flight"])
    seconds = time.monotonic() - began
    return Report(
        options.command,
        seconds,
        findings,
        actors.killer.struck,
        actors.orders.placed,
        [*actors.killer.wrong, *actors.operator.wrong],
        system.ended,
        Counter(kind.value for _, kind, _ in actors.operator.done),
        most_in_flight,
    )


def _follow(system: System, options: Options, actors: Actors) -> list[str]:
    """Run them all until every job is done or patience ends; raises what one of them raised.

    Returns which jobs nothing said why they wait, before everything was let go.
    """
    stopping = threading.Event()
    with ThreadPoolExecutor(len(actors.works)) as pool:
        running = [pool.submit(work, stopping) for work in actors.works]
        try:
            silent = _wait(system, options, actors, running)
        finally:
            stopping.set()
    for work_done in running:
        work_done.result()
    return silent


def _wait(system: System, options: Options, actors: Actors, running: list[Future[None]]) -> list[str]:
    began = time.monotonic()
    ends_at = began + scaled(options.seconds + PATIENCE_S)
    said_at, done = 0.0, 0
    silent: list[str] | None = None
    # The orders may wait for calls that no longer come.
    *acting, _ = running
    while time.monotonic() < ends_at:
        if any(work.done() and work.exception() for work in running):
            return []
        system.tend()
        if silent is None and all(work.done() for work in acting):
            silent = silent_jobs(system.engine, CallSettings.of(system.settings))
            actors.operator.finish()
            ends_at = time.monotonic() + scaled(PATIENCE_S)
        if silent is not None:
            actors.operator.nights.open()
        progress = system.ask(_progress)
        if progress.done > done:
            done = progress.done
            ends_at = max(ends_at, time.monotonic() + scaled(PATIENCE_S))
        if time.monotonic() - said_at >= PROGRESS_EVERY_S:
            said_at = time.monotonic()
            sys.stderr.write(
                f"{said_at - began:4.0f} s  {progress.done}/{progress.jobs} jobs done,"
                f" {len(actors.killer.struck)}/{options.kills} strikes\n"
            )
        settled = progress.done == progress.jobs and not progress.open_calls + progress.open_ingests
        if silent is not None and settled and not _calls_at_sandbox(system):
            break
        time.sleep(LOOK_S)
    if silent is None:
        raise TimeoutError("the producer, the killer or the operator is not done in time")
    return silent


def _progress(connection: Connection) -> _Progress:
    return _Progress(*connection.execute(PROGRESS).one())


def _calls_at_sandbox(system: System) -> int:
    return int(system.control_json("/stats?seconds=1")["in_flight"])


def _write_events(directory: Path, actors: Actors, system: System) -> None:
    events = {
        "struck": [asdict(strike) for strike in sorted(actors.killer.struck, key=lambda strike: strike.at_s)],
        "placed": [asdict(order) for order in actors.orders.placed],
        "acts": actors.operator.done,
        "ended by themselves": system.ended,
    }
    (directory / "events.json").write_text(json.dumps(events, indent=1))
