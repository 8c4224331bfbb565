"""A batch's results and its messages, once its outputs are made."""

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, create_engine, text

from cutout.actions.at_once import add_outputs_now
from cutout.enums import OutputState
from cutout.monitoring.bucket_contents import check_results
from cutout.queue.outputs.repeat import repeat_of_batch
from cutout.results import ended_batches, keep_results, publish, write_results
from cutout.storage import Bucket
from tests.support.asked import COMMAND
from tests.support.fates import DONE, make_batch
from tests.support.outputs import make_outputs, put_output, put_score

WEB = {"web": {"recipe": "web"}}
MADE, FAILED = OutputState.MADE, OutputState.FAILED


@pytest.fixture
def batch_id(engine: Engine) -> uuid.UUID:
    """A batch with a webhook, whose one job has succeeded and has an output to be made."""
    made = make_batch(engine, {"a": DONE})
    put_output(engine, "a", "amazon")
    with engine.begin() as connection:
        connection.execute(text("UPDATE batches SET webhook_url = 'https://shop.example/hook'"))
    return made


def make_all(engine: Engine) -> None:
    make_outputs(engine)
    put_score(engine, "a", 0.0)


def is_due(engine: Engine, batch_id: uuid.UUID) -> bool:
    with engine.connect() as connection:
        return batch_id in ended_batches(connection)


def messages(engine: Engine) -> list[tuple[str, dict[str, Any]]]:
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT type, payload FROM deliveries ORDER BY type")).all()
    return [(kind, json.loads(payload)["data"]) for kind, payload in rows]


class TestTheMessageBatchRendered:
    def test_is_sent_if_all_outputs_were_made_before_the_results(
        self, engine: Engine, bucket: Bucket, batch_id: uuid.UUID
    ) -> None:
        """Renderers may be faster than the dispatcher; whoever waits for the message gets it all the same."""
        make_all(engine)
        assert keep_results(engine, bucket, batch_id)
        (finished, _), (rendered, data) = messages(engine)
        assert (finished, rendered) == ("batch.finished", "batch.rendered")
        assert data["outputs"] == {"waiting": 0, "made": 1, "failed": 0}

    def test_is_sent_once_the_last_output_is_made(
        self, engine: Engine, bucket: Bucket, batch_id: uuid.UUID
    ) -> None:
        assert keep_results(engine, bucket, batch_id)
        assert [kind for kind, _ in messages(engine)] == ["batch.finished"]
        make_all(engine)
        assert is_due(engine, batch_id)
        assert keep_results(engine, bucket, batch_id)
        assert [kind for kind, _ in messages(engine)] == ["batch.finished", "batch.rendered"]


class TestResults:
    def test_are_written_again_if_renditions_are_made_at_once(
        self, engine: Engine, bucket: Bucket, batch_id: uuid.UUID, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The first jobs' renditions may be made before those of the last jobs are added."""
        make_all(engine)
        assert keep_results(engine, bucket, batch_id)
        committed = engine.begin

        @contextmanager
        def made_at_once() -> Iterator[Connection]:
            with committed() as connection:
                yield connection
            make_outputs(other)

        other = create_engine(engine.url)
        monkeypatch.setattr(engine, "begin", made_at_once)
        assert add_outputs_now(engine, COMMAND, batch_id, WEB) == 1
        monkeypatch.undo()
        other.dispose()
        assert is_due(engine, batch_id)

    def test_are_written_again_if_an_output_is_made_while_they_are_written(
        self, engine: Engine, bucket: Bucket, batch_id: uuid.UUID, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        make_all(engine)
        put_output(engine, "a", "web", FAILED, code="X")

        def slowly(*arguments: object, **options: object) -> Iterator[bytes]:
            yield from write_results(*arguments, **options)  # type: ignore[arg-type]
            repeat_of_batch(engine, batch_id)
            make_outputs(engine)

        monkeypatch.setattr(publish, "write_results", slowly)
        assert keep_results(engine, bucket, batch_id)
        assert is_due(engine, batch_id)

    def test_are_not_written_again_for_nothing(
        self, engine: Engine, bucket: Bucket, batch_id: uuid.UUID
    ) -> None:
        make_all(engine)
        add_outputs_now(engine, COMMAND, batch_id, WEB)
        make_outputs(engine)
        assert keep_results(engine, bucket, batch_id)
        add_outputs_now(engine, COMMAND, batch_id, WEB)
        assert not is_due(engine, batch_id)


def test_results_that_are_not_written_again_for_long_are_reported(
    engine: Engine, bucket: Bucket, batch_id: uuid.UUID
) -> None:
    """Their outputs ended long ago, and the file in the bucket is the one without them."""
    assert keep_results(engine, bucket, batch_id)
    make_all(engine)
    assert check_results(engine)[0].ok
    with engine.begin() as connection:
        connection.execute(text("UPDATE outputs SET finished_at = now() - interval '1 hour'"))
    assert str(batch_id) in check_results(engine)[0].found
