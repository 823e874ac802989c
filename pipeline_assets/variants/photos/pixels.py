"""Effects carried out on batches of photos with torch: the same code on every device.

A batch is (B, 3, H, W), uint8 for as long as nothing needs more, else float32 in [0, 1]; no effect changes H or W. What becomes
of a photo does not depend on the others. Noise is drawn on the host, so that it is the same on every device; other
results of two devices may differ in the last bit.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as functional
from scipy.special import ndtri

from pipeline_assets.variants.photos import codec, effects
from pipeline_assets.variants.photos.effects import Effect
from pipeline_assets.variants.recipes import generator

SIGMAS = 3.0
"""Where a Gaussian is cut off."""


def apply(images: torch.Tensor, steps: Sequence[Sequence[Effect]], others: torch.Tensor | None = None) -> torch.Tensor:
    """Carry out each photo's effects.

    images, others: (B, 3, H, W) uint8; others: what is mixed in, where an effect does that. steps: of each photo; all have
    effects of the same types in the same order.  Returns (B, 3, H, W) uint8.
    """
    for same in zip(*steps, strict=True):
        images = _DO[type(same[0])](images, same, others)
    return as_bytes(images)


def as_floats(images: torch.Tensor) -> torch.Tensor:
    """In [0, 1]."""
    return images if images.is_floating_point() else images.float().div_(255)


def as_bytes(images: torch.Tensor) -> torch.Tensor:
    """Rounded to 8 bits. images in [0, 1]."""
    return images.mul(255).add_(0.5).to(torch.uint8) if images.is_floating_point() else images


def warp(images: torch.Tensor, steps: Sequence[effects.Warp], _: Any = None) -> torch.Tensor:
    """Move pixels, bilinearly; a point outside the photo takes its edge's colour."""
    images = as_floats(images)
    _, _, height, width = images.shape
    backward = np.linalg.inv(np.stack([step.matrix for step in steps]))
    # From pixels to grid_sample's [-1, 1].
    unit = np.array([[2 / width, 0, -1], [0, 2 / height, -1], [0, 0, 1]])
    m = _column(unit @ backward, images).view(-1, 3, 3, 1, 1)
    x = torch.arange(width, device=images.device) + 0.5
    y = (torch.arange(height, device=images.device) + 0.5)[:, None]
    across, down, depth = (m[:, row, 0] * x + (m[:, row, 1] * y + m[:, row, 2]) for row in range(3))
    grid = torch.stack([across / depth, down / depth], dim=3)
    return functional.grid_sample(images, grid, "bilinear", "border", align_corners=False)


def colour(images: torch.Tensor, steps: Sequence[effects.Colour], _: Any = None) -> torch.Tensor:
    """Mix channels."""
    images = as_floats(images)
    matrix = _column(np.stack([step.matrix for step in steps]), images)
    mixed = torch.bmm(matrix[:, :, :3], images.flatten(2)).add_(matrix[:, :, 3:])
    return mixed.clamp_(0, 1).view_as(images)


def curve(images: torch.Tensor, steps: Sequence[effects.Curve], _: Any = None) -> torch.Tensor:
    """Look tones up."""
    tables = torch.from_numpy(np.stack([step.table for step in steps])).to(images.device)  # (B, 3, 256)
    first = torch.arange(0, tables.numel(), 256, dtype=torch.int32, device=images.device).view(-1, 3, 1, 1)
    at = as_bytes(images).int().add_(first)
    return tables.flatten().index_select(0, at.flatten()).view_as(at)


def blur(images: torch.Tensor, steps: Sequence[effects.Blur], _: Any = None) -> torch.Tensor:
    """Convolve with each photo's Gaussian, edges mirrored. Photo by photo: kernels differ, and one lies in the cache."""
    return torch.stack([_blurred(image, step.sigma) for image, step in zip(as_floats(images), steps, strict=True)])


def noise(images: torch.Tensor, steps: Sequence[effects.Noise], _: Any = None) -> torch.Tensor:
    """Add noise."""
    height, width = images.shape[2:]
    drawn = [_normal(step.seed, (1 if step.is_grey else 3, height, width), step.sigma) for step in steps]
    added = torch.from_numpy(np.stack(drawn)).to(images.device)
    return (as_floats(images) + added).clamp_(0, 1)


def recompress(images: torch.Tensor, steps: Sequence[effects.Recompress], _: Any = None) -> torch.Tensor:
    """To JPEG and back, on the host."""
    pixels = as_bytes(images).permute(0, 2, 3, 1).cpu().contiguous().numpy()
    back = [codec.recompressed(image, step.quality) for image, step in zip(pixels, steps, strict=True)]
    return torch.from_numpy(np.stack(back)).permute(0, 3, 1, 2).contiguous().to(images.device)


def vignette(images: torch.Tensor, steps: Sequence[effects.Vignette], _: Any = None) -> torch.Tensor:
    """Darken by the square of the distance from the centre, which is 1 in the corners."""
    images = as_floats(images)
    height, width = images.shape[2:]
    x = ((torch.arange(width, device=images.device) + 0.5) * 2 / width - 1) ** 2 / 2
    y = ((torch.arange(height, device=images.device) + 0.5) * 2 / height - 1) ** 2 / 2
    strength = _column([step.strength for step in steps], images).view(-1, 1, 1, 1)
    return images * (1 - strength * (x + y[:, None]))


def detail(images: torch.Tensor, steps: Sequence[effects.Detail], _: Any = None) -> torch.Tensor:
    """Enlarge differences from the surroundings, which are the mean of about a seventh of a side."""
    images = as_floats(images)
    height, width = images.shape[2:]
    small = functional.interpolate(images, (max(height // 8, 1), max(width // 8, 1)), mode="area")
    small = functional.avg_pool2d(small, 5, stride=1, padding=2, count_include_pad=False)
    around = functional.interpolate(small, (height, width), mode="bilinear", align_corners=False)
    amount = _column([step.amount for step in steps], images).view(-1, 1, 1, 1)
    return (images + amount * (images - around)).clamp_(0, 1)


def cut(images: torch.Tensor, steps: Sequence[effects.Cut], _: Any = None) -> torch.Tensor:
    """Cover rectangles with grey."""
    images = images.clone()
    for image, step in zip(images, steps, strict=True):
        left, top, right, bottom = step.rectangle
        image[:, top:bottom, left:right] = step.grey if image.is_floating_point() else round(step.grey * 255)
    return images


def blend(images: torch.Tensor, steps: Sequence[effects.Blend], others: torch.Tensor | None) -> torch.Tensor:
    """Mix in the other photo."""
    share = _column([step.share for step in steps], images).view(-1, 1, 1, 1)
    images = as_floats(images)
    return (images + share * (as_floats(_there(others)) - images)).clamp_(0, 1)


def paste(images: torch.Tensor, steps: Sequence[effects.Paste], others: torch.Tensor | None) -> torch.Tensor:
    """Show the other photo in a rectangle."""
    others = as_floats(_there(others)) if images.is_floating_point() else _there(others)
    images = images.clone()
    for image, other, step in zip(images, others, steps, strict=True):
        left, top, right, bottom = step.rectangle
        image[:, top:bottom, left:right] = other[:, top:bottom, left:right]
    return images


_DO: dict[type, Callable[[torch.Tensor, Any, torch.Tensor | None], torch.Tensor]] = {
    effects.Warp: warp,
    effects.Colour: colour,
    effects.Curve: curve,
    effects.Blur: blur,
    effects.Noise: noise,
    effects.Recompress: recompress,
    effects.Vignette: vignette,
    effects.Detail: detail,
    effects.Cut: cut,
    effects.Blend: blend,
    effects.Paste: paste,
}


def _there(others: torch.Tensor | None) -> torch.Tensor:
    if others is None:
        raise ValueError("this effect needs a second photo")
    return others


def _column(values: Any, like: torch.Tensor) -> torch.Tensor:
    """Numbers of the host as float32 beside a batch."""
    return torch.from_numpy(np.asarray(values, dtype=np.float32)).to(like.device)


def _blurred(image: torch.Tensor, sigma: float) -> torch.Tensor:
    """image: (3, H, W). Separable; shifted sums are faster on a core than a convolution of few channels."""
    for axis in (1, 2):
        size = image.shape[axis]
        reach = min(max(round(SIGMAS * sigma), 1), size - 1)
        weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
        weights = (weights / weights.sum()).tolist()
        edges = (reach, reach, 0, 0) if axis == 2 else (0, 0, reach, reach)
        padded = functional.pad(image, edges, mode="reflect")
        image = padded.narrow(axis, reach, size) * weights[reach]
        for step in range(reach):
            image.add_(padded.narrow(axis, step, size), alpha=weights[step])
            image.add_(padded.narrow(axis, 2 * reach - step, size), alpha=weights[step])
    return image.clamp_(0, 1)


def _normal(seed: int, shape: tuple[int, ...], sigma: float) -> Any:
    """Gaussian noise, float32: quantiles by 16 random bits, three times as fast as exact draws, cut off at 4.3 sigma."""
    bits = np.frombuffer(generator(seed, "noise").bytes(2 * int(np.prod(shape))), dtype="<u2")
    return (_quantiles() * np.float32(sigma)).take(bits).reshape(shape)


@cache
def _quantiles() -> Any:
    return ndtri((np.arange(65536) + 0.5) / 65536).astype(np.float32)
