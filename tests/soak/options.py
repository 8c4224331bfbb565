"""Options: the command line of `python -m tests.soak`."""

import argparse
from dataclasses import dataclass
from pathlib import Path

SECONDS = 60.0
SHORTEST_LIFETIME_S = 40.0
# What a machine of two cores bears: jobs a second with all else that goes on, and seconds between strikes.
JOBS_PER_SECOND = 16.0
STRIKE_EVERY_S = 5.0
# The rest of the time goes to jobs that wait, for a breaker, a backoff or a server that is away.
SHARE_OF_THE_TIME_FOR_CALLS = 0.65


@dataclass(frozen=True)
class Options:
    """A soak of about `minutes`, by default of as many as jobs and kills need.

    `directory` keeps what is otherwise removed when all promises were kept.
    """

    minutes: float | None = None
    jobs: int = 3000
    kills: int = 60
    seed: int = 1
    directory: Path | None = None

    @property
    def seconds(self) -> float:
        """Duration of the load and of the strikes."""
        if self.minutes is not None:
            return self.minutes * SECONDS
        return max(self.jobs / JOBS_PER_SECOND, self.kills * STRIKE_EVERY_S)

    @property
    def calls_per_second(self) -> float:
        """The pace at which the load lasts most of the time."""
        return self.jobs / (SHARE_OF_THE_TIME_FOR_CALLS * self.seconds)

    @property
    def result_lifetime_s(self) -> float:
        """Lifetime of a result: a minute or so instead of a day, so that a late copy shows."""
        return max(SHORTEST_LIFETIME_S, self.seconds / 5)

    @property
    def command(self) -> str:
        """The command that repeats this run."""
        minutes = "" if self.minutes is None else f" --minutes {self.minutes:g}"
        return f"python -m tests.soak{minutes} --jobs {self.jobs} --kills {self.kills} --seed {self.seed}"


def parse(command_line: list[str] | None = None) -> Options:
    """Read the command line; ends the process with a message if it is wrong."""
    default = Options()
    parser = argparse.ArgumentParser(
        prog="python -m tests.soak",
        description="Run many jobs through 4 worker processes while a seeded killer strikes at random and an"
        " operator orders, pauses, raises, approves and cancels, then print one table. Exit code 1 if a"
        " promise was broken: then one line for each, and the logs stay.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "--minutes", type=_positive, help="how long the load lasts [what jobs and kills need]"
    )
    parser.add_argument("--jobs", type=_count, default=default.jobs, help="how many jobs")
    parser.add_argument(
        "--kills",
        type=_count,
        default=default.kills,
        help="strikes on processes, servers and lines; as many orders to sandbox and broker come on top, and"
        " as many acts of the operator",
    )
    parser.add_argument("--seed", type=int, default=default.seed, help="of the times and kinds of strikes")
    parser.add_argument(
        "--directory", type=Path, help="an empty place for data and logs, which stay; else a temporary one"
    )
    return Options(**vars(parser.parse_args(command_line)))


def _positive(text: str) -> float:
    number = float(text)
    if not number > 0:
        raise argparse.ArgumentTypeError(f"{text} is not more than 0")
    return number


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return number
