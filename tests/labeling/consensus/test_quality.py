"""Tiers by Wilson's bounds: nobody is promoted or blocked by luck."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_assets.labeling.consensus.quality import TIERS, Bars, Bounds, tier, wilson

BARS = Bars()


@pytest.mark.parametrize(
    ("correct", "answers", "low", "high"),
    [(0, 1, 0.0, 0.793), (10, 10, 0.722, 1.0), (8, 10, 0.490, 0.943), (50, 100, 0.404, 0.596), (0, 10, 0.0, 0.278)],
)
def test_bounds_are_those_of_wilson(correct: int, answers: int, low: float, high: float) -> None:
    assert wilson(correct, answers) == Bounds(pytest.approx(low, abs=5e-4), pytest.approx(high, abs=5e-4))


def test_without_a_trial_there_are_no_bounds() -> None:
    assert wilson(0, 0) == Bounds(None, None)


@pytest.mark.parametrize(
    ("answers", "gold", "correct", "expected", "word"),
    [
        (0, 0, 0, "new", "fewer than 20"),
        (19, 0, 0, "new", "no gold answers"),
        (500, 0, 0, "annotator", "no gold answers"),
        (500, 9, 0, "annotator", "fewer than the 10"),
        (10, 10, 0, "blocked", "under 0.6"),
        (500, 10, 3, "annotator", "neither"),
        (500, 20, 6, "blocked", "upper bound"),
        (500, 21, 21, "annotator", "neither"),
        (500, 22, 22, "qc", "lower bound clears 0.85"),
        (500, 100, 92, "qc", "92 of 100"),
        (500, 100, 91, "annotator", "neither"),
    ],
)
def test_a_tier_and_its_reason(answers: int, gold: int, correct: int, expected: str, word: str) -> None:
    name, reason = tier(answers, gold, correct, BARS)
    assert name == expected
    assert word in reason and reason.endswith(".")


@given(st.integers(0, 400), st.integers(0, 400), st.data(), st.floats(0.5, 4))
def test_bounds_decide_and_nothing_else(answers: int, gold: int, data: st.DataObject, z: float) -> None:
    correct = data.draw(st.integers(0, gold))
    name, _ = tier(answers, gold, correct, Bars(z=z))
    bounds = wilson(correct, gold, z)
    assert name in TIERS
    if bounds.low is None or bounds.high is None:
        assert name in ("new", "annotator")
    else:
        assert 0 <= bounds.low <= correct / gold <= bounds.high <= 1
        assert name != "qc" or bounds.low >= BARS.qc
        assert name != "blocked" or bounds.high < BARS.blocked


@given(st.integers(1, 200), st.data())
def test_another_right_answer_never_blocks_and_another_wrong_one_never_promotes(gold: int, data: st.DataObject) -> None:
    correct = data.draw(st.integers(0, gold))
    now, right, wrong = (tier(500, gold + more, correct + plus, BARS)[0] for more, plus in ((0, 0), (1, 1), (1, 0)))
    assert not (right == "blocked" and now != "blocked" and gold >= BARS.min_gold)
    assert not (wrong == "qc" and now != "qc" and gold >= BARS.min_gold)
