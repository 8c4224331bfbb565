from datetime import UTC, datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from cutout.enums import Scope, allows
from cutout.models import ApiKey
from cutout.producers.api_keys import find_key, hash_of, list_keys, make_key, note_use, renew_key, revoke_keys
from cutout.producers.producers import create_producer, find_producer, list_producers


class TestAKey:
    def test_names_its_producer(self, session: Session) -> None:
        """The producer is found by its key and by no other key."""
        producer, key = create_producer(session, "shop")
        create_producer(session, "other")
        assert find_producer(session, key) == producer.id
        assert find_producer(session, key + "x") is None
        assert find_producer(session, "\udce9") is None

    def test_is_not_kept(self, session: Session) -> None:
        """The database holds a hash, not the key."""
        _, key = create_producer(session, "shop")
        stored = session.scalars(select(ApiKey)).one()
        assert key.encode() not in stored.key_sha256
        assert len(stored.key_sha256) == 32

    def test_is_refused_once_revoked(self, session: Session) -> None:
        """A revoked key finds no producer, and can be revoked only once."""
        producer, key = create_producer(session, "shop")
        assert revoke_keys(session, producer.id)
        assert find_producer(session, key) is None
        assert not revoke_keys(session, producer.id)
        assert [p.name for p in list_producers(session)] == ["shop"]

    def test_is_refused_once_it_has_expired(self, session: Session) -> None:
        """Until its expiry the key is valid."""
        producer, _ = create_producer(session, "shop")
        now = datetime.now(UTC)
        _, past = make_key(session, producer.id, "past", expires_at=now - timedelta(seconds=1))
        _, coming = make_key(session, producer.id, "coming", expires_at=now + timedelta(days=1))
        assert find_key(session, hash_of(past)) is None
        assert find_key(session, hash_of(coming)) is not None

    def test_may_do_what_its_scopes_say(self, session: Session) -> None:
        """`admin` allows everything, each other scope what it names."""
        producer, _ = create_producer(session, "shop")
        _, text = make_key(session, producer.id, "reports", scopes=[Scope.READ])
        found = find_key(session, hash_of(text))
        assert found is not None
        assert [scope for scope in Scope if allows(found.scopes, scope)] == [Scope.READ]
        assert all(allows([Scope.ADMIN], scope) for scope in Scope)

    def test_is_one_of_several(self, session: Session) -> None:
        """Revoking one key leaves the producer's other key valid."""
        producer, first = create_producer(session, "shop")
        key, second = make_key(session, producer.id, "reports")
        assert revoke_keys(session, key.id) == 1
        assert (find_producer(session, first), find_producer(session, second)) == (producer.id, None)

    def test_remembers_when_it_was_used(self, session: Session) -> None:
        """The time is null until the first use is recorded."""
        producer, _ = create_producer(session, "shop")
        ((key, _),) = list_keys(session)
        assert (key.producer_id, key.last_used_at) == (producer.id, None)
        note_use(session, [key.id])
        session.refresh(key)
        assert key.last_used_at is not None


class TestAKeyThatIsRenewed:
    def test_replaces_the_former(self, session: Session) -> None:
        """A name stands for one producer with one valid key; another name is another producer."""
        first, former = renew_key(session, "this machine", "here", scopes=list(Scope))
        second, present = renew_key(session, "this machine", "here", scopes=list(Scope))
        other, _ = renew_key(session, "this machine", "there", scopes=list(Scope))
        assert second.producer_id == first.producer_id != other.producer_id
        assert (find_key(session, hash_of(former)), find_producer(session, present)) == (
            None,
            first.producer_id,
        )
