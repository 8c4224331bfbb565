"""What to run: the command line of `python -m tests.soak`."""

import argparse
from dataclasses import dataclass
from pathlib import Path

SECONDS = 60.0
SHORTEST_LIFETIME_S = 40.0
# The rest of the time goes to jobs that wait, for a breaker, a backoff or a server that is away.
SHARE_OF_THE_TIME_FOR_CALLS = 0.65


@dataclass(frozen=True)
class Options:
    """A soak of about `minutes`; `directory` keeps what is otherwise removed when all promises were kept."""

    minutes: float = 5.0
    jobs: int = 3000
    kills: int = 60
    seed: int = 1
    directory: Path | None = None

    @property
    def seconds(self) -> float:
        """How long the load and the strikes last."""
        return self.minutes * SECONDS

    @property
    def calls_per_second(self) -> float:
        """The pace at which the load lasts most of the time."""
        return self.jobs / (SHARE_OF_THE_TIME_FOR_CALLS * self.seconds)

    @property
    def result_lifetime_s(self) -> float:
        """How long a result lives: a minute or so instead of a day, so that a late copy shows."""
        return max(SHORTEST_LIFETIME_S, self.seconds / 5)

    @property
    def command(self) -> str:
        """What repeats this run."""
        return (
            f"python -m tests.soak --minutes {self.minutes:g} --jobs {self.jobs}"
            f" --kills {self.kills} --seed {self.seed}"
        )


def parse(command_line: list[str] | None = None) -> Options:
    """Read the command line; ends the process with a message if it is wrong."""
    default = Options()
    parser = argparse.ArgumentParser(
        prog="python -m tests.soak",
        description="Run many jobs through 4 worker processes while a seeded killer strikes at random, then"
        " print one table. Exit code 1 if a promise was broken: then one line for each, and the logs stay.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--minutes", type=_positive, default=default.minutes, help="how long the load lasts")
    parser.add_argument("--jobs", type=_count, default=default.jobs, help="how many jobs")
    parser.add_argument(
        "--kills",
        type=_count,
        default=default.kills,
        help="strikes on processes and servers; as many orders to sandbox and broker come on top",
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
