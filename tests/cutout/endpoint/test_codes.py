"""Every documented error code, answered by the sandbox over HTTP."""

import csv
from pathlib import Path

import pytest

from cutout.endpoint.answer import Refused
from cutout.endpoint.client import EndpointClient
from cutout.endpoint.verdicts import VERDICTS, Verdict, verdict_of
from cutout.images.image import PreparedImage
from tests.cutout.endpoint.conftest import Sandbox

# The endpoint's documented table with our verdicts: a separate copy, so that one typing error cannot pass
# twice.
with Path(__file__).with_name("documented_codes.tsv").open(encoding="utf-8", newline="") as table:
    DOCUMENTED = list(csv.DictReader(table, delimiter="\t"))


class TestDocumentedCodes:
    def test_are_126_and_no_others_have_a_verdict(self) -> None:
        """The table of verdicts has exactly the documented codes."""
        assert len(VERDICTS) == 126
        assert set(VERDICTS) == {row["code"] for row in DOCUMENTED}

    @pytest.mark.parametrize("row", DOCUMENTED, ids=lambda row: row["code"])
    def test_get_their_verdict(
        self, row: dict[str, str], sandbox: Sandbox, client: EndpointClient, picture: PreparedImage
    ) -> None:
        """A code answered by the endpoint gets its verdict, with its status, and is not charged."""
        sandbox.order("code", code=row["code"])
        answer = client.cut_out(picture)
        assert isinstance(answer, Refused)
        assert (answer.code, answer.verdict) == (row["code"], Verdict(row["verdict"]))
        assert answer.http_status == int(row["http_status"])
        assert not answer.may_be_charged
        assert answer.request_id
        assert answer.log_id

    @pytest.mark.parametrize("envelope", ["page", "oldest", "middle", "newest"])
    def test_get_it_whatever_the_envelope_and_the_status(
        self, envelope: str, sandbox: Sandbox, client: EndpointClient, picture: PreparedImage
    ) -> None:
        """With the statuses from before 2026 and in each envelope the verdict is equal."""
        sandbox.change(envelope=envelope, statuses="before-2026")
        for row in DOCUMENTED:
            sandbox.order("code", code=row["code"])
            answer = client.cut_out(picture)
            assert isinstance(answer, Refused)
            assert (answer.code, answer.verdict) == (row["code"], Verdict(row["verdict"]))


class TestOtherCodes:
    @pytest.mark.parametrize(
        ("status", "verdict"),
        [
            (500, "retry"),
            (502, "retry"),
            (599, "retry"),
            (408, "retry"),
            (429, "slow"),
            (401, "pause"),
            (403, "pause"),
            (302, "pause"),
            (400, "fail"),
            (404, "fail"),
            (422, "fail"),
            (200, "unknown"),
            (204, "unknown"),
        ],
    )
    def test_are_classified_by_the_status(self, status: int, verdict: str) -> None:
        """An undocumented code, or none, is classified by the HTTP status."""
        assert verdict_of("ERROR_OF_TOMORROW", status) == verdict
        assert verdict_of(None, status) == verdict
