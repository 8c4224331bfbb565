"""Windows of a batch that is added: hours of the day in which its calls go out."""

import pytest

from tests.console.conftest import Site, signed_in
from tests.console.forms import form, send


class TestWindows:
    """Hours of the day in which the calls of a batch go out."""

    def test_are_those_of_the_form(self, site: Site) -> None:
        """The batch has the opening, and its page says the hours with their zone."""
        with signed_in(site, site.key) as client:
            sent = form(url="https://shop.example/a.csv", opens="22:00", closes="06:00", zone="Europe/Paris")
            answer = send(client, sent)
            assert answer.status_code == 303
            page = client.get(answer.headers["location"]).text
        assert "each day 22:00-06:00 in Europe/Paris until it is done" in page
        length = site.scalar("SELECT closes_at - opens_at FROM batches WHERE closes_at > now()")
        assert 7 <= length.total_seconds() / 3600 <= 9

    @pytest.mark.parametrize(
        ("fields", "words"),
        [
            ({"opens": "22:00"}, "A window has two times"),
            ({"closes": "06:00"}, "A window has two times"),
            ({"opens": "22:00", "closes": "22:00"}, "is empty"),
            ({"opens": "x" * 200, "closes": "06:00"}, "is not two times of a day"),
            ({"opens": "22:00", "closes": "06:00", "zone": "Mars/<b>"}, "does not exist"),
        ],
    )
    def test_that_cannot_be_are_told(self, site: Site, fields: dict[str, str], words: str) -> None:
        """The form comes back with what was typed, and nothing is stored."""
        with signed_in(site, site.key) as client:
            answer = send(client, form(url="https://shop.example/a.csv", **fields))
        assert answer.status_code == 422
        assert words in answer.text
        assert '<details class="more" open>' in answer.text
        assert "Mars/<b>" not in answer.text
        assert site.scalar("SELECT count(*) FROM batches") == 0
