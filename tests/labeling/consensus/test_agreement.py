"""Agreement: Krippendorff's own example, hand-worked tables, and what must not matter."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_assets.labeling.consensus import agreement
from pipeline_assets.labeling.consensus.agreement import Measure, alpha, cohen_kappa, counts, fleiss_kappa

SCALES = ("nominal", "ordinal", "interval")
TEXTBOOK = (
    "1 2 3 3 2 1 4 1 2 . . .",
    "1 2 3 3 2 2 4 1 2 5 . 3",
    ". 3 3 3 2 3 4 2 2 5 1 .",
    "1 2 3 3 2 4 4 1 2 5 1 .",
)
"""Krippendorff 2011, section C: four observers, twelve units."""
Rating = tuple[int, int, int]


def textbook() -> list[Rating]:
    return [
        (item, person, int(value))
        for person, line in enumerate(TEXTBOOK)
        for item, value in enumerate(line.split())
        if value != "."
    ]


def columns(ratings: list[Rating]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    item, person, value = np.array(ratings, np.int64).reshape(-1, 3).T
    return item, person, value


def rated(ratings: list[Rating]) -> agreement.Counts:
    item, _, value = columns(ratings)
    return counts(item, value.astype(np.float64))


def unique_ratings() -> st.SearchStrategy[list[Rating]]:
    one = st.tuples(st.integers(0, 7), st.integers(0, 4), st.integers(0, 3))
    return st.lists(one, max_size=30, unique_by=lambda rating: rating[:2])


def close(left: Measure, right: Measure) -> bool:
    if left.value is None or right.value is None:
        return left == right
    return left.value == pytest.approx(right.value, abs=1e-9)


@pytest.mark.parametrize(("scale", "expected"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)])
def test_alpha_of_the_textbook_example(scale: agreement.Scale, expected: float) -> None:
    assert alpha(rated(textbook()), scale).value == pytest.approx(expected, abs=0.0005)


def test_fleiss_kappa_of_the_article() -> None:
    table = "0 0 0 0 14|0 2 6 4 2|0 0 3 5 6|0 3 9 2 0|2 2 8 1 1|7 7 0 0 0|3 2 6 3 0|2 5 3 2 2|6 5 2 1 0|0 2 2 3 7"
    ratings = [
        (item, person, value)
        for item, row in enumerate(table.split("|"))
        for person, value in enumerate(np.repeat(np.arange(5), [int(cell) for cell in row.split()]).tolist())
    ]
    assert fleiss_kappa(rated(ratings)).value == pytest.approx(0.210, abs=0.0005)


def test_cohen_kappa_of_a_hand_worked_table() -> None:
    # 20 both yes, 5 yes/no, 10 no/yes, 15 both no: observed .7, expected .5, kappa .4.
    cells = [(1, 1)] * 20 + [(1, 0)] * 5 + [(0, 1)] * 10 + [(0, 0)] * 15
    ratings = [(item, person, pair[person]) for item, pair in enumerate(cells) for person in (0, 1)]
    assert cohen_kappa(*columns(ratings), seed=0).value == pytest.approx(0.4)


def test_cohen_kappa_weighs_pairs_by_their_common_items() -> None:
    agreeing = [(item, person, item % 2) for item in range(6) for person in (0, 1)]
    opposed = [(item, person, (item + person) % 2) for item in range(10, 12) for person in (2, 3)]
    assert cohen_kappa(*columns(agreeing + opposed), seed=0).value == pytest.approx((6 * 1 + 2 * -1) / 8)


@pytest.mark.parametrize(
    ("ratings", "reason"),
    [
        ([], agreement.NO_PAIRS),
        ([(0, 0, 1), (1, 1, 2)], agreement.NO_PAIRS),
        ([(0, 0, 1), (0, 1, 1), (1, 0, 1), (1, 1, 1)], agreement.ONE_VALUE),
        ([(0, 0, 1), (0, 1, 1), (1, 0, 2)], agreement.ONE_VALUE),
    ],
)
def test_what_is_undefined_is_none_with_its_reason(ratings: list[Rating], reason: str) -> None:
    for scale in SCALES:
        assert alpha(rated(ratings), scale, seed=0) == Measure(None, reason)
    assert fleiss_kappa(rated(ratings), seed=0) == Measure(None, reason)
    assert cohen_kappa(*columns(ratings), seed=0).value is None


def test_annotators_with_one_common_item_have_no_kappa() -> None:
    assert cohen_kappa(*columns([(0, 0, 1), (0, 1, 1)]), seed=0).reason == "no two annotators have two common items"


@given(unique_ratings(), st.randoms())
def test_names_of_items_people_and_classes_and_the_order_of_rows_do_not_matter(
    ratings: list[Rating], random: object
) -> None:
    items, people, values = ([*range(count)] for count in (8, 5, 4))
    for names in (items, people, values, other := list(ratings)):
        random.shuffle(names)  # type: ignore[attr-defined]
    renamed = [(items[item], people[person], values[value]) for item, person, value in other]
    reordered = [(items[item], people[person], value) for item, person, value in other]
    assert close(alpha(rated(ratings), "nominal"), alpha(rated(renamed), "nominal"))
    assert close(fleiss_kappa(rated(ratings)), fleiss_kappa(rated(renamed)))
    assert close(cohen_kappa(*columns(ratings), seed=0), cohen_kappa(*columns(renamed), seed=0))
    for scale in ("ordinal", "interval"):
        assert close(alpha(rated(ratings), scale), alpha(rated(reordered), scale))


@given(unique_ratings(), st.floats(0.1, 100), st.floats(-1e4, 1e4))
def test_interval_alpha_knows_no_unit_and_no_origin_and_ordinal_only_the_order(
    ratings: list[Rating], factor: float, origin: float
) -> None:
    item, _, value = columns(ratings)
    moved = alpha(counts(item, value * factor + origin), "interval")
    assert close(alpha(rated(ratings), "interval"), moved)
    assert close(alpha(rated(ratings), "ordinal"), alpha(counts(item, np.exp(value.astype(np.float64))), "ordinal"))


@given(unique_ratings())
def test_alpha_is_what_its_definition_says(ratings: list[Rating]) -> None:
    item, _, value = columns(ratings)
    groups = [value[item == one] for one in np.unique(item) if (item == one).sum() > 1]
    pooled = np.concatenate(groups) if groups else np.empty(0)

    def disagreement(values: np.ndarray) -> float:
        return float(((values[:, None] - values[None]) ** 2).sum() / (len(values) - 1))

    measured = alpha(rated(ratings), "interval").value
    if len(np.unique(pooled)) < 2:
        assert measured is None
    else:
        assert measured == pytest.approx(1 - sum(map(disagreement, groups)) / disagreement(pooled), abs=1e-9)


@given(unique_ratings(), st.integers(0, 3))
def test_a_seed_fixes_the_interval_and_the_interval_has_an_order(ratings: list[Rating], seed: int) -> None:
    first, second = (alpha(rated(ratings), "ordinal", seed=seed, resamples=50) for _ in range(2))
    assert first == second
    if first.low is not None and first.high is not None:
        assert first.low <= first.high <= 1


def test_an_interval_holds_its_value_and_narrows_with_more_items() -> None:
    rng = np.random.default_rng(0)

    def measured(items: int) -> Measure:
        truth = rng.integers(0, 4, items)
        value = np.where(rng.random((items, 3)) < 0.7, truth[:, None], rng.integers(0, 4, (items, 3)))
        return alpha(counts(np.repeat(np.arange(items), 3), value.ravel().astype(np.float64)), "nominal", seed=1)

    few, many = measured(50), measured(2000)
    for one in (few, many):
        assert one.low is not None and one.high is not None and one.value is not None
        assert one.low < one.value < one.high
    assert many.high - many.low < (few.high - few.low) / 3  # type: ignore[operator]


def test_kappa_of_many_people_on_one_item_is_bounded() -> None:
    people = 5_000
    item = np.repeat(np.arange(2), people)
    person = np.tile(np.arange(people), 2)
    value = np.random.default_rng(0).integers(0, 2, 2 * people)
    measured = cohen_kappa(item, person, value, seed=0, bound=10_000)
    assert measured.value is not None and abs(measured.value) < 0.3


@pytest.mark.parametrize("scale", SCALES)
def test_perfect_agreement_is_one_however_values_are_rounded(scale: agreement.Scale) -> None:
    value = np.repeat(np.array([2.3, 2.3, 0.15, 0.15]), 5)
    measure = alpha(counts(np.repeat(np.arange(4), 5), value), scale, seed=0)
    assert measure.value == pytest.approx(1) and measure.value <= 1
    assert measure.high is None or measure.high <= 1
