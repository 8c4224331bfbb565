"""Prepare the whole mixed set and say how far each picture is from what is to be seen."""

import sys

from bench.preparation.difference import MEAN, PERCENTILE_99, Difference, difference
from bench.preparation.pictures import cases

SHOWN = 15


def main() -> None:
    found: list[Difference] = []
    for case in cases():
        found.append(difference(case))
        if not found[-1].is_small:
            print(f"beyond: {found[-1]}", flush=True)
    wrong = [one for one in found if not one.is_small]
    print(
        f"{len(found)} pictures; beyond {MEAN} levels in the mean or {PERCENTILE_99} at the 99th percentile: "
        f"{len(wrong)}"
    )
    print("\n| picture | mean | 99th percentile |\n|---|---|---|")
    for one in sorted(found, key=lambda one: -one.mean)[:SHOWN]:
        print(f"| {one.name} | {one.mean:.2f} | {one.percentile_99:.0f} |")
    print(
        f"worst mean {max(one.mean for one in found):.2f}, "
        f"worst percentile {max(one.percentile_99 for one in found):.0f}"
    )
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
