"""Applies effects to batches of photos with torch: the same code on every device.

A batch is (B, 3, H, W): uint8 for as long as nothing needs more, else float32 in [0, 255]. In memory, channels are last at
first, as photos are decoded and encoded; what mixes channels or moves pixels makes them planes, on which it takes a third of
the time, and they stay that. No effect changes H or W. An effect may overwrite a float32 batch, never a uint8 one. What
becomes of a photo does not depend on the others. Noise is drawn on the host, so that it is the same on every device; other
results of two devices may differ in the last bit.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as functional
from scipy.special import ndtri

from pipeline_assets.variants.photos import codec, effects
from pipeline_assets.variants.photos.effects import Effect
from pipeline_assets.variants.recipes import generator

SIGMAS = 3.0
"""Where a Gaussian is cut off."""


def apply(images: torch.Tensor, steps: Sequence[Sequence[Effect]], others: torch.Tensor | None = None) -> torch.Tensor:
    """Apply each photo's effects.

    images, others: (B, 3, H, W) uint8; others: what is mixed in, where an effect does that. steps: of each photo; all have
    effects of the same types in the same order.  Returns (B, 3, H, W) uint8.
    """
    return as_bytes(_carried_out(images, steps, others))


def apply_to_pictures(
    images: torch.Tensor, steps: Sequence[Sequence[Effect]], others: torch.Tensor | None = None
) -> torch.Tensor:
    """Like `apply`, in the layout for encoding: (B, H, W, 3) uint8, or (B, H, W, 4) with a fourth byte of 0."""
    result = _carried_out(images, steps, others)
    return _as_rgbx(result) if result.is_contiguous() else as_pictures(as_bytes(result))


def _carried_out(images: torch.Tensor, steps: Sequence[Sequence[Effect]], others: torch.Tensor | None) -> torch.Tensor:
    for step_effects in zip(*steps, strict=True):
        images = _DO[type(step_effects[0])](images, step_effects, others)
    return images


def as_floats(images: torch.Tensor) -> torch.Tensor:
    """The same values as float32."""
    return images if images.is_floating_point() else images.float()


def as_planes(images: torch.Tensor) -> torch.Tensor:
    """The same values as float32, each channel contiguous. Bytes are moved before the conversion: half the time."""
    if images.is_floating_point():
        return images.contiguous()
    return _byte_planes(images).float()


def _byte_planes(images: torch.Tensor) -> torch.Tensor:
    """Bytes, each channel contiguous. On the CPU by numpy, which is a little faster."""
    if images.is_contiguous() or images.device.type != "cpu":
        return images.contiguous()
    return torch.from_numpy(np.ascontiguousarray(images.numpy()))


def as_bytes(images: torch.Tensor) -> torch.Tensor:
    """Round to 8 bits; floats are overwritten. The conversion goes through 16 bits, which takes a third of the time."""
    return images.add_(0.5).to(torch.int16).to(torch.uint8) if images.is_floating_point() else images


def _as_rgbx(images: torch.Tensor) -> torch.Tensor:
    """Planes as (B, H, W, 4) uint8, rounded if they were floats. Takes a third of the time of three bytes per pixel."""
    rounded = (images.add_(0.5) if images.is_floating_point() else images).to(torch.int32)
    packed = rounded[:, 0].add_(rounded[:, 1], alpha=1 << 8).add_(rounded[:, 2], alpha=1 << 16)
    return packed.view(torch.uint8).view(*packed.shape, 4)


def as_pictures(images: torch.Tensor) -> torch.Tensor:
    """(B, H, W, 3), contiguous, the layout for encoding."""
    lines = images.permute(0, 2, 3, 1)
    return lines if lines.is_contiguous() else torch.stack(images.unbind(1), dim=-1)


def warp(images: torch.Tensor, steps: Sequence[effects.Warp], _: Any = None) -> torch.Tensor:
    """Move pixels, bilinearly; a point outside the photo takes its edge's colour."""
    images = as_planes(images)
    _, _, height, width = images.shape
    backward = np.linalg.inv(np.stack([step.matrix for step in steps]))
    # From pixels to grid_sample's [-1, 1].
    unit = np.array([[2 / width, 0, -1], [0, 2 / height, -1], [0, 0, 1]])
    to_source = unit @ backward
    to_source /= to_source[:, 2:, 2:]
    m = _column(to_source, images).view(-1, 3, 3, 1, 1)
    x = torch.arange(width, device=images.device) + 0.5
    y = (torch.arange(height, device=images.device) + 0.5)[:, None]
    grid = torch.empty((len(images), 2, height, width), device=images.device)
    for axis in range(2):
        torch.add(m[:, axis, 0] * x, m[:, axis, 1] * y + m[:, axis, 2], out=grid[:, axis])
    if to_source[:, 2, :2].any():
        grid /= (m[:, 2, 0] * x + (m[:, 2, 1] * y + 1))[:, None]
    return functional.grid_sample(images, grid.permute(0, 2, 3, 1), "bilinear", "border", align_corners=False)


def colour(images: torch.Tensor, steps: Sequence[effects.Colour], _: Any = None) -> torch.Tensor:
    """Mix channels of rounded values with `_exact` weights, so that the result is the same with any BLAS."""
    planes = as_planes(images.round_() if images.is_floating_point() else images)
    weights = _column(_exact(np.stack([step.matrix for step in steps])), images)  # (B, 3, 4)
    mixed = torch.baddbmm(weights[:, :, 3:] * 255, weights[:, :, :3], planes.flatten(2))
    return mixed.clamp_(0, 255).view(planes.shape)


def curve(images: torch.Tensor, steps: Sequence[effects.Curve], _: Any = None) -> torch.Tensor:
    """Map tones by tables. Returns uint8."""
    tables = as_bytes(torch.from_numpy(np.stack([step.table for step in steps])).to(images.device) * 255)  # (B, 3, 256)
    first = torch.arange(0, tables.numel(), 256, dtype=torch.int32, device=images.device).view(-1, 3, 1, 1)
    at = _byte_planes(as_bytes(images)).to(torch.int32).add_(first)
    return tables.flatten().index_select(0, at.flatten()).view(at.shape)


def blur(images: torch.Tensor, steps: Sequence[effects.Blur], _: Any = None) -> torch.Tensor:
    """Convolve with each photo's Gaussian, edges mirrored. Photo by photo: kernels differ, and one lies in the cache."""
    lines = as_pictures(images)
    result = torch.empty(lines.shape, device=images.device)
    for blurred, picture, step in zip(result, lines, steps, strict=True):
        blurred.copy_(_blurred(_blurred(as_floats(picture), 0, step.sigma), 1, step.sigma))
    return result.permute(0, 3, 1, 2)


def noise(images: torch.Tensor, steps: Sequence[effects.Noise], _: Any = None) -> torch.Tensor:
    """Add noise."""
    height, width = images.shape[2:]
    channels = 1 if steps[0].is_grey else 3
    noise_values = np.empty((len(steps), height * width * channels), dtype=np.float32)
    for row, step in zip(noise_values, steps, strict=True):
        _draw_normal(step.seed, 255 * step.sigma, row)
    added = torch.from_numpy(noise_values).view(-1, height, width, channels).to(images.device).permute(0, 3, 1, 2)
    return as_floats(images).add_(added).clamp_(0, 255)


def recompress(images: torch.Tensor, steps: Sequence[effects.Recompress], _: Any = None) -> torch.Tensor:
    """Encode to JPEG and decode, on the CPU."""
    pixels = as_pictures(as_bytes(images)).cpu().numpy()
    recompressed = [codec.recompressed(image, step.quality) for image, step in zip(pixels, steps, strict=True)]
    return torch.from_numpy(np.stack(recompressed)).to(images.device).permute(0, 3, 1, 2)


def vignette(images: torch.Tensor, steps: Sequence[effects.Vignette], _: Any = None) -> torch.Tensor:
    """Darken by the squared distance from the centre, which is 1 in the corners."""
    height, width = images.shape[2:]
    x = ((torch.arange(width, device=images.device) + 0.5) * 2 / width - 1) ** 2 / 2
    y = ((torch.arange(height, device=images.device) + 0.5) * 2 / height - 1) ** 2 / 2
    strength = _column([step.strength for step in steps], images).view(-1, 1, 1)
    return as_planes(images).mul_((1 - strength * (x + y[:, None]))[:, None])


def detail(images: torch.Tensor, steps: Sequence[effects.Detail], _: Any = None) -> torch.Tensor:
    """Amplify differences from the surroundings: the mean over about a seventh of a side."""
    images = as_planes(images)
    height, width = images.shape[2:]
    small = functional.interpolate(images, (max(height // 8, 1), max(width // 8, 1)), mode="area")
    small = functional.avg_pool2d(small, 5, stride=1, padding=2, count_include_pad=False)
    around = _enlarged(_enlarged(small, 3, width), 2, height)
    amount = _column([step.amount for step in steps], images).view(-1, 1, 1, 1)
    return images.add_(images.sub(around).mul_(amount)).clamp_(0, 255)


def cut(images: torch.Tensor, steps: Sequence[effects.Cut], _: Any = None) -> torch.Tensor:
    """Cover rectangles with grey."""
    images = images.clone()
    for image, step in zip(images, steps, strict=True):
        left, top, right, bottom = step.rectangle
        image[:, top:bottom, left:right] = round(step.grey * 255)
    return images


def blend(images: torch.Tensor, steps: Sequence[effects.Blend], others: torch.Tensor | None) -> torch.Tensor:
    """Mix in the other photo."""
    share = _column([step.share for step in steps], images).view(-1, 1, 1, 1)
    return torch.lerp(as_floats(images), as_floats(_required(others)), share)


def paste(images: torch.Tensor, steps: Sequence[effects.Paste], others: torch.Tensor | None) -> torch.Tensor:
    """Show the other photo in a rectangle."""
    others = as_floats(_required(others)) if images.is_floating_point() else _required(others)
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


def _required(others: torch.Tensor | None) -> torch.Tensor:
    if others is None:
        raise ValueError("this effect needs a second photo")
    return others


def _column(values: Any, batch: torch.Tensor) -> torch.Tensor:
    """Numbers as a float32 column on the batch's device."""
    return torch.from_numpy(np.asarray(values, dtype=np.float32)).to(batch.device)


def _exact(weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Weights rounded so that their products with whole numbers up to 255, and all sums of those, are exact in float32.

    weights: (..., N). All of a row are multiples of a power of two, of which its largest sum has 2 ** 24 at most: neither
    order nor fused multiply-add changes anything, so processors agree. Where weights are positive and sum to 1, the result
    is off by less than a hundredth.
    """
    # A little more than 255: rounding may enlarge the sum.
    largest = np.maximum(255.1 * np.abs(weights).sum(axis=-1, keepdims=True), 255.1)
    step = np.ldexp(1.0, np.frexp(largest)[1] - 24)
    return np.rint(weights / step) * step


def _blurred(image: torch.Tensor, axis: int, sigma: float) -> torch.Tensor:
    """Along an axis. image: (H, W, 3). Shifted sums are faster on a core than a convolution of few channels."""
    size = image.shape[axis]
    reach = min(max(round(SIGMAS * sigma), 1), size - 1)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    weights = (weights / weights.sum()).tolist()
    edge_before, edge_after = image.narrow(axis, 1, reach).flip(axis), image.narrow(axis, size - 1 - reach, reach).flip(axis)
    padded = torch.cat([edge_before, image, edge_after], dim=axis)
    result = padded.narrow(axis, reach, size) * weights[reach]
    for step in range(reach):
        result.add_(padded.narrow(axis, step, size), alpha=weights[step])
        result.add_(padded.narrow(axis, 2 * reach - step, size), alpha=weights[step])
    return result


def _enlarged(images: torch.Tensor, axis: int, target: int) -> torch.Tensor:
    """Interpolated linearly along an axis, pixel centres aligned.

    Faster than interpolate; and no product of matrices, whose last bits differ from processor to processor.
    """
    size = images.shape[axis]
    at = ((torch.arange(target, device=images.device) + 0.5) * size / target - 0.5).clamp_(0, size - 1)
    first = at.long()
    weight = (at - first).view([-1 if one == axis else 1 for one in range(4)])
    before = images.index_select(axis, first)
    after = images.index_select(axis, (first + 1).clamp_(max=size - 1))
    return after.sub_(before).mul_(weight).add_(before)


def _draw_normal(seed: int, sigma: float, into: np.ndarray) -> None:
    """Gaussian noise: quantiles by 16 random bits, three times as fast as exact draws, cut off at 4.3 sigma."""
    words = generator(seed, "noise").bit_generator.random_raw(-(-into.size // 4))
    bits = words.astype("<u8", copy=False).view("<u2")[: into.size]
    (_quantiles() * np.float32(sigma)).take(bits, out=into, mode="clip")


@cache
def _quantiles() -> Any:
    return ndtri((np.arange(65536) + 0.5) / 65536).astype(np.float32)
