"""Error texts for producers name their own values, and nothing of the installation."""

import uuid

import pytest

from cutout.enums import State
from cutout.models import Job
from cutout.status.explanation import Explanation
from cutout.status.producer_texts import (
    INTERNAL,
    NOTHING_LEFT,
    STOPPED,
    for_producer,
    payload_for_producer,
    text_for_producer,
)


class TestProducersWords:
    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("line 3 has no address; give one", "line 3 has no address; give one"),
            (
                "shop is asked by plain http; use https, or name it in CUTOUT_SOURCE_PRIVATE_HOSTS",
                "shop is asked by plain http; use https",
            ),
            (
                "called 200 times without a result; raise CUTOUT_MOST_CALLS_PER_JOB or cancel it",
                "called 200 times without a result; cancel it",
            ),
            ("has 0 bytes; 1 to 5 are taken (CUTOUT_MAX_SOURCE_BYTES)", "has 0 bytes; 1 to 5 are taken"),
            (
                "the S3 server refused (AccessDenied): check CUTOUT_S3_ACCESS_KEY and CUTOUT_S3_SECRET_KEY",
                "the S3 server refused (AccessDenied)",
            ),
            (
                "its batch has spent its budget; raise it with `cutout budget`",
                "its batch has spent its budget",
            ),
            ("/var/run/cutout-x1 is refused: it is a bomb", "it is a bomb"),
            ("s3://cutouts/manifests/uploads/1 is empty", NOTHING_LEFT),
            ("make room, or set TMPDIR", "make room"),
            ("run it with `--keys`", NOTHING_LEFT),
        ],
    )
    def test_leave_out_what_runs_here(self, text: str, words: str) -> None:
        """Clauses about the installation are left out; the rest is readable."""
        assert text_for_producer(text) == words

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("give each an id, or use `--many`", "give each an id, or use `many=true`"),
            (
                "give another, for instance `--encoding latin-1`",
                "give another, for instance `encoding=latin-1`",
            ),
            ('map them with `--map source="COLUMN"`', 'map them with `map=source="COLUMN"`'),
            ("set another with `--delimiter`; see /tmp/x", "set another with `delimiter`"),
        ],
    )
    def test_name_the_fields_of_a_request(self, text: str, words: str) -> None:
        """The remedy that a producer has is the field of the same name."""
        assert text_for_producer(text) == words

    def test_hold_for_messages_of_webhooks(self) -> None:
        """The text of each job in a message is changed; the rest is unchanged."""
        payload = '{"type": "x", "data": {"jobs": [{"id": "é", "message": "full; raise CUTOUT_SPOOL_DIR"}]}}'
        told = '{"type": "x", "data": {"jobs": [{"id": "é", "message": "full"}]}}'
        assert payload_for_producer(payload) == told
        assert payload_for_producer('{"message":"full"}') == '{"message":"full"}'


def job(state: State) -> Job:
    return Job(id=uuid.UUID(int=1), batch_id=uuid.UUID(int=2), state=state)


class TestAnExplanation:
    @pytest.mark.parametrize("why", sorted(STOPPED))
    def test_of_what_stops_everybody_leaves_the_fix_to_the_operator(self, why: str) -> None:
        """The text leaves the fix to the operator and names no bucket, account, machine or setting."""
        words = "the account a1b2c3 at s3://bucket; 10.0.0.1 refused"
        found = for_producer(
            job(State.QUEUED), Explanation(State.QUEUED, why, words, "raise CUTOUT_DAY_BUDGET")
        )
        for text in (found.text, str(found.remedy)):
            assert not INTERNAL.search(text)
            assert "a1b2c3" not in text
            assert "10.0.0.1" not in text
        assert found.why == why

    def test_names_no_machine(self) -> None:
        """The text says only that some worker has the job."""
        words = "worker 31233 on vm-7.internal called the endpoint 3 s ago"
        found = for_producer(job(State.RUNNING), Explanation(State.RUNNING, "calling", words))
        assert found.text == "a worker called the endpoint 3 s ago"

    @pytest.mark.parametrize(
        ("why", "state", "remedy"),
        [
            ("batch-paused", State.QUEUED, "POST /v1/batches/00000000-0000-0000-0000-000000000002/resume"),
            ("NEEDS_APPROVAL", State.HELD, "POST /v1/batches/00000000-0000-0000-0000-000000000002/approve"),
            ("SOURCE_MISSING", State.FAILED, "POST /v1/jobs/00000000-0000-0000-0000-000000000001/retry"),
            ("UNKNOWN_OUTCOME", State.HELD, "POST /v1/jobs/00000000-0000-0000-0000-000000000001/retry"),
            ("OVER_BUDGET", State.HELD, "ask the operator"),
        ],
    )
    def test_has_remedies_of_the_api(self, why: str, state: State, remedy: str) -> None:
        """The remedies are requests, not the operator's commands."""
        found = for_producer(job(state), Explanation(state, why, "text", "`cutout resume` lets it go on"))
        assert remedy in str(found.remedy)
        assert "`cutout" not in str(found.remedy)
