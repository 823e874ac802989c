"""How good an annotator is by gold questions, and who may do what because of it. Pure."""

from dataclasses import dataclass
from typing import Literal

Tier = Literal["new", "annotator", "qc", "blocked"]
TIERS: tuple[Tier, ...] = ("new", "annotator", "qc", "blocked")


@dataclass(frozen=True)
class Bars:
    """What promotes and blocks. min_answers: below it an annotator is new; min_gold: below it gold decides nothing.

    qc: an accuracy that the lower Wilson bound clears for the quality-control tier; blocked: one that the upper bound stays
    under; z: of the bounds, in standard deviations.
    """

    min_answers: int = 20
    min_gold: int = 10
    qc: float = 0.85
    blocked: float = 0.6
    z: float = 1.96


@dataclass(frozen=True)
class Bounds:
    """Wilson's interval of a share; None without any trial: nothing is known then, not a half."""

    low: float | None
    high: float | None


def wilson(correct: int, answers: int, z: float = 1.96) -> Bounds:
    """Wilson's score interval. Source: Wilson 1927, Probable inference, the law of succession, and statistical inference."""
    if answers == 0:
        return Bounds(None, None)
    share, square = correct / answers, z * z / answers
    centre = (share + square / 2) / (1 + square)
    half = z * (share * (1 - share) / answers + square / answers / 4) ** 0.5 / (1 + square)
    return Bounds(0.0 if correct == 0 else centre - half, 1.0 if correct == answers else centre + half)


def tier(answers: int, gold_answers: int, gold_correct: int, bars: Bars) -> tuple[Tier, str]:
    """An annotator's tier, and the reason as a sentence."""
    bounds = wilson(gold_correct, gold_answers, bars.z)
    if bounds.low is None or bounds.high is None:
        gold = "There are no gold answers, so nothing promotes or blocks"
    else:
        gold = f"{gold_correct} of {gold_answers} gold answers are right ({bounds.low:.2f} to {bounds.high:.2f})"
        if gold_answers < bars.min_gold:
            gold += f", fewer than the {bars.min_gold} that promote or block"
        elif bounds.high < bars.blocked:
            return "blocked", f"{gold}: the upper bound is under {bars.blocked:g}."
        elif bounds.low >= bars.qc and answers >= bars.min_answers:
            return "qc", f"{gold}: the lower bound clears {bars.qc:g}."
        else:
            gold += f": neither bound decides, {bars.qc:g} for quality control and {bars.blocked:g} for blocking"
    if answers < bars.min_answers:
        return "new", f"{answers} answers are fewer than {bars.min_answers}. {gold}."
    return "annotator", f"{gold}."
