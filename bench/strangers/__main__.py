"""One producer under attack by another: one table. `python -m bench.strangers --help` lists the parts.

Everything runs on this machine with two producers' keys. The attacker is a process of its own. Measured are
the answers to the other producer's `GET /v1/jobs/{id}`, or the end of its own work, beside the same without
the attack.
"""

import argparse
from collections.abc import Callable

from bench.strangers import requests, work
from bench.strangers.rig import Rig, rig
from bench.strangers.row import Row
from bench.table import head, put, say

PARTS: dict[str, Callable[[Rig], list[Row]]] = {
    "json": requests.json,
    "uploads": requests.uploads,
    "streams": requests.streams,
    "waits": requests.waits,
    "keys": requests.wrong_keys,
    "cancels": requests.cancels,
    "sources": work.silent_sources,
    "webhooks": work.silent_receivers,
    "manifest": work.dripping_manifest,
    "list": work.long_list,
}


def main() -> None:
    """Measure what is asked for, and print a row for each figure."""
    parser = argparse.ArgumentParser(prog="python -m bench.strangers", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"any of {', '.join(PARTS)} [default: all]")
    parser.add_argument("--rows", type=int, default=1_000_000, help="jobs of a batch to cancel [%(default)s]")
    asked = parser.parse_args()
    if strange := set(asked.parts) - PARTS.keys():
        parser.error(f"no part is called {', '.join(sorted(strange))}; there are {', '.join(PARTS)}")
    put(head("What", "Alone", "Attacked", "Goal", ""))
    for part in asked.parts or PARTS:
        say(f"strangers: {part}")
        with rig(asked.rows if part == "cancels" else 0) as running:
            put(map(str, PARTS[part](running)))


if __name__ == "__main__":
    main()
