"""The models that count votes: what they recover, what they leave open, and what must not matter."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_assets.labeling.consensus import choices
from pipeline_assets.labeling.consensus.choices import Accuracies, Votes
from pipeline_assets.labeling.consensus.dawid_skene import WARNING, dawid_skene

Ballot = tuple[int, int, int]


def votes(ballots: list[Ballot], classes: int = 2, items: int | None = None, gold: dict[int, int] | None = None) -> Votes:
    item, annotator, answer = np.array(sorted(ballots), np.int64).reshape(-1, 3).T
    known = np.full(items or int(item.max(initial=-1)) + 1, -1, np.int64)
    right = np.full(len(item), np.nan)
    for number, code in (gold or {}).items():
        known[number] = code
        right[item == number] = answer[item == number] == code
    people = int(annotator.max(initial=-1)) + 1
    return Votes(item, annotator, answer, len(known), people, classes, classes, known, right)


def crowd(seed: int, items: int, accuracies: list[float], per_item: int, classes: int = 3) -> tuple[Votes, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, items)
    ballots = []
    for item in range(items):
        for person in rng.permutation(len(accuracies))[:per_item].tolist():
            is_right = rng.random() < accuracies[person]
            wrong = (truth[item] + rng.integers(1, classes)) % classes
            ballots.append((item, person, int(truth[item] if is_right else wrong)))
    return votes(ballots, classes), truth


def share_right(answer: np.ndarray, truth: np.ndarray) -> float:
    return float((answer == truth).mean())


def test_a_majority_counts_and_a_tie_has_no_answer() -> None:
    given_ = choices.majority(votes([(0, 0, 1), (0, 1, 1), (0, 2, 0), (1, 0, 0), (1, 1, 1)], items=3))
    assert given_.answer.tolist() == [1, -1, -1]
    assert given_.confidence[:2].tolist() == pytest.approx([2 / 3, 1 / 2])
    assert np.isnan(given_.confidence[2])
    assert given_.is_disputed.tolist() == [False, True, False]


def test_one_step_is_bayes_by_hand() -> None:
    known = Accuracies(np.array([0.9, 0.6, 0.6]), 0.7, np.array([True, True, True]))
    answers = choices.answers_given(votes([(0, 0, 1), (0, 1, 0), (0, 2, 0)]), known)
    odds = (0.9 / 0.1) / (0.6 / 0.4) ** 2
    assert answers.answer.tolist() == [1]
    assert answers.confidence.tolist() == pytest.approx([odds / (1 + odds)])
    single = choices.answers_given(votes([(0, 0, 2)], classes=7), known)
    assert single.confidence.tolist() == pytest.approx([0.9])


def test_accuracies_are_recovered_and_outvote_a_majority() -> None:
    truths = [0.95, 0.9, 0.9, 0.85, 0.35, 0.35, 0.35]
    cast, truth = crowd(0, 1500, truths, 5)
    accuracies = choices.one_coin(cast)
    assert accuracies.value == pytest.approx(truths, abs=0.05)
    assert accuracies.is_own.all()
    by_model = share_right(choices.answers_given(cast, accuracies).answer, truth)
    assert by_model > share_right(choices.majority(cast).answer, truth) + 0.03
    assert share_right(dawid_skene(cast).answer, truth) == pytest.approx(by_model, abs=0.03)


def test_a_vote_on_its_own_tells_nothing_of_its_annotator() -> None:
    accuracies = choices.one_coin(votes([(0, 0, 1), (1, 1, 0)]))
    assert np.isnan(accuracies.value).all() and np.isnan(accuracies.mean) and not accuracies.is_own.any()
    answers = choices.answers_given(votes([(0, 0, 1), (1, 1, 0)]), accuracies)
    assert answers.answer.tolist() == [1, 0]
    assert np.isnan(answers.confidence).all() and answers.fell_back.all()


def test_of_two_who_disagree_nobody_can_say_who_is_wrong() -> None:
    cast = votes([(item, person, int(person == 1 and item < 6)) for item in range(30) for person in (0, 1)])
    accuracies = choices.one_coin(cast)
    assert not accuracies.is_own.any()
    assert accuracies.value.tolist() == [accuracies.mean] * 2
    answers = choices.answers_given(cast, accuracies)
    assert answers.fell_back.all()
    assert answers.answer.tolist() == [-1] * 6 + [0] * 24


def test_gold_tells_two_apart_and_is_the_answer() -> None:
    ballots = [(item, person, int(person == 1 and item % 2)) for item in range(30) for person in (0, 1)]
    cast = votes(ballots, gold=dict.fromkeys(range(10), 0))
    accuracies = choices.one_coin(cast)
    assert accuracies.is_own.all()
    assert accuracies.value[0] > accuracies.value[1] + 0.1
    answers = choices.answers_given(cast, accuracies)
    assert answers.answer.tolist() == [0] * 30
    assert answers.confidence[:10].tolist() == [1.0] * 10


def test_an_item_whose_votes_gold_calls_wrong_has_no_answer() -> None:
    cast = votes([(0, 0, 1), (0, 1, 1)])
    refuted = Votes(**{**cast.__dict__, "right": np.zeros(2)})
    answers = choices.answers_given(refuted, choices.one_coin(refuted))
    assert answers.answer.tolist() == [-1] and answers.is_disputed.all()


def test_who_answers_at_random_weighs_little_and_is_still_counted() -> None:
    cast, _ = crowd(3, 600, [0.9, 0.9, 0.9, 1 / 3], 4)
    accuracies = choices.one_coin(cast)
    assert accuracies.value[3] < 0.45
    without = cast.annotator < 3
    kept = choices.answers_given(cast, accuracies).confidence
    left_out = choices.answers_given(
        votes(list(zip(*(a[without].tolist() for a in (cast.item, cast.annotator, cast.answer)), strict=True)), 3),
        Accuracies(accuracies.value[:3], accuracies.mean, accuracies.is_own[:3]),
    ).confidence
    assert not np.array_equal(kept, left_out)
    assert np.abs(kept - left_out).mean() < 0.05


def test_separate_batches_sorted_by_class_turn_dawid_skene_around_and_not_one_coin() -> None:
    rng = np.random.default_rng(0)
    truth = np.repeat(np.arange(60) % 2, 30)
    ballots = [
        (item, item // 30 * 3 + person, int(truth[item] if rng.random() < 0.85 else 1 - truth[item]))
        for item in range(len(truth))
        for person in range(3)
    ]
    cast = votes(ballots)
    by_majority = share_right(choices.majority(cast).answer, truth)
    by_one_coin = share_right(choices.answers_given(cast, choices.one_coin(cast)).answer, truth)
    textbook = dawid_skene(cast)
    assert by_one_coin > by_majority - 0.002
    assert share_right(textbook.answer, truth) < by_majority - 0.05
    assert textbook.warnings == (WARNING,)


ballots_lists = st.lists(
    st.tuples(st.integers(0, 6), st.integers(0, 4), st.integers(0, 2)), max_size=25, unique_by=lambda ballot: ballot[:2]
)


@given(ballots_lists, st.permutations(range(5)))
def test_names_of_annotators_do_not_matter(ballots: list[Ballot], names: list[int]) -> None:
    plain, renamed = (
        votes(rows, 3, items=7) for rows in (ballots, [(item, names[person], answer) for item, person, answer in ballots])
    )
    one, other = (
        choices.answers_given(plain, choices.one_coin(plain)),
        choices.answers_given(renamed, choices.one_coin(renamed)),
    )
    np.testing.assert_array_equal(one.answer, other.answer)
    np.testing.assert_allclose(one.confidence, other.confidence, atol=1e-6)
    np.testing.assert_array_equal(one.fell_back, other.fell_back)


@given(ballots_lists, st.permutations(range(3)))
def test_names_of_classes_do_not_matter(ballots: list[Ballot], names: list[int]) -> None:
    plain, renamed = (
        votes(rows, 3, items=7) for rows in (ballots, [(item, person, names[answer]) for item, person, answer in ballots])
    )
    for model in (choices.majority, lambda cast: choices.answers_given(cast, choices.one_coin(cast))):
        one, other = model(plain), model(renamed)
        np.testing.assert_array_equal([-1 if code < 0 else names[code] for code in one.answer], other.answer)
        np.testing.assert_allclose(one.confidence, other.confidence, atol=1e-6)


@given(ballots_lists)
def test_confidences_are_probabilities_and_every_voted_item_is_answered_or_disputed(ballots: list[Ballot]) -> None:
    cast = votes(ballots, 3, items=7)
    for answers in (
        choices.majority(cast),
        choices.answers_given(cast, choices.one_coin(cast)),
        dawid_skene(cast),
    ):
        said = answers.confidence[~np.isnan(answers.confidence)]
        assert ((said > 0) & (said <= 1)).all()
        has_votes = cast.size > 0
        assert (answers.answer[~has_votes] == -1).all()
        assert ((answers.answer[has_votes] >= 0) | answers.is_disputed[has_votes]).all()
    accuracies = choices.one_coin(cast)
    assert (np.isnan(accuracies.value) | (accuracies.value >= 0.02) & (accuracies.value <= 0.98)).all()
