"""Quotes: the retry that was priced is the one that is carried out."""

import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from cutout.actions import Actor, Asked, RightMissingError
from cutout.actions.batches import retry_batch
from cutout.actions.quotes import (
    QUOTE_SECONDS,
    QuoteError,
    RetryPrice,
    RetryQuote,
    accept_retry,
    prune_quotes,
    quote_retry,
)
from cutout.billing.totals import DOLLARS_A_CREDIT
from cutout.queue.batch_actions import job_pages, portions
from tests.cutout.actions.conftest import BROKEN, HELD, SMALL, batch_of, operator, set_
from tests.support.actions import carry_out
from tests.support.fates import Fates

FATES: Fates = {"a": BROKEN, "b": BROKEN, "c": SMALL, "d": HELD}
WITH_RESULT = """
    UPDATE jobs
    SET step = 'copy', result_url = 'https://e.example/r', result_expires_at = now() + interval '1 h'
    WHERE external_id = ANY(:ids)
"""


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Portions of two jobs."""
    monkeypatch.setattr(portions, "JOBS_A_PORTION", 2)


@pytest.fixture(params=["of a producer", "of none"])
def owner(request: pytest.FixtureRequest, shop: uuid.UUID) -> uuid.UUID | None:
    """The owner of the batch: a producer, or none as of what a command ingested."""
    return shop if request.param == "of a producer" else None


def quoted(engine: Engine, actor: Actor, batch_id: uuid.UUID, *codes: str) -> RetryQuote:
    with Session(engine) as session, session.begin():
        quote = quote_retry(session, actor, batch_id, codes or None)
    assert quote is not None
    return quote


def accepted(engine: Engine, asked: Asked, quote: RetryQuote) -> uuid.UUID:
    with Session(engine) as session, session.begin():
        return accept_retry(session, asked, quote.id)


def states(engine: Engine) -> dict[str, str]:
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT external_id, state FROM jobs"))
        return {row.external_id: row.state for row in rows}


def action(engine: Engine) -> dict[str, object]:
    with engine.connect() as connection:
        return dict(connection.execute(text("SELECT * FROM actions")).mappings().one())


class TestAQuote:
    def test_counts_what_costs_and_what_does_not(
        self, engine: Engine, owner: uuid.UUID | None, ana: Asked
    ) -> None:
        """Of the codes that were given, or of all."""
        batch_id = batch_of(engine, FATES, owner)
        set_(engine, WITH_RESULT, ids=["d"])
        every, broken = quoted(engine, ana.by, batch_id), quoted(engine, ana.by, batch_id, BROKEN.code)
        assert (every.price, broken.price) == (RetryPrice(4, 1), RetryPrice(2, 0))
        assert (every.price.credits, every.price.dollars) == (3, 3 * DOLLARS_A_CREDIT)
        assert str(every.price) == "4 jobs, up to 3 credits ($0.01)"
        with Session(engine) as session, session.begin():
            assert quote_retry(session, ana.by, batch_id, ["OTHER"]) is None

    def test_is_carried_out_as_it_was_accepted(
        self, engine: Engine, owner: uuid.UUID | None, ana: Asked
    ) -> None:
        """The jobs of its codes alone; the action has count and price, and progress."""
        batch_id = batch_of(engine, FATES, owner)
        action_id = accepted(engine, ana, quoted(engine, ana.by, batch_id, BROKEN.code, HELD.code))
        made = action(engine)
        assert (made["id"], made["actor"], made["finished_at"]) == (action_id, "ana", None)
        assert (made["expected"], made["credits"], float(str(made["dollars"]))) == (3, 3, 0.009)
        carry_out(engine)
        assert states(engine) == {"a": "queued", "b": "queued", "c": "failed", "d": "queued"}
        done = action(engine)
        assert (done["changed"], done["code"], done["finished_at"] is None) == (3, None, False)

    def test_is_not_exceeded_by_jobs_that_fail_meanwhile(
        self, engine: Engine, owner: uuid.UUID | None, ana: Asked
    ) -> None:
        """Nor by results that expire: the action says why it ended."""
        batch_id = batch_of(engine, FATES, owner)
        set_(engine, WITH_RESULT, ids=["b", "d"])
        quote = quoted(engine, ana.by, batch_id)
        assert quote.price == RetryPrice(4, 2)
        accepted(engine, ana, quote)
        set_(
            engine, "UPDATE jobs SET result_expires_at = now() - interval '1 s' WHERE result_url IS NOT NULL"
        )
        carry_out(engine)
        assert sorted(states(engine).values()).count("queued") == 2
        assert (action(engine)["changed"], action(engine)["code"]) == (2, "PRICE_REACHED")

    def test_counts_its_calls_across_pages_without_jobs(
        self, engine: Engine, shop: uuid.UUID, ana: Asked, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Of a batch in which jobs of the code stand far apart."""
        monkeypatch.setattr(job_pages, "MOST_EXAMINED", 1)
        batch_id = batch_of(engine, {"a": BROKEN, "b": SMALL, "c": SMALL, "d": BROKEN}, shop)
        set_(engine, WITH_RESULT, ids=["d"])
        accepted(engine, ana, quoted(engine, ana.by, batch_id, BROKEN.code))
        set_(
            engine, "UPDATE jobs SET result_expires_at = now() - interval '1 s' WHERE result_url IS NOT NULL"
        )
        carry_out(engine)
        assert states(engine) == {"a": "queued", "b": "failed", "c": "failed", "d": "failed"}
        assert action(engine)["code"] == "PRICE_REACHED"

    def test_has_room_for_so_many_jobs_alone(
        self, engine: Engine, owner: uuid.UUID | None, ana: Asked
    ) -> None:
        batch_id = batch_of(engine, {**FATES, "e": SMALL}, owner)
        set_(engine, "UPDATE jobs SET code = 'OTHER' WHERE external_id = 'e'")
        accepted(engine, ana, quoted(engine, ana.by, batch_id, BROKEN.code, SMALL.code, HELD.code))
        set_(engine, "UPDATE jobs SET code = :code WHERE external_id = 'e'", code=BROKEN.code)
        carry_out(engine)
        assert list(states(engine).values()).count("queued") == 4
        assert action(engine)["changed"] == 4


class TestAcceptance:
    def test_is_refused_if_it_changed_since(self, engine: Engine, shop: uuid.UUID, ana: Asked) -> None:
        """It says how; nothing is changed, and the quote stays."""
        batch_id = batch_of(engine, FATES, shop)
        quote = quoted(engine, ana.by, batch_id, BROKEN.code)
        set_(engine, "UPDATE jobs SET code = :code WHERE external_id = 'c'", code=BROKEN.code)
        said = r"now 3 jobs, up to 3 credits \(\$0.01\), not 2 jobs, up to 2 credits"
        with pytest.raises(QuoteError, match=said):
            accepted(engine, ana, quote)
        with engine.connect() as connection:
            assert connection.scalar(text("SELECT count(*) FROM actions")) == 0
        set_(engine, "UPDATE jobs SET code = 'X' WHERE external_id = 'c'")
        accepted(engine, ana, quote)

    def test_is_once(self, engine: Engine, shop: uuid.UUID, ana: Asked) -> None:
        """Also by a form that is sent twice at once."""
        quote = quoted(engine, ana.by, batch_of(engine, FATES, shop))

        def accept(_: int) -> str:
            try:
                accepted(engine, ana, quote)
            except QuoteError as error:
                return str(error)
            return "done"

        with ThreadPoolExecutor(2) as pool:
            said = sorted(pool.map(accept, range(2)))
        assert (said[0], "no longer offered" in said[1]) == ("done", True)

    def test_is_for_a_short_time(self, engine: Engine, shop: uuid.UUID, ana: Asked) -> None:
        """Then it is deleted."""
        quote = quoted(engine, ana.by, batch_of(engine, FATES, shop))
        with engine.begin() as connection:
            assert prune_quotes(connection) == 0
        set_(engine, "UPDATE quotes SET made_at = made_at - make_interval(secs => :s)", s=QUOTE_SECONDS)
        with pytest.raises(QuoteError, match="which are over"):
            accepted(engine, ana, quote)
        with engine.begin() as connection:
            assert prune_quotes(connection) == 1

    def test_is_of_whoever_was_shown_it(self, engine: Engine, shop: uuid.UUID, ana: Asked) -> None:
        """Another operator looks, and has a price of their own."""
        batch_id = batch_of(engine, FATES, shop)
        quote = quoted(engine, ana.by, batch_id)
        with pytest.raises(QuoteError, match="somebody else"):
            accepted(engine, Asked(operator("bea")), quote)
        accepted(engine, ana, quote)

    def test_needs_the_right_to_spend_if_it_may_cost(self, engine: Engine, shop: uuid.UUID) -> None:
        """Without a call `operate` is enough, and none is made then."""
        batch_id = batch_of(engine, FATES, shop)
        set_(engine, WITH_RESULT, ids=["d"])
        bea = Asked(operator("bea", "operate"))
        with pytest.raises(RightMissingError, match="needs the right `spend`"):
            accepted(engine, bea, quoted(engine, bea.by, batch_id))
        accepted(engine, bea, quoted(engine, bea.by, batch_id, HELD.code))
        carry_out(engine)
        assert states(engine)["d"] == "queued"

    def test_waits_for_no_other_retry(self, engine: Engine, shop: uuid.UUID, ana: Asked) -> None:
        batch_id = batch_of(engine, FATES, shop)
        quote = quoted(engine, ana.by, batch_id)
        with Session(engine) as session, session.begin():
            retry_batch(session, ana, batch_id)
        with pytest.raises(QuoteError, match="waits already"):
            accepted(engine, ana, quote)
