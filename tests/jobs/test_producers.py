from sqlalchemy import select
from sqlalchemy.orm import Session

from jobs.models import Producer
from jobs.producers import create_producer, find_producer, list_producers, revoke_producer


class TestAKey:
    def test_names_its_producer(self, session: Session) -> None:
        """The producer is found by its key and by no other."""
        producer, key = create_producer(session, "shop")
        create_producer(session, "other")
        assert find_producer(session, key) == producer.id
        assert find_producer(session, key + "x") is None

    def test_is_not_kept(self, session: Session) -> None:
        """The database holds a hash, not the key."""
        _, key = create_producer(session, "shop")
        stored = session.scalars(select(Producer)).one()
        assert key.encode() not in stored.key_sha256
        assert len(stored.key_sha256) == 32

    def test_is_refused_once_revoked(self, session: Session) -> None:
        """A revoked key finds nobody, and can be revoked once."""
        producer, key = create_producer(session, "shop")
        assert revoke_producer(session, producer.id)
        assert find_producer(session, key) is None
        assert not revoke_producer(session, producer.id)
        assert [p.name for p in list_producers(session)] == ["shop"]
