import re

import pytest
from sqlalchemy import Engine, text

from cutout.enums import Forms
from cutout.ingest import ReadOptions
from cutout.outputs.options import RequestedOutputs
from cutout.schedules.definition import Options
from tests.cli.command import Cutout, Ran

NIGHTLY = ("--source", "s3://studio-drop/", "--cron", "15 1 * * *", "--tz", "Europe/Paris")


def add(cutout: Cutout, *more: str, name: str = "nightly") -> Ran:
    return cutout("schedule", "add", name, *NIGHTLY, *more)


def row(engine: Engine) -> dict[str, object]:
    with engine.connect() as connection:
        return dict(connection.execute(text("SELECT * FROM schedules")).mappings().one())


class TestAdd:
    def test_keeps_what_was_ordered_and_says_when_it_fires(self, cutout: Cutout, engine: Engine) -> None:
        """Every option; the next run in UTC and local time."""
        ran = add(
            cutout,
            *("--window", "01:00-06:00", "--at-window-end", "run-on", "--budget", "5000"),
            *("--month-budget", "90000", "--overlap", "queue", "--catch-up", "all", "--jitter", "600"),
            *("--grace", "900", "--return-form", "whiteBK", "--return-form", "mask", "--priority", "normal"),
            *("--weight", "2", "--no-reuse", "--map", 'source="Image URL"', "--encoding", "cp1252", "--keys"),
            *("--min-source-share", "0.8"),
        )
        assert ran.code == 0, ran.stderr
        first, upcoming = ran.stdout.splitlines()
        assert re.fullmatch(r"schedule [0-9a-f-]{36}  nightly", first)
        assert re.fullmatch(
            r"\d{4}-\d\d-\d\d \d\d:15:00 UTC  \w{3} \d{4}-\d\d-\d\d 01:15:00 CES?T  begins .* UTC", upcoming
        )
        kept = row(engine)
        assert [str(kept[name]) for name in ("source", "cron", "zone", "window_start", "window_end")] == [
            "s3://studio-drop/",
            "15 1 * * *",
            "Europe/Paris",
            "01:00:00",
            "06:00:00",
        ]
        ordered = ("at_window_end", "run_budget", "month_budget", "overlap", "catch_up", "jitter_seconds")
        assert [kept[name] for name in ordered] == ["run_on", 5000, 90000, "queue", "all", 600]
        assert (kept["grace_seconds"], kept["min_source_share"], kept["producer_id"]) == (900, 0.8, None)
        assert kept["options"] == {
            "forms": ["whiteBK", "mask"],
            "priority": 1,
            "weight": 2.0,
            "reuse": False,
            "columns": {"source": "Image URL"},
            "encoding": "cp1252",
            "keys": True,
            "foreign": False,
        }

    def test_takes_a_directory_by_its_whole_name(self, cutout: Cutout, engine: Engine) -> None:
        """Whoever reads it at night stands somewhere else; one that is not here is mentioned."""
        ran = cutout("schedule", "add", "drop", "--source", "drop", "--cron", "0 0 * * *")
        assert ran.code == 0
        assert row(engine)["source"] == str(cutout.directory / "drop")
        assert "is not on this machine" in ran.stderr

    @pytest.mark.parametrize(
        ("wrong", "says"),
        [
            (("--cron", "0 0 30 2 *"), "the cron expression '0 0 30 2 *' never fires"),
            (("--cron", "nightly"), "write one like '15 1 * * *'"),
            (("--tz", "Europe/Pariss"), "the time zone 'Europe/Pariss' does not exist"),
            (("--window", "01:00-01:00"), "the window '01:00-01:00' is empty"),
            (("--window", "1-6"), "write one like 01:00-06:00"),
            (("--source", "ftp://studio/drop"), "the source 'ftp://studio/drop' is no https:// address"),
            (("--source", "s3://"), "names no bucket; write s3://bucket/prefix"),
            (("--source", "https://me:secret@shop.example/"), "without a user or password"),
            (("--jitter", "90000"), "the jitter of 90000 s is not less than"),
            (("--at-window-end", "stop"), "'stop' is not one of wait, run-on"),
            (("--priority", "urgent"), "'urgent' is not one of"),
            (("--map", "nonsense"), "is not target=column"),
            (
                ("--budget", "3000000000"),
                "budget is 3000000000, which is out of bounds; use 0 to 2147483647",
            ),
        ],
    )
    def test_refuses_what_can_never_work(
        self, cutout: Cutout, engine: Engine, wrong: tuple[str, str], says: str
    ) -> None:
        """One line with the value and the remedy, and nothing is kept."""
        ran = add(cutout, *wrong)
        assert (ran.code, ran.stdout) == (2, "")
        assert says in ran.stderr
        assert len(ran.stderr.splitlines()) == 1
        with engine.connect() as connection:
            assert connection.execute(text("SELECT count(*) FROM schedules")).scalar_one() == 0

    def test_refuses_a_name_that_is_taken(self, cutout: Cutout) -> None:
        """Until that one is removed."""
        add(cutout)
        ran = add(cutout)
        assert (ran.code, ran.stdout) == (2, "")
        assert ran.stderr == ("a schedule 'nightly' already exists; remove it first or choose another name\n")
        assert cutout("schedule", "remove", "nightly").stdout == "nightly is removed\n"
        assert add(cutout).code == 0


class TestNext:
    def test_shows_ten_runs_in_both_times(self, cutout: Cutout) -> None:
        """A day apart by the clock of the zone."""
        add(cutout)
        lines = cutout("schedule", "next", "nightly").stdout.splitlines()
        assert len(lines) == 10
        for line in lines:
            assert re.fullmatch(
                r"\d{4}-\d\d-\d\d (00|23):15:00 UTC  \w{3} \d{4}-\d\d-\d\d 01:15:00 CES?T", line
            )
        assert len({line.split()[4] for line in lines}) == 10

    def test_of_no_schedule_says_so(self, cutout: Cutout) -> None:
        """An unknown name is wrong usage."""
        ran = cutout("schedule", "next", "weekly")
        assert (ran.code, ran.stderr) == (
            2,
            "there is no schedule 'weekly'; see `cutout schedule list`\n",
        )


class TestALifeOfASchedule:
    def test_is_listed_paused_resumed_run_and_removed(self, cutout: Cutout, engine: Engine) -> None:
        """Each command says what it did; what changes nothing is exit code 1."""
        add(cutout, "--window", "01:00-06:00", "--budget", "5000")
        line = cutout("schedule", "list").stdout
        schedule_id = line.split()[0]
        assert "nightly" in line
        assert "15 1 * * * Europe/Paris" in line
        assert cutout("schedule", "pause", "nightly").stdout.startswith("nightly is paused")
        assert cutout("schedule", "pause", "nightly").code == 1
        assert "paused since 20" in cutout("schedule", "list").stdout
        assert cutout("schedule", "resume", schedule_id[:8]).stdout.startswith("nightly continues\n20")
        assert cutout("schedule", "resume", "nightly").code == 1
        assert "is fired" in cutout("schedule", "run", "nightly", "--accept-shrunk").stdout
        with engine.connect() as connection:
            (run,) = connection.execute(text("SELECT state, accept_shrunk_source FROM runs")).all()
        assert tuple(run) == ("waiting", True)
        shown = cutout("schedule", "show", "nightly").stdout
        for words in (
            "source    s3://studio-drop/",
            "window    01:00-06:00; what is left waits for the next one",
            "budget    5,000 credits a run",
            "waiting",
            "it was run by hand",
        ):
            assert words in shown
        assert cutout("schedule", "remove", "nightly").code == 0
        assert cutout("schedule", "list").stdout == ""
        assert cutout("schedule", "show", "nightly").code == 2

    def test_skips_its_next_run_and_takes_it_back(self, cutout: Cutout, engine: Engine) -> None:
        """Each once, with what the next runs are then; a paused one has none."""
        cutout("schedule", "add", "nightly", "--source", "s3://b/p/", "--cron", "15 1 * * *")
        skipped = cutout("schedule", "skip", "nightly", "--reason", "stock-taking")
        assert (skipped.code, skipped.stdout.count("skipped")) == (0, 2)
        assert "  skipped" in cutout("schedule", "show", "nightly").stdout
        assert cutout("schedule", "skip", "nightly").code == 1
        with engine.connect() as connection:
            by = "SELECT skips_by_operator, (SELECT options ->> 'side' FROM actions WHERE kind = 'skip_run')"
            skipped_by = connection.execute(text(f"{by} FROM schedules")).one()
        assert tuple(skipped_by) == (True, "paused_by_operator_at")
        back = cutout("schedule", "skip", "nightly", "--undo")
        assert (back.code, "starts" in back.stdout, "skipped" in back.stdout) == (0, True, False)
        assert cutout("schedule", "skip", "nightly", "--undo").code == 1
        cutout("schedule", "pause", "nightly")
        refused = cutout("schedule", "skip", "nightly")
        assert (refused.code, "it has no next run" in refused.stderr) == (1, True)
        assert "stock-taking" in cutout("actions").stdout

    def test_shows_what_its_runs_came_to(self, cutout: Cutout, engine: Engine) -> None:
        """Counts, credits and the batch; why one failed."""
        add(cutout)
        assert "no run yet" in cutout("schedule", "show", "nightly").stdout
        with engine.begin() as connection:
            connection.execute(
                text(
                    "WITH s AS (SELECT id FROM schedules), b AS ("
                    " INSERT INTO batches (name) VALUES ('b') RETURNING id)"
                    " INSERT INTO runs (schedule_id, fire_at, due_at, state, batch_id, note, counts,"
                    " started_at, finished_at) SELECT s.id, '2026-06-01 23:15+00', '2026-06-01 23:15+00',"
                    " 'failed', b.id, 'no job succeeded', CAST(:counts AS jsonb), now() - interval '70 s',"
                    " now() FROM s, b"
                ),
                {"counts": '{"jobs": 2, "failed": 2, "credits": 1, "unchanged": 9}'},
            )
        last, why = cutout("schedule", "show", "nightly").stdout.splitlines()[-2:]
        assert last.startswith(
            "2026-06-01 23:15:00 UTC  failed        2 jobs, 9 unchanged, 2 failed, 1 credit, 1 min 10 s,"
        )
        assert why == "  no job succeeded"


class TestTheDoctor:
    @pytest.mark.usefixtures("bucket")
    def test_names_a_schedule_that_is_late(self, cutout: Cutout, engine: Engine) -> None:
        """A red line with the next step and exit code 1; without lateness a green one."""
        add(cutout)
        assert "ok     schedules     ok" in cutout("doctor").stdout.splitlines()
        with engine.begin() as connection:
            connection.execute(
                text(
                    "UPDATE schedules SET next_fire_at = '2026-06-01 23:15+00',"
                    " next_due_at = '2026-06-01 23:15+00'"
                )
            )
        ran = cutout("doctor")
        assert ran.code == 1
        late = "wrong  schedules     nightly: the run of 2026-06-01 23:15:00 UTC has not fired"
        said = ran.stdout.splitlines()
        remedy = "                     next: start `cutout dispatcher`, or see its log"
        assert said[said.index(late) + 1] == remedy


def test_a_schedule_reads_as_an_ingest_would(cutout: Cutout, engine: Engine) -> None:
    """Its options for manifests and files are kept, and asked of every run; those not given are not."""
    words = ("--delimiter", "tab", "--many", "--exclude", "old", "--exclude", "*.gif")
    for name, more in (("plain", ()), ("full", (*words, "--forms", "bought", "--sent-size"))):
        source = ("--source", "https://shop.example/m.csv", "--cron", "@daily")
        assert cutout("schedule", "add", name, *source, *more).code == 0
    with engine.connect() as connection:
        kept = {
            row.name: row.options for row in connection.execute(text("SELECT name, options FROM schedules"))
        }
    reading = Options.of(kept["full"]).ingest_options("n").reading
    assert (reading.delimiter, reading.many, reading.exclude) == ("\t", True, ("old", "*.gif"))
    assert "many" not in kept["plain"]
    outputs = [Options.of(kept[name]).outputs for name in ("plain", "full")]
    assert outputs == [RequestedOutputs(), RequestedOutputs(Forms.BOUGHT, full_size=False)]
    assert "  outputs   forms bought, sent size\n" in cutout("schedule", "show", "full").stdout
    assert Options.of(kept["plain"]).ingest_options("n").reading == ReadOptions()
