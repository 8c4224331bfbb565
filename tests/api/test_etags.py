import time
from contextlib import nullcontext

import httpx
import pytest
from sqlalchemy import Engine, text
from starlette.requests import Request

from api.etag import require_match, revised_etag
from api.problems import ProblemError
from tests.api.conftest import producer_of
from tests.api.polled_jobs import change, claim, new_job
from tests.api.test_jobs import problem_of
from tests.support.fates import DONE, make_batch


class TestATag:
    def test_spares_what_the_client_has(self, shop: httpx.Client, engine: Engine) -> None:
        """304 without a body while nothing changes, and the new body with a new tag once something does."""
        path = f"/v1/jobs/{new_job(shop)}"
        first = shop.get(path)
        same = shop.get(path, headers={"If-None-Match": first.headers["etag"]})
        assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", first.headers["etag"])
        claim(engine)
        other = shop.get(path, headers={"If-None-Match": first.headers["etag"]})
        assert (other.status_code, other.json()["state"]) == (200, "running")
        assert other.headers["etag"] != first.headers["etag"]

    @pytest.mark.parametrize(
        ("given", "status"), [("*", 304), ('"x", {}', 304), ('"x"', 200), ("", 200), ("W/", 200)]
    )
    def test_is_read_as_the_standard_says(self, shop: httpx.Client, given: str, status: int) -> None:
        """A list, weak or strong, or anything that there is."""
        path = f"/v1/jobs/{new_job(shop)}"
        tag = shop.get(path).headers["etag"]
        assert shop.get(path, headers={"If-None-Match": given.format(tag)}).status_code == status
        assert shop.get(path, headers={"If-None-Match": tag.removeprefix("W/")}).status_code == 304

    def test_of_a_batch_does_not_change_with_time_alone(self, shop: httpx.Client, engine: Engine) -> None:
        """A partial file is left out."""
        path = f"/v1/batches/{make_batch(engine, {'a': DONE, 'b': None}, producer_id=producer_of(engine))}"
        tag = shop.get(path).headers["etag"]
        time.sleep(1.1)
        assert shop.get(path, headers={"If-None-Match": tag}).status_code == 304
        claim(engine)
        time.sleep(1.1)
        changed = shop.get(path, headers={"If-None-Match": tag})
        assert (changed.status_code, changed.json()["counts"]["running"]) == (200, 1)

    def test_may_come_in_several_lines(self, shop: httpx.Client) -> None:
        """As one list of all of them."""
        path = f"/v1/jobs/{new_job(shop)}"
        tag = shop.get(path).headers["etag"]
        lines = [("If-None-Match", '"x"'), ("If-None-Match", tag)]
        assert shop.get(path, headers=lines).status_code == 304


class TestIfMatch:
    @pytest.mark.parametrize("given", ["{}", "*", '"x", {}', "strong {}"])
    def test_lets_a_change_of_what_was_seen_pass(self, shop: httpx.Client, given: str) -> None:
        """The tag, weak or strong, in a list, or anything that there is."""
        path = f"/v1/jobs/{new_job(shop)}"
        tag = shop.get(path).headers["etag"]
        tag = tag.removeprefix("W/") if given.startswith("strong ") else tag
        match = {"If-Match": given.removeprefix("strong ").format(tag)}
        assert shop.post(f"{path}/cancel", headers=match).json()["state"] == "cancelled"

    @pytest.mark.parametrize("action", ["cancel", "retry", "release", "retry-outputs", "delete"])
    def test_refuses_a_change_of_what_has_moved(
        self, shop: httpx.Client, engine: Engine, action: str
    ) -> None:
        """412 and nothing done, for each action on a job."""
        path = f"/v1/jobs/{new_job(shop)}"
        stale = {"If-Match": shop.get(path).headers["etag"]}
        change(engine, state="failed", queue_state=None, code="LOOK", finished_at=text("now()"))
        if action == "delete":
            answer = shop.delete(path, headers=stale)
        else:
            answer = shop.post(f"{path}/{action}", headers=stale)
        assert problem_of(answer, 412)["type"].endswith("changed-meanwhile")
        assert shop.get(path).json()["state"] == "failed"

    def test_is_not_asked_of_a_request_that_is_sent_again(self, shop: httpx.Client) -> None:
        """The first one made the tag stale; it is answered as the first time."""
        path = f"/v1/jobs/{new_job(shop)}"
        headers = {"If-Match": shop.get(path).headers["etag"], "Idempotency-Key": "k"}
        first, again = (shop.post(f"{path}/cancel", headers=headers) for _ in range(2))
        assert (first.status_code, again.status_code, again.content) == (200, 200, first.content)

    @pytest.mark.parametrize(
        ("given", "passes"),
        [
            ('W/"3.x"', True),
            ('"3.y"', True),
            ('"2.x", "3.x"', True),
            ("*", True),
            ('"4.x"', False),
            ("3", False),
        ],
    )
    def test_compares_revisions_alone_where_there_are_any(self, given: str, passes: bool) -> None:  # noqa: FBT001 - a case
        """Counts that moved meanwhile do not matter."""
        request = Request({"type": "http", "headers": [(b"if-match", given.encode())]})
        with nullcontext() if passes else pytest.raises(ProblemError):
            require_match(request, revision=3)

    def test_finds_the_revision_of_a_tag_that_was_given_out(self) -> None:
        """A tag with a revision is weak, and read again."""
        tag = revised_etag(12, "body")
        assert tag.startswith('W/"12.')
        require_match(Request({"type": "http", "headers": [(b"if-match", tag.encode())]}), revision=12)
