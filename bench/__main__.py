"""Run the benches one after the other, and write their tables into bench/README.md.

Each prints its tables with their goals; what it is doing goes to standard error. A bench that fails is named
at the end, the others run all the same, and the exit code is 1. A goal that is missed is said, and is no
failure: the exit code is 0. Ctrl-C stops; tables that are complete by then are written.

Run nothing else beside it, or compare only what one table says in turn.
"""

import argparse
import sys
from dataclasses import replace

from bench import readme
from bench.registry import BENCHES, Bench
from bench.run import Outcome, run
from bench.table import put, say

EXAMPLES = """
examples:
  python -m bench                      all of them, and write bench/README.md
  python -m bench interactive again    these two
  python -m bench --quick              all with small sizes, in some minutes; writes nothing
  python -m bench --list               what there is, and how long each takes
  python -m bench.cpu_per_job --help   sizes of one bench; run that way it writes nothing
"""


def main() -> None:
    """Run what is asked for; exit with 1 if a bench fails."""
    options = _options()
    if options.list:
        put(_list())
        return
    try:
        outcomes = [_run(bench, quick=options.quick) for bench in options.benches or BENCHES]
    except KeyboardInterrupt:
        say("stopped")
        sys.exit(130)
    sys.exit(_summarize(outcomes))


def _run(bench: Bench, *, quick: bool) -> Outcome:
    size = "small sizes" if quick else f"some {bench.minutes:g} min"
    say(f"{bench.name}: {bench.about}, {size}")
    put(f"\n## {bench.name}: {bench.about}\n")
    outcome = run(bench, bench.quick if quick else bench.options, put)
    if outcome.fault:
        say(f"{bench.name} failed: {outcome.fault}")
        return outcome
    put(f"\n{outcome.stamp}")
    try:
        if not quick:
            readme.write(bench, [outcome.stamp, "", *outcome.lines])
    except readme.ReadmeError as error:
        say(f"{bench.name} failed: {error}")
        return replace(outcome, fault=str(error))
    return outcome


def _summarize(outcomes: list[Outcome]) -> int:
    failed = [one for one in outcomes if one.fault]
    for one in outcomes:
        if one.missed and not one.fault:
            say(f"{one.bench.name} misses {one.missed} of its goals")
    for one in failed:
        say(f"{one.bench.name} failed: {one.fault}")
    say(f"{len(outcomes) - len(failed)} of {len(outcomes)} benches measured")
    return 1 if failed else 0


def _list() -> list[str]:
    lines = [f"{bench.name:13} {bench.minutes:4g} min  {bench.about}" for bench in BENCHES]
    return [*lines, f"{'all':13} {sum(bench.minutes for bench in BENCHES):4g} min, on two idle cores"]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    named = {bench.name: bench for bench in BENCHES}
    parser.add_argument("names", nargs="*", metavar="BENCH", help=f"any of {', '.join(named)} [default: all]")
    parser.add_argument("--quick", action="store_true", help="small sizes; bench/README.md is not written")
    parser.add_argument("--list", action="store_true", help="list the benches and their minutes")
    options = parser.parse_args()
    if strange := [name for name in options.names if name not in named]:
        parser.error(f"no bench is called {', '.join(strange)}; there are {', '.join(named)}")
    options.benches = [named[name] for name in options.names]
    return options


if __name__ == "__main__":
    main()
