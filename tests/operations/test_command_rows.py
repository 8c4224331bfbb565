"""Rows of `actions` that commands leave: one for each change, by the user of the system who ran it."""

import os
import pwd
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from cli import audit_log
from cutout import queue
from cutout.enums import ActionKind, AttemptOutcome
from cutout.producers.producers import create_producer
from cutout.queue.attempts.attempts import Answer
from cutout.queue.attempts.outcomes import Hold
from cutout.queue.enqueue import NewJob, enqueue
from cutout.storage import Bucket
from cutout.storage.unexpected_bytes import CODE, Unexpected, unexpected_key
from migrations.run import downgrade, newest
from tests.cli.command import Cutout
from tests.operations.test_action_rows import (
    BROKEN,
    SECRET,
    UNKNOWN,
    fail_outputs,
    plan_batch,
    rows,
    scalar,
)
from tests.support.fates import DONE, Fates, make_batch
from tests.support.steps import SOURCE, begin, claim_one, new_worker

K = ActionKind
FORMER_SCHEMA = "0031"


@dataclass(frozen=True)
class Desk:
    """A machine with the command and access to the database, and a batch of no producer."""

    engine: Engine
    bucket: Bucket
    batch_id: uuid.UUID
    producer_id: uuid.UUID
    key_id: uuid.UUID
    directory: Path

    def schedule(self, *, paused: bool = False) -> None:
        scalar(
            self.engine,
            "INSERT INTO schedules (id, name, source, options, cron, zone, next_fire_at, next_due_at,"
            " paused_by_operator_at) VALUES (uuidv7(), 'nightly', 's3://b/p/', '{}', '0 1 * * *', 'UTC',"
            " now() + interval '1 h', now() + interval '1 h', CASE WHEN :paused THEN now() END) RETURNING 1",
            paused=paused,
        )

    def delivery(self) -> str:
        return str(
            scalar(
                self.engine,
                "INSERT INTO deliveries (url, type, payload) VALUES ('https://a.example/', 'job.held', '{}')"
                " RETURNING id",
            )
        )

    def unexpected(self) -> str:
        with Session(self.engine) as session, session.begin():
            session.execute(text("DELETE FROM outputs"))
            session.execute(text("DELETE FROM attempts"))
            session.execute(text("DELETE FROM jobs"))
            enqueue(session, NewJob(SOURCE, "SKU"))
            claim = claim_one(session, new_worker(session))
            answer = Answer(AttemptOutcome.UNKNOWN, code="ANSWER_NOT_UNDERSTOOD")
            queue.end_attempt(session, begin(session, claim), answer)
            found = Unexpected(
                unexpected_key(claim.job_id, "a" * 64, "png"),
                "no alpha",
                "a" * 64,
                "image/png",
                "png",
                9,
                6,
                6,
            )
            claim = queue.save_unexpected(session, claim, found)
            queue.settle(session, claim, Hold(CODE, "no alpha"))
            return str(claim.job_id)

    def missing(self) -> None:
        scalar(
            self.engine,
            "INSERT INTO bought_results (source_sha256, bought_form, endpoint, preparation, bucket, scope,"
            " buyer, key, sha256, size_bytes, width, height, media_type, stored_at, missing_since,"
            " missing_seen_at)"
            " VALUES ('', 'rgba', 'https://e.example/', 1, 'b', '', uuidv7(), 'k', '', 1, 1, 1, 'image/png',"
            " now(), now(), now()) RETURNING 1",
        )

    def suspended(self) -> str:
        scalar(self.engine, "UPDATE producers SET suspended_at = now() RETURNING 1")
        return str(self.producer_id)

    def erasable(self) -> str:
        digest = "ab" * 32
        scalar(
            self.engine,
            "UPDATE jobs SET source_sha256 = decode(:digest, 'hex') WHERE state = 'failed' RETURNING 1",
            digest=digest,
        )
        return digest

    def failed_output(self) -> None:
        fail_outputs(self.engine)

    def catalog(self) -> Path:
        self.directory.joinpath("secret").mkdir()
        found = self.directory / "secret" / "catalog.csv"
        found.write_text(f"external_id,source\nA,{SOURCE}\nB,{SOURCE}\n")
        return found


@pytest.fixture
def desk(engine: Engine, bucket: Bucket, tmp_path: Path) -> Desk:
    with Session(engine) as session, session.begin():
        producer, _ = create_producer(session, "shop")
        key_id = session.execute(text("SELECT id FROM api_keys")).scalar_one()
        producer_id = producer.id
    fates: Fates = {"done": DONE, "broken": BROKEN, "broken too": BROKEN, "new": None}
    return Desk(engine, bucket, make_batch(engine, fates), producer_id, key_id, tmp_path)


Words = tuple[str, ...]
Command = tuple[ActionKind, Callable[[Desk], Words]]


def with_batch(*words: str) -> Callable[[Desk], Words]:
    return lambda desk: (*words, str(desk.batch_id))


def with_producer(*words: str, then: Words = ()) -> Callable[[Desk], Words]:
    return lambda desk: (*words, str(desk.producer_id), *then)


def after(prepare: Callable[[Desk], object], *words: str) -> Callable[[Desk], Words]:
    """The command after what it needs was made; {} in its words is what that gave."""

    def made(desk: Desk) -> Words:
        result = prepare(desk)
        return tuple(word.replace("{}", str(result)) for word in words)

    return made


def planned(desk: Desk) -> str:
    plan_batch(desk.engine, desk.batch_id)
    return str(desk.batch_id)


def paused(desk: Desk) -> None:
    scalar(desk.engine, "UPDATE queue_clock SET paused_at = now() RETURNING 1")


NIGHTLY = lambda desk: desk.schedule()  # noqa: E731
ADD = ("schedule", "add", "nightly", "--source", "s3://bucket/secret/", "--cron", "0 1 * * *")
COMMANDS: dict[str, list[Command]] = {
    "ingest": [(K.ADD_BATCH, after(Desk.catalog, "ingest", "{}"))],
    "approve": [(K.APPROVE, after(planned, "approve", "{}"))],
    "retry": [(K.RETRY, with_batch("retry")), (K.RETRY_JOB, lambda desk: ("retry", job_of(desk, "failed")))],
    "cancel": [
        (K.CANCEL, with_batch("cancel")),
        (K.CANCEL_JOB, lambda desk: ("cancel", job_of(desk, "queued"))),
    ],
    "accept": [(K.ACCEPT_JOB, after(Desk.unexpected, "accept", "{}", "--wait", "0"))],
    "render": [
        (K.ADD_OUTPUTS, lambda desk: ("render", str(desk.batch_id), "--output", "amazon")),
        (
            K.RETRY_OUTPUTS,
            lambda desk: (desk.failed_output(), ("render", str(desk.batch_id), "--again"))[1],  # type: ignore[func-returns-value]
        ),
    ],
    "pause": [
        (K.PAUSE_ALL, lambda _: ("pause", "--reason", "the bill is wrong")),
        (K.PAUSE, with_batch("pause", "--batch")),
    ],
    "resume": [(K.RESUME_ALL, after(paused, "resume"))],
    "budget": [(K.BUDGET, lambda desk: ("budget", str(desk.batch_id), "5"))],
    "erase": [(K.ERASE, after(Desk.erasable, "erase", "--source-sha256", "{}", "--yes"))],
    "forget-missing": [(K.FORGET_MISSING, after(Desk.missing, "forget-missing"))],
    "audit": [(K.REPAIR, lambda _: ("audit", "--repair"))],
    "keys make": [
        (K.MAKE_KEY, lambda _: ("keys", "make", "other")),
        (K.MAKE_KEY, lambda _: ("keys", "make", "--operator", "ana")),
    ],
    "keys revoke": [(K.REVOKE_KEY, lambda desk: ("keys", "revoke", str(desk.key_id)))],
    "keys quota": [(K.LIMIT_PRODUCER, with_producer("keys", "quota", then=("9",)))],
    "producers limit": [
        (K.LIMIT_PRODUCER, with_producer("producers", "limit", then=("--quota", "9", "--share", "2")))
    ],
    "producers suspend": [(K.SUSPEND_PRODUCER, with_producer("producers", "suspend"))],
    "producers resume": [(K.RESUME_PRODUCER, after(Desk.suspended, "producers", "resume", "{}"))],
    "webhooks replay": [(K.REPLAY_DELIVERY, after(Desk.delivery, "webhooks", "replay", "{}"))],
    "webhooks secret": [(K.SHOW_SECRET, with_producer("webhooks", "secret"))],
    "webhooks rotate": [(K.ROTATE_SECRET, lambda _: ("webhooks", "rotate"))],
    "schedule add": [(K.ADD_SCHEDULE, lambda _: ADD)],
    "schedule pause": [(K.PAUSE_SCHEDULE, after(NIGHTLY, "schedule", "pause", "nightly"))],
    "schedule resume": [
        (
            K.RESUME_SCHEDULE,
            after(lambda desk: desk.schedule(paused=True), "schedule", "resume", "nightly"),
        )
    ],
    "schedule skip": [(K.SKIP_RUN, after(NIGHTLY, "schedule", "skip", "nightly"))],
    "schedule run": [(K.RUN_SCHEDULE, after(NIGHTLY, "schedule", "run", "nightly"))],
    "schedule remove": [(K.REMOVE_SCHEDULE, after(NIGHTLY, "schedule", "remove", "nightly"))],
}
# It has a test of its own below.
ELSEWHERE = {"migrate"}


def job_of(desk: Desk, state: str) -> str:
    found = scalar(desk.engine, "SELECT id FROM jobs WHERE state = :state LIMIT 1", state=state)
    return str(found)


class TestTheCommand:
    @pytest.fixture
    def cutout(self, environment: dict[str, str], tmp_path: Any) -> Cutout:
        return Cutout(environment | {"CUTOUT_WEBHOOK_SECRET": SECRET}, tmp_path)

    def test_has_no_change_that_is_not_walked_here(self) -> None:
        assert COMMANDS.keys() | ELSEWHERE == audit_log.CHANGES

    @pytest.mark.parametrize(
        ("kind", "words"),
        [command for commands in COMMANDS.values() for command in commands],
        ids=[f"{name}-{n}" for name, commands in COMMANDS.items() for n in range(len(commands))],
    )
    def test_records_each_change_once(
        self, cutout: Cutout, desk: Desk, kind: ActionKind, words: Callable[[Desk], Words]
    ) -> None:
        """With the user of this machine who ran it; nothing of it is left to a dispatcher."""
        ran = cutout(*words(desk))
        assert ran.code in (0, 3), ran
        (row,) = rows(desk.engine)
        assert (row.kind, row.actor_role) == (kind, "command")
        assert row.actor == pwd.getpwuid(os.getuid()).pw_name
        assert row.actor_key_id is None
        assert (row.finished_at is None, row.code) == (False, None)
        assert row.changed > 0 or kind is K.REPAIR
        assert row.reason == ("the bill is wrong" if kind is K.PAUSE_ALL else None)
        assert SECRET not in str(row)
        assert "secret/" not in str(row)

    @pytest.mark.parametrize(
        "words",
        [
            ("approve", UNKNOWN),
            ("approve", "{}"),
            ("cancel", UNKNOWN),
            ("resume",),
            ("resume", "--batch", "{}"),
            ("pause", "--reason", "two\nlines"),
            ("pause", "--reason", "x" * 501),
            ("pause", "--reason", "\u202eesrever"),
            ("keys", "revoke", UNKNOWN),
            ("forget-missing",),
            ("schedule", "run", "nightly"),
            ("erase", "--source-sha256", "ab" * 32, "--yes"),
            ("keys", "make", "--operator", "ana", "--scope", "admin"),
        ],
        ids=" ".join,
    )
    def test_records_none_that_is_refused(self, cutout: Cutout, desk: Desk, words: Words) -> None:
        ran = cutout(*(word.replace("{}", str(desk.batch_id)) for word in words))
        assert ran.code in (1, 2), ran
        assert rows(desk.engine) == []

    def test_records_a_migration_that_changed_the_schema(self, cutout: Cutout, engine: Engine) -> None:
        """Once; another one finds nothing to do."""
        downgrade(engine, FORMER_SCHEMA)
        for _ in range(2):
            assert cutout("migrate").code == 0
        (row,) = rows(engine)
        assert (row.kind, row.actor_role, row.options) == ("migrate", "command", {"schema": newest()})

    def test_records_none_that_only_looks(self, cutout: Cutout, desk: Desk) -> None:
        for words in (("status",), ("keys", "list"), ("actions",), ("audit",), ("schedule", "list")):
            cutout(*words)
        assert rows(desk.engine) == []
