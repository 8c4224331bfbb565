import psycopg
from sqlalchemy import Engine


class TestADisposedEngine:
    """Its threads may still be at work, as those of an API whose clients left."""

    def test_leaves_no_connection_of_a_thread_at_work_open(self, engine: Engine) -> None:
        """The connection is closed once it is given back."""
        with engine.connect() as at_work:
            connection = at_work.connection.dbapi_connection
            engine.dispose()
            assert not _is_closed(connection)
        assert _is_closed(connection)

    def test_leaves_no_connection_open_that_is_taken_afterwards(self, engine: Engine) -> None:
        """As by a thread that had to wait for its turn."""
        engine.dispose()
        with engine.connect() as late:
            connection = late.connection.dbapi_connection
            assert not _is_closed(connection)
        assert _is_closed(connection)


def _is_closed(connection: object) -> bool:
    assert isinstance(connection, psycopg.Connection)
    return connection.closed
