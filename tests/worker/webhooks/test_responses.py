from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from cutout.network import (
    AddressRefused,
    DeadlinePassed,
    EgressUnavailable,
    FetchError,
    NotReached,
    Unreachable,
)
from worker.webhooks.post import WebhookResponse
from worker.webhooks.responses import DELAYS_S, classify


def rest_of(status: int, retry_after: str | None = None, tries: int = 1) -> float:
    result = classify(WebhookResponse(status, retry_after), tries)
    assert result.delay is not None
    return result.delay.total_seconds()


class TestClassify:
    def test_on_an_egress_proxy_says_nothing_of_the_receiver(self) -> None:
        """It is tried later, and its receiver is neither failing nor well."""
        result = classify(EgressUnavailable("the egress proxy answered 407 to CONNECT"), 1)
        assert (result.status, result.failing, result.egress_away) == (None, None, True)
        assert result.delay is not None
        assert result.reason == "the egress proxy answered 407 to CONNECT"

    def test_on_a_server_that_the_proxy_refuses_or_does_not_reach_counts_for_the_receiver(self) -> None:
        """The proxy works: this receiver is failing."""
        result = classify(NotReached("the egress proxy answered 403 to CONNECT"), 1)
        assert (result.failing, result.egress_away) == (True, False)
        assert result.delay is not None

    @pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
    def test_on_a_2xx_is_delivered(self, status: int) -> None:
        """A 2xx means that the receiver has the message."""
        result = classify(WebhookResponse(status, None), 1)
        assert (result.status, result.reason, result.failing) == (status, None, False)

    @pytest.mark.parametrize(
        ("answer", "reason"),
        [
            (WebhookResponse(410, None), "answered 410"),
            (AddressRefused("x leads to an address that is not public"), "not public"),
        ],
    )
    def test_on_what_can_never_be_taken_is_final(
        self, answer: WebhookResponse | FetchError, reason: str
    ) -> None:
        """Without a delay it is given up."""
        result = classify(answer, 1)
        assert result.delay is None
        assert reason in str(result.reason)

    @pytest.mark.parametrize(
        ("answer", "failing"),
        [
            (WebhookResponse(301, None), False),
            (WebhookResponse(400, None), False),
            (WebhookResponse(404, None), False),
            (WebhookResponse(500, None), False),
            (WebhookResponse(429, None), True),
            (WebhookResponse(503, None), True),
            (DeadlinePassed("no answer within 10 s"), True),
            (Unreachable("no answer"), True),
        ],
    )
    def test_on_everything_else_is_to_try_again(
        self, answer: WebhookResponse | FetchError, *, failing: bool
    ) -> None:
        """A receiver that does not answer, or says that it is overloaded, is delayed as a whole."""
        result = classify(answer, 1)
        assert result.delay
        assert result.reason
        assert result.failing == failing

    def test_shows_nothing_unprintable(self) -> None:
        """Part of a reason may be the receiver's own bytes."""
        reason = classify(Unreachable("no answer: \x1b[31m\n" + "x" * 9999), 1).reason
        assert reason is not None
        assert reason.isprintable()
        assert len(reason) == 200


class TestTheDelay:
    @pytest.mark.parametrize(("tries", "seconds"), [*enumerate(DELAYS_S, start=1), (20, 7200.0)])
    def test_grows_up_to_two_hours(self, tries: int, seconds: float) -> None:
        """Each delay is spread by a fifth, so that failures do not come back together."""
        rests = [rest_of(500, tries=tries) for _ in range(50)]
        assert seconds * 0.8 <= min(rests) < max(rests) <= seconds * 1.2

    def test_is_what_the_receiver_asks_for(self) -> None:
        """Retry-After is in seconds or a date, an hour at most, and never shorter than the usual delay."""
        assert rest_of(429, "120") == 120
        assert rest_of(429, "999999999999999999999999999999") == 3600
        assert rest_of(429, "1") >= 4
        at = datetime.now(UTC) + timedelta(seconds=300)
        assert 290 < rest_of(503, format_datetime(at, usegmt=True)) <= 300

    @pytest.mark.parametrize(
        "nonsense",
        [
            *("", "soon", "-5", "1e9", "٣", "Thu, 99 Foo 2026 99:99:99 GMT", "0"),
            *("1 Jan 9999999999 0:0:0", "1 Jan 2000 99999999999999:0:0", "1 Jan 2000 0:0:0 +99999999999999"),
        ],
    )
    def test_is_ours_if_that_cannot_be_read(self, nonsense: str) -> None:
        """An unreadable Retry-After is ignored."""
        assert 4 <= rest_of(429, nonsense) <= 6
