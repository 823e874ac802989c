"""Trains the nightly popularity model on a staging: seeded, early-stopped, scored with its baselines.

On a CPU the same staging and seed give the same weights, byte for byte, on any number of cores: the arithmetic runs on one
thread, which hardly slows such a small net. CUDA is faster on millions of rows, but not exactly reproducible.
"""

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import torch
from torch.optim.adamw import adamw

from pipeline_assets.errors import NothingToTrainOn
from pipeline_assets.training.model import feature_matrix, weights
from pipeline_assets.training.model.baselines import baseline_scores, moments
from pipeline_assets.training.model.importance import permutation_importance
from pipeline_assets.training.model.popularity_net import PopularityNet, started_net
from pipeline_assets.training.model.scores import Scores, score
from pipeline_assets.training.schemas import SPLITS
from pipeline_assets.training.shards.dataset import Batch, StagedRows, ordered_batches, shuffled_loader

FORMAT = "darkroom-popularity/1"
PATIENCE = 10
"""Epochs without a better validation error before training stops."""
MIN_GAIN = 0.002
"""Relative gain in validation error of a better epoch; smaller gains are noise of a small validation split."""


class Epoch(NamedTuple):
    """Progress after one epoch; number 0 is the closed-form start, before any step."""

    number: int
    max_epochs: int
    validation_mse: float


@dataclass(frozen=True)
class TrainedModel:
    """One trained model.

    rows: by split. epochs: run until early stopping. scores, baselines (`mean`, `metadata`, `ridge`): on test.
    predictions of the test split: photo_id, popularity (label), prediction.
    importance: feature, source, r2_drop, r2_drop_deviation; largest drop first.
    """

    weights: bytes
    weights_sha256: str
    seed: int
    epochs: int
    rows: dict[str, int]
    scores: Scores
    baselines: dict[str, Scores]
    predictions: pl.DataFrame
    importance: pl.DataFrame


def train(
    staging: Path,
    *,
    seed: int,
    max_epochs: int = 200,
    device: str = "cpu",
    workers: int = 0,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
) -> TrainedModel:
    """Train on a finished staging.

    device: a torch device, or `auto` for CUDA where there is one and else the CPU; `mps` means the CPU, because the
    closed-form start needs float64. workers: processes that read batches ahead; they do not affect the result.
    Raises NothingToTrainOn naming the empty splits, StagingCorrupt if the staging is incomplete.
    """
    splits = {split: StagedRows(staging, split) for split in SPLITS}
    empty = [split for split, rows in splits.items() if not len(rows)]
    if empty:
        raise NothingToTrainOn(
            f"no mature rows in split {', '.join(empty)} ("
            + ", ".join(f"{split} {len(rows):,}" for split, rows in splits.items())
            + "): splits go by user, so a model needs photos of dozens of users: import more, or use a longer window"
        )
    device = _device_of(device)
    with _one_thread():
        split_moments = {split: moments(splits[split], device) for split in ("train", "validation")}
        start = torch.Generator().manual_seed(seed)
        net = started_net(split_moments["train"], split_moments["validation"], len(feature_matrix.NAMES), start).to(device)
        epochs = _fit(net, splits["train"], splits["validation"], seed, max_epochs, workers, on_epoch)
        predictions = _predictions(net, splits["test"])
        data = _serialise(net, splits["train"].model_id, seed)
        return TrainedModel(
            weights=data,
            weights_sha256=hashlib.sha256(data).hexdigest(),
            seed=seed,
            epochs=epochs,
            rows={split: len(rows) for split, rows in splits.items()},
            scores=score(predictions["popularity"].to_numpy(), predictions["prediction"].to_numpy()),
            baselines=baseline_scores(split_moments["train"], split_moments["validation"], splits["test"]),
            predictions=predictions,
            importance=permutation_importance(net, splits["test"], seed=seed),
        )


def _device_of(device: str) -> str:
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return "cpu" if device == "mps" else device


def _fit(
    net: PopularityNet,
    train_rows: StagedRows,
    validation_rows: StagedRows,
    seed: int,
    max_epochs: int,
    workers: int,
    on_epoch: Callable[[Epoch], None],
) -> int:
    """Train `net` in place and leave it at its best epoch; returns the epochs run, at least 1."""
    device = net.linear.device
    dropout = torch.Generator(device).manual_seed(seed)
    loader = shuffled_loader(
        train_rows, _batch_rows(len(train_rows)), seed=seed, workers=workers, pin_memory=device.type == "cuda"
    )
    optimisers = _optimisers(net)
    best = _validation_mse(net, validation_rows)
    state = {name: value.clone() for name, value in net.state_dict().items()}
    on_epoch(Epoch(0, max_epochs, best))
    best_epoch = 0
    for epoch in range(1, max(max_epochs, 1) + 1):
        loader.batch_sampler.epoch = epoch  # type: ignore[union-attr]
        for batch in loader:
            _step(net, optimisers, batch, dropout)
        mse = _validation_mse(net, validation_rows)
        on_epoch(Epoch(epoch, max_epochs, mse))
        if mse < best * (1 - MIN_GAIN):
            best, best_epoch = mse, epoch
            state = {name: value.clone() for name, value in net.state_dict().items()}
        if epoch - best_epoch >= PATIENCE:
            break
    net.load_state_dict(state)
    return epoch


def _batch_rows(rows: int) -> int:
    """About eight batches of a few hundred rows; at most 4,096, so that millions still make many steps."""
    return min(max(rows // 8, 32), 4096)


class _AdamW:
    """AdamW over some parameters, in torch's functional form: the class `torch.optim.AdamW` loads torch's compiler, which
    takes as long as the rest of a small night.
    """

    def __init__(self, parameters: Sequence[torch.Tensor], learning_rate: float, weight_decay: float) -> None:
        self.parameters = list(parameters)
        self.learning_rate, self.weight_decay = learning_rate, weight_decay
        self.means = [torch.zeros_like(parameter) for parameter in parameters]
        self.squares = [torch.zeros_like(parameter) for parameter in parameters]
        self.steps = [torch.zeros(()) for _ in parameters]

    @torch.no_grad()
    def step(self, gradients: Sequence[torch.Tensor]) -> None:
        """Move the parameters by their gradients."""
        usual: dict[str, Any] = {"amsgrad": False, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "maximize": False}
        rates: dict[str, Any] = {"lr": self.learning_rate, "weight_decay": self.weight_decay}
        adamw(self.parameters, list(gradients), self.means, self.squares, [], self.steps, **rates, **usual)


def _optimisers(net: PopularityNet) -> tuple[_AdamW, _AdamW]:
    """The closed-form parts move slowly and decay little: they are near their optimum already."""
    solved = _AdamW([net.projection, net.linear, net.bias], learning_rate=1e-4, weight_decay=0.01)
    learned = _AdamW([net.hidden_weight, net.hidden_bias, net.out_weight], learning_rate=2e-3, weight_decay=0.1)
    return solved, learned


def _step(net: PopularityNet, optimisers: Sequence[_AdamW], batch: Batch, dropout: torch.Generator) -> None:
    embedding, features, label = _on_device(net, batch)
    standard = (label - net.label_mean) / net.label_deviation
    loss = ((net.members(net.content(embedding), features, dropout) - standard) ** 2).mean()
    gradients = iter(torch.autograd.grad(loss, [part for optimiser in optimisers for part in optimiser.parameters]))
    for optimiser in optimisers:
        optimiser.step([next(gradients) for _ in optimiser.parameters])


def _on_device(net: PopularityNet, batch: Batch) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    device = net.linear.device
    embedding, features, label = (batch[key].to(device, non_blocking=True) for key in ("embedding", "features", "label"))
    return embedding, features, label


@torch.no_grad()
def _validation_mse(net: PopularityNet, rows: StagedRows) -> float:
    total = torch.zeros((), dtype=torch.float64, device=net.linear.device)
    for batch in ordered_batches(rows):
        embedding, features, label = _on_device(net, batch)
        total += ((net(embedding, features) - label).double() ** 2).sum()
    return float(total) / len(rows)


@torch.no_grad()
def _predictions(net: PopularityNet, rows: StagedRows) -> pl.DataFrame:
    parts = []
    for batch in ordered_batches(rows):
        embedding, features, _ = _on_device(net, batch)
        columns = {"photo_id": batch["photo_id"], "popularity": batch["label"], "prediction": net(embedding, features)}
        parts.append(pl.DataFrame({name: values.cpu().numpy() for name, values in columns.items()}))
    return pl.concat(parts)


def _serialise(net: PopularityNet, model_id: str, seed: int) -> bytes:
    metadata = {
        "format": FORMAT,
        "features": ",".join(feature_matrix.NAMES),
        "model_id": model_id,
        "seed": str(seed),
    }
    return weights.to_bytes(net.state_dict(), metadata)


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Use one thread: sums are split by thread, so their rounding depends on the number of threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
