"""From votes of labeling functions to labels."""

import importlib.util

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from polars.testing import assert_frame_equal

from pipeline_assets.errors import MissingExtra
from pipeline_assets.labeling.weak import model, quality
from pipeline_assets.labeling.weak.model import ABSTAIN

NONE = np.zeros((0, 3), np.int16)
NO_TRUTH = np.zeros(0, np.int16)


def array(rows):
    return np.array(rows, np.int16)


def test_names_of_classes_become_numbers_and_all_else_abstains():
    votes = pl.DataFrame({"f": ["dog", None, "cat"], "g": ["cat", "horse", None]})
    assert model.encode(votes, ["cat", "dog"]).tolist() == [[1, 0], [-1, -1], [0, -1]]
    assert model.encode(pl.DataFrame({"f": []}, schema={"f": pl.String}), ["cat"]).shape == (0, 1)


def test_majority_is_the_share_of_votes_and_a_tie_or_no_vote_is_no_answer():
    votes = array([[0, 0, 1], [0, 1, -1], [-1, -1, -1], [1, -1, -1]])
    probabilities = model.majority(votes, NONE, NO_TRUTH, 2)
    assert_allclose(probabilities, [[2 / 3, 1 / 3], [0.5, 0.5], [0, 0], [0, 1]])
    classes, probability = model.decided(probabilities)
    assert classes.tolist() == [0, ABSTAIN, ABSTAIN, 1]
    assert_allclose(probability, [2 / 3, np.nan, np.nan, 1])


def test_accuracies_are_smoothed_towards_the_mean_of_all_functions():
    # The first is always right, the second in 6 of 10, the third abstains.
    development = array([[0, 1, -1]] * 4 + [[0, 0, -1]] * 6)
    mean = (16 + 1) / (20 + 2)
    expected = [(10 + 20 * mean) / 30, (6 + 20 * mean) / 30, mean]
    assert_allclose(model.accuracies(development, array([0] * 10), 2), expected)


def test_a_function_counts_as_better_than_chance_until_its_bounds_say_otherwise():
    unlucky = array([[1]] * 7 + [[0]] * 3)
    assert_allclose(model.accuracies(unlucky, array([0] * 10), 2), [0.5 + model.BENEFIT])
    assert_allclose(model.accuracies(unlucky, array([0] * 10), 4), [(3 + 20 * 4 / 12) / 30])
    assert model.accuracies(np.tile(unlucky, (10, 1)), array([0] * 100), 2)[0] < 0.5


def test_weights_are_log_odds_of_accuracy_so_that_a_good_function_outvotes_two_bad_ones():
    development = array([[0, 1, 1]] * 36 + [[0, 0, 0]] * 44)
    votes = array([[0, 1, 1]])
    truth = array([0] * 80)
    accuracy = model.accuracies(development, truth, 2)
    odds = np.prod([accuracy[0] / (1 - accuracy[0]), *((1 - one) / one for one in accuracy[1:])])
    probabilities = model.weighted(votes, development, truth, 2)
    assert_allclose(probabilities, [[odds / (1 + odds), 1 / (1 + odds)]])
    assert probabilities[0, 0] > 0.5
    assert model.majority(votes, development, truth, 2).argmax() == 1


def test_a_function_that_is_mostly_wrong_counts_against_its_vote():
    development = array([[1, 0]] * 60)
    assert model.weighted(array([[0, -1]]), development, array([0] * 60), 2)[0, 1] > 0.5


def test_without_a_development_set_it_falls_back_to_majority():
    labels = model.label(array([[0, 0, 1]]), NONE, NO_TRUTH, 2)
    assert (labels.method, labels.fell_back, labels.gains) == ("majority", True, {})
    assert labels.class_number.tolist() == [0]


def world(seed, accuracy, items=400):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 2, items).astype(np.int16)
    right = rng.random((items, len(accuracy))) < accuracy
    return np.where(right, truth[:, None], 1 - truth[:, None]).astype(np.int16), truth


def test_weights_win_where_functions_differ_and_say_by_how_much():
    votes, truth = world(0, [0.95, 0.5, 0.5, 0.5, 0.5])
    labels = model.label(votes[200:], votes[:200], truth[:200], 2)
    assert (labels.method, labels.fell_back) == ("weighted", False)
    assert labels.gains["weighted"].low > 0.05
    assert (labels.class_number == truth[200:]).mean() > 0.9


def test_it_falls_back_where_functions_are_alike():
    votes, truth = world(1, [0.8, 0.8, 0.8])
    labels = model.label(votes[200:], votes[:200], truth[:200], 2)
    assert labels.gains["weighted"].mean <= 0
    assert (labels.method, labels.fell_back) == ("majority", True)


def test_a_gain_that_may_be_luck_is_not_taken():
    for seed in range(20):
        votes, truth = world(seed, [0.7] * 5, items=120)
        votes[np.random.default_rng(seed).random(votes.shape) < 0.4] = ABSTAIN
        labels = model.label(votes, votes, truth, 2)
        assert labels.fell_back == (labels.gains["weighted"].low <= 0)


def test_a_model_is_not_asked_what_it_was_taught():
    def by_heart(votes, development, truth, classes):
        known = dict(zip(map(bytes, development), truth, strict=True))
        return np.eye(classes)[[known.get(bytes(row), 0) for row in votes]]

    rng = np.random.default_rng(0)
    development = rng.integers(0, 2, (200, 30)).astype(np.int16)
    truth = rng.integers(0, 2, 200).astype(np.int16)
    scores = model.cross_validated(by_heart, development, truth, 2)
    assert 0.3 < scores.mean() < 0.7


votes_of_any_shape = st.integers(1, 5).flatmap(
    lambda functions: st.lists(
        st.lists(st.integers(-1, 2), min_size=functions, max_size=functions), min_size=0, max_size=30
    ).map(lambda rows: np.array(rows, np.int16).reshape(-1, functions))
)


@settings(deadline=None, max_examples=60)
@given(votes_of_any_shape, st.integers(0, 2**32 - 1))
def test_probabilities_sum_to_one_where_anyone_votes_and_the_order_of_items_does_not_matter(votes, seed):
    rng = np.random.default_rng(seed)
    development = rng.integers(-1, 3, (40, votes.shape[1])).astype(np.int16)
    truth = rng.integers(0, 3, 40).astype(np.int16)
    turned = rng.permutation(len(votes))
    for label_model in (model.majority, model.weighted):
        probabilities = label_model(votes, development, truth, 3)
        assert_allclose(probabilities.sum(axis=1), (votes != ABSTAIN).any(axis=1), atol=1e-12)
        assert_allclose(label_model(votes[turned], development, truth, 3), probabilities[turned])
    labels = model.label(votes, development, truth, 3)
    assert len(labels.class_number) == len(votes)
    assert (np.isnan(labels.probability) == (labels.class_number == ABSTAIN)).all()


def test_snorkel_is_asked_only_if_it_is_installed():
    votes, truth = world(2, [0.9, 0.6, 0.6, 0.6])
    if importlib.util.find_spec("snorkel") is None:
        with pytest.raises(MissingExtra, match="pip install snorkel"):
            model.snorkel(votes, votes, truth, 2)
    else:
        labels = model.label(votes, votes, truth, 2, {"snorkel": model.snorkel})
        assert set(labels.gains) == {"snorkel"}


def test_quality_of_functions_by_a_table_worked_by_hand():
    votes = array([[0, 0, -1], [0, 1, -1], [-1, 1, -1], [0, -1, -1]])
    development = array([[0, 1, -1], [0, 1, -1]])
    found = quality.per_function(["a", "b", "c"], votes, development, array([0, 0]))
    expected = pl.DataFrame(
        {
            "function": ["a", "b", "c"],
            "coverage": [0.75, 0.75, 0.0],
            "overlap": [0.5, 0.5, 0.0],
            "conflict": [0.25, 0.25, 0.0],
            "answers": [2, 2, 0],
            "correct": [2, 0, 0],
            "accuracy": [1.0, 0.0, None],
        }
    )
    assert_frame_equal(found.drop("accuracy_low", "accuracy_high"), expected)
    assert found["accuracy_low"].to_list() == [pytest.approx(0.34238, abs=1e-5), 0.0, None]
    assert found["accuracy_high"].to_list() == [1.0, pytest.approx(0.65762, abs=1e-5), None]


def test_quality_without_items_or_functions_is_a_table_without_shares():
    assert quality.per_function(["a"], np.zeros((0, 1), np.int16), np.zeros((0, 1), np.int16), NO_TRUTH)[
        "coverage"
    ].to_list() == [0.0]
    assert quality.per_function([], np.zeros((3, 0), np.int16), np.zeros((2, 0), np.int16), array([0, 1])).is_empty()
