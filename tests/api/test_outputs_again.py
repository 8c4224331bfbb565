"""Outputs that failed, made again by a request."""

import httpx
import pytest
from sqlalchemy import Engine

from cutout.enums import OutputState
from tests.api.conftest import key_for, producer_of
from tests.api.test_outputs import view_of
from tests.support.actions import carry_out
from tests.support.fates import DONE, make_batch
from tests.support.outputs import make_outputs, put_output

FAILED = OutputState.FAILED


@pytest.fixture
def job_id(shop: httpx.Client, engine: Engine) -> str:
    """A job that has succeeded, one of whose outputs has failed."""
    make_batch(engine, {"a": DONE}, producer_id=producer_of(engine))
    (job,) = shop.get("/v1/jobs").json()["data"]
    found: str = job["id"]
    make_outputs(engine)
    put_output(engine, found, "amazon", FAILED, code="OUTPUT_TOO_COSTLY", message="m", tries=3)
    return found


def states(shop: httpx.Client, job_id: str) -> dict[str, str]:
    return {output["name"]: output["state"] for output in view_of(shop, job_id)["outputs"]}


class TestAFailedOutput:
    def test_names_the_request_that_makes_it_again(self, shop: httpx.Client, job_id: str) -> None:
        """Without the operator's command."""
        why = shop.get(f"/v1/jobs/{job_id}/explanation").raise_for_status().json()
        remedy = next(each["remedy"] for each in why["outputs"] if each["name"] == "amazon")
        assert f"`POST /v1/jobs/{job_id}/retry-outputs`" in remedy
        assert "cutout " not in remedy

    @pytest.mark.parametrize("of", ["job", "batch"])
    def test_waits_again(self, shop: httpx.Client, engine: Engine, job_id: str, of: str) -> None:
        batch_id = view_of(shop, job_id)["batch_id"]
        path = f"/v1/jobs/{job_id}" if of == "job" else f"/v1/batches/{batch_id}"
        view = shop.post(f"{path}/retry-outputs").raise_for_status().json()
        if of == "job":
            assert view == view_of(shop, job_id)
        else:
            assert [each["kind"] for each in view["actions"]] == ["retry_outputs"]
            assert carry_out(engine) == 1
            (done,) = shop.get(f"{path}/actions").json()["data"]
            assert (done["changed"], done["error"]) == (1, None)
            assert done["finished_at"] is not None
        assert states(shop, job_id)["amazon"] == "waiting"

    @pytest.mark.parametrize("of", ["job", "batch"])
    def test_of_another_producer_is_not_found(
        self, shop: httpx.Client, engine: Engine, job_id: str, of: str
    ) -> None:
        batch_id = view_of(shop, job_id)["batch_id"]
        path = f"/v1/jobs/{job_id}" if of == "job" else f"/v1/batches/{batch_id}"
        other = key_for(engine, "other")
        assert shop.post(f"{path}/retry-outputs", headers=other).status_code == 404
        assert states(shop, job_id)["amazon"] == "failed"
