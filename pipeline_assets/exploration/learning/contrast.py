"""A projection of embeddings trained by contrast between an item and its variants; torch is imported in functions."""

import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline_assets.exploration.learning.few_labels import Floats, Ints, unit
from pipeline_assets.runtime.one_thread import one_thread

DIMENSIONS = 128
STEPS, BATCH = 100, 128
RATE, TEMPERATURE = 0.003, 0.5
"""The rate of learning is in units of a weight's size at the start."""


@dataclass(frozen=True, eq=False)
class Projection:
    """A linear projection. mean: (D,), weights: (D, P), float32."""

    mean: Floats
    weights: Floats

    def project(self, embeddings: Floats) -> Floats:
        """(N, D) -> (N, P) of length 1."""
        return unit(((unit(embeddings) - self.mean) @ self.weights).astype(np.float32))

    @property
    def model_id(self) -> str:
        """Changes with any number of the projection."""
        return f"contrast-{hashlib.sha256(self.mean.tobytes() + self.weights.tobytes()).hexdigest()[:12]}"

    def to_bytes(self) -> bytes:
        """An NPZ archive of plain arrays."""
        file = io.BytesIO()
        np.savez(file, mean=self.mean, weights=self.weights)
        return file.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> "Projection":
        """What `to_bytes` wrote. Reading executes nothing."""
        arrays = np.load(io.BytesIO(data), allow_pickle=False)
        return cls(arrays["mean"], arrays["weights"])


@one_thread()
def fit(
    embeddings: Floats,
    families: Ints,
    seed: int,
    *,
    dimensions: int = DIMENSIONS,
    steps: int = STEPS,
    rate: float = RATE,
    temperature: float = TEMPERATURE,
) -> Projection:
    """Train on pairs of members of one family; no labels are read.

    embeddings: (N, D), finite, of items and their variants; families: (N,): members are never negatives of one another.
    It begins as the first principal components, with their lengths. dimensions: at most, as there are no more than N or D.
    Source: the NT-Xent loss of Chen et al. 2020, "A simple framework for contrastive learning", section 2.1.
    Raises ValueError if fewer than two families have two members, or for values that are not finite.
    """
    import torch

    if not np.isfinite(embeddings).all():
        raise ValueError("contrast needs finite embeddings: set others aside before")
    rng = np.random.default_rng(seed)
    names, counts = np.unique(families, return_counts=True)
    members = [np.flatnonzero(families == name) for name in names[counts > 1]]
    if len(members) < 2:
        raise ValueError("contrast needs two families of an item and a variant: make variants of more items first")
    inputs = unit(embeddings)
    mean = inputs.mean(axis=0)
    centered = torch.from_numpy(inputs - mean)
    weights = _components(inputs - mean, dimensions).requires_grad_()
    pairs = (_pairs(members, rng) for _ in range(steps))
    _train(weights, centered, torch.from_numpy(families), pairs, rate, temperature)
    return Projection(mean, weights.detach().numpy())


@one_thread()  # once more: torch may be imported by `fit` only
def _train(weights, rows, families, steps: Iterator[Ints], rate: float, temperature: float) -> None:  # type: ignore[no-untyped-def]
    """Move the weights (D, P), a step for each (B, 2) pairs of rows (N, D) of one family."""
    import torch

    optimizer = torch.optim.Adam([weights], lr=rate * float(weights.detach().square().mean().sqrt()))
    for pairs in steps:
        optimizer.zero_grad()
        loss = contrastive_loss(rows[pairs.T.ravel()] @ weights, families[pairs[:, 0]], temperature)
        loss.backward()
        optimizer.step()


def contrastive_loss(projected, family, temperature: float):  # type: ignore[no-untyped-def]  # torch is not imported here
    """NT-Xent: how improbable the other view of each row is among it and rows of other families. Scalar.

    projected: (2B, P): row i and row B + i are views of one item; family: (B,) integers.
    """
    import torch
    import torch.nn.functional as functional

    count = len(family)
    rows = functional.normalize(projected, dim=1)
    both = torch.cat([family, family])
    partner = torch.arange(2 * count).roll(count)
    is_relative = both[:, None] == both[None]
    is_relative[torch.arange(2 * count), partner] = False
    similarity = (rows @ rows.T / temperature).masked_fill(is_relative, float("-inf"))
    return functional.cross_entropy(similarity, partner)


def _components(centered: Floats, dimensions: int):  # type: ignore[no-untyped-def]
    """The first principal directions (D, P), signs fixed."""
    import torch

    _, _, directions = np.linalg.svd(centered, full_matrices=False)
    chosen = directions[:dimensions].T
    signs = np.sign(chosen[np.abs(chosen).argmax(axis=0), np.arange(chosen.shape[1])])
    return torch.from_numpy(np.ascontiguousarray(chosen * signs, np.float32))


def _pairs(members: list[npt.NDArray[np.int64]], rng: np.random.Generator) -> Ints:
    """(B, 2): two different members of each of up to BATCH families."""
    chosen = rng.permutation(len(members))[:BATCH]
    return np.array([rng.permutation(members[number])[:2] for number in chosen])
