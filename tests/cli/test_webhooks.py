import uuid

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session
from standardwebhooks import Webhook

from cutout.monitoring.webhook_checks import check_endpoints
from cutout.producers.producers import create_producer
from cutout.storage import Bucket
from cutout.webhooks import EventType, announce
from cutout.webhooks.endpoints import NewEndpoint, add_endpoint
from tests.cli.command import Cutout

URL = "https://shop.example/hook?token=secret"


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    """An installation that can sign."""
    return {**environment, "CUTOUT_WEBHOOK_SECRET": "m" * 40}


@pytest.fixture
def shop(engine: Engine) -> str:
    """A producer's id."""
    with Session(engine) as session, session.begin():
        return str(create_producer(session, "shop")[0].id)


class TestSecrets:
    def test_are_printed_alone(self, cutout: Cutout, shop: str) -> None:
        """As a library takes them: one for each producer, one for what belongs to none."""
        printed = [cutout("webhooks", "secret", *whose) for whose in ((), (shop,))]
        assert [ran.code for ran in printed] == [0, 0]
        secrets = [ran.stdout.removesuffix("\n") for ran in printed]
        assert len({*secrets}) == 2
        for secret in secrets:
            Webhook(secret)

    def test_are_rotated(self, cutout: Cutout, shop: str) -> None:
        """The new one is printed and is the one from then on."""
        before = cutout("webhooks", "secret", shop).stdout
        rotated = cutout("webhooks", "rotate", shop).stdout
        assert rotated != before
        assert cutout("webhooks", "secret", shop).stdout == rotated
        assert cutout("webhooks", "rotate", shop, "--at-once").stdout not in (before, rotated)

    @pytest.mark.parametrize("command", ["secret", "rotate"])
    def test_need_a_producer_and_the_setting(self, cutout: Cutout, shop: str, command: str) -> None:
        """One line each, and exit code 2."""
        unknown = cutout("webhooks", command, str(uuid.uuid4()))
        assert (unknown.code, len(unknown.stderr.splitlines())) == (2, 1)
        unset = cutout("webhooks", command, shop, settings={"CUTOUT_WEBHOOK_SECRET": ""})
        assert (unset.code, len(unset.stderr.splitlines())) == (2, 1)
        assert "CUTOUT_WEBHOOK_SECRET" in unset.stderr
        short = cutout("webhooks", command, shop, settings={"CUTOUT_WEBHOOK_SECRET": "quirk"})
        assert short.code == 2
        assert "CUTOUT_WEBHOOK_SECRET has 5 characters, which is too short; make one by" in short.stderr


class TestDeliveries:
    def test_are_listed_and_sent_again(self, cutout: Cutout, engine: Engine) -> None:
        """Of all producers, with the host alone of each address."""
        with Session(engine) as session, session.begin():
            its_id = announce(session, url=URL, kind="schedule.report", data={})
            announce(session, url=URL, kind="other", data={})
            session.execute(
                text(
                    "UPDATE deliveries SET state = 'given_up', finished_at = now(), tries = 18,"
                    " last_error = 'answered 500' WHERE id = :id"
                ),
                {"id": its_id},
            )
        listed = cutout("webhooks", "list")
        assert [line.split()[0] for line in listed.stdout.splitlines()][1] == str(its_id)
        assert "secret" not in listed.stdout
        given_up = cutout("webhooks", "list", "--state", "given_up").stdout
        (line,) = given_up.splitlines()
        said = " ".join(line.split()[3:])
        assert said == "given_up 18 tries schedule.report shop.example answered 500"
        assert cutout("webhooks", "replay", str(its_id)).stdout == f"{its_id} goes to shop.example again\n"
        assert cutout("webhooks", "list", "--state", "given_up").stdout == ""
        assert cutout("webhooks", "replay", str(uuid.uuid4())).code == 2


class TestEndpoints:
    def test_are_listed_with_their_state(self, cutout: Cutout, engine: Engine, shop: str) -> None:
        """Of one producer or of all, with the host alone of each address; none is an empty list."""
        with Session(engine) as session, session.begin():
            other = create_producer(session, "other")[0].id
            for owner in (other, uuid.UUID(shop), uuid.UUID(shop)):
                add_endpoint(session, owner, NewEndpoint(URL, [EventType.ALL, EventType.JOB_FAILED]))
            session.execute(
                text(
                    "UPDATE webhook_endpoints SET disabled_at = now(), disabled_reason = 'gone'"
                    " WHERE producer_id = :other"
                ),
                {"other": other},
            )
        listed = cutout("webhooks", "endpoints").stdout
        assert len(listed.splitlines()) == 3
        assert "secret" not in listed
        own = cutout("webhooks", "endpoints", shop).stdout.splitlines()
        assert [line.split()[1:] for line in own] == [
            [shop, "enabled", "shop.example", "*", "job.failed"]
        ] * 2
        (line,) = cutout("webhooks", "endpoints", str(other)).stdout.splitlines()
        assert "(gone)" in line
        assert cutout("webhooks", "endpoints", str(uuid.uuid4())).code == 2

    def test_that_are_disabled_are_named_by_the_doctor(self, engine: Engine, shop: str) -> None:
        """Those that the service disabled; it is no failure of the installation."""
        assert check_endpoints(engine) == []
        disable = text(
            "UPDATE webhook_endpoints SET disabled_at = now(), disabled_reason = :reason WHERE id = :id"
        )
        with Session(engine) as session, session.begin():
            for reason in ("by_producer", "failing"):
                endpoint = add_endpoint(session, uuid.UUID(shop), NewEndpoint(URL, [EventType.ALL]))
                session.execute(disable, {"reason": reason, "id": endpoint.id})
        (check,) = check_endpoints(engine)
        assert (check.ok, check.needed) == (True, False)
        assert check.found == "1 webhook endpoint is disabled, since it answered 410 or failed for days"
        assert check.remedy


class TestIngesting:
    def test_may_ask_to_be_told(self, cutout: Cutout, engine: Engine, bucket: Bucket) -> None:
        """Of the batch as a whole; a wrong address is one line, before anything is stored."""
        assert bucket
        manifest = cutout.directory / "m.csv"
        manifest.write_text("external_id,source\na,https://shop.example/a.jpg\n")
        wrong = cutout("ingest", manifest, "--webhook", "http://shop.example/?token=secret")
        assert (wrong.code, len(wrong.stderr.splitlines())) == (2, 1)
        assert "secret" not in wrong.stderr
        assert cutout("ingest", manifest, "--webhook", URL).code == 0
        with engine.connect() as connection:
            assert connection.scalars(text("SELECT webhook_url FROM batches")).all() == [URL]
