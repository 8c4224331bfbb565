import uuid

from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.orm import Session
from standardwebhooks import Webhook

from cutout.webhooks import INSTALLATION, rotate, secret_of, secret_state

MASTER = SecretStr("m" * 40)
SHOP = uuid.UUID(int=7)


class TestSecrets:
    def test_are_the_same_each_time(self) -> None:
        """Secrets are derived, not stored: receivers keep these values."""
        assert secret_of(MASTER, SHOP, 1) == "whsec_8qFuLR8Tp7KPndNpwwTgsqEV0CELHaNe0pF9q1FIP+k="

    def test_differ_by_owner_version_and_master(self) -> None:
        """No producer can sign as another, and a rotation changes the secret."""
        others = [
            secret_of(MASTER, SHOP, 1),
            secret_of(MASTER, SHOP, 2),
            secret_of(MASTER, INSTALLATION, 1),
            secret_of(SecretStr("n" * 40), SHOP, 1),
        ]
        assert len(set(others)) == 4

    def test_are_what_libraries_take(self) -> None:
        """A secret is 32 bytes behind the usual prefix."""
        assert len(Webhook(secret_of(MASTER, SHOP, 1))._whsecret) == 32


class TestRotating:
    def test_signs_with_both_for_a_day(self, session: Session) -> None:
        """The newest is first; after 24 h the previous one signs nothing."""
        assert secret_state(session, SHOP).signing == [1]
        assert rotate(session, SHOP).signing == [2, 1]
        assert rotate(session, SHOP).signing == [3, 2]
        assert secret_state(session, INSTALLATION).signing == [1]
        ends = session.scalar(text("SELECT overlap_until - now() = '24 hours' FROM webhook_secrets"))
        assert ends is True
        session.execute(text("UPDATE webhook_secrets SET overlap_until = now()"))
        assert secret_state(session, SHOP).signing == [3]

    def test_at_once_ends_the_one_before(self, session: Session) -> None:
        """A leaked secret can be ended at once."""
        assert rotate(session, SHOP).signing == [2, 1]
        assert rotate(session, SHOP, at_once=True).signing == [3]
