"""A tiny network to export, and photos made by hand, for the tests beside this file."""

import hashlib
import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from pipeline_assets.classify.model_files import Preprocessing

SHARED_PHOTOS = Path(__file__).parents[2].parent / "shared" / "photos"


class TinyNet(torch.nn.Module):
    """Logits are linear in the mean colour, so that a photo's scores can be worked out by hand."""

    def __init__(self, has_embedding: bool) -> None:
        super().__init__()
        self.has_embedding = has_embedding
        self.last = torch.nn.Linear(3, 3, bias=False)
        self.last.weight.data = 2 * torch.eye(3)

    def forward(self, x):
        colour = x.mean((2, 3))
        return (self.last(colour), colour) if self.has_embedding else self.last(colour)


TINY_PREPROCESSING = Preprocessing(40, 32, (0.0, 0.0, 0.0), (255.0, 255.0, 255.0))


def export_tiny(has_embedding: bool = True) -> torch.export.ExportedProgram:
    return torch.export.export(
        TinyNet(has_embedding).eval(), (torch.zeros(2, 3, 32, 32),), dynamic_shapes=({0: torch.export.Dim("batch")},)
    )


def encoded(image: Image.Image, image_format: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


def noise(seed: int, width: int = 64, height: int = 48) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return encoded(Image.fromarray(pixels))


def named(data: bytes) -> tuple[str, bytes]:
    return hashlib.sha256(data).hexdigest(), data
