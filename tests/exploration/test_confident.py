"""Confident learning, by worked examples and laws."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pipeline_assets.exploration.suspects.confident import confident_joint, label_errors, margins

PROBABILITY = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.3, 0.7], [0.2, 0.8], [0.75, 0.25]])
GIVEN = np.array([0, 0, 0, 1, 1, 1])


def test_an_item_counts_for_the_class_whose_threshold_it_reaches():
    """Thresholds are the means (0.9 + 0.8 + 0.1) / 3 = 0.6 and (0.7 + 0.8 + 0.25) / 3 = 0.583."""
    assert confident_joint(PROBABILITY, GIVEN).tolist() == [[2, 1], [1, 2]]
    assert label_errors(PROBABILITY, GIVEN).tolist() == [False, False, True, False, False, True]


def test_a_margin_is_what_the_best_other_class_has_more():
    assert np.allclose(margins(PROBABILITY, GIVEN), [-0.8, -0.6, 0.8, -0.4, -0.6, 0.5])


def test_a_class_whose_items_reach_nothing_keeps_its_counts():
    probability = np.array([[0.2, 0.5, 0.3]] * 2 + [[0.1, 0.8, 0.1]] * 2)
    assert confident_joint(probability, np.array([1, 1, 1, 1]))[1].sum() == 4


judged = st.integers(2, 4).flatmap(
    lambda classes: st.integers(1, 25).flatmap(
        lambda rows: st.tuples(
            arrays.arrays(float, (rows, classes), elements=st.floats(0.01, 1)),
            arrays.arrays(np.int64, rows, elements=st.integers(0, classes - 1)),
        )
    )
)


@given(judged)
def test_rows_of_the_joint_have_the_given_counts_and_no_error_is_what_is_most_probable(drawn):
    raw, labels = drawn
    probability = raw / raw.sum(axis=1, keepdims=True)
    joint = confident_joint(probability, labels)
    counts = np.bincount(labels, minlength=raw.shape[1])
    assert np.abs(joint.sum(axis=1) - counts).max() <= raw.shape[1] / 2
    errors = label_errors(probability, labels)
    assert not errors[probability.argmax(axis=1) == labels].any()
    assert errors.sum() <= joint.sum() - np.trace(joint)
