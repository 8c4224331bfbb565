"""The table of rules."""

import re

import pytest

from cutout.outputs.score.rules import RULES, SCORE_VERSION, Rule
from cutout.outputs.score.suspicion import MEASURES


def test_each_measure_has_one_rule() -> None:
    """A measure without a rule would be computed in vain, a rule without a measure would fail."""
    names = [rule.measure for rule in RULES]
    assert sorted(names) == sorted(MEASURES)
    assert SCORE_VERSION >= 1


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule.measure))
def test_each_text_is_one_plain_sentence(rule: Rule) -> None:
    """A person reads a sentence with a capital and a full stop, without figures or the measure's name."""
    assert re.fullmatch(r"[A-Z][^.:;]+\.", rule.text)
    assert not re.search(r"\d|_|alpha|pixel", rule.text)
    assert len(rule.text) < 90


@pytest.mark.parametrize(
    ("from_", "certain", "value", "suspicion"),
    [
        (2, 4, 2, 0),
        (2, 4, 3, 0.5),
        (2, 4, 9, 1),
        (2, 4, -9, 0),
        (4, 2, 4, 0),
        (4, 2, 3.5, 0.25),
        (4, 2, 0, 1),
    ],
)
def test_suspicion_is_linear_between_the_thresholds_either_way(
    from_: float, certain: float, value: float, suspicion: float
) -> None:
    """It is 0 before `from`, 1 beyond `certain`, wherever of the two is lower."""
    assert Rule("left", from_, certain, "").suspicion(value) == suspicion
