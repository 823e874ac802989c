"""Pseudo-labels, and whether they helped."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from pipeline_assets.exploration.learning.few_labels import probe
from pipeline_assets.exploration.learning.pseudo import (
    Items,
    measured_gain,
    paired,
    pseudo_labels,
    self_trained,
    spread_labels,
    supervised,
    taught_by_spreading,
)

ROWS = np.array([[1, 0.1], [0.1, 1], [1, 1]], np.float32)
TEACHER = probe(np.eye(2, dtype=np.float32), np.array([0, 1]), classes=2)


def moons(seed=0, items=120):
    """Two arcs on a circle, where one labelled item of each is at its end."""
    rng = np.random.default_rng(seed)
    labels = np.arange(items) % 2
    angle = rng.uniform(0, 1.2, items) + 1.6 * labels
    angle[:2] = (0, 2.8)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32), labels


def test_only_sure_items_are_labelled():
    found = pseudo_labels(TEACHER, Items(ROWS), 0.7, is_consistent=False)
    assert_array_equal(found.labels[:2], [0, 1])
    assert_array_equal(found.is_sure, [True, True, False])
    assert_allclose(found.probabilities[2], 0.5, atol=1e-3)


def test_a_variant_that_looks_like_another_class_makes_an_item_unsure():
    items = Items(ROWS, [ROWS, ROWS[[1, 1, 2]]])
    assert_array_equal(pseudo_labels(TEACHER, items, 0.7, is_consistent=True).is_sure, [False, True, False])


def test_the_threshold_is_passed_by_its_own_value():
    probability = pseudo_labels(TEACHER, Items(ROWS), 0.0, is_consistent=False).probabilities[0]
    assert pseudo_labels(TEACHER, Items(ROWS), probability, is_consistent=False).is_sure[0]


def test_without_a_sure_item_the_supervised_probe_is_left():
    labelled, labels = Items(np.eye(2, dtype=np.float32)), np.array([0, 1])
    trained = self_trained(labelled, labels, Items(ROWS), 2, is_consistent=False, threshold=1.1)
    assert_array_equal(trained.weights, supervised(labelled, labels, 2).weights)
    none = self_trained(labelled, labels, Items(ROWS[:0]), 2, is_consistent=True)
    assert_array_equal(none.weights, supervised(labelled, labels, 2).weights)


def test_items_between_two_far_labels_move_the_border_to_the_gap():
    rows, labels = moons()
    known, others = Items(rows[:2]), Items(rows[2:])
    without = supervised(known, labels[:2], 2)
    trained = self_trained(known, labels[:2], others, 2, is_consistent=False, threshold=0.7)
    right_without, right = ((one.probabilities(rows).argmax(axis=1) == labels).mean() for one in (without, trained))
    assert right >= right_without


def test_spread_labels_of_all_items_teach_the_probe():
    rows, labels = moons()
    known, others = Items(rows[:2]), Items(rows[2:])
    found = spread_labels(known, labels[:2], others, 2)
    assert found.is_sure.all()
    assert (found.labels == labels[2:]).mean() > 0.9
    taught = taught_by_spreading(known, labels[:2], others, 2)
    assert (taught.probabilities(rows).argmax(axis=1) == labels).mean() > 0.9


def test_variants_of_an_item_weigh_as_much_as_the_item():
    labelled, labels = Items(ROWS[:2], [ROWS[:2], ROWS[:2]]), np.array([0, 1])
    with_copies = supervised(labelled, labels, 2, with_variants=True)
    assert_allclose(with_copies.weights, supervised(labelled, labels, 2).weights, atol=1e-2)


def test_a_gain_is_measured_on_items_whose_relatives_were_not_trained_on():
    rows, labels = moons()
    one_family_each = measured_gain(Items(rows[:20]), labels[:20], np.arange(20), Items(rows[20:]), 2, 0)
    assert one_family_each is not None
    assert one_family_each.items == 20
    assert measured_gain(Items(rows[:4]), labels[:4], np.zeros(4, int), Items(rows), 2, 0) is None


def test_without_unlabelled_items_nothing_is_gained():
    rows, labels = moons(items=20)
    gain = measured_gain(Items(rows), labels, np.arange(20), Items(rows[:0]), 2, 0)
    assert gain is not None
    assert (gain.difference, gain.sign) == (0, "?")


@pytest.mark.parametrize(
    ("won", "lost", "sign"), [(0, 0, "?"), (2, 0, "?"), (8, 0, "+"), (0, 8, "-"), (30, 25, "?"), (40, 10, "+")]
)
def test_the_sign_needs_more_than_a_few_items(won, lost, sign):
    assert paired(won, lost, 100).sign == sign


def test_bounds_are_those_of_agresti_and_min():
    # One half is added to each of four cells: 10.5 and 4.5 of 62.
    half = 1.96 * (15 - 36 / 62) ** 0.5 / 62
    gain = paired(10, 4, 60)
    assert_allclose([gain.difference, gain.low, gain.high], [0.1, 6 / 62 - half, 6 / 62 + half])


@given(won=st.integers(0, 50), lost=st.integers(0, 50), same=st.integers(1, 50))
def test_to_exchange_the_sides_turns_the_sign(won, lost, same):
    items = won + lost + same
    one, other = paired(won, lost, items), paired(lost, won, items)
    assert_allclose([one.low, one.high], [-other.high, -other.low])
    assert one.low <= one.high


def test_an_item_that_no_label_reaches_gets_none_and_teaches_nothing():
    rng = np.random.default_rng(0)
    known = np.array([1, 0, 0]) + 0.1 * np.array([[0, 1, 0], [0, -1, 0]]).repeat(10, 0) + 0.01 * rng.random((20, 3))
    far = np.array([-1.0, 0, 0]) + 0.01 * rng.random((20, 3))
    labelled, labels = Items(known.astype(np.float32)), np.arange(20) // 10
    found = spread_labels(labelled, labels, Items(far.astype(np.float32)), 2)
    assert not found.is_sure.any()
    taught = taught_by_spreading(labelled, labels, Items(far.astype(np.float32)), 2)
    assert_allclose(taught.weights, supervised(labelled, labels, 2).weights)


def test_copies_of_a_picture_count_as_one_item_in_a_gain():
    rows, labels = moons(items=40)
    copies = np.repeat(rows[:20], 10, axis=0)
    gain = measured_gain(Items(copies), labels[:20].repeat(10), np.arange(20).repeat(10), Items(rows[20:]), 2, 0)
    assert gain is not None
    assert gain.items == 20


@pytest.mark.slow
def test_labels_that_mean_nothing_bring_no_sure_gain_however_many_copies_there_are():
    sure = 0
    for seed in range(24):
        rng = np.random.default_rng(seed)
        pictures, labels = rng.normal(size=(6, 16)), rng.integers(0, 2, 6)
        copies = (pictures.repeat(20, axis=0) + 1e-3 * rng.normal(size=(120, 16))).astype(np.float32)
        others = Items(rng.normal(size=(60, 16)).astype(np.float32))
        gain = measured_gain(Items(copies), labels.repeat(20), np.arange(6).repeat(20), others, 2, 0)
        sure += gain is not None and gain.low > 0
    assert sure <= 1
