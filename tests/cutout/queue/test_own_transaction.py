"""Producers that share the database call `cutout.enqueue` in their own transaction."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

import cutout
from cutout.models import Batch
from cutout.settings import read_output_settings

SOURCE = "https://shop.example/a.jpg"


def counts(engine: Engine) -> tuple[int, int]:
    """Count the products and jobs in the database."""
    with engine.connect() as connection:
        row = connection.execute(
            text("SELECT (SELECT count(*) FROM products), (SELECT count(*) FROM jobs)")
        ).one()
        return row[0], row[1]


@pytest.fixture
def shop(engine: Engine) -> Engine:
    """The database of a producer, with a table of its own beside ours."""
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE products (sku text PRIMARY KEY)"))
    return engine


class TestEnqueueingInTheProducersTransaction:
    def test_comes_with_its_commit(self, shop: Engine) -> None:
        """The product and its job exist together."""
        with Session(shop) as session, session.begin():
            session.execute(text("INSERT INTO products VALUES ('SKU')"))
            job = cutout.enqueue(
                session, source=SOURCE, external_id="SKU", return_form="mask", priority="bulk"
            )
            assert (job.state, job.external_id, job.return_form, job.priority) == ("queued", "SKU", "mask", 2)
            assert counts(shop) == (0, 0)
        assert counts(shop) == (1, 1)

    def test_goes_with_its_rollback(self, shop: Engine) -> None:
        """If anything fails afterwards, no credit is spent on a product that does not exist."""
        with Session(shop) as session:
            session.execute(text("INSERT INTO products VALUES ('SKU')"))
            cutout.enqueue(session, source=SOURCE, external_id="SKU")
            session.rollback()
        assert counts(shop) == (0, 0)

    @pytest.mark.parametrize(
        "wrong",
        [
            {"source": "ftp://a/b"},
            {"source": SOURCE, "return_form": "svg"},
            {"source": SOURCE, "priority": "urgent"},
            {"source": SOURCE, "forms": "drawn"},
            {"source": SOURCE, "external_id": "a\x00b"},
        ],
    )
    def test_refuses_a_wrong_job_and_leaves_the_transaction_usable(
        self, shop: Engine, wrong: dict[str, str]
    ) -> None:
        """The producer may continue without the job."""
        with Session(shop) as session, session.begin():
            session.execute(text("INSERT INTO products VALUES ('SKU')"))
            with pytest.raises(ValueError, match=r"svg|urgent|ftp|control|drawn"):
                cutout.enqueue(session, **wrong)  # type: ignore[arg-type]
        assert counts(shop) == (1, 0)

    def test_refuses_a_duplicate_and_leaves_the_transaction_usable(self, shop: Engine) -> None:
        """The transaction stays usable although the database refuses the job."""
        with Session(shop) as session, session.begin():
            batch = Batch(name="b")
            session.add(batch)
            session.flush()
            cutout.enqueue(session, source=SOURCE, external_id="a", batch_id=batch.id)
            with pytest.raises(ValueError, match="already has"):
                cutout.enqueue(session, source=SOURCE, external_id="a", batch_id=batch.id)
        assert counts(shop) == (0, 1)


class TestOptionsForOutputs:
    @pytest.fixture
    def set_to(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
        """Set CUTOUT_ variables of a producer's process, which has no others."""

        def set_them(**variables: str) -> None:
            for name, value in variables.items():
                monkeypatch.setenv(f"CUTOUT_{name.upper()}", value)
            read_output_settings.cache_clear()

        yield set_them
        read_output_settings.cache_clear()

    @pytest.mark.parametrize(
        ("variables", "given", "stored"),
        [
            ({}, {}, ("rgba", True)),
            ({}, {"forms": "bought", "full_size": False}, ("mask", False)),
            ({"forms": "bought", "full_size": "false"}, {}, ("mask", False)),
            (
                {"forms": "bought", "full_size": "false"},
                {"forms": "derived", "full_size": True},
                ("rgba", True),
            ),
        ],
    )
    def test_are_those_given_or_of_the_producers_settings(
        self,
        session: Session,
        set_to: Callable[..., None],
        variables: dict[str, str],
        given: dict[str, Any],
        stored: tuple[str, bool],
    ) -> None:
        """They are read without the addresses of our servers."""
        set_to(**variables)
        job = cutout.enqueue(session, source=SOURCE, return_form="mask", **given)
        assert (job.bought_form, job.full_size) == stored


def test_importing_cutout_is_light() -> None:
    """The package alone loads neither SQLAlchemy nor boto3: its modules are imported by name."""
    code = "import cutout, sys; print(sorted({'sqlalchemy', 'boto3', 'pydantic'} & set(sys.modules)))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout == "[]\n"
