import pytest

from cutout.monitoring.redis_health import HOST, judge_clocks, judge_eviction


class TestEviction:
    @pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-lfu", "allkeys-random"])
    def test_of_keys_without_an_expiry_is_wrong(self, policy: str) -> None:
        """The limit's keys and the queues have no expiry."""
        check = judge_eviction(policy)
        assert not check.ok
        assert policy in check.found

    @pytest.mark.parametrize("policy", ["noeviction", "volatile-lru", "volatile-ttl", "unknown"])
    def test_of_keys_with_an_expiry_does_no_harm(self, policy: str) -> None:
        """A full Redis then refuses writes, and calls wait."""
        assert judge_eviction(policy).ok


class TestClocks:
    def test_that_agree_are_well(self) -> None:
        """A difference of two seconds is allowed."""
        assert judge_clocks({HOST: 0.0, "Redis": 1.5, "Postgres": -0.3}).ok

    @pytest.mark.parametrize(
        ("redis", "postgres", "found"),
        [
            (-90.0, 0.1, "the clock of Redis is 90.1 s behind"),
            (0.2, 3600.0, "the clock of Postgres is 3599.8 s ahead"),
            (90.0, 90.0, "the clock of this host is 90.0 s behind"),
        ],
    )
    def test_of_three_the_lonely_one_is_off(self, redis: float, postgres: float, found: str) -> None:
        """Of three clocks the one that differs is wrong."""
        judged = judge_clocks({HOST: 0.0, "Redis": redis, "Postgres": postgres})
        assert judged.ok is False
        expected = {"Redis": 90.0, "Postgres": 3600.0}
        assert (
            judged.found.split(" s ")[0].rsplit(" ", 1)[0]
            == found.split(" s ", maxsplit=1)[0].rsplit(" ", 1)[0]
        ), expected
        assert judged.found.split(" s ")[1] == found.split(" s ")[1]

    def test_of_two_either_may_be_off(self) -> None:
        """With two clocks the wrong one cannot be told."""
        judged = judge_clocks({HOST: 0.0, "Postgres": 60.0})
        assert (
            judged.found == "the clock of Postgres is 60.0 s ahead of that of this host; either may be wrong"
        )
