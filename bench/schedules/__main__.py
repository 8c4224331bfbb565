"""`python -m bench.schedules failover` kills who leads; `unchanged` runs a night on which nothing changed."""

import argparse

from bench.schedules import unchanged
from bench.schedules.failover import Sizes, measure


def main() -> None:
    """Print the table of docs/explain/benchmarks.md."""
    parser = argparse.ArgumentParser(prog="python -m bench.schedules", description=__doc__)
    parser.add_argument("part", choices=["failover", "unchanged"])
    parser.add_argument("--dispatchers", type=int, default=3, help="[%(default)s]")
    parser.add_argument("--schedules", type=int, default=200, help="each fires every second [%(default)s]")
    parser.add_argument("--seconds", type=int, default=300, help="[%(default)s]")
    parser.add_argument("--kill-every", type=int, default=10, help="seconds [%(default)s]")
    parser.add_argument("--objects", type=int, default=100_000, help="under the prefix [%(default)s]")
    asked = parser.parse_args()
    if asked.part == "unchanged":
        unchanged.measure(asked.objects)
        return
    rows = measure(Sizes(asked.dispatchers, asked.schedules, asked.seconds, asked.kill_every))
    print("| What | Measured | Goal |")
    print("|---|---|---|")
    for row in rows:
        print(f"| {row.what} | {row.measured} | {row.goal} |")
    if not all(row.reached for row in rows):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
