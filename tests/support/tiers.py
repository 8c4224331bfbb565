"""Two tiers of tests, and the time that they take.

The first tier has each behaviour once, in tests of at most `tier_budget_seconds`. A test is in the second
tier by `@pytest.mark.long("the reason")`. A run says how long its packages and its slowest tests took, and
fails if a test of the first tier took over OVER_BUDGET times its budget.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping

import pytest

from tests.support.machine import slowness

BUDGET = "tier_budget_seconds"
OVER_BUDGET = 10
SLOWEST = 10
WORDS_OF_A_REASON = 4
# A reason may name the tests of the first tier that have the same behaviour.
A_PATH = re.compile(r"tests/[\w/.]*\w")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the budget of a test in the first tier."""
    parser.addini(BUDGET, "seconds that a test of the first tier may take on an idle machine", default="5")


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker; measure where the reports of all workers arrive."""
    config.addinivalue_line("markers", "long(reason): in the second tier, for the reason")
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Times(float(config.getini(BUDGET))), "cutout-times")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Refuse a test that is in the second tier without a good reason. Raises pytest.UsageError."""
    for item in items:
        for mark in item.iter_markers("long"):
            if len(mark.args) != 1 or len(str(mark.args[0]).split()) < WORDS_OF_A_REASON:
                raise pytest.UsageError(f"{item.nodeid}: `long` needs a reason of a few words")
            for path in A_PATH.findall(mark.args[0]):
                if not (config.rootpath / path).exists():
                    raise pytest.UsageError(
                        f"{item.nodeid}: the reason of `long` names {path}, which is not there"
                    )


class Times:
    """Seconds by test, setup and teardown included; those of the first tier are held to the budget."""

    def __init__(self, budget_s: float) -> None:
        self._budget_s = budget_s
        self._by_test: defaultdict[str, float] = defaultdict(float)
        self._over: dict[str, float] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add a phase of a test; on an over-long one, look at how busy the machine is."""
        self._by_test[report.nodeid] += report.duration
        took, most = self._by_test[report.nodeid], OVER_BUDGET * self._budget_s
        if "long" not in report.keywords and took > most and took > most * slowness():
            self._over[report.nodeid] = took

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Iterator[None]:
        """Fail a run in which a test was over budget."""
        if self._over and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        return (yield)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the seconds of each package and of the slowest tests."""
        if not self._by_test:
            return
        packages: defaultdict[str, float] = defaultdict(float)
        for test, seconds in self._by_test.items():
            packages["/".join(test.partition("::")[0].split("/")[:2])] += seconds
        terminalreporter.section("seconds by package, all workers together")
        for package, seconds in _slowest_first(packages):
            terminalreporter.write_line(f"{seconds:8.1f}  {package}")
        terminalreporter.section(f"the {SLOWEST} slowest tests")
        for test, seconds in _slowest_first(self._by_test)[:SLOWEST]:
            terminalreporter.write_line(f"{seconds:8.1f}  {test}")
        for test, seconds in self._over.items():
            limit = f"{OVER_BUDGET} times the {self._budget_s:g} s of the first tier"
            terminalreporter.write_line(
                f"OVER BUDGET: {test} took {seconds:.1f} s, more than {limit}", red=True
            )


def _slowest_first(seconds: Mapping[str, float]) -> list[tuple[str, float]]:
    return sorted(seconds.items(), key=lambda each: each[1], reverse=True)
