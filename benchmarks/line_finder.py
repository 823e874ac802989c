"""A small convolutional network that finds lines of text: which pixels are in one, and the box of each."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageDraw
from scipy.ndimage import find_objects, label
from torch import nn

PATCH_PX, BATCH = 128, 8
CORE = 0.5
"""Height of a line's core, by which neighbours are told apart, in heights of the line."""
LEAST_CORE_PX = 12

Boxes = npt.NDArray[np.float64]


class Example(NamedTuple):
    """grey: (H, W) in [0, 1]. masks: (2, H, W), of the lines and of their cores. boxes: (N, 4), left, top, right, bottom."""

    grey: npt.NDArray[np.float32]
    masks: npt.NDArray[np.float32]
    boxes: Boxes


def example(grey: npt.NDArray[np.float32], quads: npt.NDArray[np.floating[Any]]) -> Example:
    """quads: (N, 4, 2), clockwise from the top left, in pixels."""
    masks = [Image.new("L", grey.shape[::-1]) for _ in range(2)]
    margin = (1 - CORE) / 2
    upper, lower = quads[:, [0, 1, 1, 0]], quads[:, [3, 2, 2, 3]]
    share = np.array([margin, margin, 1 - margin, 1 - margin])[None, :, None]
    for mask, shapes in zip(masks, (quads, upper * (1 - share) + lower * share), strict=True):
        pen = ImageDraw.Draw(mask)
        for shape in shapes:
            pen.polygon([tuple(at) for at in shape], fill=1)
    boxes = np.concatenate([quads.min(1), quads.max(1)], axis=1)
    return Example(grey, np.stack([np.asarray(mask, np.float32) for mask in masks]), boxes)


def network() -> nn.Module:
    """About 50,000 weights, on half the pixels; sees 130 around."""
    layers: list[nn.Module] = []
    channels = 1
    for wide, dilation in ((16, 1), (24, 1), (32, 2), (32, 4), (32, 8), (32, 16), (32, 1)):
        layers += [nn.Conv2d(channels, wide, 3, 1 + (channels == 1), dilation, dilation), nn.BatchNorm2d(wide), nn.ReLU()]
        channels = wide
    return nn.Sequential(*layers, nn.Conv2d(channels, 8, 1), nn.PixelShuffle(2))


def batches(sources: Sequence[Sequence[Example]], steps: int, seed: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Patches, as many from each source; their contrast and level are drawn, so that neither tells them apart."""
    random = np.random.default_rng(seed)
    for _ in range(steps):
        patches = []
        for at in range(BATCH):
            examples = sources[at % len(sources)]
            grey, masks, _ = examples[int(random.integers(len(examples)))]
            y = int(random.integers(grey.shape[0] - PATCH_PX + 1))
            x = int(random.integers(grey.shape[1] - PATCH_PX + 1))
            window = np.s_[..., y : y + PATCH_PX, x : x + PATCH_PX]
            pixels = np.clip(grey[window] * random.uniform(0.7, 1.3) + random.uniform(-0.15, 0.15), 0, 1)
            patches.append((pixels.astype(np.float32)[None], masks[window]))
        greys, targets = (torch.from_numpy(np.stack(part)) for part in zip(*patches, strict=True))
        yield greys, targets


def trained(sources: Sequence[Sequence[Example]], steps: int, seed: int) -> nn.Module:
    """A network that learnt from the sources alike."""
    torch.manual_seed(seed)
    model = network()
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps)
    for greys, targets in batches(sources, steps, seed):
        loss = nn.functional.binary_cross_entropy_with_logits(model(greys - 0.5), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model.eval()


@torch.inference_mode()
def found(model: nn.Module, grey: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.bool_], Boxes]:
    """(H, W), the pixels in lines; (N, 4), the lines' boxes: each core that hangs together, made as high as its line."""
    pixels, cores = model(torch.from_numpy(grey)[None, None] - 0.5)[0].numpy() > 0
    parts, _ = label(cores)
    boxes = []
    for rows, columns in find_objects(parts):
        height, width = rows.stop - rows.start, columns.stop - columns.start
        if height * width >= LEAST_CORE_PX:
            more = height * (1 / CORE - 1) / 2
            boxes.append((columns.start, rows.start - more, columns.stop, rows.stop + more))
    return pixels, np.array(boxes, np.float64).reshape(-1, 4)


def matched(boxes: Boxes, true_boxes: Boxes, least_iou: float = 0.5) -> int:
    """How many boxes have a partner of their own among those wanted, by descending overlap."""
    if not len(boxes) or not len(true_boxes):
        return 0
    a, b = boxes[:, None], true_boxes[None]
    sides = np.clip(np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]), 0, None)
    both = sides.prod(-1)
    iou = both / ((a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1) - both)
    pairs, free = 0, (set(range(len(boxes))), set(range(len(true_boxes))))
    for at in np.argsort(-iou, axis=None, kind="stable"):
        i, j = divmod(int(at), len(true_boxes))
        if iou[i, j] < least_iou:
            break
        if i in free[0] and j in free[1]:
            pairs += 1
            free[0].remove(i)
            free[1].remove(j)
    return pairs


def scores(model: nn.Module, examples: Sequence[Example]) -> dict[str, float]:
    """F1 of pixels and of boxes (IoU of at least 0.5), over all examples."""
    right, predicted, true = np.zeros(2), np.zeros(2), np.zeros(2)
    for grey, masks, true_boxes in examples:
        pixels, boxes = found(model, grey)
        right += masks[0][pixels].sum(), matched(boxes, true_boxes)
        predicted += pixels.sum(), len(boxes)
        true += masks[0].sum(), len(true_boxes)
    f1 = 2 * right / np.maximum(predicted + true, 1)
    return {"pixel": float(f1[0]), "box": float(f1[1])}
