"""`python -m bench.schedules failover` kills who leads; `unchanged` runs a night on which nothing changed."""

import argparse

from bench.schedules import unchanged
from bench.schedules.failover import Sizes, measure
from bench.table import figures, put


def main() -> None:
    """Print the table of the part."""
    parser = argparse.ArgumentParser(prog="python -m bench.schedules", description=__doc__)
    parser.add_argument("part", choices=["failover", "unchanged"])
    parser.add_argument("--dispatchers", type=int, default=3, help="[%(default)s]")
    parser.add_argument("--schedules", type=int, default=200, help="each fires every second [%(default)s]")
    parser.add_argument("--seconds", type=int, default=300, help="[%(default)s]")
    parser.add_argument("--kill-every", type=int, default=10, help="seconds [%(default)s]")
    parser.add_argument("--objects", type=int, default=100_000, help="under the prefix [%(default)s]")
    parser.add_argument("--rounds", type=int, default=3, help="listings and nights in turn [%(default)s]")
    asked = parser.parse_args()
    if asked.part == "unchanged":
        put(figures(unchanged.measure(asked.objects, asked.rounds)))
        return
    put(figures(measure(Sizes(asked.dispatchers, asked.schedules, asked.seconds, asked.kill_every))))


if __name__ == "__main__":
    main()
