"""Embeddings of titles."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from pipeline_assets.exploration.learning.titles import (
    MASK,
    MAX_LENGTH,
    PADDING,
    UNKNOWN,
    Vocabulary,
    fit_masked_words,
    fit_tfidf_svd,
    words,
)

TEXTS = [
    f"the {animal} {verb} near the {place}"
    for animal in ("cat", "dog")
    for verb in ("sat", "ran")
    for place in ("sea", "hill")
]
ODD = ["", "   ", "<script>alert(1)</script>", "\U0001f600", "x" * 10_000, "unheard of"]


def test_words_are_lower_case_with_their_apostrophes_and_signs_of_mood():
    assert words("It isn't GOOD, is it?!") == ["it", "isn't", "good", "is", "it", "?", "!"]
    assert words("") == []


def test_a_vocabulary_has_the_most_frequent_words_of_two_texts_at_least():
    vocabulary = Vocabulary.of(["b a", "a b", "c", "a"], size=2)
    assert vocabulary.numbers == {"a": MASK + 1, "b": MASK + 2}
    assert vocabulary.encode(["b z"])[0, :3].tolist() == [MASK + 2, UNKNOWN, PADDING]
    assert vocabulary.encode(["a " * 100]).shape == (1, MAX_LENGTH)


def test_texts_with_the_same_words_are_near_by_tfidf():
    rows = fit_tfidf_svd(TEXTS, 0, dimensions=3).embed([*TEXTS, *ODD])
    assert_allclose(np.linalg.norm(rows[: len(TEXTS)], axis=1), 1, atol=1e-5)
    assert (rows[0] @ rows[1]) > (rows[0] @ rows[7])
    assert_array_equal(rows[len(TEXTS)], 0)


def test_too_few_texts_are_refused():
    with pytest.raises(ValueError, match="too few"):
        fit_tfidf_svd(TEXTS[:2], 0)
    with pytest.raises(ValueError, match="more texts"):
        fit_masked_words(["only", "once"], 0)


@pytest.mark.slow
def test_masked_words_are_learned_and_a_seed_gives_the_same_embeddings():
    texts = TEXTS * 8
    model, same = (fit_masked_words(texts, 0, epochs=12) for _ in range(2))
    assert model.losses[-1] < model.losses[0] - 0.5
    rows = model.embed([*texts, *ODD])
    assert np.isfinite(rows).all()
    assert_array_equal(rows, same.embed([*texts, *ODD]))
    assert_array_equal(rows[len(texts)], 0)
    assert model.embed([]).shape[0] == 0


@pytest.mark.slow
def test_training_leaves_the_random_state_of_the_caller():
    import torch

    before = torch.random.get_rng_state()
    fit_masked_words(TEXTS, 3, epochs=1)
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.slow
def test_the_number_of_threads_changes_no_sum_and_stays_the_callers():
    import torch

    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(fit_masked_words([f"{text} number {text}" for text in TEXTS * 80], 0, epochs=1).losses)
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert found[0] == found[1]
