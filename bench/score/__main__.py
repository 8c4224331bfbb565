"""Table of what the suspicion score catches on photos and drawn scenes, and its time beside a resize."""

import statistics
import time
from collections.abc import Callable
from functools import partial

from PIL import Image

from bench.score.breaking import WAYS
from bench.score.photos import FIRST_SIX, OTHER_SIX, Cutout, cutouts
from bench.score.rating import Rating, rate
from bench.score.scenes import scenes
from bench.table import Figure, figures, head, line, put, say
from cutout.outputs.score.rules import SCORE_VERSION
from cutout.outputs.score.small_copy import SIDE
from cutout.outputs.score.suspicion import suspicion

GOAL = 0.85
ROUNDS = 7


def main() -> None:
    """Print the tables. The goals are those of the other six."""
    first, others = list(cutouts(FIRST_SIX)), list(cutouts(OTHER_SIX))
    drawn = [Cutout(name, picture, alpha, "good") for name, picture, alpha in scenes()]
    put([f"Score version {SCORE_VERSION}.", ""])
    ratings = {
        "first six, thresholds set on them": rate(first),
        "other six": rate(others),
        "eight drawn scenes": rate(drawn),
    }
    _print_ways(ratings)
    _say_flags(ratings)
    put(["", *figures([*_goals(ratings["other six"]), *_times(first + others)])])


def _goals(measured: Rating) -> list[Figure]:
    share, alarms = measured.caught_in_all / measured.broken_in_all, len(measured.false_alarms)
    return [
        Figure("broken ones of the other six that are flagged", f"{share:.0%}", f"{GOAL:.0%}", share >= GOAL),
        Figure("false alarms among the good ones of the other six", f"{alarms}", "0", alarms == 0),
    ]


def _print_ways(ratings: dict[str, Rating]) -> None:
    put(head("Broken", *ratings))
    for way in WAYS:
        put(line(way, *(f"{one.caught[way]} of {one.size}" for one in ratings.values())))
    totals = (
        f"{one.caught_in_all} of {one.broken_in_all}, {one.caught_in_all / one.broken_in_all:.0%}"
        for one in ratings.values()
    )
    put(line("**all**", *totals))
    put(line("false alarms", *(len(one.false_alarms) for one in ratings.values())))


def _say_flags(ratings: dict[str, Rating]) -> None:
    for name, rating in ratings.items():
        flagged = f"{_list(rating.false_alarms)} (good), {_list(rating.flagged_faults)} (faulty)"
        say(f"{name}: flagged as they are: {flagged}; missed: {_list(rating.missed)}")


def _times(photos: list[Cutout]) -> list[Figure]:
    ours, plain = [], []
    for photo in photos:
        ours.append(_cpu_ms(partial(suspicion, photo.picture, photo.alpha)))
        plain.append(_cpu_ms(partial(photo.picture.resize, (SIDE, SIDE), Image.Resampling.LANCZOS)))
    score, resize = statistics.median(ours), statistics.median(plain)
    return [
        Figure(f"CPU of a picture, median of {len(photos)}", f"{score:.1f} ms, {max(ours):.1f} ms at most"),
        Figure(
            f"… beside a Pillow resize of it to {SIDE}x{SIDE} pixels, {resize:.1f} ms",
            f"{score / resize:.1f} times",
        ),
    ]


def _cpu_ms(work: Callable[[], object]) -> float:
    """Least CPU milliseconds of several rounds: those that other work disturbed least."""
    shortest = float("inf")
    for _ in range(ROUNDS):
        began = time.process_time()
        work()
        shortest = min(shortest, time.process_time() - began)
    return shortest * 1000


def _list(names: list[str]) -> str:
    return "; ".join(names) or "none"


if __name__ == "__main__":
    main()
