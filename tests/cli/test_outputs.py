"""Outputs as the commands show them and wait for them."""

import csv
from collections.abc import Callable

import pytest
from sqlalchemy import Engine

from cutout.enums import OutputState
from tests.cli.command import Cutout
from tests.support.fates import DONE, Fates
from tests.support.outputs import (
    job_id_of,
    make_outputs,
    put_output,
    put_renderer,
    put_score,
    wait_at_full_size,
)

MakeBatch = Callable[[str, Fates], str]
MADE, FAILED = OutputState.MADE, OutputState.FAILED


@pytest.fixture
def batch_id(make_batch: MakeBatch, engine: Engine) -> str:
    """Two jobs that have succeeded; pictures at full size and scores are waiting."""
    found = make_batch("b", {"a": DONE, "b": DONE})
    wait_at_full_size(engine)
    return found


class TestTheStatusOfABatch:
    def test_is_3_while_outputs_are_waiting(self, cutout: Cutout, batch_id: str) -> None:
        """Its jobs are done; without a renderer the command says how to start one."""
        ran = cutout("status", batch_id)
        assert ran.code == 3
        assert ran.stdout.splitlines()[1:] == [
            "  outputs: 2 waiting",
            "  scores: 2 waiting",
            "  4 outputs wait: no renderer runs; start one with `cutout renderer`",
        ]

    def test_names_problems_by_rule_and_the_most_suspicious(
        self, cutout: Cutout, engine: Engine, batch_id: str
    ) -> None:
        """A problem is no failure, and a score never is: the exit code is 0."""
        make_outputs(engine)
        fill = "fill: 0.4; at least 0.85"
        put_output(engine, "a", "amazon", MADE, problems=[fill, "size: 10x10 pixels; must be 2000x2000"])
        put_output(engine, "b", "amazon", MADE, problems=[fill])
        put_score(engine, "a", 0.25)
        put_score(engine, "b", 0.75)
        ran = cutout("status", batch_id)
        assert ran.code == 0
        assert ran.stdout.splitlines()[1:] == [
            "  outputs: 4 made; problems: 2 of fill, 1 of size",
            "  which they are: `cutout results`, in the columns NAME_problems",
            "  scores: 2 made",
            "  suspicious b: 0.75 of 1: the product has holes",
        ]

    def test_is_1_if_an_output_failed(self, cutout: Cutout, engine: Engine, batch_id: str) -> None:
        """As for a failed job, with its reason."""
        make_outputs(engine)
        put_output(engine, "a", "amazon", FAILED, code="OUTPUT_TOO_COSTLY", message="no [memory]")
        ran = cutout("status", batch_id)
        assert ran.code == 1
        assert "  outputs: 2 made, 1 failed\n" in ran.stdout
        assert "  failed output amazon of a: OUTPUT_TOO_COSTLY: no [memory]\n" in ran.stdout


def test_the_status_of_a_job_has_a_line_for_each_output(
    cutout: Cutout, engine: Engine, batch_id: str
) -> None:
    """Key and size of what is made, problems, the reason of a failure, and the score."""
    assert batch_id
    put_output(engine, "a", "amazon", MADE, problems=["fill: 0.4; at least 0.85"], note="it is small")
    put_output(engine, "a", "web", FAILED, code="X", message="m")
    put_score(engine, "a", 0.5)
    ran = cutout("status", str(job_id_of(engine, "a")))
    assert ran.stdout.splitlines()[2:] == [
        (
            "  amazon made  cutouts/full.png  40x80 image/png, 99,999 bytes; it is small;"
            " problem: fill: 0.4; at least 0.85"
        ),
        "  rgba waiting",
        "  web failed: X: m",
        "  suspicion 0.50 of 1; the product has holes",
    ]


class TestExplaining:
    def test_says_that_no_renderer_runs(self, cutout: Cutout, engine: Engine, batch_id: str) -> None:
        """With the command that starts one, and the reason of the last try."""
        assert batch_id
        put_output(engine, "a", "rgba", code="OUTPUT_SOURCE_UNAVAILABLE", message="404", tries=1)
        ran = cutout("explain", str(job_id_of(engine, "a")))
        assert ran.stdout.splitlines()[2:4] == [
            (
                "  output rgba waiting: it waits: no renderer runs; a try of at most 3 failed with"
                " OUTPUT_SOURCE_UNAVAILABLE: 404"
            ),
            "    start one: `cutout renderer`",
        ]

    def test_counts_the_outputs_before_it(self, cutout: Cutout, engine: Engine, batch_id: str) -> None:
        """Scores come after all else; two seconds for an output on one process."""
        assert batch_id
        put_renderer(engine, made=10, busy_seconds=20.0)
        put_output(engine, "b", "rgba")
        ran = cutout("explain", str(job_id_of(engine, "b")))
        assert ran.stdout.splitlines()[2:] == [
            "  output rgba waiting: it waits behind 1 other output of its producer, about 2 s",
            "  output score waiting: it waits behind 2 other outputs of its producer, about 4 s",
        ]


class TestResults:
    def test_say_how_many_outputs_are_not_made(self, cutout: Cutout, engine: Engine, batch_id: str) -> None:
        """In the last line, and by the exit code."""
        put_output(engine, "a", "web", FAILED, code="X", message="m")
        ran = cutout("results", batch_id)
        assert (ran.code, ran.stderr) == (
            3,
            "2 rows written; 2 with a cutout; 2 outputs still to be made; 1 output failed\n",
        )
        assert {row["output_state"] for row in csv.DictReader(ran.stdout.splitlines())} == {"waiting"}

    def test_with_an_image_column_need_links_and_the_manifest(self, cutout: Cutout, batch_id: str) -> None:
        """An unknown output is refused with the known ones."""
        ran = cutout("results", batch_id, "--image-column", "rgba")
        assert (ran.code, ran.stdout) == (2, "")
        assert "add --as-input --links" in ran.stderr
        ran = cutout("results", batch_id, "--image-column", "amazon", "--as-input", "--links")
        assert (ran.code, "no output 'amazon'; name one of rgba, mask" in ran.stderr) == (2, True)


class TestRenderAgain:
    @pytest.fixture
    def failed(self, engine: Engine, batch_id: str) -> str:
        """The batch, one of whose outputs has failed."""
        make_outputs(engine)
        put_output(engine, "a", "web", FAILED, code="OUTPUT_TOO_COSTLY", message="m", tries=3)
        return batch_id

    def test_is_named_by_status_and_explain(self, cutout: Cutout, engine: Engine, failed: str) -> None:
        job_id = job_id_of(engine, "a")
        assert f"cutout render {failed} --again" in cutout("status", failed).stdout
        assert f"cutout render {job_id} --again" in cutout("explain", str(job_id)).stdout

    @pytest.mark.parametrize("of", ["batch", "job"])
    def test_lets_failed_outputs_wait_again(
        self, cutout: Cutout, engine: Engine, failed: str, of: str
    ) -> None:
        """Once: then none has failed, and the command says so."""
        identifier = failed if of == "batch" else str(job_id_of(engine, "a"))
        ran = cutout("render", identifier, "--again")
        assert (ran.code, ran.stdout) == (0, "1 failed output to make again, for no credit\n")
        ran = cutout("render", identifier, "--again")
        assert (ran.code, "no output of it has failed" in ran.stderr) == (1, True)

    def test_is_what_to_give_without_outputs(self, cutout: Cutout, failed: str) -> None:
        ran = cutout("render", failed)
        assert (ran.code, "--again" in ran.stderr) == (2, True)


def test_waiting_says_at_once_that_no_renderer_runs(cutout: Cutout, engine: Engine, batch_id: str) -> None:
    """It goes on to wait, and ends once the outputs and scores are final."""
    process = cutout.start("status", batch_id, "--watch")
    assert process.stdout is not None
    assert "4 outputs wait: no renderer runs" in process.stdout.readline()
    assert process.stdout.readline().startswith(
        "2 of 2 done, 0 failed, 0 held, 0 credits; outputs: 0 of 2 done, 0 failed, 2 to score, no renderer"
    )
    make_outputs(engine)
    for name in "ab":
        put_score(engine, name, 0.0)
    ran = cutout.ended(process)
    assert ran.code == 0
    assert "outputs: 2 of 2 done, 0 failed\n" in ran.stdout
