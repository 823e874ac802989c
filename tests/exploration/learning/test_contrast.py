"""A projection trained by contrast."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from pipeline_assets.exploration.learning import contrast
from pipeline_assets.exploration.learning.contrast import Projection, contrastive_loss, fit


def views(seed=0, families=24, dimensions=10):
    """Items that differ in the first four columns, and their variants that differ in the others, much more."""
    rng = np.random.default_rng(seed)
    items = np.zeros((families, dimensions))
    items[:, :4] = rng.standard_normal((families, 4))
    parts = [items + np.r_[np.zeros(4), 2 * np.ones(6)] * rng.standard_normal(items.shape) for _ in range(3)]
    return np.concatenate(parts).astype(np.float32), np.tile(np.arange(families), 3)


def found_among_others(rows, families):
    """Share of rows whose nearest other row is of their family."""
    similarity = rows @ rows.T
    np.fill_diagonal(similarity, -np.inf)
    return (families[similarity.argmax(axis=1)] == families).mean()


@pytest.mark.slow
def test_contrast_brings_variants_of_an_item_together():
    rows, families = views()
    start, trained = (fit(rows, families, 0, dimensions=6, steps=steps, rate=0.1) for steps in (0, 60))
    before, after = (found_among_others(one.project(rows), families) for one in (start, trained))
    assert after > before + 0.2


@pytest.mark.slow
def test_a_seed_gives_one_projection_and_another_seed_another():
    rows, families = views()
    one, same, other = (fit(rows, families, seed, steps=5) for seed in (0, 0, 1))
    assert one.model_id == same.model_id != other.model_id
    kept = Projection.from_bytes(one.to_bytes())
    assert kept.model_id == one.model_id
    assert_array_equal(kept.project(rows), one.project(rows))


@pytest.mark.slow
def test_members_of_a_family_are_never_negatives_of_one_another():
    import torch

    rows = torch.tensor([[1.0, 0], [1, 0], [0, 1], [1, 0], [1, 0], [0, 1]])
    apart = contrastive_loss(rows, torch.tensor([0, 1, 2]), 0.1)
    relatives = contrastive_loss(rows, torch.tensor([0, 0, 2]), 0.1)
    assert relatives < 1e-3 < apart


def test_it_needs_two_families_with_a_variant_and_finite_values():
    rows = np.eye(4, dtype=np.float32)
    with pytest.raises(ValueError, match="make variants"):
        fit(rows, np.array([0, 0, 1, 2]), 0)
    rows[0, 0] = np.nan
    with pytest.raises(ValueError, match="finite"):
        fit(rows, np.array([0, 0, 1, 1]), 0)


def test_equal_items_have_a_projection_of_zeros():
    projection = fit(np.ones((6, 4), np.float32), np.array([0, 0, 1, 1, 2, 2]), 0, steps=2)
    assert np.isfinite(projection.project(np.ones((2, 4), np.float32))).all()
    assert projection.weights.shape[1] <= contrast.DIMENSIONS
