"""Photos' operations held over a whole clip: drawn once, so that nothing flickers. Sound and times stay.

`enter` puts every operation on one photo into the catalogue of video, under the photos' names and versions.
"""

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import wraps
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline_assets.variants.operations import Operation, Operations
from pipeline_assets.variants.photos.catalogue import PHOTOS
from pipeline_assets.variants.photos.effects import Canvas, Effect, fused
from pipeline_assets.variants.video import filters
from pipeline_assets.variants.video.film import Film

if TYPE_CHECKING:
    from av import VideoFrame

BATCH_PX = 3 * 224 * 224
"""Pixels worked on together, or one picture that has more: it should lie in a core's cache."""
MOVING = frozenset({"crop", "flip", "rotate", "perspective", "cutout"})
"""Looks after which a box would be elsewhere: a video's labels may then have none."""


def looks() -> dict[str, Operation]:
    """The operations on one photo that keep its size, by name."""
    return {
        name: known
        for name, known in PHOTOS.items()
        if known.parents == 1 and "canvas" in inspect.signature(known.function).parameters
    }


def enter(catalogue: Operations) -> None:
    """Enter them all."""
    for name, known in looks().items():
        catalogue.operation(version=known.version, name=name)(_held(known.function))


def _held(draw: Callable[..., Effect | Sequence[Effect]]) -> Callable[..., Film]:
    @wraps(draw)
    def operation(film: Film, random: np.random.Generator, **parameters: Any) -> Film:
        found = draw(Canvas(film.width_px, film.height_px), random, **parameters)
        effects = fused(list(found) if isinstance(found, Sequence) else [found])
        at_once = max(1, BATCH_PX // (film.width_px * film.height_px))
        return replace(film, pictures=lambda: _looked(film.pictures(), effects, at_once))

    return operation


def _looked(pictures: "Iterator[VideoFrame]", effects: Sequence[Effect], at_once: int) -> "Iterator[VideoFrame]":
    """Every picture with the same effects; one that is shown again is not worked on again."""
    to_rgb, waiting, shown = filters.Converted("rgb24"), list["VideoFrame"](), list[int]()
    last: VideoFrame | None = None
    for frame in pictures:
        if frame is not last:
            if len(waiting) == at_once:
                yield from _several(waiting, shown, to_rgb, effects)
                waiting, shown = [], []
            waiting.append(frame)
            last = frame
        shown.append(len(waiting) - 1)
    yield from _several(waiting, shown, to_rgb, effects)


def _several(
    frames: "list[VideoFrame]", shown: list[int], to_rgb: filters.Converted, effects: Sequence[Effect]
) -> "Iterator[VideoFrame]":
    """The frames changed, each as often as it is shown. Before and after, pictures are yuv420p."""
    import av
    import torch

    from pipeline_assets.variants.photos import pixels

    if not frames:
        return
    stacked = np.stack([to_rgb(frame).to_ndarray() for frame in frames])
    images = torch.from_numpy(stacked).permute(0, 3, 1, 2).contiguous()  # (T, 3, H, W)
    changed = pixels.apply(images, [effects] * len(frames)).permute(0, 2, 3, 1).contiguous().numpy()
    back = filters.Converted("yuv420p", frames[0])
    made = [back(av.VideoFrame.from_ndarray(one, format="rgb24")) for one in changed]
    for number in shown:
        yield made[number]
