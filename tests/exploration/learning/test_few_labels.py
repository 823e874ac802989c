"""A probe, neighbours and draws."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from pipeline_assets.exploration.learning.few_labels import draw, nearest, out_of_fold, probe, spread, unit


def clouds(seed=0, per_class=30, classes=3, dimensions=8, spread=0.3):
    rng = np.random.default_rng(seed)
    centers = 3 * np.eye(classes, dimensions)
    labels = np.repeat(np.arange(classes), per_class)
    rows = centers[labels] + spread * rng.standard_normal((len(labels), dimensions))
    return rows.astype(np.float32), labels


def test_a_probe_tells_clouds_apart_and_its_probabilities_sum_to_one():
    rows, labels = clouds()
    found = probe(rows[::2], labels[::2], classes=3).probabilities(rows[1::2])
    assert (found.argmax(axis=1) == labels[1::2]).all()
    assert_allclose(found.sum(axis=1), 1)


def test_few_rows_of_many_columns_have_the_same_solution_as_in_all_columns():
    rows, labels = clouds(per_class=2, dimensions=40)
    padded = np.vstack([rows, np.eye(40, dtype=np.float32)])
    all_columns = probe(padded, np.r_[labels, np.zeros(40, int)], np.r_[np.ones(6), np.zeros(40)], classes=3)
    assert_allclose(probe(rows, labels, classes=3).probabilities(padded), all_columns.probabilities(padded), atol=2e-3)


@settings(deadline=None, max_examples=5)
@given(seed=st.integers(0, 1000))
def test_order_of_rows_and_weights_that_repeat_a_row_change_nothing(seed):
    rows, labels = clouds(per_class=4)
    order = np.random.default_rng(seed).permutation(len(rows))
    base = probe(rows, labels, classes=3).probabilities(rows)
    assert_allclose(probe(rows[order], labels[order], classes=3).probabilities(rows), base, atol=2e-3)
    doubled = probe(np.vstack([rows, rows]), np.tile(labels, 2), np.full(24, 0.5), classes=3)
    assert_allclose(doubled.probabilities(rows), base, atol=2e-3)


def test_a_class_without_labels_is_improbable():
    rows, labels = clouds()
    assert (probe(rows, labels, classes=4).probabilities(rows)[:, 3] < 0.1).all()


@pytest.mark.parametrize("rows", [np.zeros((0, 2)), np.array([[np.nan, 1]])])
def test_no_rows_or_values_that_are_not_finite_are_refused(rows):
    with pytest.raises(ValueError, match="set others aside"):
        probe(rows.astype(np.float32), np.zeros(len(rows), np.int64), classes=2)


def test_the_nearest_is_by_angle_and_the_first_of_equals():
    known = np.array([[1, 0], [0, 5], [0, 1]], np.float32)
    asked = np.array([[10, 1], [0.1, 0.2], [0, 0]], np.float32)
    assert_array_equal(nearest(known, np.array([7, 8, 9]), asked), [7, 8, 7])
    assert len(nearest(known, np.array([7, 8, 9]), asked[:0])) == 0
    with pytest.raises(ValueError, match="at least one"):
        nearest(known[:0], np.zeros(0, np.int64), asked)


def test_labels_spread_along_a_chain_of_near_rows():
    angle = np.r_[np.linspace(0, 1.2, 30), np.linspace(1.8, 3.0, 30)]
    rows = np.stack([np.cos(angle), np.sin(angle), np.zeros(60)], axis=1).astype(np.float32)
    truth, ends = np.repeat([0, 1], 30), np.array([29, 59])
    others = np.setdiff1d(np.arange(60), ends)
    found = spread(rows[ends], truth[ends], rows[others], rows, classes=2)
    assert_allclose(found.sum(axis=1), 1)
    assert_array_equal(found.argmax(axis=1), truth)


def test_a_row_that_no_label_reaches_has_equal_shares_and_without_others_the_known_decide():
    known, labels = np.array([[1, 0], [0, 1]], np.float32), np.array([0, 1])
    assert_allclose(spread(known[:1], labels[:1], known[:0], known, classes=2)[1], 0.5)
    assert_array_equal(spread(known, labels, known[:0], known, classes=3).argmax(axis=1), labels)
    assert spread(known, labels, known, known[:0], classes=2).shape == (0, 2)
    with pytest.raises(ValueError, match="at least one"):
        spread(known[:0], labels[:0], known, known, classes=2)


@given(labels=st.lists(st.integers(0, 4), max_size=40), per_class=st.integers(1, 5), seed=st.integers(0, 99))
def test_a_draw_has_as_many_of_each_class_as_there_are_up_to_the_number_asked(labels, per_class, seed):
    labels = np.array(labels, np.int64)
    rows = draw(labels, per_class, np.random.default_rng(seed))
    assert (np.diff(rows) > 0).all()
    for label in range(5):
        assert (labels[rows] == label).sum() == min(per_class, (labels == label).sum())
    assert_array_equal(draw(labels, None, np.random.default_rng(seed)), np.arange(len(labels)))


@given(groups=st.lists(st.integers(0, 9), min_size=1, max_size=40), folds=st.integers(2, 5), seed=st.integers(0, 99))
def test_rows_of_a_group_share_a_fold_and_folds_differ_by_one_group(groups, folds, seed):
    groups = np.array(groups)
    fold = out_of_fold(groups, folds, np.random.default_rng(seed))
    pairs = {(int(group), int(number)) for group, number in zip(groups, fold, strict=True)}
    assert len(pairs) == len(set(groups.tolist()))
    sizes = np.bincount([number for _, number in pairs], minlength=folds)
    assert sizes.max() - sizes.min() <= 1


def test_a_row_of_zeros_stays():
    assert_allclose(unit(np.array([[0, 0], [3, 4]], np.float32)), [[0, 0], [0.6, 0.8]], atol=1e-6)
