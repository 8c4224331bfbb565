"""The rules of the two tiers, each broken by a small run of pytest's own."""

import pytest

SETTINGS = """
    [pytest]
    tier_budget_seconds = 0.01
"""
TESTS = """
    import time
    import pytest

    @pytest.mark.long({reason})
    def test_long():
        time.sleep(0.5)

    def test_short():
        time.sleep({seconds})
"""


def run(pytester: pytest.Pytester, *words: str, seconds: float = 0, reason: str = "") -> pytest.RunResult:
    pytester.makeini(SETTINGS)
    pytester.makepyfile(TESTS.format(seconds=seconds, reason=reason or "'it sleeps for a while'"))
    return pytester.runpytest_subprocess("-p", "tests.support.tiers", *words)


def test_a_long_test_may_take_its_time(pytester: pytest.Pytester) -> None:
    """The second tier has no budget, and the run says how long each test took."""
    ran = run(pytester)
    assert ran.ret == pytest.ExitCode.OK
    ran.stdout.fnmatch_lines(["*seconds by package*", "*slowest tests*", "*0.5  *::test_long"])


def test_the_first_tier_leaves_long_tests_out(pytester: pytest.Pytester) -> None:
    """`make test` selects by the marker."""
    run(pytester, "-m", "not long").assert_outcomes(passed=1, deselected=1)


@pytest.mark.long("starts pytest anew each time")
def test_a_short_test_over_its_budget_fails_the_run(pytester: pytest.Pytester) -> None:
    """Ten times the budget and more: the test passed, the run did not."""
    ran = run(pytester, seconds=1.5)
    ran.assert_outcomes(passed=2)
    assert ran.ret == pytest.ExitCode.TESTS_FAILED
    ran.stdout.fnmatch_lines(["OVER BUDGET: *::test_short took *"])


@pytest.mark.long("starts pytest anew each time")
@pytest.mark.parametrize("reason", ["''", "'slow'", "1, 2", "reason='by a name'"])
def test_a_long_test_needs_a_reason(pytester: pytest.Pytester, reason: str) -> None:
    """The run is refused when the marker says nothing."""
    ran = run(pytester, reason=reason)
    assert ran.ret == pytest.ExitCode.USAGE_ERROR
    ran.stderr.fnmatch_lines(["*test_long: `long` needs a reason of a few words"])


def test_a_reason_names_tests_that_are_there(pytester: pytest.Pytester) -> None:
    """Files that a long test's reason names exist."""
    ran = run(pytester, reason="'waits for long; tests/gone.py does not'")
    assert ran.ret == pytest.ExitCode.USAGE_ERROR
    ran.stderr.fnmatch_lines(["*names tests/gone.py, which is not there"])
