"""The popularity model's network, and its start in closed form. How it is trained is in `popularity_model.py`.

    content = (embedding - mean) @ projection                   E -> P, whitened principal components to start with
    x       = [content, standardised features]                  P + F
    label   = linear(x) + mean over members k of mlp_k(x)       each mlp: P + F -> H, ReLU, dropout -> 1

A few hundred photos can't fill 1,280 dimensions, so the embedding is cut to the components that vary most, and the
linear part starts as ridge regression with one penalty for content and one for features. The MLPs start at zero: they
only add what a straight line misses. Everything fitted here comes from moments of the training and validation rows.
"""

import itertools
from collections.abc import Iterator

import numpy as np
import torch
from torch import nn

from pipeline_assets.training.model.baselines import Moments, fit_ridge

COMPONENTS, HIDDEN, MEMBERS, DROPOUT = 32, 32, 4, 0.3
CONTENT_PENALTIES, FEATURE_PENALTIES = np.logspace(-3, 2, 11), np.logspace(-3, 1, 9)


class PopularityNet(nn.Module):
    """Predicts popularity from raw embeddings (B, E) and raw features (B, F), both float32."""

    embedding_mean: torch.Tensor
    feature_mean: torch.Tensor
    feature_scale: torch.Tensor
    label_mean: torch.Tensor
    label_deviation: torch.Tensor

    def __init__(self, embedding_dim: int, features: int, hidden: int = HIDDEN, members: int = MEMBERS) -> None:
        super().__init__()
        inputs = COMPONENTS + features
        self.register_buffer("embedding_mean", torch.zeros(embedding_dim))
        self.register_buffer("feature_mean", torch.zeros(features))
        self.register_buffer("feature_scale", torch.ones(features))
        self.register_buffer("label_mean", torch.zeros(()))
        self.register_buffer("label_deviation", torch.ones(()))
        self.projection = nn.Parameter(torch.zeros(embedding_dim, COMPONENTS))
        self.linear = nn.Parameter(torch.zeros(inputs))
        self.bias = nn.Parameter(torch.zeros(()))
        self.hidden_weight = nn.Parameter(torch.zeros(members, inputs, hidden))
        self.hidden_bias = nn.Parameter(torch.zeros(members, 1, hidden))
        self.out_weight = nn.Parameter(torch.zeros(members, hidden, 1))

    def content(self, embedding: torch.Tensor) -> torch.Tensor:
        """Projected embeddings, (B, P)."""
        return (embedding - self.embedding_mean) @ self.projection

    def members(self, content: torch.Tensor, features: torch.Tensor, dropout: torch.Generator | None = None) -> torch.Tensor:
        """Each member's prediction of the standardised label, (K, B); `dropout` draws the masks of a training step."""
        standard = (features - self.feature_mean) * self.feature_scale
        x = torch.cat([content, standard], dim=1)
        # A flag that one training photo in 500 has is 22 deviations off: a straight line copes, an MLP need not see it.
        hidden = torch.relu(x.clamp(-4, 4) @ self.hidden_weight + self.hidden_bias)  # (K, B, H)
        if dropout is not None:
            mask = torch.rand(hidden.shape, generator=dropout, device=hidden.device) >= DROPOUT
            hidden = hidden * mask / (1 - DROPOUT)
        return x @ self.linear + self.bias + (hidden @ self.out_weight).squeeze(-1)

    def popularity(self, content: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        """Predicted label (B,), at least 0."""
        standard = self.members(content, features).mean(0)
        return (standard * self.label_deviation + self.label_mean).clamp(min=0)

    def forward(self, embedding: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        """Predicted label (B,), at least 0."""
        return self.popularity(self.content(embedding), features)


def started_net(train: Moments, validation: Moments, features: int, generator: torch.Generator) -> PopularityNet:
    """A net at its closed-form start: standardised by training rows, ridge on the leading components and features.

    The penalties are those best on validation. `generator` (CPU) draws the hidden layers.
    """
    dim = len(train.mean) - 1 - features
    net = PopularityNet(dim, features)
    scale = _scale(train.covariance.diagonal())
    projection = _principal_components(train.covariance[:dim, :dim])
    # Columns of the space that the linear part sees: components, standardised features, the label.
    basis = torch.zeros(len(train.mean), COMPONENTS + features + 1, dtype=torch.float64)
    basis[:dim, :COMPONENTS] = projection
    basis[dim:, COMPONENTS:] = torch.diag(scale[dim:])
    inputs = torch.arange(COMPONENTS + features)
    ridge = fit_ridge(train.transformed(basis), validation.transformed(basis), inputs, _penalties(features))
    with torch.no_grad():
        net.embedding_mean.copy_(train.mean[:dim])
        net.feature_mean.copy_(train.mean[dim:-1])
        net.feature_scale.copy_(scale[dim:-1])
        net.label_mean.copy_(train.mean[-1])
        net.label_deviation.copy_(1 / scale[-1] if scale[-1] > 0 else torch.ones(()))
        net.projection.copy_(projection)
        net.linear.copy_(ridge.weights)
        net.hidden_weight.normal_(std=(2 / len(inputs)) ** 0.5, generator=generator)
    return net


def _penalties(features: int) -> Iterator[torch.Tensor]:
    for content, feature in itertools.product(CONTENT_PENALTIES, FEATURE_PENALTIES):
        sizes = torch.tensor([content] * COMPONENTS + [feature] * features)
        yield sizes.double()


def _principal_components(covariance: torch.Tensor) -> torch.Tensor:
    """Leading eigenvectors scaled to unit variance, (E, COMPONENTS); zero where nothing varies any more."""
    variance, vectors = torch.linalg.eigh(covariance)
    variance, vectors = variance.flip(0)[:COMPONENTS], vectors.flip(1)[:, :COMPONENTS]
    # A sign is arbitrary: the largest entry is made positive, so that a rounding error can't flip it.
    largest = vectors.gather(0, vectors.abs().argmax(0, keepdim=True))
    scale = torch.where(variance > 1e-9 * variance[0].clamp(min=1e-12), variance, torch.inf).rsqrt()
    components = torch.zeros(len(covariance), COMPONENTS, dtype=torch.float64)
    components[:, : len(variance)] = vectors * largest.sign() * scale
    return components


def _scale(variance: torch.Tensor) -> torch.Tensor:
    """Inverse standard deviations; 0 for what is constant in training, so that another value later means nothing."""
    return torch.where(variance > 1e-12, variance, torch.inf).rsqrt()
