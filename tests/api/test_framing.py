"""Headers that say two things of one body do not get it past its bounds."""

import httpx
import pytest

from api.limits.producer_slots import share_of
from api.limits.sizes import LIST_BYTES
from api.services import Services
from tests.support.slow_http import half_sent, statuses
from tests.support.system import wait_until


class TestTwoMediaTypes:
    @pytest.mark.parametrize(
        ("path", "other"),
        [("/v1/batches", "text/csv"), ("/v1/jobs", "multipart/form-data"), ("/v1/schedules", "text/csv")],
    )
    def test_do_not_let_json_be_as_large_as_a_file(
        self, shop: httpx.Client, services_of: Services, path: str, other: str
    ) -> None:
        """The one that the route takes it by also bounds it."""
        length = LIST_BYTES + 1 if path == "/v1/batches" else 70_000
        lines = ("Content-Type: application/json", f"Content-Type: {other}", f"Content-Length: {length}")
        with half_sent(shop, 1, path, *lines, start=b"{") as asked:
            assert statuses(asked, 1) == [413]
        assert len(services_of.uploads) == 0


class TestALengthBesideChunks:
    @pytest.mark.parametrize("length", ["0", "5"])
    def test_does_not_spare_the_body_its_place(
        self, shop: httpx.Client, services_of: Services, length: str
    ) -> None:
        """The chunks are what comes."""
        share = share_of(services_of.uploads.most)
        lines = ("Content-Type: text/csv", f"Content-Length: {length}", "Transfer-Encoding: chunked")
        with half_sent(shop, share + 3, "/v1/batches?name=b", *lines, start=b"5\r\na,b,c\r\n") as asked:
            assert statuses(asked, 3) == [429] * 3
            assert len(services_of.uploads) == share
        wait_until(lambda: len(services_of.uploads) == 0, "all places are free again")
