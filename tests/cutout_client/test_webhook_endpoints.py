from collections.abc import Iterator

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import Engine

import cutout_client
from cutout.settings import Settings
from cutout.storage import Bucket
from cutout_client import Client
from tests.api.conftest import serve
from tests.cutout_client.conftest import Gateway, MakeClient

URL = "https://shop.example/hooks?token=7"


@pytest.fixture
def api(settings: Settings, bucket: Bucket, gateway: list[Gateway]) -> Iterator[httpx.Client]:
    """The API with webhooks."""
    assert bucket.name

    def behind(app: object) -> Gateway:
        gateway.append(Gateway(app))  # type: ignore[arg-type]
        return gateway[0]

    with serve(settings.model_copy(update={"webhook_secret": SecretStr("s" * 32)}), behind=behind) as client:
        yield client


def test_an_endpoint_is_made_changed_tested_and_removed(cutout: Client, engine: Engine) -> None:
    """Its secret comes with its making alone."""
    assert engine
    made = cutout.endpoints.create(URL, ["batch.finished"], description="d")
    assert made.secret is not None
    assert made.secret.startswith("whsec_")
    assert made.secret not in repr(made)
    endpoint = cutout.endpoints.get(made.id)
    assert (endpoint.host, endpoint.has_path_or_query, endpoint.events, endpoint.secret) == (
        "shop.example",
        True,
        ("batch.finished",),
        None,
    )
    assert [each.id for each in cutout.endpoints.list()] == [made.id]
    delivery = cutout.endpoints.test(made.id)
    assert (delivery.type, delivery.endpoint_id) == ("webhook.test", made.id)
    changed = cutout.endpoints.patch(made.id, if_match=endpoint.etag, events=["*"], enabled=False)
    assert (changed.events, changed.enabled) == (("*",), False)
    with pytest.raises(cutout_client.ChangedMeanwhileError):
        cutout.endpoints.delete(made.id, if_match=endpoint.etag)
    rotated = cutout.endpoints.rotate_secret(made.id, at_once=True)
    assert rotated.secret not in (None, made.secret)
    cutout.endpoints.delete(made.id)
    assert list(cutout.endpoints.list()) == []


def test_a_secret_whose_answer_was_lost_is_made_anew(cutout: Client, gateway: list[Gateway]) -> None:
    """One endpoint is made; no secret is stored, so none comes again."""
    gateway[0].loses = 1
    made = cutout.endpoints.create(URL, ["*"])
    assert made.secret is None
    assert [each.id for each in cutout.endpoints.list()] == [made.id]
    assert cutout.endpoints.rotate_secret(made.id).secret


def test_deliveries_are_listed_and_sent_again(cutout: Client) -> None:
    """Over all pages, by state and by endpoint."""
    endpoint = cutout.endpoints.create(URL, ["*"])
    made = [cutout.endpoints.test(endpoint.id).id for _ in range(3)]
    assert [each.id for each in cutout.deliveries.list(page_size=2)] == made[::-1]
    assert [each.id for each in cutout.deliveries.list(endpoint_id=endpoint.id, state="waiting")] == made[
        ::-1
    ]
    assert list(cutout.deliveries.list(state="given_up")) == []
    assert cutout.deliveries.replay(made[0]).id == made[0]


def test_the_key_says_who_it_is(cutout: Client, client_for: MakeClient, api: httpx.Client) -> None:
    """Producer, scopes and limits; a wrong key is nobody."""
    identity = cutout.whoami()
    assert identity.producer.name == "shop"
    assert set(identity.key.scopes) == {"enqueue", "read", "admin"}
    with pytest.raises(cutout_client.UnauthorizedError):
        client_for(str(api.base_url), "cutout_wrong").whoami()
