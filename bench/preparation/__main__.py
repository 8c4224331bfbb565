"""Prepare the whole mixed set and say how far each picture is from what is to be seen."""

import argparse
from itertools import islice

from bench.preparation.difference import MEAN, PERCENTILE_99, Difference, difference
from bench.preparation.pictures import cases
from bench.table import Figure, figures, head, line, put, say

SHOWN = 15


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.preparation", description=__doc__)
    parser.add_argument("--every", type=int, default=1, help="prepare one of so many pictures [%(default)s]")
    found: list[Difference] = []
    for case in islice(cases(), 0, None, parser.parse_args().every):
        found.append(difference(case))
        if not found[-1].is_small:
            say(f"beyond: {found[-1]}")
    mean, percentile = max(one.mean for one in found), max(one.percentile_99 for one in found)
    wrong = sum(not one.is_small for one in found)
    put(
        figures(
            [
                Figure("worst mean of a picture", f"{mean:.2f}", f"{MEAN}", mean <= MEAN),
                Figure(
                    "worst 99th percentile of a picture",
                    f"{percentile:.0f}",
                    f"{PERCENTILE_99}",
                    percentile <= PERCENTILE_99,
                ),
                Figure("pictures beyond either", f"{wrong} of {len(found)}", "0", wrong == 0),
            ]
        )
    )
    put(["", head("The largest differences", "Mean", "99th percentile")])
    for one in sorted(found, key=lambda one: -one.mean)[:SHOWN]:
        put(line(one.name, f"{one.mean:.2f}", f"{one.percentile_99:.0f}"))


if __name__ == "__main__":
    main()
