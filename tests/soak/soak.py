"""One soak: start everything, let it be struck, wait until it is settled, audit."""

import json
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from sqlalchemy import Connection, text

from tests.soak.audit import Charge, audit
from tests.soak.killer import Killer
from tests.soak.options import Options
from tests.soak.orders import Orders
from tests.soak.plan import draw_plan
from tests.soak.producer import Producer
from tests.soak.report import Report
from tests.soak.system import System

# Beyond the time of load and strikes.
PATIENCE_S = 90.0
LOOK_S = 0.5
PROGRESS_EVERY_S = 5.0

PROGRESS = text(
    "SELECT count(*), count(*) FILTER (WHERE finished_at IS NOT NULL OR state = 'held'),"
    " (SELECT count(*) FROM attempts WHERE ended_at IS NULL) FROM jobs"
)


@dataclass(frozen=True)
class _Progress:
    jobs: int
    done: int
    open_calls: int


def run_soak(options: Options, directory: Path) -> Report:
    """Run it in an empty directory, where data, logs and `events.json` stay. Progress goes to stderr."""
    began = time.monotonic()
    plan = draw_plan(kills=options.kills, seconds=options.seconds, seed=options.seed)
    with System(directory, options) as system:
        producer = Producer(system, options.jobs)
        killer = Killer(system, plan.strikes)
        orders = Orders(system, plan.orders)
        try:
            _follow(system, options, killer, orders, producer)
        finally:
            _write_events(directory, killer, orders, system)
        findings = audit(
            system.engine,
            system.bucket,
            [
                Charge(line["at"], line["image_sha256"], line["request_id"])
                for line in system.control_json("/ledger")["charges"]
            ],
            batch_id=producer.batch_id,
            external_ids=[str(number) for number in range(options.jobs)],
            lifetime_s=options.result_lifetime_s,
        )
    seconds = time.monotonic() - began
    return Report(
        options.command, seconds, findings, killer.struck, orders.placed, killer.wrong, system.ended
    )


def _follow(system: System, options: Options, killer: Killer, orders: Orders, producer: Producer) -> None:
    """Run them all until every job is done or patience ends; raises what one of them raised."""
    stopping = threading.Event()
    works: list[Callable[[threading.Event], None]] = [producer.run, killer.run, orders.run]
    with ThreadPoolExecutor(len(works)) as pool:
        running = [pool.submit(work, stopping) for work in works]
        try:
            _wait(system, options, killer, running)
        finally:
            stopping.set()
    for work_done in running:
        work_done.result()


def _wait(system: System, options: Options, killer: Killer, running: list[Future[None]]) -> None:
    began = time.monotonic()
    said_at = 0.0
    # The orders may wait for calls that no longer come.
    producing, striking, _ = running
    while time.monotonic() < began + options.seconds + PATIENCE_S:
        if any(work.done() and work.exception() for work in running):
            return
        system.tend()
        progress = system.ask(_progress)
        if time.monotonic() - said_at >= PROGRESS_EVERY_S:
            said_at = time.monotonic()
            sys.stderr.write(
                f"{said_at - began:4.0f} s  {progress.done}/{options.jobs} jobs done,"
                f" {len(killer.struck)}/{options.kills} strikes\n"
            )
        settled = progress.done == progress.jobs and not progress.open_calls
        if producing.done() and striking.done() and settled and not _calls_at_sandbox(system):
            return
        time.sleep(LOOK_S)


def _progress(connection: Connection) -> _Progress:
    return _Progress(*connection.execute(PROGRESS).one())


def _calls_at_sandbox(system: System) -> int:
    return int(system.control_json("/stats?seconds=1")["in_flight"])


def _write_events(directory: Path, killer: Killer, orders: Orders, system: System) -> None:
    events = {
        "struck": [asdict(strike) for strike in sorted(killer.struck, key=lambda strike: strike.at_s)],
        "placed": [asdict(order) for order in orders.placed],
        "ended by themselves": system.ended,
    }
    (directory / "events.json").write_text(json.dumps(events, indent=1))
