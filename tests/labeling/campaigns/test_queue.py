"""What to ask next, and what asking it brought."""

from collections import Counter

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from pipeline_assets.labeling.campaigns.gain import gain
from pipeline_assets.labeling.campaigns.queue import ITEMS, MIN_RANDOM_SHARE, Mix, next_items, quotas
from pipeline_assets.labeling.campaigns.spread import spread_out

ALONE = 1 - MIN_RANDOM_SHARE


def items_of(**columns):
    length = len(next(iter(columns.values())))
    keys = [f"{number:064x}" for number in range(length)]
    given_columns = {"task_key": keys, "is_done": [False] * length, **columns}
    return pl.DataFrame({name: given_columns.get(name, [None] * length) for name in ITEMS}, schema=ITEMS)


def keys_of(queue, reason):
    return [int(key, 16) for key in queue.filter(reason=reason)["task_key"]]


def embedder(vectors):
    return lambda keys: vectors[[int(key, 16) for key in keys]]


def test_the_least_certain_items_come_first_and_entropy_counts_before_the_best_class():
    items = items_of(confidence=[0.9, 0.4, 0.99, None, 0.5], entropy=[None, None, 0.95, None, None])
    queue = next_items(items, 4, Mix({"uncertain": 0.75}), seed=0)
    random = keys_of(queue, "random")
    assert keys_of(queue, "uncertain") == [row for row in (2, 1, 4, 0) if row not in random][:3]


def test_items_on_which_people_disagree_need_two_answers():
    items = items_of(votes=[3, 1, 2, 0] * 10, consensus=[0.6, 0.5, 0.9, None] * 10)
    queue = next_items(items, 20, Mix({"disagreement": 0.9}), seed=1)
    chosen = [row % 4 for row in keys_of(queue, "disagreement")]
    assert set(chosen) == {0, 2}
    assert chosen == sorted(chosen)


def test_slices_with_few_answers_are_served_until_they_are_level():
    slices = ["rare"] * 10 + ["usual"] * 100
    items = items_of(slice=slices, votes=[0] * 10 + [1] * 50 + [0] * 50)
    queue = next_items(items, 16, Mix({"slice": ALONE}), seed=0)
    chosen = [slices[row] for row in keys_of(queue, "slice")]
    assert chosen[:4] == ["rare"] * 4
    assert Counter(chosen)["rare"] in (4, 5, 6)
    assert all(row >= 60 for row in keys_of(queue, "slice") if slices[row] == "usual")


def test_items_without_a_slice_are_not_of_the_slices():
    items = items_of(slice=["a", None, None, None])
    assert keys_of(next_items(items, 4, Mix({"slice": 0.5}), seed=3), "slice") in ([0], [])


def test_diverse_items_are_far_from_those_with_answers_and_from_each_other():
    directions = np.eye(4, dtype=np.float32)
    vectors = np.concatenate([np.repeat(directions[:1], 40, axis=0), directions[1:]])
    items = items_of(votes=[1] * 20 + [0] * 23)
    queue = next_items(items, 8, Mix({"diverse": 0.5}), seed=0, embed=embedder(vectors))
    far = set(keys_of(queue, "diverse"))
    assert far <= {40, 41, 42}
    assert far | set(keys_of(queue, "random")) >= {40, 41, 42}


def test_a_vector_that_equals_another_is_never_spread_out():
    vectors = np.array([[1, 0], [2, 0], [0, 1], [0, 3]], np.float32)
    assert len(spread_out(vectors, vectors[:0], 4)) == 2
    assert spread_out(vectors, vectors[:1], 4).tolist() in ([2], [3])
    assert spread_out(vectors, vectors, 4).tolist() == []
    assert spread_out(vectors[:0], vectors, 4).tolist() == []


def test_centers_of_another_model_and_endless_vectors_are_no_fault():
    vectors = np.array([[1, 0], [0, 1]], np.float32)
    assert spread_out(vectors, np.ones((3, 4), np.float32), 2).size == 2
    broken = np.array([[np.inf, 0], [np.nan, 1], [1, 0], [0, 1]], np.float32)
    queue = next_items(items_of(votes=[0] * 4), 4, Mix(), seed=0, embed=embedder(broken))
    assert queue.height == 4


def test_k_center_by_hand():
    angles = np.deg2rad([0, 10, 80, 180])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    assert spread_out(vectors, vectors[:1], 3).tolist() == [3, 2, 1]


def test_items_that_are_done_are_not_asked_again():
    items = items_of(is_done=[True, False, True, None], confidence=[0.1, 0.2, 0.3, 0.4])
    assert set(next_items(items, 10, Mix(), seed=0)["task_key"]) == {items["task_key"][1], items["task_key"][3]}


def test_without_predictions_answers_slices_and_embeddings_all_is_random_or_the_rest():
    queue = next_items(items_of(votes=[0] * 30), 20, Mix(), seed=0)
    assert Counter(queue["reason"]) == {"random": 2, "rest": 18}
    assert queue.height == 20


def test_every_prefix_of_the_queue_has_the_mix():
    rng = np.random.default_rng(0)
    items = items_of(confidence=rng.random(1000), votes=[2] * 1000, consensus=rng.random(1000))
    queue = next_items(items, 200, Mix({"uncertain": 0.5, "disagreement": 0.25}), seed=0)
    for length in (20, 40, 100, 200):
        counts = Counter(queue["reason"][:length])
        assert abs(counts["uncertain"] - length / 2) <= 1
        assert abs(counts["random"] - length / 4) <= 1


@pytest.mark.parametrize(
    "shares",
    [
        {"uncertain": 0.96},
        {"uncertain": 0.5, "slice": 0.5},
        {"no": 0.1},
        {"slice": -0.1},
        {"slice": float("nan")},
        {"slice": 2.0},
    ],
)
def test_a_mix_leaves_a_share_to_chance_and_names_only_strategies(shares):
    with pytest.raises(ValueError, match=r"random items|no strategy|a share is"):
        Mix(shares)


def test_a_mix_with_another_random_share_keeps_its_proportions():
    mix = Mix({"uncertain": 0.6, "slice": 0.2}).with_random(0.5)
    assert mix.shares == pytest.approx({"uncertain": 0.375, "slice": 0.125})
    assert Mix().with_random(0.0).random == pytest.approx(MIN_RANDOM_SHARE)
    assert Mix().with_random(1.0).random == pytest.approx(1.0)


@given(st.integers(0, 500), st.floats(MIN_RANDOM_SHARE, 1))
def test_quotas_add_up_and_always_leave_one_to_chance(count, share):
    places = quotas(Mix().with_random(share), count)
    assert sum(places.values()) == count
    assert min(places.values()) >= 0
    assert places["random"] >= (count > 0)


worlds = st.lists(
    st.tuples(
        st.none() | st.floats(0, 1),
        st.none() | st.integers(0, 5),
        st.none() | st.floats(0, 1),
        st.none() | st.sampled_from("ab"),
        st.booleans(),
    ),
    min_size=1,
    max_size=60,
)


@settings(deadline=None, max_examples=60)
@given(worlds, st.integers(0, 80), st.integers(0, 2**32 - 1))
def test_a_queue_asks_open_items_once_and_depends_on_no_order_of_rows(rows, count, seed):
    confidence, votes, consensus, slices, done = zip(*rows, strict=True)
    items = items_of(confidence=confidence, votes=votes, consensus=consensus, slice=slices, is_done=done)
    vectors = np.random.default_rng(seed).standard_normal((len(rows), 3)).astype(np.float32)
    vectors[::3] = np.nan
    queue = next_items(items, count, Mix(), seed, embedder(vectors))
    assert queue.height == min(count, done.count(False))
    assert queue["task_key"].is_unique().all()
    assert not set(queue["task_key"]) & set(items.filter("is_done")["task_key"])
    assert queue["priority"].is_between(0, 1).all()
    assert queue["priority"].is_sorted(descending=True)
    assert queue.height == 0 or "random" in queue["reason"]
    turned = np.random.default_rng(seed + 1).permutation(len(rows))
    assert_frame_equal(next_items(items[turned], count, Mix(), seed, embedder(vectors)), queue)


@pytest.mark.parametrize(
    ("chosen", "random", "sign"),
    [
        ([1.0] * 90 + [0.0] * 10, [1.0] * 10 + [0.0] * 90, "+"),
        ([0.0] * 50, [1.0] * 50, "-"),
        ([1.0, 0.0] * 20, [1.0, 0.0] * 20, "?"),
        ([1.0] * 29, [0.0] * 100, "?"),
        ([1.0] * 100, [0.0] * 29, "?"),
    ],
)
def test_a_gain_has_an_interval_and_a_sign(chosen, random, sign):
    found = gain(chosen, random, seed=0)
    assert found is not None
    assert found.sign == sign
    assert found.low <= found.difference <= found.high
    assert found.difference == pytest.approx(np.mean(chosen) - np.mean(random))
    assert found == gain(chosen, random, seed=0)


def test_the_bounds_of_a_difference_of_shares_are_those_of_newcombes_paper():
    found = gain([1.0] * 56 + [0.0] * 14, [1.0] * 48 + [0.0] * 32, seed=0)
    assert (found.low, found.high) == (pytest.approx(0.0524, abs=1e-4), pytest.approx(0.3339, abs=1e-4))


def test_a_gain_of_many_different_values_is_told_as_well():
    rng = np.random.default_rng(0)
    found = gain(rng.normal(1, 1, 300), rng.normal(0, 1, 300), seed=0)
    assert found is not None
    assert 0.6 < found.low < found.difference < found.high < 1.4


def test_without_a_random_answer_no_gain_can_be_told():
    assert gain([1.0], [], seed=0) is None
    assert gain([], [1.0], seed=0) is None
