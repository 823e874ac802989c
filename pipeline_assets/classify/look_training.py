"""Training of the look head: a softmax regression on embeddings. Small enough for full-batch optimization."""

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as functional

Floats = npt.NDArray[np.float32]
DECAY = 0.03
ITERATIONS = 200


def fit_head(
    embeddings: Floats, labels: npt.NDArray[np.int64], classes: int, seed: int, decay: float = DECAY
) -> tuple[Floats, Floats]:
    """Fit by L-BFGS with weight decay on standardized inputs.

    embeddings: (n, E); labels: (n,) in [0, classes).  Returns weights (E, classes) and bias (classes,) for the embeddings as
    they are.
    """
    x = torch.from_numpy(embeddings)
    mean, std = x.mean(0), x.std(0).clamp_min(1e-4)
    x, y = (x - mean) / std, torch.from_numpy(labels)
    generator = torch.Generator().manual_seed(seed)
    weights = (0.01 * torch.randn((x.shape[1], classes), generator=generator)).requires_grad_()
    bias = torch.zeros(classes, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights, bias], max_iter=ITERATIONS, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = functional.cross_entropy(x @ weights + bias, y) + decay * weights.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        scaled = weights / std[:, None]
        return scaled.numpy(), (bias - mean @ scaled).numpy()
