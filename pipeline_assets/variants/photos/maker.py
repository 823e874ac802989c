"""Tasks in, encoded variants out: a few threads decode, change and encode, in memory that the input's length does not change.

Tasks that follow each other with the same first parent share its decode. Each thread decodes a few parents, then changes
their variants in batches of one recipe, then encodes them, while what it needs is in its core's cache.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from pathlib import Path

import numpy as np
import torch

from pipeline_assets.classify.memory import keep_freed_memory
from pipeline_assets.classify.runners import core_count, single_threaded_pool
from pipeline_assets.classify.workers import Work as Stages
from pipeline_assets.classify.workers import Workers
from pipeline_assets.errors import UnfitParent
from pipeline_assets.variants.kinds import Made, Outcome, Parent, Task, Work
from pipeline_assets.variants.photos import codec, pixels, plans
from pipeline_assets.variants.photos.codec import Photo, Pixels
from pipeline_assets.variants.photos.effects import Canvas, Encoding, Fit
from pipeline_assets.variants.photos.plans import LONGEST_ASPECT, Plan
from pipeline_assets.variants.recipes import Recipe

BATCH_PX = 8 * 224 * 224
"""Pixels of a batch: more would leave the cache of a core, and the memory of a small machine."""
GROUP_TASKS = 16
"""Tasks that share a decode, at most."""
GROUPS = 4
"""Groups of tasks that a thread holds to find batches among."""


@dataclass(frozen=True)
class Prepared:
    """A task with its pixels fitted. base: the parent fitted and otherwise untouched; other: the second parent, fitted."""

    task: Task
    plan: Plan
    encoding: Encoding
    labels: dict[str, object]
    base: Pixels
    start: Pixels
    other: Pixels | None


Ready = tuple[Task, Prepared | UnfitParent]
Changed = tuple[Task, tuple[Prepared, Pixels] | UnfitParent]


def make(
    work: Iterable[Work], *, device: str = "cpu", threads: int | None = None, batch_px: int = BATCH_PX
) -> Iterator[Outcome]:
    """Each task with its variant or why it has none. threads: one a core unless said."""
    keep_freed_memory()
    count = threads or core_count()
    where = torch.device(device)
    stages: Stages[list[Work], list[Ready], list[Outcome]] = Stages(
        prepare, lambda groups: finish(groups, where, batch_px), GROUPS
    )
    with single_threaded_pool(count) as pool:
        yield from _made(stages, pool, count, grouped(work))


def grouped(work: Iterable[Work]) -> Iterator[list[Work]]:
    """Neighbours with the same first parent together, as many as memory bears."""
    for _, same in groupby(work, key=lambda item: (item[0].parents[0], fit_of(item[0].recipe))):
        group: list[Work] = []
        for item in same:
            group.append(item)
            if len(group) >= _most_in_group(fit_of(item[0].recipe)):
                yield group
                group = []
        if group:
            yield group


def prepare(group: list[Work]) -> list[Ready]:
    """Decode the parents of tasks that share the first one, and fit them."""
    photos: dict[str, Photo | UnfitParent] = {}

    def photo_of(parent: Parent, side_px: int) -> Photo:
        if parent.sha256 not in photos:
            try:
                photos[parent.sha256] = codec.decoded(_bytes(parent), side_px)
            except UnfitParent as unfit:
                photos[parent.sha256] = unfit
        found = photos[parent.sha256]
        if isinstance(found, UnfitParent):
            raise found
        return found

    bases: dict[Canvas, Pixels] = {}
    return [(task, _prepared(task, parents, photo_of, bases)) for task, parents in group]


def change(ready: Iterable[Ready], device: torch.device, batch_px: int = BATCH_PX) -> Iterator[Changed]:
    """Carry out effects, in batches of one recipe and size."""
    waiting: dict[tuple[str, Canvas], list[Prepared]] = {}
    for task, item in ready:
        if isinstance(item, UnfitParent):
            yield task, item
        else:
            waiting.setdefault((task.recipe.json, item.plan.canvas), []).append(item)
    for (_, canvas), items in waiting.items():
        rows = max(1, batch_px // (canvas.width * canvas.height))
        for at in range(0, len(items), rows):
            yield from _changed(items[at : at + rows], device)


def encode(task: Task, item: Prepared, result: Pixels) -> Outcome:
    """Write a result, with what its row says."""
    height, width = result.shape[:2]
    columns = {"width_px": width, "height_px": height, "phash": codec.perceptual_hash(result)}
    form = item.encoding
    return task, Made(codec.encoded(result, form), form.media_type, form.described, item.labels, columns)


def finish(groups: Iterable[list[Ready]], device: torch.device, batch_px: int) -> list[list[Outcome]]:
    """Change and encode what was prepared. Returns lists of outcomes, as many as groups; which is in which says nothing."""
    groups = list(groups)
    done: list[Outcome] = []
    with torch.inference_mode():
        for task, item in change((ready for group in groups for ready in group), device, batch_px):
            done.append((task, item) if isinstance(item, UnfitParent) else encode(task, *item))
    return [done, *([] for _ in groups[1:])]


@lru_cache(maxsize=256)
def fit_of(recipe: Recipe) -> Fit:
    """How a recipe's parents are fitted."""
    return plans.fit_of(recipe)


def _made(
    stages: "Stages[list[Work], list[Ready], list[Outcome]]",
    pool: ThreadPoolExecutor,
    threads: int,
    groups: Iterable[list[Work]],
) -> Iterator[Outcome]:
    chunks = Workers(stages, pool, threads).results(groups, GROUPS)
    try:
        for chunk in chunks:
            for outcomes in chunk:
                yield from outcomes
    finally:
        chunks.close()


def _most_in_group(fit: Fit) -> int:
    largest = fit.side_px**2 * (1 if fit.is_square else LONGEST_ASPECT)
    return max(1, min(GROUP_TASKS, int(BATCH_PX // largest)))


def _bytes(parent: Parent) -> bytes:
    if not isinstance(parent.data, Path):
        return parent.data
    try:
        return parent.data.read_bytes()
    except OSError as error:
        raise UnfitParent("gone", f"{parent.data} can't be read: {error.strerror}") from error


def _prepared(
    task: Task, parents: tuple[Parent, ...], photo_of: Callable[[Parent, int], Photo], bases: dict[Canvas, Pixels]
) -> Prepared | UnfitParent:
    fit = fit_of(task.recipe)
    try:
        photo = photo_of(parents[0], fit.side_px)
        canvas = plans.canvas_of(fit, *photo.size)
        plan = plans.plan(task.recipe, task.seed, canvas, *photo.size)
        mixed = photo_of(parents[1], fit.side_px) if len(parents) > 1 else None
        size = mixed.size if mixed else photo.size
        labels = plans.labels(plan, parents[0].labels, photo.size, parents[1].labels if mixed else {}, size)
    except UnfitParent as unfit:
        return unfit
    middle = plans.centred(canvas, *photo.size)
    if canvas not in bases:
        bases[canvas] = codec.fitted(photo, canvas, middle)
    base = bases[canvas]
    start = base if plan.region == middle else codec.fitted(photo, canvas, plan.region)
    for axis in plan.mirrored:
        start = np.flip(start, axis - 1)
    other = codec.fitted(mixed, canvas, plans.centred(canvas, *size)) if mixed else None
    return Prepared(task, plan, plans.encoding_of(task.recipe), labels, base, start, other)


def _changed(items: list[Prepared], device: torch.device) -> Iterator[Changed]:
    results = [item.start for item in items]
    if items[0].plan.effects:
        others = [item.other for item in items if item.other is not None]
        changed = pixels.apply(
            _batch(results, device), [item.plan.effects for item in items], _batch(others, device) if others else None
        )
        results = list(changed.permute(0, 2, 3, 1).cpu().contiguous().numpy())
    for item, result in zip(items, results, strict=True):
        if np.array_equal(result, item.base):
            yield item.task, UnfitParent("unchanged", "the result's pixels are those of the fitted parent")
        else:
            yield item.task, (item, np.ascontiguousarray(result))


def _batch(images: list[Pixels], device: torch.device) -> torch.Tensor:
    """(B, 3, H, W) uint8 on the device."""
    return torch.from_numpy(np.stack([image.transpose(2, 0, 1) for image in images])).to(device)
