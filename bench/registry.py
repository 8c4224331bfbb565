"""Every bench that `python -m bench` runs: its module, sizes and the time it takes."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bench:
    """A module that prints tables as Markdown on its standard output, and exits with 0 unless it fails.

    `name` is that of its markers in `page`, a file of this folder. `options` are the words behind the module
    for the sizes in that file, `quick` those for small ones. `minutes` are those of the former on two idle
    cores.
    """

    name: str
    about: str
    module: str
    minutes: float
    options: tuple[str, ...] = ()
    quick: tuple[str, ...] = ()
    page: str = "README.md"

    @property
    def command(self) -> str:
        return " ".join(("python -m", self.module, *self.options))


BENCHES = (
    Bench(
        "cpu_per_job",
        "CPU per job beside a bare loop and a plain Celery worker",
        "bench.cpu_per_job",
        5,
        quick=("--jobs", "60", "--decoded", "10", "--rounds", "1"),
    ),
    Bench(
        "interactive",
        "an interactive job beside the bare sequence of its steps",
        "bench.interactive",
        2,
        quick=("--jobs", "10"),
    ),
    Bench(
        "preparation",
        "prepared pictures beside a colour-managed decode",
        "bench.preparation",
        4,
        quick=("--every", "25"),
    ),
    Bench("score", "what the suspicion score catches", "bench.score", 2),
    Bench(
        "renditions",
        "an output of each preset beside a plain resize",
        "bench.renditions",
        1,
        quick=("--rounds", "1"),
    ),
    Bench(
        "outputs",
        "full resolution on drawn scenes",
        "bench.outputs",
        12,
        quick=("--quick",),
        page="outputs/README.md",
    ),
    Bench(
        "snapshot",
        "dispatch and settling beside an old snapshot",
        "bench.snapshot",
        2.5,
        quick=("--jobs", "2000"),
    ),
    Bench(
        "strangers",
        "one producer under attack by another",
        "bench.strangers",
        8,
        quick=("keys", "json"),
    ),
    Bench(
        "ingest",
        "a catalog of a million rows beside a bare COPY",
        "bench.ingest",
        3,
        quick=("--rows", "20000"),
    ),
    Bench(
        "again",
        "a catalog whose pictures were all bought before",
        "bench.again",
        2,
        quick=("--rows", "500"),
    ),
    Bench(
        "again_web",
        "the same, of pictures on the web that did not change",
        "bench.again_web",
        2,
        quick=("--rows", "500"),
    ),
    Bench(
        "results",
        "results as files beside a bare COPY",
        "bench.results",
        7,
        quick=("--rows", "20000"),
    ),
    Bench(
        "limit",
        "the endpoint's limit under load",
        "bench.limit",
        25,
        quick=("newcomer",),
    ),
    Bench(
        "failover",
        "schedules whose leading dispatcher is killed again and again",
        "bench.schedules",
        6,
        options=("failover",),
        quick=("failover", "--schedules", "20", "--seconds", "20"),
    ),
    Bench(
        "unchanged",
        "a night without changes beside a bare listing",
        "bench.schedules",
        3,
        options=("unchanged",),
        quick=("unchanged", "--objects", "3000"),
    ),
    Bench(
        "polling",
        "polling a million jobs",
        "bench.polling",
        5,
        quick=("--rows", "20000", "job", "pages"),
    ),
    Bench(
        "console",
        "the console's screens with a million jobs",
        "bench.console",
        12,
        quick=("--rows", "20000", "--seconds", "10", "screens"),
    ),
    Bench(
        "forms",
        "all forms of one purchase",
        "bench.forms",
        8,
        quick=("--pictures", "60"),
    ),
)
