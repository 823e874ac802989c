"""Applies photos' operations to a whole clip: drawn once, so that nothing flickers. Sound and times stay.

`enter` registers every operation on one photo in the catalogue of video, with the same name and version.
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
from pipeline_assets.variants.photos.plans import marks_after
from pipeline_assets.variants.video import filters
from pipeline_assets.variants.video.film import Film

if TYPE_CHECKING:
    from av import VideoFrame

BATCH_PX = 3 * 224 * 224
"""Pixels worked on together, or one picture that has more: it should lie in a core's cache."""


def looks() -> dict[str, Operation]:
    """The operations on one photo that keep its size, by name."""
    return {
        name: operation
        for name, operation in PHOTOS.items()
        if operation.parents == 1 and "canvas" in inspect.signature(operation.function).parameters
    }


def enter(catalogue: Operations) -> None:
    """Register them all."""
    for name, operation in looks().items():
        catalogue.operation(version=operation.version, name=name)(_over_film(operation.function))


def _over_film(draw: Callable[..., Effect | Sequence[Effect]]) -> Callable[..., Film]:
    @wraps(draw)
    def operation(film: Film, random: np.random.Generator, **parameters: Any) -> Film:
        canvas = Canvas(film.width_px, film.height_px)
        drawn_effects = draw(canvas, random, **parameters)
        effects = fused(list(drawn_effects) if isinstance(drawn_effects, Sequence) else [drawn_effects])
        at_once = max(1, BATCH_PX // (film.width_px * film.height_px))
        marks = film.marks
        for effect in effects:
            marks = marks_after(effect, marks, canvas)
        pictures = lambda: _changed_pictures(film.pictures(), effects, at_once)  # noqa: E731
        return replace(film, pictures=pictures, marks=marks)

    return operation


def _changed_pictures(pictures: "Iterator[VideoFrame]", effects: Sequence[Effect], at_once: int) -> "Iterator[VideoFrame]":
    """Every picture with the same effects; a repeated picture is computed once."""
    to_rgb, waiting, positions = filters.Converted("rgb24"), list["VideoFrame"](), list[int]()
    last: VideoFrame | None = None
    for frame in pictures:
        if frame is not last:
            if len(waiting) == at_once:
                yield from _changed_batch(waiting, positions, to_rgb, effects)
                waiting, positions = [], []
            waiting.append(frame)
            last = frame
        positions.append(len(waiting) - 1)
    yield from _changed_batch(waiting, positions, to_rgb, effects)


def _changed_batch(
    frames: "list[VideoFrame]", positions: list[int], to_rgb: filters.Converted, effects: Sequence[Effect]
) -> "Iterator[VideoFrame]":
    """The changed frames, each as often as it is shown. Input and output are yuv420p."""
    import av
    import torch

    from pipeline_assets.variants.photos import pixels

    if not frames:
        return
    stacked = np.stack([to_rgb(frame).to_ndarray() for frame in frames])
    images = torch.from_numpy(stacked).permute(0, 3, 1, 2).contiguous()  # (T, 3, H, W)
    changed = pixels.apply(images, [effects] * len(frames)).permute(0, 2, 3, 1).contiguous().numpy()
    to_yuv = filters.Converted("yuv420p", frames[0])
    results = [to_yuv(av.VideoFrame.from_ndarray(picture, format="rgb24")) for picture in changed]
    for number in positions:
        yield results[number]
