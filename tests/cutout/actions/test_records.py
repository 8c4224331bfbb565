"""Records of actions: reasons, rights, typed counts, progress, lists and their end."""

import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from cutout.actions import EVERYTHING, Asked, ReasonError, RightMissingError, right_for
from cutout.actions.at_once import cancel_now, retry_jobs_now
from cutout.actions.batches import (
    approve_batch,
    cancel_batch,
    pause_all,
    pause_batch,
    resume_all,
    retry_batch,
    set_budget,
)
from cutout.actions.chunks import NOT_THROUGH, carried_out
from cutout.actions.jobs import retry_job
from cutout.actions.keys import make_operator_key
from cutout.actions.typed_counts import OtherCountError, cancel_typed, count_to_type, delete_typed
from cutout.enums import ActionKind, OperatorScope, operator_may
from cutout.models.actions import LONGEST_ACTOR, LONGEST_REASON
from cutout.producers.api_keys import OperatorKey, find_key, hash_of, revoke_keys
from cutout.producers.key_expiry import expiring_keys
from cutout.queue.enqueue import NewJob, enqueue
from cutout.status.action_log import ActionFilter, find_actions, prune_actions
from cutout.status.action_status import recent_actions
from tests.cutout.actions.conftest import BROKEN, batch_of, operator, set_
from tests.support.asked import COMMAND
from tests.support.machine import scaled


class TestAReason:
    @pytest.mark.parametrize(
        "reason", ["a\nb", "\x1b[2K", "\u202eesrever", "a\x00", "x" * (LONGEST_REASON + 1)]
    )
    def test_that_could_mislead_or_fill_is_refused(self, reason: str) -> None:
        with pytest.raises(ReasonError, match="the reason"):
            Asked(operator(), reason)

    @pytest.mark.parametrize(("given", "kept"), [("  ", None), ("", None), (" the bill ", "the bill")])
    def test_is_kept_without_blanks_around_it(self, given: str, kept: str | None) -> None:
        assert Asked(operator(), given).reason == kept

    def test_that_is_as_long_as_it_may_be_is_kept(self, engine: Engine) -> None:
        """And a name that no key has: it is cut, and its control characters are shown."""
        asked = Asked(operator("\x1b" + "n" * 1000), "é" * LONGEST_REASON)
        with Session(engine) as session, session.begin():
            pause_all(session, asked)
        with engine.connect() as connection:
            (action,) = find_actions(connection, ActionFilter(), limit=5)
        assert action.reason == "é" * LONGEST_REASON
        assert (len(action.actor or ""), (action.actor or "")[:4]) == (LONGEST_ACTOR, "\\x1b")


class TestRights:
    def test_include_those_before_them(self) -> None:
        view, operate, spend = OperatorScope
        assert [operator_may([spend], each) for each in OperatorScope] == [True, True, True]
        assert [operator_may([operate], each) for each in OperatorScope] == [True, True, False]
        assert [operator_may([view], each) for each in OperatorScope] == [True, False, False]
        assert not operator_may(["admin"], view)

    def test_of_operators_are_not_of_keys_and_secrets(self) -> None:
        """Those are made where the database is."""
        for kind in (ActionKind.MAKE_KEY, ActionKind.REVOKE_KEY, ActionKind.SHOW_SECRET, ActionKind.ERASE):
            assert right_for(kind) is None
        assert right_for(ActionKind.RETRY, 0) is OperatorScope.OPERATE
        assert right_for(ActionKind.RETRY, 1) is OperatorScope.SPEND
        assert right_for(ActionKind.RETRY, None) is OperatorScope.SPEND

    def test_that_are_missing_leave_all_as_it_was(self, engine: Engine, shop: uuid.UUID) -> None:
        """The change is rolled back with the row."""
        batch_id = batch_of(engine, {"a": BROKEN}, shop)
        eye, hand = Asked(operator("eye", "view")), Asked(operator("hand", "operate"))
        with engine.connect() as connection:
            job_id = connection.execute(text("SELECT id FROM jobs")).scalar_one()
        tries: list[Callable[[Session], object]] = [
            lambda session: pause_batch(session, eye, batch_id),
            lambda session: set_budget(session, hand, batch_id, 5),
            lambda session: retry_batch(session, hand, batch_id),
            lambda session: retry_job(session, hand, job_id),
            lambda session: make_operator_key(session, hand, "x", scopes=[OperatorScope.SPEND]),
        ]
        for change in tries:
            with pytest.raises(RightMissingError), Session(engine) as session, session.begin():
                change(session)
        with engine.connect() as connection:
            assert connection.scalar(text("SELECT count(*) FROM actions")) == 0
            assert connection.scalar(text("SELECT state FROM jobs")) == "failed"
            assert connection.scalar(text("SELECT budget FROM batches")) is None


class TestAnOperatorsKey:
    def test_is_found_as_one_until_it_is_revoked(self, engine: Engine) -> None:
        """By the lookup that finds producers' keys."""
        with Session(engine) as session, session.begin():
            row, key = make_operator_key(session, COMMAND, "ana", scopes=[OperatorScope.VIEW])
            row_id = row.id
        with engine.begin() as connection:
            assert find_key(connection, hash_of(key)) == OperatorKey(row_id, "ana", ("view",))
        with Session(engine) as session, session.begin():
            assert revoke_keys(session, row_id) == 1
        with engine.begin() as connection:
            assert find_key(connection, hash_of(key)) is None

    def test_has_the_rights_of_operators_alone(self, engine: Engine, shop: uuid.UUID) -> None:
        """And a producer's those of producers: the database sees to it."""
        mixed = "INSERT INTO api_keys (producer_id, name, key_sha256, scopes) VALUES (:id, 'x', 'x', :scopes)"
        for producer_id, scopes in ((None, ["admin"]), (shop, ["spend"]), (None, [])):
            with pytest.raises(IntegrityError, match="scopes_are_known"):
                set_(engine, mixed, id=producer_id, scopes=scopes)

    def test_that_ends_soon_is_told_of(self, engine: Engine) -> None:
        soon = datetime.now(UTC) + timedelta(days=3)
        with Session(engine) as session, session.begin():
            make_operator_key(session, COMMAND, "ana", scopes=[OperatorScope.VIEW], expires_at=soon)
            assert [(key.name, owner) for key, owner in expiring_keys(session)] == [("ana", None)]


class TestATypedCount:
    def test_is_that_of_all_jobs_or_nothing_happens(
        self, engine: Engine, shop: uuid.UUID, ana: Asked
    ) -> None:
        batch_id = batch_of(engine, {"a": BROKEN, "b": BROKEN, "c": None}, shop)
        for typed in (2, 4, -1):
            with pytest.raises(OtherCountError, match=f"has 3 jobs, not {typed}"), Session(engine) as session:
                cancel_typed(session, ana, batch_id, typed)
        with Session(engine) as session, session.begin():
            assert count_to_type(session, batch_id) == 3
            assert cancel_typed(session, ana, batch_id, 3) is not None

    def test_is_that_of_jobs_that_just_come_in_too(self, engine: Engine, shop: uuid.UUID, ana: Asked) -> None:
        """The count waits for whoever is enqueuing into the batch."""
        batch_id = batch_of(engine, {"a": None}, shop)

        def cancel() -> None:
            with Session(engine) as session, session.begin():
                cancel_typed(session, ana, batch_id, 1)

        with ThreadPoolExecutor(1) as pool:
            with Session(engine) as session, session.begin():
                enqueue(session, NewJob("https://shop.example/b.jpg"), batch_id=batch_id, producer_id=shop)
                session.flush()
                cancelled = pool.submit(cancel)
                with pytest.raises(TimeoutError):
                    cancelled.result(0.5)
            with pytest.raises(OtherCountError, match="has 2 jobs, not 1"):
                cancelled.result(scaled(10))

    def test_is_typed_for_a_deletion(self, engine: Engine, shop: uuid.UUID, ana: Asked) -> None:
        batch_id = batch_of(engine, {"a": BROKEN}, shop)
        with pytest.raises(OtherCountError), Session(engine) as session:
            delete_typed(session, ana, batch_id, 2, objects=False)
        with Session(engine) as session, session.begin():
            assert delete_typed(session, ana, batch_id, 1, objects=False) is not None


class TestALongAction:
    def test_that_is_interrupted_says_so(self, engine: Engine) -> None:
        """It is finished for the dispatcher, which leaves it alone, and has what it changed."""
        with suppress(KeyboardInterrupt), carried_out(engine, COMMAND, ActionKind.ERASE, EVERYTHING) as begun:
            with engine.begin() as connection:
                begun.add(connection, 3)
            raise KeyboardInterrupt
        with engine.connect() as connection:
            (row,) = find_actions(connection, ActionFilter(), limit=5)
        assert (row.changed, row.code, row.finished_at is None) == (3, NOT_THROUGH, False)

    def test_has_one_row_for_all_its_chunks(
        self, engine: Engine, shop: uuid.UUID, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("cutout.queue.bulk.JOBS_A_CHUNK", 1)
        batch_id = batch_of(engine, {"a": BROKEN, "b": BROKEN, "c": BROKEN}, shop)
        assert retry_jobs_now(engine, COMMAND, batch_id) == 3
        assert cancel_now(engine, COMMAND, batch_id) == 3
        with engine.connect() as connection:
            rows = find_actions(connection, ActionFilter(batch_id=batch_id), limit=5)
        assert [(row.kind, row.changed, row.code) for row in rows] == [
            (ActionKind.CANCEL, 3, None),
            (ActionKind.RETRY, 3, None),
        ]

    def test_that_finds_nothing_leaves_no_row(self, engine: Engine, shop: uuid.UUID) -> None:
        batch_id = batch_of(engine, {"a": BROKEN}, shop)
        assert cancel_now(engine, COMMAND, batch_id) == 0
        with engine.connect() as connection:
            assert find_actions(connection, ActionFilter(), limit=5) == []


class TestTheLog:
    def test_is_filtered_and_read_in_pages(self, engine: Engine, shop: uuid.UUID, ana: Asked) -> None:
        batch_id = batch_of(engine, {"a": None}, shop)
        for do in (pause_all, resume_all):
            with Session(engine) as session, session.begin():
                do(session, ana)
        with Session(engine) as session, session.begin():
            pause_batch(session, COMMAND, batch_id)

        def found(wanted: ActionFilter, before: uuid.UUID | None = None) -> list[str]:
            with engine.connect() as connection:
                return [row.kind for row in find_actions(connection, wanted, before=before, limit=2)]

        assert found(ActionFilter()) == ["pause", "resume_all"]
        with engine.connect() as connection:
            second = find_actions(connection, ActionFilter(), limit=2)[-1]
        assert found(ActionFilter(), second.id) == ["pause_all"]
        assert found(ActionFilter(who="ana")) == ["resume_all", "pause_all"]
        assert found(ActionFilter(who=str(ana.by.key_id))) == ["resume_all", "pause_all"]
        assert found(ActionFilter(producer_id=shop)) == found(ActionFilter(batch_id=batch_id)) == ["pause"]
        assert found(ActionFilter(subject_id=batch_id)) == ["pause"]
        assert found(ActionFilter(kinds=[ActionKind.PAUSE_ALL])) == ["pause_all"]
        now = datetime.now(UTC)
        assert found(ActionFilter(since=now + timedelta(hours=1))) == []
        assert len(found(ActionFilter(since=datetime.min.replace(tzinfo=UTC)))) == 2

    def test_is_not_what_a_batch_is_shown_with(self, engine: Engine, shop: uuid.UUID) -> None:
        """However often it was paused, its unfinished actions are among those."""
        batch_id = batch_of(engine, {"a": None}, shop)
        with Session(engine) as session, session.begin():
            cancel_batch(session, COMMAND, batch_id)
        pauses = (
            "INSERT INTO actions (kind, batch_id, finished_at) SELECT 'pause', :id, now()"
            " FROM generate_series(1, 50)"
        )
        set_(engine, pauses, id=batch_id)
        with engine.connect() as connection:
            assert [action.kind for action in recent_actions(connection, batch_id)] == ["cancel"]

    def test_ends_after_a_while_but_for_what_is_under_way(self, engine: Engine, shop: uuid.UUID) -> None:
        batch_id = batch_of(engine, {"a": None}, shop)
        with Session(engine) as session, session.begin():
            cancel_batch(session, COMMAND, batch_id)
            pause_all(session, COMMAND)
        set_(
            engine,
            "UPDATE actions SET id = CAST('00000000-0000-7000-8000-00000000000' || n AS uuid)"
            " FROM (SELECT id AS old, row_number() OVER () AS n FROM actions) numbered WHERE id = old",
        )
        with Session(engine) as session, session.begin():
            resume_all(session, COMMAND)
        with engine.begin() as connection:
            assert prune_actions(connection, 400) == 1
            assert [row.kind for row in find_actions(connection, ActionFilter(), limit=5)] == [
                "resume_all",
                "cancel",
            ]

    def test_has_the_price_of_an_approval(self, engine: Engine, ana: Asked) -> None:
        batch_id = batch_of(engine, {"a": None})
        set_(
            engine,
            "INSERT INTO ingests (batch_id, fingerprint, kind, options, plan, records, pictures, jobs)"
            " VALUES (:id, '', 'x', '{\"plan\": true}', '{\"calls\": 2}', 3, 3, 3)",
            id=batch_id,
        )
        with Session(engine) as session, session.begin():
            assert approve_batch(session, ana, batch_id) is not None
            assert approve_batch(session, ana, batch_id) is None
            (row,) = find_actions(session, ActionFilter(), limit=5)
        assert (row.expected, row.credits, float(row.dollars or 0)) == (3, 2, 0.006)

    @pytest.mark.parametrize(("budget", "credits_"), [(None, 5), (4, 4)])
    def test_has_the_price_that_was_shown(
        self, engine: Engine, ana: Asked, budget: int | None, credits_: int
    ) -> None:
        """Pictures that are gone from the bucket are bought again, and a budget is the most."""
        batch_id = batch_of(engine, {"a": None})
        set_(engine, "UPDATE batches SET budget = :budget", budget=budget)
        set_(
            engine,
            "INSERT INTO ingests (batch_id, fingerprint, kind, options, plan, records, pictures, jobs)"
            " VALUES (:id, '', 'x', '{\"plan\": true}', '{\"calls\": 2, \"missing\": 3}', 9, 9, 9)",
            id=batch_id,
        )
        with Session(engine) as session, session.begin():
            approve_batch(session, ana, batch_id)
            (row,) = find_actions(session, ActionFilter(), limit=5)
        assert row.credits == credits_
