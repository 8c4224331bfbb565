"""The console's screens with a million jobs, of which 50 change a second, while 20 viewers look.

The API is one process, as `cutout api` runs it; viewers and changes are of another on the same machine.
"""

import argparse
import asyncio
import os
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench.console import beside, tabs
from bench.console.cost import BENCH, Cost, Meter
from bench.console.filling import PRODUCER, Filled, fill
from bench.console.pages import Screens, each_alone, screens_of, slowest, walk
from bench.polling.changes import Changes
from bench.polling.parts import p95
from bench.polling.serving import served
from bench.table import Figure, figures, head, line, put, say, verdict
from console.assets import FOLDER, Assets
from console.live import MOST_STREAMS
from cutout.models.database import connect
from cutout.queue.signals import SignalSender
from cutout.settings import read_settings
from cutout.storage import Bucket
from local import LocalServices
from migrations.run import upgrade

A_SECOND = 50
FIRST_BYTE_MS, MOST_KB, MOST_SHARE, MOST_TIMES, MOST_LINES = 100, 60, 2, 1.2, 500
NAMES = (
    "Screen",
    "Alone: p50, ms",
    "CPU of the API, ms",
    "CPU of Postgres, ms",
    "HTML, kB",
    "With viewers: p50, ms",
    "p95, ms",
    "Goal, ms",
    "",
)
PARTS = ("screens", "beside", "tabs")


def main() -> None:
    """Print the tables of bench/README.md."""
    parser = argparse.ArgumentParser(prog="python -m bench.console", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"any of {', '.join(PARTS)} [default: all]")
    parser.add_argument("--rows", type=int, default=1_000_000, help="jobs [%(default)s]")
    parser.add_argument("--viewers", type=int, default=20, help="viewers at once [%(default)s]")
    parser.add_argument("--seconds", type=float, default=90, help="duration of their walks [%(default)s]")
    asked = parser.parse_args()
    if strange := set(asked.parts) - set(PARTS):
        parser.error(f"no part is called {', '.join(sorted(strange))}; there are {', '.join(PARTS)}")
    with tempfile.TemporaryDirectory() as directory, LocalServices(Path(directory)) as services:
        os.environ |= {
            **services.environment(),
            "CUTOUT_S3_BUCKET": "bench-console",
            # A few keys ask for all.
            "CUTOUT_API_REQUESTS_PER_SECOND": "10000",
        }
        _measure(asked)


def _measure(asked: argparse.Namespace) -> None:
    settings = read_settings()
    engine = connect(settings.database_url.get_secret_value(), connections=3, name=BENCH)
    upgrade(engine)
    Bucket(settings).create()
    say("console: filling")
    filled = fill(engine, asked.rows)
    signals, parts = SignalSender(settings), asked.parts or PARTS
    with (
        served() as (port, pid),
        Changes(engine, iter(filled.waiting), a_second=A_SECOND),
    ):
        meter, screens = Meter(engine, pid), screens_of(filled)
        if "screens" in parts:
            asyncio.run(_look(port, filled, meter, screens, asked))
            put(_table(screens))
            put("")
        found: list[Figure] = []
        if "screens" in parts:
            found += _sizes(screens)
        if "beside" in parts:
            found += asyncio.run(beside.figures_of(port, filled, asked.viewers, MOST_TIMES))
        if "tabs" in parts:
            found += asyncio.run(_tabs(port, filled, meter, signals))
        put(figures(found))
    engine.dispose()


async def _look(port: int, filled: Filled, meter: Meter, screens: Screens, asked: argparse.Namespace) -> None:
    await each_alone(port, filled, meter, screens)
    say(f"console: {asked.viewers} viewers")
    await walk(port, filled, screens, viewers=asked.viewers, seconds=asked.seconds)


def _table(screens: Screens) -> Iterator[str]:
    load = " ".join(f"{each:.0f}" for each in os.getloadavg())
    yield f"Load average {load} after it, {os.cpu_count()} cores:"
    yield ""
    yield head(*NAMES)
    for screen in screens.values():
        walked = [seconds * 1000 for seconds in screen.walked]
        cost, name = screen.cost, f"{screen.name}{' (producer)' if screen.viewer == PRODUCER else ''}"
        cells = [name, f"{statistics.median(screen.alone) * 1000:.1f}"]
        cells += [f"{cost.api * 1000:.1f}", f"{cost.postgres * 1000:.1f}", f"{screen.size / 1000:.1f}"]
        worst = p95(walked) if len(walked) > 1 else 0.0
        cells += [f"{statistics.median(walked):.1f}" if walked else "", f"{worst:.0f}"]
        yield line(*cells, FIRST_BYTE_MS, verdict(worst < FIRST_BYTE_MS))


def _sizes(screens: Screens) -> Iterator[Figure]:
    every = [seconds * 1000 for walked in slowest(screens).values() for seconds in walked]
    if len(every) > 1:
        worst = p95(every)
        text, goal = f"first byte of all screens together, {len(every):,} pages: p95", f"{FIRST_BYTE_MS} ms"
        yield Figure(text, f"{worst:.0f} ms", goal, worst < FIRST_BYTE_MS)
    assets = sum(len(asset.packed) for asset in Assets().files)
    largest = (max(screen.size for screen in screens.values()) + assets) / 1000
    yield Figure("largest screen: HTML, CSS and JS", f"{largest:.1f} kB", f"{MOST_KB} kB", largest <= MOST_KB)
    lines = sum(len(path.read_text().splitlines()) for path in FOLDER.glob("*.js"))
    yield Figure("lines of JavaScript", f"{lines}", f"{MOST_LINES}", lines <= MOST_LINES)


async def _tabs(port: int, filled: Filled, meter: Meter, signals: SignalSender) -> list[Figure]:
    goal = f"{MOST_SHARE}% of a core"
    say("console: tabs")
    await tabs.hide(port, filled)
    rows = [_share(f"{tabs.HIDDEN:,} hidden tabs", await tabs.idle(meter), goal)]
    signalled = f"{tabs.SIGNALS_A_SECOND} signals a second"
    for only, sent, when in (
        (None, None, "on all screens in turn, no signals"),
        (None, signals, f"on all screens in turn, {signalled}"),
        ("Batch, open", signals, f"on one open batch, {signalled}"),
    ):
        say(f"console: tabs, {when}")
        found = await tabs.watch(port, filled, meter, sent, only=only)
        every = f"a tab is sent something each {1 / found.events:.1f} s"
        rows.append(_share(f"and {MOST_STREAMS} visible ones {when}; {every}", found.cost, goal))
    return rows


def _share(name: str, cost: Cost, goal: str) -> Figure:
    share = f"{cost.api * 100:.1f}%, Postgres {cost.postgres * 100:.1f}%"
    return Figure(name, share, goal, cost.api * 100 < MOST_SHARE)


if __name__ == "__main__":
    main()
