"""The identity that a key may ask for."""

from datetime import UTC, datetime, timedelta

import httpx
import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from cutout.administration.suspend import suspend
from cutout.enums import Priority, Scope
from cutout.producers.api_keys import make_key
from cutout.producers.ceilings import set_ceilings
from cutout.producers.producers import set_quota
from tests.api.conftest import key_for, producer_of
from tests.api.test_jobs import SOURCE, problem_of


@pytest.mark.parametrize("scope", list(Scope))
def test_tells_a_key_of_any_scope_what_it_may(client: httpx.Client, engine: Engine, scope: Scope) -> None:
    """Its producer, its scopes, and no limits where there are none."""
    headers = key_for(engine, "shop", scopes=[scope])
    told = client.get("/v1/whoami", headers=headers).json()
    assert told["producer"] == {"id": str(producer_of(engine)), "name": "shop"}
    assert (told["key"]["scopes"], told["key"]["expires_at"]) == ([scope], None)
    assert told["request_rate"] == {"per_second": 10_000, "burst": 100_000}
    assert told["ceilings"] == {"priority": None, "weight": None}
    assert told["quota"] == {"unfinished_jobs": None, "used": None}
    assert client.head("/v1/whoami", headers=headers).status_code == 200


def test_tells_the_limits_and_how_much_of_the_quota_is_used(client: httpx.Client, engine: Engine) -> None:
    """As the operator set them; nothing of the key's own text, and nothing of another producer."""
    headers = key_for(engine, "shop")
    key_for(engine, "other")
    producer = producer_of(engine)
    expires_at = datetime.now(UTC).replace(microsecond=0) + timedelta(days=3)
    with Session(engine) as session, session.begin():
        set_quota(session, producer, 5)
        set_ceilings(session, producer, top_priority=Priority.NORMAL, most_weight=10)
        key, text = make_key(session, producer, "short", expires_at=expires_at)
        key_id = str(key.id)
    for _ in range(2):
        assert client.post("/v1/jobs", json={"source_url": SOURCE}, headers=headers).status_code == 201
    answer = client.get("/v1/whoami", headers={"Authorization": f"Bearer {text}"})
    told = answer.json()
    assert (told["key"]["id"], told["key"]["name"]) == (key_id, "short")
    assert datetime.fromisoformat(told["key"]["expires_at"]) == expires_at
    assert told["ceilings"] == {"priority": "normal", "weight": 10}
    assert told["quota"] == {"unfinished_jobs": 5, "used": 2}
    assert text not in answer.text
    assert "other" not in answer.text


def test_is_refused_like_anything_else(client: httpx.Client, engine: Engine) -> None:
    """Without a key, and while the producer is suspended."""
    problem_of(client.get("/v1/whoami"), 401)
    headers = key_for(engine, "shop")
    with Session(engine) as session, session.begin():
        suspend(session, producer_of(engine))
    assert problem_of(client.get("/v1/whoami", headers=headers), 403)["type"].endswith("producer-suspended")
