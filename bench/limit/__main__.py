"""The endpoint's limit under load: one table. `python -m bench.limit --help` lists the parts."""

import argparse
from collections.abc import Callable

from bench.limit import alone, blocked, ceiling, dispatch, many_calls, newcomer, unknown
from bench.table import FIGURES, Figure, head, put, say

PARTS: dict[str, Callable[[], list[Figure]]] = {
    "ceiling": ceiling.measure,
    "ceiling-30": ceiling.idle_30,
    "ceiling-30-busy": ceiling.busy_30,
    "ceiling-100": ceiling.idle_100,
    "alone": alone.measure,
    "unknown": unknown.measure,
    "newcomer": newcomer.measure,
    "dispatch": dispatch.measure,
    "blocked": blocked.measure,
    "many-calls": many_calls.measure,
}


def main() -> None:
    """Measure what is asked for, and print a row for each figure."""
    parser = argparse.ArgumentParser(prog="python -m bench.limit", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"any of {', '.join(PARTS)} [default: all]")
    asked = parser.parse_args().parts or [part for part in PARTS if not part.startswith("ceiling-")]
    if strange := set(asked) - PARTS.keys():
        parser.error(f"no part is called {', '.join(sorted(strange))}; there are {', '.join(PARTS)}")
    put(head(*FIGURES))
    for part in asked:
        say(f"limit: {part}")
        put(map(str, PARTS[part]()))


if __name__ == "__main__":
    main()
