"""Classification of answers: success, refusal, and everything between."""

import json
import time
from email.utils import formatdate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutout.endpoint.answer import (
    GATEWAY_REFUSALS,
    MAX_NAME,
    MAX_TEXT,
    NOT_UNDERSTOOD,
    Accepted,
    Refused,
    read_answer,
)
from cutout.endpoint.verdicts import Verdict
from tests.support.clock import off_by

URL = "https://ai-result-rapidapi.ailabtools.com/s3cret.png"
OLDEST = {
    "request_id": "r-1",
    "log_id": "l-1",
    "error_code": 0,
    "error_code_str": "",
    "error_msg": "",
    "error_detail": {"status_code": 200, "code": "", "code_message": "", "message": ""},
    "data": {"image_url": URL},
}
NEWEST = {
    "request_id": "r-1",
    "log_id": "l-1",
    "error_detail": {"code": "", "code_message": "", "message": ""},
    "data": {"image_url": URL},
}


def classified(envelope: object, status: int = 200, **headers: str) -> Accepted | Refused:
    return read_answer(status, headers, json.dumps(envelope).encode())


def refused(envelope: object, status: int = 200, **headers: str) -> Refused:
    answer = classified(envelope, status, **headers)
    assert isinstance(answer, Refused)
    return answer


class TestSuccess:
    @pytest.mark.parametrize("envelope", [OLDEST, NEWEST])
    def test_is_recognised_in_every_envelope(self, envelope: dict[str, Any]) -> None:
        """The URL and both ids are returned, in the oldest and in the newest envelope."""
        assert classified(envelope) == Accepted(URL, "r-1", "l-1")

    @pytest.mark.parametrize("code", [0, "0", None, "", 0.0])
    def test_needs_no_more_than_a_url(self, code: object) -> None:
        """Every field but the URL may be missing or empty."""
        assert classified({"error_code": code, "data": {"image_url": URL}}) == Accepted(URL)

    def test_hides_its_url(self) -> None:
        """Neither repr nor str of a success contains the URL."""
        assert "s3cret" not in f"{classified(OLDEST)!r} {classified(OLDEST)}"

    @pytest.mark.parametrize("ids", [{"request_id": 7, "log_id": ["x"]}, {"request_id": None}, {}])
    def test_survives_ids_of_any_type(self, ids: dict[str, object]) -> None:
        """An id that is no text reads as none."""
        assert classified({**ids, "data": {"image_url": URL}}) == Accepted(URL)


class TestNotUnderstood:
    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"null",
            b"[]",
            b'"ok"',
            b"{}",
            b"<html>Welcome</html>",
            b"\xff\xfe\x00",
            b'{"data": null}',
            b'{"data": []}',
            b'{"data": {}}',
            b'{"data": {"image_url": ""}}',
            b'{"data": {"image_url": null}}',
            b'{"data": {"image_url": 7}}',
            b'{"data": {"image_url": "ftp://x/y.png"}}',
            b'{"data": {"image_url": "/relative.png"}}',
            b'{"data": {"image_url": "https://"}}',
            b'{"data": {"image_url": "https://x/\\u0000"}}',
            b'{"data": {"image_url": "https://x/' + b"y" * 5000 + b'"}}',
            b'{"error_code": 7, "data": {"image_url": "https://x/y.png"}}',
            b"[" * 100_000,
            b'{"error_code": ' + b"9" * 10_000 + b"}",
        ],
    )
    def test_a_200_that_is_neither_success_nor_failure_may_have_been_charged(self, body: bytes) -> None:
        """It gets a code of our own, the verdict unknown, and the mark that a credit may be charged."""
        answer = read_answer(200, {}, body)
        assert isinstance(answer, Refused)
        assert (answer.code, answer.verdict, answer.may_be_charged) == (NOT_UNDERSTOOD, Verdict.UNKNOWN, True)

    def test_a_2xx_other_than_200_is_no_success(self) -> None:
        """Only 200 is documented as success; another 2xx may have been charged nevertheless."""
        assert refused(OLDEST, status=202).may_be_charged

    def test_a_200_with_an_undocumented_code_may_have_been_charged(self) -> None:
        """The code is kept, and the charge stays unknown."""
        answer = refused({"error_detail": {"code": "NEW_KIND_OF_NOTE"}, "data": {"image_url": URL}})
        assert (answer.code, answer.verdict, answer.may_be_charged) == (
            "NEW_KIND_OF_NOTE",
            Verdict.UNKNOWN,
            True,
        )


class TestFailure:
    def test_on_a_200_is_a_failure(self) -> None:
        """A documented code in a 200 with a URL is a failure, and not charged."""
        answer = refused({"error_detail": {"code": "EXCEEDING_LIMITS"}, "data": {"image_url": URL}})
        assert (answer.verdict, answer.may_be_charged) == (Verdict.SLOW, False)

    def test_is_found_in_either_place_of_the_code(self) -> None:
        """The older `error_code_str` alone makes a 200 a failure, too."""
        assert refused({**NEWEST, "error_code_str": "PROCESSING_FAILURE"}).verdict == Verdict.RETRY

    def test_is_classified_by_the_detailed_code_first(self) -> None:
        """`error_detail.code` has precedence over `error_code_str`, and both over the status."""
        both = {"error_detail": {"code": "PROCESSING_FAILURE"}, "error_code_str": "EXCEEDING_LIMITS"}
        assert refused(both, status=400).code == "PROCESSING_FAILURE"
        assert refused({**both, "error_detail": {}}, status=400).code == "EXCEEDING_LIMITS"
        assert refused({**both, "error_detail": "broken"}, status=400).code == "EXCEEDING_LIMITS"
        assert refused({}, status=400).code == "HTTP_400"

    def test_of_credits_is_not_taken_for_speed(self) -> None:
        """Both answer 429; without credits the account pauses instead of slowing down."""
        assert refused({"error_detail": {"code": "ERROR_NOT_ENOUGH_CREDITS"}}, 429).verdict == Verdict.PAUSE
        assert refused({}, 429).verdict == Verdict.SLOW

    @pytest.mark.parametrize("inner", [429, "429"])
    def test_inside_a_200_is_judged_by_the_inner_status(self, inner: object) -> None:
        """An `error_code` that repeats a failing status replaces the HTTP status 200."""
        answer = refused({"error_code": inner})
        assert (answer.code, answer.verdict, answer.may_be_charged) == ("HTTP_429", Verdict.SLOW, False)

    def test_without_json_is_judged_by_the_status(self) -> None:
        """A gateway's plain text is a failure of its status; what the endpoint did is unknown."""
        answer = read_answer(502, {}, b"bad gateway")
        assert isinstance(answer, Refused)
        assert (answer.code, answer.verdict, answer.may_be_charged) == ("HTTP_502", Verdict.RETRY, True)


class TestAnAnswerThatTheEndpointDidNotGive:
    @pytest.mark.parametrize("status", [303, 304, 408, 499, 500, 502, 503, 504, 520, 524])
    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"<html>Gateway time-out</html>",
            b'{"message": "Endpoint request timed out"}',
            b'{"message": "An invalid response was received", "request_id": "from-the-gateway"}',
            b'{"request_id": "r-1", "error_detail": {"code": "PROC',
        ],
    )
    def test_may_follow_a_charge(self, status: int, body: bytes) -> None:
        """A proxy's page, a gateway's JSON, an incomplete body: the call behind it may be finished."""
        answer = read_answer(status, {}, body)
        assert isinstance(answer, Refused)
        assert (answer.code, answer.may_be_charged) == (f"HTTP_{status}", True)

    @pytest.mark.parametrize("status", sorted(GATEWAY_REFUSALS))
    def test_costs_nothing_where_the_endpoint_was_not_reached(self, status: int) -> None:
        """Redirects, and refusals of the caller or of the request, come before any work."""
        answer = read_answer(status, {}, b"<html>No</html>")
        assert isinstance(answer, Refused)
        assert not answer.may_be_charged

    def test_costs_nothing_with_a_retry_after(self) -> None:
        """503 with Retry-After refuses; 503 alone may be a server that failed during its work."""
        answer = read_answer(503, {"retry-after": "5"}, b"<html>Busy</html>")
        assert isinstance(answer, Refused)
        assert not answer.may_be_charged

    @pytest.mark.parametrize("status", [408, 500, 502, 504])
    def test_costs_nothing_before_the_whole_request_went_out(self, status: int) -> None:
        """The endpoint cannot cut out half a picture."""
        answer = read_answer(status, {}, b"", went_out=False)
        assert isinstance(answer, Refused)
        assert not answer.may_be_charged

    @pytest.mark.parametrize(
        "envelope",
        [
            {"error_detail": {"code": "SOMETHING_NEW"}},
            {"error_code_str": "SOMETHING_NEW"},
            {"error_code": 500, "error_msg": "Server error"},
            {"request_id": "r-1", "log_id": "l-1"},
            {"request_id": "r-1", "error_detail": {"message": "Server error"}},
        ],
    )
    def test_differs_from_the_endpoints_own_failures(self, envelope: dict[str, Any]) -> None:
        """An answer with its envelope is the endpoint's own, and its failures are not charged."""
        assert not refused(envelope, status=500).may_be_charged


class TestMessage:
    def test_is_the_most_detailed_there_is(self) -> None:
        """`message`, then `code_message`, then `error_msg`."""
        detail = {"message": "one", "code_message": "two"}
        assert refused({"error_detail": detail, "error_msg": "three"}, 500).message == "one"
        assert refused({"error_detail": {"code_message": "two"}, "error_msg": "three"}, 500).message == "two"
        assert refused({"error_msg": "three"}, 500).message == "three"
        assert refused({"error_msg": 3}, 503).message == "HTTP status 503 without an explanation"

    def test_is_bounded_printable_and_without_urls(self) -> None:
        """Control characters, lone surrogates, line breaks and URLs are removed."""
        text = "a\nb\x00\ud800\u202e see https://results.example/s3cret " + "x" * 10_000
        message = refused({"error_msg": text}, 500).message
        assert message.startswith("a b see <url> x")
        assert len(message) <= MAX_TEXT
        message.encode()

    def test_no_control_character_can_hide_a_url(self) -> None:
        """A URL with a control character inside is removed too."""
        assert "s3cret" not in refused({"error_msg": "ht\x00tps://results.example/s3cret"}, 500).message


class TestRetryAfter:
    @pytest.mark.parametrize(
        ("value", "seconds"),
        [("7", 7), ("0.5", 0.5), ("-3", 0), ("1e99", 3600), ("inf", 3600), ("nan", None), ("soon", None)],
    )
    def test_reads_seconds(self, value: str, seconds: float | None) -> None:
        """Seconds are limited to 0 to one hour; a value that is no number is ignored."""
        assert refused({}, 429, **{"retry-after": value}).retry_after_s == seconds

    def test_reads_a_date(self) -> None:
        """An HTTP date becomes seconds from now."""
        seconds = refused({}, 503, **{"retry-after": formatdate(time.time() + 60, usegmt=True)}).retry_after_s
        assert seconds is not None
        assert 50 < seconds <= 60

    @pytest.mark.parametrize("off_s", [-90.0, 90.0])
    def test_reads_a_date_by_the_endpoints_clock(self, off_s: float) -> None:
        """Both dates are the endpoint's own, so this machine's clock may be wrong."""
        now = time.time()
        dates = {"date": formatdate(now, usegmt=True), "retry-after": formatdate(now + 60, usegmt=True)}
        with off_by(off_s):
            assert refused({}, 503, **dates).retry_after_s == 60

    def test_is_absent_without_the_header(self) -> None:
        """Without the header there is no value."""
        assert refused({}, 503).retry_after_s is None


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
detail = anything | st.fixed_dictionaries(
    {}, optional={"code": anything, "message": anything, "code_message": anything}
)
envelopes = st.fixed_dictionaries(
    {},
    optional={
        "request_id": anything,
        "log_id": anything,
        "error_code": anything,
        "error_code_str": anything,
        "error_msg": anything,
        "error_detail": detail,
        "data": anything | st.fixed_dictionaries({"image_url": anything}),
    },
)


class TestAnything:
    @given(envelope=envelopes, status=st.integers(100, 599), retry_after=st.text(max_size=30))
    def test_fields_of_any_type_are_judged(
        self, envelope: dict[str, Any], status: int, retry_after: str
    ) -> None:
        """No envelope raises, every text is bounded and storable, and success needs a URL."""
        answer = classified(envelope, status, **{"retry-after": retry_after})
        if isinstance(answer, Accepted):
            assert status == 200
            assert answer.result_url.startswith("http")
        else:
            assert 0 < len(answer.code) <= MAX_NAME
            assert "\x00" not in answer.code + answer.message
            (answer.code + answer.message + answer.request_id + answer.log_id).encode()

    @given(body=st.binary(max_size=200), status=st.integers(100, 599))
    def test_bytes_of_any_kind_are_judged(self, body: bytes, status: int) -> None:
        """No body raises."""
        assert isinstance(read_answer(status, {}, body), Accepted | Refused)
