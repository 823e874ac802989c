"""Exact neighbours: right, and the same to the bit whatever is compared first."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_assets.exploration.map import neighbours
from pipeline_assets.exploration.map.neighbours import NONE, Lists

NOTHING = np.zeros(0, np.int64)


def vectors(seed: int, count: int, width: int, kinds: int) -> neighbours.Floats:
    """Unit vectors of which many are equal or nearly, if `kinds` is small."""
    random = np.random.default_rng(seed)
    centres = random.standard_normal((kinds, width))
    chosen = centres[random.integers(0, kinds, count)]
    return neighbours.unit_vectors(
        chosen + random.choice([0, 1e-7, 1e-3, 1], count)[:, None] * random.random((count, width))
    )


def by_sorting(all_vectors: neighbours.Floats, k: int) -> Lists:
    """Every similarity by the definition, sorted."""
    n = len(all_vectors)
    answer = Lists.empty(n, k)
    for item in range(n):
        similar = neighbours.similarity(all_vectors, all_vectors[item])
        order = [other for other in np.lexsort((np.arange(n), -similar)) if other != item][:k]
        answer.ids[item, : len(order)], answer.similarity[item, : len(order)] = order, similar[order]
    return answer


def same(one: Lists, other: Lists) -> bool:
    return bool((one.ids == other.ids).all() and (one.similarity == other.similarity).all())


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 60), st.integers(1, 9), st.integers(1, 12), st.sampled_from([7, 16, 4_096]))
def test_all_at_once_is_what_sorting_every_similarity_gives(seed, count, width, kinds, block):
    there = vectors(seed, count, width, kinds)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neighbours, "BLOCK", block)
        patch.setattr(neighbours, "PENDING", 50)
        found = neighbours.updated(there, np.arange(count), Lists.empty(count, 5), np.arange(count), NOTHING)
    assert same(found, by_sorting(there, 5))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.lists(st.integers(0, 3), min_size=1, max_size=60), st.sampled_from([5, 4_096]))
def test_any_split_into_steps_with_items_that_leave_gives_the_same(seed, steps, block):
    """steps: when each item comes; those of step 3 are there in step 0, and leave after it."""
    there, steps = vectors(seed, len(steps), 6, 5), np.array(steps)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neighbours, "BLOCK", block)
        known, present = Lists.empty(len(steps), 4), np.zeros(len(steps), bool)
        for step in range(3):
            stays = (steps <= step) | ((steps == 3) & (step == 0))
            lost = (known.ids != NONE) & ~stays[known.ids]
            again = np.flatnonzero(stays & present & lost.any(axis=1))
            new = np.flatnonzero(stays & ~present)
            known.ids[~stays], known.similarity[~stays] = NONE, -np.inf
            known.ids[again], known.similarity[again] = NONE, -np.inf
            items = np.flatnonzero(stays)
            known = numbered(neighbours.updated(there, items, *in_items(known, items, new, again)), items, len(steps))
            present = stays
    items = np.flatnonzero(present)
    assert same(Lists(known.ids[items], known.similarity[items]), renamed(by_sorting(there[items], 4), items))


def in_items(known: Lists, items, new, again):
    """The same in numbers of the items that are there."""
    place = np.full(len(known.ids) + 1, NONE)
    place[items] = np.arange(len(items))
    return Lists(place[known.ids[items]], known.similarity[items]), place[new], place[again]


def renamed(lists: Lists, items) -> Lists:
    return Lists(np.where(lists.ids == NONE, NONE, items[lists.ids] if len(items) else NONE), lists.similarity)


def numbered(lists: Lists, items, count: int) -> Lists:
    answer = Lists.empty(count, lists.ids.shape[1])
    one = renamed(lists, items)
    answer.ids[items], answer.similarity[items] = one.ids, one.similarity
    return answer


@pytest.mark.slow
def test_many_equal_vectors_are_ordered_by_number_and_kept_few_meanwhile():
    count = 3_000
    there = neighbours.unit_vectors(np.ones((count, 8)))
    found = neighbours.updated(there, np.arange(count), Lists.empty(count), np.arange(count), NOTHING)
    assert found.ids[0].tolist() == list(range(1, 11))
    assert found.ids[-1].tolist() == list(range(10))
    assert set(found.similarity.ravel()) == {neighbours.similarity(there[:1], there[0])[0]}


def test_lengths_of_vectors_do_not_count_however_large_or_small():
    there = neighbours.unit_vectors([[3e38, 0], [1e-40, 1e-40], [0, -5]])
    assert there == pytest.approx(np.array([[1, 0], [0.5**0.5, 0.5**0.5], [0, -1]]))
    assert (
        neighbours.usable(np.array([[1, 0], [0, 0], [np.nan, 1], [np.inf, 1]], np.float32)).tolist() == [True] + [False] * 3
    )
