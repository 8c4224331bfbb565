"""Outputs as the API shows them: of a job, in lists, of a batch, and by redirects to their files."""

from typing import Any

import httpx
import pytest
from sqlalchemy import Engine

from cutout.enums import OutputState, ReturnForm
from cutout.storage import Bucket
from tests.api.conftest import key_for, producer_of
from tests.api.test_jobs import problem_of
from tests.support.fates import DONE, Fates, make_batch
from tests.support.outputs import (
    MADE,
    REASON,
    make_outputs,
    put_output,
    put_renderer,
    put_score,
    wait_at_full_size,
    without_outputs,
)

WAITING, FAILED = OutputState.WAITING, OutputState.FAILED


@pytest.fixture
def job_id(shop: httpx.Client, engine: Engine) -> str:
    """A job that has succeeded; its picture at full size and its score are waiting."""
    make_batch(engine, {"a": DONE}, producer_id=producer_of(engine))
    put_output(engine, "a", "rgba")
    (job,) = shop.get("/v1/jobs").json()["data"]
    found: str = job["id"]
    return found


def view_of(shop: httpx.Client, job_id: str) -> dict[str, Any]:
    view: dict[str, Any] = shop.get(f"/v1/jobs/{job_id}").raise_for_status().json()
    return view


class TestAJobThatSucceeded:
    def test_has_no_result_while_its_picture_waits(self, shop: httpx.Client, job_id: str) -> None:
        """It is succeeded, what was bought is there, and the output of its form is waiting."""
        view = view_of(shop, job_id)
        assert (view["state"], view["result"], view["score"]) == ("succeeded", None, None)
        assert view["bought"] == {
            "form": "rgba",
            "key": "cutouts/a.png",
            "url": f"/v1/jobs/{job_id}/bought",
            "media_type": "image/png",
            "sha256": "ab" * 32,
            "size_bytes": 12_345,
            "width": 10,
            "height": 20,
        }
        (output,) = view["outputs"]
        assert (output["name"], output["state"], output["url"]) == ("rgba", "waiting", None)

    def test_delivers_its_picture_at_full_size(self, shop: httpx.Client, engine: Engine, job_id: str) -> None:
        """The result is the output named like its form; the list shows the same as the job."""
        make_outputs(engine)
        put_score(engine, job_id, 0.75)
        view = view_of(shop, job_id)
        result, (output,) = view["result"], view["outputs"]
        assert (result["key"], result["width"], result["size_bytes"]) == ("cutouts/full.png", 40, 99_999)
        assert (result["sha256"], result["url"]) == ("cd" * 32, f"/v1/jobs/{job_id}/result")
        assert (output["factor"], output["derived_from"], output["version"]) == (4.0, "ab" * 32, 1)
        assert view["score"] == {"score": 0.75, "reasons": [REASON]}
        assert shop.get("/v1/jobs").json()["data"] == [view]

    def test_delivers_what_was_bought_if_its_form_needs_nothing_more(
        self, shop: httpx.Client, engine: Engine, job_id: str
    ) -> None:
        """A source that was sent as it is: no output of its form, although it has a rendition."""
        without_outputs(engine)
        put_output(engine, job_id, "amazon")
        view = view_of(shop, job_id)
        assert view["result"]["key"] == view["bought"]["key"] == "cutouts/a.png"

    def test_has_no_result_if_its_picture_failed(
        self, shop: httpx.Client, engine: Engine, job_id: str
    ) -> None:
        """The reason is in the output; its text names nothing of the installation."""
        message = "no memory; raise CUTOUT_RENDER_MEMORY_BYTES"
        put_output(engine, job_id, "rgba", FAILED, code="OUTPUT_TOO_COSTLY", message=message)
        view = view_of(shop, job_id)
        (output,) = view["outputs"]
        assert (view["state"], view["result"], output["state"]) == ("succeeded", None, "failed")
        assert output["error"] == {"code": "OUTPUT_TOO_COSTLY", "message": "no memory"}

    def test_marks_what_its_rendition_does_not_meet(
        self, shop: httpx.Client, engine: Engine, job_id: str
    ) -> None:
        """A rendition that misses its rule is made, with its problems beside its measures."""
        put_output(engine, job_id, "amazon", OutputState.MADE, problems=["600 px on its longest side"])
        amazon = view_of(shop, job_id)["outputs"][0]
        assert (amazon["state"], amazon["problems"]) == ("made", ["600 px on its longest side"])
        assert amazon["measures"] == MADE["measures"]


class TestARedirect:
    def test_waits_with_the_output(self, shop: httpx.Client, engine: Engine, job_id: str) -> None:
        """409 with a type of its own, and the seconds that an output takes."""
        put_renderer(engine, made=10, busy_seconds=30.0)
        for path in ("result", "outputs/rgba"):
            answer = shop.get(f"/v1/jobs/{job_id}/{path}")
            assert problem_of(answer, 409)["type"].endswith(":output-waiting")
            assert answer.headers["retry-after"] == "3"

    def test_says_that_no_renderer_runs(self, shop: httpx.Client, job_id: str) -> None:
        """Then the next question is worth while in a minute."""
        answer = shop.get(f"/v1/jobs/{job_id}/result")
        assert "no renderer runs" in problem_of(answer, 409)["detail"]
        assert answer.headers["retry-after"] == "60"

    def test_of_a_failed_output_gives_its_reason(
        self, shop: httpx.Client, engine: Engine, job_id: str
    ) -> None:
        """409, without a time after which another question helps."""
        put_output(engine, job_id, "rgba", FAILED, code="OUTPUT_WITHOUT_ALPHA", message="it is opaque")
        answer = shop.get(f"/v1/jobs/{job_id}/result")
        problem = problem_of(answer, 409)
        assert (problem["type"], "retry-after" in answer.headers) == (
            "urn:cutout:problem:output-failed",
            False,
        )
        assert problem["detail"].endswith("OUTPUT_WITHOUT_ALPHA: it is opaque")

    def test_leads_to_the_bytes_of_each_picture(
        self, shop: httpx.Client, engine: Engine, bucket: Bucket, job_id: str
    ) -> None:
        """Result and output at full size are one object; what was bought is another."""
        for key, data in (("cutouts/a.png", b"bought"), ("cutouts/full.png", b"full")):
            bucket.put_cutout(data, key=key, media_type="image/png", metadata={})
        make_outputs(engine)
        found = {
            path: httpx.get(shop.get(f"/v1/jobs/{job_id}/{path}").headers["location"]).content
            for path in ("result", "outputs/rgba", "bought")
        }
        assert found == {"result": b"full", "outputs/rgba": b"full", "bought": b"bought"}

    def test_by_the_form_leads_to_what_was_bought_if_that_is_delivered(
        self, shop: httpx.Client, engine: Engine, job_id: str
    ) -> None:
        """A client need not know whether its form needed an output."""
        without_outputs(engine)
        answer = shop.get(f"/v1/jobs/{job_id}/outputs/rgba")
        assert (answer.status_code, "cutouts/a.png" in answer.headers["location"]) == (307, True)

    def test_to_an_unknown_name_lists_the_known(self, shop: httpx.Client, job_id: str) -> None:
        """404; a score has no file and is none of them."""
        for name in ("amazon", "score"):
            problem = problem_of(shop.get(f"/v1/jobs/{job_id}/outputs/{name}"), 404)
            assert problem["type"].endswith(":unknown-output")
            assert problem["detail"].endswith("its outputs: rgba")

    @pytest.mark.parametrize("path", ["result", "bought", "outputs/rgba"])
    def test_of_a_job_without_a_cutout_is_a_409(self, shop: httpx.Client, engine: Engine, path: str) -> None:
        """Nothing was bought yet."""
        make_batch(engine, {"a": None}, producer_id=producer_of(engine))
        (job,) = shop.get("/v1/jobs").json()["data"]
        problem = problem_of(shop.get(f"/v1/jobs/{job['id']}/{path}"), 409)
        assert problem["type"].endswith(":no-result")

    @pytest.mark.parametrize("path", ["bought", "outputs/rgba"])
    def test_of_another_producer_finds_no_job(
        self, client: httpx.Client, engine: Engine, job_id: str, path: str
    ) -> None:
        """404, as if it were not there."""
        answer = client.get(f"/v1/jobs/{job_id}/{path}", headers=key_for(engine, "other"))
        problem_of(answer, 404)


class TestAFilter:
    def test_by_score_gives_the_suspicious(self, shop: httpx.Client, engine: Engine) -> None:
        """At the bound or above; a cutout without a score is not suspicious."""
        make_batch(engine, dict.fromkeys("abc", DONE), producer_id=producer_of(engine))
        put_score(engine, "a", 0.25)
        put_score(engine, "b", 0.5)
        assert self.found(shop, min_score=0.5) == ["b"]
        assert self.found(shop, min_score=0) == ["b", "a"]
        problem_of(shop.get("/v1/jobs", params={"min_score": 1.5}), 422)

    def test_by_state_gives_jobs_with_such_an_output(self, shop: httpx.Client, engine: Engine) -> None:
        """Any of several states; the score is no output."""
        batch_id = make_batch(engine, dict.fromkeys("abc", DONE), producer_id=producer_of(engine))
        without_outputs(engine)
        put_output(engine, "a", "amazon")
        put_output(engine, "b", "amazon", OutputState.MADE)
        put_output(engine, "b", "web", FAILED, code="X")
        put_output(engine, "c", "score")
        assert self.found(shop, output_state="waiting") == ["a"]
        assert self.found(shop, output_state=["waiting", "failed"], batch=str(batch_id)) == ["b", "a"]
        assert self.found(shop, output_state="made", external_id="b") == ["b"]

    def test_holds_for_all_pages(self, shop: httpx.Client, engine: Engine) -> None:
        """A cursor belongs to the filters of its page."""
        make_batch(engine, dict.fromkeys("abc", DONE), producer_id=producer_of(engine))
        wait_at_full_size(engine)
        query: dict[str, str | int] = {"output_state": "waiting", "limit": 2}
        page = shop.get("/v1/jobs", params=query).json()
        following = shop.get("/v1/jobs", params=query | {"cursor": page["next_cursor"]}).json()
        assert (len(page["data"]), len(following["data"]), following["next_cursor"]) == (2, 1, None)
        other: dict[str, str | int] = {"output_state": "made", "limit": 2, "cursor": page["next_cursor"]}
        problem_of(shop.get("/v1/jobs", params=other), 422)

    @staticmethod
    def found(shop: httpx.Client, **query: Any) -> list[str]:
        data = shop.get("/v1/jobs", params=query).raise_for_status().json()["data"]
        return [job["external_id"] for job in data]


class TestABatch:
    def test_counts_its_outputs_and_its_scores(self, shop: httpx.Client, engine: Engine) -> None:
        """By state, each of the two by itself."""
        fates: Fates = {("a", ReturnForm.RGBA): DONE, ("a", ReturnForm.MASK): DONE}
        batch_id = make_batch(engine, fates, producer_id=producer_of(engine))
        for job in shop.get("/v1/jobs").json()["data"]:
            put_output(engine, job["id"], "amazon", FAILED, code="X")
            put_score(engine, job["id"], 0.0)
        batch = shop.get(f"/v1/batches/{batch_id}").json()
        assert batch["outputs"] == {"waiting": 1, "made": 0, "failed": 2}
        assert batch["scores"] == {"waiting": 0, "made": 2, "failed": 0}
        assert (batch["state"], batch["total"]) == ("finished", 2)


def test_an_explanation_names_each_output_that_waits(shop: httpx.Client, engine: Engine, job_id: str) -> None:
    """Without operators' commands: a producer cannot start a renderer."""
    put_output(engine, job_id, "web", FAILED, code="X", message="m")
    told = shop.get(f"/v1/jobs/{job_id}/explanation").json()
    assert told["why"] == "done"
    assert [(output["name"], output["text"]) for output in told["outputs"]] == [
        ("rgba", "it waits: no renderer runs"),
        ("score", "it waits: no renderer runs"),
        ("web", "X: m"),
    ]
    assert "cutout renderer" not in str(told)
